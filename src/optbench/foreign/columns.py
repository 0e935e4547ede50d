"""Which column of a log is which column of a curve: as the user says, else by the names that people give.

Nothing is guessed beyond the names below, which are compared without case and with one sign for / . - and spaces. Where
several columns have such a name, the first in the order of the names is taken, and the choice is always said.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from optbench.errors import UserError
from optbench.foreign.log import Log
from optbench.foreign.tables import listed
from optbench.records import CURVE_COLUMNS

SCORES = ("loss", "val_loss", "val_accuracy")
"""A curve has at least one of these."""
ACCURACIES = ("val_accuracy", "train_accuracy")
_OF_TRAINING = ("train", "training")
_OF_VALIDATION = ("val", "valid", "validation", "eval")


def _both(parts: Sequence[str], words: Sequence[str]) -> tuple[str, ...]:
    ends = ("", "_epoch", "_step")
    return tuple(f"{p}_{w}{e}" for w in words for e in ends for p in parts) + tuple(
        f"{w}_{p}" for w in words for p in parts
    )


NAMES: Mapping[str, tuple[str, ...]] = {
    "step": ("step", "_step", "global_step", "trainer_global_step", "train_global_step", "iteration", "iter"),
    "epoch": ("epoch", "train_epoch"),
    "lr": ("lr", "learning_rate", "train_lr", "train_learning_rate"),
    "loss": ("loss", *_both(_OF_TRAINING, ("loss",))),
    "grad_norm": ("grad_norm", "gradient_norm", "train_grad_norm"),
    "val_loss": _both(_OF_VALIDATION, ("loss",)),
    "val_accuracy": _both(_OF_VALIDATION, ("accuracy", "acc")),
    "train_accuracy": _both(_OF_TRAINING, ("accuracy", "acc")),
}
"""Names that a column may have to be read without being asked for. `seconds` is never read so: what clock it was, and
whether it ran during evaluation, only the user knows."""


SETTINGS = ("seed", "model", "data", "optimizer", "scheduler", "batch_size", "weight_decay", "momentum")
"""Settings that have a name of their own here, beside the learning rate, which is a column of curves too."""


def parse_map(given: Sequence[str]) -> dict[str, str]:
    """Columns of curves, or settings, to what they are called in logs: `step=Step,loss=train/loss,optimizer=algo`.
    Raises UserError."""
    names = (*CURVE_COLUMNS, *SETTINGS)
    known = "|".join(names)
    found: dict[str, str] = {}
    for part in (part for text in given for part in re.split(rf",(?=(?:{known})=)", text)):
        name, sign, column = part.partition("=")
        if name not in names or not sign or not column:
            raise UserError(
                f"--map {part}: expected COLUMN=NAME, as in loss=train/loss",
                f"columns of a curve: {', '.join(CURVE_COLUMNS)}; settings: {', '.join(SETTINGS)}",
            )
        if found.setdefault(name, column) != column:
            raise UserError(f"--map: {name} is given twice, as {found[name]} and {column}")
    return found


def _plain(name: str) -> str:
    return re.sub(r"[/.\-\s]+", "_", name.strip().lower())


def of_settings(log: Log, asked: Mapping[str, str], settings: Collection[str]) -> dict[str, str]:
    """What of `asked` is a setting of the log: what is no column of a curve, and a learning rate that is no column of
    this log.

    Raises:
        UserError: the log has no such setting.
    """
    found = {name: own for name, own in asked.items()
             if name not in CURVE_COLUMNS or (name == "lr" and own not in log.columns and own in settings)}  # fmt: skip
    if missing := [f"{name}={own}" for name, own in found.items() if own not in settings]:
        raise UserError(
            f"{log}: no setting for --map {','.join(missing)}", f"it has: {listed(list(settings)) or 'none'}"
        )
    return found


def columns_of(log: Log, asked: Mapping[str, str]) -> dict[str, str]:
    """Columns of the curve to columns of the log.

    Args:
        log: of a run.
        asked: what the user said, as parse_map gives it; a column that the log does not have is refused.

    Raises:
        UserError: a column that is asked for, the step, or every score is missing.
    """
    there = log.columns
    missing = [f"{name}={column}" for name, column in asked.items() if column not in there]
    if missing:
        raise UserError(f"{log}: no column for --map {','.join(missing)}", f"it has: {listed(there)}")
    taken = set(asked.values())
    plain: dict[str, str] = {}
    for column in there:
        if column not in taken:
            plain.setdefault(_plain(column), column)
    found = dict(asked)
    for name, names in NAMES.items():
        usual = [plain[one] for one in names if one in plain]
        if usual:
            found.setdefault(name, usual[0])
    rates = [column for column in there if column.startswith("lr-")]  # Lightning's LearningRateMonitor: lr-Adam
    if "lr" not in found and len(rates) == 1:
        found["lr"] = rates[0]
    if "step" not in found:
        raise UserError(f"{log}: no column of steps", f"--map step=NAME says which; it has: {listed(there)}")
    if not set(SCORES) & set(found):
        raise UserError(
            f"{log}: neither loss nor val_loss nor val_accuracy",
            f"--map loss=NAME,val_accuracy=NAME says which; it has: {listed(there)}",
        )
    return {name: found[name] for name in CURVE_COLUMNS if name in found}
