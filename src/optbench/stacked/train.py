"""The rows of a stack from their first update to their last: what `loop.train` does for one run, for all of them at
once.

Rows step together. What ends a row are the loop's own rules (`loop.rules`): after each update all rows are looked at
as arrays, and the rules are asked about those alone that may have ended. A row that ends is handed over with the
state that it has then; whatever is computed in its place afterwards is never looked at, and at the end of the epoch
the rows that are left move together.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from optbench.descend.plan import Plan
from optbench.loop.progress import Progress, Row, Summary
from optbench.loop.rules import verdict
from optbench.problem import stream
from optbench.records import Status
from optbench.settings import NetworkTrainer
from optbench.stacked.average import Around
from optbench.stacked.chain import Chain
from optbench.stacked.draws import Draws
from optbench.stacked.groups import Grouped, further_rates, numbers_of
from optbench.stacked.passes import Passes, Updates
from optbench.stacked.updates import Apply, Compiled, Norms, Numbers, flushing
from optbench.stacked.weights import Form, counted

State = Mapping[str, Tensor]

_WORK = 2 * 10**10
"""Operations of the updates that are made in one go, some tenths of a second; then it is asked whether to stop."""


@dataclass(frozen=True)
class Examples:
    """A split as the first layers of all rows take it.

    Attributes:
        inputs: (n, features) float32.
        labels: (n,); numbers where there are no classes.
    """

    inputs: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Networks:
    """What the rows of a stack share.

    Attributes:
        model: any of them; its weights are not looked at.
        chain: its layers.
        form: how its parameters lie in a row.
        train, validation: the examples.
        loss: (outputs (n, outputs), labels (n,)) to (n,).
        labels: outputs (n, outputs) to labels (n,); None: there are no classes.
        judged: outputs (n, outputs) and labels (n,) to the columns of trainer.metrics; None: there are none.
        ranked_by, batch_size, steps_per_epoch, exact_gradient: as of the problem.
        trainer: the settings, on which all rows agree.
        steps: updates that each makes at most.
        mini_batch: examples that go through the layers at once, of those of an update.
        around: what is put around the optimizer.
        passes: forward and backward pass compiled; None: they are torch's operations and autograd.
        why: why they are.
    """

    model: nn.Module
    chain: Chain
    form: Form
    train: Examples
    validation: Examples
    loss: Callable[[Tensor, Tensor], Tensor]
    labels: Callable[[Tensor], Tensor] | None
    judged: Callable[[Tensor, Tensor], dict[str, float]] | None
    ranked_by: tuple[str, int]
    batch_size: int
    steps_per_epoch: int
    exact_gradient: bool
    trainer: NetworkTrainer
    steps: int
    mini_batch: int
    around: Around
    passes: Passes | None = None
    why: str = ""

    @property
    def device(self) -> torch.device:
        """Where the rows are computed."""
        return self.train.inputs.device

    @property
    def between(self) -> bool:
        """Whether something is done to a row between a gradient and the next one beside the optimizer's update."""
        around, whole = self.around, self.mini_batch >= self.batch_size
        is_bare = around == Around() and whole and not self.chain.drawing
        return not is_bare


@dataclass
class Ended:
    """A row that has ended.

    Attributes:
        row: its number.
        summary: as of a run by itself, without its own seconds.
        curve: the rows of its curve.
        last: its state at the end, as the model's state_dict.
        best: the same at its best evaluation, with the step; None where it had none.
        beside: last and best to what their checkpoints hold beside that: where weights are averaged, those that are
            trained on.
    """

    row: int
    summary: Summary
    curve: list[Row]
    last: dict[str, Tensor]
    best: tuple[dict[str, Tensor], int] | None
    beside: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class _Best(NamedTuple):
    """A row's weights and statistics at its best evaluation, the product of its decays, and the step; and the first
    three as they are averaged, where they are; as a list once it was kept."""

    weights: Tensor
    statistics: dict[str, Tensor]
    kept: float
    step: int
    averaged: Any = None


@dataclass
class _Line:
    """A row that is under way."""

    number: int
    seed: int
    start: State
    progress: Progress = field(default_factory=Progress)
    evaluated: dict[int, dict[str, float]] = field(default_factory=dict)
    best: _Best | None = None
    ended: bool = False


class Stack:
    """Some rows of a stack.

    Args:
        networks: what they share.
        plan: of the optimizer and the schedule of all rows.
        rows: their numbers in the plan.
        seeds, starts: of each row, its seed and its state_dict before the first update.
        update: the optimizer.
        norms: of gradients.
        decays: whether decoupled weight decay multiplies sums of weights (`updates.moves_alike`).
        forgets: whether numbers below 1.2e-38 are taken for 0 (`updates.forgets_the_smallest`).
    """

    def __init__(
        self,
        networks: Networks,
        plan: Plan | Grouped,
        rows: Sequence[int],
        seeds: Sequence[int],
        starts: Sequence[State],
        update: Apply,
        norms: Norms,
        decays: bool,
        forgets: bool,
    ) -> None:
        self._net, self._update, self._norms, self._decays = networks, update, norms, decays
        self._in_one_call = networks.passes is not None and isinstance(update, Compiled) and not networks.between
        self._forgets = forgets and networks.device.type == "cpu"
        self._lines = [_Line(*one) for one in zip(rows, seeds, starts, strict=True)]
        self._numbers = numbers_of(plan, np.asarray(rows, dtype=np.int64))
        n, form, device = len(rows), networks.form, networks.device
        self.flat = form.taken(starts, device)
        self._gradient = torch.empty_like(self.flat)
        self._memory = torch.zeros(len(plan.rule.memories), n, form.width, device=device)
        self._buffers = {name: torch.stack([s[name] for s in starts]).to(device) for name in form.buffers}
        self._kept = np.ones(n)
        self._average = networks.around.beside(self.flat, self._buffers)
        self._step, self._closed = 0, -1
        self._judges = True
        self._curve = _Curve(n)
        self._correct, self._seen = torch.zeros(n, dtype=torch.int64, device=device), 0
        self._orders: dict[int, Tensor] = {}
        self._order = torch.empty(0)
        self._draws = Draws(networks.chain, device)

    def run(self, stop: Callable[[], bool], on_step: Callable[[int], None]) -> Iterator[Ended]:
        """Trains the rows, and gives each as it ends; where `stop` says so those under way are left.

        Args:
            stop: asked before each update, or some of them (`_WORK`).
            on_step: told how many updates were made, those of all rows counted; the stack may then be asked for its
                `state`.
        """
        while self._lines:
            if self._closes(self._step) and self._closed < self._step:
                yield from self._close_epoch()
                self._closed = self._step
                self._compact()
            if not self._lines or stop():
                return
            begun = self._step
            yield from self._some_steps(self._at_once())
            on_step(len(self._lines) * (self._step - begun))

    def state(self) -> dict[str, Any]:
        """All that rows of other objects need to go on from here, on the CPU: tensors, and plain data.

        To be asked for between two updates: as `on_step` is called, or once `run` has returned.
        """
        lines = [
            {
                "progress": asdict(line.progress),
                "evaluated": line.evaluated,
                "best": line.best and [*line.best[:-1], line.best.averaged and list(line.best.averaged)],
                "ended": line.ended,
            }
            for line in self._lines
        ]
        tensors = {"flat": self.flat, "memory": self._memory, "correct": self._correct, **self._arrays()}
        found = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
        buffers = {name: buffer.cpu().clone() for name, buffer in self._buffers.items()}
        counts = {
            "rows": [line.number for line in self._lines],
            "step": self._step,
            "closed": self._closed,
            "seen": self._seen,
        }
        average = {} if self._average is None else {"average": self._average.state()}
        return {**found, "buffers": buffers, "lines": lines, **counts, **average}

    def _arrays(self) -> dict[str, Tensor]:
        return {"kept": torch.from_numpy(self._kept), "curve": torch.from_numpy(self._curve.values)}

    def restore(self, state: Mapping[str, Any], places: Sequence[int]) -> None:
        """Goes on from where these rows stood.

        Args:
            state: what `state` gave.
            places: of the rows of this stack in it, in order; none of them had ended.

        Raises:
            ValueError: it is of other networks.
        """
        device, where = self._net.device, torch.tensor(places, dtype=torch.int64)
        flat, memory = state["flat"][where], state["memory"][:, where]
        if flat.shape != self.flat.shape or memory.shape != self._memory.shape:
            raise ValueError(f"weights {tuple(flat.shape)}, and not {tuple(self.flat.shape)}")
        self.flat, self._memory = flat.to(device), memory.to(device)
        self._buffers = {name: buffer[where].to(device) for name, buffer in state["buffers"].items()}
        self._correct, self._seen = state["correct"][where].to(device), state["seen"]
        self._step, self._closed = state["step"], state["closed"]
        self._kept = state["kept"][where].numpy()
        if self._average is not None:
            self._average.restore(state["average"], where)
        self._curve.restore(state["curve"][:, where].numpy())
        for line, place in zip(self._lines, places, strict=True):
            kept = state["lines"][place]
            line.progress, line.evaluated = Progress(**kept["progress"]), kept["evaluated"]
            line.best = None if kept["best"] is None else _Best(*kept["best"])
        if self._step % self._net.steps_per_epoch:
            self._order = self._ordered(self._step // self._net.steps_per_epoch)

    @property
    def step(self) -> int:
        """Updates made."""
        return self._step

    def measure(self, updates: int) -> list[list[tuple[float, float]]]:
        """Loss and gradient norm of each row before each of so many updates and after the last, whatever the rules say;
        for a look at rows that are not trained on."""
        self._judges = False
        for _ in range(updates + 1):
            for _ in self._some_steps(1):
                pass
        curves = [self._curve.rows(i) for i in range(len(self._lines))]
        return [[(row["loss"], row["grad_norm"]) for row in curve] for curve in curves]

    # some updates ----------------------------------------------------------------------------------------------------

    def _at_once(self) -> int:
        """How many updates are made in one go: in the same epoch, and no more than take a moment."""
        net = self._net
        if not self._in_one_call:
            return 1
        left = min(net.steps, (self._step // net.steps_per_epoch + 1) * net.steps_per_epoch) - self._step
        return max(1, min(left, _WORK // (6 * net.form.width * net.batch_size * len(self._lines))))

    def _some_steps(self, updates: int) -> Iterator[Ended]:
        if self._in_one_call:
            yield from self._compiled_steps(updates)
        else:
            for _ in range(updates):
                yield from self._one_step()

    def _one_step(self) -> Iterator[Ended]:
        with flushing(self._forgets):
            loss, norm = self._measured() if self._net.passes is None else self._measured_by(self._net.passes)
        self._curve.add(loss, norm, self._numbers.rates(self._step))
        for i in self._judged(loss, norm):
            yield from self._look(i)
        self._clip(norm)
        keep = self._numbers.decay(self._step) if self._decays else np.ones(len(self._lines))
        with torch.no_grad(), np.errstate(over="ignore", invalid="ignore"), flushing(self._forgets):
            self._update(self.flat, self._gradient, self._memory, self._numbers.at(self._step), keep, self._step)
        self._kept = self._kept * keep
        self._step += 1
        if self._average is not None:
            self._average.update(self.flat, self._buffers, self._kept, self._step)

    def _compiled_steps(self, updates: int) -> Iterator[Ended]:
        """The same for several updates, which are made and then looked at one by one."""
        assert self._net.passes is not None
        begun, statistics = (self.flat.clone(), self._memory.clone(), self._statistics()), self._statistics()
        work, keep = self._updates(updates, statistics)
        with flushing(self._forgets):
            self._net.passes.train(work)
        self._take_statistics(statistics)
        self._count(work)
        for k in range(updates):
            self._curve.add(work.loss[k], work.norm[k], self._numbers.rates(self._step))
            for i in self._judged(work.loss[k], work.norm[k]):
                yield from self._look(i, functools.partial(self._again, i, k, work, begun))
            self._kept = self._kept * keep[k]
            self._step += 1

    def _updates(self, updates: int, statistics: NDArray[np.float32]) -> tuple[Updates, NDArray[np.float64]]:
        """What is to be made, from this step on, and the factors of decay, (updates, rows)."""
        assert isinstance(self._update, Compiled)
        assert isinstance(self._numbers, Numbers)
        spans = [self._batch_at(self._step + k) for k in range(updates)]
        numbers, keep = self._numbers.block(self._step, updates, self._decays)
        work = self._work(spans, statistics)
        return replace(work, rule=self._update.address, numbers=numbers, whole=updates), keep

    def _work(self, spans: Sequence[tuple[int, int]], statistics: NDArray[np.float32]) -> Updates:
        """Gradients of these batches of this epoch, without a move."""
        net, n = self._net, len(self._lines)
        found, none = np.empty((2, len(spans), n)), np.zeros((1, 1, 1), dtype=np.float32)
        return Updates(
            rule=0, inputs=net.train.inputs.numpy(), order=self._order_at(self._step).numpy(), spans=np.array(spans),
            x=self.flat.numpy(), g=self._gradient.numpy(), memory=self._memory.numpy(), statistics=statistics,
            masks=np.zeros((n, 0), dtype=np.float32),
            counts=none[0, 0, :0] if net.form.counts is None else net.form.counts.numpy(), numbers=none,
            clip=math.inf if net.trainer.clip_norm is None else net.trainer.clip_norm, first=self._step, whole=0,
            which=np.arange(n), loss=found[0], norm=found[1], correct=np.zeros(n, dtype=np.int64),
        )  # fmt: skip

    def _count(self, work: Updates) -> None:
        """Takes down how many examples were told right."""
        if self._net.labels is not None:
            self._seen += int((work.spans[:, 1] - work.spans[:, 0]).sum())
            self._correct += torch.from_numpy(work.correct)

    def _again(self, i: int, k: int, work: Updates, begun: tuple[Tensor, Tensor, NDArray[np.float32]]) -> None:
        """Takes a row back to where the updates began, and on to the k-th of them."""
        assert self._net.passes is not None
        self.flat[i], self._memory[:, i], work.statistics[i] = begun[0][i], begun[1][:, i], begun[2][i]
        spans, unseen = work.spans[: k + 1], np.empty((2, k + 1, len(self._lines)))
        with flushing(self._forgets):
            self._net.passes.train(
                replace(work, spans=spans, whole=k, which=np.array([i]), loss=unseen[0], norm=unseen[1],
                        correct=np.zeros_like(work.correct))
            )  # fmt: skip
        self._take_statistics(work.statistics)

    def _statistics(self) -> NDArray[np.float32]:
        """A copy of batch norm's statistics, (rows, s) as the compiled passes have them."""
        return self._side_by_side(self._buffers)

    def _side_by_side(self, buffers: Mapping[str, Tensor]) -> NDArray[np.float32]:
        assert self._net.passes is not None
        return torch.cat([self.flat[:, :0], *(buffers[name] for name in self._net.passes.statistics)], dim=1).numpy()

    def _take_statistics(self, found: NDArray[np.float32]) -> None:
        assert self._net.passes is not None
        names = self._net.passes.statistics
        parts = torch.from_numpy(found).split([self._buffers[name].shape[1] for name in names], dim=1) if names else ()
        self._buffers = {name: part.contiguous() for name, part in zip(names, parts, strict=True)}

    def _measured_by(self, passes: Passes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """As `_measured`, by compiled passes."""
        begin, end = self._batch_at(self._step)
        sizes = piece_sizes(end - begin, self._net.mini_batch)
        masks = self._draws.masks([line.seed for line in self._lines], self._step, sizes)
        statistics, parts = self._statistics(), list[Updates]()
        for size, own in zip(sizes, masks, strict=True):
            work = self._work([(begin, begin + size)], statistics)
            if own:
                drawn = torch.cat([mask.flatten(1) for mask in own.values()], dim=1).numpy()
                work = replace(work, masks=drawn)
            if len(sizes) > 1:
                work = replace(work, g=np.empty_like(work.g))
            passes.train(work)
            self._count(work)
            parts.append(work)
            begin += size
        self._take_statistics(statistics)
        if len(parts) == 1:
            return parts[0].loss[0], parts[0].norm[0]
        shares = [size / sum(sizes) for size in sizes]
        self._gradient.zero_()
        for share, part in zip(shares, parts, strict=True):
            self._gradient.add_(torch.from_numpy(part.g), alpha=share)
        loss = np.stack([share * part.loss[0] for share, part in zip(shares, parts, strict=True)]).sum(axis=0)
        return loss, self._norms(self._gradient).double().numpy()

    def _measured(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Loss and gradient norm of each row on its batch, (rows,) each; the gradients lie in the matrix for them."""
        inputs, labels = self._batch()
        sizes = piece_sizes(labels.shape[1], self._net.mini_batch)
        masks = self._draws.masks([line.seed for line in self._lines], self._step, sizes)
        if len(sizes) == 1:
            loss = self._differentiated(inputs, labels, masks[0], self._gradient)
        else:
            loss, piece = torch.zeros(len(labels), device=labels.device), torch.empty_like(self._gradient)
            self._gradient.zero_()
            parts = (whole.split(sizes, dim=1) for whole in (inputs, labels))
            for size, some, own, mask in zip(sizes, *parts, masks, strict=True):
                share = size / labels.shape[1]
                loss += share * self._differentiated(some, own, mask, piece)
                self._gradient.add_(piece, alpha=share)
        both = torch.stack([loss.double(), self._norms(self._gradient).double()]).cpu().numpy()
        return both[0], both[1]

    def _differentiated(self, inputs: Tensor, labels: Tensor, masks: Mapping[str, Tensor], into: Tensor) -> Tensor:
        """The loss of each row (rows,) on inputs (rows, b, features); its gradient goes into a matrix like that of the
        weights."""
        net = self._net
        leaves, places = net.form.leaves(self.flat), net.form.views(into)
        outputs = net.chain.forward(leaves, self._buffers, inputs.mT, places, masks)
        rows, b = labels.shape
        whole = outputs.mT.flatten(0, 1)
        losses = net.loss(whole, labels.reshape(-1)).view(rows, b).mean(dim=1)
        found = torch.autograd.grad(losses.sum(), list(leaves.values()), allow_unused=True)
        for place, gradient in zip(places.values(), found, strict=True):
            if gradient is not None:  # of linear layers and convolutions it is there
                place.copy_(gradient)
        if net.labels is not None:
            said = net.labels(whole.detach()).view(rows, b)
            self._correct += (said == labels).sum(dim=1)
            self._seen += b
        return losses.detach()

    def _batch(self) -> tuple[Tensor, Tensor]:
        """The batch of this update of each row: inputs (rows, b, features), labels (rows, b)."""
        first, last = self._batch_at(self._step)
        index = self._order_at(self._step)[:, first:last]
        picked = index.reshape(-1)
        inputs = self._net.train.inputs.index_select(0, picked).unflatten(0, tuple(index.shape))
        return inputs, self._net.train.labels.index_select(0, picked).view(index.shape)

    def _batch_at(self, step: int) -> tuple[int, int]:
        """Where the batch of an update begins and ends in the order of its epoch."""
        net, position = self._net, step % self._net.steps_per_epoch
        first = position * net.batch_size
        return first, len(net.train.labels) if position == net.steps_per_epoch - 1 else first + net.batch_size

    def _order_at(self, step: int) -> Tensor:
        """(rows, n) the order of the examples in the epoch of an update, which is not before the last that was asked
        for."""
        if step % self._net.steps_per_epoch == 0 or not len(self._order):
            self._order = self._ordered(step // self._net.steps_per_epoch)
        return self._order

    def _ordered(self, epoch: int) -> Tensor:
        """(rows, n) the order of the examples in an epoch; runs of one seed have the same."""
        n = len(self._net.train.labels)
        seeds = {line.seed for line in self._lines}
        made = {seed: torch.randperm(n, generator=stream(seed, "order", epoch)) for seed in seeds}
        return torch.stack([made[line.seed] for line in self._lines]).to(self._net.device)

    def _clip(self, norm: NDArray[np.float64]) -> None:
        """As torch.nn.utils.clip_grads_with_norm_ does, row by row."""
        if (most := self._net.trainer.clip_norm) is not None:
            factor = np.minimum(most / (norm + 1e-6), 1.0)
            self._gradient *= torch.from_numpy(factor).to(self._gradient)[:, None]
        around = self._net.around
        if around.value is not None:
            self._gradient.clamp_(-around.value, around.value)
        if around.norm is not None:
            now = self._norms(self._gradient).to(self._gradient)
            self._gradient *= (around.norm / (now + 1e-6)).clamp(max=1.0)[:, None]

    # the rules -------------------------------------------------------------------------------------------------------

    def _judged(self, loss: NDArray[np.float64], norm: NDArray[np.float64]) -> list[int]:
        """Places of the rows that some rule may end at this iterate."""
        net, trainer = self._net, self._net.trainer
        if not self._judges:
            return []
        start = np.maximum(1.0, np.abs(np.nan_to_num(self._curve.start)))
        with np.errstate(invalid="ignore", over="ignore"):
            may = ~(np.abs(loss) <= trainer.divergence_factor * start) | ~np.isfinite(norm)
            if net.exact_gradient:
                may |= norm <= trainer.grad_tol
        if trainer.plateau_steps is not None:
            since = np.array([line.progress.plateau_step for line in self._lines])
            may |= self._step - since >= trainer.plateau_steps
        return [i for i in np.flatnonzero(may).tolist() if not self._lines[i].ended]

    def _look(self, i: int, back: Callable[[], None] = lambda: None) -> Iterator[Ended]:
        """Asks the rules about a row whose loss and gradient of this step are known; `back` makes its weights those of
        this step."""
        progress, net = self._synced(i), self._net
        begun = self._step // net.steps_per_epoch * net.steps_per_epoch
        progress.epoch_losses = self._curve.losses(i, begun)
        row = {"step": self._step, "loss": progress.epoch_losses[-1], "grad_norm": progress.grad_norm}
        found = verdict(row, progress, net.trainer, net.exact_gradient)
        if found is not None:
            back()
            yield self._end(i, *found)

    def _synced(self, i: int) -> Progress:
        progress = self._lines[i].progress
        progress.step = progress.evals = self._step
        if self._curve.measured:
            progress.start_loss, progress.grad_norm = float(self._curve.start[i]), self._curve.norm(i)
        return progress

    # epochs ----------------------------------------------------------------------------------------------------------

    def _closes(self, step: int) -> bool:
        return step % self._net.steps_per_epoch == 0 or step >= self._net.steps

    def _close_epoch(self) -> Iterator[Ended]:
        """Judges the epoch that ended, evaluates where due, and ends rows where a rule says so; see loop.train."""
        net, last = self._net, self._step >= self._net.steps
        epoch = self._step // net.steps_per_epoch
        begun = (self._step - 1) // net.steps_per_epoch * net.steps_per_epoch if self._step else 0
        shares = (self._correct.double() / self._seen).tolist() if self._seen else []
        self._correct.zero_()
        self._seen = 0
        due = epoch % net.trainer.eval_every == 0 or last
        figures = self._evaluate() if due else []
        for i, line in enumerate(self._lines):
            if line.ended:
                continue
            progress, at = self._synced(i), line.evaluated.setdefault(self._step, {})
            if self._step:
                if shares:
                    at["train_accuracy"] = shares[i]
                losses = self._curve.losses(i, begun)
                progress.judge(sum(losses) / len(losses), net.trainer.plateau_delta)
                progress.epoch_losses = []
            if due:
                at.update(figures[i])
                if progress.evaluated(figures[i], net.ranked_by):
                    self._keep_best(i)
            found = (
                verdict({"step": self._step, **at}, progress, net.trainer, net.exact_gradient) if self._step else None
            )
            if found is None and last:
                found = Status.COMPLETED, f"made all {self._step} updates"
            if found is not None:
                yield self._end(i, *found)

    @torch.no_grad()
    def _evaluate(self) -> list[dict[str, float]]:
        net, rows, held = self._net, len(self._lines), self._net.validation
        outputs = self._outputs(held.inputs).flatten(0, 1)
        labels = held.labels.repeat(rows)
        losses = net.loss(outputs, labels).view(rows, -1).mean(dim=1).tolist()
        found = [{"val_loss": value} for value in losses]
        if net.judged is not None:
            each, wanted = outputs.view(rows, len(held.labels), -1).cpu(), held.labels.cpu()
            return [{**own, **net.judged(of_row, wanted)} for own, of_row in zip(found, each, strict=True)]
        if net.labels is not None:
            right = (net.labels(outputs) == labels).view(rows, -1).double().mean(dim=1).tolist()
            return [{**own, "val_accuracy": share} for own, share in zip(found, right, strict=True)]
        return found

    def _outputs(self, inputs: Tensor) -> Tensor:
        """(rows, n, outputs) of examples (n, features), as they are evaluated."""
        weights, buffers = self.flat, self._buffers
        if self._average is not None:
            weights, buffers = self._average.weights, self._average.statistics
        if (passes := self._net.passes) is not None:
            return torch.from_numpy(passes.outputs(weights.numpy(), self._side_by_side(buffers), inputs.numpy()))
        whole = inputs.mT.expand(len(self._lines), *inputs.mT.shape)
        return self._net.chain.forward(self._net.form.views(weights), buffers, whole).mT

    def _keep_best(self, i: int) -> None:
        statistics = {name: buffer[i].clone() for name, buffer in self._buffers.items()}
        averaged = self._averaged(i)
        self._lines[i].best = _Best(self.flat[i].clone(), statistics, float(self._kept[i]), self._step, averaged)

    def _averaged(self, i: int) -> tuple[Tensor, dict[str, Tensor], float] | None:
        """A row's averaged weights and statistics, and the product of its decays; None where nothing is averaged."""
        if (mean := self._average) is None:
            return None
        statistics = {name: value[i].clone() for name, value in mean.statistics.items()}
        return mean.weights[i].clone(), statistics, float(mean.kept[i])

    # the end of a row ------------------------------------------------------------------------------------------------

    def _end(self, i: int, status: Status, reason: str) -> Ended:
        net, line = self._net, self._lines[i]
        line.ended = True
        now = {name: buffer[i] for name, buffer in self._buffers.items()}
        batches = self._curve.measured  # forward passes of the training
        last = self._state(line, self.flat[i], now, float(self._kept[i]), batches)
        best, beside, is_counted = None, {}, net.around.with_statistics
        if (mean := self._averaged(i)) is not None:
            beside["last"] = {"trained": last} | ({"averaged": line.progress.step} if is_counted else {})
            last = self._state(line, *mean, batches)
        if line.best is not None:
            row, statistics, kept, step, averaged = line.best
            best = self._state(line, row, statistics, kept, step), step
            if averaged is not None:
                beside["best"] = {"trained": best[0]} | ({"averaged": step} if is_counted else {})
                row, statistics, kept = averaged
                best = self._state(line, row, statistics, kept, step), step
        summary = line.progress.summary(status, reason, net.trainer.target, net.steps_per_epoch)
        return Ended(line.number, summary, list(self._rows(i, line)), last, best, beside)

    def _state(
        self, line: _Line, row: Tensor, statistics: Mapping[str, Tensor], kept: float, batches: int
    ) -> dict[str, Tensor]:
        """A row's state_dict, in the order of the model's, after so many updates' passes; on the CPU."""
        found = self._net.form.state(row, line.start, kept) | {n: b.clone() for n, b in statistics.items()}
        passes = self._passes(batches)
        found |= {name: torch.full_like(b, passes) for name, b in line.start.items() if counted(name)}
        return {name: found.get(name, before).cpu() for name, before in line.start.items()}

    def _passes(self, updates: int) -> int:
        """Mini-batches that so many updates have seen."""
        net = self._net
        rest = len(net.train.labels) - (net.steps_per_epoch - 1) * net.batch_size
        sizes = [net.batch_size] * (net.steps_per_epoch - 1) + [rest]
        of_each = [len(piece_sizes(size, net.mini_batch)) for size in sizes]
        epochs, left = divmod(updates, net.steps_per_epoch)
        return epochs * sum(of_each) + sum(of_each[:left])

    def _rows(self, i: int, line: _Line) -> Iterator[Row]:
        """The rows of the curve that are recorded, as the loop records them."""
        per_epoch, every, end = self._net.steps_per_epoch, self._net.trainer.record_every, line.progress.step
        measured = self._curve.rows(i)
        if len(measured) <= end:
            measured.append({"step": end, "lr": float(self._numbers.rates(end)[i])})
        for name, rates in further_rates(self._numbers, i, end + 1).items():
            for row, rate in zip(measured, rates, strict=False):
                row[name] = rate
        for row in measured[: end + 1]:
            beside = line.evaluated.get(row["step"], {})
            if row["step"] % every == 0 or "val_loss" in beside or row["step"] == end:
                yield {**row, "epoch": row["step"] / per_epoch, "evals": row["step"], **beside}

    def _compact(self) -> None:
        """Lets the rows go that have ended."""
        if not any(line.ended for line in self._lines):
            return
        left = [i for i, line in enumerate(self._lines) if not line.ended]
        where = torch.tensor(left, dtype=torch.int64, device=self._net.device)
        self._lines = [self._lines[i] for i in left]
        self.flat = self.flat.index_select(0, where)
        self._gradient = torch.empty_like(self.flat)
        self._memory = self._memory.index_select(1, where)
        self._buffers = {name: buffer.index_select(0, where) for name, buffer in self._buffers.items()}
        self._correct = self._correct.index_select(0, where)
        if self._average is not None:
            self._average.take(where)
        self._order = self._order.index_select(0, where) if len(self._order) else self._order
        kept = np.array(left, dtype=np.int64)
        self._kept, self._numbers = self._kept[kept], self._numbers.some(kept)
        self._curve.take(kept)


def piece_sizes(examples: int, size: int) -> list[int]:
    """How many examples each mini-batch of an update has; one by itself joins the one before it, as of the loop."""
    whole, rest = divmod(examples, size)
    if rest == 1 and whole and size > 1:
        return [size] * (whole - 1) + [size + 1]
    return [size] * whole + ([rest] if rest else [])


class _Curve:
    """What the rows measured, step by step: loss, gradient norm and learning rate."""

    def __init__(self, rows: int) -> None:
        self._values = np.empty((64, rows, 3))
        self.measured = 0
        """Steps whose numbers are known: 0 to one less."""

    @property
    def values(self) -> NDArray[np.float64]:
        """(steps, rows, 3) all that is known."""
        return self._values[: self.measured]

    def restore(self, values: NDArray[np.float64]) -> None:
        """Takes what another one's `values` were."""
        self._values, self.measured = np.concatenate([values, np.empty_like(self._values[:64])]), len(values)

    @property
    def start(self) -> NDArray[np.float64]:
        """(rows,) the loss before the first update."""
        return self._values[0, :, 0]

    def add(self, *columns: NDArray[np.float64]) -> None:
        """What a step measured, (rows,) each."""
        if self.measured == len(self._values):
            self._values = np.concatenate([self._values, np.empty_like(self._values)])
        self._values[self.measured] = np.stack(columns, axis=1)
        self.measured += 1

    def losses(self, i: int, begin: int = 0) -> list[float]:
        """Of a row, from a step on."""
        found: list[float] = self._values[begin : self.measured, i, 0].tolist()
        return found

    def norm(self, i: int) -> float:
        """The last one of a row."""
        return float(self._values[self.measured - 1, i, 1])

    def rows(self, i: int) -> list[Row]:
        """Of a row, all that was measured."""
        of_row = self._values[: self.measured, i].tolist()
        return [{"step": k, "loss": loss, "grad_norm": norm, "lr": lr} for k, (loss, norm, lr) in enumerate(of_row)]

    def take(self, which: NDArray[np.int64]) -> None:
        """Keeps some of the rows."""
        self._values = self._values[:, which]
