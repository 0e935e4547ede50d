"""What was measured for a prediction, and what follows from it.

Evidence always has two sides: the one where the claim sees its effect, and the other. A verdict comes from nothing but
these numbers, an interval and the threshold that was written down before; with the sides swapped it must change, which
the tests hold for every prediction of every claim.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from applebook.claim import Prediction
from optbench.metrics import Estimate, Floats, success_rate, wilson

LEVEL = 0.95


class Verdict(StrEnum):
    """What became of a prediction (undecided: the interval holds the threshold; withheld: its runs are too small to
    say), or of a claim (depends: on which)."""

    SUPPORTED = "supported"
    NOT_SUPPORTED = "not supported"
    UNDECIDED = "undecided"
    WITHHELD = "withheld"
    DEPENDS = "depends"


def _varies(values: Floats) -> bool:
    return bool(values.min() < values.max())


def _spread(values: Floats) -> tuple[float, float, int]:
    """Mean, its standard error, and the number of values: whose squares neither underflow nor overflow."""
    if not _varies(values):
        return float(values[0]), 0.0, values.size
    mean = float(values.mean())
    away = values - mean
    most = float(np.abs(away).max())
    return mean, most * math.sqrt(float(np.sum((away / most) ** 2)) / (values.size - 1) / values.size), values.size


def _welch(left: Floats, right: Floats) -> Estimate:
    """Difference of means, Welch's interval (B. L. Welch, Biometrika 34 (1947) 28); no spread, no width.

    Where a value is infinite nothing bounds the difference: the interval is the whole line, and the difference is
    infinite, or NaN where infinities stand against each other.
    """
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        with np.errstate(invalid="ignore"):
            endless = left[~np.isfinite(left)].sum() - right[~np.isfinite(right)].sum()
        return Estimate(float(endless), -math.inf, math.inf, LEVEL)
    # a power of two, so that nothing is rounded: the largest magnitude of both sides becomes about 1
    exponent = math.frexp(max(float(np.abs(side).max()) for side in (left, right)))[1]
    value, half = _difference(np.ldexp(left, -exponent), np.ldexp(right, -exponent))
    with np.errstate(over="ignore"):
        value, low, high = np.ldexp([value, value - half, value + half], exponent).tolist()
    return Estimate(value, low, high, LEVEL if _varies(left) or _varies(right) else None)


def _difference(left: Floats, right: Floats) -> tuple[float, float]:
    """Difference of means, and half the width of its interval."""
    from scipy.stats import t

    (mean, a, n), (other, b, m) = _spread(left), _spread(right)
    error = math.hypot(a, b)
    if error == 0:
        return mean - other, 0.0
    # as shares of the sum: the squares of tiny variances underflow
    degrees = 1.0 / sum((e / error) ** 4 / (count - 1) for e, count in ((a, n), (b, m)) if e > 0)
    return mean - other, float(t.ppf((1 + LEVEL) / 2, degrees)) * error


def _mean(left: Floats, right: Floats) -> Estimate:
    """Mean of the left side, Student's interval."""
    return _welch(left, np.zeros(1))


def _paired(left: Floats, right: Floats) -> Estimate:
    """Mean of the differences of pairs, Student's interval."""
    with np.errstate(over="ignore", invalid="ignore"):
        differences, halves = left - right, left / 2 - right / 2
        if np.isfinite(differences).all() or not np.isfinite(halves).all():
            return _mean(differences, right)
        return _mapped(_mean(halves, right), lambda v: 2 * v)


def _ratio(left: Floats, right: Floats) -> Estimate:
    """Ratio of geometric means, Welch's interval on the logarithms; 0 and +inf as the infinite logarithms that they
    have."""
    with np.errstate(divide="ignore"):
        return _mapped(_welch(np.log(left), np.log(right)), _exp)


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


def _mapped(found: Estimate, change: Callable[[float], float]) -> Estimate:
    """An estimate in other units; `change` rises."""
    low, high = _bounds(found)
    return Estimate(change(found.value), change(low), change(high), found.coverage)


def _bounds(found: Estimate) -> tuple[float, float]:
    """The interval of an estimate; where it has none, the value."""
    low, high = (found.value if bound is None else bound for bound in (found.low, found.high))
    return low, high


def _share(left: Floats, right: Floats) -> Estimate:
    """Share of ones on the left side, Wilson's interval."""
    return success_rate(int(np.count_nonzero(left)), left.size, LEVEL)


def _share_difference(left: Floats, right: Floats) -> Estimate:
    """Difference of two shares; Wilson intervals combined (R. G. Newcombe, Stat. Med. 17 (1998) 873, method 10)."""
    a, b = _share(left, right), _share(right, left)
    (a_low, a_high), (b_low, b_high) = map(_bounds, (a, b))
    value = a.value - b.value
    low = value - math.hypot(a.value - a_low, b_high - b.value)
    return Estimate(value, low, value + math.hypot(a_high - a.value, b.value - b_low), LEVEL)


def _wins(left: Floats, right: Floats) -> Estimate:
    """Share of pairs in which left is the smaller, ties counting half; Wilson's interval. +inf: never."""
    won = float(np.count_nonzero(left < right)) + 0.5 * float(np.count_nonzero(left == right))
    return wilson(won / left.size, left.size, LEVEL)


def _agreement(left: Floats, right: Floats) -> Estimate:
    """Largest deviation of left from right, relative to right's largest finite magnitude. Nothing is drawn: no width.

    An infinity deviates from nothing but all else, and then infinitely.
    """
    scale = float(np.abs(right[np.isfinite(right)]).max(initial=0.0)) or 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        halves = float(np.where(left == right, 0.0, np.abs(left / 2 - right / 2)).max())
        whole = float(np.where(left == right, 0.0, np.abs(left - right)).max())
    value = whole / scale if math.isfinite(whole) else halves / (scale / 2)
    return Estimate(value, value, value)


KINDS: dict[str, Callable[[Floats, Floats], Estimate]] = {
    "mean": _mean,
    "mean difference": _welch,
    "paired difference": _paired,
    "ratio": _ratio,
    "share": _share,
    "share difference": _share_difference,
    "wins": _wins,
    "agreement": _agreement,
}
_ONE_SAMPLE = ("mean", "share")
_PAIRS = ("paired difference", "wins", "agreement")


@dataclass(frozen=True)
class Evidence:
    """Two sides of numbers.

    Attributes:
        kind: of statistic, one of KINDS.
        left: (n,) the side for which the claim predicts; shares: ones and zeros.
        right: (m,) the other side; n = m where the kind compares pairs. For "mean" and "share" it does not enter the
            statistic: it is the control on which the effect is absent.
        rival: for "agreement" alone, (n,): what left would have to agree with if the claim were wrong.

    Raises:
        ValueError: no values, values that are NaN, pairs that do not match, agreement without a rival, a ratio of
            negative values.
    """

    kind: str
    left: Floats = field(repr=False)
    right: Floats = field(repr=False)
    rival: Floats | None = field(default=None, repr=False)

    def __init__(
        self, kind: str, left: npt.ArrayLike, right: npt.ArrayLike, rival: npt.ArrayLike | None = None
    ) -> None:
        sides = {"left": left, "right": right} | ({} if rival is None else {"rival": rival})
        arrays = {name: np.asarray(side, dtype=np.float64).ravel() for name, side in sides.items()}
        if kind not in KINDS:
            raise ValueError(f"{kind}: expected one of {', '.join(KINDS)}")
        for name, side in arrays.items():
            if not side.size or np.isnan(side).any():
                raise ValueError(f"{kind}: the {name} side has no values, or NaN among them")
        if kind in _PAIRS and len({side.size for side in arrays.values()}) > 1:
            raise ValueError(f"{kind} needs pairs: {', '.join(f'{k} {v.size}' for k, v in arrays.items())}")
        if (kind == "agreement") != (rival is not None):
            raise ValueError("agreement, and only that, has a rival")
        if kind == "ratio" and any((side < 0).any() for side in arrays.values()):
            raise ValueError("ratio needs sides without negative values")
        object.__setattr__(self, "kind", kind)
        for name in ("left", "right", "rival"):
            object.__setattr__(self, name, arrays.get(name))

    @property
    def estimate(self) -> Estimate:
        """The statistic and its 95 % interval; none where a sample is one value, which says nothing of its spread."""
        found = KINDS[self.kind](self.left, self.right)
        drawn = {"agreement": (), **dict.fromkeys(_ONE_SAMPLE, (self.left,))}.get(self.kind, (self.left, self.right))
        return Estimate(found.value) if any(side.size == 1 for side in drawn) else found

    @property
    def n(self) -> tuple[int, int]:
        """Number of values on each side."""
        return self.left.size, self.right.size

    def swapped(self) -> Evidence:
        """The same numbers as if the effect were on the other side."""
        if self.rival is not None:
            return Evidence(self.kind, self.left, self.rival, self.right)
        return Evidence(self.kind, self.right, self.left)


@dataclass(frozen=True)
class Judgement:
    """A prediction, what was measured for it, and the verdict."""

    prediction: Prediction
    estimate: Estimate
    n: tuple[int, int]
    kind: str
    verdict: Verdict


def judge(prediction: Prediction, evidence: Evidence) -> Judgement:
    """Holds the interval against the threshold: all of it on the predicted side, all on the other, or neither.

    Without an interval there is nothing to hold against it: undecided.

    Raises:
        ValueError: bounds that are NaN; no evidence has them.
    """
    found = evidence.estimate
    if found.low is None:
        return Judgement(prediction, found, evidence.n, evidence.kind, Verdict.UNDECIDED)
    low, high = _bounds(found)
    if math.isnan(low) or math.isnan(high):
        raise ValueError(f"{prediction.id}: the interval of {evidence.kind} is not an interval")
    beyond, short = low > prediction.threshold, high <= prediction.threshold
    if prediction.direction == "below":
        beyond, short = high < prediction.threshold, low >= prediction.threshold
    verdict = Verdict.SUPPORTED if beyond else Verdict.NOT_SUPPORTED if short else Verdict.UNDECIDED
    return Judgement(prediction, found, evidence.n, evidence.kind, verdict)


def withheld(found: Judgement) -> Judgement:
    """The same numbers without a verdict."""
    return replace(found, verdict=Verdict.WITHHELD)


_CLEAR = (Verdict.SUPPORTED, Verdict.NOT_SUPPORTED)


def overall(judgements: list[Judgement]) -> Verdict:
    """Of a claim: supported or not supported when all its predictions are; depends otherwise."""
    found = {j.verdict for j in judgements}
    return found.pop() if len(found) == 1 and found <= {*_CLEAR} else Verdict.DEPENDS
