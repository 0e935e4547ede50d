"""What Hydra, OmegaConf and the YAML reader raise, explained in one or two lines."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence

from optbench.catalogue import GROUPS, METRIC
from optbench.config.literal import corrected
from optbench.errors import ConfigError, OptbenchError
from optbench.settings import did_you_mean

_MANY = 80
"""So many choices a message names."""


@contextlib.contextmanager
def explained(choices: Callable[[str], list[str]]) -> Iterator[None]:
    """Context manager that turns what is raised inside it into a ConfigError of one or two lines.

    Within it only Hydra, OmegaConf and the YAML reader work on what the user wrote; besides their own errors they let
    ValueError, TypeError, AttributeError, RecursionError and OSError through.
    """
    try:
        yield
    except OptbenchError:
        raise
    except Exception as error:
        raise explain(error, choices) from error


def no_choice(group: str, name: str, options: Sequence[str]) -> ConfigError:
    """There is no such name in the group, or in a folder of it (`optimizer/zoo`)."""
    root, slash, folder = group.partition("/")
    if slash and root in GROUPS:
        group, name, options = root, f"{folder}/{name}", [f"{folder}/{option}" for option in options]
    there = ", ".join(options) if len(options) <= _MANY else f"{len(options)}, see optbench list --help"
    message = f"'{name}' is not a choice for '{group}' (choices: {there})"
    return ConfigError(message, did_you_mean(name, options, f"{group}="))


def unreadable(text: str, detail: str = "") -> ConfigError:
    """The text is not an override."""
    shown = " ".join(text.split())
    hint = "overrides are written key=value, e.g. optimizer=adam or optimizer.lr=1e-3; quote values with odd characters"
    if (right := corrected(text)) is not None:
        hint = f"overrides are written key=value; a text with odd characters is quoted, also for the shell: {right}"
    return ConfigError(f"cannot read the override '{shown}'{detail}", hint)


def explain(error: BaseException, choices: Callable[[str], list[str]]) -> ConfigError:
    """What is wrong, in one line, with a suggestion where there is a close match."""
    from hydra.errors import MissingConfigException, OverrideParseException
    from omegaconf.errors import ConfigAttributeError, ConfigKeyError, InterpolationResolutionError
    from yaml import MarkedYAMLError

    first = _first_line(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        if group and (options := choices(group)):
            return no_choice(group, name, options)
    if isinstance(error, OverrideParseException):
        says_nothing = first.startswith(("Error parsing override", "LexerNoViableAlt"))
        return unreadable(error.override, "" if says_nothing else f": {first}")
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return ConfigError(f"{mark.name}, line {mark.line + 1}: not YAML ({error.problem})")
    match = re.search(r"Could not override '([^']+)'\.", str(error))
    if match and match[1] == METRIC:
        return ConfigError("metrics are a setting of the trainer", "trainer.metrics=[accuracy,macro_f1]")
    if match and "No match in the defaults list" in str(error):
        return ConfigError(f"there is no group '{match[1]}'", did_you_mean(match[1], GROUPS, suffix="=...?"))
    if match := re.search(r"In '(\w+)/([^']+)'.* Key '([^']+)' not in 'SurfaceTrainer'", first):
        group, name, key = match.groups()
        return ConfigError(f"{group}={name} sets trainer.{key}, which is for networks, and the model is a surface",
                           "choose a network, such as model=mlp data=digits")  # fmt: skip
    cause = error.__cause__ or error
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and cause.full_key:
        return ConfigError(f"no key '{cause.full_key}' ({first})")
    if match := re.match(r"Interpolation key '(data\.\w+)' not found", first):
        hint = "choose data that have it, such as data=digits, or another model: mlp takes any numbers"
        return ConfigError(
            f"{getattr(cause, 'full_key', None) or 'the model'} is {match[1]}, and the data have none", hint
        )
    if isinstance(cause, InterpolationResolutionError):
        return ConfigError(
            f"{cause.full_key}: {first}", "${...} refers to another setting; rename a folder with it in its name"
        )
    detail = _first_line(cause)
    key = getattr(cause, "full_key", None)
    if key and key not in first:
        return ConfigError(f"{key}: {first}")
    return ConfigError(detail if detail in first or cause is error else f"{first} ({detail})")


def _first_line(error: BaseException) -> str:
    first, *rest = (str(error).strip() or type(error).__name__).splitlines()
    return f"{first} {rest[0].strip()}" if first.endswith(":") and rest else first
