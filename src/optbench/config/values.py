"""Setting one value on a composed configuration, held to the type of the value that it replaces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optbench.catalogue import GROUPS
from optbench.errors import ConfigError
from optbench.settings import did_you_mean

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig


def set_value(config: DictConfig, override: Override) -> None:
    """Sets one value on a composed configuration, held to the type of the value that it replaces."""
    from omegaconf import DictConfig, OmegaConf

    key, value = override.key_or_group, override.value()
    head, _, last = key.rpartition(".")
    node = OmegaConf.select(config, head) if head else config
    if not isinstance(node, DictConfig) or last not in node:
        known = [k for k in node if k != "hydra"] if isinstance(node, DictConfig) else []
        where = f"'{head}'" if head else "the configuration"
        listed = f" (keys: {', '.join(str(k) for k in known if not str(k).startswith('_'))})" if known else ""
        groups = [g for g in GROUPS if not head]
        near = did_you_mean(last, {*map(str, known), *groups}, f"{head}." if head else "")
        raise ConfigError(f"{where} has no key '{last}'{listed}", near)
    old = None if OmegaConf.is_interpolation(node, last) else node[last]
    old = OmegaConf.to_container(old) if OmegaConf.is_config(old) else old
    if isinstance(old, dict) and not isinstance(value, dict):
        raise ConfigError(
            f"{key}={value}: '{key}' is a node with keys {', '.join(map(str, old))}",
            f"set one of them, e.g. {key}.{next(iter(old), '...')}=...",
        )
    typed = node._metadata.ref_type is not None and OmegaConf.get_type(node) not in (dict, None)
    OmegaConf.update(config, key, value if typed else _like(key, old, value), merge=not isinstance(value, list))


def _like(key: str, old: Any, new: Any) -> Any:
    """The new value as the type of the old one; null and interpolations fit everywhere. Raises ConfigError."""
    if old is None or new is None or (isinstance(new, str) and "${" in new):
        return new
    if isinstance(old, bool) or isinstance(new, bool):
        fits = isinstance(old, bool) and isinstance(new, bool)
    elif isinstance(old, float):
        fits = isinstance(new, int | float)
        new = float(new) if fits else new
    elif isinstance(old, int):
        fits = isinstance(new, int)
    elif isinstance(old, list):
        fits = isinstance(new, list)
        new = [_like(f"{key}[{i}]", old[0] if old else None, v) for i, v in enumerate(new)] if fits else new
    else:
        fits = isinstance(new, type(old))
    if not fits:
        words = {bool: "true or false", float: "a number", int: "a whole number", list: "a list", str: "a text"}
        raise ConfigError(f"{key}={new}: expected {words.get(type(old), type(old).__name__)}, such as {old}")
    return new
