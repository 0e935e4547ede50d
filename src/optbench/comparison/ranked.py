"""A ranking of configurations with what it does not know: which of them cannot be told apart.

On one problem the order is that of a comparison and what can be told apart its verdicts on all pairs. They are no
order (a may be told from c, and b from neither), so each configuration has a list of its own. Over problems the order
is that of average ranks, and two of them are told apart where these differ by Nemenyi's critical difference, which is
asked only where Friedman's test sees any difference at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optbench.comparison.across import Across, medians, shared
from optbench.comparison.comparison import Comparison, estimate_json
from optbench.comparison.groups import Group, rank, standing
from optbench.comparison.judged import Verdict
from optbench.comparison.ranked_by import Ranked
from optbench.errors import UserError
from optbench.metrics import Estimate


@dataclass(frozen=True)
class Place:
    """A configuration in a ranking.

    Attributes:
        place: from 1 on; equal values share the least.
        label: its name.
        value: its median on one problem, its average rank over several.
        n: observations; over problems, the least number of them.
        untold: those that cannot be told from it.
        worse: those that it is better than.
    """

    place: int
    label: str
    value: Estimate
    n: int
    untold: tuple[str, ...]
    worse: tuple[str, ...]


@dataclass(frozen=True)
class Ranking:
    """Configurations in order, the best first.

    Attributes:
        problems: of one, or of several that all these configurations ran on.
        metric: of one problem, what it is ranked by; of several "rank".
        places: in order.
        verdicts: of one problem, on the best and each other one; of several, none.
        alpha: probability of any false claim.
        difference: the critical difference of average ranks; None on one problem.
        p: of Friedman's test that no two differ, exact or by Iman and Davenport's F; None on one problem.
        family: number of pairs that verdicts are adjusted for.
        runs: observations of a configuration on a problem, the least and the largest number; None on one problem.
    """

    problems: tuple[str, ...]
    metric: str
    places: tuple[Place, ...]
    verdicts: tuple[Verdict, ...] = ()
    alpha: float = 0.05
    difference: float | None = None
    p: float | None = None
    family: int = 0
    runs: tuple[int, int] | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "problems": list(self.problems),
            "metric": self.metric,
            "alpha": self.alpha,
            "critical_difference": self.difference,
            "friedman_p": self.p,
            "places": [
                {"place": one.place, "configuration": one.label, "value": estimate_json(one.value), "n": one.n,
                 "better_than": list(one.worse), "not_told_from": list(one.untold)}
                for one in self.places
            ],
            "pairs": [one.to_json() for one in self.verdicts],
        }  # fmt: skip


def rankings(found: Comparison) -> tuple[list[Ranking], list[str]]:
    """The ranking over all problems, where there are several, and that of each; and what must be said, a sentence each.

    Args:
        found: the comparison, with the verdicts on all pairs.

    Raises:
        UserError: no problem has two configurations.
    """
    rankings, said = [], []
    if len(found.problems) > 1:
        try:
            rankings.append(_over(found))
        except UserError as error:
            said.append(f"no ranking over problems: {error.message.partition(': ')[2]} ({error.hint})")
    rankings += [_on(found, problem) for problem, groups in found.problems.items() if len(groups) > 1]
    if not rankings:
        raise UserError("nothing to rank: no problem has two configurations", "--group-by optimizer, or more runs")
    return rankings, said


def _over(found: Comparison) -> Ranking:
    from optbench.metrics.ranks import average_ranks, critical_difference, friedman

    metric = found.question.metric
    across = shared(found.problems, Ranked(found.checkpoint, metric), "rank")
    values = medians(across)
    averages = average_ranks(values).tolist()
    alpha, k = found.question.alpha, len(across.configurations)
    difference = critical_difference(len(across.problems), k, alpha)
    p = friedman(values).best
    order = sorted(range(k), key=lambda i: (averages[i], across.configurations[i]))
    places = [_place_over(across, averages, order, i, difference if p <= alpha else float("inf")) for i in order]
    sizes = [group.distinct for own in across.groups for group in own]
    return Ranking(across.problems, "rank", tuple(places), (), alpha, difference, p, runs=(min(sizes), max(sizes)))


def _place_over(across: Across, averages: Sequence[float], order: Sequence[int], i: int, difference: float) -> Place:
    names = across.configurations
    untold = tuple(names[j] for j in order if j != i and abs(averages[i] - averages[j]) < difference)
    worse = tuple(names[j] for j in order if averages[j] - averages[i] >= difference)
    n = min(own[i].distinct for own in across.groups)
    place = 1 + sum(other < averages[i] for other in averages)
    return Place(place, names[i], Estimate(averages[i], n=len(across.problems)), n, untold, worse)


def _on(found: Comparison, problem: str) -> Ranking:
    groups = found.problems[problem]
    mine = [one for one in found.pairs if one.problem == problem]
    metric = mine[0].metric if mine else Ranked(found.checkpoint).first(groups)
    best = groups[0].label
    order = [group.label for group in groups]
    places = [_place_on(groups, metric, group, [one for one in mine if group.label in (one.a, one.b)], order)
              for group in groups]  # fmt: skip
    verdicts = sorted((one.seen_from(best) for one in mine if best in (one.a, one.b)), key=lambda v: order.index(v.b))
    family = mine[0].family if mine else 0
    return Ranking((problem,), metric, tuple(places), tuple(verdicts), found.question.alpha, family=family)


def _place_on(
    groups: Sequence[Group], metric: str, group: Group, pairs: Sequence[Verdict], order: Sequence[str]
) -> Place:
    def value(one: Group) -> float:
        return rank(standing(one.statistics, one.rows, Ranked("", metric)), [metric])[0]

    seen = sorted((one.seen_from(group.label) for one in pairs), key=lambda one: order.index(one.b))
    untold = tuple(one.b for one in seen if one.verdict in ("undecided", "equivalent"))
    worse = tuple(one.b for one in seen if one.verdict == "better")
    place = 1 + sum(value(other) < value(group) for other in groups)
    own = group.statistics.get(metric) or Estimate(float("nan"), n=0)
    return Place(place, group.label, own, group.distinct, untold, worse)
