"""What did not end well in a comparison, to stand above its tables: which configurations, how many runs, why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from optbench.comparison import Comparison, Group
from optbench.records import Status
from optbench.statistics.numbers import printable

BAD = (Status.FAILED, Status.DIVERGED, Status.TIMED_OUT, Status.INTERRUPTED, Status.SKIPPED)
"""In the order in which they are named."""
_REASONED = {Status.FAILED, Status.SKIPPED}
"""Whose reasons say more than their status."""
MOST = 5
_REASON = 60  # characters


def failure_lines(comparison: Comparison) -> list[str]:
    """Lines, the first with the number of runs, then a configuration each, those with the most first; empty where all
    ended well."""
    bad = [(group, {status: n for status in BAD if (n := group.n_by_status.get(status, 0))})
           for group in comparison.groups]  # fmt: skip
    bad = sorted(((group, found) for group, found in bad if found), key=_weight)
    if not bad:
        return []
    runs, of = sum(sum(found.values()) for _, found in bad), sum(group.n for group in comparison.groups)
    lines = [f"{runs} of {of} runs did not end well:"]
    several = len(comparison.problems) > 1
    for group, found in bad[:MOST]:
        name = f"{group.problem}: {group.label}" if several else group.label
        told = ", ".join(f"{n} {status.replace('_', ' ')}" for status, n in found.items())
        lines.append(f"  {printable(name)}: {told} of {group.n}{_why(group, list(found))}")
    if more := len(bad) - MOST:
        lines += [f"  and of {more} more configuration{'s' * (more != 1)}"] if more > 0 else []
    return lines


def _weight(one: tuple[Group, dict[Status, int]]) -> tuple[int, ...]:
    """Failures before all others, many before few."""
    return tuple(-one[1].get(status, 0) for status in BAD)


def _why(group: Group, statuses: Sequence[Status]) -> str:
    """The commonest reason of those runs whose status does not say why."""
    wanted = {str(status) for status in _REASONED & set(statuses)}
    both = zip(group.rows.values("status"), group.rows.values("reason"), strict=True)
    reasons = Counter(str(why).splitlines()[0] for status, why in both if str(status) in wanted and why)
    if not reasons:
        return ""
    said = printable(reasons.most_common(1)[0][0])
    return f" ({said if len(said) <= _REASON else said[: _REASON - 3] + '...'})"
