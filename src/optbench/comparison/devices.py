"""Runs of one configuration on several devices: their numbers differ by rounding, and they have no time in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from optbench.comparison.groups import Group
from optbench.records import RunTable

_MOST = 3


def devices(rows: RunTable) -> list[str]:
    """The devices that runs are known to have been on, by name."""
    return sorted(str(device) for device in set(rows.different("device")) - {None})


def on_several(found: RunTable, groups: Sequence[Group]) -> list[str]:
    """What to say of groups with runs on several devices; `found`: the runs of all of them."""
    if len(devices(found)) < 2:
        return []
    mixed = [group for group in groups if len(devices(group.rows)) > 1]
    said = [f"{group.problem}: {group.label}: {_counted(group)}, so it has no seconds" for group in mixed[:_MOST]]
    more = len(mixed) - _MOST
    return [*said, f"so it is with {more} more configurations"] if more > 0 else said


def _counted(group: Group) -> str:
    runs = Counter(str(device) for device in group.rows.values("device") if device is not None)
    return f"runs on several devices ({', '.join(f'{device}: {n}' for device, n in sorted(runs.items()))})"


def by_device(groups: Sequence[Group]) -> list[Group]:
    """The groups, those of one device together, otherwise in their order."""
    return sorted(groups, key=lambda group: devices(group.rows))
