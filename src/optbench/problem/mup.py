"""muP: one set of rates for all widths of a network (G. Yang et al. 2021, arXiv:2203.03466, Table 3).

A network is held beside the same one at a base width. Which sides of a parameter grow with the width follows from the
two shapes, and with them its rules; n_in and n_out are how many times as wide the sides are, 1 where a side stays:

    parameter                             deviation of initial weights    rate of Adam    rate of SGD
    input, n_in = 1; vectors, embeddings  as at the base width            1               n_out
    hidden                                times n_in^(-1/2)               1 / n_in        n_out / n_in
    output, n_out = 1                     times 1 / n_in                  1 / n_in        1 / n_in

Rates are multiples of the run's, so a rate that is best at the base width is meant to be best at all. At the base width
all factors are 1 and nothing is touched: the run is that of the standard parametrisation, to the bit. Logits of
attention are divided by the width of a head and not by its root, so that here too the base width has what it had.

How a model's own initial weights depend on its width stands nowhere; it is read off the two draws: their sizes have a
ratio near growth^-k with k = 0 (a constant, as of GPT-2), 1/2 (torch's layers) or 1, and k is taken to be the nearest.
The bias of one output is one number, whose size says nothing: where parameters have few numbers, both networks are
drawn again, so often that a wrong k is four standard errors away.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optbench.errors import IncompatibleError
from optbench.problem.roles import roles
from optbench.settings import MUP

if TYPE_CHECKING:
    from torch import nn

_EXPONENTS = (0.0, 0.5, 1.0)
_MOST_DRAWS = 400
Draw = Callable[[], "tuple[nn.Module, nn.Module]"]
"""A network and the same one at the base width, with new initial weights."""


@dataclass(frozen=True)
class Grown:
    """A parameter beside itself at the base width.

    Attributes:
        name: dotted, as `named_parameters` has it.
        kind: input, hidden, output or vector.
        fan_in, fan_out: how many times as wide its sides are; of a vector fan_out alone.
    """

    name: str
    kind: str
    fan_in: float
    fan_out: float

    @property
    def deviation(self) -> float:
        """Deviation of its initial values in multiples of that at the base width."""
        return {"hidden": 1.0 / math.sqrt(self.fan_in), "output": 1.0 / self.fan_in}.get(self.kind, 1.0)

    def rate(self, family: str) -> float:
        """Its learning rate in multiples of the run's.

        Args:
            family: adam or sgd.
        """
        return (1.0 if family == "adam" else self.fan_out) / self.fan_in


def grown(module: nn.Module, base: nn.Module) -> list[Grown]:
    """Every parameter of a module beside itself in the same network at the base width, which may be without storage.

    Raises:
        IncompatibleError: the two have other parameters, or a side that is no width differs.
    """
    there = dict(base.named_parameters())
    found = []
    for one in roles(module):
        name, shape = one.names[0], tuple(one.parameter.shape)
        before = tuple(there[name].shape) if name in there else ()
        if len(before) != len(shape) or len(there) != len(list(module.parameters())) or before[2:] != shape[2:]:
            raise IncompatibleError(
                f"trainer.mup_base: {name} is {_size(shape)} here and {_size(before)} at the base width",
                "name widths alone: a base has the same layers",
            )
        ratios = [now / then for now, then in zip(shape[:2], before[:2], strict=True)]
        if len(shape) < 2:
            found.append(Grown(name, "vector", 1.0, ratios[0] if ratios else 1.0))
            continue
        fan_out, fan_in = reversed(ratios) if one.role == "embedding" else ratios
        kind = "input" if fan_in == 1 else "output" if fan_out == 1 else "hidden"
        found.append(Grown(name, kind, fan_in, fan_out))
    return found


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "not there"


def factors(draw: Draw) -> dict[str, float]:
    """What the initial values of each parameter are multiplied by, so that they have the deviations of muP.

    Args:
        draw: makes a network and the same one at the base width, each time with new initial weights.

    Raises:
        IncompatibleError: as of `grown`.
    """
    module, base = draw()
    everything = grown(module, base)
    growths = [(one, _growth(one, everything)) for one in everything]
    sizes = _Sizes(module), _Sizes(base)
    for _ in range(_draws(growths, sizes)):
        for size, network in zip(sizes, draw(), strict=True):
            size.add(network)
    return {
        one.name: one.deviation * growth ** _exponent(sizes[0].of(one.name), sizes[1].of(one.name), growth)
        for one, growth in growths
        if growth != 1.0
    }


def rescale(module: nn.Module, base: nn.Module, by: Mapping[str, float] | None = None) -> None:
    """Brings freshly drawn weights to the deviations of muP, in place, and attention to its divisor.

    Args:
        module: with its own initial weights.
        base: the same network at the base width; without `by` with its own too.
        by: `factors`; None: what these two draws say.

    Raises:
        IncompatibleError: as of `grown`.
    """
    import torch

    by = factors(lambda: (module, base)) if by is None else by
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if by.get(name, 1.0) != 1.0:
                parameter.mul_(by[name])
    divide(module, base)


def _growth(one: Grown, everything: Sequence[Grown]) -> float:
    """How many times as wide the network is, as far as a parameter's initial values may depend on it."""
    of = everything if one.kind == "vector" else [one]
    return max((ratio for g in of for ratio in (g.fan_in, g.fan_out)), key=lambda ratio: abs(math.log(ratio)))


class _Sizes:
    """Root mean squares of the parameters of a network, over all draws of it."""

    def __init__(self, network: nn.Module) -> None:
        self._squares: dict[str, list[float]] = {}
        self.counts = {name: value.numel() for name, value in network.named_parameters()}
        self.is_drawn = {name: value.numel() == 1 or bool((value != value.flatten()[0]).any())
                         for name, value in network.named_parameters() if value.numel()}  # fmt: skip
        self.add(network)

    def add(self, network: nn.Module) -> None:
        """Another draw."""
        for name, value in network.named_parameters():
            self._squares.setdefault(name, []).append(float(value.detach().square().mean()) if value.numel() else 0.0)

    def of(self, name: str) -> float:
        squares = self._squares[name]
        return math.sqrt(sum(squares) / len(squares))


def _draws(growths: Iterable[tuple[Grown, float]], sizes: Sequence[_Sizes]) -> int:
    """How many more draws tell k from its neighbours, at growth^(1/4), by four standard errors of the ratio of two root
    mean squares; at most _MOST_DRAWS."""
    wanted = 0.0
    for one, growth in growths:
        if growth != 1.0 and any(size.is_drawn.get(one.name) for size in sizes):
            apart = abs(growth) ** 0.25 if growth > 1.0 else growth**-0.25
            numbers = 16.0 / (apart - 1.0) ** 2  # each root mean square of n numbers errs by 1 / sqrt(2 n) or less
            wanted = max(wanted, numbers / min(size.counts[one.name] for size in sizes))
    return min(math.ceil(wanted) - 1, _MOST_DRAWS) if wanted > 1.0 else 0


def divide(module: nn.Module, base: nn.Module) -> None:
    """Lets attention divide its logits as muP does: by what was the divisor d at the base width times (d' / d)^2, with
    the module's own divisor d', the root of the width of a head."""
    at_base = dict(base.named_modules())
    for name, part in module.named_modules():
        own, then = getattr(part, "attention_divisor", None), getattr(at_base.get(name), "attention_divisor", None)
        if own is not None and then is not None and own != then:
            part.attention_divisor = own**2 / then


def _exponent(mine: float, theirs: float, growth: float) -> float:
    """The k of growth^-k that is nearest to the ratio of two sizes; 0 for what is 0."""
    if not mine or not theirs:
        return 0.0
    exact = -math.log(mine / theirs) / math.log(growth)
    return min(_EXPONENTS, key=lambda k: abs(k - exact))


def rules(node: Mapping[str, Any], module: nn.Module, base: nn.Module) -> list[dict[str, Any]]:
    """The groups of parameters (`config.groups`) whose rate is another than the run's; none at the base width.

    Args:
        node: of the optimizer.
        module, base: as of `grown`; shapes alone count.

    Raises:
        IncompatibleError: as of `grown`.
    """
    family = MUP[str(node["_target_"])]
    names: dict[float, list[str]] = {}
    for one in grown(module, base):
        scale = one.rate(family)
        if scale != 1.0:
            names.setdefault(scale, []).append(one.name)
    return [{"params": own, "lr_scale": scale} for scale, own in names.items()]
