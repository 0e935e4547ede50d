"""Overrides to resolved configurations: one, or the many of a sweep without composing each.

Hydra composes the *shape* (groups, +additions, ~deletions); plain values are set on a copy and type-checked.

In a sweep every override is an axis: one value, or several (a choice, a range, a glob). Axes that decide the shape are
composed by Hydra once a combination. Plain values are converted and checked once, then set on copies of the resolved
configuration, which share what they do not change: 10,000 runs that differ in numbers cost one composition and some
microseconds each. A value that an interpolation refers to is set before resolving.

Intervals make random search: together they are one axis of `samples` points, drawn by `sample_seed`, the same for every
combination of the other axes; tag(log, interval(a, b)) draws uniformly in the logarithm. Points that are given, each
with a value for every one of some keys, are one axis too.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import itertools
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from optbench.catalogue import GROUPS, catalogue, extra_of, loss_of_data, package_of, wants_whole_batch
from optbench.config import collates, groups, sizes, wraps
from optbench.config.explain import explained, no_choice, unreadable
from optbench.config.hydra_keys import check_hydra_keys
from optbench.config.kept import Kept, is_pure
from optbench.config.literal import with_paths_quoted
from optbench.config.metrics import check_metrics, named
from optbench.config.space import Dimension
from optbench.config.targets import check_found, check_package, targets_in
from optbench.config.values import no_value, set_value
from optbench.errors import ConfigError
from optbench.folders import place_of
from optbench.paths import conf_folder, importable
from optbench.protocol import KEY as PROTOCOL
from optbench.protocol import protocol_of
from optbench.settings import (
    SAMPLES,
    TO_BE_SAID,
    NetworkTrainer,
    SurfaceTrainer,
    check_range,
    check_ranges,
    check_together,
    shown,
    target_of,
)

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

MAX_RUNS = 10_000_000

_COMPOSED: dict[tuple[str | None, tuple[str, ...]], tuple[DictConfig, Any]] = {}
"""What Hydra has composed in this process, with the suite that was in it, by the conf tree and the overrides of shape:
a loop of `optbench.run` composes once. Not to be changed."""
_MOST_COMPOSED = 100
"""Beyond, the oldest goes: each is some hundred kilobytes."""


@dataclass
class _Schema:
    """Root of every configuration; `n_outputs` is what the loss wants of the model (null:
    as many as the data have classes, which is known when they are read), `claim` what an experiment of the
    book says about its runs, `suite` the problems that a sweep of one goes over: no part of any run, and taken out as
    soon as they are composed."""

    data: Any = None
    augment: Any = None
    collate: Any = None
    loss: Any = None
    trainer: Any = None
    optimizer: Any = None
    wrap: Any = None
    scheduler: Any = None
    model: Any = None
    seed: int = 0
    n_outputs: Any = "${oc.select:data.n_classes,null}"
    claim: Any = None
    suite: Any = None


def _by_problem(surface: Any, network: Any, *, _root_: Any) -> Any:
    """The resolver ${by_problem:A,B}: A where there is no data (a surface), B on a network.

    The learning rate that suits a narrow valley in two dimensions is not the one that suits a network with batch norm;
    so an optimizer's YAML gives both defaults.
    """
    return surface if _root_.data.get("_target_") is None else network


_OPEN: list[object] = []
"""The Hydras of this process that are open."""
_STATE: list[Any] = []
"""What was there before the first of them."""


@contextlib.contextmanager
def _hydra(config_dirs: Sequence[Path]) -> Iterator[Any]:
    """A Hydra object over conf/ with the user's folders laid over it.

    Global state is put back when the last of several that are open is closed, in whatever order they are: what one
    puts there (a resolver, schemas) the others need.
    """
    from hydra import version
    from hydra._internal.hydra import Hydra
    from hydra._internal.utils import create_config_search_path
    from hydra.core.config_search_path import SearchPathQuery
    from hydra.core.config_store import ConfigStore
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.singleton import Singleton
    from omegaconf import OmegaConf

    from optbench.config.reading import Reading

    if not _OPEN:
        _STATE.append(Singleton.get_state())
    opened = object()
    _OPEN.append(opened)
    try:
        version.setbase("1.3")
        OmegaConf.register_new_resolver("by_problem", _by_problem, replace=True)
        store = ConfigStore.instance()
        store.store(name="optbench_schema", node=_Schema, provider="optbench")
        store.store(group="trainer", name="surface_trainer_schema", node=SurfaceTrainer, provider="optbench")
        store.store(group="trainer", name="network_trainer_schema", node=NetworkTrainer, provider="optbench")
        search_path = create_config_search_path(f"file://{conf_folder()}")
        for folder in reversed(config_dirs):  # each right before the packaged tree: the last one given ends up first
            search_path.prepend("overlay", f"file://{folder.resolve()}", anchor=SearchPathQuery(provider="main"))
        GlobalHydra.instance().clear()
        app: Any = Hydra.create_main_hydra2(task_name="optbench", config_search_path=search_path)
        app.config_loader.repository = Reading(search_path)
        yield app
    finally:
        _OPEN.remove(opened)
        GlobalHydra.instance().clear()
        if not _OPEN:
            Singleton.set_state(_STATE.pop())


@dataclass(frozen=True)
class Composed:
    """A resolved configuration.

    Attributes:
        config: plain data: the groups, seed, n_outputs and `choices` (group -> chosen name).
        run_dir: where single runs go, sweep_dir: where sweeps go (hydra.run.dir, hydra.sweep.dir).
        launcher: hydra.launcher, where the runs of a sweep execute.
    """

    config: dict[str, Any]
    run_dir: Path
    sweep_dir: Path
    launcher: Mapping[str, Any]

    def to_plain(self) -> dict[str, Any]:
        """As JSON takes it."""
        return vars(self) | {"run_dir": str(self.run_dir), "sweep_dir": str(self.sweep_dir)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Composed:
        """Of what `to_plain` gave."""
        return cls(plain["config"], Path(plain["run_dir"]), Path(plain["sweep_dir"]), plain["launcher"])


class Composer:
    """Composes configurations over one conf tree; use as a context manager, again and again, one within another: what
    it has composed it keeps.

    Hydra is loaded when something is composed that is not known from before, see `config.kept`.

    Args:
        config_dirs: folders laid over conf/; of two that name the same, the later one wins.

    Attributes:
        dirs: these folders.
    """

    def __init__(self, config_dirs: Sequence[Path] = ()) -> None:
        self._stack = contextlib.ExitStack()
        self.dirs = tuple(config_dirs)
        self._found: set[str] = set()
        self.kept = Kept(self.dirs)
        self._templates: dict[tuple[str, ...], DictConfig] = {}
        self._suites: dict[tuple[str, ...], Any] = {}
        self._groups: dict[str, bool] = {}
        self._depth = 0

    def __enter__(self) -> Composer:
        importable(self.dirs)
        for folder in self.dirs:
            if not folder.is_dir():
                raise ConfigError(f"--config-dir {folder}: no such folder")
        self._depth += 1
        return self

    def __exit__(self, *exc: object) -> None:
        self._depth -= 1
        if self._depth:
            return
        self._stack.close()
        for of_hydra in ("_app", "_parser"):
            vars(self).pop(of_hydra, None)

    @functools.cached_property
    def _app(self) -> Any:
        return self._stack.enter_context(_hydra(self.dirs))

    @functools.cached_property
    def _parser(self) -> Any:
        from hydra.core.override_parser.overrides_parser import OverridesParser

        return OverridesParser.create(config_loader=self._app.config_loader)

    @property
    def loader(self) -> Any:
        """Hydra's config loader over this tree."""
        return self._app.config_loader

    def choices(self, group: str) -> list[str]:
        """Names in a group, bases and schemas left out."""
        found = self._options(group)
        return sorted(n for n in found if not n.startswith("_") and not n.endswith("_schema"))

    def compose(self, overrides: Sequence[str]) -> Composed:
        """The resolved, checked configuration of one run. Raises ConfigError in the user's words."""
        if (known := self.kept.take("run", overrides)) is not None:
            return self.found(Composed.from_plain(known))
        with explained(self.choices):
            parsed = self.parse(overrides)
            values, template = self._split(parsed)
            self._check_of_one_problem(parsed)
            config = copy.deepcopy(template)
            for override in values:
                set_value(config, override.key_or_group, override.value())
            composed = self.finished(config)
        self.kept.put("run", overrides, value=composed.to_plain())
        return composed

    def finished(self, config: DictConfig) -> Composed:
        """`resolved`, and all that is to be built can be found. Raises ConfigError."""
        if sizes.settle(config, self.dirs):
            self.kept.leave()
        composed = resolved(config)
        trainer = composed.config["trainer"]
        if trainer.get("metrics") is not None:
            trainer["metrics"] = named(trainer["metrics"], self.dirs)
            check_metrics(composed.config)
        return self.found(composed)

    def found(self, composed: Composed) -> Composed:
        """The same, once all that is to be built can be found. Raises ConfigError."""
        for group, name in composed.config["choices"].items():
            for target in targets_in(composed.config.get(group)):
                if target not in self._found:
                    check_package(f"{group}={name}", package_of(group, name, self.dirs))
                    where = "trainer.metrics" if group == "trainer" else f"{group}={name}"
                    check_found(target, where, self.dirs, extra_of(group, name, self.dirs))
                    self._found.add(target)
        return composed

    def grid(
        self,
        overrides: Sequence[str],
        samples: int = SAMPLES,
        sample_seed: int = 0,
        points: Sequence[Mapping[str, Any]] = (),
        declared: bool = True,
    ) -> Grid:
        """The runs of a sweep: the product of every choice, range and glob, and random points of the intervals.

        Sweeps that the composed configuration itself declares (hydra.sweeper.params, as an experiment does) are
        included; an override of the same key on the command line replaces them. A suite that it declares is an axis of
        its problems.

        Args:
            overrides: in Hydra's sweep grammar; of a key that stands in two, the first has a single value.
            samples: points drawn from the intervals, where there are any.
            sample_seed: of these draws.
            points: values of some keys, the same ones in each; a value of a group is the name of a choice.
            declared: whether what the configuration declares is swept over, and not the overrides alone.
        """
        more = samples, sample_seed, [list(point.items()) for point in points], *(() if declared else ("given",))
        if (known := self.kept.take("sweep", overrides, *more)) is not None:
            return Grid(self, _axes_from(known["axes"]), known["count"], shapes=known["shapes"])
        with explained(self.choices):
            parsed = self.parse(overrides, sweep=True)
            _check_nothing_lost(parsed)
            fixed = [o.input_line or "" for o in parsed if not o.is_sweep_override()]
            shape = self._shape(self.parse(fixed))
            params = self.template(shape).hydra.sweeper.get("params") or {}
            given = {o.key_or_group for o in parsed}
            lines = [f"{key}={value}" for key, value in params.items() if declared and key not in given]
            everything = self.parse([*lines, *(o.input_line or "" for o in parsed)], sweep=True)
            axes, count = _axes(self, everything, samples, sample_seed, points, self._suite(shape) if declared else [])
            return Grid(self, axes, count, whole=lambda plain: self.kept.put("sweep", overrides, *more, value=plain))

    def parse(self, overrides: Sequence[str], sweep: bool = False) -> list[Override]:
        """The overrides as Hydra reads them, checked for what it would not say clearly. Raises ConfigError.

        Args:
            overrides: as typed.
            sweep: whether a path may be several, see `config.literal`.
        """
        for text in overrides:
            if text.startswith("-"):
                raise ConfigError(f"no such option: {text.split('=')[0]}", "see --help")
            if not text.startswith("~") and (text.startswith("=") or "=" not in text):
                raise unreadable(text)
        check_hydra_keys(overrides)
        parsed = list(
            self._parser.parse_overrides([_as_hydra_takes_it(with_paths_quoted(o, sweep)) for o in overrides])
        )
        for override in parsed:
            key = override.key_or_group
            chooses = self._is_group(key) and not override.is_delete() and not override.is_sweep_override()
            if chooses and key == wraps.GROUP and isinstance(override.value(), list):
                wraps.check_names(override.value(), override.input_line or "")
                continue
            if chooses and not isinstance(override.value(), str):
                raise ConfigError(
                    f"{override.input_line}: expected a name for '{key}' (choices: {', '.join(self.choices(key))})"
                )
            if chooses and re.search(r"^/|\.\.|\.ya?ml$", str(override.value())):
                raise no_choice(key, str(override.value()), self.choices(key))
        return parsed

    def space(self, overrides: Sequence[str]) -> tuple[list[Dimension], list[str]]:
        """What of a sweep's overrides is to be searched over, and the others as they are. Raises ConfigError.

        Args:
            overrides: intervals are numbers to search for, choices and ranges of values are kinds to choose from.
        """
        with explained(self.choices):
            found: list[Dimension] = []
            fixed: list[str] = []
            for text, override in zip(overrides, self.parse(overrides, sweep=True), strict=True):
                if override.is_interval_sweep():
                    found.append(_interval(override))
                elif override.is_sweep_override():
                    axis = _axis(self, override)
                    found.append(Dimension(override.key_or_group, values=tuple(s.value for (s,) in axis)))
                else:
                    fixed.append(text)
            return found, fixed

    def suite(self, overrides: Sequence[str]) -> list[list[str]]:
        """The problems of the suite that an experiment declares, each as the overrides that make it; none without one.

        Args:
            overrides: in Hydra's sweep grammar.

        Raises:
            ConfigError: one of them sets a key that the suite sets.
        """
        with explained(self.choices):
            parsed = self.parse(overrides, sweep=True)
            problems = self._suite(self._shape([o for o in parsed if not o.is_sweep_override()]))
            _check_apart({key for one in problems for key in one}, {o.key_or_group for o in parsed}, "suite")
        return [_in_lines(one) for one in problems]

    def _suite(self, shape: tuple[str, ...]) -> list[Mapping[str, Any]]:
        """The problems of an experiment's suite, each a mapping of some keys to values. Raises ConfigError."""
        from omegaconf import OmegaConf

        self.template(shape)
        suite = self._suites[shape]
        found = OmegaConf.to_container(suite, resolve=True) if OmegaConf.is_config(suite) else suite
        if found is None:
            return []
        if not isinstance(found, list) or not found or not all(isinstance(one, dict) and one for one in found):
            raise ConfigError("suite: expected a list of problems", "each as {model: rastrigin, model.dim: 5}")
        return [{str(key): value for key, value in one.items()} for one in found]

    def _check_of_one_problem(self, overrides: Sequence[Override]) -> None:
        """Checks that one run is not asked of a suite, unless overrides set some of its keys. Raises ConfigError."""
        problems = self._suite(self._shape(overrides))
        if problems and not {key for one in problems for key in one} & {o.key_or_group for o in overrides}:
            name = next((o.input_line for o in overrides if o.key_or_group == "experiment"), "this configuration")
            one = " ".join(_in_lines(problems[0]))
            raise ConfigError(f"{name} is a suite of {len(problems)} problems, and a run is of one",
                              f"optbench sweep {name}, or say which one: {one}")  # fmt: skip

    def _is_group(self, key: str) -> bool:
        if key not in self._groups:  # Hydra lists folders for the answer
            self._groups[key] = bool(self._options(key))
        return self._groups[key]

    def _options(self, group: str) -> list[str]:
        """What is in a group, bases and schemas included; the loader would copy the repository before it asks it."""
        found: list[str] = self.loader.repository.get_group_options(group)
        return found

    def _shape(self, overrides: Sequence[Override]) -> tuple[str, ...]:
        return tuple(o.input_line or "" for o in overrides if not self.is_value(o))

    def is_value(self, override: Override) -> bool:
        """Whether the override sets a plain value; all others decide the shape of the configuration."""
        key = override.key_or_group
        plain = override.type is not None and override.type.name == "CHANGE" and override.package is None
        return plain and not key.startswith("hydra") and not self._is_group(key)

    def _split(self, overrides: Sequence[Override]) -> tuple[list[Override], DictConfig]:
        for override in overrides:
            if override.is_sweep_override():
                raise ConfigError(f"{override.input_line}: several values for one run", "use optbench sweep")
        return [o for o in overrides if self.is_value(o)], self.template(self._shape(overrides))

    def template(self, shape: tuple[str, ...]) -> DictConfig:
        """The configuration that Hydra composes from overrides of shape; not to be changed."""
        if shape not in self._templates:
            place = self.kept.tree, shape
            known = _COMPOSED.get(place)
            if known is None:
                known = self._composed(shape)
                if place[0] is not None and is_pure(shape):
                    while len(_COMPOSED) >= _MOST_COMPOSED:
                        del _COMPOSED[next(iter(_COMPOSED))]
                    _COMPOSED[place] = known
            self._templates[shape], self._suites[shape] = known
        return self._templates[shape]

    def _composed(self, shape: tuple[str, ...]) -> tuple[DictConfig, Any]:
        """What Hydra composes, and the suite that was in it."""
        from hydra.types import RunMode
        from omegaconf import open_dict

        config = self._app.compose_config("config", list(shape), RunMode.RUN)
        if (loss := self._loss_of_data(config, shape)) is not None:
            config = self._app.compose_config("config", [*shape, f"loss={loss}"], RunMode.RUN)
        with open_dict(config):
            del config["claim"]
            suite = config.pop("suite")
            trainer = config.get("trainer") or {}
            if "batch_size" in trainer and trainer["batch_size"] is None:
                whole = wants_whole_batch(*_optimizer(config, config.hydra.runtime.choices))
                trainer["batch_size"] = "full" if whole else NetworkTrainer.batch_size
        return config, suite

    def _loss_of_data(self, config: DictConfig, shape: Sequence[str]) -> str | None:
        """The loss that the data ask for, where nobody chose one: the name in their YAML (`# loss: NAME`); else squared
        error where they have no classes, and the usual one of their targets where their YAML does not say how many they
        have; None: the loss stays."""
        data, chosen = config.get("data") or {}, config.hydra.runtime.choices
        if any(re.match(r"[+~]*loss(=|@|$)", line) for line in shape) or chosen.get("loss") != _USUAL_LOSS:
            return None
        if data.get("_target_") is None:
            return None
        usual = {0: "squared_error", None: "by_targets"}.get(data.get("n_classes"))
        named = loss_of_data(str(chosen.get("data")), self.dirs) or usual
        return None if named == _USUAL_LOSS else named


def _in_lines(problem: Mapping[str, Any]) -> list[str]:
    """A problem of a suite as overrides."""
    return [f"{key}={shown(value)}" for key, value in problem.items()]


_USUAL_LOSS = "cross_entropy"
"""What conf/model/_network.yaml brings."""


def _optimizer(config: Mapping[str, Any], choices: Mapping[str, Any]) -> tuple[str, str]:
    return str(choices.get("optimizer")), target_of(config, "optimizer")


def _check_batch(config: Mapping[str, Any]) -> None:
    """Checks that an optimizer of the whole data set is given it. Raises ConfigError."""
    size = config["trainer"].get("batch_size", "full")
    name, target = _optimizer(config, config["choices"])
    if size != "full" and wants_whole_batch(name, target):
        raise ConfigError(
            f"trainer.batch_size={size}: with optimizer={name} every batch is the whole data set",
            "use trainer.batch_size=full, or optimizer=sgd for batches of 1, 2, 3 ...",
        )


_UNWRITTEN = re.compile(
    rf"loss\.weight|data\.folds?|optimizer\.(groups|roles)|(optimizer|wrap\.\w+)\.{PROTOCOL}(\.\w+)?"
)
"""Settings that our YAML files leave out, since each key is part of a run's identity."""


def _as_hydra_takes_it(override: str) -> str:
    """+experiment=x is how Hydra's documentation writes it; experiment stands in the defaults, so = is enough.

    It is the other way round with a keyword that stands in no file: it is added.
    """
    if override.startswith("+experiment="):
        return override.removeprefix("+")
    return f"++{override}" if _UNWRITTEN.fullmatch(override.partition("=")[0]) else override


def _check_nothing_lost(overrides: Sequence[Override]) -> None:
    """Of two values of a key the later one counts; several values that a later one would replace are refused."""
    seen: dict[tuple[str, str | None], Override] = {}
    for override in overrides:
        place = (override.key_or_group, override.package)
        before = seen.get(place)
        if before is not None and before.is_sweep_override():
            raise ConfigError(f"{before.input_line} and {override.input_line}: expected one of them")
        seen[place] = override


def resolved(config: DictConfig) -> Composed:
    """A composed configuration as plain data, checked to be whole and in range. Raises ConfigError."""
    from omegaconf import OmegaConf

    hydra = config.hydra
    choices = {g: hydra.runtime.choices.get(g) for g in GROUPS if hydra.runtime.choices.get(g)}
    for group, name in choices.items():
        if str(name).startswith("_") or str(name).endswith("_schema"):
            raise ConfigError(f"'{name}' is a base that others build on, not a choice for '{group}'")
    if hydra.job.chdir:  # of a file, which no override shows
        check_hydra_keys(["hydra.job.chdir=true"])
    run_dir, sweep_dir = place_of(str(hydra.run.dir)), place_of(str(hydra.sweep.dir))
    for group in (g for g in GROUPS if g not in ("experiment", wraps.GROUP)):
        if config.get(group) is None:
            raise ConfigError(f"a run needs '{group}'", f"choose one: {group}=..., see optbench list {group}")
        if group != "trainer" and "_target_" not in config[group]:
            raise ConfigError(f"{group}={choices.get(group)} has no _target_", "its YAML names there what is built")
    for key in map(str, config):
        if key not in (*GROUPS, "seed", "n_outputs", "hydra"):
            raise ConfigError(f"'{key}' is not part of a run (parts: {', '.join(GROUPS)}, seed, n_outputs)")
    if "seed" not in config:
        raise ConfigError("a run needs 'seed'", "set it: seed=0")
    tree = OmegaConf.masked_copy(config, [str(k) for k in config if k != "hydra"])
    if missing := sorted(map(str, OmegaConf.missing_keys(tree))):
        raise no_value(missing[0])
    plain: Any = OmegaConf.to_container(tree, resolve=True, enum_to_str=True)
    plain["choices"] = choices
    wraps.settle(plain)
    collates.settle(plain)
    plain["optimizer"] = groups.written(plain["optimizer"])
    check_ranges(plain)
    _check_batch(plain)
    protocol_of(plain)
    launcher: Any = OmegaConf.to_container(hydra.launcher, resolve=True)
    return Composed(plain, run_dir, sweep_dir, launcher)


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
        axes: what differs.
        count: how many runs that is.
        shapes: what was found out about them before, as `whole` was given it.
        whole: given, as plain data, what was found out about the runs, once all of them were gone through.
    """

    def __init__(
        self,
        composer: Composer,
        axes: list[Axis],
        count: int,
        shapes: Sequence[Any] = (),
        whole: Callable[[Any], None] | None = None,
    ) -> None:
        self._composer, self.axes, self.count, self._whole = composer, axes, count, whole
        self._shapes: dict[tuple[str, ...], _Shape] = {}
        for lines, plain in shapes:
            self._shapes[tuple(lines)] = _Shape(composer, tuple(lines), plain)

    @property
    def swept(self) -> list[str]:
        """Keys that differ between runs; the problems of a suite may have keys of their own."""
        differing = [axis for axis in self.axes if len(axis) > 1]
        return list(dict.fromkeys(s.key for axis in differing for settings in _kinds(axis) for s in settings))

    def __iter__(self) -> Iterator[Job]:
        """The runs, the last axis fastest. Raises ConfigError for a value that does not fit."""
        # what has one value is set first, so that all runs share what comes of it
        order = sorted(range(len(self.axes)), key=lambda i: len(self.axes[i]) > 1)
        for point in itertools.product(*self.axes):
            settings = [setting for part in point for setting in part]
            lines = tuple(s.line for s in settings if s.shape)
            with explained(self._composer.choices):
                if lines not in self._shapes:
                    self._shapes[lines] = _Shape(self._composer, lines)
                composed = self._shapes[lines].compose([s for i in order for s in point[i] if not s.shape])
            yield Job(composed, {s.key: s.value for s in settings})
        if self._whole is not None:
            axes = [[[list(vars(s).values()) for s in settings] for settings in axis] for axis in self.axes]
            shapes = [[list(lines), shape.to_plain()] for lines, shape in self._shapes.items()]
            self._whole({"axes": axes, "count": self.count, "shapes": shapes})


def _kinds(axis: Axis) -> list[tuple[Setting, ...]]:
    """One point of an axis, or all where there may be several kinds: those of a single key have one."""
    return axis[:1] if len(axis[0]) == 1 else axis


def _axes_from(plain: Sequence[Any]) -> list[Axis]:
    """The axes that a Grid gave as plain data."""
    return [[tuple(Setting(*fields) for fields in settings) for settings in axis] for axis in plain]


def _axes(
    composer: Composer,
    overrides: Sequence[Override],
    samples: int,
    sample_seed: int,
    points: Sequence[Mapping[str, Any]],
    suite: Sequence[Mapping[str, Any]],
) -> tuple[list[Axis], int]:
    """The axes of a sweep, and how many runs they make.

    Args:
        composer: an entered Composer.
        overrides: parsed, the declared sweeps of an experiment included.
        samples: points of the joint axis of intervals.
        sample_seed: of their draws.
        points: that are given.
        suite: problems, each with keys of its own.

    Raises:
        ConfigError: an axis without values, more than MAX_RUNS runs, or points that are not alike.
    """
    random = [o for o in overrides if o.is_interval_sweep()]
    axes: list[Axis] = [_axis(composer, o) for o in overrides if not o.is_interval_sweep()]
    others = {o.key_or_group for o in overrides}
    if suite:
        _check_apart(
            {key for one in suite for key in one}, others | {key for point in points for key in point}, "suite"
        )
        axes.append([tuple(_setting(composer, key, value) for key, value in one.items()) for one in suite])
    if points:
        axes.append(_given(composer, points, others))
    count = math.prod(len(axis) for axis in axes) * (samples if random else 1)
    if count > MAX_RUNS:
        raise ConfigError(f"{count} runs: a sweep has at most {MAX_RUNS}", "sweep fewer values")
    return [*axes, *([_draws(random, samples, sample_seed)] if random else [])], count


def _axis(composer: Composer, override: Override) -> Axis:
    key, shape = override.key_or_group, not composer.is_value(override)
    if not override.is_sweep_override():
        return [(Setting(key, override.input_line or "", None if override.is_delete() else override.value(), shape),)]
    texts = list(override.sweep_string_iterator())
    if not texts:
        raise ConfigError(f"{override.input_line}: no value to sweep over")
    prefix = (override.input_line or "").partition("=")[0]
    lines = [f"{prefix}={text}" for text in texts]
    if key == wraps.GROUP:
        composer.parse(lines)  # lists of names, which are checked one by one
    if shape:
        return [(Setting(key, line, text, True),) for line, text in zip(lines, texts, strict=True)]
    values: list[Any] = list(override.sweep_iterator())
    if any(not isinstance(v, int | float | bool) for v in values):  # quoted texts, lists: let Hydra read each
        values = [o.value() for o in composer.parse(lines)]
    return [(Setting(key, line, value, False),) for line, value in zip(lines, values, strict=True)]


def _given(composer: Composer, points: Sequence[Mapping[str, Any]], others: Collection[str]) -> Axis:
    """Points as an axis. Raises ConfigError."""
    keys = list(points[0])
    for number, point in enumerate(points):
        if list(point) != keys:
            raise ConfigError(f"point {number} sets {', '.join(point)}: the first one sets {', '.join(keys)}")
    _check_apart(keys, others, "points")
    return [tuple(_setting(composer, key, value) for key, value in point.items()) for point in points]


def _check_apart(keys: Collection[str], others: Collection[str], what: str) -> None:
    """Raises ConfigError where a key of `what` is set elsewhere too."""
    if twice := [key for key in keys if key in others]:
        raise ConfigError(f"{twice[0]} is set by the {what} and by an override", "leave one of them out")


def _setting(composer: Composer, key: str, value: Any) -> Setting:
    """One value of a point; a text is read as an override's is."""
    if not isinstance(value, str):
        return Setting(key, "", value, False)
    line = f"{key}={value}"
    (override,) = composer.parse([line])
    shape = not composer.is_value(override)
    return Setting(key, line if shape else "", value if shape else override.value(), shape)


def _interval(override: Override) -> Dimension:
    """The numbers of an interval. Raises ConfigError where it is none."""
    interval: Any = override.value()
    low, high = float(interval.start), float(interval.end)
    log = "log" in interval.tags
    if not (low < high and math.isfinite(high - low)) or (log and low <= 0):
        raise ConfigError(
            f"{override.input_line}: expected interval(low, high) of finite width with low < high"
            + (", both positive for log" if log else "")
        )
    return Dimension(override.key_or_group, low, high, log)


def _draws(overrides: Sequence[Override], samples: int, seed: int) -> Axis:
    rng = np.random.Generator(np.random.PCG64(seed))
    columns = []
    for override in overrides:
        one = _interval(override)
        low, high = (math.log(one.low), math.log(one.high)) if one.log else (one.low, one.high)
        draws = rng.uniform(low, high, samples)
        values = [float(f"{v:.6g}") for v in (np.exp(draws) if one.log else draws)]
        columns.append([Setting(one.key, "", v, False) for v in values])
    return list(zip(*columns, strict=True))


_NUMBERS: Mapping[str, type] = {"int": int, "float": float}


class _Shape:
    """One composition by Hydra, and the configurations that differ from it in plain values.

    Args:
        composer: an entered Composer.
        lines: the overrides that decide the shape.
        known: what `to_plain` gave before; then Hydra is asked only for what is not in it.
    """

    def __init__(self, composer: Composer, lines: tuple[str, ...], known: Mapping[str, Any] | None = None) -> None:
        self._composer, self._lines = composer, lines
        known = known or {"referenced": None, "resolved": [], "known": [], "types": [], "targets": {}}
        self._referenced = self._references() if known["referenced"] is None else frozenset(known["referenced"])
        self._resolved: dict[tuple[tuple[str, str], ...], Composed] = {
            tuple((key, value) for key, value in slow): composer.found(Composed.from_plain(found))
            for slow, found in known["resolved"]
        }
        self._known: dict[tuple[str, Any], Any] = {(key, value): found for key, value, found in known["known"]}
        self._known |= {(key, _NUMBERS[given]): _NUMBERS[found] for key, given, found in known["types"]}
        self._targets: dict[str, str] = dict(known["targets"])
        self._asked: dict[str, bool] = {}
        self._base: dict[str, Any] | None = None
        self._trail: list[tuple[Setting, dict[str, Any]]] = []

    def to_plain(self) -> dict[str, Any]:
        """What is known of it, as JSON takes it."""
        names = {kind: name for name, kind in _NUMBERS.items()}
        types = [[key, names[a], names[b]] for (key, a), b in self._known.items() if a in names and b in names]
        values = [[key, a, b] for (key, a), b in self._known.items() if isinstance(a, str)]
        resolved = [[[list(s) for s in slow], found.to_plain()] for slow, found in self._resolved.items()]
        return {"referenced": sorted(self._referenced), "resolved": resolved, "known": values, "types": types,
                "targets": self._targets}  # fmt: skip

    @property
    def _template(self) -> DictConfig:
        return self._composer.template(self._lines)

    def _references(self) -> frozenset[str]:
        """The keys that other values are made of, and those without which there is no run: what comes of them is
        resolved, not set."""
        from omegaconf import OmegaConf

        parts = [str(k) for k in self._template if k != "hydra"]
        tree = OmegaConf.masked_copy(self._template, parts)
        open_ones = [
            *map(str, OmegaConf.missing_keys(tree)),
            *(k for k in TO_BE_SAID if OmegaConf.select(tree, k) is None),
        ]
        text = str(OmegaConf.to_container(tree))
        if sizes.named(self._template, self._composer.dirs) is not None:
            open_ones.append("data")  # what the data know hangs on all their settings
        return frozenset([*open_ones, *re.findall(r"\$\{(?:oc\.select:)?([\w.]+)[,}]", text)])

    def compose(self, settings: Sequence[Setting]) -> Composed:
        """The resolved configuration with these values. What others refer to, and what must be said, is composed with
        them; the rest is set on copies."""
        referenced = [s for s in settings if self._is_referenced(s.key)]
        slow = tuple((s.key, repr(s.value)) for s in referenced)
        if slow not in self._resolved:
            try:
                self._resolved[slow] = self._resolve(referenced)
            except ConfigError:  # without the other values it is no run; with them it may be one
                return self._resolve(settings)
        base = self._resolved[slow]
        config = self._set(base.config, [s for s in settings if not self._is_referenced(s.key)])
        if config is not base.config:
            check_together(config)
            groups.check(config["optimizer"])
            _check_batch(config)
            protocol_of(config)
            check_metrics(config)
        return replace(base, config=config)

    def _set(self, config: dict[str, Any], settings: Sequence[Setting]) -> dict[str, Any]:
        """The configuration with some values, from where the one before it parted: runs share what they have alike."""
        if self._base is not config:
            self._base, self._trail = config, []
        same = 0
        for (before, made), setting in zip(self._trail, settings, strict=False):
            if before is not setting:
                break
            same, config = same + 1, made
        del self._trail[same:]
        for setting in settings[same:]:
            config = _with(config, setting.key.split("."), self._value(setting))
            self._trail.append((setting, config))
        return config

    def _is_referenced(self, key: str) -> bool:
        if key not in self._asked:
            parts = (r == key or r.startswith(key + ".") or key.startswith(r + ".") for r in self._referenced)
            self._asked[key] = any(parts)
        return self._asked[key]

    def _resolve(self, settings: Sequence[Setting]) -> Composed:
        config = copy.deepcopy(self._template)
        for setting in settings:
            set_value(config, setting.key, setting.value)
        return self._composer.finished(config)

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
        check_range(setting.key, value, self._target(setting))
        return value

    def _converted(self, setting: Setting) -> Any:
        from omegaconf import OmegaConf

        scratch = copy.deepcopy(self._template)
        set_value(scratch, setting.key, setting.value)
        value = OmegaConf.select(scratch, setting.key)
        plain = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        check_range(setting.key, plain, self._target(setting))
        return named(plain, self._composer.dirs) if setting.key == "trainer.metrics" else plain

    def _target(self, setting: Setting) -> str:
        part = setting.key.partition(".")[0]
        if part not in self._targets:
            self._targets[part] = target_of(self._template, part)
        return self._targets[part]


def _with(config: Any, path: Sequence[str], value: Any) -> Any:
    """A copy of nested dictionaries and lists with one value set; what does not lie on the path is shared."""
    head, *rest = path
    if isinstance(config, list):
        made = list(config)
        made[int(head)] = _with(made[int(head)], rest, value) if rest else value
        return made
    return {**config, head: _with(config[head], rest, value) if rest else value}


def complete(line: str, config_dirs: Sequence[Path] = ()) -> list[str]:
    """Continuations of one override, as Hydra's completion engine finds them; bases and schemas left out.

    Of choices in folders it knows nothing: those are of the catalogue, once the folder is written.
    """
    group, equals, begun = line.partition("=")
    if equals and group in GROUPS and "/" in begun:
        return [f"{group}={e.name}" for e in catalogue(group, config_dirs) if e.name.startswith(begun)]
    from hydra._internal.core_plugins.bash_completion import BashCompletion

    with Composer(config_dirs) as composer:
        found = BashCompletion(composer.loader)._query(config_name="config", line=line)
    hidden = ("_", "hydra")
    return [
        f"{f}=" if f in GROUPS else f  # of a group that has folders Hydra leaves the sign out
        for f in found
        if not f.partition("=")[2].startswith("_") and not f.startswith(hidden) and not f.endswith("_schema")
    ]
