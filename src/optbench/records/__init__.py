"""What a run leaves behind, and nothing else: the interface between the half that runs and the half that reads.

A run is a folder that explains itself:

    config.yaml      the resolved configuration
    run.json         status, reason, summary and provenance: one row of the `runs` table
    metrics.csv      the curve, one row a recorded step: append-only, flushed, opens in any spreadsheet
    last.pt, best.pt checkpoints (networks)

run.json exists from the first moment, as `interrupted`, and is replaced when the run ends: whatever kills the process,
the folder tells the truth. Every other file is written beside its place and renamed into it, so a torn file never reads
as a result. A folder is data: reading it executes nothing. It is believed only if it is genuine: its checksums are
right (`seal`), its run_id is the hash of its configuration, its numbers are possible (`belief`). A run counts as done
only if every part of its record is there (`whole`).
"""

import importlib
from typing import TYPE_CHECKING, Any

from optbench.records.files import read_config, read_json, read_rows
from optbench.records.run import Run, check_own_run, read_curves, read_run, verify_identity
from optbench.records.vocabulary import (
    CURVATURE_COLUMNS,
    CURVE_COLUMNS,
    MAX_COORDINATES,
    NOT_IDENTITY,
    NUMERICS,
    RUN_COLUMNS,
    Status,
    flatten,
    run_id,
)
from optbench.records.whole import look, part_sums
from optbench.records.write import (
    CurveWriter,
    check_place,
    locked,
    plain,
    to_json,
    write_bytes,
    write_curve,
    write_json,
    write_sealed,
    write_together,
    write_yaml,
    writing,
)

if TYPE_CHECKING:
    from optbench.records.table import RunTable, read
    from optbench.records.walk import Unreadable

__all__ = [
    "CURVATURE_COLUMNS",
    "CURVE_COLUMNS",
    "MAX_COORDINATES",
    "NOT_IDENTITY",
    "NUMERICS",
    "RUN_COLUMNS",
    "CurveWriter",
    "Run",
    "RunTable",
    "Status",
    "Unreadable",
    "check_own_run",
    "check_place",
    "flatten",
    "locked",
    "look",
    "part_sums",
    "plain",
    "read",
    "read_config",
    "read_curves",
    "read_json",
    "read_rows",
    "read_run",
    "run_id",
    "to_json",
    "verify_identity",
    "write_bytes",
    "write_curve",
    "write_json",
    "write_sealed",
    "write_together",
    "write_yaml",
    "writing",
]


def __getattr__(name: str) -> Any:  # these need numpy; code that only writes records does not wait for its import
    if name not in ("RunTable", "Unreadable", "read"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("optbench.records.table"), name)
