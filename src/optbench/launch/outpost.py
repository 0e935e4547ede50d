"""What a Ray node is given by value: it may have no optbench, or another one, and is to say so in a word.

The standard library alone is imported here, so that these lines can be unpickled wherever Ray runs. A node that has
what the driver has unpickles the errand (`launch.errand`) and carries it out; any other answers why it is not fit.
"""

from __future__ import annotations

import hashlib
import importlib.util
import pickle
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("optbench", "torch", "torchvision")
SOURCE = "source"
_FIT: set[str] = set()
"""What this process was found to be fit for."""


class Board:
    """What tasks tell the driver, and whether the user wants to stop. Lives in a Ray actor."""

    def __init__(self) -> None:
        self._news: list[tuple[str, tuple[Any, ...]]] = []
        self._stop = False

    def tell(self, run_id: str, message: tuple[Any, ...]) -> None:
        self._news.append((run_id, message))

    def take(self) -> list[tuple[str, tuple[Any, ...]]]:
        """The news since the last call."""
        news, self._news = self._news, []
        return news

    def ask_to_stop(self) -> None:
        self._stop = True

    def stopping(self) -> bool:
        return self._stop


def facts() -> dict[str, str]:
    """What decides numbers, and must be the same here and there: versions, and a hash of optbench's own source."""
    found = {"Python": ".".join(platform.python_version_tuple()[:2])}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name).partition("+")[0]  # a build for GPUs beside one for CPUs is welcome
        except metadata.PackageNotFoundError:
            found[name] = ""
    spec = importlib.util.find_spec("optbench")
    if spec is None or spec.origin is None:
        return found | {SOURCE: ""}
    digest, folder = hashlib.sha256(), Path(spec.origin).parent
    for file in sorted(folder.rglob("*.py")):
        digest.update(f"{file.relative_to(folder).as_posix()}\0".encode() + file.read_bytes() + b"\0")
    return found | {SOURCE: digest.hexdigest()}


def unfit(wanted: dict[str, str]) -> str | None:
    """Why this machine cannot do what one with those facts can; None where it can."""
    if repr(wanted) in _FIT:
        return None
    here = facts()
    if not here[SOURCE]:
        return f"it has no optbench (optbench {wanted['optbench']} is wanted)"
    for name in ("Python", *PACKAGES):
        if here[name] != wanted[name]:
            return f"it has {name} {here[name]}, here is {wanted[name]}" if here[name] else f"it has no {name}"
    if here[SOURCE] != wanted[SOURCE]:
        return f"its optbench {here['optbench']} has another source than the one here"
    try:
        import torch  # noqa: F401
    except Exception as error:
        return f"torch cannot be imported there ({_in_a_line(error)})"
    _FIT.add(repr(wanted))
    return None


def begin(path: list[str], wanted: dict[str, str], errand: bytes, board: Any, parcel: Any) -> tuple[Any, Any]:
    """What a Ray worker does with a task.

    Args:
        path: the driver's sys.path, made a part of the one there.
        wanted: see `unfit`.
        errand: pickled; called with the place, the board and the parcel.
        board: handle of the Board.
        parcel: files that travel with the task, by name; or None.

    Returns:
        The place, as node id, address and host, and what the errand answers; {"unfit": why} where it could not begin.
    """
    import ray

    place = (ray.get_runtime_context().get_node_id(), _address(ray), platform.node())
    sys.path.extend(p for p in path if p not in sys.path)
    if (why := unfit(wanted)) is not None:
        return place, {"unfit": why}
    try:
        carry_out = pickle.loads(errand)
    except Exception as error:
        return place, {"unfit": f"a run cannot be read there ({_in_a_line(error)})"}
    return place, carry_out(place, board, parcel)


def _address(ray: Any) -> str:
    return str(ray.util.get_node_ip_address())


def _in_a_line(error: Exception) -> str:
    first = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {first[0]}"
