"""A configuration to objects, and what a recorded one may name."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optbench.config.groups import KEYS, Group, divided, in_order, in_words, schedules_of
from optbench.config.keywords import check_keywords, is_keyword, with_tensors
from optbench.config.targets import import_failure
from optbench.errors import ConfigError, OptbenchError, RecordError
from optbench.paths import conf_folder, importable
from optbench.problem.roles import roles
from optbench.protocol import KEY, wrappers
from optbench.settings import check_schedule, did_you_mean, shown

if TYPE_CHECKING:
    from torch import nn


def trusted_targets(config_dirs: Sequence[Path] = ()) -> frozenset[str]:
    """Every `_target_` that the packaged conf/ and the user's folders name; the code in those can then be imported."""
    importable(config_dirs)
    comment = re.compile(r"^\s*#.*$", re.MULTILINE)
    pattern = re.compile(r"(?:^\s*(?:-\s+)*|[{,]\s*)_target_:\s*['\"]?([\w.]+)['\"]?\s*(?=$|[,}#])", re.MULTILINE)
    files = (f for folder in (conf_folder(), *config_dirs) for f in folder.rglob("*.yaml"))
    return frozenset(name for f in files for name in pattern.findall(comment.sub("", f.read_text(encoding="utf-8"))))


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


def build(node: Mapping[str, Any], what: str, *args: Any, **more: Any) -> Any:
    """The object that a configuration node describes; None where its target is null. `args` and `more` complete a
    `_partial_` one.

    Raises:
        ConfigError: the target cannot be imported, refuses its keywords, or breaks on them.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    if node.get("_target_", "") is None:
        return None
    if what == "model" and "instance" in node and not _takes_instance(node):
        return _instance(node)
    target = named_object(str(node.get("_target_", "")))
    if callable(target):
        node = with_tensors(node, target)
        check_keywords(node, target, what)
    try:
        made = instantiate(dict(node), _convert_="all")
        return made(*args, **more) if args else made
    except InstantiationException as error:
        if (failure := import_failure(node)) is not None:
            raise ConfigError(f"{what}: {failure.message}") from error
        raise _refused(error.__cause__ or error, node, what) from error
    except Exception as error:  # a constructor given a wrong value raises what it likes: IndexError, RuntimeError ...
        raise _refused(error, node, what) from error


def named_object(target: str) -> Any:
    """What a target names; None where it cannot be imported: whatever that raises, building it raises again."""
    from hydra.utils import get_object

    if target.startswith(("torchvision", "torchmetrics", "timm")):  # of which the others import the first
        import optbench.vision  # noqa: F401  declares the operators that a CPU build of torch lacks
    log = logging.getLogger("hydra.utils")  # which says in three lines what we say in one
    before, log.disabled = log.disabled, True
    try:
        return get_object(target)
    except Exception:
        return None
    finally:
        log.disabled = before


def _takes_instance(node: Mapping[str, Any]) -> bool:
    """Whether what a node names has instances of its own."""
    from hydra.utils import get_object

    try:
        return "instance" in inspect.signature(get_object(str(node["_target_"]))).parameters
    except Exception:  # whatever importing it raises, building it raises again
        return False


def _instance(node: Mapping[str, Any]) -> Any:
    """A model, or an instance of it where it is a surface."""
    number = node["instance"]
    model = build({key: value for key, value in node.items() if key != "instance"}, "model")
    if number is None:
        return model
    from optbench.problem import AbstractSurface
    from optbench.problem.instances import instance_of

    if not isinstance(model, AbstractSurface):
        raise ConfigError(f"model.instance={number}: {type(model).__name__} is no surface, and has no instances")
    return instance_of(model, number)


def _refused(cause: BaseException, node: Mapping[str, Any], what: str) -> OptbenchError:
    if isinstance(cause, OptbenchError):
        key, equals, _ = cause.message.partition("=")  # `dim=0: expected ...`, of a part that does not know its place
        if equals and key in node:
            return type(cause)(f"{what}.{cause.message}", cause.hint)
        return cause
    text = " ".join(str(cause).split())
    return ConfigError(f"{what}: {text[:240] or type(cause).__name__}")


def build_optimizer(
    config: Mapping[str, Any],
    module: nn.Module,
    steps: int | None = None,
    examples: int | None = None,
    epoch: int | None = None,
) -> Any:
    """The optimizer over a module's parameters, in the groups that its node divides them into (see `config.groups`),
    with all around it that the configuration puts there (see `config.wraps`).

    Args:
        config: of the run.
        module: the network.
        steps: updates of the run, for an optimizer that wants to know; None: not known.
        examples: training examples, likewise.
        epoch: updates of an epoch; None: there are none, or it is not known.

    Raises:
        ConfigError: it cannot be built, an option of a group is none of the class, or it wants what is not known.
        IncompatibleError: its rules do not fit the module, or its parts do not go together.
    """
    made, roles_named = _bare_optimizer(config["optimizer"], module, steps, examples), config["optimizer"].get("roles")
    known = {"steps": lambda: steps or 1, "epoch": lambda: epoch, "model": lambda: module,
             "roles": lambda: roles(module, roles_named or ())}  # fmt: skip
    check_made(made, config["optimizer"], "optimizer")
    return _put_around(made, config, known)


def _put_around(optimizer: Any, config: Mapping[str, Any], known: Mapping[str, Callable[[], Any]]) -> Any:
    """An optimizer with all that a configuration puts around it; `known`: what a wrapper may ask for by its key
    `given`. Raises ConfigError."""
    for name, node in wrappers(config).items():
        bare, where = {key: value for key, value in node.items() if key not in (KEY, "given")}, f"wrap.{name}"
        given = {}
        for keyword, what in (node.get("given") or {}).items():
            if what not in known:
                raise ConfigError(f"{where}.given.{keyword}={shown(what)}: expected one of {', '.join(known)}")
            given[keyword] = known[what]()
        optimizer = build(bare, where, optimizer, **given)
        check_made(optimizer, bare, where)
        optimizer.name, optimizer.asked = name, dict(node.get(KEY) or {})
    return optimizer


def _bare_optimizer(node: Mapping[str, Any], module: nn.Module, steps: int | None, examples: int | None) -> Any:
    """The optimizer with nothing around it; arguments as of `build_optimizer`."""
    bare = {key: value for key, value in node.items() if key not in KEYS}
    known = {"steps": steps, "examples": examples, "model": module}
    given = {keyword: known[what] for keyword, what in (node.get("given") or {}).items()}
    for keyword, value in given.items():
        if value is None:
            what = f"optimizer.given.{keyword}: {node['given'][keyword]}"
            raise ConfigError(f"{what} of this run are not known where the optimizer is built")
    if node.get("params") == "model":
        return build(bare, "optimizer", module, **given)
    if not node.get("groups"):
        if node.get("roles"):
            raise ConfigError("optimizer.roles: there are no groups that go by roles", "set optimizer.groups too")
        named = node.get("params") == "named"
        return _of_all(bare, list(module.named_parameters() if named else module.parameters()), given)
    return _grouped(node, bare, divided(node, module), given)


def _of_all(bare: Mapping[str, Any], parameters: Sequence[Any], given: Mapping[str, Any]) -> Any:
    """The optimizer of all parameters in one list. Raises ConfigError; what the class itself says may be obscure."""
    try:
        return build(bare, "optimizer", parameters, **given)
    except ConfigError as error:
        if error.hint or str(bare.get("_target_")).startswith(("torch.optim.", "optbench.")):
            raise
        wants = "if it wants groups, names or the model in place of a list of parameters"
        raise ConfigError(error.message, f"{wants}: optimizer.groups, optimizer.params=named|model") from error


def _grouped(
    node: Mapping[str, Any], bare: Mapping[str, Any], groups: Sequence[Group], given: Mapping[str, Any]
) -> Any:
    """The optimizer of a node over groups, one for each that has its own beside it."""
    named = node.get("params") == "named"
    groups = in_order(groups)
    mine = [_parameters(group, named) | dict(group.options) for group in groups if group.target is None]
    parts = []
    if mine:
        parts.append(build(bare, "optimizer", mine, **given))
        _check_options(parts[0], groups, node.get("options") or ())
    for group in groups:
        if group.target is not None:
            where = f"optimizer.groups ({in_words(group.rule)})"
            own = {"_target_": group.target, "_partial_": True, **group.options}
            parts.append(build(own, where, _parameters(group, named)["params"]))
    if len(parts) == 1:
        return parts[0]
    from optbench.disjoint import Together

    return Together(parts)


def _parameters(group: Group, named: bool) -> dict[str, Any]:
    return {"params": [(one.names[0], one.parameter) if named else one.parameter for one in group.members]}


def _check_options(optimizer: Any, groups: Sequence[Group], more: Sequence[str]) -> None:
    """Checks that options of groups are ones of the class: torch's take any, and leave what they do not know unread.

    Raises:
        ConfigError: the class has defaults of groups, and this is none of them.
    """
    defaults = getattr(optimizer, "defaults", None)
    if not defaults:  # it says nothing about its groups
        return
    for group in groups:
        for key, value in group.options.items() if group.target is None else ():
            if key not in defaults and key not in more:
                where = f"optimizer.groups ({in_words(group.rule)}): {key}={shown(value)}"
                raise ConfigError(
                    f"{where}: {type(optimizer).__name__} has no option '{key}' of groups",
                    did_you_mean(key, defaults) or f"it has {', '.join(defaults)}",
                )
        if group.target is None:
            kind = type(optimizer)
            known = {key: value for key, value in group.options.items() if is_keyword(kind, key)}
            check_keywords({**known, "_partial_": True}, kind, f"optimizer.groups ({in_words(group.rule)})")


def build_scheduler(
    config: Mapping[str, Any], optimizer: Any, total_steps: int, module: nn.Module | None = None
) -> Any:
    """The scheduler, of several where rules of `optimizer.groups` have one of their own (see `config.group_schedules`).

    Args:
        config: of the run.
        optimizer: whose rates are set.
        total_steps: updates of the run; a keyword that is null in a scheduler's YAML means that.
        module: the network, by which the groups are found; None: groups have no schedules of their own.

    Raises:
        ConfigError: it cannot be built, or one that waits for evaluations stands beside another.
    """
    own = {} if module is None else schedules_of(config["optimizer"], optimizer, module)
    if not own:
        return _schedule(config["scheduler"], "scheduler", optimizer, total_steps)
    from optbench.disjoint import Apart, Some

    rest = [i for i in range(len(optimizer.param_groups)) if i not in own]
    parts = [(rest, config["scheduler"], "scheduler")] if rest else []
    parts += [([i], node, "optimizer.groups.scheduler") for i, node in sorted(own.items())]
    made = [_schedule(node, what, Some(optimizer, places), total_steps) for places, node, what in parts]
    for one in made:
        if "metrics" in inspect.signature(one.step).parameters:
            raise ConfigError(f"{type(one).__name__} waits for evaluations, the other schedules of this run do not",
                              "beside schedules of groups choose one that is stepped once an update")  # fmt: skip
    return Apart(optimizer, made)


def _schedule(node: Mapping[str, Any], what: str, optimizer: Any, total_steps: int) -> Any:
    check_schedule(node, total_steps)
    made = build({k: total_steps if v is None else v for k, v in node.items()}, what, optimizer)
    check_made(made, node, what)
    return made


_WANTED: Mapping[str, tuple[tuple[str, ...], str]] = {
    "scheduler": (("step", "state_dict", "load_state_dict"), "a function of an optimizer returns its schedule"),
    "optimizer": (("step", "zero_grad"), "derive it from torch.optim.Optimizer"),
    "wrap": (("update", "step"), "derive it from optbench.AbstractWrapper"),
    "data": (("load", "n_classes"), "derive it from optbench.AbstractData"),
    "augment": (("__call__", "of_pictures"), "derive it from optbench.AbstractAugmentation"),
}
"""What is asked of parts, and where one gets it."""


def check_made(made: Any, node: Mapping[str, Any], what: str) -> None:
    """Raises ConfigError where a target makes something else than such a part; `what`: scheduler, wrap.sam ...
    Augmentation and data may be None: there are none."""
    if made is None and what in ("augment", "data"):
        return
    names, hint = _WANTED[what.rpartition("optimizer.groups.")[2].partition(".")[0]]
    if lacking := [name for name in names if not hasattr(made, name)]:
        raise ConfigError(f"{what}: {node.get('_target_')} makes a {type(made).__name__}, which has no {lacking[0]}",
                          hint)  # fmt: skip
