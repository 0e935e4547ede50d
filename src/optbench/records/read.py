"""Reading records: plain data, checked, executing nothing."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from optbench.errors import RecordError
from optbench.records.vocabulary import NUMERICS, Status, flatten, run_id

if TYPE_CHECKING:
    import pandas as pd

_MAX_TEXT = 4 << 20
_MAX_DEPTH = 50
_YAML_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml: 6 times faster


def _whole_lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    lines = text.split("\n")
    return lines[:-1]  # what follows the last newline is a line that was being written


def read_rows(path: Path) -> list[dict[str, str]]:
    """The whole rows of a CSV file as text; a torn last line is left out, a missing file has no rows."""
    try:
        return [row for row in csv.DictReader(_whole_lines(path)) if None not in row and None not in row.values()]
    except csv.Error as error:
        raise RecordError(f"{path}: {error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises RecordError where there is none."""
    try:
        if path.stat().st_size > _MAX_TEXT:
            raise RecordError(f"{path}: {path.stat().st_size} bytes is no {path.name}")
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RecordError(f"{path}: {error}") from error
    if not isinstance(value, dict):
        raise RecordError(f"{path}: expected one JSON object")
    return value


def _check_yaml(text: str, path: Path) -> None:
    # Events come without recursion: aliases (which multiply) and depth (which overflows the C stack) are refused
    # before anything is built.
    depth = 0
    for event in yaml.parse(text, Loader=_YAML_LOADER):
        if isinstance(event, yaml.AliasEvent):
            raise RecordError(f"{path}: aliases are not allowed in a record")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise RecordError(f"{path}: nested deeper than {_MAX_DEPTH} levels")


def read_config(path: Path) -> dict[str, Any]:
    """A run's config.yaml as plain data: no tags, no aliases, no interpolation. Raises RecordError."""
    try:
        if path.stat().st_size > _MAX_TEXT:
            raise RecordError(f"{path}: {path.stat().st_size} bytes is no configuration")
        text = path.read_text(encoding="utf-8")
        _check_yaml(text, path)
        value = yaml.load(text, Loader=_YAML_LOADER)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise RecordError(f"{path}: {' '.join(str(error).split())}") from error
    if not isinstance(value, dict):
        raise RecordError(f"{path}: expected a mapping")
    if any(isinstance(v, str) and "${" in v for v in flatten(value).values()):
        raise RecordError(f"{path}: an interpolation in a record; records hold resolved values only")
    return value


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

    def curve(self) -> pd.DataFrame:
        """The recorded steps: CURVE_COLUMNS and x0 ... on surfaces; columns that do not apply are absent."""
        import pandas as pd

        if self.path is not None:
            return _numeric(read_rows(self.path / "metrics.csv"))
        if self.table is None or not self.table.exists():
            return pd.DataFrame()
        return _curve_of(_read_parquet(self.table, filters=[("run_id", "==", self.run_id)]))


def _curve_of(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.drop(columns="run_id").dropna(axis="columns", how="all").reset_index(drop=True)


def read_curves(runs: Sequence[Run]) -> list[pd.DataFrame]:
    """The curve of each run, as `Run.curve` gives it; a sweep's table is read once and not once a run."""
    wanted: dict[Path, list[str]] = {}
    for run in runs:
        if run.path is None and run.table is not None and run.table.exists():
            wanted.setdefault(run.table, []).append(run.run_id)
    found = {
        (table, run_id): _curve_of(rows)
        for table, ids in wanted.items()
        for run_id, rows in _read_parquet(table, filters=[("run_id", "in", ids)]).groupby("run_id", sort=False)
    }
    return [found[key] if (key := (run.table, run.run_id)) in found else run.curve() for run in runs]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _numeric(rows: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    # float() and not pandas.to_numeric, whose parser is off by one unit in the last place for some numbers.
    import pandas as pd

    columns = rows[0].keys() if rows else ()
    frame = pd.DataFrame({c: [_number(row[c]) for row in rows] for c in columns}, dtype=float)
    frame = frame.dropna(axis="columns", how="all")
    return frame.astype({c: int for c in ("step", "evals") if c in frame and (frame[c] % 1 == 0).all()})


def _read_parquet(path: Path, **options: Any) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_parquet(path, **options)
    except Exception as error:  # pyarrow raises its own and the system's errors alike; all mean: not a table
        raise RecordError(f"{path}: {' '.join(str(error).split())[:200]}") from error


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
    """The run in a folder, checked to be one. Raises RecordError with what is wrong."""
    if not folder.is_dir():
        raise RecordError(f"{folder} is not a run folder: no such folder", "give a folder that `optbench run` printed")
    if not (folder / "run.json").exists():
        raise RecordError(f"{folder} is not a run folder: it has no run.json")
    summary = read_json(folder / "run.json")
    _check_summary(summary, folder)
    return Run(summary, folder)


def _check_summary(summary: Mapping[str, Any], where: Path) -> None:
    if not isinstance(summary.get("run_id"), str) or not isinstance(summary.get("status"), str):
        raise RecordError(f"{where}: run.json has no run_id or status")
    if summary["status"] not in Status.__members__.values():
        raise RecordError(f"{where}: unknown status {summary['status']!r}")
    for key in ("steps", "evals", "seconds", "final_loss", "best_loss", "best_step", "final_grad_norm", "val_accuracy"):
        value = summary.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise RecordError(f"{where}: {key}={value!r} is not a number")


def verify_identity(run: Run) -> None:
    """Checks that a run folder's config.yaml is the one its run_id was made from. Raises RecordError if not."""
    numerics = run.summary.get("numerics", NUMERICS)
    found = run_id(run.config, run.summary.get("data_fingerprint"), numerics)
    if found != run.run_id:
        raise RecordError(f"{run.path}: config.yaml was changed after the run (it hashes to {found}, not {run.run_id})",
                          "restore it, or run the configuration again")  # fmt: skip


@dataclass(frozen=True)
class Unreadable:
    """A folder or table that looked like results and could not be read."""

    path: Path
    why: str


def scan(paths: Sequence[Path]) -> tuple[list[Run], list[Unreadable]]:
    """Every run under the paths, in path order, and everything that looked like one and is not.

    Args:
        paths: run folders, sweep tables (runs.parquet) or folders of them, at any depth. A run that a sweep has both as
            a row and as a folder is one run: the one that ended, the folder if both did.
    """
    runs: dict[str, Run] = {}
    bad: list[Unreadable] = []
    for path in paths:
        if not path.exists():
            raise RecordError(f"{path}: no such file or folder")
        for place in _places(path):
            try:
                found = _table_runs(place) if place.suffix == ".parquet" else [read_run(place)]
            except RecordError as error:
                bad.append(Unreadable(place, error.message))
                continue
            # one place reached by two spellings of its path is one place
            runs.update({f"{place.resolve()}/{run.run_id}": run for run in found})
    return _one_record_each(list(runs.values())), bad


def _one_record_each(runs: list[Run]) -> list[Run]:
    beside = {(run.path.parent, run.run_id): run for run in runs if run.path is not None}
    sweeps = {parent for parent, _ in beside}
    left_out = set()
    for run in runs:
        if run.table is not None and run.table.parent in sweeps:
            folder = beside.get((run.table.parent, run.run_id))
            if folder is not None:
                left_out.add(id(folder if run.status.final and not folder.status.final else run))
    return [run for run in runs if id(run) not in left_out] if left_out else runs


def _places(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path.parent if path.name == "run.json" else path
        return
    for folder, subfolders, files in os.walk(path):
        subfolders.sort()
        if {"run.json", "config.yaml", "metrics.csv"} & set(files):
            subfolders.clear()
            yield Path(folder)
        elif "runs.parquet" in files:
            yield Path(folder) / "runs.parquet"


def _table_runs(path: Path) -> list[Run]:
    frame = _read_parquet(path)
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    runs = [Run({str(k): v for k, v in row.items()}, None, path.with_name("curves.parquet")) for row in rows]
    for run in runs:
        _check_summary(run.summary, path)
    return runs
