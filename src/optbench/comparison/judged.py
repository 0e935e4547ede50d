"""Which configuration is better on a problem, and how sure that is: verdicts on pairs, over the seeds they share.

The tests are those of `metrics.pairs`, of the table that `by_seed` makes of the runs of a problem. All pairs shown, of
all problems, are one family.

By themselves verdicts are sought where that costs next to nothing; beyond (`MOST_RUNS`, `MOST_PAIRS`), where asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from optbench.comparison.by_seed import by_seed
from optbench.comparison.groups import Group
from optbench.comparison.observations import idle
from optbench.comparison.ranked_by import TO_TARGET, Ranked
from optbench.errors import UserError
from optbench.metrics import Estimate
from optbench.statistics import STATISTICS
from optbench.statistics.each import of_single_runs
from optbench.statistics.numbers import SHARES, number, percent

if TYPE_CHECKING:
    from optbench.metrics.pairs import Pair

MOST_RUNS, MOST_PAIRS = 50, 1000
"""Runs of a configuration, and pairs in all, up to which verdicts are sought unasked: they cost 0.1 s."""
RULE = (
    "*: best; ~: not told from it. Pairs are judged by the signed-rank test over shared seeds (by the rank-sum test "
    "where fewer than half are shared, or where so few seeds among so many pairs leave the other no verdict), "
    "p adjusted for all pairs of all problems; a run without a result has the worst rank"
)
DETAILS = (
    "better, worse: p <= alpha once adjusted (adj.), so that at most a share alpha of whole comparisons says anything "
    "false: by Bergmann and Hommel's procedure, which uses that not any number of pairs can be the same (if a is b and "
    "b is c, a is c), beyond 9 configurations of a problem by Shaffer's, which knows these numbers alone; by Holm's "
    "against a baseline or with --equivalent-within; of six configurations with 30 seeds each that share nothing, one "
    "standard deviation is found in 80 % of cases (by Holm's in 74 %; normal losses), with half of the variance shared "
    "in 99 %; against a --baseline in 94 % where it is the baseline that differs from the others, in 88 % where one of "
    "these differs from it; equivalent: both one-sided tests against the difference named by --equivalent-within are "
    "passed; undecided: not enough evidence, with the number of further seeds that would decide in 9 of 10 cases if "
    "the effect is as it seems. The effect is the Hodges-Lehmann estimate of a - b with the interval of the same "
    "test. With --anytime p and intervals hold although seeds are added and looked at"
)


@dataclass(frozen=True)
class Question:
    """What is asked of pairs.

    Attributes:
        baseline: the configuration that all others are judged against; None: all pairs.
        metric: one of `of_single_runs`; None: what the groups of a problem are ranked by.
        alpha: the probability of any false verdict.
        within: the difference below which two are equivalent; None: none are.
        anytime: whether verdicts shall hold though seeds are added until the result pleases.
        asked: whether verdicts are wanted whatever they cost.
        every: whether those on all pairs are to be printed, not on the best alone.
    """

    baseline: str | None = None
    metric: str | None = None
    alpha: float = 0.05
    within: float | None = None
    anytime: bool = False
    asked: bool = False
    every: bool = False

    @classmethod
    def of(
        cls,
        baseline: str | None,
        metric: str | None,
        alpha: float,
        within: float | None,
        anytime: bool,
        pairs: bool,
    ) -> Question:
        """A question as it is typed; whoever says anything of it wants its answer. Raises UserError for what cannot be
        asked."""
        if metric is not None and metric not in (known := of_single_runs()):
            raise UserError(f"--metric {metric}: no score of single runs", f"one of {', '.join(known)}")
        if not 0 < alpha < 1:
            raise UserError(f"--alpha {alpha:g}: expected a number between 0 and 1, such as 0.05")
        if within is not None and not 0 < within < math.inf:
            raise UserError(f"--equivalent-within {within:g}: expected a number above 0")
        said = any(one is not None for one in (baseline, metric, within)) or alpha != cls.alpha
        return cls(baseline, metric, alpha, within, anytime, pairs or anytime or said, pairs)


@dataclass(frozen=True)
class Verdict:
    """What is known of two configurations on a problem.

    Attributes:
        problem, metric: by which they were judged.
        a, b: their names.
        verdict: of a against b: better, worse, equivalent or undecided.
        p, p_adjusted: of there being no difference, alone and among all pairs.
        effect_of: gives `effect`: a - b in units of the metric, with its interval, computed where it is asked for.
        n: seeds that both have; of unpaired ones, runs of the one that has fewer.
        paired: whether they were compared seed by seed.
        more_seeds: how many more seeds would decide, were the effect what it seems; None where none would, or where
            a seed changes nothing.
        within: the difference that counts as none; None: none does.
        test: what p is of: signed-rank, rank-sum or bets; "none" where there is nothing to compare.
        beats: the probability that a run of a is better than one of b, ties as halves, and interval.
        p_equivalent: of the difference being `within` or more, adjusted; None where nothing was named.
        family: number of pairs that were judged together.
        lost: of a and of b, how many of the runs that were compared have no result (missed the target), and of how
            many: what makes an effect infinite.
    """

    problem: str
    metric: str
    a: str
    b: str
    verdict: str
    p: float
    p_adjusted: float
    effect_of: Callable[[], Estimate] = field(repr=False, compare=False)
    n: int
    paired: bool
    more_seeds: int | None
    within: float | None = None
    test: str = ""
    beats: Estimate | None = None
    p_equivalent: float | None = None
    family: int = 1
    lost: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))

    @property
    def effect(self) -> Estimate:
        """See `effect_of`."""
        return self.effect_of()

    def seen_from(self, name: str) -> Verdict:
        """The same with this configuration first."""
        if name == self.a:
            return self
        turned = {"better": "worse", "worse": "better"}.get(self.verdict, self.verdict)
        beats = self.beats
        if beats is not None:
            ends = [None if end is None else 1 - end for end in (beats.high, beats.low)]
            beats = Estimate(1 - beats.value, ends[0], ends[1], beats.coverage, beats.n)
        return replace(
            self, a=self.b, b=self.a, verdict=turned, effect_of=self._turned, beats=beats, lost=self.lost[::-1]
        )

    def _turned(self) -> Estimate:
        effect = self.effect
        low, high = (None if end is None else -end for end in (effect.high, effect.low))
        return Estimate(0.0 - effect.value, low, high, effect.coverage, effect.n)

    def in_words(self) -> tuple[str, str]:
        """The verdict, and the numbers that it rests on."""
        seeds = f"n = {self.n} {'seed' if self.paired else 'run'}{'s' * (self.n != 1)}"
        if self.verdict == "undecided":
            more = f"; another {self.more_seeds} would decide" if self.more_seeds else ""
            return f"{self.a} and {self.b}", f"not enough evidence ({seeds}{more})"
        size = ", ".join(filter(None, [self.size(), lost_words(self)]))
        told = f"{size}, {seeds}, {p_words(self.p_adjusted)} (adj.)"
        if self.verdict == "equivalent":
            return f"{self.a} and {self.b} are equivalent within {number(self.within)}", told
        return f"{self.a} is {self.verdict} than {self.b}", told

    def size(self, title: str | None = None) -> str:
        """The effect behind the title of its score; an infinite one by the end of its interval that is a number, if one
        is: an infinity is no size.

        Args:
            title: in another language; None: as the table has it.
        """
        known = title or STATISTICS[self.metric].title.partition(",")[0]
        if math.isfinite(self.effect.value):
            return f"{known} {effect_text(self.effect, self.metric)}"
        bounded = any(end is not None and math.isfinite(end) for end in (self.effect.low, self.effect.high))
        return f"{known} {effect_text(self.effect, self.metric)}" if bounded else ""

    def losers(self) -> list[tuple[str, int, int]]:
        """Where the effect is infinite, whose runs make it so: name, how many have no result, and of how many."""
        if not math.isinf(self.effect.value):
            return []
        return [(name, lost, n) for name, (lost, n) in zip((self.a, self.b), self.lost, strict=True) if lost]

    def to_json(self) -> dict[str, Any]:
        """As plain data; numbers that are not finite are null, and `lost` says how many runs of a and of b have no
        result."""
        numbers = {
            "p": self.p, "p_adjusted": self.p_adjusted, "effect": self.effect.value, "low": self.effect.low,
            "high": self.effect.high,
        }  # fmt: skip
        finite = {k: v if v is not None and math.isfinite(v) else None for k, v in numbers.items()}
        names = {"problem": self.problem, "metric": self.metric, "a": self.a, "b": self.b, "verdict": self.verdict}
        lost = [count for count, _ in self.lost]
        return {**names, **finite, "n": self.n, "more_seeds": self.more_seeds, "lost": lost}


def effect_text(effect: Estimate, metric: str) -> str:
    """An effect with its interval, "-0.3 [-0.5, -0.1]"; of accuracies in points; an infinite end is "no limit", an
    infinite effect is left to `lost_words`."""
    share = metric in SHARES
    form = percent if share else number
    unit = " points" * share
    ends = [effect.low, effect.high]
    size = f"{form(effect.value)}{unit}" if math.isfinite(effect.value) else ""
    if None in ends:
        return size
    low, high = (form(end) if end is not None and math.isfinite(end) else "no limit" for end in ends)
    return f"{size} [{low}, {high}]".lstrip()


def lost_words(one: Verdict) -> str:
    """Whose runs make an infinite effect so, in words; empty of a finite one."""
    what = "that missed the target" if one.metric == TO_TARGET else "without a result"
    return ", ".join(
        f"{f'all {n}' if lost == n else f'{lost} of {n}'} runs of {name} {what}" for name, lost, n in one.losers()
    )


def lost_of(pair: Pair) -> tuple[tuple[int, int], tuple[int, int]]:
    """How many runs of both have no result, and of how many."""
    a, b = ((int(np.isinf(own).sum()), len(own)) for own in pair.values)
    return a, b


_LEAST_P = 1e-16
"""What is smaller is said to be: no test's assumptions hold so well that more could be read from it."""


def p_text(value: float) -> str:
    """A p-value as people read it: 0.012, 3e-05, <1e-16."""
    if value < _LEAST_P:
        return f"<{_LEAST_P:.0e}"
    return f"{value:.2g}" if value >= 1e-3 else f"{value:.0e}"


def p_words(value: float, sign: str = "=") -> str:
    """The same as a statement: p = 0.012, p < 1e-16."""
    text = p_text(value)
    return f"p < {text[1:]}" if text.startswith("<") else f"p {sign} {text}"


def judged(problems: Mapping[str, Sequence[Group]], question: Question, ranked: Ranked) -> tuple[list[Verdict], str]:
    """The verdicts on the pairs of every problem, and why there are none where they were not sought.

    Args:
        problems: the groups of each, the best first.
        question: what is asked.
        ranked: how groups are ranked.

    Raises:
        UserError: no problem has the baseline, or the metric.
    """
    family = {
        problem: (metric, groups)
        for problem, groups in problems.items()
        if len(groups) > 1 and (metric := _metric(groups, question, ranked)) is not None
    }
    if question.metric is not None and not family and any(len(groups) > 1 for groups in problems.values()):
        raise UserError(f"--metric {question.metric}: these runs have none", "see the columns of the table")
    against = baselines({problem: groups for problem, (_, groups) in family.items()}, question.baseline)
    if not question.asked and (why := _too_many([groups for _, groups in family.values()])):
        return [], why
    from optbench.metrics.pairs import judge, measure

    if question.baseline is not None:
        family = {problem: family[problem] for problem in against}
    together = sum(_pairs_of(len(groups), problem in against) for problem, (_, groups) in family.items())
    measured: list[Pair] = []
    whose: list[tuple[str, str, Sequence[Group]]] = []
    problem_of: list[int] = []
    for number_of, (problem, (metric, groups)) in enumerate(family.items()):
        table, direction = by_seed(groups, metric), STATISTICS[metric].direction
        found = measure(table, direction, question.alpha, question.within, question.anytime, against.get(problem),
                        family=max(together, 1))  # fmt: skip
        measured += found
        whose += [(problem, metric, groups)] * len(found)
        problem_of += [number_of] * len(found)
    fixed = {id(group) for _, groups in family.values() for group in groups if idle(group.rows).all()}
    verdicts = []
    for (problem, metric, groups), one in zip(whose, judge(measured, question.alpha, problem_of), strict=True):
        a, b = groups[one.a], groups[one.b]
        more = None if {id(a), id(b)} <= fixed else one.more_seeds  # their seeds would change nothing
        verdicts.append(Verdict(problem, metric, a.label, b.label, one.verdict, one.p, one.p_adjusted, one.effect_of,
                                one.n, one.paired, more, question.within, one.test, one.beats,
                                one.p_equivalent_adjusted, len(measured), lost_of(one)))  # fmt: skip
    return verdicts, ""


def undecidable(problems: Mapping[str, Sequence[Group]], verdicts: Sequence[Verdict], question: Question) -> str:
    """What to say, once, where so few seeds among so many pairs could tell none apart whatever they had shown; else
    empty.

    Args:
        problems: the groups of each.
        verdicts: on their pairs.
        question: what was asked.
    """
    from optbench.metrics.pairs import least_p, seeds_that_could

    judged_of = {one.problem for one in verdicts}
    groups = [own for problem, own in problems.items() if problem in judged_of]
    if not verdicts or all(idle(group.rows).all() for own in groups for group in own):
        return ""
    family, alpha, anytime = verdicts[0].family, question.alpha, question.anytime
    sizes = {(one.test, one.lost[0][1], one.lost[1][1]) for one in verdicts}
    least, n = min((least_p(test, n_a, n_b), -min(n_a, n_b)) for test, n_a, n_b in sizes)
    passed = alpha * (1 if question.within is None else 2)  # of equivalence the test is one-sided
    if family * least <= passed:
        return ""
    paired = any(one.paired for one in verdicts)
    enough = seeds_that_could(family, alpha, paired=paired, anytime=anytime)
    pairs = f"{family} pair{'s' * (family != 1)}"
    said = f"{-n} seed{'s' * (n != -1)} can tell no two apart: the least p that they can give, {p_text(least)}, times "
    said += f"{pairs} is above alpha = {alpha:g}; {enough} seeds of each could"
    against_one = sum(len(own) - 1 for own in groups)
    if question.baseline is None and against_one < family:
        fewer = seeds_that_could(against_one, alpha, paired=paired, anytime=anytime)
        said += f", or {fewer} with --baseline ({against_one} pairs)" * (fewer < enough)
    return said


def _pairs_of(groups: int, one_against_all: bool) -> int:
    return groups - 1 if one_against_all else groups * (groups - 1) // 2


def _metric(groups: Sequence[Group], question: Question, ranked: Ranked) -> str | None:
    names = ranked.of(groups) if question.metric is None else (question.metric,)
    return next((name for name in names if any(group.statistics.get(name) for group in groups)), None)


def _too_many(family: Sequence[Sequence[Group]]) -> str:
    """Why verdicts are not sought unasked; empty where they are."""
    pairs = sum(len(groups) * (len(groups) - 1) // 2 for groups in family)
    runs = max((group.distinct for groups in family for group in groups), default=0)
    if pairs <= MOST_PAIRS and runs <= MOST_RUNS:
        return ""
    return f"no verdicts on {pairs} pairs of up to {runs} runs unless asked for: --pairs"


def baselines(problems: Mapping[str, Sequence[Group]], baseline: str | None) -> dict[str, int]:
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
