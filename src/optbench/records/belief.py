"""Which records are believed: genuine ones whose numbers are possible.

A record is genuine if its run_id is the hash of the configuration beside it and ends the name of its folder, and if its
seals (`records.seal`) are right. Records without a seal are from an older version, or made by hand: they are rejected
only for numbers that are certainly impossible. What is not believed is listed, and left out of every result.
"""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from optbench.errors import RecordError
from optbench.records.files import read_rows
from optbench.records.seal import AGAIN, sum_of
from optbench.records.vocabulary import NUMERICS, Status, run_id

LOSSES = ("final_loss", "best_loss", "val_loss", "best_val_loss")
_WITHIN_STEPS = ("best_step", "best_val_step", "steps_to_target")
_LARGEST = sys.float_info.max
BOUNDS: tuple[tuple[tuple[str, ...], float, float, bool], ...] = (
    (("steps", "evals", "gradients", "hessian_products", *_WITHIN_STEPS), 0, _LARGEST, True),
    (("seconds", "epochs", "final_grad_norm"), 0, _LARGEST, False),
    (("val_accuracy", "best_val_accuracy"), 0, 1, False),
    (LOSSES, -_LARGEST, _LARGEST, False),
)
"""Bounds of the numbers in a record: columns, least and largest value, and whether they are whole."""
_NEVER_NEGATIVE = frozenset(
    {
        "torch.nn.CrossEntropyLoss",
        "optbench.losses.class_number.ClassNumber",
        "optbench.losses.focal.Focal",
        "optbench.losses.mse_softmax.MseSoftmax",
    }
)
"""Losses that are sums of squares or minus logarithms of probabilities; a `weight` may have any sign."""
_NAMED = re.compile(r"-s\d+-([0-9a-f]{12})\Z")
_CHOICES = {"model": "model", "data": "data", "loss_name": "loss", "optimizer": "optimizer", "scheduler": "scheduler"}


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def impossible(summary: Mapping[str, Any]) -> str | None:
    """What in a summary is impossible whatever was run, in words; None if nothing is."""
    for keys, low, high, whole in BOUNDS:
        for key in keys:
            value = summary.get(key)
            if value is None:
                continue
            if not _number(value):
                return f"{key}={value!r} is not a number"
            if not low <= value <= high or (whole and value % 1):
                within = f"from {low:g} to {high:g}" if high < _LARGEST else "finite" if low else "finite, not negative"
                return f"{key}={value!r} is impossible: expected a {'whole ' * whole}number, {within}"
    return None


def contradiction(summary: Mapping[str, Any], settings: Mapping[str, Any], folder: str) -> str | None:
    """What in a summary contradicts the rest of the record: a step beyond the last, a loss that is negative where it
    never is, or beyond what counts as diverged.

    Args:
        summary: of the run.
        settings: the dotted keys of its configuration.
        folder: of the run; its curve tells the loss at the start, which is looked up for very large losses alone.
    """
    steps = summary.get("steps")
    for key in _WITHIN_STEPS:
        value = summary.get(key)
        if value is not None and steps is not None and value > steps:
            return f"{key}={value} is impossible: the run made {steps} steps"
    positive = settings.get("loss._target_") in _NEVER_NEGATIVE and settings.get("loss.weight") is None
    factor = settings.get("trainer.divergence_factor")
    for key in LOSSES:
        value = summary.get(key)
        if value is None:
            continue
        if positive and value < 0:
            return f"{key}={value!r} is impossible: {settings['loss._target_']} is never negative"
        judged = key in ("final_loss", "best_loss") and summary.get("status") != Status.DIVERGED
        if judged and factor is not None and abs(value) > factor:
            start = _start_loss(folder)
            if start is not None and abs(value) > factor * abs(start):
                return f"{key}={value!r} is impossible for a run that did not diverge from a loss of {start:g}"
    return None


def _start_loss(folder: str) -> float | None:
    try:
        rows = read_rows(Path(folder, "metrics.csv"))
        start = float(rows[0]["loss"]) if rows and rows[0].get("step") == "0" else math.nan
    except (RecordError, KeyError, ValueError):
        return None
    return start if math.isfinite(start) else None


def sums(summary: Mapping[str, Any]) -> Mapping[str, str]:
    """Checksums of the files beside a record, by name; none in a record without."""
    provenance = summary.get("provenance")
    found = provenance.get("files") if isinstance(provenance, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def check_own(folder: str, summary: Mapping[str, Any], config: str, flat: Callable[[], Mapping[str, Any]]) -> None:
    """Checks that the record in a folder is that of the configuration beside it.

    Args:
        folder: of the run.
        summary: run.json's object, its seal checked.
        config: the text of config.yaml.
        flat: gives the flat configuration.

    Raises:
        RecordError: it belongs to another run, or the configuration was changed.
    """
    own = summary["run_id"]
    named = _NAMED.search(os.path.basename(os.path.abspath(folder)))
    if named is not None and named[1] != own:
        raise RecordError(f"{folder}: its run.json is that of another run, {own}", AGAIN)
    expected = sums(summary).get("config.yaml")
    if expected is not None:
        if sum_of(config.encode()) != expected:
            raise RecordError(f"{folder}: config.yaml was changed after the run: its checksum differs", AGAIN)
        return
    if "numerics" not in summary:  # made by hand: nothing says what its identity was made from
        return
    settings = flat()
    found = run_id(settings, summary.get("data_fingerprint"), summary.get("numerics") or NUMERICS)
    if found != own:
        raise RecordError(f"{folder}: config.yaml was changed after the run (it hashes to {found}, not {own})", AGAIN)
    for column, key in (("seed", "seed"), *((column, f"choices.{group}") for column, group in _CHOICES.items())):
        if summary.get(column) != settings.get(key):
            why = f"{column}={summary.get(column)!r} in run.json, {settings.get(key)!r} in config.yaml"
            raise RecordError(f"{folder}: {why}", AGAIN)
    if (wrong := contradiction(summary, settings, folder)) is not None:
        raise RecordError(f"{folder}: {wrong}", AGAIN)
