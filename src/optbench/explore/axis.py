"""The values of a setting that is varied, and how a batch takes them: as one number a row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optbench.errors import UserError
from optbench.explore.cases import Case
from optbench.settings import check_range, did_you_mean, target_of

Floats = NDArray[np.float64]

DEFAULTS = {
    "optimizer.lr": (1e-5, 10.0),
    "optimizer.momentum": (0.0, 0.99),
    "optimizer.alpha": (0.0, 0.999),
    "optimizer.betas.0": (0.0, 0.99),
    "optimizer.betas.1": (0.5, 0.9999),
    "optimizer.eps": (1e-12, 1.0),
    "optimizer.weight_decay": (1e-6, 1.0),
    "trainer.grad_noise": (1e-3, 10.0),
}
"""Ranges that are looked at when none is given."""

_NOISE = "trainer.grad_noise"


@dataclass(frozen=True)
class Axis:
    """A varied setting.

    Attributes:
        key: dotted, e.g. "optimizer.lr"; a number behind a list's name picks one of its values: "optimizer.betas.1".
        values: ascending.
        log: spaced equally in the logarithm.
    """

    key: str
    values: Floats
    log: bool


def check_key(key: str) -> None:
    """Raises UserError for a key that cannot be varied in any case."""
    if key != _NOISE and not key.startswith(("optimizer.", "scheduler.")):
        raise UserError(f"{key}: expected a number of the optimizer or the scheduler, or {_NOISE}", "e.g. optimizer.lr")


def make_axis(key: str, text: str | None, points: int, option: str, cases: Sequence[Case] = ()) -> Axis:
    """The axis that options describe: logarithmic where low > 0 and high is at least 30 times low, else linear.

    Args:
        key: the setting.
        text: "low,high"; None: the usual range of the setting.
        points: how many values.
        option: that `text` was given by, for messages.
        cases: that it is for; each must have the setting.

    Raises:
        UserError: a setting of neither optimizer nor scheduler, one that a case has not, or no range.
    """
    check_key(key)
    for case in cases:
        _check_setting(case, key)
    low, high = _range(key, text, option)
    log = low > 0 and high >= 30 * low
    values = np.geomspace(low, high, points) if log else np.linspace(low, high, points)
    return Axis(key, values, log)


def _range(key: str, text: str | None, option: str) -> tuple[float, float]:
    if text is None:
        if key not in DEFAULTS:
            raise UserError(f"{key} has no usual range", f"say where to look: {option} low,high")
        return DEFAULTS[key]
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UserError(f"{option} {text}: expected low,high with low < high")
    return low, high


def check_axis(case: Case, axis: Axis) -> None:
    """Raises UserError where a case has no such real-valued setting, ConfigError for values out of its range."""
    _check_setting(case, axis.key)
    part, name, *index = axis.key.split(".")
    for end in (float(axis.values[0]), float(axis.values[-1])):
        whole = case.config[part][name]
        value = [*whole[: int(index[0])], end, *whole[int(index[0]) + 1 :]] if index else end
        check_range(f"{part}.{name}", value, target_of(case.config, part))


def _check_setting(case: Case, key: str) -> None:
    part, _, rest = key.partition(".")
    name, _, index = rest.partition(".")
    node = case.config[part]
    if name not in node or name.startswith("_"):
        raise UserError(f"{case.label} has no setting {key}", did_you_mean(rest, node, f"{part}."))
    value = node[name]
    if index:
        whole = isinstance(value, list) and index.isdecimal() and int(index) < len(value)
        value = value[int(index)] if whole else None
    if not isinstance(value, float):
        what = "is a list: pick a value, " + f"{key}.0" if isinstance(value, list) else "is not a real number"
        raise UserError(f"{key} of {case.label} {what}", "only real-valued settings can be varied")


def with_rows(case: Case, given: Sequence[tuple[str, Floats]]) -> dict[str, Mapping[str, Any] | Floats | float]:
    """A case's optimizer, scheduler and grad_noise with one number per row: keywords of descend.Batch.

    Args:
        case: the configuration.
        given: key and values, (rows,), of each varied setting.
    """
    parts: dict[str, Any] = {part: dict(case.config[part]) for part in ("optimizer", "scheduler")}
    noise: Floats | float = case.trainer.grad_noise
    for key, values in given:
        part, _, rest = key.partition(".")
        name, _, index = rest.partition(".")
        if key == _NOISE:
            noise = values
        elif index:
            whole = parts[part][name]
            columns = whole.copy() if isinstance(whole, np.ndarray) else np.tile(np.array(whole), (len(values), 1))
            columns[:, int(index)] = values
            parts[part][name] = columns
        else:
            parts[part][name] = values
    return {**parts, "grad_noise": noise}
