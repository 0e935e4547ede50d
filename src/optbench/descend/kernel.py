"""Source to machine code, once: numba compiles it and keeps the result on disk beside the source.

The file is named by the hash of its text, so what is loaded is what was traced now; numba's own index refuses code for
another processor or numba version.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Kernel = Callable[..., None]

_loaded: dict[str, Kernel] = {}


def cache_folder() -> Path:
    """Where kernels are kept: $OPTBENCH_CACHE, else optbench/kernels in the user's cache folder."""
    if given := os.environ.get("OPTBENCH_CACHE"):
        return Path(given) / "kernels"
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "optbench" / "kernels"


def kernel_name(source: str) -> str:
    """Name of the module with this source."""
    return "optbench_kernel_" + hashlib.sha256(source.encode()).hexdigest()[:20]


def is_compiled(source: str) -> bool:
    """Whether the kernel is in this process or on disk; another processor's code on disk counts as well."""
    name = kernel_name(source)
    return name in _loaded or any((cache_folder() / "__pycache__").glob(f"{name}.run-*.nbc"))


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
                _loaded[name] = _import(name, _written(name, source)).run
        except NumbaError as error:
            raise NotImplementedError(f"numba: {str(error).strip().splitlines()[0]}") from error
    return _loaded[name]


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
    """How many of the kernel's signatures came from the disk (0 or 1)."""
    return sum(kernel.stats.cache_hits.values())


def _written(name: str, source: str) -> Path:
    """The file with the source; one that is there stays untouched, since numba compares its time of change."""
    try:
        return _write(cache_folder(), name, source)
    except OSError:  # a read-only home: compile every time
        return _write(Path(tempfile.mkdtemp(prefix="optbench-")), name, source)


def _write(folder: Path, name: str, source: str) -> Path:
    path = folder / f"{name}.py"
    with contextlib.suppress(FileNotFoundError):
        if path.read_text(encoding="utf-8") == source:
            return path
    folder.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder, suffix=".tmp")
    with open(handle, "w", encoding="utf-8") as file:
        file.write(source)
    os.replace(temporary, path)
    return path


def _import(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # numba looks a cached function's module up by name
    spec.loader.exec_module(module)
    return module
