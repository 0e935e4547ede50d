"""Folders of Lightning's CSVLogger: metrics.csv, and hparams.yaml where the module or the logger saved hyperparameters.

Format: lightning.pytorch.loggers.csv_logs and lightning.fabric.loggers.csv_logs of Lightning 2.x: a column a metric
(and `step`, `epoch`), a row a call of `log_metrics`, so that training and validation of one step stand in two rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from optbench.foreign.log import Log
from optbench.foreign.tables import read_table
from optbench.foreign.yaml_file import mapping

METRICS, HYPERPARAMETERS = "metrics.csv", "hparams.yaml"


def read(folder: Path) -> Log:
    """The run in a folder. Raises RecordError."""
    table = read_table(folder / METRICS)
    return Log("lightning", folder, "", table.rows, hyperparameters(folder / HYPERPARAMETERS), table.sum)


def hyperparameters(path: Path) -> dict[str, Any]:
    """The hyperparameters in a YAML file; none where there is no file. Raises RecordError."""
    return mapping(path) if path.exists() else {}
