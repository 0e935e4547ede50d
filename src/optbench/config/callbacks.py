"""`--callback NAME[:KEY=VALUE,...]` to configuration nodes: conf/callback/NAME.yaml with some values of its own.

A callback is no part of a run, so that it is an option of a command and not of the composition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optbench.catalogue import CALLBACK, catalogue
from optbench.config.build import build
from optbench.config.plain_yaml import read_yaml, value_of
from optbench.config.targets import check_found
from optbench.errors import ConfigError
from optbench.paths import conf_folder, importable
from optbench.settings import did_you_mean


@dataclass(frozen=True)
class Callbacks:
    """The callbacks of a command.

    Attributes:
        nodes: name and configuration node of each; plain data, which every worker builds its own from.
        need_module: whether one of them looks into the module.
    """

    nodes: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    need_module: bool = False

    def __bool__(self) -> bool:
        return bool(self.nodes)


NONE = Callbacks()


def parse_callbacks(texts: Sequence[str], config_dirs: Sequence[Path] = ()) -> Callbacks:
    """What `--callback` names, each built once to see that it can be.

    Args:
        texts: as typed.
        config_dirs: the user's conf folders; of two that have such a file, the later one wins.

    Raises:
        ConfigError: there is no such callback, it has no such setting, or it cannot be built.
        UserError: what it writes with is not installed.
    """
    if not texts:
        return NONE
    importable(config_dirs)
    nodes = tuple(_node(text, config_dirs) for text in texts)
    names = [name for name, _ in nodes]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"--callback {twice[0]} stands twice", "give it a YAML of another name")
    made = [build(node, f"callback {name}") for name, node in nodes]
    for (name, _), one in zip(nodes, made, strict=True):
        if missing := [method for method in ("begin", "row", "end") if not callable(getattr(one, method, None))]:
            raise ConfigError(f"callback {name} has no {missing[0]}()", "derive it from optbench.Callback")
    return Callbacks(nodes, any(getattr(one, "needs_module", False) for one in made))


def _node(text: str, config_dirs: Sequence[Path]) -> tuple[str, dict[str, Any]]:
    name, _, settings = text.partition(":")
    files = [folder / CALLBACK / f"{name}.yaml" for folder in (conf_folder(), *config_dirs)]
    found = [file for file in files if file.is_file()]
    if not found:
        names = [entry.name for entry in catalogue(CALLBACK, config_dirs)]
        hint = did_you_mean(name, names) or f"there are {', '.join(names)}, and yours in a --config-dir"
        raise ConfigError(f"there is no callback '{name}'", hint)
    node = read_yaml(found[-1])
    if not isinstance(node, dict) or not isinstance(node.get("_target_"), str):
        raise ConfigError(f"{found[-1]}: has no _target_", "a callback's YAML names there what is built")
    check_found(node["_target_"], f"callback {name}", config_dirs)
    for setting in filter(None, settings.split(",")):
        key, equals, value = setting.partition("=")
        if not equals or key not in node or key.startswith("_"):
            known = [one for one in node if not one.startswith("_")]
            hint = did_you_mean(key, known) or f"settings: {', '.join(known) or 'none'}"
            raise ConfigError(f"--callback {text}: '{setting}' sets nothing of {name}", hint)
        try:
            node[key] = value_of(value)
        except ValueError:
            raise ConfigError(f"--callback {text}: '{value}' is no value that YAML reads", "quote it") from None
    return name, node
