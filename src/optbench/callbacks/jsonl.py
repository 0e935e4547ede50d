"""Runs as lines of JSON in one file that grows: for `tail -f`, for jq, for a program that watches."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optbench.callback_base import Callback, RunStart
from optbench.records import to_json

if TYPE_CHECKING:
    from optbench.records import Run


class JsonLines(Callback):
    """Adds a line for every beginning, row and end: `event` (begin, row or end), `run_id`, and what there is to say.

    Args:
        file: where the lines go, of all runs; each is written at once, so that processes may share the file.
    """

    def __init__(self, file: str = "outputs/events.jsonl") -> None:
        self._file = Path(file).expanduser()

    def begin(self, start: RunStart) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._run_id = start.run_id
        known = {"name": start.name, "sweep": start.sweep, "goes_on_from": start.goes_on_from, "config": start.config}
        self._add("begin", known)

    def row(self, row: Mapping[str, Any]) -> None:
        self._add("row", row)

    def end(self, run: Run) -> None:
        self._add("end", {**run.summary, "path": run.path})

    def _add(self, event: str, what: Mapping[str, Any]) -> None:
        line = to_json({"event": event, "run_id": self._run_id, **what}, indent=None) + "\n"
        handle = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)
