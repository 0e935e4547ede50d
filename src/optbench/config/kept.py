"""Compositions kept from one process to the next, so that a known command does not wait for Hydra.

A composition is a function of the overrides, the YAML files, Hydra, OmegaConf and the code that checks what they make;
all of that is in its key, the files with their contents. What depends on anything else (the environment, the clock, the
working folder) is not kept: a text that asks a resolver which is not known to be pure, or Hydra's own node.

A process reads a file of the tree once, and again where its time, size or inode is another; one that was written a
moment ago it reads each time, since within a tick of the clock it may change and keep them.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from optbench import shelf
from optbench.paths import conf_folder

_MOST_ENTRIES = 5000
"""Files and folders below a --config-dir beyond which nothing is kept: it is no folder of configurations alone."""
_PURE = frozenset({"by_problem", "oc.select"})
_RESOLVER = re.compile(r"\$\{([^{}:,]*)[:{]")
_HYDRA = re.compile(r"\$\{\s*hydra\b")


def is_pure(texts: Iterable[str]) -> bool:
    """Whether texts in OmegaConf's language depend on themselves alone."""
    return not any(
        _HYDRA.search(text) or any(name.strip() not in _PURE for name in _RESOLVER.findall(text)) for text in texts
    )


class Kept:
    """The shelf of compositions over one conf tree.

    Args:
        config_dirs: folders laid over conf/.
    """

    def __init__(self, config_dirs: Sequence[Path]) -> None:
        self._dirs = tuple(config_dirs)
        self._base: str | None = None
        self._known = self._left = False

    @property
    def tree(self) -> str | None:
        """A key of all that every composition is made of; None where that cannot be told."""
        if not self._known:
            self._base, self._known = self._tree(), True
        return self._base

    def take(self, kind: str, overrides: Sequence[str], *more: object) -> Any:
        """What was kept for these overrides; None where nothing was."""
        key = self._key(kind, overrides, more)
        return None if key is None else shelf.take("composed", key)

    def leave(self) -> None:
        """Keeps nothing from now on: what is composed hangs on more than these files."""
        self._left = True

    def put(self, kind: str, overrides: Sequence[str], *more: object, value: Any) -> None:
        """Keeps plain data for these overrides."""
        key = None if self._left else self._key(kind, overrides, more)
        if key is not None:
            shelf.put("composed", key, value)

    def _key(self, kind: str, overrides: Sequence[str], more: Sequence[object]) -> str | None:
        if self.tree is None or not is_pure(overrides):
            return None
        return shelf.key_of(self.tree, kind, tuple(overrides), *more)

    def _tree(self) -> str | None:
        try:
            files = [file for folder in (conf_folder(), *self._dirs) for file in _yaml_files(folder.resolve())]
            texts = {file: _text(file) for file in files}
            if not all(text.is_pure for text in texts.values()):
                return None
            code = shelf.sum_of_sources("config", "settings", "catalogue", "paths", "shelf")
        except (OSError, ValueError):  # what is wrong with a folder Hydra says
            return None
        made_by = shelf.versions("hydra-core", "omegaconf")
        sums = [(file, text.sum) for file, text in texts.items()]
        return shelf.key_of([str(folder.resolve()) for folder in self._dirs], sums, code, made_by)


class _Text(NamedTuple):
    """What is in a file: a hash, and whether it depends on itself alone."""

    sum: str
    is_pure: bool


_SETTLED_NS = 2 * 10**9
_texts: dict[str, tuple[tuple[int, ...], _Text]] = {}
"""By file, with its stamp: what this process has read."""


def _text(file: str) -> _Text:
    """What is in a file. Raises OSError."""
    found = os.stat(file)
    stamp = found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
    if (known := _texts.get(file)) is not None and known[0] == stamp:
        return known[1]
    data = Path(file).read_bytes()
    text = _Text(hashlib.sha256(data).hexdigest(), is_pure([data.decode(errors="replace")]))
    if max(stamp[:2]) < time.time_ns() - _SETTLED_NS:
        _texts[file] = stamp, text
    return text


def _yaml_files(folder: Path) -> list[str]:
    """The YAML files below a folder, in order. Raises OSError where there is none, ValueError for too many entries."""
    if not folder.is_dir():
        raise NotADirectoryError(folder)
    found: list[str] = []
    seen = 0
    for place, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        seen += len(folders) + len(names)
        if seen > _MOST_ENTRIES:
            raise ValueError(f"{folder}: too many entries")
        found += [os.path.join(place, name) for name in sorted(names) if name.endswith((".yaml", ".yml"))]
    return found
