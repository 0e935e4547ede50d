"""Folders of Lightning's CSVLogger: metrics.csv, and hparams.yaml where the module or the logger saved hyperparameters.

Format: lightning.pytorch.loggers.csv_logs and lightning.fabric.loggers.csv_logs of Lightning 2.x: a column a metric
(and `step`, `epoch`), a row a call of `log_metrics`, so that training and validation of one step stand in two rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from optbench.errors import RecordError
from optbench.foreign.log import Log
from optbench.foreign.tables import content, decoded, read_table
from optbench.records.files import check_yaml

METRICS, HYPERPARAMETERS = "metrics.csv", "hparams.yaml"
_MOST = 1 << 20


class _Plain(yaml.SafeLoader):
    """Builds nothing: a tuple is a list, any other Python object is the name of what it was."""


def _named(loader: _Plain, suffix: str, node: yaml.Node) -> Any:
    if suffix == "tuple" and isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    kind, _, name = suffix.partition(":")
    return name or (str(node.value) if isinstance(node, yaml.ScalarNode) else kind)


_Plain.add_multi_constructor("tag:yaml.org,2002:python/", _named)


def read(folder: Path) -> Log:
    """The run in a folder. Raises RecordError."""
    table = read_table(folder / METRICS)
    return Log("lightning", folder, "", table.rows, hyperparameters(folder / HYPERPARAMETERS), table.sum)


def hyperparameters(path: Path) -> dict[str, Any]:
    """The hyperparameters in a YAML file; none where there is no file. Raises RecordError."""
    if not path.exists():
        return {}
    text = decoded(content(path, _MOST), path)
    try:
        check_yaml(text, path)
        found = yaml.load(text, Loader=_Plain)
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise RecordError(f"{path}: {' '.join(str(error).split())[:200]}") from error
    if found is not None and not isinstance(found, dict):
        raise RecordError(f"{path}: expected a mapping of hyperparameters")
    return {str(key): value for key, value in (found or {}).items()}
