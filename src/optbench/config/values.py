"""Setting one value on a composed configuration, checked against the type of the value that it replaces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optbench.catalogue import GROUPS, having
from optbench.config.groups import FLOATS
from optbench.errors import ConfigError
from optbench.settings import RANGES, did_you_mean, shown

if TYPE_CHECKING:
    from omegaconf import DictConfig

_MOVED = {
    "data.augment": (
        "is no longer a key",
        "augmentation is a group of its own: augment=flip_crop, augment=none (optbench list augment)",
    ),
    "data.collate": (
        "is no key",
        "a collate is of a group of its own: collate=pad, collate=stack (optbench list collate)",
    ),
}
"""Keys that are looked for where they are not: what is said of them, and what has their place."""
_SHARE_OR_COUNT = ("scheduler.warmup_steps",)
_WORDS = {bool: "true or false", float: "a number", int: "a whole number", list: "a list", str: "a text"}


def set_value(config: DictConfig, key: str, value: Any) -> None:
    """Sets one value on a composed configuration, checked against the type of the value that it replaces."""
    from omegaconf import OmegaConf
    from omegaconf.errors import ValidationError

    node, last = _parent(config, key)
    if _is_missing(value):
        raise no_value(key)
    if OmegaConf.is_interpolation(node, last):
        old, value = None, _as_float(value) if isinstance(_resolved(node, last), float) else value
    elif OmegaConf.is_missing(node, last):
        old = None
    else:
        old = OmegaConf.to_container(node[last]) if OmegaConf.is_config(node[last]) else node[last]
    if isinstance(old, dict) and not isinstance(value, dict):
        raise ConfigError(
            f"{key}={shown(value)}: '{key}' is a node with keys {', '.join(map(str, old))}",
            f"set one of them, e.g. {key}.{next(iter(old), '...')}=...",
        )
    typed = node._metadata.ref_type is not None and OmegaConf.get_type(node) not in (dict, None)
    leaf: Any = node._get_node(last)
    if typed and leaf._metadata.ref_type is bool and not isinstance(value, bool):
        raise ConfigError(f"{key}={shown(value)}: expected true or false")  # OmegaConf takes any number for one
    try:
        OmegaConf.update(config, key, value if typed else _like(key, old, value), merge=not isinstance(value, list))
    except ValidationError:
        expected = _WORDS.get(leaf._metadata.ref_type, "another type")
        raise ConfigError(f"{key}={shown(value)}: expected {expected}") from None


def no_value(key: str) -> ConfigError:
    """The key is there and nothing is set: OmegaConf writes ???."""
    return ConfigError(f"{key} has no value", f"set it: {key}=...")


def _is_missing(value: Any) -> bool:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value == "???" or any(map(_is_missing, inside))


def _resolved(node: DictConfig, name: str) -> Any:
    from omegaconf.errors import InterpolationResolutionError

    try:
        return node[name]
    except InterpolationResolutionError:
        return None


def _as_float(value: Any) -> Any:
    """1 as 1.0, so that optimizer.lr=1 and optimizer.lr=1.0 are the same run; other values stay as they are."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _parent(config: DictConfig, key: str) -> tuple[Any, Any]:
    """The node that holds `key`, and the key's last name (in a list its place).

    Raises:
        ConfigError: at the first name that is not there.
    """
    from omegaconf import DictConfig, ListConfig, OmegaConf

    node: Any = config
    *heads, last = key.split(".")
    for depth, name in enumerate([*heads, last]):
        head = ".".join(heads[:depth])
        if isinstance(node, ListConfig) and name.isdecimal():
            if int(name) >= len(node):
                raise ConfigError(f"'{key}': '{head}' has {len(node)} entries, counted from 0")
            node = node._get_node(int(name)) if depth < len(heads) else node
            continue
        if not isinstance(node, DictConfig):
            raise ConfigError(f"'{head}' is a value and has no keys", f"set it: {head}=...")
        if name not in node and not OmegaConf.is_missing(node, name):  # `in` leaves out what is ???
            known = [str(k) for k in node if str(k) != "hydra" and not str(k).startswith("_")]
            where, prefix = (f"'{head}'", f"{head}.") if head else ("the configuration", "")
            if (moved := _MOVED.get(".".join([*heads[:depth], name]))) is not None:
                raise ConfigError(f"'{key}' {moved[0]}", moved[1])
            if head == "wrap":
                raise ConfigError(f"'{key}': '{name}' is not around the optimizer", f"choose it: wrap={name}")
            near = did_you_mean(name, {*known, *(() if head else GROUPS)}, prefix) or _elsewhere(head, name)
            raise ConfigError(f"{where} has no key '{name}'" + (f" (keys: {', '.join(known)})" if known else ""), near)
        if depth < len(heads):
            node = node._get_node(name)  # not node[name]: an interpolation is a value, whatever it stands for
    return node, int(last) if isinstance(node, ListConfig) else last


def _elsewhere(group: str, key: str) -> str:
    """Which other choices of a group have a key, as a hint; the trainer is not chosen, it follows from the model."""
    others = [] if group == "trainer" else having(group, key)
    return f"{group}={', '.join(others)} {'has' if len(others) == 1 else 'have'} it" if others else ""


def _like(key: str, old: Any, new: Any) -> Any:
    """The new value as the type of the old one; null and interpolations fit everywhere. Raises ConfigError."""
    if old is None or new is None or (isinstance(new, str) and "${" in new):
        return new
    if key in _SHARE_OR_COUNT and all(isinstance(v, int | float) and not isinstance(v, bool) for v in (old, new)):
        return new  # 1 is not 1.0
    if key.startswith("optimizer.groups.") and key.rpartition(".")[2] in FLOATS:
        old = _as_float(old)
    if isinstance(new, float) and key in RANGES and RANGES[key][0](new):
        old = _as_float(old)  # a rate that stands as 1 in a file is no whole number
    if isinstance(old, bool) or isinstance(new, bool):
        fits = isinstance(old, bool) and isinstance(new, bool)
    elif isinstance(old, float):
        fits, new = isinstance(new, int | float), _as_float(new)
    elif isinstance(old, int):
        fits = isinstance(new, int)
    elif isinstance(old, list):
        fits = isinstance(new, list)
        new = [_like(f"{key}[{i}]", old[0] if old else None, v) for i, v in enumerate(new)] if fits else new
    else:
        fits = isinstance(new, type(old))
    if not fits:
        raise ConfigError(f"{key}={shown(new)}: expected {_WORDS.get(type(old), 'another type')}, such as {shown(old)}")
    return new
