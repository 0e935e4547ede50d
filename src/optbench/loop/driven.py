"""An optimizer with the protocol that it speaks: what it declares, and what can be seen of its class.

Seen are: how `step` is called, by its signature; `train()` and `eval()`; `fused_backward(loss, lr)`, by which LOMO
updates within the backward pass; `update_last_grad()`, which MARS wants after each step. What cannot be seen and is not
declared, and without which the numbers would be wrong, is asked for before the start.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from optbench.disjoint import Together
from optbench.errors import IncompatibleError
from optbench.loop.drive import (
    KNOWN,
    around_driver,
    driver,
    forgetter,
    loss_keyword,
    step_parameters,
    takes_closure,
)
from optbench.problem import AbstractProblem, Batch
from optbench.protocol import MANY, OptimizerProtocol, around, check_served, check_shared, declared
from optbench.settings import NetworkTrainer, SurfaceTrainer
from optbench.wrapper_base import AbstractWrapper


@dataclass(frozen=True)
class Spoken:
    """The protocol of an optimizer.

    Attributes:
        protocol: with what was seen filled in: `closure` stays auto where only running it tells how often it calls it;
            `modes` is true or false.
        seen: what was seen of the class without being told, a sentence each.
        known: whether it is torch's or this package's: then it is known to draw nothing and to keep all in its state.
        core: the protocol of the optimizer within, where something is around it.
    """

    protocol: OptimizerProtocol
    seen: tuple[str, ...] = ()
    known: bool = True
    core: OptimizerProtocol | None = None

    @property
    def noted(self) -> tuple[str, ...]:
        """What of it a user who declared nothing should hear."""
        return tuple(sentence for sentence in self.seen if not sentence.startswith("step("))

    def facts(self) -> dict[str, Any]:
        """For the record; empty where the optimizer is driven as torch's own are."""
        said = declared(self.protocol)
        said.pop("modes" if not self.protocol.modes else "", None)
        plain = self.known and set(said) <= {"closure"}
        return {} if plain else {**said, **({"seen": list(self.seen)} if self.seen else {})}


def spoken(optimizer: torch.optim.Optimizer, protocol: OptimizerProtocol | None = None) -> Spoken:
    """The protocol of an optimizer that declares this one.

    Raises:
        IncompatibleError: it lacks what it declares, or cannot be driven without what it does not declare; or something
            is around it that cannot be.
    """
    if isinstance(optimizer, AbstractWrapper):
        return _spoken_around(optimizer, spoken(optimizer.inner, protocol))
    said, name = protocol or OptimizerProtocol(), type(optimizer).__name__
    if not hasattr(optimizer, "param_groups"):
        raise IncompatibleError(f"{name} is no torch.optim.Optimizer: it has no param_groups",
                                "derive it from torch.optim.Optimizer")  # fmt: skip
    known = all(type(part).__module__.startswith(KNOWN) for part in parts_of(optimizer))
    if known and said == OptimizerProtocol():
        return Spoken(replace(said, closure=_closure_of(optimizer, known), modes=False))
    seen: list[str] = []
    found = _seen(optimizer, said, seen, known)
    _check_has(optimizer, found)
    _check_closure(optimizer, found)
    return Spoken(found, tuple(seen), known)


def _spoken_around(wrapper: AbstractWrapper, within: Spoken) -> Spoken:
    """The protocol of what is around an optimizer that speaks this one."""
    name = wrapper.name or type(wrapper).__name__
    found = around(within.protocol, wrapper.asked, name, type(wrapper.inner).__name__)
    _check_has(wrapper.core, replace(found, modes=False))
    known = within.known and type(wrapper).__module__.startswith(KNOWN)
    return Spoken(found, within.seen, known, within.core or within.protocol)


def parts_of(optimizer: torch.optim.Optimizer) -> list[torch.optim.Optimizer]:
    """The optimizers that one is made of where it has several for disjoint parameters; else itself."""
    return optimizer.parts if isinstance(optimizer, Together) else [optimizer]


def _closure_of(optimizer: torch.optim.Optimizer, known: bool) -> str:
    """The kind of closure that a signature tells."""
    if isinstance(optimizer, torch.optim.LBFGS):
        return "several"
    parameters = step_parameters(optimizer)
    if any(p.name == "loss" and (p is parameters[0] or _is_required(p)) for p in parameters):
        return "loss"
    if not takes_closure(optimizer):
        return "none"
    return "once" if known else "auto"


def _seen(optimizer: Any, said: OptimizerProtocol, seen: list[str], known: bool) -> OptimizerProtocol:
    found = said
    if said.backward == "plain" and _has(optimizer, "fused_backward"):
        found = replace(found, backward="fused")
        seen.append("fused_backward(): it updates within the backward pass")
    if found.backward != "fused" and said.closure == "auto":
        found = replace(found, closure=_closure_of(optimizer, known))
        if found.closure == "none":
            seen.append("step() takes no closure: it finds the gradients ready")
        elif found.closure == "loss":
            seen.append("step(loss) takes the loss: it finds the gradients ready")
        elif not known and (first := step_parameters(optimizer)[0]).default is first.empty:
            seen.append(f"step({first.name}) cannot do without its closure")
    if said.modes is None:
        both = _has(optimizer, "train") and _has(optimizer, "eval")
        found = replace(found, modes=both)
        if both:
            seen.append("train() and eval(): what looks at the weights looks at those of eval()")
    if said.after_step is None and _has(optimizer, "update_last_grad"):
        found = replace(found, after_step="update_last_grad")
        seen.append("update_last_grad(): called after each step")
    return found


def _is_required(parameter: inspect.Parameter) -> bool:
    is_one = parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return is_one and parameter.default is parameter.empty


def _has(optimizer: Any, method: str) -> bool:
    return callable(getattr(optimizer, method, None))


def _check_has(optimizer: Any, found: OptimizerProtocol) -> None:
    """Checks that the methods are there that a protocol names."""
    name = type(optimizer).__name__
    wanted = [
        *(["fused_backward"] if found.backward == "fused" else []),
        *(["train", "eval"] if found.modes else []),
        *([found.after_step] if found.after_step else []),
        *([found.extra_call] if found.extra_every else []),
    ]
    for method in wanted:
        if not _has(optimizer, method):
            raise IncompatibleError(f"optimizer.protocol wants {name}.{method}(), and {name} has no such method")
    if _has(optimizer, "update_hessian") and not found.extra_every and found.after_step != "update_hessian":
        raise IncompatibleError(
            f"{name}.update_hessian() wants a backward pass of its own now and then, which nothing declares",
            "optimizer.protocol.extra_every=10 makes one every 10 updates, on labels drawn from the network",
        )


def _check_closure(optimizer: Any, found: OptimizerProtocol) -> None:
    """Checks that `step` can be called as a protocol says."""
    if found.backward == "fused":
        return
    name, parameters = type(optimizer).__name__, step_parameters(optimizer)
    if found.rows_as is not None and not any(
        p.name == found.rows_as or p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters
    ):
        raise IncompatibleError(f"optimizer.protocol.rows_as={found.rows_as}: {name}.step has no such keyword")
    needed = [p.name for p in parameters if _is_required(p) and p.name != found.rows_as]
    if found.closure == "none":
        if needed:
            raise IncompatibleError(f"optimizer.protocol.closure=none: {name}.step cannot do without {needed[0]}")
        return
    by_name = found.closure == "loss" and loss_keyword(optimizer)
    if not by_name and not takes_closure(optimizer):
        raise IncompatibleError(f"optimizer.protocol.closure={found.closure}: {name}.step takes none")
    given = "loss" if by_name else parameters[0].name
    if beside := [one for one in needed if one != given]:
        raise IncompatibleError(
            f"{name}.step cannot do without {', '.join(beside)}, which the loop has not",
            f"it gives a closure or the loss; the rows of the batch by optimizer.protocol.rows_as={beside[0]}",
        )


class Driven:
    """An optimizer as it is driven.

    Args:
        optimizer: any torch optimizer.
        problem: whose parameters it has.
        trainer: settings of the run.
        protocol: that it declares; None: nothing.

    Attributes:
        spoken: its protocol.
        update: see `drive.driver`.
        core: the optimizer itself, whatever is around it.
        forget: forgets the gradients.
        differentiate: the objective on a batch, its gradients where the optimizer finds them.

    Raises:
        IncompatibleError: it cannot be driven so.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        problem: AbstractProblem,
        trainer: SurfaceTrainer | NetworkTrainer,
        protocol: OptimizerProtocol | None = None,
    ) -> None:
        self.optimizer, self.problem = optimizer, problem
        self.spoken = spoken(optimizer, protocol)
        self.protocol = self.spoken.protocol
        check_served(self.protocol, trainer, type(optimizer).__name__)
        if problem.parallel is not None:
            from optbench.problem.shares import check_hooks

            check_shared(self.protocol, type(optimizer).__name__)
            check_hooks(problem.module, type(optimizer).__name__)
        self.is_fused = self.protocol.backward == "fused"
        core = optimizer
        if isinstance(optimizer, AbstractWrapper):
            core = optimizer.core
            self.update = around_driver(optimizer, self.spoken.core)
        else:
            self.update = driver(optimizer, self.protocol)
        self.core = core
        self.forget: Callable[[], None] = forgetter(core)
        self.differentiate: Callable[[Batch], Tensor] = problem.differentiate
        self.products = Products()
        if self.protocol.backward == "create_graph":
            self.differentiate = self._with_graph
        self.calls_again = self.protocol.closure in (*MANY, "auto")
        """Whether the closure may be called again once the weights have been moved."""
        after = self.protocol.after_step
        self._after_step: Callable[[], Any] | None = None if after is None else getattr(core, after)
        self.has_extra, self.tells_rows = self.protocol.extra_every is not None, self.protocol.rows_as is not None
        self.has_end = after is not None or self.protocol.backward == "create_graph"
        """Whether there is something to do after an update, which `end` does."""

    def end(self) -> int:
        """What is done after an update; how many products with the Hessian it took."""
        if self._after_step is not None:
            self._after_step()
        if self.protocol.backward == "create_graph":
            self.forget()  # and with the gradients their graph, which holds all that the forward pass computed
        return self.products.taken()

    def _with_graph(self, batch: Batch) -> Tensor:
        loss = self.problem.differentiate_with_graph(batch)
        self.products.watch(p.grad for group in self.optimizer.param_groups for p in group["params"])
        return loss

    def is_extra_due(self, step: int) -> bool:
        """Whether update number `step` has an extra pass before it."""
        return self.protocol.extra_every is not None and step % self.protocol.extra_every == 0

    def extra(self, batch: Batch, step: int) -> None:
        """The extra pass of an update: gradients on labels drawn from the network, and what the optimizer makes of
        them."""
        self.forget()
        self.problem.differentiate_sampled(batch, step)
        getattr(self.core, self.protocol.extra_call)()
        self.forget()
        self.problem.seed_draws(step)  # the update that follows draws what it would draw without

    def fused(self, batch: Batch) -> Fused:
        """A forward pass, whose backward pass will be the update."""
        self.forget()
        return Fused(self.optimizer, self.problem.objective(batch))


@dataclass
class Products:
    """Counts products with the Hessian: backward passes through the graph of the gradients, each once.

    A pass for several vectors at once (`is_grads_batched`) counts once.
    """

    _passes: set[int] = field(default_factory=set)

    def watch(self, gradients: Any) -> None:
        """Counts passes through these gradients from now on."""
        for gradient in gradients:
            if gradient is not None and gradient.grad_fn is not None:
                gradient.grad_fn.register_prehook(self._note)

    def _note(self, _: Any) -> None:
        self._passes.add(torch._C._current_graph_task_id())

    def taken(self) -> int:
        """How many since the last time."""
        count = len(self._passes)
        self._passes.clear()
        return count


class Fused:
    """An update within the backward pass of a loss, with the gradient norm noted as it goes by.

    Args:
        optimizer: with `fused_backward(loss, lr)`, and `grad_norm(loss)` where it clips by the norm.
        loss: with its graph.
    """

    def __init__(self, optimizer: Any, loss: Tensor) -> None:
        self._optimizer, self.loss = optimizer, loss
        self.passes = 0
        """Backward passes so far."""

    def make(self) -> Tensor:
        """Makes the update; gives the norm of the gradient, a scalar."""
        squares: dict[int, Tensor] = {}
        scale = torch.ones(())

        def note_scale(gradient: Tensor) -> None:
            nonlocal scale  # some multiply the loss before they pass it backward
            scale = gradient.detach().double()

        def note(parameter: Tensor) -> Callable[[Tensor], None]:
            def noted(gradient: Tensor) -> None:
                squares[id(parameter)] = gradient.detach().double().square().sum()

            return noted

        groups = self._optimizer.param_groups
        watched = [p.register_hook(note(p)) for group in groups for p in group["params"] if p.requires_grad]
        watched.append(self.loss.register_hook(note_scale))
        clip = getattr(self._optimizer, "clip_grad_norm", None)
        try:
            if clip is not None and clip > 0.0:
                self._optimizer.grad_norm(self.loss)
                self.passes += 1
            self._optimizer._opt_called = True  # schedulers look whether there was an update
            self._optimizer.fused_backward(self.loss, groups[0]["lr"])
            self.passes += 1
        finally:
            for handle in watched:
                handle.remove()
        return torch.stack(list(squares.values())).sum().sqrt() / scale if squares else torch.zeros(())
