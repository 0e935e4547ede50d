"""What stacks that are under way leave on the disk: where a chunk of rows stands, in the folder that will hold their
runs, so that an interrupted sweep goes on from there. A row that has ended has its own folder and is not taken from it.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optbench.experiment.checkpoints import load_checkpoint
from optbench.experiment.recorder import LARGEST_SHARE, LEAST_SECONDS, saved
from optbench.records import write_bytes, writing

log = logging.getLogger(__name__)

_PATTERN = ".stack-*.pt"


@dataclass(frozen=True)
class Kept:
    """A chunk that is under way.

    Attributes:
        path: its file.
        run_ids: of the rows that are wanted and under way.
        places: of these rows in the state.
        state: of `stacked.train.Stack`.
        seconds: that its rows took so far.
    """

    path: Path
    run_ids: tuple[str, ...]
    places: tuple[int, ...]
    state: Mapping[str, Any]
    seconds: float


def are_there(folder: Path) -> bool:
    """Whether a sweep's folder has chunks that are under way."""
    return next(folder.glob(_PATTERN), None) is not None


def find(folder: Path, run_ids: Sequence[str]) -> list[Kept]:
    """The chunks in a sweep's folder that have some of these runs under way; one that cannot be read is reported."""
    wanted, found = set(run_ids), []
    for path in sorted(folder.glob(_PATTERN)):
        try:
            data = load_checkpoint(path)
            rows = zip(data["run_ids"], data["state"]["lines"], strict=True)
            here = [(i, run_id) for i, (run_id, line) in enumerate(rows) if run_id in wanted and not line["ended"]]
            seconds = float(data["seconds"])
        except Exception as error:  # torch raises pickle's, zipfile's and its own errors: all mean "not usable"
            log.warning("%s cannot be read (%s); its runs start again", path, type(error).__name__)
            continue
        if here:
            places, names = zip(*here, strict=True)
            found.append(Kept(path, names, places, data["state"], seconds))
            wanted -= set(names)
    return found


def remove(folder: Path) -> None:
    """Removes what a sweep that has ended has left. Raises OutputError."""
    with writing(folder):
        for path in folder.glob(_PATTERN):
            path.unlink(missing_ok=True)


class Keeper:
    """Keeps a chunk now and then while it is under way.

    Args:
        folder: of the sweep.
        run_ids: number of a row to its run_id.
        kept: where it goes on from; None: it begins.
    """

    def __init__(self, folder: Path, run_ids: Mapping[int, str], kept: Kept | None = None) -> None:
        name = hashlib.sha256(" ".join(run_ids.values()).encode()).hexdigest()[:12]
        self._path = folder / _PATTERN.replace("*", name) if kept is None else kept.path
        self._run_ids, self._before = run_ids, 0.0 if kept is None else kept.seconds
        self._began = time.monotonic()
        self._due = self._began + LEAST_SECONDS

    @property
    def due(self) -> bool:
        """Whether it is time to."""
        return time.monotonic() >= self._due

    def keep(self, state: Mapping[str, Any]) -> None:
        """Writes where the chunk stands. Raises OutputError."""
        began = time.monotonic()
        seconds = self._before + began - self._began
        run_ids = [self._run_ids[number] for number in state["rows"]]
        write_bytes(self._path, saved({"run_ids": run_ids, "state": dict(state), "seconds": seconds}))
        now = time.monotonic()
        self._due = now + max(LEAST_SECONDS, (now - began) / LARGEST_SHARE)

    def done(self) -> None:
        """All rows have their records. Raises OutputError."""
        with writing(self._path.parent):
            self._path.unlink(missing_ok=True)
