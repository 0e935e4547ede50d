"""Folders of images as lists of files: what is in them and what identifies them, without torch.

The identity of a run is computed before torch is imported, and it depends on the images, so the listing and its
fingerprint live here, in the standard library; decoding is in `images`.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from optbench.errors import DataError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
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
    names = sorted(_walk(folder, "", recursive))
    if not names:
        raise DataError(f"{folder}: no images in this folder (expected files ending in {', '.join(EXTENSIONS)})")
    return [folder / name for name in names]


def _walk(folder: Path, prefix: str, recursive: bool) -> list[str]:
    """Relative POSIX paths of the image files below `folder / prefix`, in no particular order."""
    found: list[str] = []
    try:
        with os.scandir(folder / prefix) as entries:
            for entry in entries:
                name = prefix + entry.name
                if entry.name.startswith("."):
                    continue
                if entry.is_file():
                    if name.lower().endswith(EXTENSIONS):
                        found.append(name)
                elif recursive and entry.is_dir():
                    found += _walk(folder, name + "/", recursive)
    except FileNotFoundError:
        raise DataError(f"{folder / prefix}: no such folder") from None
    except NotADirectoryError:
        raise DataError(f"{folder / prefix}: expected a folder, this is a file") from None
    except OSError as error:
        raise DataError(f"{folder / prefix}: cannot be listed ({error.strerror or error})") from None
    return found


def fingerprint(folder: Path | str) -> str:
    """Hash of the relative names and sizes of all images below a folder: 64 hexadecimal digits.

    Times and the folder's own place are left out, so that a copy of a data set elsewhere has the same fingerprint. File
    contents are not read: an image replaced by another of exactly the same size goes unnoticed.

    Raises:
        DataError: as `image_files`.
    """
    folder = Path(folder)
    digest = hashlib.sha256()
    for file in image_files(folder, recursive=True):
        digest.update(
            f"{file.relative_to(folder).as_posix()}\0{file.stat().st_size}\n".encode(errors="surrogateescape")
        )
    return digest.hexdigest()


def cache_folder() -> Path:
    """Where decoded and generated images are kept: $OPTBENCH_CACHE, else optbench/ in the user's cache folder."""
    named = os.environ.get("OPTBENCH_CACHE")
    if named:
        return Path(named)
    if os.name == "nt" and os.environ.get("LOCALAPPDATA"):
        return Path(os.environ["LOCALAPPDATA"]) / "optbench" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "optbench"
