"""Where the pictures of a data set lie, split by split, in a folder or in a zip, and what identifies them; no torch.

The splits are folders, by the names that courses and libraries give them: those of homework 3 in 2022 (training,
validation, test) and 2023 (train, valid, test), and of torchvision's ImageFolder (train, val). What counts is what a
run trains and validates on: these pictures are its identity, by their names within the split and their contents, and
nothing else below the root is.
"""

from __future__ import annotations

import hashlib
import zipfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from optbench.errors import DataError
from optbench.folders import EXTENSIONS, Progress, content, contents, is_junk, stamp_of, walk

SPLITS = {
    "train": ("training", "train"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}
"""Names of the folder of each split; the first one is what messages call it."""

_LARGEST = 1 << 29
"""Bytes of a file beyond which it is no picture."""


class UnreadableError(Exception):
    """A file that cannot be read; the message is why."""


class Place(ABC):
    """A folder or a zip as a tree of files, named by POSIX paths relative to it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def files(self, prefix: str, recursive: bool) -> list[str]:
        """The files below a prefix ("" or "a/b/"), junk left out, in no particular order. Raises DataError."""

    @abstractmethod
    def folders(self, prefix: str) -> list[str]:
        """Names of the folders right below a prefix, junk left out, sorted. Raises DataError."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """What is in a file. Raises UnreadableError."""

    @abstractmethod
    def contents(self, names: Sequence[str], progress: Progress | None) -> list[str]:
        """The hash of what is in each file; "" of one that cannot be read."""


class _Folder(Place):
    def files(self, prefix: str, recursive: bool) -> list[str]:
        return walk(self.path, prefix, recursive, None)

    def folders(self, prefix: str) -> list[str]:
        try:
            return sorted(e.name for e in (self.path / prefix).iterdir() if e.is_dir() and not is_junk(e.name))
        except OSError as error:
            raise DataError(f"{self.path / prefix}: cannot be listed ({error.strerror or error})") from None

    def read(self, name: str) -> bytes:
        try:
            with (self.path / name).open("rb") as file:
                data = file.read(_LARGEST + 1)
        except OSError as error:
            raise UnreadableError(f"cannot be read: {error.strerror or error}") from None
        if len(data) > _LARGEST:
            raise UnreadableError("too large")
        return data

    def contents(self, names: Sequence[str], progress: Progress | None) -> list[str]:
        return contents(self.path, names, self._stamp, self._content, progress)

    def _stamp(self, name: str) -> str:
        try:
            return stamp_of(self.path / name)
        except DataError:
            return "0 0 0 0"

    def _content(self, name: str) -> str:
        try:
            return content(self.path / name)
        except DataError:
            return ""


class _Zip(Place):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._stamp = stamp_of(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise DataError(f"{path}: not a zip that can be read ({error})", "unpack it, or load it again") from None
        entries = ((i.filename.replace("\\", "/"), i) for i in self._zip.infolist() if not i.is_dir())
        self._entries = {name: info for name, info in entries if not any(map(is_junk, name.split("/")))}

    def files(self, prefix: str, recursive: bool) -> list[str]:
        found = (name for name in self._entries if name.startswith(prefix))
        return [name for name in found if recursive or "/" not in name[len(prefix) :]]

    def folders(self, prefix: str) -> list[str]:
        below = (name[len(prefix) :] for name in self._entries if name.startswith(prefix))
        return sorted({name.partition("/")[0] for name in below if "/" in name})

    def read(self, name: str) -> bytes:
        info = self._entries[name]
        if info.file_size > _LARGEST:
            raise UnreadableError("too large")
        try:
            with self._zip.open(info) as file:
                return file.read(_LARGEST)
        except Exception as error:  # zlib's, zipfile's and the decompressors' own errors, encryption: all mean the same
            raise UnreadableError(f"damaged in the zip: {error}") from None

    def contents(self, names: Sequence[str], progress: Progress | None) -> list[str]:
        return contents(self.path, names, lambda _: self._stamp, self._content, progress)

    def _content(self, name: str) -> str:
        try:
            return hashlib.sha256(self.read(name)).hexdigest()
        except UnreadableError:
            return ""


@dataclass(frozen=True)
class Files:
    """Picture files in one place, in order.

    Attributes:
        place: the folder or the zip.
        prefix: where they lie in it: "" or "a/b/".
        names: relative to the prefix, sorted.
    """

    place: Place
    prefix: str
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def where(self) -> Path:
        """The folder that the names are relative to, as messages call it."""
        return self.place.path / self.prefix

    def others(self) -> dict[str, int]:
        """How many files beside and below them do not count as pictures, by their ending in lower case."""
        found = self.place.files(self.prefix, any("/" in name for name in self.names))
        return dict(Counter(Path(name).suffix.lower() for name in found if not name.lower().endswith(EXTENSIONS)))

    def read(self, index: int) -> bytes:
        """What is in a file. Raises UnreadableError."""
        return self.place.read(self.prefix + self.names[index])

    def contents(self, progress: Progress | None = None) -> list[str]:
        """The hash of each file's contents, "" of one that cannot be read; those known from before are not read."""
        return self.place.contents([self.prefix + name for name in self.names], progress)


def place_at(path: Path) -> Place:
    """The folder or zip at a path. Raises DataError where there is neither."""
    if path.is_dir():
        return _Folder(path)
    if not path.exists():
        raise DataError(f"{path}: no such folder")
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path}: expected a folder or a zip")
    return _Zip(path)


def files_at(path: Path, recursive: bool = False) -> Files:
    """All pictures in a folder or a zip. Raises DataError where there is none."""
    place = place_at(path)
    prefix, inner = "", place.folders("") if isinstance(place, _Zip) else []
    if len(inner) == 1 and not place.files("", recursive=False):
        prefix = f"{inner[0]}/"  # a zip of a folder
    return _pictures(place, prefix, recursive)


class Splits:
    """The splits of a data set.

    Args:
        root: the folder or zip that holds them; or a folder that holds nothing but that folder.

    Raises:
        DataError: there is neither, or two folders of the same split.
    """

    def __init__(self, root: Path) -> None:
        self._place = place_at(root)
        self._top, self._found = self._split_folders()

    @property
    def names(self) -> tuple[str, ...]:
        """The splits that are there."""
        return tuple(self._found)

    def files(self, split: str) -> Files:
        """The pictures in the folder of a split and below. Raises DataError: no such folder, or no picture in it."""
        return _pictures(self._place, f"{self._top}{self._folder(split)}/", recursive=True)

    def where(self, split: str) -> Path:
        """The folder of a split. Raises DataError."""
        return self._place.path / self._top / self._folder(split)

    def folders(self, split: str) -> tuple[str, ...]:
        """Names of the folders in that of a split, sorted. Raises DataError."""
        return tuple(self._place.folders(f"{self._top}{self._folder(split)}/"))

    def fingerprint(self, progress: Progress | None = None) -> str:
        """What identifies the pictures that a run trains and validates on: 64 hexadecimal digits.

        The same pictures have the same one wherever they lie: under other names of the splits, or in a zip.

        Args:
            progress: told how many files are read, of those that are not known from before.

        Raises:
            DataError: a split is missing or empty.
        """
        digest = hashlib.sha256(b"pictures of a run\n")
        self._check("train", "validation")
        for split in ("train", "validation"):
            files = self.files(split)
            for name, known in zip(files.names, files.contents(progress), strict=True):
                digest.update(f"{split}/{name}\0{known}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()

    def _split_folders(self) -> tuple[str, dict[str, str]]:
        """Where the split folders lie, and the name of each split's."""
        top = ""
        for _ in range(3):
            inner = self._place.folders(top)
            found = {split: [n for n in names if n in inner] for split, names in SPLITS.items()}
            for split, names in found.items():
                if len(names) > 1:
                    both = " and ".join(f"{name}/" for name in names)
                    raise DataError(f"{self._place.path / top}: both {both}: which are the {split} pictures?",
                                    "move or rename one of them")  # fmt: skip
            if any(found.values()) or len(inner) != 1:
                return top, {split: names[0] for split, names in found.items() if names}
            top += f"{inner[0]}/"
        return "", {}

    def _folder(self, split: str) -> str:
        self._check(split)
        return self._found[split]

    def _check(self, *splits: str) -> None:
        """Raises DataError with all that is missing, and what there is instead."""
        missing = [split for split in splits if split not in self._found]
        if missing:
            wanted = " and ".join(_called(split) for split in missing)
            inner = self._place.folders(self._top)
            there = (
                f"; there: {', '.join(f'{n}/' for n in inner[:8])}{' ...' if len(inner) > 8 else ''}" if inner else ""
            )
            raise DataError(f"{self._place.path / self._top}: no {wanted}{there}")


def _called(split: str) -> str:
    first, *others = (f"{name}/" for name in SPLITS[split])
    return f"{first} (or {', '.join(others)})" if others else first


def _pictures(place: Place, prefix: str, recursive: bool) -> Files:
    found = place.files(prefix, recursive)
    names = sorted(name[len(prefix) :] for name in found if name.lower().endswith(EXTENSIONS))
    if not names:
        where = place.path / prefix
        raise DataError(f"{where}: no images in this folder (expected files ending in {', '.join(EXTENSIONS)})")
    return Files(place, prefix, tuple(names))
