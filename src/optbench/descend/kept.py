"""A record on disk that two forms agreed: under which versions, and on which kind of machine.

It can only say yes. A file that is missing, damaged or from elsewhere counts as no, and the forms are compared again.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from optbench.errors import OutputError
from optbench.records import write_bytes

_known: set[Path] = set()


def has_agreed(path: Path) -> bool:
    """Whether the file says that the forms agreed, here and by these versions."""
    if path not in _known:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if path.is_file() and path.read_text(encoding="utf-8") == _circumstances():
                _known.add(path)
    return path in _known


def keep_agreement(path: Path) -> None:
    """Writes the file; where that fails, the next process asks again."""
    _known.add(path)
    with contextlib.suppress(OSError, OutputError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, _circumstances().encode())


def in_use(node: Mapping[str, Any]) -> str:
    """Which options of a configuration node are in use, whatever their numbers: what an optimizer's rule depends on."""

    def use(value: Any) -> Any:
        number = isinstance(value, np.ndarray | float) or (isinstance(value, list) and all(map(np.isscalar, value)))
        values = np.asarray(value) if number else None
        if values is None or values.dtype.kind not in "fi":
            return value
        return ["number", list(values.shape[1:]), bool((values != 0).any()), bool(np.isfinite(values).all())]

    return json.dumps({key: use(value) for key, value in node.items()}, sort_keys=True, default=repr)


@cache
def _circumstances() -> str:
    versions = (f"{name} {importlib.metadata.version(name)}" for name in ("torch", "numpy", "numba"))
    return "\n".join([*versions, platform.machine(), platform.processor(), _sources(), ""])


def _sources() -> str:
    """Checksum of what computes the rules and the optimizers of this package."""
    digest, package = hashlib.sha256(), Path(__file__).parents[1]
    for folder in ("descend", "optimizers"):
        for path in sorted((package / folder).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
