"""Scores over several problems: one number a configuration, for those that ran on every problem.

They are computed where asked for (`--score`). Those of times need a target: the common one of `targets` where that is
asked for (`--cost`, `--target`, `--budget`), else the one that the runs had (`trainer.target`). A run that missed it
has an infinite time and stays in every denominator. What was compared belongs beside the numbers, since the scores are
relative: another configuration or problem changes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optbench.comparison.by_seed import by_seed
from optbench.comparison.groups import Group
from optbench.comparison.judged import baselines
from optbench.comparison.ranked_by import Ranked
from optbench.errors import UserError
from optbench.metrics import Estimate
from optbench.records.columns import Floats
from optbench.statistics import STATISTICS

RULES = {
    "algoperf": "AlgoPerf's score by its closed form: mean over problems of max(0, 4 - r) / 3, r the median steps "
    "to the target (with --cost, --target or --budget the cost of the common one) divided by those of the fastest; "
    "1: fastest everywhere, 0: never within 4 times; bootstrap interval over seeds",
    "algoperf_code": "the same as AlgoPerf's program computes it: times above 4 times the best are misses, the "
    "profile is read at 100 points, the denominator is the number of problems compared",
    "dolan_more": "the performance profile of Dolan and More at 1: share of problems on which it is the fastest to "
    "the target, by the median over seeds",
    "rank": "average rank over problems, by the median over seeds, 1 the best; [low, high] is half of Nemenyi's "
    "critical difference (95 %) to both sides: where two of them do not overlap, the ranks differ",
    "iqm": "interquartile mean of all runs, on a scale on which 1 is the best run of a problem and 0 the worst "
    "finite one (a run without a result is 0), logarithmic where all values are positive and span more than three "
    "decades; stratified bootstrap interval",
    "improvement": "probability that a run is better than one of the reference (--baseline, else the best average), "
    "mean over problems, equal runs counting half, with Newcombe's interval; of the reference itself 1/2",
    "ert": "geometric mean over problems of the expected running time to the target, in steps or --cost; infinite "
    "where a problem was never solved",
}
"""The scores and their rules, a clause each."""
LARGE = ("algoperf", "algoperf_code", "dolan_more", "iqm", "improvement")
"""Scores of which large values are better."""
_DECADES = 3.0


@dataclass(frozen=True)
class Score:
    """A score of a configuration, over problems or (`within`) on one of them, `problem`."""

    score: str
    configuration: str
    estimate: Estimate
    problem: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain data; numbers that are not finite are null."""
        ends = {name: getattr(self.estimate, name) for name in ("value", "low", "high", "coverage", "n")}
        finite = {name: end if end is not None and math.isfinite(end) else None for name, end in ends.items()}
        return {"score": self.score, "problem": self.problem, "configuration": self.configuration, **finite}


def parse_scores(given: Sequence[str] | str, others: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of scores as they are typed; "all" stands for every one over problems.

    Args:
        given: comma-separated or as a list.
        others: names that are no score over problems and may be asked for too.

    Raises:
        UserError: there is no such score.
    """
    names = [name.strip().replace("-", "_") for name in (given.split(",") if isinstance(given, str) else given)]
    if names == ["all"]:
        return tuple(RULES)
    for name in names:
        if name not in RULES and name not in others:
            known = f"over problems {', '.join(RULES)}, or all"
            raise UserError(f"--score {name}: no such score",
                            known + f"; on each problem {', '.join(others)}" * bool(others))  # fmt: skip
    return tuple(dict.fromkeys(names))


@dataclass(frozen=True)
class Across:
    """The configurations that all problems share, as tables.

    Attributes:
        problems, configurations: their names.
        groups: of each problem, the group of each configuration.
        metric: of each problem, what it is ranked by.
    """

    problems: tuple[str, ...]
    configurations: tuple[str, ...]
    groups: tuple[tuple[Group, ...], ...]
    metric: tuple[str, ...]

    def reference(self, baseline: str | None) -> int:
        """The number of the configuration that others are held against: the baseline, by its name or its optimizer's;
        without one, the best average rank.

        Raises:
            UserError: the baseline is not on every problem, or may be several configurations.
        """
        if baseline is not None:
            on_all = dict(zip(self.problems, self.groups, strict=True))
            return baselines(on_all, baseline)[self.problems[0]]
        from optbench.metrics.ranks import average_ranks

        return int(np.argmin(average_ranks(medians(self))))

    def losses(self) -> list[list[Floats]]:
        """The runs of each problem and configuration, in the direction of losses."""
        found = []
        for own, metric in zip(self.groups, self.metric, strict=True):
            table = -STATISTICS[metric].direction * by_seed(own, metric)
            found.append([row[~np.isnan(row)] for row in table])
        return found

    def times(self) -> list[list[Floats]]:
        """Of each problem the times of each configuration, a number a run, infinite for a miss: to the common target
        where such were asked for, else the steps to the target that the runs had.

        Raises:
            UserError: a configuration had no target on a problem.
        """
        found = []
        for problem, own in zip(self.problems, self.groups, strict=True):
            given = [np.array(group.times) for group in own if group.times is not None]
            if 0 < len(given) < len(own):
                lacking = ", ".join(group.label for group in own if group.times is None)
                raise UserError(
                    f"{problem}: no times to a common target of {lacking}, of which not every run has a curve",
                    "the same `optbench sweep` with --curves N records those of N rows; --filter leaves it out",
                )
            if not given:
                given = [row[~np.isnan(row)] for row in by_seed(own, "steps_to_target")]
            if not all(map(len, given)):
                raise UserError(
                    f"{problem}: no target, of which this score is",
                    "--cost steps has common ones, where curves are recorded, --target names them; trainer.target=... "
                    "gives runs one",
                )
            found.append(given)
        return found


def shared(problems: Mapping[str, Sequence[Group]], ranked: Ranked, asked: str = "--score") -> Across:
    """The configurations that ran on every problem, by name.

    Args:
        problems: the groups of each.
        ranked: how groups are ranked.
        asked: the option that asked, for the words of an error.

    Raises:
        UserError: there is one problem alone, or fewer than two configurations are on all.
    """
    if len(problems) < 2:
        raise UserError(f"{asked}: it is over several problems", "here is one: give folders of several")
    first, *others = problems.values()
    names = [g.label for g in first if all(any(g.label == h.label for h in other) for other in others)]
    if len(names) < 2:
        raise UserError(
            f"{asked}: fewer than two configurations ran on every problem",
            "--group-by optimizer takes each one's best setting; --filter leaves problems out",
        )
    at = {problem: {group.label: group for group in groups} for problem, groups in problems.items()}
    groups = tuple(tuple(own[name] for name in names) for own in at.values())
    metric = tuple(map(ranked.first, groups))
    return Across(tuple(problems), tuple(names), groups, metric)


def scores_over(across: Across, names: Sequence[str], reference: int | None = None) -> list[Score]:
    """Each score of each configuration.

    Args:
        across: the runs.
        names: of scores.
        reference: number of the configuration that `improvement` is over.

    Raises:
        UserError: a score of times, and no target.
    """
    found = []
    for name in names:
        estimates = _SCORES[name](across) if name != "improvement" else _improvement(across, reference or 0)
        found += [Score(name, label, one) for label, one in zip(across.configurations, estimates, strict=True)]
    return found


OF_TIMES = ("algoperf", "algoperf_code", "dolan_more", "ert")
"""Scores of the times to a target."""


def possible(across: Across) -> tuple[tuple[str, ...], list[str]]:
    """Every score that these runs have, and what must be said of the others: the runs may have no target."""
    try:
        across.times()
    except UserError as error:
        why = f"{error.message}; {error.hint}" if error.hint else error.message
        return tuple(name for name in RULES if name not in OF_TIMES), [f"{', '.join(OF_TIMES)} are left out: {why}"]
    return tuple(RULES), []


def medians(across: Across) -> Floats:
    """Median of the runs, problems by configurations, in the direction of losses."""
    return np.array([[float(_median(runs)) for runs in own] for own in across.losses()])


def _median(values: Floats) -> float:
    known = values[~np.isnan(values)]
    with np.errstate(invalid="ignore"):
        middle = float(np.median(known)) if len(known) else math.inf
    return math.inf if math.isnan(middle) else middle


def _rank(across: Across) -> list[Estimate]:
    from optbench.metrics.ranks import average_ranks, critical_difference

    half = critical_difference(len(across.problems), len(across.configurations)) / 2
    n = len(across.problems)
    return [Estimate(one, one - half, one + half, 0.95, n) for one in average_ranks(medians(across)).tolist()]


def _improvement(across: Across, reference: int) -> list[Estimate]:
    from optbench.metrics.aggregate import improvement

    runs = across.losses()
    theirs = [own[reference] for own in runs]
    return [
        Estimate(0.5, n=len(theirs)) if i == reference else improvement([own[i] for own in runs], theirs)
        for i in range(len(across.configurations))
    ]


def _iqm(across: Across) -> list[Estimate]:
    from optbench.metrics.aggregate import iqm

    scaled = [_scaled(own) for own in across.losses()]
    return [iqm([own[i] for own in scaled]) for i in range(len(across.configurations))]


def _scaled(runs: Sequence[Floats]) -> list[Floats]:
    """The losses of a problem on the scale of `iqm`."""
    every = np.concatenate(list(runs))
    finite = every[np.isfinite(every)]
    if not len(finite) or finite.min() == finite.max():
        return [np.isfinite(own).astype(float) for own in runs]
    low, high = float(finite.min()), float(finite.max())
    logs = low > 0 and math.log10(high) - math.log10(low) > _DECADES
    scale = np.log if logs else np.asarray
    best, worst = float(scale(low)), float(scale(high))

    def of(own: Floats) -> Floats:
        held = np.where(np.isfinite(own), own, high)
        return np.where(np.isfinite(own), (worst - scale(held)) / (worst - best), 0.0)

    return [of(own) for own in runs]


def _algoperf(across: Across) -> list[Estimate]:
    from optbench.metrics.profiles import algoperf_intervals

    tables = across.times()
    return algoperf_intervals([[own[i] for own in tables] for i in range(len(across.configurations))])


def time_medians(across: Across) -> Floats:
    """Median time to the target, configurations by problems; infinite where half of the runs missed it.

    Raises:
        UserError: a configuration had no target on a problem.
    """
    return np.array([[_median(row) for row in table] for table in across.times()]).T


def _algoperf_code(across: Across) -> list[Estimate]:
    from optbench.metrics.profiles import algoperf_code

    # numpy's median, inf in the middle included, is that of the program; one study stands for all
    return [Estimate(one) for one in algoperf_code(time_medians(across)[:, :, None]).tolist()]


def _dolan_more(across: Across) -> list[Estimate]:
    from optbench.metrics.profiles import performance_profile

    return [Estimate(float(one.at(1.0))) for one in performance_profile(time_medians(across))]


def _ert(across: Across) -> list[Estimate]:
    across.times()  # raises where there is no target
    values = np.array([[_value(_ert_of(group)) for group in own] for own in across.groups])
    with np.errstate(divide="ignore"):
        return [Estimate(float(np.exp(np.log(column).mean()))) for column in values.T]


def _ert_of(group: Group) -> Estimate | None:
    return group.statistics["ert"] if group.times is None else group.statistics["ert_of_hardest"]


def _value(found: Estimate | None) -> float:
    return math.inf if found is None else found.value


_SCORES = {
    "algoperf": _algoperf,
    "algoperf_code": _algoperf_code,
    "dolan_more": _dolan_more,
    "rank": _rank,
    "iqm": _iqm,
    "ert": _ert,
}
