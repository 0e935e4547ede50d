"""What stands behind the names of a configuration, as part of a run's identity: source text and files of the user's.

`_target_: mine.MyOptimizer` says where the code lies and not what it is. An edited optimizer is another optimizer, and
its run another run. So the source of every target outside this package and outside installed ones counts: its module,
the packages around it, and whatever of the user's own they import, found by reading the text and executing nothing. So
does the content of every file that a setting of model, data or loss names (weights to start from). Targets of this
package and of installed ones are what their versions say, which provenance records: their runs are identified by name.

Imports whose names are made up at run time are not seen, nor are files that code opens by itself.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from optbench.errors import DataError, RunFailure
from optbench.folders import content, fingerprint
from optbench.paths import is_installed

PARTS = ("model", "data", "augment", "collate", "loss", "optimizer", "wrap", "scheduler", "trainer")
"""Parts that may name what is built; the trainer does so with its metrics."""
READERS = ("model", "data", "loss")
"""Parts whose files are what they start from. A file that an optimizer or a schedule names is one that it writes."""
KEY = "sources"
"""Where a configuration holds what `sources` finds: `sources.optimizer` and so on."""

_DIGITS = 12
_PATH = re.compile(r"[/\\]|\.\w{1,8}\Z")
_LOADED: dict[str, str] = {}
"""Hash of the text of own modules when this process first ran them, by file: what it goes on running, edited or not."""


def sources(config: Mapping[str, Any], hash_of: Callable[[Path], str] | None = None) -> dict[str, str]:
    """A hash for each part of a configuration behind whose names stands something of the user's own.

    Args:
        config: the resolved configuration.
        hash_of: of a source file; by default of what is in it now.
    """
    found = {}
    for part in PARTS:
        node = config.get(part) or {}
        files = _files(node, part == "data") if part in READERS else ()
        lines = sorted({*_code(node, hash_of or content), *files})
        if lines:
            found[part] = hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:_DIGITS]
    return found


def with_sources(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The configuration with what `sources` finds, where it finds something: as a run has and identifies it."""
    behind = sources(config)
    return {**config, KEY: behind} if behind else config


def names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Every text that `sources` may look behind: equal for configurations that differ in numbers only."""
    return tuple(text for part in PARTS for text in names_in(config.get(part) or {}, part))


def names_in(node: Mapping[str, Any], part: str) -> tuple[str, ...]:
    """`names` of one part."""
    return tuple(f"{part}.{key}={value}" for key, value in _texts(node))


def targets(config: Mapping[str, Any]) -> list[str]:
    """What the parts of a configuration name as their classes and functions, each once."""
    found = (text for part in PARTS for key, text in _texts(config.get(part) or {}) if key == "_target_")
    return list(dict.fromkeys(found))


def is_own(target: str) -> bool:
    """Whether a target is the user's own, neither of this package nor of an installed one."""
    return next(_modules_of(target), None) is not None or _without_file(target) is not None


def check_loaded(config: Mapping[str, Any]) -> None:
    """Checks, when its parts have been built, that the code which this process runs is that of the identity.

    Raises:
        RunFailure: a module was edited after the run was planned, or after this process first imported it.
    """
    planned = config.get(KEY)
    if not planned:
        return
    found = sources(config, lambda file: _LOADED.setdefault(str(file), content(file)))
    if found != planned:
        parts = ", ".join(part for part in PARTS if found.get(part) != planned.get(part))
        raise RunFailure(
            f"{parts}: its source was edited after this process imported it, or after the run was planned",
            "run the command again; in a notebook, restart the kernel first",
        )


# text ----------------------------------------------------------------------------------------------------------------


def _texts(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield from _texts(value, str(name))
    elif isinstance(node, list):
        for value in node:
            yield from _texts(value, key)
    elif isinstance(node, str):
        yield key, node


def _files(node: Mapping[str, Any], folders: bool) -> Iterator[str]:
    """A line for each file that a setting names; `folders`: and for each folder, where the class is the user's own
    or the setting is called path."""
    own = folders and is_own(str(node.get("_target_") or ""))
    for key, text in _texts(node):
        if key.startswith("_") or key == "root" or not (key == "path" or _PATH.search(text)):
            continue
        with contextlib.suppress(OSError, ValueError, DataError, RuntimeError):  # the last: of a user whom nobody knows
            path = Path(text).expanduser()
            if path.is_file():
                yield f"{key}\0{content(path)}"
            elif path.is_dir() and (own or (folders and key == "path")):
                yield f"{key}\0{fingerprint(path, everything=True)}"


def _code(node: Mapping[str, Any], hash_of: Callable[[Path], str]) -> Iterator[str]:
    """A line for each module that the targets of a part run."""
    for key, target in _texts(node):
        if key != "_target_":
            continue
        if (text := _without_file(target)) is not None:
            yield f"{target}\0{hashlib.sha256(text.encode()).hexdigest()}"
        seen, left = {target}, [target]
        while left:
            for module, file in _modules_of(left.pop()):
                if f"module {module}" in seen:
                    continue
                yield f"{module}\0{hash_of(file)}"
                more = set(_imports(module, file)) - seen
                seen |= {f"module {module}", *more}
                left += more


def _without_file(target: str) -> str | None:
    """The text of a class or function that was typed into a session; None for all that has a file."""
    module, _, name = target.rpartition(".")
    loaded = sys.modules.get(module)
    if loaded is None or getattr(loaded, "__spec__", None) is not None or module != "__main__":
        return None
    try:
        return inspect.getsource(getattr(loaded, name))
    except (AttributeError, OSError, TypeError):
        return None


# modules, found without importing them -------------------------------------------------------------------------------


def _modules_of(dotted: str) -> Iterator[tuple[str, Path]]:
    """The user's own modules that an import of a dotted name runs, with their files: packages first."""
    search: list[str] | None = None
    name = ""
    for part in dotted.split("."):
        name = f"{name}.{part}" if name else part
        spec = _spec(name, search)
        if spec is None:
            return
        if spec.has_location:  # others are built in, or folders without an __init__.py
            if is_installed(Path(str(spec.origin))):
                return
            yield name, Path(str(spec.origin))
        search = list(spec.submodule_search_locations or ())  # nothing is found in none: the rest are names in a module


def _spec(name: str, search: list[str] | None) -> ModuleSpec | None:
    try:
        if search is None:  # of a name without a dot, which imports nothing
            return importlib.util.find_spec(name)
        return PathFinder.find_spec(name, search)
    except KeyError:  # a folder without __init__.py within another one: it would look at that one as imported
        spec, last = ModuleSpec(name, None, is_package=True), name.rpartition(".")[2]
        spec.submodule_search_locations = [str(at) for place in search or () if (at := Path(place, last)).is_dir()]
        return spec
    except (ImportError, ValueError, AttributeError):
        return None


def _imports(module: str, file: Path) -> list[str]:
    """The dotted names that a module imports, as far as its text says."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return []  # a binary; or what will fail when it is imported, in its own words
    package = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            found += [start, *(f"{start}.{alias.name}" for alias in node.names)] if start else []
    return found
