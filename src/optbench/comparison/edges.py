"""Best values that lie on the edge of what was tried: beyond it there may be better ones, and nobody looked.

Said in one sentence for one problem; of many problems in one sentence a configuration, for a suite has dozens of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from optbench.comparison.facts import Facts
from optbench.comparison.labels import text
from optbench.records.columns import Floats
from optbench.settings import RANGES


@dataclass(frozen=True)
class AtEdge:
    """A best value that is the least or the largest that was tried.

    Attributes:
        key: the setting, a dotted key.
        best: its value.
        side: at which end it is, low or high.
        least, most: the values that were tried.
        wider: the value that goes on beyond it; None where the setting refuses it, or it was tried.
    """

    key: str
    best: Any
    side: str
    least: Any
    most: Any
    wider: Any = None

    def in_words(self) -> str:
        """The value, the range, and the override that widens it."""
        span = f"{text(self.least)} to {text(self.most)}"
        return f"best {self.key}={text(self.best)} lies on the edge of {span}{_widened(self.key, [self.wider])}"


def _widened(key: str, wider: Sequence[Any]) -> str:
    known = [text(value) for value in wider if value is not None]
    return f"; {key}={','.join(known)} in the sweep would widen it" if known else ""


def edges(settings: Sequence[Facts], medians: Floats, keys: Sequence[str]) -> list[AtEdge]:
    """Of the numbers that were tried, which best one is the least or the largest.

    Args:
        settings: all that were tried.
        medians: of their losses, (s,).
        keys: in which they differ.
    """
    from optbench.metrics.tuned import edge

    found = []
    for key in keys:
        values: list[Any] = [one.configuration.get(key) for one in settings]
        known = [i for i, value in enumerate(values) if _is_number(value)]
        tried = [values[i] for i in known]
        if not tried or (at := edge(tried, medians[known], log=min(tried) > 0)) is None:
            continue
        whole = all(isinstance(value, int) for value in tried)
        wider = round(at.wider) if whole else float(f"{at.wider:.3g}")
        allowed = (key not in RANGES or RANGES[key][0](wider)) and wider not in tried
        best = type(tried[0])(at.best)
        found.append(AtEdge(key, best, at.side, min(tried), max(tried), wider if allowed else None))
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def edges_over(found: Iterable[tuple[str, str, Sequence[AtEdge]]]) -> list[str]:
    """A sentence for each configuration and setting whose best value lies on an edge, over all problems.

    Args:
        found: problem, configuration and its edges, none where its best values lie inside; of what was tuned alone.
    """
    tuned: dict[str, int] = defaultdict(int)
    cases: dict[tuple[str, str], list[tuple[str, AtEdge]]] = defaultdict(list)
    for problem, label, own in found:
        tuned[label] += 1
        for one in own:
            cases[label, one.key].append((problem, one))
    said = []
    for (label, key), met in cases.items():
        if len(met) == 1:
            said.append(f"{met[0][0]}: {label}: {met[0][1].in_words()}")
            continue
        sides = {side: [one for _, one in met if one.side == side] for side in ("low", "high")}
        where = ", ".join(
            f"the {'least' if side == 'low' else 'largest'} on {len(at)}" for side, at in sides.items() if at
        )
        wider = [
            pick((one.wider for one in sides[side] if one.wider is not None), default=None)
            for side, pick in (("low", min), ("high", max))
        ]
        said.append(
            f"{label}: best {key} lies on the edge of its range on {len(met)} of {tuned[label]} problems ({where})"
            f"{_widened(key, wider)}"
        )
    return said
