"""The metrics of a run: names and nodes of trainer.metrics, checked before torch against the data and the loss.

A metric is a function of outputs and targets as rows, see `problem.measures`. Its YAML, `metric/NAME.yaml` in conf/ or
in a folder of the user's own, says what is built and

    direction      max or min: which values are better
    needs          classes (labels are enough), scores (outputs are one number a class), numbers, or any
    least_classes  below which it says nothing

What the packaged conf/ has stays a name in the configuration; of the user's own the node takes its place, so that the
configuration says what was computed, and the code behind it is part of the run's identity.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optbench.catalogue import METRIC, metric_file, packaged_metrics
from optbench.config.plain_yaml import read_yaml
from optbench.errors import ConfigError
from optbench.paths import conf_folder
from optbench.records.metrics import NAME, name_of
from optbench.settings import did_you_mean, shown

WORDS = ("name", "direction", "needs", "least_classes")
"""Keys of a node that say how a metric is used; the others are what it is built with."""
_DIRECTIONS, _NEEDS = ("max", "min"), ("classes", "scores", "numbers", "any")
_OF = {"classes": "classes", "scores": "probabilities of classes", "numbers": "numbers"}


def named(value: Any, config_dirs: Sequence[Path] = ()) -> Any:
    """trainer.metrics as a configuration holds it: names of the packaged conf/, and nodes of all others.

    Args:
        value: as typed; null, or anything that is no list, is left to `settings.RANGES`.
        config_dirs: the user's own conf folders.

    Raises:
        ConfigError: an unknown name, a node that says too little, or one name twice.
    """
    if not isinstance(value, list):
        return value
    found = [_named(one, config_dirs) for one in value]
    names = [name_of(one) for one in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"trainer.metrics={shown(names)}: {twice} stands there twice")
    return found


def _named(one: Any, config_dirs: Sequence[Path]) -> Any:
    if isinstance(one, Mapping):
        return _checked(
            {**one, "name": one.get("name", str(one.get("_target_")).rpartition(".")[2])}, "trainer.metrics"
        )
    file = metric_file(str(one), config_dirs)
    if file is None:
        known = {entry.stem for folder in (conf_folder(), *config_dirs) for entry in (folder / METRIC).glob("*.yaml")}
        raise ConfigError(
            f"trainer.metrics: there is no metric '{one}'",
            did_you_mean(str(one), known) or f"metrics: {', '.join(sorted(known))}",
        )
    if file.parent.parent == conf_folder():
        return str(one)
    return _checked({"name": str(one), **_read(file)}, str(file))


def _read(file: Path) -> dict[str, Any]:
    found = read_yaml(file)
    if not isinstance(found, dict):
        raise ConfigError(f"{file}: expected _target_ and direction")
    return found


def _checked(node: dict[str, Any], where: str) -> dict[str, Any]:
    """The node of a metric of the user's own. Raises ConfigError."""
    name = node["name"]
    if not isinstance(node.get("_target_"), str):
        raise ConfigError(f"{where}: a metric has no _target_", "such as _target_: mine.hinge")
    if not isinstance(name, str) or not re.fullmatch(NAME, name) or name == "loss":
        raise ConfigError(f"{where}: {name}: expected a name of small letters, digits and _", "name: hinge")
    for key, words in (("direction", _DIRECTIONS), ("needs", _NEEDS)):
        if key in node and node[key] not in words:
            raise ConfigError(f"{where}: {key}={shown(node[key])}: expected {' or '.join(words)}")
    if "direction" not in node:
        raise ConfigError(f"{where}: {name} does not say which values are better", "direction: max, or min")
    if (usual := packaged_metrics().get(name)) is not None and usual.direction != node["direction"]:
        raise ConfigError(f"{where}: of {name} {usual.direction} is better, not {node['direction']}", "another name")
    least = node.get("least_classes", 2)
    if not isinstance(least, int) or isinstance(least, bool) or least < 2:
        raise ConfigError(f"{where}: least_classes={shown(least)}: expected a whole number of at least 2")
    return node


def node_of(one: Any) -> dict[str, Any]:
    """The node of a metric as `named` has it, that of the packaged conf/ for a name."""
    if isinstance(one, Mapping):
        return dict(one)
    return {"name": one, **_read(conf_folder() / METRIC / f"{one}.yaml")}


def check_metrics(config: Mapping[str, Any]) -> None:
    """Checks that the metrics of a run fit its data and its loss, as far as the configuration tells. Raises ConfigError
    where they do not."""
    given = config["trainer"].get("metrics")
    if given is None:
        return
    data, classes = config["data"], config["data"].get("n_classes")
    if classes is None and data.get("task") == "regression":
        classes = 0
    outputs = config.get("n_outputs")
    scored = not (isinstance(classes, int) and isinstance(outputs, int) and classes > outputs)
    of_data, of_loss = (f"{group}={config['choices'].get(group)}" for group in ("data", "loss"))
    for node in map(node_of, given):
        if (why := unfit(node, classes, scored, of_data, of_loss)) is not None:
            raise ConfigError(f"trainer.metrics: {why}", _hint(classes))


def unfit(node: Mapping[str, Any], classes: int | None, scored: bool, data: str, loss: str) -> str | None:
    """Why a metric says nothing of some data under a loss; None where it fits, as far as is known.

    Args:
        node: of the metric.
        classes: number of classes of the data, 0 where they have numbers; None: not known yet.
        scored: whether the outputs are one number a class.
        data, loss: what they are called.
    """
    name, needs = node["name"], node.get("needs", "any")
    if classes is not None and needs != "any" and (needs == "numbers") != (classes == 0):
        return f"{name} is of {_OF[needs]}, and {data} has {'classes' if classes else 'numbers'}"
    if classes and classes < (least := node.get("least_classes", 2)):
        return f"{name} says nothing below {least} classes, and {data} has {classes}"
    if classes and needs == "scores" and not scored:
        return f"{name} is of {_OF[needs]}, and {loss} has none"
    return None


def _hint(classes: int | None) -> str:
    if classes is None:
        return ""
    return "of classes: accuracy, macro_f1, ..." if classes else "of numbers: rmse, mae, r2"
