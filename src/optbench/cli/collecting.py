"""Python's collector of cycles, kept from what lasts until the end of the process.

To import torch makes half a million objects that all stay. Every so many new ones the collector walks through them in
search of cycles that nobody needs any more, and once more, twice, when the process ends: a third of what importing
torch costs. None are there to be found, so it is put off while torch is imported, and what is there then is set aside
(`gc.freeze`), as is everything at the end. While a command works the collector works as ever: a cycle may hold a large
tensor.
"""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_LASTING = "torch"


@contextmanager
def uncollected() -> Iterator[None]:
    """In it nothing is collected; what is there at the end is looked at no more."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collects:
            gc.enable()


class _Finder(MetaPathFinder):
    """Finds torch where Python finds it, and has it imported `uncollected`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname == _LASTING else None
        if spec is not None and spec.loader is not None:
            loader: Any = spec.loader
            loader.exec_module = _calmly(loader.exec_module)
        return spec


def _calmly(execute: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
    def executed(module: ModuleType) -> None:
        with uncollected():
            execute(module)

    return executed


def spare() -> None:
    """From now on torch is imported `uncollected`, and nothing is collected at the end of the process."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
        atexit.register(gc.freeze)
