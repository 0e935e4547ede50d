"""How an optimizer is called: with a closure that measures; for one that takes none, the closure comes first.

torch's protocol is `step(closure)`, where the closure computes the loss and its gradients and the optimizer calls it
once or several times. Optimizers that people write differ: `step(self)` expects gradients that are there already, and
some call the closure while gradients are switched off. Both are driven as they are meant; what else there is, an
optimizer declares (`optbench.protocol`), and one that looks at gradients before its closure computed any is asked to.
One that takes a closure and never calls it cannot be told from one that does nothing, so that ends the run.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import optimizer as optimizer_module

from optbench.errors import RunFailure
from optbench.loop.lacking import Look, looking
from optbench.protocol import OptimizerProtocol
from optbench.wrapper_base import AbstractWrapper

Closure = Callable[[], Tensor]


class Update(Protocol):
    """One update, as a function of the closure and the number of rows in the batch, which few want to know."""

    def __call__(self, closure: Closure, rows: int = 0) -> None: ...


_POSITIONAL = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
)


def driver(optimizer: torch.optim.Optimizer, protocol: OptimizerProtocol | None = None) -> Update:
    """One update of this optimizer, as a function of the closure and of the number of rows in the batch.

    Args:
        optimizer: any torch optimizer.
        protocol: what it asks for; None: what its signature says.

    Raises (the function returned):
        RunFailure: the optimizer took the closure and did not call it, or called it more often than it declares.
    """
    protocol = protocol or OptimizerProtocol()
    if protocol.rows_as is not None:
        return _told_of_rows(optimizer, protocol, protocol.rows_as)
    return _update(optimizer, _stepper(optimizer), protocol.closure)


def around_driver(wrapper: AbstractWrapper, core: OptimizerProtocol | None) -> Update:
    """One update of what is around an optimizer, whose own protocol is `core`; as `driver` otherwise."""
    layers = wrapper.layers
    inner, told = driver(wrapper.core, core), [0]
    layers[-1].drive = lambda closure: inner(closure, told[0])
    for outer, within in itertools.pairwise(layers):
        outer.drive = within.step
    made = _with_closure(wrapper.step, f"{type(wrapper).__name__}.step", "several")

    def update(closure: Closure, rows: int = 0) -> None:
        told[0] = rows
        made(closure)

    return update


def _update(optimizer: torch.optim.Optimizer, step: Callable[..., None], kind: str) -> Update:
    if kind == "auto":
        kind = "closure" if takes_closure(optimizer) else "none"
    if kind == "loss" and loss_keyword(optimizer):
        return _with_gradients_and_loss(lambda loss: optimizer.step(loss=loss))  # type: ignore[call-overload]
    if (make := _READY.get(kind)) is not None:
        return make(step)
    update = _with_closure(step, f"{type(optimizer).__name__}.step", kind)
    is_known = type(optimizer).__module__.startswith(KNOWN)
    return update if kind != "closure" or is_known else _asked_at_first(update, optimizer)


def _asked_at_first(update: Update, optimizer: torch.optim.Optimizer) -> Update:
    """An update by a class that declares no kind of closure: the first one says so where it looks at gradients before
    there are any, which would make another method of it."""
    is_first = True

    def asking(closure: Closure, rows: int = 0) -> None:
        nonlocal is_first
        if not is_first:
            update(closure, rows)
            return
        with looking(optimizer) as look:

            def first() -> Tensor:
                _check_look(look, optimizer)
                look.open = False
                return closure()

            try:
                update(first, rows)
            except RunFailure:
                raise
            except Exception:
                if look.open:  # it broke before it called its closure
                    _check_look(look, optimizer)
                raise
        is_first = False

    return asking


def _check_look(look: Look, optimizer: torch.optim.Optimizer) -> None:
    if look.open and look.found:
        raise RunFailure(
            f"{type(optimizer).__name__}.step looks at gradients before it calls its closure, which computes them",
            "declare optimizer.protocol.closure=again if it wants them ready, as SAM, and several if not",
        )


def _told_of_rows(optimizer: torch.optim.Optimizer, protocol: OptimizerProtocol, keyword: str) -> Update:
    """An update whose step is given the number of rows of its batch by this keyword."""
    told: dict[str, int] = {}
    step: Callable[..., None] = optimizer.step
    inner = _update(optimizer, lambda *given: step(*given, **told), protocol.closure)

    def update(closure: Closure, rows: int = 0) -> None:
        told[keyword] = rows
        inner(closure, rows)

    return update


def _measured(closure: Closure) -> Tensor:
    if torch.is_grad_enabled():
        return closure()
    with torch.enable_grad():  # some call it under no_grad
        return closure()


def _with_closure(step: Callable[..., None], name: str, kind: str) -> Update:
    """`step(closure)`; kind: "float" where the closure returns a number, "once" where a second call is refused."""
    is_float, is_once = kind == "float", kind == "once"

    def update(closure: Closure, rows: int = 0) -> None:
        called = False

        def measured() -> Any:
            nonlocal called
            if called and is_once:
                raise RunFailure(
                    f"{name} called its closure a second time, and is declared to call it once",
                    "declare optimizer.protocol.closure=several",
                )
            called = True
            loss = closure() if torch.is_grad_enabled() else _measured(closure)
            return loss.detach().item() if is_float else loss

        step(measured)
        if not called:
            raise RunFailure(
                f"{name} takes a closure and never called it, so nothing was measured",
                "call closure() in it, or write step(self), which finds the gradients ready",
            )

    return update


def _with_gradients(step: Callable[..., None]) -> Update:
    def update(closure: Closure, rows: int = 0) -> None:
        _measured(closure)
        step()

    return update


def _with_gradients_and_closure(step: Callable[..., None]) -> Update:
    def update(closure: Closure, rows: int = 0) -> None:
        _measured(closure)
        step(lambda: _measured(closure))

    return update


def _with_gradients_and_loss(step: Callable[..., None]) -> Update:
    def update(closure: Closure, rows: int = 0) -> None:
        step(_measured(closure).detach())

    return update


_READY: dict[str, Callable[[Callable[..., None]], Update]] = {
    "none": _with_gradients,
    "again": _with_gradients_and_closure,
    "loss": _with_gradients_and_loss,
}
"""How a step is called that finds the gradients of the current weights ready, by kind of closure."""


def _stepper(optimizer: torch.optim.Optimizer) -> Callable[..., None]:
    """The optimizer's `step`, without what torch puts round it for profiling and hooks wherever there are none.

    Those wrappers take as long as the update of a layer. What anyone else has put in the place of `step` is called.
    """
    wrapped: Any = type(optimizer).step
    own = vars(optimizer).get("step")  # schedulers put one that wraps the class's own here
    bare: Any = getattr(wrapped, "__wrapped__", None)
    is_torchs = getattr(wrapped, "hooked", False) and bare is not None
    if not is_torchs or (own is not None and getattr(own, "__wrapped__", None) is not wrapped):
        return optimizer.step
    # torch's own call the closure once, before anything else
    measures_first = type(optimizer).__module__.startswith("torch.optim.") and type(optimizer) is not torch.optim.LBFGS

    def step(*closure: Closure) -> None:
        if (
            optimizer._optimizer_step_pre_hooks
            or optimizer._optimizer_step_post_hooks
            or optimizer_module._global_optimizer_pre_hooks
            or optimizer_module._global_optimizer_post_hooks
            or torch.autograd._profiler_enabled()  # type: ignore[attr-defined]
            or vars(optimizer).get("step") is not own
        ):
            optimizer.step(*closure)  # type: ignore[arg-type]
            return
        optimizer._opt_called = True  # type: ignore[attr-defined]  # schedulers look whether there was an update
        if closure and measures_first:
            closure[0]()
            closure = ()
        bare(optimizer, *closure)

    return step


def forgetter(optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    """What forgets the gradients of this optimizer's parameters before an update.

    That is its own `zero_grad`. torch's sets them to None beneath two wrappers, for compiling and for profiling,
    which take longer than many a layer: where it is torch's, the gradients are set to None without them.
    """
    if inspect.unwrap(type(optimizer).zero_grad) is not _ZERO_GRAD or "zero_grad" in vars(optimizer):
        return optimizer.zero_grad

    def forget() -> None:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    return forget


_ZERO_GRAD = inspect.unwrap(torch.optim.Optimizer.zero_grad)


KNOWN = ("torch.optim.", "optbench.")
"""Where the classes are that are known to look at no gradient before they call their closure."""


def loss_keyword(optimizer: torch.optim.Optimizer) -> bool:
    """Whether `step` takes the loss by name: a parameter `loss` that is not the first one."""
    first, *others = [*step_parameters(optimizer), None]
    is_first = first is not None and first.name == "loss" and first.kind in _POSITIONAL
    return not is_first and any(p is not None and p.name == "loss" for p in (first, *others))


def takes_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Whether `step` has a parameter for a closure: the first one, or any number of them."""
    return any(p.kind in _POSITIONAL for p in step_parameters(optimizer))


def step_parameters(optimizer: torch.optim.Optimizer) -> list[inspect.Parameter]:
    """What `step` of this optimizer can be given."""
    own = inspect.unwrap(type(optimizer).step)
    step = inspect.unwrap(vars(optimizer).get("step", own))  # schedulers put one that wraps the class's own here
    parameters = list(inspect.signature(step).parameters.values())
    is_of_class = step is own or (inspect.isfunction(step) and getattr(type(optimizer), step.__name__, None) is step)
    return parameters[1:] if is_of_class else parameters
