"""Scalars in TensorBoard's event files, read without TensorBoard, which is 170 MB with what it needs.

A file is records (length, its checksum, data, checksum of them: TFRecord), each an `Event` in protocol buffers: of it
the time (field 1), the step (2) and the summary (5) are read, of a summary's values the tag (1) and the number. That is
`simple_value` (2), as torch writes it, or a tensor (8) without dimensions, as TensorFlow 2 does. A folder is a run, as
in TensorBoard, whatever number of files it holds.

Hyperparameters are those of a `hparams.yaml` beside, and what `add_hparams` wrote: the start of a session, in the
metadata of a value. torch writes it into a folder within that of the run, of which nothing else is read; of several
such sessions what all say alike.

Source: tensorflow/core/lib/io/record_writer.h, tensorflow/core/framework/summary.proto and tensor.proto,
tensorflow/core/util/event.proto, tensorboard/plugins/hparams/plugin_data.proto, google/protobuf/struct.proto, as of
TensorBoard 2.21; CRC-32C is that of RFC 3720, appendix B.4.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optbench.errors import RecordError
from optbench.foreign.lightning import HYPERPARAMETERS, hyperparameters
from optbench.foreign.log import Log
from optbench.foreign.tables import content
from optbench.records.seal import sum_of_bytes

MARK = "tfevents"
ELAPSED = "relative_time"
"""The column of seconds since the first event."""
_LARGEST = 1 << 20
"""Bytes of an event that is read; a larger one holds images or a graph, and no checksum of it is made."""
_MASK = 0xA282EAD8
_REFLECTED = 0x82F63B78
_FLOAT, _DOUBLE = 1, 2


def is_run(files: list[str]) -> bool:
    """Whether event files are among the names in a folder."""
    return any(MARK in name for name in files)


def read(folder: Path) -> Log:
    """The run in a folder. Raises RecordError."""
    rows: list[dict[str, Any]] = []
    sums: list[str] = []
    told = _read(folder, rows, sums)
    for inner in sessions(folder):
        told += _read(inner, [], sums)
    if not any(len(row) > 2 for row in rows):
        raise RecordError(f"{folder}: its event files hold no scalars")
    first = min(row[ELAPSED] for row in rows)
    rows = [{**row, ELAPSED: row[ELAPSED] - first} for row in rows]
    alike = set.intersection(*({(k, type(v), v) for k, v in one.items()} for one in told)) if told else set()
    settings = {key: value for key, _, value in sorted(alike)}
    return Log("tensorboard", folder, "", rows, settings | hyperparameters(folder / HYPERPARAMETERS), "; ".join(sums))


def sessions(folder: Path) -> list[Path]:
    """The folders within that of a run to which `add_hparams` wrote its hyperparameters, and nothing but their metrics.
    Raises RecordError."""
    inner = sorted(
        path for path in folder.iterdir() if path.is_dir() and is_run([file.name for file in path.iterdir()])
    )
    return [path for path in inner if _read(path, [], [])]


def _read(folder: Path, rows: list[dict[str, Any]], sums: list[str]) -> list[dict[str, Any]]:
    """Reads the event files of a folder into `rows` and `sums`; gives the hyperparameters of each session."""
    told: list[dict[str, Any]] = []
    for path in sorted(path for path in folder.iterdir() if MARK in path.name and path.is_file()):
        data = content(path)
        sums.append(sum_of_bytes(data))
        for number, event in enumerate(_events(data, path)):
            try:
                rows += _scalars(event)
                told += _hyperparameters(event)
            except (ValueError, struct.error, IndexError) as error:
                raise RecordError(f"{path}: event {number} is none: {error}") from error
    return told


# records --------------------------------------------------------------------------------------------------------------


def _table() -> list[int]:
    found = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (_REFLECTED if byte & 1 else 0)
        found.append(byte)
    return found


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """The CRC-32C (Castagnoli) of some bytes."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
    """The checksum that stands in a record: rotated by 15 bits, plus a constant."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF


def _events(data: bytes, path: Path) -> Iterator[bytes]:
    """The data of each whole record, none of the large ones. Raises RecordError where a checksum is wrong."""
    at = 0
    while at + 12 <= len(data):  # what is shorter is being written, as is a record that ends after the file
        size, expected = struct.unpack_from("<QI", data, at)
        if masked(data[at : at + 8]) != expected:
            raise RecordError(f"{path}: no event file, or damaged: a wrong checksum at byte {at}")
        end = at + 12 + size
        if end + 4 > len(data):
            return
        if size <= _LARGEST:
            event = data[at + 12 : end]
            if masked(event) != struct.unpack_from("<I", data, end)[0]:
                raise RecordError(f"{path}: damaged: a wrong checksum at byte {end}")
            yield event
        at = end + 4


# protocol buffers -----------------------------------------------------------------------------------------------------


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a message in order, by number: whole numbers, or the bytes of anything else."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind not in (1, 2, 5):
            raise ValueError(f"a field of unknown kind {kind}")
        size, at = _varint(data, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
        if at + size > len(data):
            raise ValueError("a field ends after its message")
        yield key >> 3, data[at : at + size]
        at += size


def _values(event: bytes) -> Iterator[dict[int, Any]]:
    """The fields of each value in an event's summaries."""
    for summary in (value for number, value in _fields(event) if number == 5):
        yield from (dict(_fields(value)) for number, value in _fields(summary) if number == 1)


def _hyperparameters(event: bytes) -> Iterator[dict[str, Any]]:
    """Of each session that starts in an event: HParamsPluginData.session_start_info (3) in the content (2) of the
    plugin's data (1) of a value's metadata (9); its map (1) has an entry a setting, name (1) and value (2)."""
    for own in _values(event):
        plugin = dict(_fields(dict(_fields(own.get(9, b""))).get(1, b"")))
        if plugin.get(1) != b"hparams":
            continue
        start = dict(_fields(plugin.get(2, b""))).get(3)
        if start is not None:
            entries = (dict(_fields(entry)) for number, entry in _fields(start) if number == 1)
            yield {one.get(1, b"").decode(): _of_struct(one.get(2, b"")) for one in entries}


def _of_struct(data: bytes) -> Any:
    """A google.protobuf.Value: a number (2), a text (3), true or false (4), or null; lists and structs are left out."""
    fields = dict(_fields(data))
    if 2 in fields:
        found = struct.unpack("<d", fields[2])[0]
        return int(found) if found.is_integer() and abs(found) < 2**53 else found
    return fields[3].decode() if 3 in fields else bool(fields[4]) if 4 in fields else None


def _scalars(event: bytes) -> Iterator[dict[str, Any]]:
    """A row for each scalar of an event."""
    known = dict(_fields(event))
    step = known.get(2, 0)
    step -= (step >> 63) << 64  # negative ones in two's complement
    time = struct.unpack("<d", known[1])[0] if 1 in known else 0.0
    for own in _values(event):
        scalar = struct.unpack("<f", own[2])[0] if 2 in own else _tensor(own[8]) if 8 in own else None
        if scalar is not None and 1 in own:
            tag = own[1].decode()
            yield {"step": step, ELAPSED: time, f"scalars/{tag}" if tag in ("step", ELAPSED) else tag: scalar}


def _tensor(data: bytes) -> float | None:
    """The number in a tensor; None where it has dimensions, or is of another type than float and double."""
    fields = dict(_fields(data))
    sign = {_FLOAT: "<f", _DOUBLE: "<d"}.get(fields.get(1, 0))
    if sign is None or fields.get(2):
        return None
    raw = fields.get(4) or fields.get(5 if sign == "<f" else 6) or b""
    return float(struct.unpack(sign, raw)[0]) if len(raw) == struct.calcsize(sign) else None
