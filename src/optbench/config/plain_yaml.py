"""YAML that Hydra does not compose, read as it is where Hydra does.

YAML 1.1, which PyYAML reads, has it that `1e-3` is a text and only `1.0e-3` a number. OmegaConf, which reads what Hydra
composes, takes both for the number; and so do these, so that a value means the same in every file of a conf folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from optbench.errors import ConfigError


def value_of(text: str) -> Any:
    """What a line of YAML is, as plain data. Raises ValueError for what is none."""
    from omegaconf import OmegaConf  # not every command has a use for it
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        return OmegaConf.to_object(OmegaConf.from_dotlist([f"value={text}"]))["value"]  # type: ignore[index, call-overload]
    except (YAMLError, OmegaConfBaseException) as error:
        raise ValueError(str(error)) from error


def read_yaml(file: Path) -> Any:
    """What a file holds, a mapping or a list, as plain data; references `${...}` as they are written.

    Raises:
        ConfigError: it is no YAML, or holds neither.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        return OmegaConf.to_container(OmegaConf.load(file))
    except (YAMLError, OmegaConfBaseException, ValueError, OSError) as error:
        raise ConfigError(f"{file}: not YAML ({' '.join(str(error).split())})") from error
