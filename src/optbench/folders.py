"""Folders of images as lists of files: what is in them and what identifies them, without torch.

The identity of a run is computed before torch is imported, and it depends on the images, so the listing and its
fingerprint live here, in the standard library; decoding is in `images`.

A fingerprint is of contents. Every file is read once: its hash is kept in the cache folder with its size, times and
inode, and believed while they are the same. The cache is derived data; losing it costs only the time to read again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from optbench.errors import DataError, OutputError
from optbench.records.files import read_bytes
from optbench.records.seal import KEY, broken
from optbench.records.write import write_sealed

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
"""File name endings that count as images, in lower case; case does not matter."""


def image_files(folder: Path | str, recursive: bool = False) -> list[Path]:
    """Image files of a folder, sorted by name; hidden files and hidden folders are left out.

    Args:
        folder: where to look.
        recursive: whether to descend into subfolders; files are then sorted by their path relative to `folder`.

    Raises:
        DataError: the folder is missing, is not a folder, cannot be listed, or holds no image.
    """
    folder = Path(folder)
    names = sorted(_walk(folder, "", recursive, EXTENSIONS))
    if not names:
        raise DataError(f"{folder}: no images in this folder (expected files ending in {', '.join(EXTENSIONS)})")
    return [folder / name for name in names]


def place_of(text: str) -> Path:
    """The path that a text names, `~` expanded; `./~` is a folder of that name, and an unknown user's `~x` too."""
    return Path(os.path.expanduser(text))


def other_files(folder: Path, recursive: bool = False) -> dict[str, int]:
    """How many files of a folder do not count as images, by their ending in lower case; hidden files are left out."""
    names = _walk(folder, "", recursive, None)
    return dict(Counter(Path(name).suffix.lower() for name in names if not name.lower().endswith(EXTENSIONS)))


def _walk(folder: Path, prefix: str, recursive: bool, endings: tuple[str, ...] | None) -> list[str]:
    """Relative POSIX paths of the files with these endings below `folder / prefix`, in no particular order."""
    found: list[str] = []
    try:
        with os.scandir(folder / prefix) as entries:
            for entry in entries:
                name = prefix + entry.name
                if entry.name.startswith("."):
                    continue
                if entry.is_file():
                    if endings is None or name.lower().endswith(endings):
                        found.append(name)
                elif recursive and entry.is_dir():
                    found += _walk(folder, name + "/", recursive, endings)
    except FileNotFoundError:
        raise DataError(f"{folder / prefix}: no such folder") from None
    except NotADirectoryError:
        raise DataError(f"{folder / prefix}: expected a folder, this is a file") from None
    except OSError as error:
        raise DataError(f"{folder / prefix}: cannot be listed ({error.strerror or error})") from None
    return found


def fingerprint(folder: Path | str, everything: bool = False) -> str:
    """Hash of the relative names and the contents of all images below a folder: 64 hexadecimal digits.

    Times and the folder's own place are left out, so that a copy of a data set elsewhere has the same fingerprint.

    Args:
        folder: the folder; with `everything` also a single file.
        everything: of all files that are not hidden, whatever they are.

    Raises:
        DataError: as `image_files`, and for a file that cannot be read.
    """
    folder = Path(folder)
    if everything and folder.is_file():
        return content(folder)
    names = sorted(_walk(folder, "", True, None if everything else EXTENSIONS))
    if not names and not everything:
        image_files(folder, recursive=True)  # which says what is expected
    digest = hashlib.sha256()
    for name, known in zip(names, _contents(folder, names), strict=True):
        digest.update(f"{name}\0{known}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def content(file: Path) -> str:
    """SHA-256 of what is in a file: 64 hexadecimal digits. Raises DataError."""
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror or error})") from None


_SETTLED_NS = 2 * 10**9
"""Seconds that a file must have been unchanged: within one tick of the clock it may change and keep its stamp."""
_MOST_KEPT = 1 << 28


def _contents(folder: Path, names: Sequence[str]) -> list[str]:
    """The hash of each file of a folder; of those that have not changed since they were read, from the cache."""
    place = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:32]
    cache = cache_folder() / f"contents-{place}.json"
    known, now = _kept(cache), time.time_ns()
    found: dict[str, list[str]] = {}
    for name in names:
        file = folder / name
        try:
            status = file.stat()
        except OSError as error:
            raise DataError(f"{file}: cannot be read ({error.strerror or error})") from None
        stamp = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"
        last = known.get(name)
        if last is not None and last[0] == stamp:
            found[name] = last
            continue
        settled = max(status.st_mtime_ns, status.st_ctime_ns) < now - _SETTLED_NS
        found[name] = [stamp if settled else "", content(file)]
    if found != known and any(stamp for stamp, _ in found.values()):
        with contextlib.suppress(OutputError, UnicodeEncodeError):
            write_sealed(cache, found)
    return [found[name][1] for name in names]


def _kept(cache: Path) -> Mapping[str, list[str]]:
    try:
        text = read_bytes(cache, _MOST_KEPT).decode()
        found = json.loads(text)
    except (OSError, ValueError, RecursionError):
        return {}
    if broken(text) or not isinstance(found, dict) or found.pop(KEY, None) is None:
        return {}  # a hash that is not what was written would be another identity
    return found


def cache_folder() -> Path:
    """Where decoded and generated images are kept: $OPTBENCH_CACHE, else optbench/ in the user's cache folder."""
    named = os.environ.get("OPTBENCH_CACHE")
    if named:
        return Path(named)
    if os.name == "nt" and os.environ.get("LOCALAPPDATA"):
        return Path(os.environ["LOCALAPPDATA"]) / "optbench" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "optbench"
