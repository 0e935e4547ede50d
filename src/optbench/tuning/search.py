"""Which settings are tried: rounds of points in a space, and what is made of what came of them.

A search is asked for a round of points and told the cost of each, until it asks no more. All are deterministic: the
same space, seed and costs give the same points, so that a tuning that was interrupted finds its own runs again and
needs no state of its own.

    random        every point at once, drawn evenly (J. Bergstra and Y. Bengio 2012, JMLR 13)
    quasirandom   every point at once, a scrambled Halton sequence, which leaves no gaps (as AlgoPerf samples)
    halving       successive halving: many points with a small part of the budget, the best third with three times as
                  much, and so on (K. Jamieson and A. Talwalkar 2016, AISTATS; Algorithm 1)
    tpe           optuna's tree-structured Parzen estimator, a few points a round (J. Bergstra et al. 2011, NeurIPS)
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from optbench.config.space import Dimension
from optbench.errors import UserError

Point = dict[str, Any]
"""A value for each key of a space."""
ETA = 3
"""Of a rung of successive halving, every so many-th point goes on, with so many times the budget."""
_AT_ONCE = 4
"""Points that `tpe` asks for before it looks at what came of them."""


@dataclass(frozen=True)
class Round:
    """Points to try.

    Attributes:
        points: of the space.
        share: of the budget that each may spend, in (0, 1].
    """

    points: list[Point]
    share: float = 1.0


class Search(ABC):
    """A way to choose settings.

    Args:
        space: what is searched over.
        trials: points to try in all.
        seed: of its draws.
    """

    def __init__(self, space: Sequence[Dimension], trials: int, seed: int = 0) -> None:
        self.space, self.trials, self.seed = tuple(space), trials, seed

    @abstractmethod
    def ask(self) -> Round | None:
        """The next points; None when the search is over. What it asked before was told."""

    @abstractmethod
    def tell(self, costs: Sequence[float]) -> None:
        """What came of the points that were asked for last: small is good, infinite is no result."""

    def _point(self, shares: Sequence[float]) -> Point:
        return {one.key: one.at(float(share)) for one, share in zip(self.space, shares, strict=True)}


class _AtOnce(Search):
    """Every point in one round."""

    def __init__(self, space: Sequence[Dimension], trials: int, seed: int = 0) -> None:
        super().__init__(space, trials, seed)
        self._asked = False

    def ask(self) -> Round | None:
        if self._asked:
            return None
        self._asked = True
        return Round([self._point(row) for row in self._shares()])

    def tell(self, costs: Sequence[float]) -> None:
        pass

    @abstractmethod
    def _shares(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """(trials, dimensions) in [0, 1)."""


class Random(_AtOnce):
    """Points drawn evenly."""

    def _shares(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.random.Generator(np.random.PCG64(self.seed)).random((self.trials, len(self.space)))


class Quasirandom(_AtOnce):
    """A scrambled Halton sequence."""

    def _shares(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        from scipy.stats import qmc

        return np.asarray(qmc.Halton(len(self.space), rng=np.random.default_rng(self.seed)).random(self.trials))


class Halving(Search):
    """Successive halving over points of a Halton sequence."""

    def __init__(self, space: Sequence[Dimension], trials: int, seed: int = 0) -> None:
        super().__init__(space, trials, seed)
        self._rungs = rungs(trials)
        self._rung, self._points = 0, list[Point]()

    def ask(self) -> Round | None:
        if self._rung == len(self._rungs):
            return None
        if self._rung == 0:
            first = Quasirandom(self.space, self.trials, self.seed).ask()
            assert first is not None
            self._points = first.points
        return Round(self._points, self._rungs[self._rung][1])

    def tell(self, costs: Sequence[float]) -> None:
        self._rung += 1
        if self._rung < len(self._rungs):
            best = sorted(range(len(costs)), key=lambda i: (costs[i], i))  # of equals the first
            self._points = [self._points[i] for i in best[: self._rungs[self._rung][0]]]


def rungs(trials: int) -> list[tuple[int, float]]:
    """Number of points and share of the budget of each rung; the last has all of it, and at least one point."""
    last = math.floor(math.log(trials) / math.log(ETA) + 1e-9)
    return [(max(1, trials // ETA**i), float(ETA) ** (i - last)) for i in range(last + 1)]


class Tpe(Search):
    """optuna's TPE, all dimensions together."""

    def __init__(self, space: Sequence[Dimension], trials: int, seed: int = 0) -> None:
        super().__init__(space, trials, seed)
        try:
            import optuna
        except ImportError:
            raise UserError(
                "--method tpe needs optuna", "pip install 'optbench[tune]', or --method quasirandom"
            ) from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
        self._study = optuna.create_study(sampler=sampler)
        self._open: list[Any] = []
        self._left = trials

    def ask(self) -> Round | None:
        if self._left == 0:
            return None
        count = min(_AT_ONCE, self._left)
        self._left -= count
        self._open = [self._study.ask() for _ in range(count)]
        shares = [[trial.suggest_float(one.key, 0.0, 1.0) for one in self.space] for trial in self._open]
        return Round([self._point(row) for row in shares])

    def tell(self, costs: Sequence[float]) -> None:
        worst = max((cost for cost in costs if math.isfinite(cost)), default=0.0)
        seen = [trial.value for trial in self._study.trials if trial.value is not None]
        worst = max([worst, *seen])  # an infinite cost is no number to a density: it is as bad as the worst so far
        for trial, cost in zip(self._open, costs, strict=True):
            self._study.tell(trial, cost if math.isfinite(cost) else worst)


METHODS: Mapping[str, type[Search]] = MappingProxyType(
    {"quasirandom": Quasirandom, "random": Random, "halving": Halving, "tpe": Tpe}
)
