"""Source to machine code, once: numba compiles it and keeps the result on disk beside the source.

The file is named by the hash of its text, so what is loaded is what was traced now; numba's own index refuses code for
another processor or numba version, and checksums refuse what is not as it was written.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import json
import logging
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from optbench import folders
from optbench.errors import OutputError, first_line
from optbench.records import locked, write_bytes

Kernel = Callable[..., None]
LOG = logging.getLogger(__name__)
_PATIENCE = 60.0  # seconds, while another process compiles the same kernel

_loaded: dict[str, Kernel] = {}


def cache_folder() -> Path:
    """Where kernels are kept: kernels/ in the user's cache folder of optbench."""
    return folders.cache_folder() / "kernels"


def kernel_name(source: str) -> str:
    """Name of the module with this source."""
    return "optbench_kernel_" + hashlib.sha256(source.encode()).hexdigest()[:20]


def is_compiled(source: str) -> bool:
    """Whether the kernel is in this process or on disk; another processor's code on disk counts as well."""
    name = kernel_name(source)
    return name in _loaded or any((cache_folder() / name / "__pycache__").glob("*.nbc"))


def load(source: str) -> Kernel:
    """The compiled kernel. Raises NotImplementedError when numba is missing or refuses it."""
    name = kernel_name(source)
    if name not in _loaded:
        try:
            from numba.core.errors import NumbaError
        except ImportError as error:
            raise NotImplementedError("numba is not installed") from error
        try:
            with _scipy_unread():
                _loaded[name] = _kept(name, source).run
        except NumbaError as error:
            raise NotImplementedError(f"numba: {first_line(error)}") from error
    return _loaded[name]


def _kept(name: str, source: str) -> Any:
    """The kernel's module, from the cache or compiled into it; compiled for this process alone where it has no room."""
    try:
        return _Files(cache_folder() / name).module(source)
    except (OSError, OutputError) as error:
        LOG.warning("kernels cannot be kept (%s): compiled for this process alone", error)
    return _module(name, source.replace("    cache=True,\n", ""), f"<{name}>")


class _Files:
    """A kernel's folder in the cache: its source, what numba made of it, and the checksums of both.

    numba trusts its files: a damaged one is an exception in its own words, or machine code that ends the process. So
    nothing is loaded that is not what was written, and what is not is made again.

    Args:
        folder: named as the kernel's module.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source = folder / f"{folder.name}.py"
        self.sums = folder / "checksums.json"

    def module(self, source: str) -> Any:
        """The module, loaded or compiled. Raises OSError or OutputError where the cache cannot be written."""
        with locked(self.folder, wait=_PATIENCE), _numba_folder():
            if not self.sound(source):
                self._begin_again(source, "it is not as it was written")
            try:
                module = _module(self.folder.name, source, str(self.source))
            except Exception as error:
                from_numba = type(error).__module__.startswith("numba")  # it refuses the source, not its own files
                if from_numba or isinstance(error, OSError) or not self.made():
                    raise
                self._begin_again(source, f"{type(error).__name__}: {error}")
                module = _module(self.folder.name, source, str(self.source))
            if not cache_hits(module.run):
                write_bytes(self.sums, json.dumps(self.found()).encode())
        return module

    def made(self) -> list[Path]:
        """The files that numba has made of the source."""
        return sorted((self.folder / "__pycache__").glob("*.nb[ci]"))

    def found(self) -> dict[str, str]:
        """Checksums of the files as they are now."""
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (self.source, *self.made())}

    def sound(self, source: str) -> bool:
        """Whether the files are there, and what was written."""
        try:
            same = self.source.read_bytes() == source.encode()
            return same and bool(json.loads(self.sums.read_bytes()) == self.found())
        except (OSError, ValueError):
            return False

    def _begin_again(self, source: str, why: str) -> None:
        """Removes what is there, which is said where it is more than nothing, and writes the source."""
        if self.made():
            LOG.warning("the kernel in %s is compiled again: %s", self.folder, why)
        for path in (self.sums, self.source, *self.made()):
            path.unlink(missing_ok=True)
        write_bytes(self.source, source.encode())


@contextlib.contextmanager
def _numba_folder() -> Iterator[None]:
    """numba keeps its files beside the source, wherever NUMBA_CACHE_DIR points: they are ours, and so is the check."""
    settings: Any = importlib.import_module("numba.core.config")
    before, settings.CACHE_DIR = settings.CACHE_DIR, ""
    try:
        yield
    finally:
        settings.CACHE_DIR = before


def agreement_of(source: str) -> Path:
    """The file that says that this kernel was held to the eager step, see `kept`."""
    return cache_folder() / kernel_name(source) / "agreed.txt"


@contextlib.contextmanager
def _scipy_unread() -> Iterator[None]:
    """numba asks at its start whether scipy is there by importing its BLAS, a third of the time that loading takes.

    Looking for it answers as well; numba imports it where a function needs it.
    """
    try:
        from numba.np import linalg
    except ImportError:  # moved in another numba: it takes its time
        yield
        return
    asked = linalg.ensure_blas
    if importlib.util.find_spec("scipy") is not None:
        linalg.ensure_blas = lambda: None
    try:
        yield
    finally:
        linalg.ensure_blas = asked


def cache_hits(kernel: Any) -> int:
    """How many of the kernel's signatures came from the disk (0 or 1); it is called from Python, or by its address."""
    return int(kernel.cache_hits) if hasattr(kernel, "address") else sum(kernel.stats.cache_hits.values())


def _module(name: str, source: str, file: str) -> Any:
    """The module with this source: run as text, since Python's own cache of modules is believed unseen as well."""
    module = types.ModuleType(name)
    module.__file__ = file
    sys.modules[name] = module  # numba looks a cached function's module up by name
    exec(compile(source, file, "exec"), module.__dict__)
    return module
