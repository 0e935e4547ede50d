"""Pictures as tensors of bytes: every file is decoded once, in threads, and kept; what is wrong with any is told.

Decoding a JPEG and resizing it takes a few milliseconds, far longer than reading the 8-bit pixels that come out. So the
pixels of a split go into one .npy file in the cache folder, under a key of what they are made of (names, contents, how
they are decoded), and later runs map that file into memory. The cache is never the only copy of anything: a file that
is missing, torn or altered is made again, and a cache that cannot be written is done without.

A picture is what is in the file: its ending does not matter, a camera's rotation is carried out, 16 bits become 8, of
several frames the first counts; how often that was so is told. What is no picture ends the reading, with all such files
in one list, or is left out, or stands as a black one in its place.
"""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import os
import re
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from optbench import shelf
from optbench.errors import DataError, OutputError
from optbench.folders import EXTENSIONS, Progress, cache_folder, is_settled, stamp_of
from optbench.pictures import Files, UnreadableError, files_at
from optbench.records.write import locked, write_bytes

__all__ = ["Progress", "Read", "check_size", "decode", "read", "read_folder"]

Pixels = NDArray[np.uint8]

_log = logging.getLogger(__name__)

_FORMAT = 2  # part of the cache key: raise it when decoding changes the pixels
_KIND = "pictures"
_MAX_THREADS = 16
_MAX_SIZE = 2048
_MODES = {1: "L", 3: "RGB"}
_READ = ("JPEG", "MPO", "PNG", "BMP", "DIB", "WEBP", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF", "ICO", "TGA")
"""Formats that a file may have, whatever it is called: those whose readers of Pillow run no other program."""
_CALLED = {"JPEG": (".jpg", ".jpeg"), "MPO": (".jpg", ".jpeg"), "PNG": (".png",), "BMP": (".bmp",), "DIB": (".bmp",),
           "WEBP": (".webp",), "TIFF": (".tif", ".tiff")}  # fmt: skip
_ORIENTATION = 0x0112
_SHOWN = 20
"""Names of pictures in a message; the whole list is in a file."""
_PATIENCE = 3600.0
"""Seconds to wait for another process that decodes the same pictures."""


def check_size(image_size: int, channels: int) -> None:
    """Raises DataError unless images of this size can be made: 1 to 2048 pixels per side, 1 or 3 channels."""
    if isinstance(image_size, bool) or not isinstance(image_size, int) or not 1 <= image_size <= _MAX_SIZE:
        raise DataError(f"image_size={image_size}: expected a whole number from 1 to {_MAX_SIZE}")
    if isinstance(channels, bool) or channels not in _MODES:
        raise DataError(f"channels={channels}: expected 1 (grey) or 3 (RGB)")


@dataclass(frozen=True)
class Read:
    """Pictures that were read.

    Attributes:
        images: uint8 (n, channels, image_size, image_size). Writing into the tensor never changes the cache.
        names: n file names, relative to the folder of the files, with forward slashes, sorted.
        bad: what is wrong, by the name of the file; with on_bad="keep" these are in `names`, their images black.
        converted: how many pictures were read otherwise than they lie there, by what was done.
    """

    images: Tensor
    names: tuple[str, ...]
    bad: Mapping[str, str] = field(default_factory=dict)
    converted: Mapping[str, int] = field(default_factory=dict)

    @property
    def account(self) -> dict[str, Any]:
        """How many pictures are used, left out (by what is wrong with them) and converted (by what was done)."""
        reasons = Counter(re.split("[:;]", reason)[0] for reason in self.bad.values())
        return {"used": len(self.names), "left_out": dict(reasons), "converted": dict(self.converted)}


def read_folder(
    folder: Path | str,
    image_size: int,
    channels: int = 3,
    *,
    recursive: bool = False,
    progress: Progress | None = None,
) -> tuple[Tensor, tuple[str, ...]]:
    """All images of a folder or a zip: `read` for code that needs no more.

    Args:
        folder: where the files are; only image files count (`folders.EXTENSIONS`).
        image_size, channels, progress: as of `read`.
        recursive: whether subfolders are read too.

    Returns:
        uint8 images (n, channels, image_size, image_size), and the n file names.

    Raises:
        DataError: a missing or empty folder, or files that are no readable images (named, all of them).
    """
    check_size(image_size, channels)
    found = read(files_at(Path(folder), recursive), image_size, channels, progress=progress)
    return found.images, found.names


def read(
    files: Files,
    image_size: int,
    channels: int = 3,
    *,
    on_bad: str = "error",
    wrong: Mapping[int, str] | None = None,
    progress: Progress | None = None,
) -> Read:
    """Pictures, resized to squares (bilinear, antialiased, as torchvision's Resize on Pillow images).

    Args:
        files: which ones.
        image_size: side of the squares, in pixels; the aspect ratio is not kept.
        channels: 3 (RGB) or 1 (grey, ITU-R 601-2 luma).
        on_bad: what becomes of a file that is no readable picture: "error" (all of them in one message), "skip" (left
            out) or "keep" (black, in its place).
        wrong: files that are bad for another reason, which is given, by their place among the files.
        progress: told how many files are decoded; not called when the pixels come from the cache. What it raises ends
            the reading, and nothing is kept.

    Raises:
        DataError: bad pictures with on_bad="error", or nothing left without them.
    """
    check_size(image_size, channels)
    _tell_unread(files)
    shape = (len(files), channels, image_size, image_size)
    pixels, bad, notes = _kept_or_decoded(files, shape, progress)
    bad = dict(sorted({**bad, **(wrong or {})}.items()))
    converted = dict(sorted(Counter(note for i, of in notes.items() if i not in bad for note in of).items()))
    named = {files.names[i]: reason for i, reason in bad.items()}
    if bad and on_bad == "error":
        raise _refused(files, named)
    _tell_read(files, named, converted, on_bad)
    if not bad or on_bad == "keep":
        return Read(torch.from_numpy(pixels), files.names, named, converted)
    kept = [i for i in range(len(files)) if i not in bad]
    if not kept:
        raise _refused(files, named)
    images = torch.from_numpy(pixels).index_select(0, torch.tensor(kept))
    return Read(images, tuple(files.names[i] for i in kept), named, converted)


def _tell_unread(files: Files) -> None:
    """Names the endings of files that Pillow knows as images and that are not read: a part of the data set, perhaps."""
    Image.init()
    unread = {e: n for e, n in files.others().items() if e in Image.EXTENSION}
    if unread:
        told = ", ".join(f"{n} {ending}" for ending, n in sorted(unread.items()))
        _log.warning("%s: not read: %s (images end in %s)", files.where, told, ", ".join(EXTENSIONS))


def _tell_read(files: Files, bad: Mapping[str, str], converted: Mapping[str, int], on_bad: str) -> None:
    if converted:
        told = ", ".join(f"{n} {what}" for what, n in converted.items())
        _log.warning("%s: of %d pictures: %s", files.where, len(files), told)
    if bad:
        what = "left out" if on_bad == "skip" else "no pictures"
        _log.warning("%s: %d of %d files %s: %s", files.where, len(bad), len(files), what, _list(files, bad))


def _refused(files: Files, bad: Mapping[str, str]) -> DataError:
    hint = "replace or remove them, or leave them out with data.on_bad=skip"
    if len(bad) == 1:
        ((name, reason),) = bad.items()
        what = reason if reason.startswith(_NO_LABEL) else f"cannot be read as an image ({reason})"
        return DataError(f"{files.where / name}: {what}", hint.replace("them", "it"))
    return DataError(f"{files.where}: {len(bad)} of {len(files)} files cannot be used: {_list(files, bad)}", hint)


_NO_LABEL = ("no label", "label ", "an image outside", "class ")
"""How reasons begin that are of a file's name and not of what is in it."""


def _list(files: Files, bad: Mapping[str, str]) -> str:
    """The bad pictures by name, and where the whole list is if it is long."""
    shown = ", ".join(f"{name} ({reason})" for name, reason in list(bad.items())[:_SHOWN])
    if len(bad) <= _SHOWN:
        return shown
    place = cache_folder() / _KIND / f"bad-{shelf.key_of(str(files.where), sorted(bad.items()))[:12]}.txt"
    text = "".join(f"{files.where / name}\t{reason}\n" for name, reason in bad.items())
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(place, text.encode(errors="surrogateescape"))
    except (OSError, OutputError):
        return ", ".join(f"{name} ({reason})" for name, reason in bad.items())
    return f"{shown} and {len(bad) - _SHOWN} more, all listed in {place}"


# one file -------------------------------------------------------------------------------------------------------------


def decode(data: bytes, name: str, image_size: int, channels: int) -> tuple[Pixels, tuple[str, ...]]:
    """One picture.

    Args:
        data: what is in the file.
        name: of the file, to compare its ending with what it is.
        image_size, channels: as of `read`.

    Returns:
        uint8 (channels, image_size, image_size), and what was done beyond decoding.

    Raises:
        UnreadableError: it is none, or a broken one.
    """
    if not data:
        raise UnreadableError("empty")
    try:
        with Image.open(io.BytesIO(data), formats=_formats()) as image:
            return _squared(image, name, image_size, channels)
    except UnreadableError:
        raise
    except PIL.UnidentifiedImageError:
        raise UnreadableError("not an image") from None
    except Image.DecompressionBombError:
        raise UnreadableError("too many pixels") from None
    except Exception as error:  # Pillow's readers let struct's, zlib's and any other error of a broken file through
        text = " ".join(str(error).split())
        cut = "truncated" in text.lower() or isinstance(error, EOFError)
        raise UnreadableError("truncated" if cut else f"broken: {text[:80] or type(error).__name__}") from None


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those of _READ that this Pillow can read."""
    Image.init()
    return tuple(name for name in _READ if name in Image.OPEN)


def _squared(image: Image.Image, name: str, image_size: int, channels: int) -> tuple[Pixels, tuple[str, ...]]:
    notes = []
    kind = image.format or ""
    width, height = image.size
    if width * height > (Image.MAX_IMAGE_PIXELS or width * height):
        raise UnreadableError(f"too many pixels: {width} x {height}")
    if not name.lower().endswith(_CALLED.get(kind, ())):
        notes.append(f"{kind} under another ending")
    if kind != "MPO" and getattr(image, "is_animated", False):
        notes.append("the first of several frames")
    image.load()
    whole = image
    if image.mode.startswith("I;16") or (image.mode == "I" and _is_16_bit(image)):
        whole = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
        notes.append("of 16 bits cut to 8")
    elif image.mode in ("I", "F"):
        raise UnreadableError(f"pixels of mode {image.mode!r}: expected 8 bits per channel")
    with suppress(Exception):  # broken EXIF is no reason to do without the picture
        if image.getexif().get(_ORIENTATION, 1) in range(2, 9):
            whole.info.update(image.info)
            whole = ImageOps.exif_transpose(whole)
            notes.append("turned as the camera says (EXIF)")
    square = whole.convert(_MODES[channels]).resize((image_size, image_size), Image.Resampling.BILINEAR)
    pixels = np.asarray(square, dtype=np.uint8).reshape(image_size, image_size, channels)
    return pixels.transpose(2, 0, 1), tuple(notes)


def _is_16_bit(image: Image.Image) -> bool:
    low, high = image.getextrema()
    return bool(0 <= low <= high < 1 << 16)  # type: ignore[operator]


# many files, and what was kept of them --------------------------------------------------------------------------------

Decoded = tuple[Pixels, dict[int, str], dict[int, list[str]]]
"""Pixels (black where a picture is bad), what is wrong and what was done, by the place of the file."""


def _kept_or_decoded(files: Files, shape: tuple[int, ...], progress: Progress | None) -> Decoded:
    contents = files.contents()
    key = shelf.key_of(_FORMAT, PIL.__version__, shape[1:], files.names, contents)
    if (found := _load(key, shape)) is not None:
        return found
    if not all(contents):  # what cannot be read now may be later
        return _decoded(files, shape, progress)
    folder = cache_folder() / _KIND / key
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder, _PATIENCE, None if progress is None else functools.partial(progress, 0, len(files))):
            if (found := _load(key, shape)) is not None:  # another process was first
                return found
            made = _decoded(files, shape, progress)
            return _save(key, made)
    except (OSError, OutputError) as error:
        _log.warning("%s: decoded images cannot be kept (%s); they are decoded again next time", folder.parent, error)
        return _decoded(files, shape, progress)


def _decoded(files: Files, shape: tuple[int, ...], progress: Progress | None) -> Decoded:
    """Decodes in threads (Pillow releases the interpreter lock)."""
    _, channels, _, image_size = shape
    pixels = np.empty(shape, dtype=np.uint8)
    bad: dict[int, str] = {}
    notes: dict[int, list[str]] = {}

    def fill(index: int) -> None:
        try:
            pixels[index], of = decode(files.read(index), files.names[index], image_size, channels)
        except UnreadableError as error:
            pixels[index], bad[index] = 0, str(error)
        else:
            if of:
                notes[index] = list(of)

    with _threads() as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of what is told here in other words
        for done, _ in enumerate(pool.map(fill, range(len(files))), start=1):
            if progress is not None:
                progress(done, len(files))
    return pixels, dict(sorted(bad.items())), dict(sorted(notes.items()))


@contextlib.contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=min(_MAX_THREADS, _cores())) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _load(key: str, shape: tuple[int, ...]) -> Decoded | None:
    """What is kept under this key, the pixels mapped copy-on-write; None if nothing is. Removes a damaged file."""
    path = cache_folder() / _KIND / key / "pixels.npy"
    known = shelf.take(_KIND, key)
    if known is None or not path.exists():
        return None
    try:
        stamp = stamp_of(path)
        pixels: Pixels = np.lib.format.open_memmap(path, mode="c")
    except OSError as error:
        _log.warning("%s: cannot be read (%s); the images are decoded again", path, error)
        return None
    except (ValueError, EOFError, SyntaxError, DataError):
        pixels = np.empty(0, dtype=np.uint8)
    if pixels.shape == shape and pixels.dtype == np.uint8:
        if known["stamp"] == stamp:
            return pixels, *_by_place(known)
        if known["sum"] == _checksum(pixels):
            if is_settled(stamp):  # from now on the file is believed while it stays as it is
                shelf.put(_KIND, key, {**known, "stamp": stamp})
            return pixels, *_by_place(known)
    _log.warning("%s: damaged; the images are decoded again", path)
    with suppress(OSError):
        path.unlink()
    return None


def _by_place(known: Mapping[str, Any]) -> tuple[dict[int, str], dict[int, list[str]]]:
    return dict(known["bad"]), dict(known["notes"])


def _save(key: str, made: Decoded) -> Decoded:
    """Keeps what was decoded, and gives it. A failure is logged, not raised."""
    pixels, bad, notes = made
    final = cache_folder() / _KIND / key / "pixels.npy"
    temporary = final.with_suffix(".tmp")  # the folder is held: what lies there is of a process that was killed
    try:
        with temporary.open("wb") as file:
            np.lib.format.write_array(file, pixels, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(final)
        said = [[[i, *rest] for i, *rest in items.items()] for items in (bad, notes)]
        shelf.put(_KIND, key, {"sum": _checksum(pixels), "stamp": "", "bad": said[0], "notes": said[1]})
    except OSError as error:
        _log.warning("%s: decoded images cannot be kept (%s); they are decoded again next time", final.parent, error)
        with suppress(OSError):
            temporary.unlink()
            final.parent.rmdir()
    return made


def _checksum(pixels: Pixels) -> str:
    """CRC-32 of the pixels, 8 hexadecimal digits: finds torn writes and bad disks."""
    return f"{zlib.crc32(pixels.data):08x}"
