"""Folders of images as tensors of bytes: every file is decoded once, in threads, and kept.

Decoding a JPEG and resizing it takes a few milliseconds, far longer than reading the 8-bit pixels that come out. So the
pixels of a whole folder go into one .npy file in the cache folder, named by a key (which files, how they are decoded)
and a checksum (what came out), and later runs map that file into memory. The cache is never the only copy of anything:
a file that is missing, torn or altered is made again, and a cache that cannot be written is done without.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import struct
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from optbench.errors import DataError
from optbench.folders import EXTENSIONS, cache_folder, image_files, other_files

Progress = Callable[[int, int], None]
"""Called as progress(done, total) from the calling thread while images are decoded."""

Pixels = NDArray[np.uint8]

_log = logging.getLogger(__name__)

_FORMAT = 1  # part of the cache key: raise it when decoding changes the pixels
_MAX_THREADS = 16
_MAX_SIZE = 2048
_MODES = {1: "L", 3: "RGB"}
# What Pillow and its format readers raise on a broken file.
_UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError)


def check_size(image_size: int, channels: int) -> None:
    """Raises DataError unless images of this size can be made: 1 to 2048 pixels per side, 1 or 3 channels."""
    if isinstance(image_size, bool) or not isinstance(image_size, int) or not 1 <= image_size <= _MAX_SIZE:
        raise DataError(f"image_size={image_size}: expected a whole number from 1 to {_MAX_SIZE}")
    if isinstance(channels, bool) or channels not in _MODES:
        raise DataError(f"channels={channels}: expected 1 (grey) or 3 (RGB)")


def read_folder(
    folder: Path | str,
    image_size: int,
    channels: int = 3,
    *,
    recursive: bool = False,
    progress: Progress | None = None,
) -> tuple[Tensor, tuple[str, ...]]:
    """All images of a folder, resized to squares (bilinear, antialiased, as torchvision's Resize on Pillow images).

    Args:
        folder: where the files are; only image files count (`folders.EXTENSIONS`).
        image_size: side of the squares, in pixels; the aspect ratio is not kept.
        channels: 3 (RGB) or 1 (grey, ITU-R 601-2 luma).
        recursive: whether subfolders are read too.
        progress: told how many files are decoded; not called when the pixels come from the cache.

    Returns:
        uint8 images (n, channels, image_size, image_size), and the n file names relative to `folder` with forward
        slashes, sorted. Writing into the tensor never changes the cache.

    Raises:
        DataError: a missing or empty folder, or a file that is not a readable image (named).
    """
    check_size(image_size, channels)
    folder = Path(folder)
    files = image_files(folder, recursive)
    names = tuple(file.relative_to(folder).as_posix() for file in files)
    _tell_unread(folder, recursive)
    shape = (len(files), channels, image_size, image_size)
    key = _key(folder, files, names, shape)
    pixels = _load(key, shape)
    if pixels is None:
        pixels = _decode_all(files, shape, progress)
        _save(key, pixels)
    return torch.from_numpy(pixels), names


def _tell_unread(folder: Path, recursive: bool) -> None:
    """Names the endings of files that Pillow knows as images and that are not read: a part of the data set, perhaps."""
    Image.init()
    unread = {e: n for e, n in other_files(folder, recursive).items() if e in Image.EXTENSION}
    if unread:
        told = ", ".join(f"{n} {ending}" for ending, n in sorted(unread.items()))
        _log.warning("%s: not read: %s (images end in %s)", folder, told, ", ".join(EXTENSIONS))


def decode(file: Path, image_size: int, channels: int) -> Pixels:
    """Pixels of one file: uint8 (channels, image_size, image_size); DataError naming the file if it is unreadable."""
    try:
        with Image.open(file) as image:
            if image.mode.startswith(("I", "F")):
                raise ValueError(f"pixels of mode {image.mode!r}; expected 8 bits per channel")
            square = image.convert(_MODES[channels]).resize((image_size, image_size), Image.Resampling.BILINEAR)
    except _UNREADABLE as error:
        what = "not an image" if isinstance(error, PIL.UnidentifiedImageError) else str(error)
        raise DataError(f"{file}: cannot be read as an image ({what})", "replace the file or remove it") from None
    pixels = np.asarray(square, dtype=np.uint8).reshape(image_size, image_size, channels)
    return pixels.transpose(2, 0, 1)


def _decode_all(files: Sequence[Path], shape: tuple[int, ...], progress: Progress | None) -> Pixels:
    """Decodes in threads (Pillow releases the interpreter lock); the first unreadable file in order ends it."""
    _, channels, _, image_size = shape
    pixels = np.empty(shape, dtype=np.uint8)

    def fill(index: int) -> None:
        pixels[index] = decode(files[index], image_size, channels)

    with ThreadPoolExecutor(max_workers=min(_MAX_THREADS, _cores())) as pool:
        try:
            for done, _ in enumerate(pool.map(fill, range(len(files))), start=1):
                if progress is not None:
                    progress(done, len(files))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return pixels


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _key(folder: Path, files: Sequence[Path], names: Sequence[str], shape: tuple[int, ...]) -> str:
    """Name of these pixels in the cache: which files, as they are now, and how they are decoded."""
    lines = [f"{_FORMAT} {PIL.__version__} {shape} {folder.resolve()}"]
    for name, file in zip(names, files, strict=True):
        status = file.stat()
        lines.append(f"{name}\0{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}")
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:32]


def _load(key: str, shape: tuple[int, ...]) -> Pixels | None:
    """The pixels kept under this key, mapped copy-on-write; None if there are none. Removes a damaged file."""
    for path in cache_folder().glob(f"images-{key}-*.npy"):
        try:
            pixels: Pixels = np.lib.format.open_memmap(path, mode="c")
        except OSError as error:
            _log.warning("%s: cannot be read (%s); the images are decoded again", path, error)
            continue
        except (ValueError, EOFError, SyntaxError):
            pixels = np.empty(0, dtype=np.uint8)
        if pixels.shape == shape and pixels.dtype == np.uint8 and path.stem.endswith(_checksum(pixels)):
            return pixels
        _log.warning("%s: damaged; the images are decoded again", path)
        with suppress(OSError):
            path.unlink()
    return None


def _save(key: str, pixels: Pixels) -> None:
    """Keeps the pixels: a temporary file beside the final name, then a rename. A failure is logged, not raised."""
    folder = cache_folder()
    final = folder / f"images-{key}-{_checksum(pixels)}.npy"
    temporary = final.with_suffix(f".{secrets.token_hex(8)}.tmp")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            np.lib.format.write_array(file, pixels, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(final)
    except OSError as error:
        _log.warning("%s: decoded images cannot be kept (%s); they are decoded again next time", folder, error)
        with suppress(OSError):
            temporary.unlink()


def _checksum(pixels: Pixels) -> str:
    """CRC-32 of the pixels, 8 hexadecimal digits: finds torn writes and bad disks."""
    return f"{zlib.crc32(pixels.data):08x}"
