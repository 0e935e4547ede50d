"""The observer that turns what the loop reports into a run folder, and tells a display."""

from __future__ import annotations

import io
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from optbench.records import CurveWriter, write_bytes

if TYPE_CHECKING:
    from optbench.loop import Row

_FLUSH_SECONDS = 1.0


class Display(Protocol):
    """Shows the user how runs are progressing. Every method must be cheap; `step` is called at every update."""

    def start(self, label: str, index: int, count: int) -> None:
        """Run `index` (from 0) of `count` begins."""

    def loading(self, done: int, total: int) -> None:
        """`done` of `total` images of the data set are decoded."""

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

    Nothing is written before `open`.

    Args:
        folder: the run's folder.
        display: told at every step; None: nobody watches.
        stop: whether the user asked to stop.
    """

    def __init__(self, folder: Path, display: Display | None, stop: Stop) -> None:
        self._folder, self._display, self._stop = folder, display, stop
        self._writer: CurveWriter
        self._flushed = time.monotonic()

    def open(self, columns: Sequence[str], keep_before: int | None = None) -> None:
        """Starts metrics.csv with these columns; on a resumed run, rows below step `keep_before` stay."""
        self._writer = CurveWriter(self._folder / "metrics.csv", columns, keep_before)

    def row(self, row: Row) -> None:
        self._writer.write(row)
        now = time.monotonic()
        if now - self._flushed > _FLUSH_SECONDS:
            self._writer.flush()
            self._flushed = now

    def step(self, step: int, total: int, row: Row) -> None:
        if self._display is not None:
            self._display.step(step, total, row)

    def checkpoint(self, name: str, state: Mapping[str, Any]) -> None:
        import torch

        buffer = io.BytesIO()
        torch.save({**state, "curve": self._writer.sum} if "progress" in state else dict(state), buffer)
        self._writer.flush()  # rows up to the checkpoint are on disk before it: a resumed run finds them
        write_bytes(self._folder / f"{name}.pt", buffer.getbuffer())

    @property
    def stop_requested(self) -> bool:
        return self._stop.requested

    def close(self) -> None:
        """Writes out what is still in memory."""
        self._writer.close()
