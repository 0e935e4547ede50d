"""What is compared with what, and what it is called.

A *problem* is a model with its parameters, the data and the loss: the keys under `model.`, `data.` and `loss.`. Losses
of different problems are never set side by side. A *configuration* is everything else but the seed: optimizer,
schedule, budget. Names say only what differs: "adam lr=0.01" where two learning rates of Adam meet, "adam" where not.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any

from optbench.comparison.facts import PARTS, PROBLEM_COLUMNS, WRAP, Facts, facts_of
from optbench.records import Run

_BY_TARGET = {part: f"{part}._target_" for part in ("augment", "collate")}
_SCOPES = {"optimizer": "optimizer", "wrap": WRAP, "scheduler": "scheduler", **_BY_TARGET}
"""Parts whose settings are compared among runs that have the same one, and the key that says which one that is."""
_NO_NAME = (None, "", "none", "null")
_TARGET = "._target_"
_NUMBER = re.compile(r"((?<![A-Za-z\d])\d+(?:\.\d+)?(?:e[-+]?\d+)?)")
_GROUPS, _CRITERIA = "optimizer.groups", frozenset(("params", "ndim", "layer", "role"))


def without_common(rows: Sequence[Facts], keep: Sequence[str]) -> list[Facts]:
    """What tells the rows apart: without the settings in which all agree, which are in no name and change no key.

    Args:
        rows: what is known of each.
        keep: columns that stay all the same.
    """
    first = rows[0].values if rows else {}
    apart: set[str] = set()
    for row in rows:
        apart.update(key for key, value in row.values.items() if key not in apart and first.get(key) != value)
        apart.update(key for key in first.keys() - row.values.keys() if first[key] is not None)
    kept = {*keep, *PROBLEM_COLUMNS, *PARTS, WRAP, *(key for key in apart if "." in key)}
    return [Facts({key: value for key, value in row.values.items() if key in kept}) for row in rows]


def text(value: Any) -> str:
    """A setting's value in a label: short, and readable in a command."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"
    return (
        _made(value) if isinstance(value, str) and ("_target_" in value or value.startswith(_MAPPINGS)) else str(value)
    )


_MAPPINGS = ('{"', '["{')
"""How the JSON of a mapping, or of a list of some, begins."""


def _made(value: str) -> str:
    """What is built of a setting, which is JSON: a class with keywords, or several: `[Crop(scale=[0.5, 1]), Flip]`; of
    rules the rules: `[{role: head, lr: 0.01}]`."""
    try:
        found = json.loads(value)
    except ValueError:
        return value
    if isinstance(found, list):
        return f"[{', '.join(map(text, found))}]"
    if not isinstance(found, dict):
        return value
    if "_target_" not in found or set(found) & _CRITERIA:
        items = sorted(found.items(), key=lambda item: item[0] not in _CRITERIA)
        return f"{{{', '.join(f'{key}: {text(one)}' for key, one in items)}}}"
    keywords = ", ".join(f"{key}={text(one)}" for key, one in found.items() if key != "_target_")
    name = str(found["_target_"]).rpartition(".")[2]
    return f"{name}({keywords})" if keywords else name


def varying(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys whose values differ between the mappings, in order of first appearance; absent is null. Of
    parameter groups the rules as a whole stand for what a sweep set in them, and of what is around an optimizer its
    name for all that says no more than it."""
    keys = dict.fromkeys(key for one in settings for key in one)
    found = [key for key in keys if len({one.get(key) for one in settings}) > 1]
    if WRAP in found:
        own = {key: {one[key] for one in settings if key in one} for key in found if key.startswith(f"{WRAP}.")}
        found = [key for key in found if key != f"{WRAP}.order" and len(own.get(key, (1, 2))) > 1]
    return [key for key in found if key == _GROUPS or _GROUPS not in found or not key.startswith(_GROUPS)]


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """The last part of each key where that is unique among the keys, the whole key where not; `sources.optimizer` is
    no optimizer, a target is called by what it is the target of, and a rate of one parameter group is none of all."""
    keys = list(keys)
    of_groups = {key: key.removeprefix("optimizer.") for key in keys if key.startswith(_GROUPS + ".")}
    ends = [key if key.startswith("sources.") else key.removesuffix(_TARGET).rpartition(".")[2] for key in keys]
    return {key: end if ends.count(end) == 1 else key for key, end in zip(keys, ends, strict=True)} | of_groups


def _shown(settings: Mapping[str, Any], keys: Sequence[str], names: Mapping[str, str]) -> str:
    return "".join(f" {_in_words(key, settings.get(key)) or _setting(key, settings, names)}" for key in keys)


def _setting(key: str, settings: Mapping[str, Any], names: Mapping[str, str]) -> str:
    return f"{names[key]}={_value(key, settings.get(key))}"


_DIGITS = 8


def _in_words(key: str, value: Any) -> str:
    """What a hash is of, with as many of its digits as tell two apart; empty for anything else."""
    if key != "data_fingerprint" and not key.startswith("sources."):
        return ""
    what = "data" if key == "data_fingerprint" else f"source of {key.removeprefix('sources.')}"
    return f"({what} {str(value)[:_DIGITS]})" if value else f"({what} not recorded)"


def _value(key: str, value: Any) -> str:
    """A setting's value as one reads it: of a target the class, or none; a class that has a module of its name is
    called as the module is, which is what it is chosen by (`flip_crop`, of `optbench.augment.flip_crop.FlipCrop`)."""
    if not key.endswith(_TARGET):
        return text(value)
    if value is None:
        return "none"
    module, name = ("", *str(value).split("."))[-2:]
    return module if module.replace("_", "") == name.lower() else name


def problem_names(rows: Sequence[Facts]) -> dict[Hashable, str]:
    """Name of each problem: model, data and loss, and the parameters that tell problems of one name apart."""
    by_name: dict[str, dict[Hashable, Facts]] = defaultdict(dict)
    for row in rows:
        by_name[_plain_problem(row)].setdefault(row.problem_key, row)
    names: dict[Hashable, str] = {}
    for name, problems in by_name.items():
        settings = {
            key: {"data_fingerprint": row.values.get("data_fingerprint")} | dict(row.problem_settings)
            for key, row in problems.items()
        }
        differing = varying(list(settings.values()))
        shorter = short_names(differing)
        names.update({key: name + _shown(one, differing, shorter) for key, one in settings.items()})
    return names


def _plain_problem(row: Facts) -> str:
    model, data, loss = (row.values.get(c) for c in ("model", "data", "loss_name"))
    on = "" if data in _NO_NAME else f" on {data}"
    under = "" if loss in (*_NO_NAME, "surface") else f", {loss}"
    return f"{model}{on}{under}"


def configuration_names(rows: Sequence[Facts]) -> tuple[dict[Hashable, str], list[str]]:
    """Names of the configurations of one problem, by their key, and the settings that differ among them.

    Settings of an optimizer, and its source, are compared among the runs of that optimizer, those of a scheduler and of
    an augmentation or a collate likewise: that Adam and SGD have different parameters is no news.
    """
    configurations = {row.configuration_key: (row, row.configuration) for row in rows}
    scoped: dict[tuple[str, Any], list[Mapping[str, Any]]] = defaultdict(list)
    for row, settings in configurations.values():
        own: dict[tuple[str, Any], dict[str, Any]] = {(p, row.values.get(key)): {} for p, key in _SCOPES.items()}
        own["", None] = {}
        for setting, value in settings.items():
            part = _part(setting)
            own[part, row.values.get(_SCOPES[part]) if part else None][setting] = value
        for scope, of_one in own.items():
            scoped[scope].append(of_one)
    differing = {scope: varying(settings) for scope, settings in scoped.items()}
    all_keys = list(dict.fromkeys(key for keys in differing.values() for key in keys))
    shorter = short_names(all_keys)
    optimizers = {row.values.get("optimizer") for row, _ in configurations.values()}
    if len({row.values.get(WRAP) for row, _ in configurations.values()}) > 1:
        all_keys.append(WRAP)
    several = len({row.values.get("scheduler") for row, _ in configurations.values()}) > 1
    names = {}
    for key, (row, settings) in configurations.items():
        optimizer, scheduler = (row.values.get(part) for part in PARTS)
        name = f"{_called(row, optimizers)}{_shown(settings, differing['optimizer', optimizer], shorter)}"
        name += _shown(settings, differing["wrap", row.values.get(WRAP)], shorter)
        schedule = _shown(settings, differing["scheduler", scheduler], shorter)
        if several or schedule:
            name += f", {scheduler}{schedule}"
        names[key] = name + _shown(settings, differing["", None], shorter)
        for part, target in _BY_TARGET.items():
            names[key] += _shown(settings, differing[part, row.values.get(target)], shorter)
    return names, all_keys


def _called(row: Facts, others: Collection[Any]) -> str:
    """An optimizer's name, with what is around it; torch's is called so beside the book's of that name."""
    optimizer = row.values.get("optimizer")
    is_torchs = str(row.values.get("optimizer._target_")).startswith("torch.")
    name = f"torch's {optimizer}" if is_torchs and f"book_{optimizer}" in others else str(optimizer)
    around = row.values.get(WRAP)
    return name if around in _NO_NAME else f"{name}+{around}"


def _part(key: str) -> str:
    """The part within whose scope a setting is compared; "" where that is all runs."""
    head, _, rest = key.partition(".")
    part = rest if head == "sources" else head
    return part if part in _SCOPES and key not in _BY_TARGET.values() else ""


def label_runs(runs: Sequence[Run]) -> list[str]:
    """A label for each run that says how it differs from the others but for the seed; for the legend of a figure."""
    return [f"{problem}: {name}" if problem else name for problem, name in named_runs(runs)]


def named_runs(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Problem and configuration of each run, see `named_rows`."""
    return named_rows([facts_of(run) for run in runs])


def named_rows(rows: Sequence[Facts]) -> list[tuple[str, str]]:
    """The name of each one's problem, empty where all have the same, and of its configuration within that problem."""
    problems = problem_names(rows)
    members: dict[Hashable, list[Facts]] = {key: [] for key in problems}
    for row in rows:
        members[row.problem_key].append(row)
    names = {key: configuration_names(of_one)[0] for key, of_one in members.items()}
    said = {key: "" if len(problems) == 1 else name for key, name in problems.items()}
    return [(said[row.problem_key], names[row.problem_key][row.configuration_key]) for row in rows]


def natural(name: str) -> tuple[tuple[bool, float, str], ...]:
    """A key that sorts names as one reads them, their numbers by size: lr=1e-05, lr=0.001, lr=0.01, lr=1."""
    parts = _NUMBER.split(name)  # words and numbers in turns
    return tuple((i % 2 == 1, float(part) if i % 2 else 0.0, part) for i, part in enumerate(parts))
