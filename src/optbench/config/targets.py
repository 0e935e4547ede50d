"""Targets that are the user's own: checked before anything is imported, and explained in plain words where they fail.

A conf folder of one's own may hold code beside its YAML: `mine/optimizer/mylion.yaml` names `mylion.MyLion`, which is
in `mine/mylion.py`. `paths.importable` puts such folders on the module path. Two mistakes are then named in a line
before torch is imported: a module that is not there, or is no Python, and one that another of the same name hides. What
a module does when it is imported is seen when the target is built.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from optbench.errors import ConfigError
from optbench.paths import is_installed


def targets_in(node: Any) -> Iterator[str]:
    """Every `_target_` of a node of a configuration, nested ones included."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "_target_" and isinstance(value, str):
                yield value
            else:
                yield from targets_in(value)
    elif isinstance(node, list):
        for value in node:
            yield from targets_in(value)


def check_found(target: str, where: str, config_dirs: Sequence[Path], extra: str = "") -> None:
    """Checks that the module of a target is there, readable and not hidden; imports nothing.

    Args:
        target: a dotted name.
        where: what asks for it, e.g. optimizer=mylion.
        config_dirs: the user's conf folders; of two that hold such a module, the later one wins.
        extra: that brings the module; "": none.

    Raises:
        ConfigError: naming the module and the file, or how to install it.
    """
    top = target.partition(".")[0]
    beside = [file for folder in config_dirs if (file := _module_file(folder.resolve(), top)) is not None]
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):  # half-imported, or made up: what it is shows when it is built
        return
    if spec is None and extra:
        raise ConfigError(f"{where} needs the package of {target}", f"pip install 'optbench[{extra}]'")
    if spec is None:
        place = str(config_dirs[-1]) if config_dirs else "a conf folder of yours and give that with --config-dir"
        hint = f"put {top}.py into {place}, or where Python finds it"
        raise ConfigError(f"{where} is built by {target}, and there is no module '{top}'", hint)
    if not beside:
        return
    origin = Path(spec.origin).resolve() if spec.has_location and spec.origin else None
    if origin != beside[-1].resolve():
        other = spec.origin or "a module of the same name"
        raise ConfigError(f"{where} is built by {target}, and {beside[-1]} is hidden by {other}",
                          "give the file another name")  # fmt: skip
    try:
        ast.parse(beside[-1].read_bytes())
    except SyntaxError as error:
        raise ConfigError(f"{where}: {beside[-1]}, line {error.lineno}: not Python ({error.msg})") from None
    except ValueError as error:
        raise ConfigError(f"{where}: {beside[-1]}: not Python ({error})") from None


def check_package(where: str, package: tuple[str, str] | None) -> None:
    """Checks that a package is installed; imports nothing.

    Args:
        where: what asks for it, e.g. data=hf.
        package: its name, and the extra that brings it; None: nothing is asked for.

    Raises:
        ConfigError: it is not, with how to install it.
    """
    if package is not None and importlib.util.find_spec(package[0]) is None:
        raise ConfigError(f"{where} needs the package {package[0]}", f"pip install 'optbench[{package[1]}]'")


def _module_file(folder: Path, name: str) -> Path | None:
    found = (folder / f"{name}.py", folder / name / "__init__.py")
    return next((file for file in found if file.is_file()), None)


def import_failure(node: Mapping[str, Any]) -> ConfigError | None:
    """Why a target of a node cannot be imported, in a line; None where all can."""
    for target in targets_in(node):
        module, _, name = target.rpartition(".")
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
                continue  # a class within a class, or what Hydra says of it
            return _failed(target, error)
        except Exception as error:  # a module is anyone's code
            return _failed(target, error)
        if not hasattr(found, name):
            file = getattr(found, "__file__", None) or module
            return ConfigError(f"{target}: there is no '{name}' in {file}")
    return None


def _failed(target: str, error: Exception) -> ConfigError:
    """The error, with the place in the user's own file that it comes from."""
    tried = traceback.extract_tb(error.__traceback__)
    frames = [f for f in tried if Path(f.filename).is_file() and not is_installed(Path(f.filename))]
    place = f" in {frames[-1].filename}, line {frames[-1].lineno}" if frames else ""
    if isinstance(error, SyntaxError):
        place = f" in {error.filename}, line {error.lineno}"
    first = (str(error.msg if isinstance(error, SyntaxError) else error).strip().splitlines() or [""])[0]
    return ConfigError(f"{target} cannot be imported: {type(error).__name__}: {first}{place}")
