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
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from optbench.errors import DataError, OutputError
from optbench.records.files import read_bytes
from optbench.records.seal import KEY, broken
from optbench.records.write import write_sealed

Progress = Callable[[int, int], None]
"""Called as progress(done, total) from the calling thread while files are read."""

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
    names = sorted(walk(folder, "", recursive, EXTENSIONS))
    if not names:
        raise DataError(f"{folder}: no images in this folder (expected files ending in {', '.join(EXTENSIONS)})")
    return [folder / name for name in names]


def place_of(text: str) -> Path:
    """The path that a text names, `~` expanded; `./~` is a folder of that name, and an unknown user's `~x` too."""
    return Path(os.path.expanduser(text))


def is_junk(name: str) -> bool:
    """Whether a file or folder of this name is none of the user's: hidden, or what Windows and macOS leave behind."""
    return name.startswith(".") or name.lower() in ("thumbs.db", "desktop.ini", "__macosx")


def walk(folder: Path, prefix: str, recursive: bool, endings: tuple[str, ...] | None) -> list[str]:
    """Relative POSIX paths of the files with these endings (None: all) below `folder / prefix`, in no particular order.

    A link to a folder is followed unless it leads to one that it lies in.

    Raises:
        DataError: a folder is missing, is none, or cannot be listed.
    """
    return _walk(folder, prefix, recursive, endings, ())


def _walk(
    folder: Path, prefix: str, recursive: bool, endings: tuple[str, ...] | None, above: tuple[tuple[int, int], ...]
) -> list[str]:
    """As `walk`; `above`: device and inode of the folders that this one lies in."""
    found: list[str] = []
    try:
        status = os.stat(folder / prefix)
        here = (status.st_dev, status.st_ino)
        if here in above:
            return []
        with os.scandir(folder / prefix) as entries:
            for entry in entries:
                name = prefix + entry.name
                if is_junk(entry.name):
                    continue
                if entry.is_file():
                    if endings is None or name.lower().endswith(endings):
                        found.append(name)
                elif recursive and entry.is_dir():
                    found += _walk(folder, name + "/", recursive, endings, (*above, here))
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
    names = sorted(walk(folder, "", True, None if everything else EXTENSIONS))
    if not names and not everything:
        image_files(folder, recursive=True)  # which says what is expected
    digest = hashlib.sha256()
    for name, known in zip(names, contents(folder, names), strict=True):
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
_READERS = 8
"""Files that are read at a time: a network disk answers late, not slowly."""


def stamp_of(file: Path) -> str:
    """Size, times and inode of a file: while they stay, so do its contents. Raises DataError."""
    try:
        status = file.stat()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror or error})") from None
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def is_settled(stamp: str) -> bool:
    """Whether a file with this stamp has been unchanged for so long that its next change will change the stamp."""
    return max(map(int, stamp.split()[1:3])) < time.time_ns() - _SETTLED_NS


def contents(
    place: Path,
    names: Sequence[str],
    stamp: Callable[[str], str] | None = None,
    read: Callable[[str], str] | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """The hash of each file of a folder; of those that have not changed since they were read, from the cache.

    Args:
        place: the folder, or another thing that holds files.
        names: of the files, relative to it.
        stamp: gives a file's stamp by its name; default: `stamp_of` the file in the folder.
        read: gives the hash of a file's contents by its name; default: `content` of the file in the folder.
        progress: told how many of the files that must be read are read.

    Raises:
        DataError: a file cannot be read.
    """
    stamp = stamp or (lambda name: stamp_of(place / name))
    read = read or (lambda name: content(place / name))
    cache = (
        cache_folder() / "contents" / f"{hashlib.sha256(os.fsencode(os.path.realpath(place))).hexdigest()[:32]}.json"
    )
    known = _kept(cache)
    stamps = {name: stamp(name) for name in names}
    unread = [name for name in names if known.get(name, [""])[0] != stamps[name]]
    found = {name: known[name] for name in names if name in known}
    settled = {name for name in unread if is_settled(stamps[name])}
    with ThreadPoolExecutor(max_workers=_READERS) as pool:
        try:
            for done, (name, hashed) in enumerate(zip(unread, pool.map(read, unread), strict=True), start=1):
                found[name] = [stamps[name] if name in settled else "", hashed]
                if progress is not None:
                    progress(done, len(unread))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    everything = {**known, **found}
    if everything != known and settled:
        with contextlib.suppress(OSError, OutputError, UnicodeEncodeError):
            cache.parent.mkdir(parents=True, exist_ok=True)
            write_sealed(cache, everything)
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
