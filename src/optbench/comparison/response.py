"""How scores depend on a setting: the groups of a comparison as the points of lines.

A line is a configuration without the setting; what the setting is at its points is its place on the axis. The best of a
line that lies at an end of what was tried says little: beyond it, something better may lie. So ends are told apart
from the inside, and named.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optbench.comparison.comparison import Comparison, Place, compare
from optbench.comparison.facts import Facts, alike
from optbench.comparison.filters import resolve_key
from optbench.comparison.labels import configuration_names, problem_names, short_names, text
from optbench.comparison.ranked_by import Ranked
from optbench.errors import UserError
from optbench.metrics import Estimate
from optbench.records import NOT_IDENTITY, Unreadable
from optbench.settings import RANGES
from optbench.statistics import STATISTICS


@dataclass(frozen=True)
class Line:
    """A configuration without the setting, at the values that it was run with.

    Attributes:
        problem, label: names of the problem and of what is left of the configuration.
        at: places among the values of the setting, rising.
        scores: of each score one estimate a place; None where it does not apply.
        runs: number of runs at each place, whatever their status.
    """

    problem: str
    label: str
    at: tuple[int, ...]
    scores: Mapping[str, Sequence[Estimate | None]]
    runs: tuple[int, ...]


@dataclass(frozen=True)
class Best:
    """Where a line is best in a score.

    Attributes:
        at: index into the line's places.
        wider: where that is an end of what was tried, the value that would go on from there; None elsewhere.
    """

    at: int
    wider: float | None = None


@dataclass(frozen=True)
class Response:
    """Scores over the values of a setting.

    Attributes:
        key: of the setting.
        values: of the setting: numbers, rising, then words.
        scores: names in STATISTICS.
        lines: by problem, then by first appearance.
        unreadable: folders and tables that looked like results and could not be read; no number includes them.
        notes: what a reader of the numbers must know, one sentence each.
    """

    key: str
    values: tuple[Any, ...]
    scores: tuple[str, ...]
    lines: tuple[Line, ...]
    unreadable: tuple[Unreadable, ...] = ()
    notes: tuple[str, ...] = ()

    def best(self, line: Line, score: str) -> Best | None:
        """Where a line is best; None where it has no finite value. Of equals, one inside."""
        sign = STATISTICS[score].direction
        found = [sign * one.value if one else -math.inf for one in line.scores[score]]
        top = max(found)
        if not math.isfinite(top):
            return None
        equal = [i for i, value in enumerate(found) if value == top]
        numbers = [i for i, at in enumerate(line.at) if _is_number(self.values[at])]
        inside = [i for i in equal if i not in (numbers[:1] + numbers[-1:])]
        return Best(inside[0]) if inside else Best(equal[0], self._beyond(line, numbers, found))

    def _beyond(self, line: Line, numbers: Sequence[int], found: Sequence[float]) -> float | None:
        """What would go on from the end of the numbers that is best; None where that may not be, or is a word."""
        from optbench.metrics.tuned import edge

        tried = [self.values[line.at[i]] for i in numbers]
        at = edge(tried, [found[i] for i in numbers], direction=1, log=min(tried) > 0)
        if at is None or (at.side == "high" and len(numbers) < len(line.at)):
            return None
        wider = round(at.wider) if all(isinstance(value, int) for value in tried) else float(f"{at.wider:.3g}")
        return wider if self.key not in RANGES or RANGES[self.key][0](wider) else None

    def edges(self) -> list[str]:
        """The lines whose best in a score that is no cost lies at an end of what was tried, in words; of each once."""
        several = len({line.problem for line in self.lines}) > 1
        name = short_names([self.key])[self.key]
        found: dict[str, None] = {}
        for line in self.lines:
            for score in self.scores:
                best = None if STATISTICS[score].cost else self.best(line, score)
                if best and best.wider is not None:
                    where = f"{line.problem}: " if several else ""
                    value = f"{name}={text(self.values[line.at[best.at]])} ({text(best.wider)} would go on)"
                    found[f"{where}{line.label} {value}"] = None
        return list(found)


def respond(
    paths: Place | Iterable[Place],
    key: str,
    scores: Sequence[str] = (),
    *,
    filters: Sequence[str] = (),
    checkpoint: str | None = None,
) -> Response:
    """The runs under the paths as scores over a setting.

    Args:
        paths: as `compare` has them.
        key: of the setting, such as optimizer.lr; its last part where that is unique.
        scores: names in STATISTICS; none: what they are ranked by, where that is one for all problems, else final loss.
        filters: which runs take part, see `select`.
        checkpoint: whose accuracy, where no score is named: best or last; None: as `chosen` says.

    Raises:
        UserError: no run found or left; no such setting, or one value of it; no such score, or one that no run has.
        RecordError: a path that does not exist.
    """
    for score in scores:
        resolve_key(score, list(STATISTICS), "score")
    return response_of(compare(paths, filters=filters, checkpoint=checkpoint), key, scores)


def response_of(found: Comparison, key: str, scores: Sequence[str] = ()) -> Response:
    """The same of runs that were compared already, every setting a group of its own.

    Args, Raises: as `respond`.
    """
    key = _setting(key, found)
    told = [alike(group.rows)[1][0].values for group in found.groups]
    values = _ordered({_value(one.get(key)) for one in told})
    if len(values) < 2:
        raise UserError(f"{key} is {text(values[0])} in all of these runs", "a figure over it needs two values")
    scores = tuple(scores) or (_usual(found),)
    for score in scores:
        if all(group.statistics.get(score) is None for group in found.groups):
            raise UserError(f"none of these runs has the score {score}", f"scores: {', '.join(STATISTICS)}")
    lines = _lines(found, [Facts({k: v for k, v in one.items() if k != key}) for one in told],
                   [values.index(_value(one.get(key))) for one in told], scores)  # fmt: skip
    return Response(key, values, scores, lines, found.unreadable, found.notes)


def _setting(name: str, found: Comparison) -> str:
    known = [key for key in found.groups[0].rows.known if "." in key and key not in NOT_IDENTITY]
    return resolve_key(name, known, "setting")


def _usual(found: Comparison) -> str:
    """What the problems are ranked by, where it is the same for all; else the last that all have."""
    firsts = {Ranked(found.checkpoint).first(groups) for groups in found.problems.values()}
    return firsts.pop() if len(firsts) == 1 else "final_loss"


def _value(value: Any) -> Any:
    return value if _is_number(value) else text(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _ordered(values: set[Any]) -> tuple[Any, ...]:
    return (*sorted(filter(_is_number, values)), *sorted(value for value in values if not _is_number(value)))


def _lines(found: Comparison, rest: Sequence[Facts], places: Sequence[int], scores: Sequence[str]) -> tuple[Line, ...]:
    problems = problem_names(rest)
    members: dict[Any, dict[Any, list[int]]] = {key: {} for key in problems}
    for i, one in enumerate(rest):
        members[one.problem_key].setdefault(one.configuration_key, []).append(i)
    lines = []
    for problem, configurations in members.items():
        names, _ = configuration_names([rest[i] for same in configurations.values() for i in same])
        for configuration, same in configurations.items():
            groups = [found.groups[i] for i in sorted(same, key=lambda i: places[i])]
            at, runs = tuple(sorted(places[i] for i in same)), tuple(group.n for group in groups)
            estimates = {score: [group.statistics.get(score) for group in groups] for score in scores}
            lines.append(Line(problems[problem], names[configuration], at, estimates, runs))
    return tuple(sorted(lines, key=lambda line: line.problem))
