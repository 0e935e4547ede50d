"""A configuration to objects, and what a recorded one may name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optbench.config.keywords import check_keywords, with_tensors
from optbench.config.targets import import_failure
from optbench.errors import ConfigError, OptbenchError, RecordError
from optbench.paths import conf_folder, importable
from optbench.settings import check_schedule

if TYPE_CHECKING:
    from torch import nn


def trusted_targets(config_dirs: Sequence[Path] = ()) -> frozenset[str]:
    """Every `_target_` that the packaged conf/ and the user's folders name; the code in those can then be imported."""
    importable(config_dirs)
    pattern = re.compile(r"^\s*(?:-\s+)*_target_:\s*['\"]?([\w.]+)['\"]?\s*(?:#.*)?$", re.MULTILINE)
    files = (f for folder in (conf_folder(), *config_dirs) for f in folder.rglob("*.yaml"))
    return frozenset(name for f in files for name in pattern.findall(f.read_text(encoding="utf-8")))


def check_targets(node: Any, trusted: frozenset[str], where: str = "") -> None:
    """Raises RecordError if a recorded node names a `_target_` outside the trusted ones, or another Hydra directive."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "_target_" and value is not None and not (isinstance(value, str) and value in trusted):
                raise RecordError(
                    f"{where}_target_: {value} is named by no trusted config, so it is not built",
                    "if you trust it, give the folder whose YAML names it with --config-dir",
                )
            if str(key).startswith("_") and key not in ("_target_", "_partial_"):
                raise RecordError(f"{where}{key} is not allowed in a record")
            check_targets(value, trusted, f"{where}{key}.")
    elif isinstance(node, list):
        for i, value in enumerate(node):
            check_targets(value, trusted, f"{where}{i}.")
    elif isinstance(node, str) and "${" in node:
        raise RecordError(f"{where.removesuffix('.')}: {node} is not allowed in a record, whose values are resolved")


def build(node: Mapping[str, Any], what: str, *args: Any) -> Any:
    """The object that a configuration node describes; None where its target is null. `args` complete a `_partial_` one.

    Raises:
        ConfigError: the target cannot be imported, refuses its keywords, or breaks on them.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import get_object, instantiate

    if node.get("_target_", "") is None:
        return None
    if str(node.get("_target_", "")).startswith("torchvision"):
        import optbench.vision  # noqa: F401  declares the operators that a CPU build of torch lacks
    try:
        target = get_object(str(node.get("_target_", "")))
    except Exception:  # whatever importing it raises, instantiating it raises again
        target = None
    if callable(target):
        node = with_tensors(node, target)
        check_keywords(node, target, what)
    try:
        made = instantiate(dict(node), _convert_="all")
        return made(*args) if args else made
    except InstantiationException as error:
        if (failure := import_failure(node)) is not None:
            raise ConfigError(f"{what}: {failure.message}") from error
        raise _refused(error.__cause__ or error, node, what) from error
    except Exception as error:  # a constructor given a wrong value raises what it likes: IndexError, RuntimeError ...
        raise _refused(error, node, what) from error


def _refused(cause: BaseException, node: Mapping[str, Any], what: str) -> OptbenchError:
    if isinstance(cause, OptbenchError):
        key, equals, _ = cause.message.partition("=")  # `dim=0: expected ...`, of a part that does not know its place
        if equals and key in node:
            return type(cause)(f"{what}.{cause.message}", cause.hint)
        return cause
    text = " ".join(str(cause).split())
    return ConfigError(f"{what}: {text[:240] or type(cause).__name__}")


def build_optimizer(config: Mapping[str, Any], module: nn.Module) -> Any:
    """The optimizer over a module's parameters."""
    return build(config["optimizer"], "optimizer", list(module.parameters()))


def build_scheduler(config: Mapping[str, Any], optimizer: Any, total_steps: int) -> Any:
    """The scheduler; a keyword that is null in its YAML means "the length of the run" and becomes total_steps."""
    check_schedule(config["scheduler"], total_steps)
    node = {k: total_steps if v is None else v for k, v in config["scheduler"].items()}
    return build(node, "scheduler", optimizer)
