"""The observer that turns what the loop reports into a run folder, and tells a display."""

from __future__ import annotations

import io
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from optbench.records import CurveWriter, write_bytes, write_together, writing
from optbench.records.seal import sum_of_bytes

if TYPE_CHECKING:
    from optbench.callback_base import RunStart
    from optbench.experiment.watching import Watching
    from optbench.loop import Row
    from optbench.records import Run

_FLUSH_SECONDS = 1.0
LEAST_SECONDS = 5.0
"""Between two checkpoints, at least: what a kill can lose at most, where writing one is quick."""
LARGEST_SHARE = 0.02
"""Of the time, for writing checkpoints."""
_LAST, _BEST = "last", "best"


class Display(Protocol):
    """Shows the user how runs are progressing. Every method must be cheap; `step` is called at every update."""

    def start(self, label: str, index: int, count: int) -> None:
        """Run `index` (from 0) of `count` begins."""

    def loading(self, done: int, total: int) -> None:
        """`done` of `total` images of the data set are decoded."""

    def note(self, words: str) -> None:
        """What is to be known before the first update: from where the run goes on, that it is compiled first."""

    def step(self, step: int, total: int, row: Mapping[str, Any]) -> None:
        """The run is at `step` of `total`; `row` is its current row."""

    def end(self, run: Any) -> None:
        """The run ended; `run` is its records.Run."""


STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that ask a command to end: Ctrl-C, `kill` and batch systems, a terminal that closes."""


class Stop:
    """Set by the first signal that asks for an end; the loop looks at it between two updates.

    Attributes:
        requested: the run is to end after its update.
        exit_code: what the command then ends with, 128 + the signal's number: 130 after Ctrl-C.
    """

    def __init__(self) -> None:
        self.requested = False
        self.exit_code = 130


class Recorder:
    """Writes one run's curve and checkpoints.

    Nothing is written before `open`. The best weights so far are kept in memory until a state to go on from is written:
    they are part of it, so that one file that is there or not decides where a run goes on, and what best.pt then is.
    Rows come first, best.pt last: on the disk no checkpoint is of a later step than the rows, nor best.pt than last.pt.

    Args:
        folder: the run's folder.
        display: told at every step; None: nobody watches.
        stop: whether the user asked to stop.
        watching: callbacks that are told of every row.
    """

    def __init__(self, folder: Path, display: Display | None, stop: Stop, watching: Watching | None = None) -> None:
        self._folder, self._display, self._stop, self._watching = folder, display, stop, watching
        self._writer: CurveWriter
        self._flushed = time.monotonic()
        self._due = self._flushed + LEAST_SECONDS
        self._best: Mapping[str, Any] | None = None
        self._best_is_written = True
        self._ends: dict[str, memoryview] = {}

    def open(
        self, columns: Sequence[str], keep_before: int | None = None, best: Mapping[str, Any] | None = None
    ) -> None:
        """Starts metrics.csv with these columns.

        Args:
            columns: of the curve.
            keep_before: of a run that goes on: the rows below this step stay; None: all begins anew.
            best: what was the best state where it goes on.
        """
        self._writer = CurveWriter(self._folder / "metrics.csv", columns, keep_before)
        if keep_before is None:  # what lies there may be of a later step than the rows now are
            with writing(self._folder):
                self._path(_BEST).unlink(missing_ok=True)
        if best is not None:
            self._best, self._best_is_written = best, False
            self._write_best()
        self._due = time.monotonic() + LEAST_SECONDS

    def begin(self, start: RunStart) -> None:
        """Tells callbacks that the run begins, or goes on."""
        if self._watching is not None:
            self._watching.begin(start)

    def ended(self, run: Run) -> Run:
        """The same run, once callbacks are told that it ended."""
        if self._watching is not None:
            self._watching.end(run)
        return run

    def row(self, row: Row) -> None:
        self._writer.write(row)
        if self._watching is not None:
            self._watching.row(row)
        now = time.monotonic()
        if now - self._flushed > _FLUSH_SECONDS:
            self._writer.flush()
            self._flushed = now

    def note(self, words: str) -> None:
        """Tells whoever watches something of the run, in a sentence."""
        if self._display is not None:
            self._display.note(words)

    def step(self, step: int, total: int, row: Row) -> None:
        if self._display is not None:
            self._display.step(step, total, row)

    def checkpoint(self, name: str, state: Mapping[str, Any]) -> None:
        if name == _BEST:
            from optbench.loop.readings import on_host

            self._best, self._best_is_written = on_host(state), False
            return
        if "progress" not in state:
            self._write(name, state)
            return
        began = time.monotonic()
        self._writer.flush()
        self._write(name, {**state, "curve": self._writer.sum, "best": self._best})
        self._write_best()
        now = time.monotonic()
        self._due = now + max(LEAST_SECONDS, (now - began) / LARGEST_SHARE)

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The best state so far, on the CPU; None before the first evaluation."""
        return self._best

    @property
    def checkpoint_due(self) -> bool:
        return time.monotonic() >= self._due

    def _write_best(self) -> None:
        if self._best is not None and not self._best_is_written:
            self._write(_BEST, self._best)
            self._best_is_written = True

    def end(self, state: Mapping[str, Any]) -> dict[str, str]:
        """Takes the last weights of a run that will not go on; gives the checksums of the files that they and the best
        ones will be.

        Those files are written by `let_go`, once the record is: if the process dies before, the run goes on from the
        state on the disk, and until all is written the record's checksums say that it is not whole.
        """
        self._ends = {_LAST: saved(state)}
        if self._best is not None and not self._best_is_written:
            self._ends = {_BEST: saved(self._best), **self._ends}
        return {self._path(name).name: sum_of_bytes(data) for name, data in self._ends.items()}

    def let_go(self) -> None:
        """Writes what `end` took, both files at once: each waits for the disk."""
        write_together({self._path(name): data for name, data in self._ends.items()})
        self._ends = {}

    def _write(self, name: str, state: Mapping[str, Any]) -> None:
        write_bytes(self._path(name), saved(state))

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.pt"

    @property
    def stop_requested(self) -> bool:
        return self._stop.requested

    def close(self) -> None:
        """Writes out what is still in memory."""
        self._writer.close()


def saved(state: Mapping[str, Any]) -> memoryview:
    """A state as the bytes of a checkpoint."""
    import torch

    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getbuffer()
