"""Hyperparameters of a log as a configuration: what is told of model, data, loss, optimizer and schedule, the rest
under `settings`, and the seed, which is in no configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from optbench.errors import UserError
from optbench.foreign.log import Log, literal, settled
from optbench.foreign.tables import listed
from optbench.records import flatten

SEEDS = ("seed", "random_seed", "seed_everything")
_GROUPS: Mapping[str, tuple[str, ...]] = {
    "model": ("model", "model_name", "arch", "architecture"),
    "data": ("data", "dataset", "data_name", "dataset_name"),
    "loss": ("loss_name", "loss_fn", "criterion"),
    "optimizer": ("optimizer", "optimizer_name", "optim", "opt"),
    "scheduler": ("scheduler", "scheduler_name", "lr_scheduler", "schedule"),
}
"""Names by which hyperparameters say which member of a group was chosen."""
_PLACES: Mapping[str, str] = {
    **{name: f"optimizer.{name}" for name in ("lr", "weight_decay", "momentum", "betas", "beta1", "beta2", "eps")},
    "learning_rate": "optimizer.lr",
    "batch_size": "trainer.batch_size",
    "max_epochs": "trainer.epochs",
    "epochs": "trainer.epochs",
    "num_epochs": "trainer.epochs",
    "max_steps": "trainer.steps",
}
"""Where a hyperparameter stands in optbench's configurations, so that comparisons know what it is."""
UNNAMED: Mapping[str, str] = {"model": "unnamed model", "data": "unnamed data", "optimizer": "unnamed optimizer"}
"""What is said of the groups that a comparison needs a name of, where the log tells none."""
_OTHERS = "settings"
_SEED_MOST = 2**63


@dataclass(frozen=True)
class Configured:
    """What hyperparameters say.

    Attributes:
        choices: group to the name of what was chosen; None where nothing is told.
        settings: dotted settings.
        seed: None where it is not told.
        places: dotted setting, or group, to the hyperparameter that it was read from.
    """

    choices: Mapping[str, str | None]
    settings: Mapping[str, Any]
    seed: int | None
    places: Mapping[str, str]


def parse_config(given: Sequence[str]) -> dict[str, Any]:
    """Hyperparameters that the user says: `optimizer=adam,lr=0.1`. Raises UserError."""
    found: dict[str, Any] = {}
    for part in (part for text in given for part in re.split(r",(?=[\w./-]+=)", text)):
        name, sign, value = part.partition("=")
        if not name or not sign:
            raise UserError(f"--config {part}: expected NAME=VALUE, as in optimizer=adam")
        found[name] = literal(value)
    return found


def configured(
    log: Log,
    said: Mapping[str, Any],
    seed_from: str | None = None,
    ignored: Sequence[str] = (),
    named: Mapping[str, str] = MappingProxyType({}),
) -> Configured:
    """The configuration of a log.

    Args:
        log: of a run.
        said: hyperparameters that the user says; they go before the log's own.
        seed_from: the hyperparameter that is the seed, or "name": the last whole number in the name and path of the
            run.
        ignored: hyperparameters that tell no configurations apart.
        named: settings to what they are called in the log.

    Raises:
        UserError: a seed that was asked for is not there, or is no whole number.
    """
    own = flatten({key: settled(value) for key, value in log.settings.items()})
    here = {was: name for name, was in named.items()}
    all_of_it = {**{here.get(key, key): value for key, value in own.items()}, **said}
    seed_key, seed = _seed(log, all_of_it, seed_from)
    choices: dict[str, str | None] = dict.fromkeys(_GROUPS)
    settings: dict[str, Any] = {}
    places: dict[str, str] = {}
    for key, value in all_of_it.items():
        if key in (seed_key, *ignored) or value is None:
            continue
        group = _group(key)
        if group is not None and choices[group] is None and isinstance(value, str):
            choices[group], places[group] = value.rpartition(".")[2] or value, named.get(key, key)
            continue
        place = _place(key)
        if place in settings:
            place = f"{_OTHERS}.{key}"
        settings[place], places[place] = value, named.get(key, key)
    return Configured(choices, settings, seed, places)


def _group(key: str) -> str | None:
    """The group whose choice a hyperparameter is."""
    head, _, last = key.replace("/", ".").rpartition(".")
    name = head if last in ("name", "_target_", "class_path") else key
    return next((group for group, names in _GROUPS.items() if name in names), None)


def _place(key: str) -> str:
    dotted = key.replace("/", ".")
    parts = dotted.split(".")
    if not all(parts):
        return f"{_OTHERS}.{re.sub(r'[./]+', '_', key)}"
    if dotted in _PLACES:
        return _PLACES[dotted]
    return dotted if parts[0] in (*_GROUPS, "trainer") and len(parts) > 1 else f"{_OTHERS}.{dotted}"


def _seed(log: Log, settings: Mapping[str, Any], asked: str | None) -> tuple[str | None, int | None]:
    """The hyperparameter that is the seed, and the seed."""
    if asked == "name":
        numbers = re.findall(r"[0-9]{1,18}", f"{log.path} {log.name}", re.ASCII)
        if not numbers:
            raise UserError(f"{log}: --seed-from name: there is no number in it")
        return None, int(numbers[-1])
    ends: dict[str, str] = {
        name: key for key in reversed(list(settings)) for name in SEEDS if key.replace("/", ".").split(".")[-1] == name
    }
    key = asked or next((ends[name] for name in SEEDS if name in ends), None)
    if key is None:
        return None, None
    if key not in settings:
        raise UserError(f"{log}: --seed-from {key}: no such setting", f"it has: {listed(list(settings)) or 'none'}")
    value = settings[key]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    usable = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _SEED_MOST
    if not usable and asked is not None:
        raise UserError(f"{log}: --seed-from {key}: {value!r} is no whole number from 0 on")
    return (key, value) if usable else (None, None)
