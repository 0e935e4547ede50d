"""Runs in the files of MLflow's file store (`mlruns/EXPERIMENT/RUN`), the default of MLflow 1 and 2.

A run is a folder with `meta.yaml` (name, status, lifecycle_stage), `params/NAME` (the value as text) and
`metrics/NAME`, lines `timestamp value step` (older ones without a step, which is then 0); a slash in a name is a
folder. Of several values of one step the one of the latest timestamp stands, as MLflow has it; deleted runs are none.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from optbench.errors import RecordError
from optbench.foreign.log import Log, literal, number, whole
from optbench.foreign.tables import content, decoded
from optbench.foreign.yaml_file import mapping
from optbench.records import Status

META, METRICS, PARAMS = "meta.yaml", "metrics", "params"
_STATUSES: Mapping[int, Status] = {
    1: Status.INTERRUPTED,  # RUNNING
    2: Status.INTERRUPTED,  # SCHEDULED
    3: Status.COMPLETED,  # FINISHED
    4: Status.FAILED,
    5: Status.INTERRUPTED,  # KILLED
}
"""RunStatus of mlflow's service.proto."""
_MOST_PARAM = 1 << 16


def is_run(folder: Path) -> bool:
    """Whether a folder is a run that was not deleted; an experiment has a meta.yaml too, and no metrics."""
    return (folder / META).is_file() and (folder / METRICS).is_dir() and not _deleted(folder)


def _deleted(folder: Path) -> bool:
    return mapping(folder / META).get("lifecycle_stage") == "deleted"


def read(folder: Path) -> Log:
    """The run in a folder. Raises RecordError."""
    meta = mapping(folder / META)
    lines = []
    total = 0
    for name, path in _named(folder / METRICS):
        data = content(path)
        total = zlib.crc32(data, zlib.crc32(name.encode("utf-8", "surrogatepass"), total))
        lines += [(step, stamp, name, value) for step, stamp, value in _lines(decoded(data, path), path)]
    if not lines:
        raise RecordError(f"{folder}: its {METRICS} are empty")
    rows = [row_of(step, name, value) for step, _, name, value in sorted(lines, key=lambda line: line[:3])]
    params = {name: literal(decoded(content(path, _MOST_PARAM), path)) for name, path in _named(folder / PARAMS)}
    name = meta.get("run_name") or folder.name
    status = meta.get("status")
    known = _STATUSES.get(status) if isinstance(status, int) else None
    return Log("mlflow", folder, str(name), rows, params, f"crc32 of metrics {total:08x}", known)


def row_of(step: int, name: str, value: float) -> dict[str, Any]:
    """One value as a row; a metric that is called step does not hide the step."""
    return {"step": step, f"{METRICS}/step" if name == "step" else name: value}


def _named(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files below a folder, by the name that they are of."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and not path.name.startswith("."):
            yield path.relative_to(folder).as_posix(), path


def _lines(text: str, path: Path) -> Iterator[tuple[int, int, float]]:
    """Step, timestamp and value of each line."""
    for line in text.splitlines():
        parts: list[Any] = line.split()
        if not parts:
            continue
        if len(parts) not in (2, 3):
            raise RecordError(f"{path}: {line[:40]!r} is no line `timestamp value step`")
        stamp = whole(parts[0], f"{path}: timestamp")
        value = number(parts[1], str(path))
        step = whole(parts[2], f"{path}: step") if len(parts) == 3 else 0
        if stamp is not None and value is not None and step is not None:
            yield step, stamp, value
