"""What an optimizer asks of the loop that drives it, declared beside it in YAML, and checked before anything starts.

torch's own protocol is `step(closure)`: the closure computes loss and gradients, and may be called several times. Much
of what people publish asks for more: gradients with their graph, a closure that returns a number, an update inside the
backward pass, a call after the step, a second pass now and then, other weights for evaluation. Who drives such a class
as if it were plain gets numbers, and they are wrong. So it is said, in the node `protocol` of the optimizer's YAML:

    _target_: mine.SAM
    _partial_: true
    protocol: {closure: several, statistics: first}

What can be seen of a class is not asked for (`loop.driven`): whether `step` takes a closure, `train()` and `eval()`,
`fused_backward`. The declaration is part of a run's identity, save where it says what would be done without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from optbench.errors import ConfigError, IncompatibleError
from optbench.settings import NetworkTrainer, SurfaceTrainer, did_you_mean, shown

KEY = "protocol"


@dataclass(frozen=True, kw_only=True)
class OptimizerProtocol:
    """What an optimizer asks of the loop.

    Attributes:
        closure: how its step measures. auto: as its signature says. none: `step()` finds the gradients ready. once,
            several: `step(closure)`, which calls it so often. again: `step(closure)` finds the gradients ready, and
            calls the closure for further ones (SAM of pytorch_optimizer). float: the closure returns a number (AliG).
            loss: `step(loss)` finds the gradients ready (Polyak's step sizes).
        backward: plain; create_graph: the gradients keep their graph, so that the step can differentiate them once
            more (AdaHessian, Sophia-H); fused: `fused_backward(loss, lr)` in place of backward and step (LOMO).
        draws: of the passes of one update. fresh: dropout draws anew in each, as without a word; same: the same.
        statistics: those of batch norm are moved by every pass of an update, or by the first one alone.
        modes: whether `train()` and `eval()` of the optimizer stand around all that looks at the weights; None: where
            it has both.
        batch_norm: training batches whose statistics batch norm is given before each evaluation, at the weights that
            are evaluated; 0: none.
        after_step: a method to be called after each step, before the gradients are forgotten; None: none.
        extra_every: updates between two backward passes on labels that are drawn from the network's own probabilities,
            each before the update, and followed by a call of `extra_call` (Sophia-G); None: there are none.
        extra_call: see extra_every.
        rows_as: keyword of `step` that is given the number of rows of the batch; None: none.
        layout: of filters in memory. any: channels last, which is faster; contiguous: as torch makes them, for a class
            that views filters as matrices.
        first_step: moves; idle: the first step only fills the memories (SOAP), and is no update of an average.
    """

    closure: str = "auto"
    backward: str = "plain"
    draws: str = "fresh"
    statistics: str = "every"
    modes: bool | None = None
    batch_norm: int = 0
    after_step: str | None = None
    extra_every: int | None = None
    extra_call: str = "update_hessian"
    rows_as: str | None = None
    layout: str = "any"
    first_step: str = "moves"


_Check = tuple[Callable[[Any], bool], str]


def _one_of(*choices: str) -> _Check:
    return (lambda v: v in choices), f"{', '.join(choices[:-1])} or {choices[-1]}"


def _whole_from(least: int) -> Callable[[Any], bool]:
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= least


_NAME: _Check = ((lambda v: v is None or (isinstance(v, str) and v.isidentifier())), "a name, or null")
_VALUES: Mapping[str, _Check] = {
    "closure": _one_of("auto", "none", "once", "several", "again", "float", "loss"),
    "backward": _one_of("plain", "create_graph", "fused"),
    "draws": _one_of("fresh", "same"),
    "statistics": _one_of("every", "first"),
    "modes": ((lambda v: v is None or isinstance(v, bool)), "true, false or null"),
    "batch_norm": (_whole_from(0), "a whole number of batches that is not negative"),
    "after_step": _NAME,
    "extra_every": ((lambda v: v is None or _whole_from(1)(v)), "a whole number of updates of at least 1, or null"),
    "extra_call": ((lambda v: isinstance(v, str) and v.isidentifier()), "a name"),
    "rows_as": _NAME,
    "layout": _one_of("any", "contiguous"),
    "first_step": _one_of("moves", "idle"),
}

MANY = ("several", "again")
"""Kinds of closure that may be called more than once in an update, once the weights have been moved."""
ORDER = "order"
"""Where the node `wrap` of a configuration names its wrappers, the innermost first, if it has several."""


def protocol_of(config: Mapping[str, Any]) -> OptimizerProtocol:
    """The protocol that the optimizer of a configuration declares; what is around it asks for more, see `wrapped`.

    Raises:
        ConfigError: a foreign key, a value that is none, or two that exclude each other.
    """
    for name, node in wrappers(config).items():
        _read(f"wrap.{name}.{KEY}", node.get(KEY))
    found = OptimizerProtocol(**_read(f"optimizer.{KEY}", config["optimizer"].get(KEY)))
    for holds, why in _TOGETHER:
        if holds(found):
            raise ConfigError(f"optimizer.{KEY}: {why}")
    return found


def wrappers(config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The nodes of what a configuration puts around its optimizer, by name, the innermost first."""
    node = config.get("wrap") or {}
    return {name: node[name] for name in node.get(ORDER) or node}


def wrapped(config: Mapping[str, Any]) -> OptimizerProtocol:
    """What an optimizer and all that is around it declare together.

    Raises:
        ConfigError: as `protocol_of`.
        IncompatibleError: something cannot be put around what is within it, as far as that is declared or known.
    """
    found = protocol_of(config)
    if found.closure == "auto" and config["optimizer"].get("_target_") in _SEVERAL:
        found = replace(found, closure="several")
    within = str(config["choices"]["optimizer"])
    for name, node in wrappers(config).items():
        found = around(found, node.get(KEY) or {}, name, within)
        within = f"{within}+{name}"
    return found


_SEVERAL = ("torch.optim.LBFGS", "optbench.optimizers.lbfgs.LBFGS")
"""Of these it is known without a look that they call the closure several times."""


def around_name(choices: Mapping[str, Any]) -> str:
    """What the optimizer of a run is called with all that is around it: adam, adam+sam."""
    return "+".join(str(choices[group]) for group in ("optimizer", "wrap") if choices.get(group) not in (None, "none"))


def around(within: OptimizerProtocol, said: Mapping[str, Any], name: str, optimizer: str) -> OptimizerProtocol:
    """The protocol of a wrapper around an optimizer.

    Args:
        within: the protocol of what is within.
        said: what the wrapper declares.
        name: the wrapper's.
        optimizer: what is within, for the sentence.

    Raises:
        IncompatibleError: the one cannot be around the other.
    """
    closure, many = said.get("closure"), within.closure in MANY
    for holds, why in (
        (within.backward == "fused", "it updates within its backward pass, so there is no step to be around"),
        (closure in MANY and many, "both call the closure several times an update"),
        (closure in MANY and within.backward == "create_graph",
         "a second pass moves the weights, which the graph of the gradient (create_graph) is of"),
        (closure == "once" and many, "it looks at one gradient an update, and there are several"),
        (said.get("modes") is True and within.modes is True,
         "both are judged at weights of their own; two averages have no meaning together"),
    ):  # fmt: skip
        if holds:
            raise IncompatibleError(f"wrap={name} around {optimizer}: {why}")
    most = max(within.batch_norm, said.get("batch_norm") or 0)
    kept = {"closure": within.closure} if closure in (None, "auto", "once") else {}
    modes = True if within.modes is True else said.get("modes", within.modes)
    return replace(within, **{**said, **kept, "modes": modes, "batch_norm": most})


def _read(where: str, node: Any) -> dict[str, Any]:
    if node is None:
        return {}
    if not isinstance(node, Mapping):
        raise ConfigError(f"{where}={shown(node)}: expected keys, such as {where}.closure=several")
    for key, value in node.items():
        if key not in _VALUES:
            known = f"its keys: {', '.join(_VALUES)}"
            raise ConfigError(f"'{where}' has no key '{key}'", did_you_mean(str(key), _VALUES, f"{where}.") or known)
        holds, expected = _VALUES[key]
        if not holds(value):
            raise ConfigError(f"{where}.{key}={shown(value)}: expected {expected}")
    return dict(node)


_TOGETHER: tuple[tuple[Callable[[OptimizerProtocol], bool], str], ...] = (
    (lambda p: p.backward == "fused" and p.closure != "auto",
     "backward=fused calls no step, so there is no closure to say anything of"),
    (lambda p: p.backward == "fused" and p.rows_as is not None, "backward=fused calls no step to give rows_as to"),
    (lambda p: p.extra_every is not None and p.backward != "plain",
     "extra_every makes a plain backward pass of its own: expected backward=plain beside it"),
    (lambda p: p.closure in ("none", "once", "float", "loss") and (p.draws, p.statistics) != ("fresh", "every"),
     "draws and statistics are of updates with several passes: expected closure=several or again"),
    (lambda p: p.extra_every is None and p.extra_call != OptimizerProtocol.extra_call,
     "extra_call without extra_every is never called"),
)  # fmt: skip


def check_served(protocol: OptimizerProtocol, trainer: SurfaceTrainer | NetworkTrainer, optimizer: str) -> None:
    """Checks that the loop can give an optimizer what it asks for under these settings.

    Args:
        protocol: declared, or as it was found.
        trainer: settings of the run.
        optimizer: its name, for the sentence.

    Raises:
        IncompatibleError: saying why not.
    """
    network = trainer if isinstance(trainer, NetworkTrainer) else None
    for setting, why in _unserved(protocol, network):
        raise IncompatibleError(f"{setting} beside optimizer={optimizer}: {why}", _HINTS.get(setting, ""))


def check_shared(protocol: OptimizerProtocol, optimizer: str) -> None:
    """Checks that several processes can share the passes that an optimizer asks for.

    Raises:
        IncompatibleError: saying why not.
    """
    if protocol.backward == "create_graph":
        raise IncompatibleError(
            f"optimizer={optimizer} differentiates the gradients (create_graph): each process would have the products "
            "of its own share, which DistributedDataParallel does not add up",
            "start it as one process",
        )
    if protocol.backward == "fused":
        raise IncompatibleError(
            f"optimizer={optimizer} updates within the backward pass (fused), where DistributedDataParallel has not "
            "added up the gradients yet",
            "start it as one process",
        )


_HINTS = {"a surface": "choose a network, such as model=mlp data=digits"}


def _unserved(protocol: OptimizerProtocol, trainer: NetworkTrainer | None) -> list[tuple[str, str]]:
    """Settings that go against a protocol, each with the reason."""
    fused, graph = protocol.backward == "fused", protocol.backward == "create_graph"
    extra = protocol.extra_every is not None
    if trainer is None:
        return [
            *([("a surface", "it updates within the backward pass of a network (backward=fused)")] if fused else []),
            *([("a surface", "its extra pass draws labels from a network's probabilities")] if extra else []),
        ]
    set_to = {key: f"trainer.{key}={shown(getattr(trainer, key))}" for key in ("clip_norm", "nan", "accumulate",
              "precision", "compile", "ema")}  # fmt: skip
    within = "it updates within the backward pass"
    against = (
        (fused and trainer.clip_norm is not None, "clip_norm", f"{within}, before there is a norm of all gradients"),
        (fused and trainer.nan == "skip", "nan", f"{within}, so no update can be left out"),
        (fused and trainer.accumulate > 1, "accumulate", f"{within}, so each mini-batch would be an update"),
        (fused and trainer.precision == "fp16", "precision", f"{within}, where gradients are still scaled"),
        (fused and bool(trainer.compile), "compile", f"{within}, which is compiled as one"),
        (graph and bool(trainer.compile), "compile", "torch.compile keeps no graph of the gradient (create_graph)"),
        (graph and trainer.precision == "fp16", "precision", "the graph of the gradient is of the scaled loss"),
        (extra and trainer.nan == "skip", "nan", "an extra pass that is not finite cannot be left out"),
        (extra and trainer.precision == "fp16", "precision", "the gradient of its extra pass would stay scaled"),
        (protocol.modes is True and trainer.ema is not None, "ema",
         "it evaluates at an average of its own (eval()); two averages have no meaning together"),
    )  # fmt: skip
    return [(set_to[key], why) for holds, key, why in against if holds]


def declared(protocol: OptimizerProtocol) -> dict[str, Any]:
    """What a protocol says beside what goes without saying."""
    return {f.name: value for f in fields(OptimizerProtocol) if (value := getattr(protocol, f.name)) != f.default}
