"""A run's folder as a value: for machines that do not see each other's disks."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from optbench.errors import RecordError
from optbench.records import write_bytes, writing

Parcel = Mapping[str, bytes]
"""Contents by name relative to the run's folder, with slashes."""

RECORD = "run.json"
_WEIGHTS = ("*.pt", "checkpoints/*.pt")


def pack(folder: Path) -> dict[str, bytes]:
    """The regular files of a run's folder, without its lock and half-written ones. Raises OSError."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if not path.name.startswith(".") and stat.S_ISREG(path.lstat().st_mode):
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found


def unpack(parcel: Parcel, folder: Path) -> None:
    """Writes a parcel into a run's folder, each file whole or not at all, and the record when all else is there.

    Weights of an earlier attempt that are not in the parcel are removed: they are not this run's.

    Raises:
        RecordError: it names a file outside of the folder.
        OutputError: something cannot be written.
    """
    for name in parcel:
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or "\\" in name or not pure.parts:
            raise RecordError(f"{folder}: a worker returned a file named {name!r}")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for pattern in _WEIGHTS:
            for path in folder.glob(pattern):
                if path.relative_to(folder).as_posix() not in parcel:
                    path.unlink()
    for name in sorted(parcel, key=lambda name: (name == RECORD, name)):
        write_bytes(folder / name, parcel[name])
