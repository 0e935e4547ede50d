"""Common targets: the same levels of loss or accuracy for every configuration of a problem, and when each run met them.

On a surface they are its minimum and COCO's 51 precisions above it, 10^2, 10^1.8, ..., 10^-8. On a network it is the
target of validation accuracy or loss that all its runs have, as those of a suite do; where they have none they are the
levels of validation accuracy (without classes: loss) that the median run of the best configuration newly reached
at its evaluations; so they are attained, by a run that is no lucky one. `--target` names others. Never does a
configuration have targets of its own.

What a run met is read from its curve. A group of which a run that ended has no curve has no such score, and it is said
how curves are recorded.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from optbench.comparison.groups import Group, rank
from optbench.comparison.header import cut_inside, decays
from optbench.comparison.observations import distinct
from optbench.comparison.ranked_by import Ranked
from optbench.errors import UserError
from optbench.records import Run, RunTable, Status
from optbench.records.columns import Floats
from optbench.records.curves import Columns
from optbench.statistics import STATISTICS, has_result
from optbench.statistics.numbers import number
from optbench.statistics.of_targets import Grid, Runtimes, of_targets

COSTS = ("steps", "evals", "epochs", "seconds")
_COLUMN = {"steps": "step", "evals": "evals", "epochs": "epoch", "seconds": "seconds"}
_UNITS = {"s": "seconds", "step": "steps", "eval": "evals", "epoch": "epochs", "second": "seconds"}
_UNITS |= {cost: cost for cost in COSTS}
_OWN = {"trainer.target_accuracy": "val_accuracy", "trainer.target_val_loss": "val_loss"}
_MOST = 51
MinimumOf = Callable[[Run], float | None]
"""The minimum of the surface that a run descended; None where it is not known."""
Reader = Callable[[RunTable, Collection[str]], Sequence[Columns]]
"""Reads the curve of each run, the named columns at least, as `RunTable.curves` does."""


@dataclass(frozen=True)
class Aim:
    """What is asked of targets.

    Attributes:
        cost: one of COSTS: what times are counted in.
        levels: targets; empty: the usual ones.
        budget: a cost and its amount at which every curve is cut; None: none is.
        minimum_of: see MinimumOf; None: no minimum is known.
        spread: known standard deviation of a run's value, for certified steps; None: it is estimated.
    """

    cost: str = "steps"
    levels: tuple[float, ...] = ()
    budget: tuple[str, float] | None = None
    minimum_of: MinimumOf | None = None
    spread: float | None = None


def aim(
    cost: str | None,
    target: str,
    budget: str | None,
    minimum_of: MinimumOf | None = None,
    spread: float | None = None,
) -> Aim:
    """An aim from what is typed: "steps", "0.1,0.01", "500evals".

    Raises:
        UserError: a word that is none.
    """
    if cost is not None and cost not in COSTS:
        raise UserError(f"--cost {cost}: expected one of {', '.join(COSTS)}")
    try:
        levels = tuple(float(part) for part in target.split(",")) if target else ()
    except ValueError:
        raise UserError(f"--target {target}: expected numbers, such as 0.1,0.01") from None
    if not np.isfinite(levels).all():
        raise UserError(f"--target {target}: expected numbers, such as 0.1,0.01")
    cut = None
    if budget is not None:
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?(?:e\d+)?)\s*([a-z]+)\s*", budget)
        if match is None or match[2] not in _UNITS or not float(match[1]) > 0:
            raise UserError(f"--budget {budget}: expected a cost, such as 500evals, 10s, 3epochs or 200steps")
        cut = (_UNITS[match[2]], float(match[1]))
    if spread is not None and not 0 < spread < np.inf:
        raise UserError(f"--spread {spread:g}: expected a number above 0, such as 0.0013")
    return Aim(cost or (cut[0] if cut else "steps"), levels, cut, minimum_of, spread)


@dataclass(frozen=True)
class Curves:
    """The curves of a problem's observations, without those rows that say nothing.

    Attributes:
        groups: number of the group of each run.
        costs, values: of each run, values in the direction of losses.
        ends: cost at which each ended.
        statuses: how each ended.
    """

    groups: list[int]
    costs: list[Floats]
    values: list[Floats]
    ends: list[float]
    statuses: list[str]

    def members(self, groups: int) -> list[list[int]]:
        """The numbers of the runs of each group."""
        found: list[list[int]] = [[] for _ in range(groups)]
        for run, place in enumerate(self.groups):
            found[place].append(run)
        return found


@dataclass(frozen=True)
class Answered:
    """When the runs of a problem met the targets that all its configurations have.

    Attributes:
        problem, groups: its name, and its configurations.
        runtimes: by number of the group; None where no curve was recorded.
        words: which targets these are.
        times: what times to a target are of, in words.
        unrecorded: which groups lack curves, in words; empty where none does.
    """

    problem: str
    groups: Sequence[Group]
    runtimes: Runtimes | None
    words: str
    times: str
    unrecorded: str


def with_targets(
    problems: Mapping[str, Sequence[Group]], aim: Aim, ranked: Ranked, reader: Reader = RunTable.curves
) -> tuple[list[Group], list[str]]:
    """The groups with the scores of OF_TARGETS beside the others, and what must be said, a sentence each.

    Args, Raises: as `answered`.
    """
    found: list[Group] = []
    said: list[str] = []
    lacking: list[str] = []
    for one in answered(problems, aim, ranked, reader):
        lacking += [one.unrecorded] if one.unrecorded else []
        if one.runtimes is None:
            found += one.groups
            continue
        said.append(f"{one.problem}: {one.words}; {one.times}")
        found += [
            replace(group, statistics={**group.statistics, **own}, times=one.runtimes.times(place))
            for place, (group, own) in enumerate(zip(one.groups, of_targets(one.runtimes), strict=True))
        ]
    return found, [*together(lacking), *said]


def answered(
    problems: Mapping[str, Sequence[Group]], aim: Aim, ranked: Ranked, reader: Reader = RunTable.curves
) -> Iterator[Answered]:
    """Each problem with its targets and when each run met them.

    Args:
        problems: the groups of each.
        aim: what is asked.
        ranked: how groups are ranked.
        reader: reads the curves of runs.

    Raises:
        UserError: no targets are known for a problem.
        RecordError: a curve that cannot be read.
    """
    for problem, groups in problems.items():
        column, sign = measure(groups)
        curves, without = curves_of(groups, aim, column, sign, reader)
        unrecorded = _unrecorded(problem, without) if without else ""
        if not curves.groups:
            yield Answered(problem, groups, None, "", "", unrecorded)
            continue
        levels, words = _levels(problem, groups, aim, column, sign, ranked.of(groups), reader)
        runtimes = _runtimes(curves, groups, levels, aim)
        times = _relevant(runtimes, levels, column, sign, aim)
        yield Answered(problem, groups, runtimes, words, times, unrecorded)


def measure(groups: Sequence[Group]) -> tuple[str, float]:
    """The column of curves that targets are levels of, and the sign that makes it a loss."""
    if all(group.keys.get("data") in (None, "none") for group in groups):
        return "loss", 1.0
    if (own := _own_target(groups)) is not None:
        return own[0], -1.0 if own[0] == "val_accuracy" else 1.0
    for last, best in zip(Ranked("last").ends(groups)[:-1], Ranked("best").ends(groups)[:-1], strict=True):
        if any(group.statistics.get(last) or group.statistics.get(best) for group in groups):
            return last, -float(STATISTICS[last].direction)
    return "val_loss", 1.0


def _own_target(groups: Sequence[Group]) -> tuple[str, float] | None:
    """The column and the level of the one target on the validation data that every run of a network has, or None."""
    for key, column in _OWN.items():
        found = np.concatenate([group.rows.numbers(key) for group in groups])
        if len(found) and (found == found[0]).all():  # a run without one is NaN, which equals nothing
            return column, float(found[0])
    return None


def curves_of(
    groups: Sequence[Group], aim: Aim, column: str, sign: float, reader: Reader = RunTable.curves
) -> tuple[Curves, list[str]]:
    """The curves, and the names of the groups that lack one of a run that ended.

    Args:
        groups: of one problem.
        aim: what costs are counted in, and where curves are cut.
        column, sign: as `measure` has them.
        reader: of curves, as `answered` has it.
    """
    found, without = Curves([], [], [], [], []), []
    for place, group in enumerate(groups):
        rows = group.rows.take(distinct(group.rows, np.zeros(group.n, dtype=np.int64)))
        read = _cut(reader(rows, _names(aim, column)), aim, column, sign)
        statuses = list(map(str, rows.values("status")))
        lost = [
            own is None and (has_result(status) or status == "diverged")
            for own, status in zip(read, statuses, strict=True)
        ]
        if any(lost):
            without.append(group.label)
            continue
        for own, status in zip(read, statuses, strict=True):
            costs, values = own or (np.zeros(0), np.zeros(0))
            found.statuses.append(status)
            found.groups.append(place)
            found.costs.append(costs)
            found.values.append(values)
            found.ends.append(float(costs[-1]) if len(costs) else 0.0)
    return found, without


def _names(aim: Aim, column: str) -> list[str]:
    """The columns that a curve is cut by: costs, values, and those of the budget."""
    return [_COLUMN[aim.cost], column, *([_COLUMN[aim.budget[0]]] if aim.budget else [])]


def _cut(curves: Sequence[Columns], aim: Aim, column: str, sign: float) -> list[tuple[Floats, Floats] | None]:
    """Costs and values of each curve up to the budget; None where it lacks a column."""
    names = _names(aim, column)
    at = [place for place, curve in enumerate(curves) if all(name in curve for name in names)]
    found: list[tuple[Floats, Floats] | None] = [None] * len(curves)
    if not at:
        return found
    # one behind the other: there are thousands
    costs, values, *along = (
        np.concatenate([np.asarray(curves[place][name], dtype=np.float64) for place in at]) for name in names
    )
    ends = np.cumsum([len(curves[place][names[0]]) for place in at])
    values, kept = sign * values, ~np.isnan(costs)
    if aim.budget:
        kept &= along[0] <= aim.budget[1]
    if not kept.all():
        costs, values, ends = costs[kept], values[kept], np.concatenate([[0], np.cumsum(kept)])[ends]
    start = 0
    for place, end in zip(at, ends.tolist(), strict=True):
        found[place] = costs[start:end], values[start:end]
        start = end
    return found


def _levels(
    problem: str,
    groups: Sequence[Group],
    aim: Aim,
    column: str,
    sign: float,
    ranked: Sequence[str],
    reader: Reader,
) -> tuple[Floats, str]:
    """The targets of a problem in the direction of losses, the easiest first, and which they are in words."""
    if aim.levels:
        own = -np.sort(-sign * np.array(aim.levels))
        return own, f"targets: {column} {', '.join(number(sign * level) for level in own.tolist()[:6])}"
    if column == "loss":
        from optbench.metrics.runtimes import PRECISIONS

        run = groups[0].rows.take(slice(0, 1)).runs()[0]
        minimum = aim.minimum_of(run) if aim.minimum_of else None
        if minimum is None:
            raise UserError(f"{problem}: its minimum is not known", "--target 1e-3,1e-6 names losses to reach")
        return minimum + PRECISIONS, f"targets: minimum {number(minimum)} + {len(PRECISIONS)} precisions 1e2 to 1e-8"
    if (given := _own_target(groups)) is not None:
        return np.array([sign * given[1]]), f"target: {column} {number(given[1])}, that of its runs"
    best = min(groups, key=lambda group: (rank(group.statistics, ranked), group.label))
    short = Aim(budget=aim.budget)
    (cut,) = _cut(reader(_median_run(best, ranked), _names(short, column)), short, column, sign)
    values = np.zeros(0) if cut is None else cut[1][~np.isnan(cut[1])]
    if not len(values):
        raise UserError(
            f"{problem}: the median run of {best.label} has no {column} in its curve", "--target names some"
        )
    levels = np.unique(np.minimum.accumulate(values))[::-1]
    if len(levels) > _MOST:
        levels = levels[np.linspace(0, len(levels) - 1, _MOST).round().astype(int)]
    span = f"{number(sign * float(levels[0]))} to {number(sign * float(levels[-1]))}"
    return levels, f"targets: {len(levels)} levels of {column}, {span}, as the median run of {best.label} reached them"


def _median_run(group: Group, ranked: Sequence[str]) -> RunTable:
    """The run in the middle by what groups are ranked by; the worse one of two."""
    name = next(name for name in ranked if group.statistics.get(name) or name == ranked[-1])
    sign = -STATISTICS[name].direction
    values = sign * group.rows.numbers(name)
    results = group.rows.where("status", has_result)
    order = np.argsort(np.where(results & ~np.isnan(values), values, np.inf), kind="stable")
    return group.rows.take(order[len(order) // 2 : len(order) // 2 + 1])


def _runtimes(curves: Curves, groups: Sequence[Group], levels: Floats, aim: Aim) -> Runtimes:
    from optbench.metrics.runtimes import first_hits

    offsets = np.cumsum([0, *map(len, curves.costs)])
    hits = first_hits(np.concatenate(curves.costs), np.concatenate(curves.values), offsets, levels)
    codes, ends = np.array(curves.groups, dtype=np.int64), np.array(curves.ends)
    shares = np.array([np.isfinite(hits[codes == group]).mean(axis=0) for group in np.unique(codes)])
    often = np.flatnonzero((shares > 0.5).any(axis=0))
    relevant = int(often[np.argmin(levels[often])]) if len(often) else None
    lost = np.array([status in _BY_ITSELF for status in curves.statuses], dtype=np.bool_)
    surface = measure(groups)[0] == "loss"
    grids = [] if relevant is None or aim.cost == "seconds" else _grids(curves, groups, float(levels[relevant]), aim)
    return Runtimes(codes, len(groups), hits, ends, relevant, float(ends.max()), lost, surface, grids)


_BY_ITSELF = frozenset(map(str, (Status.CONVERGED, Status.DIVERGED, Status.FAILED, Status.SKIPPED)))
"""Statuses of runs that no larger budget would have taken further."""


def _grids(curves: Curves, groups: Sequence[Group], target: float, aim: Aim) -> list[Grid | None]:
    """Where all runs of each group were measured; see `Grid`."""
    members = curves.members(len(groups))
    return [_grid(curves, own, group, target, aim) if own else None for own, group in zip(members, groups, strict=True)]


def _grid(curves: Curves, runs: Sequence[int], group: Group, target: float, aim: Aim) -> Grid:
    measured = {run: ~np.isnan(curves.values[run]) for run in runs}
    whole = [run for run in runs if has_result(curves.statuses[run])]
    costs = [curves.costs[run][measured[run]] for run in whole]
    different = {one.tobytes(): one for one in costs}.values()  # nearly always they are the same
    shared = functools.reduce(np.intersect1d, different, np.unique(costs[0])) if costs else np.zeros(0)
    if decays(group.rows).any():  # what a schedule has not ended is no run of that length
        ended = (
            not (aim.budget or cut_inside(group.rows).any()) and len({float(one[-1]) for one in costs if len(one)}) == 1
        )
        shared = shared[-1:] if ended else shared[:0]
    values = np.full((len(runs), len(shared)), np.inf)
    for row, run in zip(values, runs, strict=True):
        if has_result(curves.statuses[run]):
            at = np.searchsorted(curves.costs[run][measured[run]], shared)
            row[:] = curves.values[run][measured[run]][at]
    return Grid(shared, values, target, aim.spread)


def _relevant(runtimes: Runtimes, levels: Floats, column: str, sign: float, aim: Aim) -> str:
    cut = f"; curves are cut at {aim.budget[1]:g} {aim.budget[0]}" if aim.budget else ""
    if runtimes.relevant is None:
        return f"no configuration reaches any target in more than half of its runs{cut}"
    level = sign * float(levels[runtimes.relevant])
    return f"times are to {column} {'>=' if sign < 0 else '<='} {number(level)}, in {aim.cost}{cut}"


_EACH = 3
"""Problems, and configurations of a problem, that are named where curves lack."""


def together(unrecorded: Sequence[str]) -> list[str]:
    """What is said of each of several problems (`Answered.unrecorded`), in one sentence where they are many."""
    if len(unrecorded) <= _EACH:
        return list(unrecorded)
    return [_lacking(f"{len(unrecorded)} problems", "some of their configurations")]


def _unrecorded(problem: str, without: Sequence[str]) -> str:
    more = f" and {len(without) - _EACH} more" if len(without) > _EACH else ""
    return _lacking(problem, ", ".join(without[:_EACH]) + more)


def _lacking(problem: str, names: str) -> str:
    return (
        f"{problem}: no scores of targets for {names}: runs without a recorded curve, or without that cost in it; the "
        "same `optbench sweep` with --curves N records those of N rows of a batch"
    )
