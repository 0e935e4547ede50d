"""Parameter groups by rule: which parameters an optimizer treats in which way, as its configuration node says it.

    groups:                                      # the first rule that matches counts; the rest goes by the optimizer's
      - {role: vector, weight_decay: 0.0}        # options, and is group 0
      - {params: "fc.*", ndim: 2, lr_scale: 0.1}
      - {layer: Conv2d, _target_: torch.optim.SGD, lr: 0.1}

Four keys say of what a group is: `role` (`problem.roles`), `params` (a glob on the dotted name), `ndim`, `layer` (the
class of the layer, or a base of it); each takes one value or a list, and several keys must all hold. A rule with none
of them takes all that is left. `lr_scale` is a multiple of the optimizer's lr; with a `_target_` the group has
an optimizer of its own, with a `scheduler` a schedule of its own (`config.group_schedules`); `optional: true` allows a
rule to match nothing, which is refused else. All other keys are options of the group. `groups: no_decay` is a
ready-made list.

Four keys of the node are of building and no keywords: `groups`, `roles` (roles by name, see `problem.roles`), `params`
(`named` or `model`: what the class wants instead of parameters) and `given` (keyword: steps, examples or model, what is
known when the run is built). `options` names keys of groups that the class takes and does not state in its defaults.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from optbench.config.group_schedules import KEY as SCHEDULER
from optbench.config.group_schedules import schedule_node
from optbench.errors import ConfigError, IncompatibleError
from optbench.problem.roles import ROLES, Placed, counted, roles
from optbench.settings import check_range, did_you_mean, shown, target_of

if TYPE_CHECKING:
    from torch import nn

KEYS = ("groups", "roles", "params", "given", "options", "protocol")
"""Keys of an optimizer's node that say how it is built and driven; its class never sees them."""
CRITERIA = ("params", "ndim", "layer", "role")
READY: Mapping[str, Sequence[Mapping[str, Any]]] = MappingProxyType(
    {"no_decay": ({"role": "vector", "weight_decay": 0.0},)}
)
"""Lists of rules by name: no_decay spares biases and norms the weight decay."""
GIVEN = ("steps", "examples", "model")
"""What `given` can name: updates of the run, training examples, the module."""
_OWN = (*CRITERIA, "lr_scale", "optional", SCHEDULER)
FLOATS = ("lr", "lr_scale", "weight_decay", "eps")
"""Options that are no whole numbers, however they are written."""


# as it is written -----------------------------------------------------------------------------------------------------


def written(node: Mapping[str, Any]) -> dict[str, Any]:
    """An optimizer's node in the one form in which it is recorded: names of lists of rules replaced by the lists, what
    is null left out, a list of one as that one, whole numbers as floats where the option is one.

    Raises:
        ConfigError: what `check` finds.
    """
    made = {key: value for key, value in node.items() if key not in KEYS or value is not None}
    if isinstance(name := made.get("groups"), str):
        if name not in READY:
            raise ConfigError(f"optimizer.groups={name}: expected a list of rules or {' or '.join(READY)}",
                              did_you_mean(name, READY, "optimizer.groups="))  # fmt: skip
        made["groups"] = [dict(rule) for rule in READY[name]]
    if isinstance(made.get("groups"), list):
        made["groups"] = [_rule_written(rule, node) for rule in made["groups"]]
    check(made)
    return made


def _rule_written(rule: Any, node: Mapping[str, Any]) -> Any:
    if not isinstance(rule, Mapping):
        return rule
    made: dict[str, Any] = {}
    for key, value in rule.items():
        if key in CRITERIA and isinstance(value, list) and len(value) == 1:
            value = value[0]
        is_float = key in FLOATS or isinstance(node.get(key), float)
        whole = isinstance(value, int) and not isinstance(value, bool)
        made[str(key)] = float(value) if is_float and whole else value
    return made


def check(node: Mapping[str, Any]) -> None:
    """Checks what a node says about building, as far as that can be known without the network. Raises ConfigError."""
    groups = node.get("groups")
    if groups is not None and (not isinstance(groups, list) or not groups):
        raise ConfigError(f"optimizer.groups={shown(groups)}: expected a list of rules, such as "
                          "[{role:vector,weight_decay:0}], or no_decay")  # fmt: skip
    for number, rule in enumerate(groups or ()):
        _check_rule(rule, number, node)
    _check_roles(node.get("roles"))
    kind, given = node.get("params"), node.get("given") or {}
    if kind not in (None, "named", "model"):
        raise ConfigError(f"optimizer.params={shown(kind)}: expected named or model")
    if kind == "model" and groups:
        raise ConfigError("optimizer.groups beside optimizer.params=model: who takes the model divides it by itself")
    if not isinstance(given, Mapping):
        raise ConfigError(f"optimizer.given={shown(given)}: expected keywords, such as {{num_iterations:steps}}")
    for keyword, what in given.items():
        if what not in GIVEN:
            raise ConfigError(f"optimizer.given.{keyword}={shown(what)}: expected {', '.join(GIVEN[:-1])} or model")


def _check_rule(rule: Any, number: int, node: Mapping[str, Any]) -> None:
    where = f"optimizer.groups[{number}]"
    if not isinstance(rule, Mapping):
        raise ConfigError(f"{where}={shown(rule)}: expected a rule, such as {{role:vector,weight_decay:0}}")
    for role in _several(rule.get("role")):
        if role not in ROLES:
            raise ConfigError(f"{where}.role={shown(role)}: expected one of {', '.join(ROLES)}",
                              did_you_mean(str(role), ROLES))  # fmt: skip
    for key, kind, words in (("params", str, "a name or a pattern"), ("layer", str, "a class such as Conv2d"),
                             ("ndim", int, "a number of dimensions")):  # fmt: skip
        for value in _several(rule.get(key)):
            if not isinstance(value, kind) or isinstance(value, bool):
                raise ConfigError(f"{where}.{key}={shown(value)}: expected {words}, or a list")
    if not isinstance(rule.get("optional", False), bool):
        raise ConfigError(f"{where}.optional={shown(rule['optional'])}: expected true or false")
    if rule.get(SCHEDULER) is not None:
        schedule_node(rule[SCHEDULER], f"{where}.{SCHEDULER}")
    if "lr_scale" in rule:
        scale = rule["lr_scale"]
        if not isinstance(scale, float) or not scale >= 0.0 or scale == float("inf"):
            raise ConfigError(f"{where}.lr_scale={shown(scale)}: expected a number that is not negative")
        if "lr" in rule or "lr" not in node:
            why = "it stands beside lr" if "lr" in rule else "optimizer.lr is not set"
            raise ConfigError(f"{where}.lr_scale={shown(scale)}: a multiple of optimizer.lr, and {why}")
    target = target_of({"optimizer": rule if "_target_" in rule else node}, "optimizer")
    for key, value in _options(rule).items():
        try:
            check_range(f"optimizer.{key}", value, target)
        except ConfigError as error:
            raise ConfigError(error.message.replace(f"optimizer.{key}", f"{where}.{key}", 1), error.hint) from None


def _check_roles(named: Any) -> None:
    example = "[{params:'*pos*',role:embedding}]"
    if named is not None and not isinstance(named, list):
        raise ConfigError(f"optimizer.roles={shown(named)}: expected a list such as {example}")
    for number, rule in enumerate(named or ()):
        fits = isinstance(rule, Mapping) and set(rule) == {"params", "role"} and isinstance(rule["params"], str)
        if not fits or rule["role"] not in ROLES:
            raise ConfigError(f"optimizer.roles[{number}]={shown(rule)}: expected a pattern of names and a role "
                              f"({', '.join(ROLES)})", f"such as {example}")  # fmt: skip


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _options(rule: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in rule.items() if key not in (*_OWN, "_target_", "_partial_")}


# on a network ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    """Parameters that are treated alike.

    Attributes:
        rule: as it is written; empty for the rest.
        members: the parameters, in the order of the network.
        options: of the group, lr_scale worked out.
        target: the class of an optimizer of its own; None: it is a group of the optimizer.
    """

    rule: Mapping[str, Any]
    members: tuple[Placed, ...]
    options: Mapping[str, Any]
    target: str | None = None


def divided(node: Mapping[str, Any], module: nn.Module) -> list[Group]:
    """The parameters of a module as the rules divide them, none of the groups empty: the rest first, then by rule.

    Args:
        node: of the optimizer, as `written` gave it.
        module: the network.

    Raises:
        IncompatibleError: a rule that matches nothing, or nothing that was not taken before.
    """
    placed = roles(module, node.get("roles") or ())
    left, groups = placed, []
    for number, rule in enumerate(node.get("groups") or ()):
        mine = [one for one in left if matches(rule, one)]
        if mine:
            groups.append(Group(rule, tuple(mine), _resolved(rule, node), rule.get("_target_")))
        elif not rule.get("optional"):
            raise _unmatched(number, rule, placed, module)
        left = [one for one in left if not matches(rule, one)]
    return [*([Group({}, tuple(left), {})] if left else []), *groups]


def matches(rule: Mapping[str, Any], one: Placed) -> bool:
    """Whether all that a rule says of its parameters holds for one."""
    patterns, kinds = _several(rule.get("params")), _several(rule.get("layer"))
    return (
        ("role" not in rule or one.role in _several(rule["role"]))
        and ("ndim" not in rule or one.parameter.ndim in _several(rule["ndim"]))
        and ("params" not in rule or any(fnmatchcase(name, p) for name in one.names for p in patterns))
        and ("layer" not in rule or any(fnmatchcase(layer, k) for layer in one.layers for k in kinds))
    )


def _resolved(rule: Mapping[str, Any], node: Mapping[str, Any]) -> dict[str, Any]:
    options = _options(rule)
    return {**options, "lr": rule["lr_scale"] * node["lr"]} if "lr_scale" in rule else options


def _unmatched(number: int, rule: Mapping[str, Any], placed: Sequence[Placed], module: nn.Module) -> IncompatibleError:
    what = in_words(rule)
    taken = sum(matches(rule, one) for one in placed)
    if taken:
        why = f"all {taken} that it would match go by a rule before it" if taken > 1 else "a rule before it has its one"
        return IncompatibleError(
            f"optimizer.groups[{number}] ({what}) is left with nothing: {why}", "reorder the rules"
        )
    there = [counted(placed)]
    if "params" in rule:
        names = [one.names[0] for one in placed]
        there.append(f"such as {', '.join(names[:4])}{' ...' if len(names) > 4 else ''}")
    if "layer" in rule:
        there.append(f"in {', '.join(dict.fromkeys(one.layers[0] for one in placed))}")
    return IncompatibleError(f"optimizer.groups[{number}] ({what}) matches no parameter of {type(module).__name__}",
                             f"there are {'; '.join(there)}; optional: true lets a rule match nothing")  # fmt: skip


def in_words(rule: Mapping[str, Any]) -> str:
    """What a rule is of: role vector, params fc.*; of one without criteria, everything else."""
    said = (f"{key} {' or '.join(map(str, _several(rule[key])))}" for key in CRITERIA if key in rule)
    return ", ".join(said) or "everything else"


def unmatched(node: Mapping[str, Any], module: nn.Module) -> list[str]:
    """A sentence for every optional rule that matches nothing of a network."""
    taken = [group.rule for group in divided(node, module)]
    return [
        f"optimizer.groups[{number}] ({in_words(rule)}) matches nothing in this {type(module).__name__}"
        + (f", so no parameter has {', '.join(f'{k}={shown(v)}' for k, v in options.items())}" if options else "")
        for number, rule in enumerate(node.get("groups") or ())
        if not any(rule is one for one in taken)
        for options in [_options(rule)]
    ]


def account(node: Mapping[str, Any], module: nn.Module) -> list[dict[str, Any]]:
    """The groups as a record has them: what each is of, how many tensors and numbers, and its options."""
    return [
        {
            "of": in_words(group.rule) if group.rule else "the rest",
            "tensors": len(group.members),
            "parameters": sum(one.parameter.numel() for one in group.members),
            "roles": dict(_count(one.role for one in group.members)),
            **({"optimizer": group.target} if group.target else {}),
            **({SCHEDULER: group.rule[SCHEDULER]} if group.rule.get(SCHEDULER) is not None else {}),
            "options": dict(group.options),
        }
        for group in in_order(divided(node, module))
    ]


def schedules_of(node: Mapping[str, Any], optimizer: Any, module: nn.Module) -> dict[int, dict[str, Any]]:
    """The nodes of the groups' own schedules, by the place of the group among the optimizer's.

    Args:
        node: of the optimizer.
        optimizer: built of it.
        module: the network that its rules divide.
    """
    if not any(rule.get(SCHEDULER) is not None for rule in node.get("groups") or ()):
        return {}
    places = {id(p): i for i, group in enumerate(optimizer.param_groups) for p in group["params"]}
    return {
        places[id(group.members[0].parameter)]: schedule_node(group.rule[SCHEDULER], f"optimizer.groups.{SCHEDULER}")
        for group in divided(node, module)
        if group.rule.get(SCHEDULER) is not None
    }


def in_order(groups: Sequence[Group]) -> list[Group]:
    """Groups in the order of the optimizer's: those with an optimizer of their own last."""
    return sorted(groups, key=lambda group: group.target is not None)


def _count(words: Iterable[str]) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for word in words:
        found[word] = found.get(word, 0) + 1
    return found
