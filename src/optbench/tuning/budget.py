"""What a tournament may cost, and how large it can be for that.

A budget is a number of runs, which decides the size before anything runs and for ever, or wall time. Of time only what
was measured counts: seconds of a run, by how long it is; a run of a length that was not measured takes the time of the
nearest one that was, its updates in proportion.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from optbench.errors import UserError
from optbench.tuning.search import ETA

MOST_SEEDS = 200
"""Fresh seeds of a finalist: with more, a budget is left unspent."""
FEWEST_SEEDS = 3
"""Fresh seeds that are kept in reserve while settings are still tried."""
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_TUNING_SHARE = 0.6  # of the time: what is beyond goes to fresh seeds, which is where evidence comes from
_RUNGS = 3


@dataclass(frozen=True)
class Budget:
    """What may be spent: so many runs, or so many seconds; the other is None."""

    runs: int | None = None
    seconds: float | None = None

    @classmethod
    def read(cls, text: str) -> Budget:
        """Of a text such as 200runs, 90s, 10m or 1.5h. Raises UserError."""
        match = re.fullmatch(r"(\d{1,9})runs?|(\d{1,9}(?:\.\d{1,9})?)([smh])", text)
        if match is None or not float(match[1] or match[2]):
            raise UserError(f"--budget {text}: expected a time or a number of runs, such as 90s, 10m, 2h or 200runs")
        return cls(int(match[1])) if match[1] else cls(seconds=float(match[2]) * _SECONDS[match[3]])

    @property
    def kind(self) -> str:
        """What is counted, runs or time."""
        return "runs" if self.runs is not None else "time"

    @property
    def text(self) -> str:
        """As it is typed."""
        if self.runs is not None:
            return f"{self.runs}runs"
        seconds = self.seconds or 0.0
        unit = next(unit for unit in ("h", "m", "s") if seconds % _SECONDS[unit] == 0 or unit == "s")
        return f"{seconds / _SECONDS[unit]:g}{unit}"


@dataclass(frozen=True)
class Size:
    """How large a tournament is.

    Attributes:
        settings: of each contender in the first rung.
        tuning: seeds of each setting.
        finalists: contenders that are reported on.
        report: fresh seeds of each finalist; where time is the budget, at least.
    """

    settings: int
    tuning: int
    finalists: int
    report: int


SIZES = (
    Size(1, 1, 2, 3), Size(2, 1, 2, 4), Size(3, 1, 3, 5), Size(4, 2, 3, 6), Size(6, 2, 3, 8), Size(9, 2, 3, 10),
    Size(9, 3, 3, 12), Size(18, 3, 3, 16), Size(27, 3, 3, 20), Size(81, 3, 3, 30),
)  # fmt: skip
"""The smallest first."""


@dataclass(frozen=True)
class Taken:
    """What a tournament takes over from a smaller budget.

    Attributes:
        size: that it had.
        settings: by rung, how many settings of all contenders together were run.
        seeds: by rung, of each of these.
        finalists: that were reported on, and report: on how many fresh seeds.
    """

    size: Size
    settings: tuple[int, ...]
    seeds: tuple[int, ...]
    finalists: int
    report: int

    def is_as_large_as(self, size: Size) -> bool:
        """Whether a tournament of a size tries as much, however many fresh seeds it has."""
        return replace(self.size, report=size.report) == size

    def sizes(self) -> list[Size]:
        """Those at least as large: its own, then larger ones; no finalist loses a seed."""
        own = self.size
        larger = [
            one for one in SIZES
            if one.settings >= own.settings and one.tuning >= own.tuning and one.finalists >= own.finalists
            and not self.is_as_large_as(one)
        ]  # fmt: skip
        return [replace(one, report=max(one.report, self.report)) for one in (own, *larger)]


@dataclass(frozen=True)
class Rung:
    """A round of a tournament.

    Attributes:
        contenders, settings: how many contenders, and how many settings of each.
        length: of its runs, in updates or epochs.
        share: that is of a whole run's length.
    """

    contenders: int
    settings: int
    length: int
    share: float

    @property
    def runs(self) -> int:
        """For each seed."""
        return self.contenders * self.settings


def lengths(whole: int) -> list[int]:
    """Of the runs of each rung, the last ones whole; rungs of the same length are one."""
    return sorted({max(1, round(whole / ETA**i)) for i in range(_RUNGS)})


def ladder(contenders: int, whole: int, size: Size) -> list[Rung]:
    """The rungs: from one to the next half of the contenders go on, and of each of them a third of its settings."""
    least = min(size.finalists, contenders)
    return [
        Rung(max(least, math.ceil(contenders / 2**i)), math.ceil(size.settings / ETA**i), length, length / whole)
        for i, length in enumerate(lengths(whole))
    ]


def runs_of(contenders: int, whole: int, size: Size) -> int:
    """How many runs a tournament has."""
    tuning = size.tuning * sum(rung.runs for rung in ladder(contenders, whole, size))
    return tuning + min(size.finalists, contenders) * size.report


def most_runs_of(contenders: int, whole: int, size: Size, taken: Taken) -> int:
    """How many runs a tournament has that takes over another, at most, but for seeds of the reports of its finalists,
    which are as many as there are runs left for. One of the same size chooses as that one did; in a larger one goes
    on, beside what its own first rung lets go on, whatever went on there."""
    rungs = zip(ladder(contenders, whole, size), taken.settings, strict=True)
    finalists = min(size.finalists, contenders)
    if taken.is_as_large_as(size):
        tried = sum(max(rung.runs, settings) for rung, settings in rungs)
        return size.tuning * tried + max(finalists, taken.finalists) * size.report
    tried = sum(rung.runs + (settings if i else 0) for i, (rung, settings) in enumerate(rungs))
    return size.tuning * tried + finalists * size.report + taken.finalists * taken.report


def size_of_runs(budget: int, contenders: int, whole: int, taken: Taken | None = None) -> Size:
    """The largest size with at most so many runs; what is left goes to fresh seeds.

    Raises:
        UserError: not even the smallest has.
    """
    sizes = [*SIZES] if taken is None else taken.sizes()

    def runs(size: Size) -> int:
        return runs_of(contenders, whole, size) if taken is None else most_runs_of(contenders, whole, size, taken)

    least = runs(sizes[0])
    if least > budget:
        remedy = f"--budget {least}runs, or fewer contenders, such as optimizer=adamw,sgd"
        raise UserError(f"--budget {budget}runs: the smallest tournament of {contenders} has {least} runs", remedy)
    size = [one for one in sizes if runs(one) <= budget][-1]
    more = (budget - runs(size)) // min(size.finalists, contenders)
    return replace(size, report=max(size.report, min(MOST_SEEDS, size.report + more)))


@dataclass(frozen=True)
class Rate:
    """What runs of a length took.

    Attributes:
        seconds: of one, all in all.
        training: of these in its updates; None where that is not known, as of rows.
    """

    seconds: float
    training: float | None = None

    def without_start(self) -> Rate:
        """The same without what starts once, where that can be told: at most twice the time in updates."""
        return self if self.training is None else replace(self, seconds=min(self.seconds, 2 * self.training))


def seconds_of_run(rates: Mapping[int, Rate], length: int) -> float:
    """Seconds of a run of a length, from those of runs that were measured, by length.

    Of the nearest length, the time in updates counts in proportion and the rest as it is; where that is not known, all
    in proportion.

    Raises:
        ValueError: none was.
    """
    if not rates:
        raise ValueError("no run was measured")
    nearest = min(rates, key=lambda one: (abs(math.log(one / length)), one))
    rate = rates[nearest]
    training = rate.seconds if rate.training is None else min(rate.training, rate.seconds)
    return rate.seconds - training + training * length / nearest


def seconds_of_tuning(
    contenders: int, whole: int, size: Size, rates: Mapping[int, Rate], taken: Taken | None = None
) -> float:
    """Seconds of all rungs; of one that takes over another, of what is missing."""
    seconds = 0.0
    for i, rung in enumerate(ladder(contenders, whole, size)):
        settings, made = (taken.settings[i], taken.seeds[i]) if taken is not None else (0, 0)
        runs = size.tuning * (rung.runs + (settings if i else 0)) - settings * made
        seconds += runs * seconds_of_run(rates, rung.length)
    return seconds


def size_of_seconds(
    left: float, contenders: int, whole: int, rates: Mapping[int, Rate], taken: Taken | None = None
) -> Size:
    """The largest size that fits into so many seconds; the smallest where none does."""
    a_run = seconds_of_run(rates, whole)
    sizes = [*SIZES] if taken is None else taken.sizes()
    earlier = 0 if taken is None else taken.finalists

    def fits(size: Size) -> bool:
        tuning = seconds_of_tuning(contenders, whole, size, rates, taken)
        final = (min(size.finalists, contenders) + earlier) * size.report * a_run
        return tuning <= _TUNING_SHARE * left and tuning + final <= left

    return ([size for size in sizes if fits(size)] or [sizes[0]])[-1]
