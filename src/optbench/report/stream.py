"""The runs of a sweep as one JSON document, written piece by piece: a million runs take the memory of their columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from optbench.records import Run, read, to_json

_AT_ONCE = 1024


def runs_json(folder: Path, run_ids: Sequence[str]) -> Iterator[str]:
    """Pieces of the JSON list of the records under a folder, an object a run: its summary, and its `path`.

    The pieces joined are `records.to_json` of the list, whatever the runs are stored in.

    Args:
        folder: of the sweep.
        run_ids: the runs wanted, in order; those without a record are left out.
    """
    table = read([folder]) if folder.exists() else None
    place = {} if table is None else {run_id: i for i, run_id in enumerate(table.values("run_id"))}
    found = np.array([place[one] for one in run_ids if one in place], dtype=np.int64)
    for start in range(0, len(found), _AT_ONCE):
        assert table is not None
        runs = table.take(found[start : start + _AT_ONCE]).runs()
        yield ("," if start else "[") + "\n" + ",\n".join(map(_text, runs))
    yield "\n]" if len(found) else "[]"


def _text(run: Run) -> str:
    return textwrap.indent(to_json({**run.summary, "path": run.path or run.table}), "  ")
