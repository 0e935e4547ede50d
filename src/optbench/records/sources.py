"""Where runs are stored: in folders, or in the tables of sweeps (`arrow`). Both give the same columns.

A column is made on demand; the caller (`table.RunTable`) keeps it.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from optbench.records.belief import sums
from optbench.records.columns import Bools, Column, Floats, Ints, canonical, factorized, is_shown
from optbench.records.origins import Origin, origin_of
from optbench.records.run import Run, own_columns_of, read_columns
from optbench.records.templates import Settings
from optbench.records.vocabulary import summary_as_now

if TYPE_CHECKING:
    import pyarrow as pa

    from optbench.records.curves import Columns

USUAL_LENGTH = 12
"""Characters of a run_id, see `vocabulary.run_id`."""

MANY = 500
"""Runs in folders of which a part is rarely all whose curves are read."""

_PLAIN = frozenset({str, int, bool, type(None)})  # canonical as they are


class Source(ABC):
    """Runs that are stored in one way.

    Attributes:
        size: number of runs.
        why: what is wrong with the configuration of a run, by position.
    """

    size: int
    why: dict[int, str]

    @abstractmethod
    def orders(self) -> Column:
        """The names of the columns of each run, as a tuple, in the order in which they were written."""

    @abstractmethod
    def column(self, name: str) -> Column:
        """A column, its values canonical; all None where there is none of that name."""

    def numbers(self, name: str) -> Floats:
        """A column of numbers, (size,); NaN where there is none."""
        return self.column(name).numbers()

    def present(self, name: str) -> Bools:
        """Which runs have a value in a column, (size,)."""
        return self.column(name).present()

    @abstractmethod
    def origins(self) -> Column:
        """Where each run was made, see `origins.origin_of`."""

    @abstractmethod
    def keys(self) -> npt.NDArray[np.uint64]:
        """A number for each run_id, (size,), see `keys_of`."""

    @abstractmethod
    def keys_in(self, folder: Path) -> npt.NDArray[np.uint64]:
        """The keys of the runs that are in a sweep's folder, as rows or as folders right below it."""

    @abstractmethod
    def has_curve(self) -> Bools:
        """Which runs have a recorded curve, (size,). Raises RecordError where a table of curves cannot be read."""

    @abstractmethod
    def place(self, i: int) -> tuple[str, Path, str]:
        """Where a run is: its place with links resolved, the folder that this is in, and what to call it."""

    @abstractmethod
    def runs(self, indices: Ints) -> list[Run]:
        """The runs of these numbers, whole."""

    def curves(self, indices: Ints, names: Collection[str] | None) -> list[Columns]:
        """The named columns of the curves of the runs of these numbers. Raises RecordError as `run.read_columns`."""
        return read_columns(self.runs(indices), names)


def _with_choices(settings: Settings) -> dict[str, Any]:
    """What is shown of settings, canonical; of a network also the name of the augmentation that was chosen, whether it
    was said or came with the data: of its class alone two lists of transforms are not told apart."""
    shown = {key: canonical(value) for key, value in settings.items() if is_shown(key)}
    chosen = settings.get(f"choices.{_AUGMENT}")
    return shown | ({_AUGMENT: chosen} if chosen is not None and settings.get("data._target_") else {})


_AUGMENT = "augment"


@dataclass
class Folders(Source):
    """Run folders, as lists of equal length.

    Attributes:
        paths: the folders; empty for runs that are in none.
        places: the same with symbolic links resolved: equal for one folder that was reached twice.
        summaries: of each, the object in run.json; of those from the index without its mappings.
        more: of those from the index, the mappings as JSON; of the others empty.
        settings: of each, the dotted keys of config.yaml; the same object for the runs that share them all. None where
            config.yaml cannot be read.
        why: see Source.
    """

    paths: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    summaries: list[Mapping[str, Any]] = field(default_factory=list)
    more: list[str] = field(default_factory=list)
    settings: list[Settings | None] = field(default_factory=list)
    why: dict[int, str] = field(default_factory=dict)

    def add(self, path: str, place: str, summary: Mapping[str, Any], settings: Settings | None, more: str = "") -> None:
        """Adds a folder at the end."""
        self.paths.append(path)
        self.places.append(place)
        self.summaries.append(summary if settings is None else summary_as_now(summary, settings))
        self.more.append(more)
        self.settings.append(settings)

    @property
    def size(self) -> int:  # type: ignore[override]
        return len(self.paths)

    @functools.cached_property
    def _own(self) -> tuple[Ints, list[dict[str, Any]]]:
        """Which settings each folder has, (size,), and the different ones, canonical."""
        different = dict(zip(map(id, self.settings), self.settings, strict=True))
        shared = [_with_choices(one or {}) for one in different.values()]
        return factorized(map(id, self.settings)).codes, shared

    @functools.cached_property
    def _heads(self) -> Column:
        """The keys of each summary but those of mappings, which the index keeps apart, as a tuple."""
        each = zip(self.summaries, self.more, strict=True)
        return factorized(tuple(s) if more else tuple(k for k in s if s[k].__class__ is not dict) for s, more in each)

    def orders(self) -> Column:
        codes, settings = self._own
        heads, keys = self._heads
        kinds = factorized(zip(codes.tolist(), heads.tolist(), map(bool, self.paths), strict=True))
        return Column(kinds.codes, [self._order(keys[head], settings[code], p) for code, head, p in kinds.values])

    @staticmethod
    def _order(head: Sequence[str], settings: Mapping[str, Any], in_folder: bool) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*filter(is_shown, head), *settings, *(["path"] if in_folder else [])]))

    def column(self, name: str) -> Column:
        if name == "path":
            return factorized(path or None for path in self.paths)
        if not is_shown(name):
            return Column(factorized([None] * self.size).codes, [None])
        codes, settings = self._own
        stated = [name in one for one in settings]
        if all(stated) or not any(name in keys for keys in self._heads.values):
            own = factorized(one.get(name) for one in settings)
            return Column(own.codes[codes], own.values)
        values = (summary.get(name) for summary in self.summaries)
        if any(stated):
            rows = zip(codes.tolist(), values, strict=True)
            values = (settings[code][name] if stated[code] else value for code, value in rows)
        return factorized(v if v.__class__ in _PLAIN else None if isinstance(v, dict) else canonical(v) for v in values)

    def numbers(self, name: str) -> Floats:
        if "." not in name:  # no setting
            with contextlib.suppress(TypeError, ValueError):
                return np.array([summary.get(name) for summary in self.summaries], dtype=float)
        return super().numbers(name)

    def origins(self) -> Column:
        return self._told[0]

    @functools.cached_property
    def _told(self) -> tuple[Column, list[str | None]]:
        """Where each run was made, and the checksum of its curve: what is known of both from one reading."""
        checksums: list[str | None] = []

        def origin(summary: Mapping[str, Any]) -> Origin:
            checksums.append(sums(summary).get("metrics.csv"))
            return origin_of(summary.get("provenance"))

        told = zip(self.summaries, self.more, strict=True)
        return factorized(origin(json.loads(more) if more else summary) for summary, more in told), checksums

    def curves(self, indices: Ints, names: Collection[str] | None) -> list[Columns]:
        checksums = self._told[1]  # without a Run and a Path of each: there are thousands
        own = [i for i in indices.tolist() if self.paths[i]]
        read = own_columns_of([self.paths[i] for i in own], [checksums[i] for i in own], names, self.size > MANY)
        found = dict(zip(own, read, strict=True))
        return [found.get(i, {}) for i in indices.tolist()]

    def keys(self) -> npt.NDArray[np.uint64]:
        return keys_of([summary["run_id"] for summary in self.summaries])

    def keys_in(self, folder: Path) -> npt.NDArray[np.uint64]:
        head = os.path.join(folder, "")
        below = [i for i, path in enumerate(self.paths) if path.startswith(head) and i not in self.why]
        return self.keys()[[i for i in below if os.sep not in self.paths[i][len(head) :]]]

    def has_curve(self) -> Bools:
        return self._has_curve

    @functools.cached_property
    def _has_curve(self) -> Bools:
        here = (os.path.isfile(os.path.join(path, "metrics.csv")) for path in self.paths)
        return np.fromiter(here, dtype=np.bool_, count=self.size)

    def place(self, i: int) -> tuple[str, Path, str]:
        path = Path(self.paths[i])
        return self.places[i], path.parent, str(path)

    def runs(self, indices: Ints) -> list[Run]:
        more = ((i, json.loads(self.more[i]) if self.more[i] else {}) for i in indices.tolist())
        return [Run({**self.summaries[i], **rest}, Path(self.paths[i]) if self.paths[i] else None) for i, rest in more]

    def missing(self) -> list[str]:
        """Files that a record names and that are gone, a sentence each."""
        return [
            f"{folder} lacks {name}"
            for i, folder in enumerate(self.paths)
            for name in self._parts(i)
            if not os.path.isfile(f"{folder}/{name}")
        ]

    def _parts(self, i: int) -> Sequence[str]:
        """The files beside the i-th record that it has checksums of."""
        text = self.more[i]
        if not text:
            return list(sums(self.summaries[i]))
        if '.pt"' in text:  # else a text that is not parsed: there are thousands
            return list(sums(json.loads(text)))
        return ["metrics.csv"] if '"metrics.csv"' in text else []


# run_ids as numbers --------------------------------------------------------------------------------------------------


def keys_of(run_ids: Sequence[str] | pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """A number for each run_id, (n,): equal for equal ones, and rarely for others. Sorting or hashing a million strings
    takes a second, their numbers a hundredth of that."""
    if isinstance(run_ids, Sequence):
        raw = [one.encode("utf-8", "surrogatepass") for one in run_ids]
        lengths, text = np.array(list(map(len, raw)), dtype=np.int64), np.frombuffer(b"".join(raw), np.uint8)
    else:
        whole = run_ids.combine_chunks()
        _, ends, characters = whole.buffers()
        offsets = np.frombuffer(ends, np.int64)[whole.offset : whole.offset + len(whole) + 1] if len(whole) else [0]
        lengths = np.diff(offsets)
        text = np.frombuffer(characters or b"", np.uint8)[offsets[0] : offsets[-1]]
    if (lengths == USUAL_LENGTH).all():
        return mixed(text.reshape(-1, USUAL_LENGTH))
    ends_at = np.cumsum(lengths).tolist()
    pieces = [text[end - n : end] for end, n in zip(ends_at, lengths.tolist(), strict=True)]
    usual = (len(piece) == USUAL_LENGTH for piece in pieces)
    found = [int(mixed(p[None])[0]) if u else hash(p.tobytes()) % 2**64 for p, u in zip(pieces, usual, strict=True)]
    return np.array(found, dtype=np.uint64)


def mixed(signs: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """A number for each row of 12 bytes: (n, 12) -> (n,)."""
    head = np.ascontiguousarray(signs[:, :8]).view(np.uint64)[:, 0]
    tail = np.ascontiguousarray(signs[:, 8:]).view(np.uint32)[:, 0]
    return head * np.uint64(0x9E3779B97F4A7C15) + tail
