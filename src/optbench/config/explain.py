"""What Hydra, OmegaConf and the YAML reader raise, said in one or two lines."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator

from optbench.catalogue import GROUPS
from optbench.errors import ConfigError
from optbench.settings import did_you_mean


@contextlib.contextmanager
def explained(choices: Callable[[str], list[str]]) -> Iterator[None]:
    """Turns what Hydra, OmegaConf and the YAML reader raise into a ConfigError of one or two lines."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        yield
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        raise explain(error, choices) from error


def explain(error: BaseException, choices: Callable[[str], list[str]]) -> ConfigError:
    """What is wrong, in one line, with a suggestion where there is a close match."""
    from hydra.errors import MissingConfigException, OverrideParseException
    from omegaconf.errors import ConfigAttributeError, ConfigKeyError

    first = str(error).strip().splitlines()[0]
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        options = choices(group)
        if group and options:
            return ConfigError(
                f"'{name}' is no choice for '{group}' (choices: {', '.join(options)})",
                did_you_mean(name, options, f"{group}="),
            )
    if isinstance(error, OverrideParseException):
        return ConfigError(f"cannot read the override '{error.override}': {first}")
    match = re.search(r"Could not override '([^']+)'\.", str(error))
    if match and "No match in the defaults list" in str(error):
        return ConfigError(f"there is no group '{match[1]}'", did_you_mean(match[1], GROUPS, suffix="=...?"))
    cause = error.__cause__ or error
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and cause.full_key:
        return ConfigError(f"no key '{cause.full_key}' ({first})")
    detail = str(cause).strip().splitlines()[0]
    return ConfigError(detail if detail in first or cause is error else f"{first} ({detail})")
