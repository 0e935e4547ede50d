"""Logs below a path: what each folder and file is, told by its name and its header."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from optbench.errors import RecordError, UserError
from optbench.foreign import csv_file, lightning, mlflow, mlflow_database, tensorboard, wandb
from optbench.foreign.log import Log
from optbench.foreign.tables import Table, read_table

KINDS = ("csv", "lightning", "wandb", "mlflow", "tensorboard")
"""The tools whose logs are read."""
_OWN = "run.json"
_OF_WANDB = ".wandb"
_EXPORT = "after `wandb sync`, export the charts as CSV, or write run.history() of W&B's API with to_csv"


def logs(sources: Sequence[Path], kind: str | None = None, apart: Sequence[str] = ()) -> list[Log]:
    """The runs that were logged below some paths, in the order of paths and names, numbers in names as numbers.

    Args:
        sources: files and folders.
        kind: one of KINDS; None: as it is found.
        apart: columns that tell the runs of a CSV file apart.

    Raises:
        UserError: a path that does not exist, a kind that is none, or nothing that is a log.
        RecordError: a log that cannot be read.
    """
    if kind is not None and kind not in KINDS:
        raise UserError(f"--kind {kind}: expected one of {', '.join(KINDS)}")
    wanted = {None: KINDS, "wandb": ("csv",)}.get(kind, (str(kind),))
    places: dict[tuple[str, Path], None] = {}
    for source in sources:
        if not source.exists():
            raise UserError(f"{source}: no such file or folder")
        here = [(what, path) for what, path in _below(source) if what in wanted]
        if not here:
            raise UserError(f"{source}: no log {f'of {kind} ' if kind else ''}in it", _known(source))
        places.update(dict.fromkeys(here))
    found: list[Log] = []
    exports: list[Table] = []
    for what, path in places:
        if what != "csv":
            found += mlflow_database.read(path) if path.is_file() else [_READERS[what](path)]
            continue
        table = read_table(path)
        if kind != "csv" and wandb.is_export(table.header):
            exports.append(table)
        else:
            found += csv_file.split(table, apart)
    return found + (wandb.runs(exports) if exports else [])


_READERS: Mapping[str, Callable[[Path], Log]] = {
    "lightning": lightning.read,
    "mlflow": mlflow.read,
    "tensorboard": tensorboard.read,
}


def _known(source: Path) -> str:
    if source.is_dir() and next(source.rglob(f"*{_OF_WANDB}"), None) is not None:
        return _EXPORT
    if source.is_dir() and next(source.rglob(_OWN), None) is not None:
        return "it holds records of optbench: compare reads them as they are"
    return "read are CSV files (W&B's exports too), Lightning's CSVLogger, MLflow's mlruns or mlflow.db, TensorBoard"


def _below(source: Path) -> Iterator[tuple[str, Path]]:
    if source.is_file():
        if source.suffix == _OF_WANDB:
            raise UserError(f"{source}: W&B's own file of a run is not read", _EXPORT)
        if mlflow_database.is_database(source):
            yield "mlflow", source
            return
        if tensorboard.is_run([source.name]):
            yield "tensorboard", source.parent
            return
        own = source.name == lightning.METRICS and (source.parent / lightning.HYPERPARAMETERS).exists()
        yield ("lightning", source.parent) if own else ("csv", source)
        return
    for place, folders, files in os.walk(source, onerror=_closed):
        folders.sort(key=_by_number)
        folder = Path(place)
        if _OWN in files:
            folders.clear()
        elif lightning.METRICS in files and (lightning.HYPERPARAMETERS in files or re.match("version_", folder.name)):
            yield "lightning", folder
        elif mlflow.META in files and mlflow.METRICS in folders:
            folders.clear()
            if mlflow.is_run(folder):
                yield "mlflow", folder
        elif tensorboard.is_run(files):
            within = {path.name for path in tensorboard.sessions(folder)}
            folders[:] = [name for name in folders if name not in within]
            yield "tensorboard", folder
        else:
            if mlflow_database.NAME in files:
                yield "mlflow", folder / mlflow_database.NAME
            yield from (("csv", folder / name) for name in sorted(files, key=_by_number) if name.endswith(".csv"))


def _closed(error: OSError) -> None:
    raise RecordError(f"{error.filename}: cannot be listed ({error.strerror})") from None


def _by_number(name: str) -> list[tuple[bool, int, str]]:
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in re.split(r"([0-9]+)", name)]
