"""Members that cannot be built, found before the first run: the sweep ends once with their words, not once a run.

A member is a choice of one part (`optimizer=adam`). It is refused when none of the ways in which the sweep configures
it can be built; where some can, the others are failed runs of their own. Optimizers are tried on two small parameters,
and before one is refused for them, on those of its model, unless its layers are lazy: they have no sizes before data.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from optbench.config import build, build_optimizer, build_scheduler
from optbench.config.groups import KEYS
from optbench.errors import ConfigError, IncompatibleError, OptbenchError
from optbench.experiment import Planned

_TRIED = 6
"""Configurations of a member that are tried before it is refused."""
_OF_PROBLEM = ("model", "augment", "collate", "loss")
_LENGTH = 1000
"""Updates of a run whose length its data decide, as far as a schedule is concerned."""


def check_members(planned: Sequence[Planned], built: Collection[str] = ()) -> None:
    """Raises ConfigError, in one sentence, for a member that no run of a sweep can build. Imports torch.

    Args:
        planned: the runs to do.
        built: run_ids of those whose problem was built already.
    """
    if not planned:
        return
    from optbench.descend.uncompiled import uncompiled

    with uncompiled():
        _check_members(planned, built)


def _check_members(planned: Sequence[Planned], built: Collection[str]) -> None:
    for part, make in _MAKERS.items():
        members: dict[str, list[Planned]] = defaultdict(list)
        for item in planned:
            members[str(item.choices.get(part))].append(item)
        for name, items in members.items():
            if part not in items[0].config:  # nothing is around the optimizer
                continue
            if part in _OF_PROBLEM and any(item.run_id in built for item in items):
                continue
            error = _refusal(part, items, make)
            if error is not None:
                runs = f"{len(items)} run{'s' * (len(items) > 1)}"
                raise ConfigError(f"{part}={name} cannot be built, so none of its {runs} can start: {error.message}",
                                  error.hint)  # fmt: skip


def _refusal(part: str, items: Sequence[Planned], make: Callable[[Mapping[str, Any]], Any]) -> OptbenchError | None:
    """The error of the first configuration, if none of those tried can be built."""
    first, seen = None, set()
    for item in items:
        text = json.dumps(item.config[part], sort_keys=True, default=str)
        if text in seen:
            continue
        seen.add(text)
        error = _tried(item.config, make)
        if error is None:
            return None
        first = first or error
        if len(seen) == _TRIED:
            break
    return first


def _tried(config: Mapping[str, Any], make: Callable[[Mapping[str, Any]], Any]) -> OptbenchError | None:
    try:
        make(config)
    except IncompatibleError:  # a matter between members: `skipped`
        return None
    except OptbenchError as error:
        return error
    return None


_SOME = 2  # outputs, where the data are to say how many, which are not read here


def _make_model(config: Mapping[str, Any]) -> Any:
    from optbench.experiment.assemble import with_outputs

    return build(with_outputs(config["model"], _SOME), "model")


def _small() -> Any:
    import torch

    return torch.nn.ParameterList([torch.nn.Parameter(torch.zeros(*shape)) for shape in ((2,), (2, 2))])


def _point() -> Any:
    import torch

    module = torch.nn.Module()
    module.x = torch.nn.Parameter(torch.zeros(2))
    return module


def _make_optimizer(config: Mapping[str, Any]) -> Any:
    from torch import nn
    from torch.nn.parameter import is_lazy

    steps = config["trainer"].get("steps") or _LENGTH
    if not any(config["optimizer"].get(key) for key in KEYS):
        try:
            return build_optimizer(config, _small(), steps, _LENGTH)
        except OptbenchError:  # perhaps one that takes matrices alone
            model = _make_model(config)
            if not isinstance(model, nn.Module):
                raise
    else:
        model = _make_model(config)
    if isinstance(model, nn.Module) and any(map(is_lazy, model.parameters())):
        raise IncompatibleError("the layers are lazy: whether it can be built is known once the first batch is there")
    return build_optimizer(config, model if isinstance(model, nn.Module) else _point(), steps, _LENGTH)


def _make_wrapped(config: Mapping[str, Any]) -> Any:
    """With what is around it, unless the optimizer itself cannot be built: then it is the one to be named."""
    try:
        _make_optimizer({**config, "wrap": {}})
    except OptbenchError:
        return None
    return _make_optimizer(config)


def _make_scheduler(config: Mapping[str, Any]) -> Any:
    """On the optimizer that it is meant for, unless that cannot be built either: then it is the one to be named."""
    try:
        optimizer = _make_optimizer(config)
    except OptbenchError:  # one of lazy layers is not built here at all
        return None
    return build_scheduler(config, optimizer, config["trainer"].get("steps") or _LENGTH)


_MAKERS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "model": _make_model,
    "augment": lambda config: build(config["augment"], "augment"),
    "collate": lambda config: build(config["collate"], "collate"),
    "loss": lambda config: build(config["loss"], "loss"),
    "optimizer": lambda config: _make_optimizer({**config, "wrap": {}}),
    "wrap": _make_wrapped,
    "scheduler": _make_scheduler,
}
