"""Is it a function at all? What a surface's code does besides computing is looked for before anything is proved.

Four things are tried. The same batch is evaluated again, after other points, alone and in other company, with and
without gradients: its values must be the same to the bit. The code is run once under a profile hook, which sees every
built-in function that it calls: clocks, files, the operating system and Python's random numbers are refused.
The three global generators must be where they were. And what the code can keep (attributes, closures, default
arguments, the globals that it names, generators among them) must not change from the second call on; the first may set
something up. What is recorded (`program`) must also be one program for all calls.

Not noticed: what hides in C extensions or in other threads and gives the same values whenever it is asked here; a value
that is the same for hours (the date, read without the functions above); and a cache that returns what was computed.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import random
import sys
from collections.abc import Callable, Iterator
from types import FrameType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optbench.critical.programs.scalar import MissingRule
from optbench.problem import Objective

DEEPEST, MOST = 6, 5000  # of what the code can keep: how deep it is followed, and how many parts are compared
_LIBRARIES = ("torch", "numpy", "builtins", "typing", "optbench")
_CLOCKS = frozenset({"now", "today", "utcnow"})
_PLAIN = (bool, int, float, complex, str, bytes, type(None))


def check_steady(objective: Objective, points: NDArray[np.float64]) -> None:
    """Evaluates the objective again and again at the points (n, d), n >= 2.

    Raises:
        MissingRule: it is not a function of the point alone, as far as can be seen.
    """
    x = torch.from_numpy(np.array(points))
    with torch.no_grad():
        first = _bits(objective(x))  # and what is set up once is set up now
    kept, drawn = dict(_kept(objective)), _generators()
    _watch(objective, x)
    for other in (x.flip(0), x[:1], 0.5 * x + 0.1 * x.mean(), x):
        with torch.no_grad():
            objective(other)
    with torch.no_grad():
        again = _bits(objective(x.clone()))
    free = _bits(objective(x.clone()))
    differentiated = _bits(objective(x.clone().requires_grad_()))
    with torch.no_grad():
        objective(x[:1] + 0.125)  # what remembers its last point now holds another one
    if not first == again == free == differentiated:
        raise MissingRule("a function that has another value when it is asked again")
    if drawn != _generators():
        raise MissingRule("a function that draws random numbers")
    now = dict(_kept(objective))
    changed = [name for name in {**kept, **now} if kept.get(name) != now.get(name)]
    if changed:
        raise MissingRule(f"a function that keeps something between calls ({min(changed, key=len)})")


def _bits(value: Any) -> bytes:
    found = value.detach() if isinstance(value, Tensor) else torch.as_tensor(value, dtype=torch.float64)
    return bytes(found.contiguous().numpy().tobytes())


def _generators() -> tuple[bytes, str, int]:
    """Where the global generators are."""
    state = np.random.get_state(legacy=False)
    return torch.get_rng_state().numpy().tobytes(), str(state), hash(random.getstate())


# what it calls --------------------------------------------------------------------------------------------------------


def _watch(objective: Callable[..., Any], x: Tensor) -> None:
    """One call under a profile hook."""
    seen: list[str] = []

    def note(frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call" and not seen:
            what = _outside(called)
            if what and not _in_library(frame):
                seen.append(what)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        with torch.no_grad():
            objective(x)
    finally:
        sys.setprofile(before)
    if seen:
        raise MissingRule(f"a function that {seen[0]}")


def _outside(called: Any) -> str:
    """What a built-in function asks of the world outside, in words; empty if nothing."""
    name, module = getattr(called, "__name__", ""), getattr(called, "__module__", None) or ""
    owner = getattr(called, "__self__", None)
    if module == "time" or (isinstance(owner, type) and issubclass(owner, datetime.date) and name in _CLOCKS):
        return f"reads the clock ({name})"
    if isinstance(owner, random.Random):
        return f"draws random numbers ({name})"
    if (name == "open" and module in ("_io", "io")) or module in ("posix", "nt", "_socket") or name == "input":
        return f"asks the system or a file ({name})"
    return ""


def _in_library(frame: FrameType | None) -> bool:
    """Whether torch, or the import of a module, is what asks."""
    while frame is not None and frame.f_code is not _watch.__code__:
        name = str(frame.f_globals.get("__name__", ""))
        if name == "torch" or name.startswith(("torch.", "importlib")) or "importlib" in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False


# what it keeps --------------------------------------------------------------------------------------------------------


def _kept(value: Any) -> Iterator[tuple[str, str]]:
    """Everything that the value can keep between calls: where, and what it is now."""
    seen: dict[int, Any] = {}  # with the objects: the id of one that is gone, such as a tuple made here, is given again
    todo = [("f", value, 0)]
    while todo and len(seen) < MOST:
        name, value, depth = todo.pop()
        if isinstance(value, _PLAIN):
            yield name, repr(value)
            continue
        if id(value) in seen or depth > DEEPEST:
            continue
        seen[id(value)] = value
        token = _token(value)
        if token:
            yield name, token
        else:
            todo += [(f"{name}{key}", part, depth + 1) for key, part in _parts(value)]


def _token(value: Any) -> str:
    """What an array or a generator is now; empty for everything else."""
    if isinstance(value, Tensor):
        array = value.detach().cpu().contiguous().view(torch.uint8).numpy() if value.numel() else np.empty(0)
        return hashlib.sha256(array.tobytes()).hexdigest()
    if isinstance(value, np.ndarray):
        return hashlib.sha256(value.tobytes()).hexdigest()
    if isinstance(value, torch.Generator):
        return hashlib.sha256(value.get_state().numpy().tobytes()).hexdigest()
    if isinstance(value, np.random.Generator):
        return str(value.bit_generator.state)
    return str(hash(value.getstate())) if isinstance(value, random.Random) else ""


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield "'s length", len(value)
        yield from ((f"[{key!r}]", part) for key, part in value.items() if isinstance(key, _PLAIN))
    elif isinstance(value, list | tuple | set | frozenset):
        yield "'s length", len(value)
        yield from ((f"[{i}]", part) for i, part in enumerate(value))
    elif isinstance(value, MethodType):
        yield from (("", value.__self__), ("", value.__func__))
    elif isinstance(value, functools.partial):
        yield from (("", value.func), (" arguments", (value.args, value.keywords)))
    elif isinstance(value, FunctionType):
        yield from _parts_of_function(value)
    elif isinstance(value, type):
        if value.__module__.split(".")[0] not in _LIBRARIES:
            yield from ((f".{key}", part) for key, part in vars(value).items() if not key.startswith("__"))
    elif not isinstance(value, ModuleType):
        yield "", type(value)
        yield from ((f".{key}", part) for key, part in getattr(value, "__dict__", {}).items())
        call = getattr(type(value), "__call__", None)  # noqa: B004  the function itself is wanted
        if isinstance(call, FunctionType):
            yield "", call


def _parts_of_function(function: FunctionType) -> Iterator[tuple[str, Any]]:
    names = function.__code__.co_freevars
    for name, cell in zip(names, function.__closure__ or (), strict=True):
        try:
            yield f" {name}", cell.cell_contents
        except ValueError:  # it has no contents yet
            continue
    yield " defaults", (function.__defaults__, function.__kwdefaults__)
    yield " ", dict(vars(function))
    used = function.__code__.co_names
    for name in used:
        part = function.__globals__.get(name)
        if not isinstance(part, ModuleType):
            yield f" {name}", part
        elif part.__name__.split(".")[0] not in _LIBRARIES:
            yield from ((f" {name}.{key}", getattr(part, key, None)) for key in used)
