"""Which checkpoint of a network a figure is of: the best on the validation data, or the last. One choice everywhere.

`compare`, the live table of a sweep, `evaluate`, `predict` and `curvature` all ask here, so that the accuracy that a
table ranks by is the one of the weights that fill the submission. --checkpoint decides, else the variable
OPTBENCH_CHECKPOINT, else it is the best.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType

from optbench.errors import UserError
from optbench.records.metrics import column_of

CHECKPOINTS = ("best", "last")
VARIABLE = "OPTBENCH_CHECKPOINT"
ACCURACY: Mapping[str, str] = MappingProxyType({"best": "best_val_accuracy", "last": "val_accuracy"})
"""The column of a summary that holds the validation accuracy of each."""
VALIDATION_LOSS: Mapping[str, str] = MappingProxyType({"best": "best_val_loss", "last": "val_loss"})
"""The column that holds the validation loss of each, by which networks without classes are ranked."""


def chosen(asked: str | None = None, others: bool = False) -> str:
    """The checkpoint that figures are of.

    Args:
        asked: by --checkpoint; None: not given.
        others: whether the number of an epoch that trainer.keep_every kept will do too.

    Raises:
        UserError: a checkpoint that there cannot be.
    """
    value = asked or os.environ.get(VARIABLE) or CHECKPOINTS[0]
    if value in CHECKPOINTS or (others and value.isdecimal()):
        return value
    where = "--checkpoint " if asked else f"{VARIABLE}="
    raise UserError(f"{where}{value}: expected {', '.join(CHECKPOINTS)}{' or an epoch' if others else ''}")


def criteria(checkpoint: str, metric: str | None = None) -> tuple[str, ...]:
    """What runs are ranked by, the first one first, as columns of a summary.

    Args:
        checkpoint: best or last.
        metric: that the runs name first (trainer.metrics); None: none.

    Returns:
        The metric of the checkpoint, its accuracy, its validation loss (the first that a regression without metrics
        has), and the final loss (all that a surface has).
    """
    first = () if metric is None else (column_of(metric, checkpoint),)
    return tuple(dict.fromkeys((*first, ACCURACY[checkpoint], VALIDATION_LOSS[checkpoint], "final_loss")))
