"""Which runs are meant, and the order of names: what is known before torch is imported."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from optbench.errors import RecordError
from optbench.records import read_run

_NUMBER = re.compile(r"\d+", re.ASCII)
_PARTS = re.compile(r"(\d+)", re.ASCII)


def natural(name: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """Sorts names as people do: runs of digits by their value, the rest as text; equal ones (1.jpg, 01.jpg) as text."""
    parts = (part for part in _PARTS.split(name) if part)
    return tuple((0, int(part), "") if _NUMBER.fullmatch(part) else (1, 0, part) for part in parts), name


def run_folders(places: Sequence[Path]) -> list[Path]:
    """Run folders: those given, and in a folder that is none, such as a sweep's, all below it, in natural order.

    Raises:
        RecordError: a folder without any.
    """
    found: dict[Path, None] = {}
    for place in places:
        if (place / "run.json").exists() or not place.is_dir():
            found[place] = None
            continue
        below = sorted(_below(place), key=lambda path: natural(str(path)))
        if not below:
            raise RecordError(f"{place} is not a run folder, and there is none in it: no run.json")
        found.update(dict.fromkeys(below))
    return list(found)


def _below(place: Path) -> Iterator[Path]:
    """The run folders in a folder, at any depth. Raises RecordError where one cannot be listed: a run may be in it."""

    def closed(error: OSError) -> None:
        raise RecordError(f"{error.filename}: cannot be listed ({error.strerror})") from None

    for folder, _, files in os.walk(place, onerror=closed):
        if "run.json" in files:
            yield Path(folder)


def are_folds(folders: Sequence[Path]) -> bool:
    """Whether all of these runs are on folds of their data. Raises RecordError where one is no run."""
    return all(read_run(folder).config.get("data", {}).get("folds") is not None for folder in folders)


Asked = tuple[Path, str | None]
"""A run folder, and which of its checkpoints is asked; None: as `chosen` says."""


def asked_of(folders: Sequence[Path], checkpoint: str | None) -> list[Asked]:
    """Each run with each of the checkpoints, which commas separate."""
    which = dict.fromkeys(checkpoint.split(",") if checkpoint else [None])
    return [(folder, one) for folder in folders for one in which]
