"""Groups of runs: how they are formed, and what is computed of each."""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from optbench.comparison import labels
from optbench.comparison.arrivals import stops
from optbench.comparison.facts import Facts, alike
from optbench.comparison.header import Grouped
from optbench.comparison.observations import distinct
from optbench.comparison.ranked_by import Ranked, aimed_stops
from optbench.comparison.tuned import EACH_ON_OTHERS, Chooser, NothingLeft, Tuned, Tuning
from optbench.metrics import Estimate
from optbench.records import Run, RunTable, Status
from optbench.records.columns import Floats, Ints, factorized
from optbench.records.metrics import COLUMN
from optbench.statistics import STATISTICS, Groups, Statistic, statistics_of
from optbench.statistics.each import of_each

_Found = Mapping[str, Estimate | None]
IDENTITY = ("model", "data", "loss_name", "optimizer", "scheduler")


@dataclass(frozen=True)
class Group:
    """Runs of one configuration on one problem, which differ in their seeds.

    Attributes:
        problem: name of the problem.
        label: name of the configuration: what tells it from the others on this problem.
        keys: model, data, loss_name, optimizer, scheduler and the settings that differ; None where the runs disagree.
        rows: the runs.
        n_by_status: number of runs of each Status, zeros included.
        statistics: STATISTICS by name; None where one does not apply.
        best: whether no group of the problem is better by what the problem is ranked by, see `ranked_by`.
        stopped_at: number of runs at each critical point, see `arrivals.stops`; None where nothing is known of it.
        distinct: number of observations, see `observations`: n less the copies.
        tuned: what was chosen where there were several settings; the runs are then those of the chosen one.
        times: cost of each observation until the target that times are of, infinite for a miss; None where no common
            targets were asked for.
    """

    problem: str
    label: str
    keys: Mapping[str, Any]
    rows: RunTable
    n_by_status: Mapping[str, int]
    statistics: Mapping[str, Estimate | None]
    best: bool
    stopped_at: Mapping[str, int] | None
    distinct: int
    tuned: Tuned | None = None
    times: tuple[float, ...] | None = None

    @property
    def n(self) -> int:
        """Number of runs, whatever their status: every denominator."""
        return len(self.rows)

    def of(self, one: Statistic) -> int:
        """Number of runs that a statistic should be of: the observations, or every run that has a time."""
        return self.n if one.timed else self.distinct

    @property
    def runs(self) -> list[Run]:
        """The runs themselves."""
        return self.rows.runs()


def form_groups(
    rows: RunTable, by: Sequence[str] | None, ranked: Ranked, tuning: Tuning = EACH_ON_OTHERS
) -> tuple[list[Group], list[str], Grouped]:
    """The groups of each problem, the settings that differ between groups, and all runs in groups.

    Args:
        rows: the runs.
        by: keys that define a configuration; None: every setting but the seed.
        ranked: how groups are ranked.
        tuning: how a group of several settings is brought to one.

    Raises:
        UserError: a group has several settings and the seeds do not allow a choice.
    """
    codes, facts, by_last = alike(rows, by or ())
    facts = labels.without_common(facts, (*IDENTITY, *(by or ())))
    names = labels.problem_names(facts)
    by_problem: dict[Hashable, list[int]] = defaultdict(list)
    later: dict[Hashable, list[int]] = defaultdict(list)
    problems = [one.problem_key for one in facts]
    for kind, problem in enumerate(problems):
        by_problem[problem].append(kind)
    for kind in by_last:
        later[problems[kind]].append(kind)
    formed: list[_Formed] = []
    differing: dict[str, None] = {}
    in_order = sorted(by_problem.items(), key=lambda one: names[one[0]])  # and not as the runs came
    for number, (problem, members) in enumerate(in_order):
        # a name is made from the last run of a configuration, in the place of its first
        key_of, label_of, keys = _labelling([facts[kind] for kind in (*members, *later[problem])], by)
        differing.update(dict.fromkeys(keys))
        configurations: dict[Hashable, list[int]] = defaultdict(list)
        for kind in members:
            configurations[key_of(facts[kind])].append(kind)
        found = sorted((label_of(facts[same[0]]), same) for same in configurations.values())
        formed += [_Formed(number, names[problem], label, keys, same) for label, same in found]
    lost: list[str] = []
    if by is not None and not tuning.pool:
        rows, codes, formed, lost = _tuned(Chooser(rows, codes, facts, tuning, by, _losses(rows)), formed, ranked)
    groups, whole = _measured(rows, codes, facts, formed, ranked)
    return groups, [key for key in differing if key not in IDENTITY], replace(whole, left_out=lost)


class _Formed(NamedTuple):
    """A group before anything is computed of it: problem by number and name, kinds, and the keys that it shows."""

    number: int
    problem: str
    label: str
    keys: Sequence[str]
    kinds: Sequence[int]
    tuned: Tuned | None = None


def _losses(rows: RunTable) -> Callable[[str], tuple[Floats, float]]:
    whole = Groups.of(rows)

    @functools.cache
    def of(name: str) -> tuple[Floats, float]:
        sign = -float(STATISTICS[name].direction)
        return sign * whole.results(name, sign * math.inf), sign

    return of


def _tuned(
    chooser: Chooser, formed: Sequence[_Formed], ranked: Ranked
) -> tuple[RunTable, Ints, list[_Formed], list[str]]:
    """The runs that are reported, the kind of each, the groups that they form, and why others are left out: those that
    a tuning did not come to report. Raises UserError where no group is left, or the user named the seeds."""
    rows, kinds, facts = chooser.rows, chooser.kinds, chooser.facts
    several = {place for place, one in enumerate(formed) if len({facts[k].configuration_key for k in one.kinds}) > 1}
    if not several and not chooser.tuning.seeds:
        return rows, kinds, list(formed), []
    problem_of = np.zeros(len(facts), dtype=np.int64)
    for one in formed:
        problem_of[list(one.kinds)] = one.number
    metric: dict[int, str] = {}
    names = _criteria(rows, problem_of[kinds], ranked)
    for number, own in names.items():
        mine = problem_of[kinds] == number if len(names) > 1 else np.ones(len(kinds), dtype=np.bool_)
        metric[number] = next((name for name in own if (rows.present(name) & mine).any()), own[-1])
    kept, found, lost = [], [], []
    for one in formed:
        try:
            problem = one.problem if len(metric) > 1 else ""
            at, tuned = chooser.choose(one.label, one.kinds, metric[one.number], problem)
        except NothingLeft as error:
            lost.append(f"{one.problem}: left out: {error.message}; --pool takes all runs")
            if not chooser.tuning.planned or len(lost) == len(formed):
                raise
            continue
        kept.append(at)
        found.append(one._replace(kinds=list(dict.fromkeys(kinds[at].tolist())), tuned=tuned))
    where = np.sort(np.concatenate(kept))
    return rows.take(where), kinds[where], found, lost


_KeyOf = Callable[[Facts], Hashable]
_LabelOf = Callable[[Facts], str]


def _labelling(rows: Sequence[Facts], by: Sequence[str] | None) -> tuple[_KeyOf, _LabelOf, list[str]]:
    if by is None:
        label_by_key, keys = labels.configuration_names(rows)
        return (lambda row: row.configuration_key), (lambda row: label_by_key[row.configuration_key]), keys
    shorter = labels.short_names(by)

    def key(row: Facts) -> Hashable:
        return tuple(row.values.get(k) for k in by)

    def label(row: Facts) -> str:
        values = {k: labels.text(row.values.get(k)) for k in by}
        return " ".join(v if k in IDENTITY else f"{shorter[k]}={v}" for k, v in values.items())

    return key, label, list(by)


def _measured(
    rows: RunTable, kinds: Ints, facts: Sequence[Facts], formed: Sequence[_Formed], ranked: Ranked
) -> tuple[list[Group], Grouped]:
    n = len(formed)
    number = np.zeros(len(facts), dtype=np.min_scalar_type(n))
    number[[kind for one in formed for kind in one.kinds]] = np.repeat(np.arange(n), [len(one.kinds) for one in formed])
    codes = number[kinds]
    order = np.argsort(codes, kind="stable")  # the runs of the first group first, and in a group in their order
    rows, codes = rows.take(order), codes[order].astype(np.int64)
    ends = np.cumsum(np.bincount(codes, minlength=n)).tolist()
    counts = [dict.fromkeys(map(str, Status), 0) for _ in formed]
    for (status, group), runs in rows.tally("status", by=codes).items():
        counts[group][str(status)] = runs
    first = distinct(rows, _configurations(facts)[kinds[order]])
    computed = statistics_of(Groups(rows, codes, n, first))
    observed = np.bincount(codes[first], minlength=n).tolist()
    numbers = np.array([one.number for one in formed], dtype=np.int64)
    judged = [
        standing(own, rows.take(slice(start, end)), ranked)
        for own, start, end in zip(computed, [0, *ends], ends, strict=False)
    ] if ranked.of_cost else computed  # fmt: skip
    best = _best(numbers.tolist(), judged, _criteria(rows, numbers[codes], ranked))
    found = zip(formed, [0, *ends], ends, counts, computed, best, stops(rows, codes, n), observed, strict=False)
    groups = [
        Group(
            one.problem,
            one.label,
            _shared(facts, one),
            rows.take(slice(start, end)),
            by_status,
            own,
            top,
            places,
            k,
            one.tuned,
        )
        for one, start, end, by_status, own, top, places, k in found
    ]
    problems = [(one.number, one.problem) for one in formed]
    return groups, Grouped(rows, codes, problems, [one.label for one in formed])


def _configurations(facts: Sequence[Facts]) -> Ints:
    """The number of each kind's problem and configuration, up to the seed."""
    return factorized((one.problem_key, one.configuration_key) for one in facts).codes


def _shared(facts: Sequence[Facts], formed: _Formed) -> dict[str, Any]:
    """The keys of a group; None where its runs disagree."""
    values = [facts[kind].values for kind in formed.kinds]
    first = values[0]
    if len(values) == 1:
        return {key: first.get(key) for key in (*IDENTITY, *formed.keys)}
    found = {key: {one.get(key) for one in values} for key in (*IDENTITY, *formed.keys)}
    return {key: different.pop() if len(different) == 1 else None for key, different in found.items()}


def standing(statistics: _Found, rows: RunTable, ranked: Ranked) -> _Found:
    """The statistics that a group is ranked by. A cost is one of every run, as tables show it, but no result: in a
    ranking by it a run without a result takes for ever."""
    if not ranked.of_cost or ranked.metric is None or statistics.get(ranked.metric) is None:
        return statistics
    spent = of_each(Groups.of(rows), ranked.metric)
    spent = np.sort(spent[~np.isnan(spent)])
    middle = float(spent[(len(spent) - 1) // 2] + spent[len(spent) // 2]) / 2 if len(spent) else math.inf
    return {**statistics, ranked.metric: Estimate(middle)}


def rank(statistics: Mapping[str, Estimate | None], ranked: Sequence[str]) -> tuple[float, ...]:
    """What the groups of a problem are ranked by, small first: each of the criteria, infinite where there is none.

    Args:
        statistics: of a group.
        ranked: names of statistics.
    """
    return tuple(_score(name, statistics.get(name)) for name in ranked)


def _score(name: str, found: Estimate | None) -> float:
    return math.inf if found is None else -STATISTICS[name].direction * found.value


def _criteria(rows: RunTable, problems: Ints, ranked: Ranked) -> dict[int, tuple[str, ...]]:
    """What each problem is ranked by; problems: the number of each row's, (n,)."""
    known, (stopped, aimless) = rows.different(COLUMN), aimed_stops(rows)
    to_target = set(problems[stopped].tolist()) - set(problems[aimless].tolist())
    alike = len(known) < 2  # a problem is not looked at by itself where all are alike
    return {
        number: ranked.names(
            known if alike else rows.take(np.flatnonzero(problems == number)).different(COLUMN), number in to_target
        )
        for number in np.unique(problems).tolist()
    }


def _best(
    problems: Sequence[int],
    computed: Sequence[Mapping[str, Estimate | None]],
    criteria: Mapping[int, Sequence[str]],
) -> list[bool]:
    # by the first criterion that applies to a problem; groups without any result are never the best
    first: dict[int, int] = {}
    for problem, own in zip(problems, computed, strict=True):
        ranked = criteria[problem]
        applies = next(place for place, name in enumerate(ranked) if own.get(name) or name == ranked[-1])
        first[problem] = min(applies, first.get(problem, applies))
    scores = [rank(own, criteria[problem])[first[problem]] for problem, own in zip(problems, computed, strict=True)]
    top: dict[int, float] = {}
    for problem, score in zip(problems, scores, strict=True):
        top[problem] = min(score, top.get(problem, math.inf))
    return [score == top[problem] < math.inf for problem, score in zip(problems, scores, strict=True)]
