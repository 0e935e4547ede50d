"""One run as it was recorded: its summary, its configuration, its curve."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optbench.errors import RecordError
from optbench.records.belief import impossible, sums
from optbench.records.files import as_number, parse_json, read_bytes, read_config, read_text, rows_of
from optbench.records.seal import AGAIN, broken, sum_of
from optbench.records.vocabulary import NUMERICS, Status, kept_checkpoints, run_id

if TYPE_CHECKING:
    import pandas as pd

    from optbench.records.curves import Columns


NUMBERS = ("steps", "evals", "seconds", "final_loss", "best_loss", "best_step", "final_grad_norm", "val_accuracy")
"""Columns of a summary that are numbers or nothing."""
_STATUSES = frozenset(Status.__members__.values())


@dataclass(frozen=True)
class Run:
    """One run as it was recorded.

    Attributes:
        summary: run.json's object: RUN_COLUMNS, swept values under their override names, `provenance`.
        path: the run's folder; None for a row of a sweep's tables.
        table: for a row of a sweep's tables, the `curves` table that holds its curve.
    """

    summary: Mapping[str, Any]
    path: Path | None = None
    table: Path | None = field(default=None, repr=False)

    @property
    def run_id(self) -> str:
        return str(self.summary["run_id"])

    @property
    def status(self) -> Status:
        return Status(self.summary["status"])

    @property
    def reason(self) -> str:
        return str(self.summary.get("reason", ""))

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Where its numbers come from; of a row of a table too, where it is JSON text. Empty where nothing is known."""
        found = self.summary.get("provenance")
        if isinstance(found, str):
            found = json.loads(found)
        return found if isinstance(found, Mapping) else {}

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration: of the folder's config.yaml, or of a table row's `config` and dotted columns."""
        if self.path is not None:
            return read_config(self.path / "config.yaml")
        if self.summary.get("config") is not None:
            return _with_numbers(json.loads(self.summary["config"]), self.summary)
        names = {
            "model": "model",
            "data": "data",
            "loss": "loss_name",
            "optimizer": "optimizer",
            "scheduler": "scheduler",
        }
        config: dict[str, Any] = {"choices": {group: self.summary[column] for group, column in names.items()}}
        for key, value in self.summary.items():
            if "." in key:
                _put(config, key.split("."), value)
        return config | {"seed": self.summary["seed"], "n_outputs": self.summary.get("n_outputs", 0)}

    def checkpoints(self) -> dict[int, Path]:
        """The weights that its folder kept, by epoch, rising (trainer.keep_every); none for a row of a table."""
        return {} if self.path is None else kept_checkpoints(self.path)

    def curve(self) -> pd.DataFrame:
        """The recorded steps: CURVE_COLUMNS, and x0 ... on surfaces; columns that do not apply are absent.

        Raises:
            RecordError: the file is not a curve, or not the one that the run wrote.
        """
        import pandas as pd

        return pd.DataFrame(self.columns())

    def columns(self, names: Collection[str] | None = None) -> Columns:
        """The same as arrays by name, without the weight of a DataFrame; of `names` alone where they are given."""
        from optbench.records.curves import columns_in

        if self.path is not None:
            return own_columns(str(self.path), sums(self.summary).get("metrics.csv"), names)
        if self.table is None or not self.table.exists():
            return {}
        return columns_in(self.table, [self.run_id], names).get(self.run_id, {})

    def losses(self) -> list[float]:
        """The column `loss` of its curve, NaN where nothing stands; of a folder without the weight of a DataFrame.

        Raises:
            RecordError: as `curve`.
        """
        if self.path is None:
            curve = self.curve()
            return [float(v) for v in curve["loss"]] if "loss" in curve else []
        path = self.path / "metrics.csv"
        rows = rows_of(_own_curve(path, sums(self.summary).get("metrics.csv")), path)
        return [as_number(row["loss"]) for row in rows if "loss" in row]


def own_columns(folder: str, expected: str | None, names: Collection[str] | None = None) -> Columns:
    """The curve in a run's folder, see `Run.columns`; `expected` is its checksum, where that is known."""
    from optbench.records.curves import columns_of_csv

    path = f"{folder}/metrics.csv"  # no Path: there are thousands
    return columns_of_csv(_own_curve(path, expected), path, names)


def own_columns_of(
    folders: Sequence[str], expected: Sequence[str | None], names: Collection[str] | None, more: bool = False
) -> list[Columns]:
    """`own_columns` of many folders, some megabytes at a time; `more` says that there will be many others."""
    from optbench.records.curves import columns_of_csvs

    found: list[Columns] = []
    part: list[tuple[str, bytes]] = []
    size = 0
    for folder, checksum in zip(folders, expected, strict=True):
        path = f"{folder}/metrics.csv"
        part.append((path, _own_curve(path, checksum)))
        size += len(part[-1][1])
        if size > _AT_ONCE:
            found += columns_of_csvs(part, names)
            part, size = [], 0
    return found + columns_of_csvs(part, names, more or bool(found))


_AT_ONCE = 4 << 20  # bytes of curves: what a cache holds


def _own_curve(path: str | Path, expected: str | None) -> bytes:
    """What metrics.csv holds, nothing where it is missing, checked to be what the run wrote if that is known."""
    try:
        data = read_bytes(path)
    except FileNotFoundError:
        return b""
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: {error}") from error
    if expected is not None and sum_of(data) != expected:
        raise RecordError(f"{path}: it was changed after the run: its checksum differs", AGAIN)
    return data


def read_columns(runs: Sequence[Run], names: Collection[str] | None = None) -> list[Columns]:
    """The curve of each run; a sweep's table is read once and not once a run.

    Args:
        runs: of folders and tables.
        names: of the columns that are wanted, for only those become numbers; None: all.

    Raises:
        RecordError: a curve that cannot be read, or is not the one that its run wrote.
    """
    from optbench.records import curves

    wanted: dict[Path, list[str]] = {}
    for run in runs:
        if run.path is None and run.table is not None and run.table.exists():
            wanted.setdefault(run.table, []).append(run.run_id)
    found = {table: curves.columns_in(table, ids, names) for table, ids in wanted.items()}
    own = [run for run in runs if run.path is not None]
    checksums = [sums(run.summary).get("metrics.csv") for run in own]
    read = iter(own_columns_of([str(run.path) for run in own], checksums, names))

    def of(run: Run) -> Columns:  # most rows of a large sweep have none
        if run.path is not None:
            return next(read)
        return {} if run.table is None else found.get(run.table, {}).get(run.run_id, {})

    return [of(run) for run in runs]


def read_curves(runs: Sequence[Run]) -> list[pd.DataFrame]:
    """The curve of each run, as `Run.curve` gives it; a sweep's table is read once and not once a run."""
    import pandas as pd

    return [pd.DataFrame(columns) for columns in read_columns(runs)]


def _put(config: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Sets a dotted column in a nested mapping; lists are JSON text in a table."""
    *heads, last = path
    for head in heads:
        config = config.setdefault(head, {})
    config[last] = json.loads(value) if isinstance(value, str) and value.startswith("[") else value


def _with_numbers(config: dict[str, Any], row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A configuration with the row's numbers, each of the type it has there: a table may hold 2 as 2.0."""
    for key, value in config.items():
        given = row.get(prefix + key)
        if isinstance(value, dict):
            config[key] = value if prefix + key == "choices" else _with_numbers(value, row, f"{prefix}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool) and given is not None:
            config[key] = type(value)(given)
    return config


def read_run(folder: Path) -> Run:
    """The run in a folder, checked to be one. Raises RecordError with what is wrong.

    Whether it is believed is another question: see `records.look`.
    """
    if not folder.is_dir():
        raise RecordError(f"{folder} is not a run folder: no such folder", "give a folder that `optbench run` printed")
    return Run(read_summary(str(folder), check_seal=False), folder)


def read_summary(folder: str, check_seal: bool = True) -> dict[str, Any]:
    """run.json's object, checked to be a run's and what was written. Raises RecordError."""
    path = os.path.join(folder, "run.json")
    if not os.path.exists(path):
        raise RecordError(f"{folder} is not a run folder: it has no run.json")
    text = read_text(path, "run.json")
    if check_seal and broken(text):
        parse_json(text, path)  # torn says more than changed
        raise RecordError(f"{path}: it was changed after the run: its checksum differs", AGAIN)
    summary = parse_json(text, path)
    check_summary(summary, folder)
    return summary


def check_summary(summary: Mapping[str, Any], where: str | Path) -> None:
    """Checks that a summary is one, and can be. Raises RecordError."""
    if not isinstance(summary.get("run_id"), str) or not isinstance(summary.get("status"), str):
        raise RecordError(f"{where}: no record of a run: it has no run_id or status")
    if summary["status"] not in _STATUSES:
        raise RecordError(f"{where}: unknown status {summary['status']!r}")
    if (why := impossible(summary)) is not None:
        raise RecordError(f"{where}: {why}")


def check_own_run(run: Run) -> None:
    """Checks that a run can be made again: the log of another tool tells its numbers, and not what it was made of.

    Raises:
        RecordError: the run was imported.
    """
    if "imported" in run.provenance:
        where = run.path or run.run_id
        raise RecordError(
            f"{where}: imported from another tool's log, which holds no model", "compare and plot read it"
        )


def verify_identity(run: Run) -> None:
    """Checks that a run folder's config.yaml is the one its run_id was made from. Raises RecordError if not."""
    numerics = run.summary.get("numerics", NUMERICS)
    found = run_id(run.config, run.summary.get("data_fingerprint"), numerics)
    if found != run.run_id:
        raise RecordError(f"{run.path}: config.yaml was changed after the run (it hashes to {found}, not {run.run_id})",
                          "restore it, or run the configuration again")  # fmt: skip
