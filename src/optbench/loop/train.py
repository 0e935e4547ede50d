"""The loop itself: one object a run."""

from __future__ import annotations

import contextlib
import copy
import inspect
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from optbench.disjoint import Apart
from optbench.errors import RunFailure
from optbench.loop.average import Average
from optbench.loop.driven import Driven
from optbench.loop.held import held, restore_held, restore_state
from optbench.loop.lacking import explained, wants_graph
from optbench.loop.modes import Modes, kept_buffers
from optbench.loop.progress import Progress, Row, Summary
from optbench.loop.readings import EVERY, Readings, gradient_norm, on_host
from optbench.loop.rules import Verdict, by_measurement, is_left_out, leaves_out, verdict
from optbench.problem import AbstractProblem, Batch
from optbench.protocol import OptimizerProtocol
from optbench.records import MAX_COORDINATES, Status
from optbench.records.vocabulary import kept_checkpoint
from optbench.settings import NetworkTrainer, SurfaceTrainer
from optbench.wrapper_base import AbstractWrapper


class Observer(Protocol):
    """The interface that the loop reports to while it runs."""

    def row(self, row: Row) -> None:
        """One row of the curve."""

    def step(self, step: int, total: int, row: Row) -> None:
        """Called at every update, recorded or not."""

    def checkpoint(self, name: str, state: Mapping[str, Any]) -> None:
        """A state of the run: "last" to go on from, "best" with the best validation figures so far, or one to keep.

        Its tensors are those that are trained on: what is kept for later is copied.
        """

    @property
    def checkpoint_due(self) -> bool:
        """Whether it is time for another state to go on from; asked after every update."""

    @property
    def stop_requested(self) -> bool:
        """Whether the run should end after this update."""


class _Ended(Exception):
    """Raised inside the closure, before the optimizer has changed anything, when the run is over."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class _LeftOut(Exception):
    """Raised inside the closure, before the optimizer has changed anything, when the update is not to be made."""


_LEAST_IN_A_ROW = 10
"""Updates left out in a row that a run survives however short its epochs are."""


class _Missed(Exception):
    """Raised where numbers are fetched, when an earlier row than the current one should have ended the run."""

    def __init__(self, row: Row) -> None:
        super().__init__()
        self.row = row


def total_steps(problem: AbstractProblem, trainer: SurfaceTrainer | NetworkTrainer) -> int:
    """Number of updates that the settings ask for."""
    if trainer.steps is not None:
        return trainer.steps
    assert isinstance(trainer, NetworkTrainer)
    assert problem.steps_per_epoch is not None
    return trainer.epochs * problem.steps_per_epoch


def rates_of(optimizer: torch.optim.Optimizer, scheduler: Any = None) -> int:
    """How many parameter groups' learning rates a curve has: all, where they begin with different ones or have
    schedules of their own; else 1.

    It is 0 of an optimizer that has none, to which `experiment.assemble` gives one that is no number.
    """
    begin = [float(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups]
    if any(map(math.isnan, begin)):
        return 0
    return len(begin) if len(set(begin)) > 1 or isinstance(scheduler, Apart) else 1


class Loop:
    """One run, from its start or from a checkpoint, to its end.

    Args:
        problem: what is minimised.
        optimizer: over the parameters of problem.module.
        scheduler: stepped once an update; one whose `step` takes a metric is given the objective after each update on a
            surface and the validation loss after each evaluation on a network.
        trainer: budget, stop rules, recording.
        observer: who is told.
        curvature: measures columns of its own every trainer.curvature_every updates, off the clock, changing nothing.
        look_every: steps whose loss and gradient norm are fetched together (`loop.readings`); None: 1 on a surface and
            on a CPU, else 16. It changes no record: where a row turns out to have ended the run some updates ago, the
            loop goes back to the state that it kept last and makes the way to that row again, looking at each step. On
            a GPU without trainer.deterministic the way back may differ by rounding; the run then ends where that way
            does.
        protocol: what the optimizer declares of how it is driven; None: what can be seen of it.

    Raises:
        IncompatibleError: the optimizer cannot be driven so.
    """

    def __init__(
        self,
        problem: AbstractProblem,
        optimizer: torch.optim.Optimizer,
        scheduler: Any,
        trainer: SurfaceTrainer | NetworkTrainer,
        observer: Observer,
        curvature: Callable[[], Mapping[str, float]] | None = None,
        look_every: int | None = None,
        protocol: OptimizerProtocol | None = None,
    ) -> None:
        self.problem, self.optimizer, self.scheduler = problem, optimizer, scheduler
        self.trainer, self.observer, self._curvature = trainer, observer, curvature
        self.total = total_steps(problem, trainer)
        self.progress = Progress()
        self.driven = Driven(optimizer, problem, trainer, protocol)
        self._protocol, self._is_foreign = self.driven.protocol, not self.driven.spoken.known
        self._differentiate, self._forget_gradients = self.driven.differentiate, self.driven.forget
        self._modes = Modes(optimizer, problem.module) if self._protocol.modes else None
        self._at_eval: tuple[Tensor, Tensor] | None = None  # objective and gradient norm, on a surface with modes
        self._before: dict[str, Any] = {}
        if self._protocol.backward == "create_graph":
            self.progress.hessian_products = 0
        self.rates = rates_of(optimizer, scheduler)
        self._wants_metric = "metrics" in inspect.signature(scheduler.step).parameters
        self._parameters = [p for p in problem.module.parameters() if p.requires_grad]
        waits = problem.steps_per_epoch is not None and any(p.device.type != "cpu" for p in self._parameters)
        self._skips = leaves_out(trainer)
        self._readings = Readings(1 if self._skips else look_every or (EVERY if waits else 1))
        self._unsent: list[Row] = []
        self._known = 0  # rows before this one were sent before the loop went back
        self._kept: dict[str, Any] = {}
        ema = trainer.ema if isinstance(trainer, NetworkTrainer) else None
        self._average = None if ema is None else Average(problem.module, ema)
        self._by_time = isinstance(trainer, NetworkTrainer) and trainer.checkpoint_every is None
        self._started = 0.0
        self._is_compiled = False
        self._parallel = problem.parallel
        self._agreed_stop = self._agreed_due = False  # what all processes of several agreed on last

    def compile(self) -> None:
        """Compiles what the problem compiles, once, off the clock, after `restore`. Raises IncompatibleError."""
        if self._is_compiled:
            return
        self._is_compiled, spent, before = True, self.problem.compile(), self.progress.compile_seconds
        if spent is not None:
            self.progress.compile_seconds = spent + (before or 0.0)

    def state(self) -> dict[str, Any]:
        """Everything needed to go on, as tensors and plain values (loads with weights_only=True)."""
        self._look()
        return {
            **self.weights(),
            **self._of_optimizer(),
            "scheduler": {k: v for k, v in self.scheduler.state_dict().items() if not callable(v)},
            "problem": self.problem.counters(),
            "progress": asdict(self.progress),
        }

    def weights(self) -> dict[str, Any]:
        """The weights as every checkpoint has them: as `model` those that are evaluated; where they are an average, as
        `trained` those that are trained on, and as `averaged` over how many updates. Where the optimizer has weights of
        its own for evaluation, or batch norm other statistics, `trained` are those without."""
        trained = self.problem.module.state_dict()
        if self._average is None:
            if self._modes is None and not self._protocol.batch_norm:
                return {"model": trained}
            with self._as_evaluated():
                model = {name: tensor.clone() for name, tensor in trained.items()}
            return {"model": model, "trained": trained}
        return {"model": self._average.state_dict(), "trained": trained, "averaged": self._average.count}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Resumes from a state()."""
        self.problem.module.load_state_dict(state.get("trained", state["model"]))
        if self._average is not None:
            self._average.restore(state["model"], state["averaged"])
        restore_state(self.optimizer, state["optimizer"])
        restore_held(self.optimizer, state.get("optimizer_held", {}))
        self.scheduler.load_state_dict(state["scheduler"])
        self.problem.restore_counters(state["problem"])
        self.progress = Progress(**state["progress"])

    def _of_optimizer(self) -> dict[str, Any]:
        """All that the optimizer keeps."""
        beside = held(self.optimizer)
        return {"optimizer": self.optimizer.state_dict(), **({"optimizer_held": beside} if beside else {})}

    def facts(self) -> dict[str, Any]:
        """What a record says of how the optimizer was driven; empty where that was as torch's own are."""
        found = self.driven.spoken.facts()
        if self.progress.idle_first:
            found["first_step_found"] = "left every weight as it was"
        return {"protocol": found} if found else {}

    def run(self) -> Summary:
        """Runs to the end. Whatever a step raises passes through; the rows so far are with the observer."""
        self.compile()
        self.problem.module.train()
        if self._modes is not None:
            self._modes.train()
        if self._readings.every > 1:
            self._kept = on_host(self.state())
        while True:
            try:
                self._one_step()
                if self._stop_requested:
                    self._save_last()
                    raise _Ended(Status.INTERRUPTED, f"stopped by the user after step {self.progress.step}")
                if self._by_time and self._checkpoint_due:
                    self._save_last()
            except _Missed as missed:
                self._go_back(missed.row)
            except _Ended as ended:
                if self._modes is not None and self.problem.steps_per_epoch is None:
                    self._modes.end()  # where a run on a surface stopped is asked of its problem
                return self.summary(ended.status, ended.reason)

    # one step --------------------------------------------------------------------------------------------------------

    def _one_step(self) -> None:
        p, row = self.progress, self._open_row()
        at_end = p.step >= self.total
        if at_end and self.problem.steps_per_epoch is not None:
            self._finish(row, Status.COMPLETED, f"made all {p.step} updates")
        self._resume_clock()
        batch = self.problem.batch(p.step)
        if self._skips:
            self._keep_for_return()
        try:
            if self._is_foreign:
                self._foreign_update(row, batch, at_end)
            else:
                self._update(row, batch, at_end)
            self._took_place()
        except _LeftOut:
            self._leave_out(row)
        except (_Ended, _Missed):
            raise
        except Exception as error:
            with contextlib.suppress(RuntimeError):  # of a device that broke
                self._look()  # what broke may follow from a row that ends the run
            if wants_graph(error, self._protocol):
                raise self._without_graph() from error
            if (why := self._lacks(error, batch)) is not None:
                raise RunFailure(*why) from error
            raise
        self._step_scheduler(row)
        if self._closes_epoch(p.step + 1):
            self._look()  # what the device still has to do is time of training
        self._pause_clock()
        p.step += 1
        if row["step"] % self.trainer.record_every == 0 or "val_loss" in row or "full_grad_norm" in row:
            self._unsent.append(row)
            self._send()
        if row["step"] >= self._known:
            self.observer.step(p.step, self.total, row)
        if self._parallel is not None and p.step == 1:
            self._parallel.check_same(self.problem.module, 1)

    def _without_graph(self) -> RunFailure:
        """Why something was differentiated that has no graph."""
        if not self._gradients():
            hint = "does the model use its parameters, and not detached or constant ones?"
            return RunFailure("the loss hangs on no weight that is trained", hint)
        return RunFailure(f"{type(self.optimizer).__name__} differentiates the gradients, which have no graph",
                          "declare optimizer.protocol.backward=create_graph")  # fmt: skip

    @property
    def _stop_requested(self) -> bool:
        return self.observer.stop_requested if self._parallel is None else self._agreed_stop

    @property
    def _checkpoint_due(self) -> bool:
        return self.observer.checkpoint_due if self._parallel is None else self._agreed_due

    def _update(self, row: Row, batch: Batch, at_end: bool) -> None:
        """Makes the update of a row, or ends the run before it."""
        p, driven = self.progress, self.driven
        if driven.has_extra and driven.is_extra_due(p.step):
            driven.extra(batch, p.step)
            p.evals += 1
        if driven.is_fused:
            self._fused_update(row, batch)
        else:
            first = True

            def closure() -> Tensor:
                nonlocal first
                if not first:
                    return self._one_more_pass(batch)
                first = False
                self._forget_gradients()
                loss = self._differentiate(batch)
                norm = self._take(row, loss.detach(), at_end)
                if at_end:
                    self._finish(row, Status.COMPLETED, f"made all {p.step} updates")
                p.evals += 1
                self.problem.perturb_gradient(p.step)
                self._clip(norm)
                return loss

            if driven.tells_rows:
                driven.update(closure, len(batch) or 1)
            else:
                driven.update(closure)
        if driven.has_end:
            count = driven.end()
            p.hessian_products = None if p.hessian_products is None else p.hessian_products + count

    def _one_more_pass(self, batch: Batch) -> Tensor:
        """A further pass of an update, at weights that the optimizer may have moved."""
        p = self.progress
        self._forget_gradients()
        if self._protocol.draws == "same":
            self.problem.seed_draws(p.step)
        with kept_buffers(self.problem.module) if self._protocol.statistics == "first" else contextlib.nullcontext():
            loss = self._differentiate(batch)
        p.evals += 1
        if self._skips:
            found = {"loss": loss.item(), "grad_norm": gradient_norm(self._gradients()).item()}
            if is_left_out(found, self.trainer):
                raise _LeftOut
        self.problem.perturb_gradient(p.step)
        self._clip(None)
        return loss

    def _fused_update(self, row: Row, batch: Batch) -> None:
        """An update within the backward pass: what of its row ends the run is known before it or, of loss and gradient,
        after it."""
        self._end_if_over(row)
        fused = self.driven.fused(batch)
        norm = fused.make()
        self.progress.evals += 1
        self.progress.more_gradients += fused.passes - 1
        self._take(row, fused.loss.detach(), False, norm.to(fused.loss.dtype))

    def _foreign_update(self, row: Row, batch: Batch, at_end: bool) -> None:
        """An update by a class of which nothing is known: whatever global generator it draws from is seeded, and it is
        noticed where the first step moves nothing."""
        p = self.progress
        self.problem.seed_draws(p.step)
        seed = torch.initial_seed()
        random.seed(seed)
        np.random.seed(seed % 2**32)
        before = [q.detach().clone() for q in self._parameters] if p.step == 0 else None
        self._update(row, batch, at_end)
        if before is None:
            return
        is_idle = all(torch.equal(a, b) for a, b in zip(self._parameters, before, strict=True))
        if self._protocol.first_step == "idle" and not is_idle:
            raise RunFailure(f"{type(self.optimizer).__name__} declares optimizer.protocol.first_step=idle, and moved",
                             "leave it out")  # fmt: skip
        p.idle_first = is_idle and self.optimizer.param_groups[0]["lr"] != 0

    def _lacks(self, error: Exception, batch: Batch) -> tuple[str, str] | None:
        """Why the first step of an optimizer of anyone's broke, and what to do; None: that is not known."""
        core = self.driven.core
        is_plain = self._is_foreign and self._parallel is None and core is self.optimizer
        if not is_plain or self.progress.step or isinstance(error, RunFailure):
            return None
        weights = [q.detach().clone() for q in self._parameters]

        def again(protocol: OptimizerProtocol) -> bool:
            core.state.clear()
            with torch.no_grad():
                for q, value in zip(self._parameters, weights, strict=True):
                    q.copy_(value)
            tried = Driven(core, self.problem, self.trainer, protocol)
            tried.forget()

            def closure() -> Tensor:
                tried.forget()
                return tried.differentiate(batch)

            tried.update(closure)
            return not all(torch.equal(a, b) for a, b in zip(self._parameters, weights, strict=True))

        return explained(type(core).__name__, self._protocol, error, again)

    def _took_place(self) -> None:
        self.progress.left_out_in_a_row = 0
        if self._average is not None and not (self._protocol.first_step == "idle" and self.progress.step == 0):
            self._average.update()

    def _keep_for_return(self) -> None:
        """Keeps what an update changes, which may have to be left out."""
        self._before = {"buffers": [b.clone() for b in self.problem.module.buffers()]}
        if self.driven.calls_again:  # a later pass may be the one that is not finite
            weights = [q.detach().clone() for q in self._parameters]
            self._before |= {"weights": weights, "optimizer": copy.deepcopy(self._of_optimizer())}

    @torch.no_grad()
    def _leave_out(self, row: Row) -> None:
        """Leaves out the update of a row, whose passes may have changed buffers and weights."""
        before = self._before
        for buffer, value in zip(self.problem.module.buffers(), before["buffers"], strict=True):
            buffer.copy_(value)
        if "weights" in before:
            for parameter, value in zip(self._parameters, before["weights"], strict=True):
                parameter.copy_(value)
            restore_state(self.optimizer, before["optimizer"]["optimizer"])
            restore_held(self.optimizer, before["optimizer"].get("optimizer_held", {}))
        p = self.progress
        p.left_out, p.left_out_in_a_row = p.left_out + 1, p.left_out_in_a_row + 1
        if p.left_out_in_a_row >= max(self.problem.steps_per_epoch or 0, _LEAST_IN_A_ROW):
            found = f"loss {row['loss']:.6g}, gradient {row['grad_norm']:.6g}"
            reason = f"{p.left_out_in_a_row} updates in a row were not finite, up to step {p.step} ({found})"
            self._finish(row, Status.DIVERGED, reason)

    def _open_row(self) -> Row:
        """The row of the current iterate as far as it is known before its objective is."""
        p, per_epoch = self.progress, self.problem.steps_per_epoch
        row: Row = {"step": p.step, "evals": p.evals, "seconds": p.seconds, **self._learning_rates()}
        if self._modes is not None and per_epoch is None:
            self._look_at_eval(row)
        else:
            self._place(row)
        if p.hessian_products is not None or self.driven.is_fused:
            row.update(gradients=p.evals + p.more_gradients, hessian_products=p.hessian_products)
        every = self.trainer.curvature_every
        if self._curvature is not None and every is not None and p.step % every == 0:
            with self._as_evaluated():
                row.update(self._curvature())
        if per_epoch is not None:
            row["epoch"] = p.step / per_epoch
            if self._closes_epoch(p.step):
                self._close_epoch(row)
        return row

    def _learning_rates(self) -> Row:
        """Of the first parameter group, and of the others where theirs are recorded."""
        groups, wrapper = self.optimizer.param_groups, self.optimizer
        rate = wrapper.rate if isinstance(wrapper, AbstractWrapper) else lambda group: group["lr"]
        return {"lr" if i == 0 else f"lr{i}": rate(groups[i]) for i in range(self.rates)}

    def _place(self, row: Row) -> None:
        if (x := self.problem.coordinates()) is not None:
            row.update({f"x{i}": v for i, v in enumerate(x)} if len(x) <= MAX_COORDINATES else {})

    def _look_at_eval(self, row: Row) -> None:
        """On a surface, a row is of the point that the optimizer answers with: coordinates, objective and gradient."""
        with self._as_evaluated():
            self._place(row)
            self._forget_gradients()
            loss = self.problem.differentiate(self.problem.batch(self.progress.step)).detach()
            self._at_eval = loss, gradient_norm(self._gradients())
            self._forget_gradients()

    def _clip(self, norm: Tensor | None) -> None:
        """Clips the gradients where that is asked for; `norm`: of all of them, None where it was not measured."""
        if isinstance(self.trainer, NetworkTrainer) and self.trainer.clip_norm is not None:
            norm = gradient_norm(self._gradients()) if norm is None else norm
            torch.nn.utils.clip_grads_with_norm_(self._parameters, self.trainer.clip_norm, norm)

    def _gradients(self) -> list[Tensor]:
        return [q.grad for q in self._parameters if q.grad is not None]

    def _closes_epoch(self, step: int) -> bool:
        """Whether an epoch, or the run, ends before this step."""
        per_epoch = self.problem.steps_per_epoch
        return per_epoch is not None and (step % per_epoch == 0 or step >= self.total)

    def _take(self, row: Row, loss: Tensor, at_end: bool, norm: Tensor | None = None) -> Tensor:
        """Notes the objective and the gradient norm of the current iterate (or batch), and returns the norm; ends the
        run where a rule says so. They are fetched when it is time, or when something hangs on them."""
        norm = gradient_norm(self._gradients()) if norm is None else norm
        self._readings.add(row, *(self._at_eval or (loss, norm)))
        if self._readings.full or at_end or self._verdict(row) is not None:
            self._look(row)
            self._end_if_over(row)
            if is_left_out(row, self.trainer):
                raise _LeftOut
        return norm

    def _look(self, current: Row | None = None) -> None:
        """Fetches what was not looked at yet. Raises _Missed where a row before the current one ends the run."""
        p = self.progress
        for row, loss, norm in self._readings.fetch():
            row["loss"], row["grad_norm"] = loss, norm
            p.grad_norm = norm
            if is_left_out(row, self.trainer):
                continue
            p.start_loss = loss if p.start_loss is None else p.start_loss
            if self.problem.steps_per_epoch is None:
                p.judge(loss, self.trainer.plateau_delta)
            else:
                p.epoch_losses.append(loss)
            if row is not current and by_measurement(row, p, self.trainer, self.problem.exact_gradient):
                self._send(before=row["step"])
                raise _Missed(row)
        self._send()

    def _send(self, before: float = math.inf) -> None:
        """Hands over the rows that are complete, of steps before this one, in order."""
        while self._unsent and "loss" in self._unsent[0] and self._unsent[0]["step"] < before:
            row = self._unsent.pop(0)
            if row["step"] >= self._known:
                self.observer.row(row)

    def _go_back(self, row: Row) -> None:
        """Goes on from the state that was kept last, looking at each step, so as to end at this row.

        Until there nothing is told again, and the clock stands where it stood at that row.
        """
        self._started = 0.0
        self._readings, self._unsent, self._known = Readings(1), [], row["step"]
        self.restore(self._kept)
        self.progress.seconds = row["seconds"]

    # epochs ----------------------------------------------------------------------------------------------------------

    def _close_epoch(self, row: Row) -> None:
        """Measures the epoch that ended, evaluates where due, and ends the run where a rule says so.

        The checkpoint comes first: a run that goes on from it closes the epoch once more, to the same effect.
        """
        p, trainer, last = self.progress, self.trainer, self.progress.step >= self.total
        assert isinstance(trainer, NetworkTrainer)
        assert self.problem.steps_per_epoch is not None
        epoch, every = p.step // self.problem.steps_per_epoch, trainer.checkpoint_every
        if every is not None and p.step and (epoch % every == 0 or last):
            self._save_last()
        if trainer.keep_every and epoch % trainer.keep_every == 0 and p.step == epoch * self.problem.steps_per_epoch:
            self.observer.checkpoint(kept_checkpoint(epoch), self._weights())
        if p.epoch_losses:
            row.update(self.problem.epoch_figures())
            p.judge(sum(p.epoch_losses) / len(p.epoch_losses), trainer.plateau_delta)
            p.epoch_losses = []
        if epoch % trainer.eval_every == 0 or last:
            self._evaluate(row)
        if p.step:
            self._end_if_over(row)
        if not last and self.problem.prepares(epoch):
            self._resume_clock()  # what is learned from is time of training
            with self._evaluated_weights():
                self.problem.begin_epoch(epoch)
            self._pause_clock()

    def _evaluated_weights(self) -> contextlib.AbstractContextManager[None]:
        return self._as_evaluated() if self._average is None else self._average.in_use()

    @contextlib.contextmanager
    def _as_evaluated(self) -> Iterator[None]:
        """In it the weights are those of the optimizer's `eval()`, and batch norm's statistics those at them, where the
        optimizer asks for either; afterwards all is as it was, to the bit. Before the first update there is nothing to
        average, and some classes break on it."""
        is_begun = self.progress.step > self.progress.left_out
        batches = self._protocol.batch_norm if is_begun else 0
        with contextlib.ExitStack() as stack:
            if self._modes is not None and is_begun:
                stack.enter_context(self._modes.in_use())
            if batches:
                stack.enter_context(kept_buffers(self.problem.module))
                self.problem.refresh_batch_norm(self.progress.step, batches)
            yield

    def _evaluate(self, row: Row) -> None:
        p = self.progress
        if self._parallel is not None:
            self._parallel.check_same(self.problem.module, p.step)
        with self._evaluated_weights():
            figures = self.problem.evaluate()
        row.update(figures)
        if p.evaluated(figures, self.problem.ranked_by):
            self.observer.checkpoint("best", self._weights())
        if self._wants_metric and p.step:
            self.scheduler.step(p.val_loss)
            row.update(self._learning_rates())

    def _weights(self) -> dict[str, Any]:
        return {**self.weights(), "step": self.progress.step}

    def _save_last(self) -> None:
        if self.problem.steps_per_epoch is None:
            return
        if self._readings.waiting:
            self._resume_clock()
            self._look()
            self._pause_clock()
        state = self.state()
        if self._readings.every > 1:
            self._kept = state = on_host(state)
        self.observer.checkpoint("last", state)

    def _step_scheduler(self, row: Row) -> None:
        if not self._wants_metric:
            self.scheduler.step()
        elif self.problem.steps_per_epoch is None:
            self.scheduler.step(row["loss"])

    # the end ---------------------------------------------------------------------------------------------------------

    def _end_if_over(self, row: Row) -> None:
        """Ends the run if a rule says so; the row of the last iterate is recorded first."""
        ended = self._verdict(row)
        if ended is not None:
            self._finish(row, *ended)

    def _verdict(self, row: Row) -> Verdict | None:
        return verdict(row, self.progress, self.trainer, self.problem.exact_gradient)

    def _finish(self, row: Row, status: Status, reason: str) -> None:
        self._pause_clock()
        if row["step"] >= self._known:
            self.observer.row(row)
        self.observer.step(self.progress.step, self.total, row)
        raise _Ended(status, reason)

    def summary(self, status: Status, reason: str) -> Summary:
        """The summary of the run so far, under this status."""
        if count := self.progress.left_out:
            which = "1 update was left out, whose" if count == 1 else f"{count} updates were left out, whose"
            reason = f"{reason}; {which} loss or gradient was not finite"
        return self.progress.summary(status, reason, self.trainer.target, self.problem.steps_per_epoch)

    # the clock -------------------------------------------------------------------------------------------------------

    def _resume_clock(self) -> None:
        if self.progress.step >= self._known:
            self._started = time.perf_counter()

    def _pause_clock(self) -> None:
        if self._started:
            self.progress.seconds += time.perf_counter() - self._started
            self._started = 0.0
        if self._parallel is not None:  # what ends a run by the clock ends it in all processes
            agreed = self._parallel.agreed(
                self.progress.seconds, self.observer.stop_requested, self.observer.checkpoint_due
            )
            self.progress.seconds, self._agreed_stop, self._agreed_due = agreed
