"""What figures over runs, targets and problems show, as plain numbers; `plot.over_problems` draws them.

Each takes a Comparison and names what it leaves out: a configuration that did not run on every problem, or of which a
run has no curve, has no place in a figure over all of them, and a reader must know which those are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from optbench.comparison.across import medians, shared, time_medians
from optbench.comparison.comparison import Comparison
from optbench.comparison.filters import resolve_key
from optbench.comparison.groups import IDENTITY, Group
from optbench.comparison.labels import text
from optbench.comparison.ranked_by import Ranked
from optbench.comparison.targets import Aim, Answered, Reader, answered, together
from optbench.comparison.tuned import chose
from optbench.errors import UserError
from optbench.metrics.tuned import BestOf, best_of
from optbench.records import RunTable
from optbench.records.columns import Floats
from optbench.statistics import STATISTICS, Groups


@dataclass(frozen=True)
class Drop:
    """Configurations that are not in a figure, and why, in words."""

    why: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Distribution:
    """The share of pairs of a run and a target that a configuration had answered by each cost.

    Attributes:
        label: of the configuration.
        costs, shares: (m,) where it rises, ascending, and what it is from there on; 0 before.
        end: largest cost that one of its runs spent: beyond, nothing was measured.
    """

    label: str
    costs: Floats
    shares: Floats
    end: float


@dataclass(frozen=True)
class Distributions:
    """Distributions of runtimes over the problems that all their configurations share.

    Attributes:
        lines: one a configuration.
        cost: unit of the costs.
        targets: of each problem, its name and which targets it has, in words.
        runs: the least and the largest number of runs of a configuration on a problem.
        left_out: what has no line.
        said: what must be said beside, a sentence each.
    """

    lines: tuple[Distribution, ...]
    cost: str
    targets: tuple[tuple[str, str], ...]
    runs: tuple[int, int]
    left_out: tuple[Drop, ...]
    said: tuple[str, ...]


WITHOUT_CURVES = "without a recorded curve"
NOT_EVERYWHERE = "not on every problem"


def answers_of(found: Comparison, aim: Aim, reader: Reader = RunTable.curves) -> Iterator[Answered]:
    """When the runs of each problem met its targets; see `targets.answered`.

    Args:
        found: the runs.
        aim: which targets, and what costs are counted in.
        reader: reads the curves of runs.
    """
    return answered(found.problems, aim, Ranked(found.checkpoint), reader)


def distributions(found: Comparison, aim: Aim, answers: Iterable[Answered] | None = None) -> Distributions:
    """The distribution of runtimes of each configuration over runs, targets and problems; each problem counts alike.

    Args:
        found: the runs.
        aim: which targets, and what costs are counted in.
        answers: what `answers_of` says of them, where that is known.

    Raises:
        UserError: no configuration has curves on all problems, or no targets are known for one of them.
        RecordError: a curve that cannot be read.
    """
    from optbench.metrics.ecdf import ecdf

    hits: dict[str, list[Floats]] = {}
    ends: dict[str, list[float]] = {}
    targets: list[tuple[str, str]] = []
    said: list[str] = []
    count = 0
    for one in answers_of(found, aim) if answers is None else answers:
        said += [one.unrecorded] if one.unrecorded else []
        count += 1
        if one.runtimes is None:
            continue
        targets.append((one.problem, one.words))
        for place in np.unique(one.runtimes.codes).tolist():
            own = one.runtimes.codes == place
            hits.setdefault(one.groups[place].label, []).append(one.runtimes.hits[own])
            ends.setdefault(one.groups[place].label, []).append(float(one.runtimes.ends[own].max()))
    whole = [label for label, own in hits.items() if len(own) == count]
    if not whole:
        raise UserError(
            "--figure ecdf: no configuration has a curve of every run on every problem",
            "--group-by optimizer takes each one's best setting; `optbench sweep` with --curves N records curves",
        )
    lines = []
    for label in whole:
        steps = ecdf(hits[label])
        lines.append(Distribution(label, steps.costs, steps.shares, max(ends[label])))
    sizes = [len(runs) for label in whole for runs in hits[label]]
    return Distributions(
        tuple(lines),
        aim.cost,
        tuple(targets),
        (min(sizes), max(sizes)),
        _left_out(found, whole, hits),
        tuple(together(said)),
    )


def _left_out(found: Comparison, shown: Sequence[str], curved: dict[str, list[Floats]]) -> tuple[Drop, ...]:
    """The configurations without a line, by why."""
    problems = {label: {g.problem for g in found.groups if g.label == label} for label in _labels(found)}
    missing = [label for label in problems if label not in shown]
    bare = [label for label in missing if len(problems[label]) > len(curved.get(label, ()))]
    drops = ((WITHOUT_CURVES, bare), (NOT_EVERYWHERE, [label for label in missing if label not in bare]))
    return tuple(Drop(why, tuple(names)) for why, names in drops if names)


def _labels(found: Comparison) -> list[str]:
    """The configurations by name, in order of appearance."""
    return list(dict.fromkeys(group.label for group in found.groups))


@dataclass(frozen=True)
class Profile:
    """The share of problems that a configuration solves within tau times the least time.

    Attributes:
        label: of the configuration.
        ratios, shares: (m,) where it rises, ascending from 1, and what it is from there on; 0 before.
    """

    label: str
    ratios: Floats
    shares: Floats


@dataclass(frozen=True)
class Profiles:
    """Performance profiles over the problems that all their configurations share.

    Attributes:
        lines: one a configuration.
        targets: of each problem, its name and what the times are of, in words.
        runs: the least and the largest number of times of a configuration on a problem.
        left_out: what has no line.
        said: what must be said beside, a sentence each.
    """

    lines: tuple[Profile, ...]
    targets: tuple[tuple[str, str], ...]
    runs: tuple[int, int]
    left_out: tuple[Drop, ...]
    said: tuple[str, ...]


OWN_TARGET = "steps to the target that the runs had (trainer.target)"


def profiles(found: Comparison, aim: Aim, answers: Iterable[Answered] | None = None) -> Profiles:
    """The performance profile of each configuration, by medians of the times of its runs to the target of a problem.

    Where curves lack, times are the steps to the target that the runs had.

    Args:
        found: the runs, of several problems.
        aim: which targets, and what costs are counted in.
        answers: what `answers_of` says of them, where that is known.

    Raises:
        UserError: there is one problem alone, fewer than two configurations are on all, or one has no target.
        RecordError: a curve that cannot be read.
    """
    from optbench.metrics.profiles import performance_profile

    ranked = Ranked(found.checkpoint)
    problems: dict[str, list[Group]] = {}
    targets: list[tuple[str, str]] = []
    said: list[str] = []
    for one in answers_of(found, aim) if answers is None else answers:
        timed = one.runtimes
        problems[one.problem] = [
            replace(group, times=timed.times(i) if timed else None) for i, group in enumerate(one.groups)
        ]
        said += [one.unrecorded] if one.unrecorded else []
        targets.append((one.problem, one.times))
    across = shared(problems, ranked, "--figure profile")
    tables = across.times()
    whole = {problem: all(group.times is not None for group in own)
             for problem, own in zip(across.problems, across.groups, strict=True)}  # fmt: skip
    steps = performance_profile(time_medians(across))
    sizes = [len(times) for own in tables for times in own]
    return Profiles(
        tuple(Profile(label, one.costs, one.shares) for label, one in zip(across.configurations, steps, strict=True)),
        tuple((problem, words if whole[problem] else OWN_TARGET) for problem, words in targets),
        (min(sizes), max(sizes)), _elsewhere(found, across.configurations), tuple(together(said)),
    )  # fmt: skip


@dataclass(frozen=True)
class Ranking:
    """Average ranks of configurations over problems, and which differences are more than chance.

    Attributes:
        labels, ranks: (k,) names and average ranks, 1 the best; the best first.
        difference: Nemenyi's critical difference at 5 %.
        cliques: groups that cannot be told apart, by number.
        p: probability of ranks so different if none differs (Friedman).
        metric: of each problem, its name and what it is ranked by.
        runs: the least and the largest number of runs of a configuration on a problem.
        left_out: what has no rank.
    """

    labels: tuple[str, ...]
    ranks: Floats
    difference: float
    cliques: tuple[tuple[int, ...], ...]
    p: float
    metric: tuple[tuple[str, str], ...]
    runs: tuple[int, int]
    left_out: tuple[Drop, ...]


def ranking(found: Comparison) -> Ranking:
    """Configurations ranked on each problem by the median of their runs, averaged over problems.

    Args:
        found: the runs, of several problems.

    Raises:
        UserError: there is one problem alone, or fewer than two configurations are on all.
    """
    from optbench.metrics.ranks import average_ranks, cliques, critical_difference, friedman

    across = shared(found.problems, Ranked(found.checkpoint), "--figure ranks")
    values = medians(across)
    averages = average_ranks(values)
    order = np.argsort(averages, kind="stable")
    difference = critical_difference(*values.shape)
    sizes = [len(runs) for own in across.losses() for runs in own]
    return Ranking(
        tuple(across.configurations[i] for i in order.tolist()), averages[order], difference,
        tuple(map(tuple, cliques(averages[order], difference))), friedman(values).best,
        tuple(zip(across.problems, across.metric, strict=True)), (min(sizes), max(sizes)),
        _elsewhere(found, across.configurations),
    )  # fmt: skip


def _elsewhere(found: Comparison, shown: Sequence[str]) -> tuple[Drop, ...]:
    missing = tuple(label for label in _labels(found) if label not in shown)
    return (Drop(NOT_EVERYWHERE, missing),) if missing else ()


@dataclass(frozen=True)
class Search:
    """What the best of k settings of a configuration is, on a problem.

    Attributes:
        problem, label: names of the problem and of what the settings are of.
        metric: name in STATISTICS.
        values: (n,) of the settings that were tried: the median over runs, infinitely bad without a result.
        best: of k of them.
    """

    problem: str
    label: str
    metric: str
    values: Floats
    best: BestOf


@dataclass(frozen=True)
class Searches:
    """The best of k settings of each configuration and problem.

    Attributes:
        lines: by problem.
        runs: the least and the largest number of runs that a setting is judged by.
        tuning: whether they are those by which `tune` chose, its reports left out.
        left_out: what has fewer than two settings.
    """

    lines: tuple[Search, ...]
    runs: tuple[int, int]
    tuning: bool
    left_out: tuple[Drop, ...]


ONE_SETTING = "of one setting"


def searches(found: Comparison, by: Sequence[str] = ("optimizer",)) -> Searches:
    """What the best of k of the settings that were tried is, of each configuration and problem.

    Where `tune` searched, its settings count and their runs on the tuning seeds, and no report. The settings of a grid
    or a random search know nothing of each other, of which the closed form is; those of one that learns do.

    Args:
        found: the runs, every setting a group.
        by: keys that make a line.

    Raises:
        UserError: no configuration has two settings; a search that gave its settings different budgets; no such key.
    """
    ranked = Ranked(found.checkpoint)
    tuning = any(chose(group.rows).any() for group in found.groups)
    budgets = [key for key in ("trainer.steps", "trainer.epochs") if key in found.differing]
    if tuning and budgets:
        raise UserError(
            f"--figure best-of: later settings knew of earlier ones: {', '.join(budgets)} differ (--method halving)",
            "a quasirandom or random search has settings that are independent of each other",
        )
    lines: dict[tuple[str, str], list[float]] = {}
    metric = {problem: ranked.first(own) for problem, own in found.problems.items()}
    sizes = []
    for group in found.groups:
        rows = group.rows.take(np.flatnonzero(chose(group.rows))) if tuning else group.rows
        if len(rows):
            sizes.append(len(rows))
            key = (group.problem, _named(group, by))
            lines.setdefault(key, []).append(_setting(rows, metric[group.problem]))
    several = {key: np.array(own) for key, own in lines.items() if len(own) > 1}
    if not several:
        raise UserError(
            "--figure best-of: no configuration was tried with two settings",
            "a sweep over optimizer.lr has several, so has `optbench tune`",
        )
    return Searches(
        tuple(Search(problem, label, name := metric[problem], values,
                     best_of(values, direction=STATISTICS[name].direction))
              for (problem, label), values in sorted(several.items())),
        (min(sizes), max(sizes)), tuning,
        _dropped(ONE_SETTING, [label for _, label in lines], [label for _, label in several]),
    )  # fmt: skip


def _dropped(why: str, every: Sequence[str], shown: Sequence[str]) -> tuple[Drop, ...]:
    missing = tuple(dict.fromkeys(label for label in every if label not in shown))
    return (Drop(why, missing),) if missing else ()


def _setting(rows: RunTable, metric: str) -> float:
    """The median of runs in a score; infinitely bad where half have no result."""
    sign = -STATISTICS[metric].direction
    values = sign * Groups.of(rows).results(metric, sign * math.inf)
    with np.errstate(invalid="ignore"):
        middle = float(np.median(values))
    return sign * (math.inf if math.isnan(middle) else middle)


def _named(group: Group, by: Sequence[str]) -> str:
    known = group.rows.known
    keys = [resolve_key(name, known) for name in by]
    parts = [text(group.rows.values(key)[0]) for key in keys]
    return " ".join(part if key in IDENTITY else f"{key}={part}" for key, part in zip(keys, parts, strict=True))
