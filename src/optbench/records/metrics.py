"""What a record says of the metrics of a run: their names, which values of each are better, and which is the first.

Of the metric m the curve has a column val_m, and the summary val_m at the last evaluation and best_val_m at the best
one. Which these are says the column `metrics` of the summary, such as "macro_f1:max,ece:min", in their order: the first
is what the best checkpoint is chosen by and runs are ranked by. A run without has the usual one of its data: the
accuracy, or the loss where there are no classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

NAME = "[a-z][a-z0-9_]*"
"""What a metric may be called."""
COLUMN = "metrics"


def name_of(metric: Any) -> str:
    """The name of an entry of trainer.metrics: a name, or the node of the user's own."""
    return str(metric["name"] if isinstance(metric, Mapping) else metric)


def names_of(trainer: Mapping[str, Any]) -> tuple[str, ...]:
    """The names in trainer.metrics of a configuration, in order; none where it is not set."""
    return tuple(name_of(one) for one in trainer.get("metrics") or ())


def written(metrics: Mapping[str, str]) -> str:
    """The column `metrics`, of names with max or min."""
    return ",".join(f"{name}:{direction}" for name, direction in metrics.items())


def directions(text: Any) -> dict[str, str]:
    """The names that `written` wrote, with max or min; none of a run that names none."""
    found = {}
    for one in str(text or "").split(",") if text else ():
        name, _, direction = one.partition(":")
        if direction in ("max", "min"):
            found[name] = direction
    return found


def column_of(name: str, checkpoint: str = "last") -> str:
    """The column of a summary that holds a metric: of the best evaluation, or of the last, which is that of curves."""
    return f"best_val_{name}" if checkpoint == "best" else f"val_{name}"


def judged(row: Mapping[str, Any]) -> dict[str, Any]:
    """What an evaluation is judged by, of a row of a curve: the first figure after the loss, under its column; the loss
    where there is none; nothing in a row without an evaluation."""
    found = {name: value for name, value in row.items() if name.startswith("val_") and value is not None}
    name = next((name for name in found if name != "val_loss"), "val_loss")
    return {name: found[name]} if name in found else {}


def first_of(texts: Sequence[Any]) -> str | None:
    """The metric that all of some runs name first; None where they do not agree, or none names one.

    Args:
        texts: of each run the column `metrics`.
    """
    firsts = {next(iter(directions(text)), None) for text in texts}
    return firsts.pop() if len(firsts) == 1 else None
