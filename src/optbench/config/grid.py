"""A sweep's overrides to many configurations, without composing each.

Every override is an axis: one value, or several (a choice, a range, a glob). Axes that decide the shape (groups,
+additions, ~deletions) are composed by Hydra once a combination. Plain values are converted and checked once, then set
on copies of the resolved configuration, which share what they do not change: 10,000 runs that differ in numbers cost
one composition and some microseconds each. A value that an interpolation refers to is set before resolving.

Intervals make random search: together they are one axis of `samples` points, drawn by `sample_seed`, the same for every
combination of the other axes; tag(log, interval(a, b)) draws uniformly in the logarithm.
"""

from __future__ import annotations

import copy
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from optbench.config.explain import explained
from optbench.config.values import set_value
from optbench.errors import ConfigError
from optbench.settings import check_range

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

    from optbench.config.compose import Composed, Composer

MAX_RUNS = 10_000_000


@dataclass(frozen=True)
class Setting:
    """One value of one override: `line` as Hydra reads it, `value` as it is set, `shape` if it decides the shape."""

    key: str
    line: str
    value: Any
    shape: bool


Axis = list[tuple[Setting, ...]]


@dataclass(frozen=True)
class Job:
    """One run of a sweep: its configuration and what the overrides set, by key."""

    composed: Composed
    given: Mapping[str, Any]


class Grid:
    """The runs that a sweep's overrides describe.

    Args:
        composer: an entered Composer.
        overrides: parsed, the declared sweeps of an experiment included.
        samples: points of the joint axis of intervals.
        sample_seed: of their draws.

    Raises:
        ConfigError: an axis without values, or more than MAX_RUNS runs.
    """

    def __init__(self, composer: Composer, overrides: Sequence[Override], samples: int, sample_seed: int) -> None:
        self._composer = composer
        random = [o for o in overrides if o.is_interval_sweep()]
        self.axes: list[Axis] = [self._axis(o) for o in overrides if not o.is_interval_sweep()]
        self.count = math.prod(len(axis) for axis in self.axes) * (samples if random else 1)
        if self.count > MAX_RUNS:
            raise ConfigError(f"{self.count} runs: a sweep has at most {MAX_RUNS}", "sweep fewer values")
        if random:
            self.axes.append(_draws(random, samples, sample_seed))
        self._shapes: dict[tuple[str, ...], _Shape] = {}

    def __iter__(self) -> Iterator[Job]:
        """The runs, the last axis fastest. Raises ConfigError for a value that does not fit."""
        for point in itertools.product(*self.axes):
            settings = [setting for part in point for setting in part]
            lines = tuple(s.line for s in settings if s.shape)
            with explained(self._composer.choices):
                if lines not in self._shapes:
                    self._shapes[lines] = _Shape(self._composer.template(lines))
                composed = self._shapes[lines].compose([s for s in settings if not s.shape])
            yield Job(composed, {s.key: s.value for s in settings})

    def _axis(self, override: Override) -> Axis:
        key, shape = override.key_or_group, not self._composer.is_value(override)
        if not override.is_sweep_override():
            return [
                (Setting(key, override.input_line or "", None if override.is_delete() else override.value(), shape),)
            ]
        texts = list(override.sweep_string_iterator())
        if not texts:
            raise ConfigError(f"{override.input_line}: no value to sweep over")
        prefix = (override.input_line or "").partition("=")[0]
        lines = [f"{prefix}={text}" for text in texts]
        if shape:
            return [(Setting(key, line, text, True),) for line, text in zip(lines, texts, strict=True)]
        values: list[Any] = list(override.sweep_iterator())
        if any(not isinstance(v, int | float | bool) for v in values):  # quoted texts, lists: let Hydra read each
            values = [o.value() for o in self._composer.parse(lines)]
        return [(Setting(key, line, value, False),) for line, value in zip(lines, values, strict=True)]


def _draws(overrides: Sequence[Override], samples: int, seed: int) -> Axis:
    rng = np.random.Generator(np.random.PCG64(seed))
    columns = []
    for override in overrides:
        interval: Any = override.value()
        low, high = float(interval.start), float(interval.end)
        log = "log" in interval.tags
        if not (low < high and math.isfinite(high - low)) or (log and low <= 0):
            raise ConfigError(
                f"{override.input_line}: expected interval(low, high) of finite width with low < high"
                + (", both positive for log" if log else "")
            )
        draws = rng.uniform(math.log(low) if log else low, math.log(high) if log else high, samples)
        values = [float(f"{v:.6g}") for v in (np.exp(draws) if log else draws)]
        columns.append([Setting(override.key_or_group, "", v, False) for v in values])
    return list(zip(*columns, strict=True))


class _Shape:
    """One composition by Hydra, and the configurations that differ from it in plain values."""

    def __init__(self, template: DictConfig) -> None:
        from omegaconf import OmegaConf

        self._template = template
        text = str(OmegaConf.to_container(OmegaConf.masked_copy(template, [str(k) for k in template if k != "hydra"])))
        self._referenced = frozenset(re.findall(r"\$\{(?:oc\.select:)?([\w.]+)[,}]", text))
        self._resolved: dict[tuple[tuple[str, str], ...], Composed] = {}
        self._known: dict[tuple[str, Any], Any] = {}

    def compose(self, settings: Sequence[Setting]) -> Composed:
        """The resolved configuration with these values."""
        slow = tuple((s.key, repr(s.value)) for s in settings if self._is_referenced(s.key))
        if slow not in self._resolved:
            self._resolved[slow] = self._resolve([s for s in settings if self._is_referenced(s.key)])
        base = self._resolved[slow]
        config = base.config
        for setting in settings:
            if not self._is_referenced(setting.key):
                config = _with(config, setting.key.split("."), self._value(setting))
        return replace(base, config=config)

    def _is_referenced(self, key: str) -> bool:
        return any(r == key or r.startswith(key + ".") or key.startswith(r + ".") for r in self._referenced)

    def _resolve(self, settings: Sequence[Setting]) -> Composed:
        from optbench.config.compose import resolved

        config = copy.deepcopy(self._template)
        for setting in settings:
            set_value(config, setting.key, setting.value)
        return resolved(config)

    def _value(self, setting: Setting) -> Any:
        """The value as the configuration holds it: converted to the type of the one it replaces, and in range.

        What becomes of the first number of a type tells what becomes of every number of that type (a float, or what it
        was); so a thousand seeds are not composed a thousand times. Other values are remembered one by one.
        """
        number = isinstance(setting.value, int | float) and not isinstance(setting.value, bool)
        known = (setting.key, type(setting.value) if number else repr(setting.value))
        if known not in self._known:
            value = self._converted(setting)
            self._known[known] = type(value) if number else value
            return value
        if not number:
            return self._known[known]
        value = self._known[known](setting.value)
        check_range(setting.key, value)
        return value

    def _converted(self, setting: Setting) -> Any:
        from omegaconf import OmegaConf

        scratch = copy.deepcopy(self._template)
        set_value(scratch, setting.key, setting.value)
        value = OmegaConf.select(scratch, setting.key)
        plain = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        check_range(setting.key, plain)
        return plain


def _with(config: dict[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    """A copy of nested dictionaries with one value set; what does not lie on the path is shared."""
    head, *rest = path
    return {**config, head: _with(config[head], rest, value) if rest else value}
