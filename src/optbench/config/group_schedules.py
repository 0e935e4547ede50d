"""Schedules of single parameter groups: the key `scheduler` of a rule of `optimizer.groups`.

    groups:
      - {role: head, lr: 0.1, scheduler: constant}                     # a choice of scheduler/
      - {role: vector, scheduler: {name: step, step_size: 100}}        # with keywords of its own
      - {ndim: 4, scheduler: {_target_: mine.Saw, teeth: 3}}           # a class, or a function, of one's own

What the packaged conf/ has stays a name in the configuration. Groups whose rule has none go by `scheduler=`. Which
groups they are of is a matter of `config.groups`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from optbench.config.plain_yaml import read_yaml
from optbench.errors import ConfigError
from optbench.paths import conf_folder
from optbench.settings import check_range, did_you_mean, shown

KEY = "scheduler"


@functools.cache
def _packaged() -> Mapping[str, Mapping[str, Any]]:
    """The schedules of the packaged conf/ by name."""
    return {file.stem: read_yaml(file) for file in sorted((conf_folder() / KEY).glob("*.yaml"))}


def schedule_node(given: Any, where: str) -> dict[str, Any]:
    """What is built of a rule's `scheduler`.

    Args:
        given: a name, or a mapping with `name` or `_target_` and keywords.
        where: the key in the words of messages.

    Raises:
        ConfigError: there is no such schedule, it has no such keyword, or a value is out of its range.
    """
    if isinstance(given, str):
        given = {"name": given}
    if not isinstance(given, Mapping) or len({"name", "_target_"} & set(given)) != 1:
        raise ConfigError(f"{where}={shown(given)}: expected a schedule, such as constant or {{name:step,gamma:0.3}}",
                          "of your own: {_target_:mine.Saw,teeth:3}")  # fmt: skip
    if "_target_" in given:
        return {**given, "_partial_": True}
    if given["name"] not in _packaged():
        raise ConfigError(f"{where}: there is no schedule '{given['name']}'",
                          did_you_mean(str(given["name"]), _packaged()) or "optbench list scheduler")  # fmt: skip
    usual = _packaged()[given["name"]]
    keywords = {key: value for key, value in given.items() if key != "name"}
    for key, value in keywords.items():
        if key not in usual or key.startswith("_"):
            known = [one for one in usual if not one.startswith("_")]
            raise ConfigError(f"{where}: {given['name']} has no key '{key}'",
                              did_you_mean(key, known) or f"keys: {', '.join(known) or 'none'}")  # fmt: skip
        try:
            check_range(f"{KEY}.{key}", value, str(usual["_target_"]))
        except ConfigError as error:
            raise ConfigError(error.message.replace(KEY, where, 1), error.hint) from None
    return {**usual, **keywords}
