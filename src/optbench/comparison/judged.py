"""Which configuration is better on a problem, and how sure that is: verdicts on pairs, over the seeds they share.

The tests are those of `metrics.pairs`; here the runs of a problem become its table, a row a configuration and a column
a seed (and fold), copies of a run counted once. All pairs shown, of all problems, are one family (Holm).

By themselves verdicts are sought where that costs next to nothing; beyond (`MOST_RUNS`, `MOST_PAIRS`), where asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optbench.comparison.facts import FOLD
from optbench.comparison.groups import Group
from optbench.comparison.observations import distinct
from optbench.errors import UserError
from optbench.metrics import Estimate
from optbench.records import RunTable
from optbench.records.columns import Floats, factorized
from optbench.statistics import STATISTICS, Groups
from optbench.statistics.numbers import number

METRICS = (
    "final_loss", "best_loss", "best_val_accuracy", "val_accuracy", "best_val_loss", "val_loss", "steps", "evals",
    "seconds", "steps_to_target",
)  # fmt: skip
"""Scores that every run has a value of, by which pairs can be judged."""
MOST_RUNS, MOST_PAIRS = 50, 1000
"""Runs of a configuration, and pairs in all, up to which verdicts are sought unasked: they cost 0.1 s."""
RULE = (
    "*: best; ~: not told from it. Pairs are judged by the signed-rank test over shared seeds (by the rank-sum test "
    "where fewer than half are shared), Holm-corrected over all pairs of all problems; a run without a result has "
    "the worst rank"
)
DETAILS = (
    "better, worse: p <= alpha after Holm's correction, so that at most a share alpha of whole comparisons says "
    "anything false; equivalent: both one-sided tests against the difference named by --equivalent-within are "
    "passed; undecided: not enough evidence, with the number of further seeds that would decide in 9 of 10 cases if "
    "the effect is as it seems. The effect is the Hodges-Lehmann estimate of a - b with the interval of the same "
    "test. With --anytime p and intervals hold although seeds are added and looked at"
)


@dataclass(frozen=True)
class Question:
    """What is asked of pairs.

    Attributes:
        baseline: the configuration that all others are judged against; None: all pairs.
        metric: one of METRICS; None: what the groups of a problem are ranked by.
        alpha: the probability of any false verdict.
        within: the difference below which two are equivalent; None: none are.
        anytime: whether verdicts shall hold though seeds are added until the result pleases.
        asked: whether verdicts are wanted whatever they cost.
    """

    baseline: str | None = None
    metric: str | None = None
    alpha: float = 0.05
    within: float | None = None
    anytime: bool = False
    asked: bool = False

    def check(self) -> None:
        """Raises UserError for what cannot be asked."""
        if self.metric is not None and self.metric not in METRICS:
            raise UserError(f"--metric {self.metric}: no score of single runs", f"one of {', '.join(METRICS)}")
        if not 0 < self.alpha < 1:
            raise UserError(f"--alpha {self.alpha:g}: expected a number between 0 and 1, such as 0.05")
        if self.within is not None and not 0 < self.within < math.inf:
            raise UserError(f"--equivalent-within {self.within:g}: expected a number above 0")


@dataclass(frozen=True)
class Verdict:
    """What is known of two configurations on a problem.

    Attributes:
        problem, metric: by which they were judged.
        a, b: their names.
        verdict: of a against b: better, worse, equivalent or undecided.
        p, p_adjusted: of there being no difference, alone and among all pairs.
        effect: a - b in units of the metric, with its interval.
        n: seeds that both have; of unpaired ones, runs of the one that has fewer.
        paired: whether they were compared seed by seed.
        more_seeds: how many more seeds would decide, were the effect what it seems; None where none would.
        within: the difference that counts as none; None: none does.
    """

    problem: str
    metric: str
    a: str
    b: str
    verdict: str
    p: float
    p_adjusted: float
    effect: Estimate
    n: int
    paired: bool
    more_seeds: int | None
    within: float | None = None

    def seen_from(self, name: str) -> Verdict:
        """The same with this configuration first."""
        if name == self.a:
            return self
        turned = {"better": "worse", "worse": "better"}.get(self.verdict, self.verdict)
        low, high = (None if end is None else -end for end in (self.effect.high, self.effect.low))
        effect = Estimate(0.0 - self.effect.value, low, high, self.effect.coverage, self.effect.n)
        return Verdict(self.problem, self.metric, self.b, self.a, turned, self.p, self.p_adjusted, effect, self.n,
                       self.paired, self.more_seeds, self.within)  # fmt: skip

    def in_words(self) -> tuple[str, str]:
        """The verdict, and the numbers that it rests on."""
        seeds = f"n = {self.n} {'seed' if self.paired else 'run'}{'s' * (self.n != 1)}"
        if self.verdict == "undecided":
            more = f"; another {self.more_seeds} would decide" if self.more_seeds else ""
            return f"{self.a} and {self.b}", f"not enough evidence ({seeds}{more})"
        ends = (self.effect.low, self.effect.high)
        span = "" if None in ends else f" [{number(ends[0])}, {number(ends[1])}]"
        title = STATISTICS[self.metric].title.partition(",")[0]
        told = f"{title} {number(self.effect.value)}{span}, {seeds}, p = {_p(self.p_adjusted)} (Holm)"
        if self.verdict == "equivalent":
            return f"{self.a} and {self.b} are equivalent within {number(self.within)}", told
        return f"{self.a} is {self.verdict} than {self.b}", told

    def to_json(self) -> dict[str, Any]:
        """As plain data; numbers that are not finite are null."""
        numbers = {
            "p": self.p, "p_adjusted": self.p_adjusted, "effect": self.effect.value, "low": self.effect.low,
            "high": self.effect.high,
        }  # fmt: skip
        finite = {k: v if v is not None and math.isfinite(v) else None for k, v in numbers.items()}
        names = {"problem": self.problem, "metric": self.metric, "a": self.a, "b": self.b, "verdict": self.verdict}
        return {**names, **finite, "n": self.n, "more_seeds": self.more_seeds}


def _p(value: float) -> str:
    return f"{value:.2g}" if value >= 1e-3 else f"{value:.0e}"


def judged(
    problems: Mapping[str, Sequence[Group]], question: Question, criteria: Sequence[str]
) -> tuple[list[Verdict], list[str]]:
    """The verdicts on the pairs of every problem, and what must be said of them.

    Args:
        problems: the groups of each, the best first.
        question: what is asked.
        criteria: what groups are ranked by, the first that applies to a problem.

    Raises:
        UserError: no problem has the baseline, or the metric.
    """
    family = {
        problem: (metric, groups)
        for problem, groups in problems.items()
        if len(groups) > 1 and (metric := _metric(groups, question, criteria)) is not None
    }
    if question.metric is not None and not family and any(len(groups) > 1 for groups in problems.values()):
        raise UserError(f"--metric {question.metric}: these runs have none", "see the columns of the table")
    against = _baselines({problem: groups for problem, (_, groups) in family.items()}, question.baseline)
    if not question.asked and (why := _too_many([groups for _, groups in family.values()])):
        return [], [why]
    from optbench.metrics.pairs import Pair, judge, measure

    measured: list[Pair] = []
    whose: list[tuple[str, str, Sequence[Group]]] = []
    for problem, (metric, groups) in family.items():
        if question.baseline is not None and problem not in against:
            continue
        table, direction = table_of(groups, metric)
        found = measure(table, direction, question.alpha, question.within, question.anytime, against.get(problem))
        measured += found
        whose += [(problem, metric, groups)] * len(found)
    verdicts = [
        Verdict(problem, metric, groups[one.a].label, groups[one.b].label, one.verdict, one.p, one.p_adjusted,
                one.effect, one.n, one.paired, one.more_seeds, question.within)
        for (problem, metric, groups), one in zip(whose, judge(measured, question.alpha), strict=True)
    ]  # fmt: skip
    return verdicts, []


def _metric(groups: Sequence[Group], question: Question, criteria: Sequence[str]) -> str | None:
    names = criteria if question.metric is None else (question.metric,)
    return next((name for name in names if any(group.statistics[name] for group in groups)), None)


def _too_many(family: Sequence[Sequence[Group]]) -> str:
    """Why verdicts are not sought unasked; empty where they are."""
    pairs = sum(len(groups) * (len(groups) - 1) // 2 for groups in family)
    runs = max((group.distinct for groups in family for group in groups), default=0)
    if pairs <= MOST_PAIRS and runs <= MOST_RUNS:
        return ""
    return f"no verdicts on {pairs} pairs of up to {runs} runs unless asked for: --pairs"


def _baselines(problems: Mapping[str, Sequence[Group]], baseline: str | None) -> dict[str, int]:
    """The place of the baseline among the groups of each problem that has it, by its name or its optimizer's."""
    if baseline is None:
        return {}
    found: dict[str, int] = {}
    for problem, groups in problems.items():
        exact = [i for i, group in enumerate(groups) if group.label == baseline]
        of_it = exact or [i for i, group in enumerate(groups) if group.keys.get("optimizer") == baseline]
        if len(of_it) > 1:
            several = ", ".join(groups[i].label for i in of_it)
            raise UserError(f"--baseline {baseline} may be any of {several}", "give the whole name as the table has it")
        if of_it:
            found[problem] = of_it[0]
    if not found:
        labels = list(dict.fromkeys(group.label for groups in problems.values() for group in groups))
        shown = ", ".join(labels[:6]) + " ..." * (len(labels) > 6) if labels else "there are none to judge"
        raise UserError(f"--baseline {baseline}: no configuration of that name", f"configurations: {shown}")
    return found


def table_of(groups: Sequence[Group], metric: str) -> tuple[Floats, int]:
    """Configurations by seeds, ascending, and what is better: -1 small values, 1 large ones.

    NaN where a configuration has no run of a seed, or the run no value (no target, no clock of its own); infinitely bad
    where a run has no result. Of copies, and of several runs of a seed, the first.
    """
    direction = STATISTICS[metric].direction
    rows, units, values = [], [], []
    for place, group in enumerate(groups):
        runs = group.rows
        if group.distinct < group.n:
            runs = runs.take(distinct(runs, np.zeros(len(runs), dtype=np.int64)))
        rows += [place] * len(runs)
        units += list(zip(runs.values("seed"), runs.values(FOLD), strict=True))
        known = group.statistics[metric] is not None
        values.append(_values(runs, metric, direction) if known else np.full(len(runs), np.nan))
    codes, different = factorized(units)
    order = sorted(range(len(different)), key=lambda i: [(v is None, v or 0) for v in different[i]])
    place_of = np.empty(len(different), dtype=np.int64)
    place_of[order] = np.arange(len(different))
    table = np.full((len(groups), len(different)), np.nan)
    table[rows[::-1], place_of[codes][::-1]] = np.concatenate(values)[::-1]
    return table, direction


def _values(runs: RunTable, metric: str, direction: int) -> Floats:
    """The metric of each run, (n,)."""
    whole = Groups.of(runs)
    worst = -direction * math.inf
    if metric == "steps_to_target":
        hits: Floats = np.full(len(runs), np.nan)
        aimed = whole.aimed.runs
        found = aimed.numbers(metric)
        hits[whole.with_target] = np.where(np.isnan(found), math.inf, found)
        return hits
    if metric in ("steps", "evals", "seconds"):  # a cost is what it was, whatever it bought
        numbers: Floats = runs.numbers(metric)
        return np.where(runs.own_clock(), numbers, np.nan) if metric == "seconds" else numbers
    return whole.results(metric, worst)
