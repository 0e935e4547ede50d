"""Runs that several processes do together, many in a row: started by torchrun, once for all of them.

    torchrun --standalone --nproc-per-node 3 torchrun_runs.py FOLDER CONF

reads lists of overrides from FOLDER/runs.json, runs each in FOLDER/runs with CONF laid over the package's, and writes
what each process has to say of each, status or error, to FOLDER/said-RANK.json.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import optbench
from optbench.errors import OptbenchError


def said(overrides: list[str], folder: Path, conf: str) -> list[str]:
    """How a run ended, in this process."""
    try:
        run = optbench.run(*overrides, out=folder / "runs", config_dir=conf)
    except OptbenchError as error:
        return [type(error).__name__, error.message]
    return [str(run.status), run.reason]


if __name__ == "__main__":
    place = Path(sys.argv[1])
    runs = json.loads((place / "runs.json").read_text())
    found = [said(overrides, place, sys.argv[2]) for overrides in runs]
    (place / f"said-{os.environ['RANK']}.json").write_text(json.dumps(found))
