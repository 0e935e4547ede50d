"""The plan of a sweep, in its folder: which runs it is to have, so that missing runs are named and not forgotten.

`sweep.json` is written before the first run starts and sealed like run.json. Of every command that was given for the
folder it holds the overrides and the run_ids, 12 characters each, in one text: a million are 13 MB and read in 0.05 s.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from optbench.errors import RecordError
from optbench.records.files import parse_json, read_bytes
from optbench.records.seal import broken, stale
from optbench.records.write import locked, write_sealed, writing

NAME = "sweep.json"
TUNING = "tuning-"
"""What the name of a sweep begins with whose runs chose settings: `tune` reports on other seeds than theirs."""
_MOST = 1 << 28


@dataclass(frozen=True)
class SweepPlan:
    """What one command planned.

    Attributes:
        overrides: of `optbench sweep`.
        run_ids: of its runs, in order, joined by blanks.
        curves: how many rows of each of its batches have a curve; 0 until the sweep has ended once.
        options: of `optbench sweep` that decide which runs these are and where they are kept.
    """

    overrides: tuple[str, ...]
    run_ids: str
    curves: int = 0
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of runs."""
        return len(self.run_ids.split())

    def command(self, folder: Path) -> str:
        """What to type, so that the runs are made where the sweep's folder lies now."""
        now = {"--out": (str(folder.parent),), "--name": (folder.name,)}
        options = [word for name, values in self.options.items() for v in now.get(name, values) for word in (name, v)]
        return f"optbench sweep {shlex.join([*self.overrides, *options])}".rstrip()


def read_plans(path: Path) -> list[SweepPlan]:
    """The plans in a sweep.json. Raises RecordError where it is none, or not what was written."""
    try:
        text = read_bytes(path, _MOST).decode()
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: {error}") from error
    if broken(text):
        raise RecordError(f"{path}: it was changed after it was written", "the same command writes it anew")
    found = parse_json(text, path).get("plans")
    try:
        if not isinstance(found, list):
            raise TypeError
        return [_plan(p) for p in found]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise RecordError(f"{path}: not the plan of a sweep", "the same command writes it anew") from None


def _plan(written: Mapping[str, Any]) -> SweepPlan:
    options = {str(name): tuple(map(str, values)) for name, values in written.get("options", {}).items()}
    return SweepPlan(tuple(map(str, written["overrides"])), str(written["runs"]), int(written["curves"]), options)


def write_plan(
    folder: Path,
    overrides: Sequence[str],
    run_ids: Iterable[str],
    curves: int = 0,
    options: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
) -> int:
    """Adds a plan to those of a sweep's folder; of the same overrides, the new one replaces the old.

    A file that cannot be read is replaced: it is written from what is planned, and is no result.

    Args:
        folder: of the sweep.
        overrides: that were given.
        run_ids: of the runs.
        curves: at least so many curves of each batch are there now.
        options: that decide which runs they are and where they are kept.

    Returns:
        How many curves of each batch are there.

    Raises:
        OutputError: it cannot be written, or another process holds the folder.
    """
    new = SweepPlan(tuple(overrides), " ".join(run_ids), curves, dict(options))
    path = folder / NAME
    with locked(folder, wait=60.0):
        with writing(folder):
            for left_over in stale(folder):
                if left_over.name.startswith(f".{NAME}."):
                    left_over.unlink()
        try:
            known = read_plans(path) if path.exists() else []
        except RecordError:
            known = []
        same = [plan.curves for plan in known if replace(plan, curves=0) == replace(new, curves=0)]
        if same and same[0] >= curves:
            return same[0]
        kept = [plan for plan in known if plan.overrides != new.overrides]
        plans = [
            {"overrides": p.overrides, "options": p.options, "planned": p.count, "curves": p.curves, "runs": p.run_ids}
            for p in (*kept, new)
        ]
        write_sealed(path, {"plans": plans})
        return curves
