"""Overrides to planned runs: what would run, under which identity, in which folder, and whether it has run already.

Nothing here imports torch: a wrong override is named, and a sweep is planned, before anything heavy is loaded.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import importlib
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, overload

from optbench.catalogue import makes_its_root
from optbench.config import Composed, Composer, Job
from optbench.config.callbacks import Callbacks, parse_callbacks
from optbench.config.hydra_keys import RUN, SWEEP, check_hydra_keys
from optbench.errors import ConfigError, DataError, IncompatibleError, UserError
from optbench.experiment import unlabelled
from optbench.experiment.sources import KEY, PARTS, is_own, names_in, sources
from optbench.folders import Progress, fingerprint, place_of
from optbench.pictures import Splits
from optbench.protocol import around_name, check_served, wrapped
from optbench.records import Run, look, write_bytes
from optbench.records.shared import PerObject
from optbench.records.vocabulary import Identities
from optbench.settings import SAMPLES, idle, shown, trainer_from

_LONGEST_NAME = 100
"""Most bytes in a sweep's name: a file system allows 255, and the files beside it need some."""


@dataclass(frozen=True)
class Planned:
    """One run to come.

    Attributes:
        config: the resolved configuration.
        folder: where its records go.
        run_id: its identity.
        sweep: name of the sweep it belongs to, or None.
        swept: the overrides that set it apart within its sweep, by override name.
        data_fingerprint: of the data folder, where the data is one.
        engine: "auto", or "loop" where the training loop was asked for.
        callbacks: who is told of it: name and configuration node of each.
    """

    config: Mapping[str, Any]
    folder: Path
    run_id: str
    sweep: str | None = None
    swept: Mapping[str, Any] = field(default_factory=dict)
    data_fingerprint: str | None = None
    engine: str = "auto"
    callbacks: tuple[tuple[str, Mapping[str, Any]], ...] = ()

    @property
    def choices(self) -> Mapping[str, str]:
        """Group to the chosen name."""
        found: Mapping[str, str] = self.config["choices"]
        return found

    @property
    def label(self) -> str:
        """The run in a few words, for people: model, optimizer, scheduler, what was swept, seed."""
        named = ("model", "optimizer", "wrap", "scheduler")
        values = [f"{k.rpartition('.')[2]}={v}" for k, v in self.swept.items() if k not in (*named, "seed")]
        parts = (self.choices["model"], around_name(self.choices), self.choices["scheduler"])
        return " ".join([*parts, *values, f"seed={self.config['seed']}"])

    def look(self) -> tuple[Run | None, str | None]:
        """The record of this run, whatever its status, and what is wrong with what lies in its place; see
        `records.look`."""
        return look(self.folder, self.run_id)

    def recorded(self) -> Run | None:
        """The record of this run, whatever its status; None when there is none that is believed and whole."""
        return self.look()[0]


def plan_run(
    overrides: Sequence[str],
    config_dirs: Sequence[Path] = (),
    out: Path | None = None,
    progress: Progress | None = None,
    callbacks: Sequence[str] = (),
    composer: Composer | None = None,
) -> Planned:
    """The one run that the overrides describe; `progress` as of `data_fingerprint`, `callbacks` as of `--callback`,
    `composer` as of `plan_sweep`.

    Raises:
        UserError, ConfigError, DataError: it cannot be planned.
        IncompatibleError: a callback asks for what such a run has not.
    """
    _check_texts(overrides)
    told = parse_callbacks(callbacks, config_dirs)
    check_hydra_keys(overrides, RUN)
    with composer or Composer(config_dirs) as composing:
        composed = composing.compose(overrides)
    _check_idle([composed.config])
    check_served(wrapped(composed.config), trainer_from(composed.config), around_name(composed.config["choices"]))
    return _with_callbacks(_Identifier(progress)(composed, out or composed.run_dir), told)


def _with_callbacks(planned: Planned, callbacks: Callbacks) -> Planned:
    """The run with callbacks; where one looks into the module, by the training loop. Raises IncompatibleError."""
    if not callbacks.need_module:
        return replace(planned, callbacks=callbacks.nodes)
    from optbench.descend.portable import is_portable

    if is_portable(planned.config["trainer"]):
        raise IncompatibleError("a callback looks into the module, and trainer.engine=portable has none")
    return replace(planned, callbacks=callbacks.nodes, engine="loop")


class Sweep(Sequence[Planned]):
    """The planned runs of a sweep, in order, no two of them the same run.

    Attributes:
        name: of the sweep.
        folder: where its records go.
        launcher: hydra.launcher: where its runs execute.
        overrides: what it was planned from.
        options: of `optbench sweep` that decide which runs these are and where they are kept.
        parts: the sweeps that it was joined of; itself where it was not.
    """

    def __init__(
        self,
        runs: Sequence[Planned],
        name: str,
        folder: Path,
        launcher: Mapping[str, Any],
        overrides: Sequence[str] = (),
        options: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
        parts: Sequence[Sweep] = (),
    ) -> None:
        self._runs, self.name, self.folder, self.launcher = list(runs), name, folder, launcher
        self.overrides, self.options = tuple(overrides), options
        self.parts: Sequence[Sweep] = parts or (self,)

    @classmethod
    def joined(cls, parts: Sequence[Sweep]) -> Sweep:
        """Sweeps of one name and folder as one, so that they share batches, stacks and workers: seed by seed, so that
        one that is cut short has its first seeds whole. Each part keeps its own plan beside the records."""
        first = parts[0]
        runs = {item.run_id: item for part in parts for item in part}
        in_order = sorted(runs.values(), key=lambda item: int(item.config["seed"]))
        return cls(in_order, first.name, first.folder, first.launcher, parts=parts)

    def __len__(self) -> int:
        return len(self._runs)

    @overload
    def __getitem__(self, index: int) -> Planned: ...
    @overload
    def __getitem__(self, index: slice) -> list[Planned]: ...
    def __getitem__(self, index: int | slice) -> Planned | list[Planned]:
        return self._runs[index]


@dataclass(frozen=True)
class Points:
    """Settings that are given, each a run of its own (with every seed).

    Attributes:
        rows: of each the value of some keys, the same keys in each.
        file: where they are written, for the command that repeats the sweep.
    """

    rows: Sequence[Mapping[str, Any]] = ()
    file: Path | None = None

    def lines(self) -> list[str]:
        """As text, a line each."""
        return [" ".join(f"{key}={value!r}" for key, value in row.items()) for row in self.rows]

    @classmethod
    def read(cls, file: Path) -> Points:
        """Of a CSV file: its first line has the keys, each further line their values as overrides have them.

        Raises:
            UserError: it is none.
        """
        try:
            with file.open(encoding="utf-8-sig", newline="") as text:
                lines = [line for line in csv.reader(text) if line]
        except (OSError, ValueError, csv.Error) as error:
            raise UserError(f"--points {file}: {getattr(error, 'strerror', None) or error}") from error
        if len(lines) < 2:
            raise UserError(f"--points {file}: no points", "a line of keys (optimizer.lr), then a line of values each")
        keys = [key.strip() for key in lines[0]]
        if not all(keys) or len(set(keys)) < len(keys):
            raise UserError(f"--points {file}: its first line must name each key once, such as optimizer.lr")
        for number, line in enumerate(lines[1:], 2):
            if len(line) != len(keys):
                raise UserError(f"--points {file}: line {number} has {len(line)} values, there are {len(keys)} keys")
        return cls([dict(zip(keys, map(str.strip, line), strict=True)) for line in lines[1:]], file)

    def write(self, file: Path) -> Points:
        """The same in a CSV file, written in one piece. Raises OutputError."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: shown(value) for key, value in row.items()} for row in self.rows)
        write_bytes(file, text.getvalue().encode())
        return Points(self.rows, file)


NO_POINTS = Points()


def plan_sweep(
    overrides: Sequence[str],
    config_dirs: Sequence[Path] = (),
    out: Path | None = None,
    name: str | None = None,
    samples: int = SAMPLES,
    progress: Progress | None = None,
    points: Points = NO_POINTS,
    declared: bool = True,
    composer: Composer | None = None,
) -> Sweep:
    """Every run of a sweep. Raises UserError, ConfigError, DataError.

    Args:
        overrides: with Hydra's sweep grammar (choices, ranges, globs, intervals) and `seeds=n` for seed=0 ... n-1;
            data.folds=k alone stands for all k folds.
        config_dirs: folders laid over conf/.
        out: folder that holds sweeps.
        name: the sweep's folder in it; by default made from the experiment and a hash of the overrides, so that the
            same command finds its own results again.
        samples: points drawn from intervals, where there are any.
        progress: as of `data_fingerprint`.
        points: settings that are given, instead of a grid or beside one.
        declared: whether the sweep and the suite that an experiment declares are part of it.
        composer: over the same folders, of whoever plans several sweeps: what it knows is not composed again.
    """
    _check_texts(overrides)
    _check_seeds(overrides)
    check_hydra_keys(overrides, SWEEP)
    given = tuple(overrides)
    options = {
        "--config-dir": tuple(map(str, config_dirs)),
        "--samples": () if samples == SAMPLES else (str(samples),),
        "--out": () if out is None else (str(out),),
        "--name": () if name is None else (name,),
        "--points": () if points.file is None else (str(points.file),),
    }
    overrides = [_seeds(o.removeprefix("+") if o.startswith("+experiment=") else o) for o in overrides]
    overrides = _all_folds(overrides)
    name = name or _sweep_name([*overrides, *points.lines()])
    if not re.fullmatch(r"[\w][\w.,=+-]*", name):
        raise UserError(f"--name {name}: expected letters, digits and . , = + -")
    if len(name.encode()) > _LONGEST_NAME:
        raise UserError(f"--name {name[:20]}...: {len(name.encode())} bytes long; expected at most {_LONGEST_NAME}")
    with composer or Composer(config_dirs) as composing:
        grid = composing.grid(overrides, samples, points=points.rows, declared=declared)
        keys = grid.swept
        runs: dict[str, Planned] = {}
        identify = _Identifier(progress)
        folder_of = PerObject(lambda parent: parent / name)
        for job in grid:
            folder = folder_of(out or job.composed.sweep_dir)
            planned = identify(job.composed, folder, name, _set_to(job, keys))
            runs.setdefault(planned.run_id, planned)
    _check_idle(planned.config for planned in runs.values())
    return Sweep(
        list(runs.values()), name, folder, job.composed.launcher, given, {k: v for k, v in options.items() if v}
    )


def _set_to(job: Job, keys: Sequence[str]) -> dict[str, Any]:
    """The values of the swept keys in a run: as composed, or the choice of a group; without those that it has not."""
    found = {}
    for key in keys:
        value: Any = job.composed.config
        for part in key.split("."):
            if isinstance(value, list):
                value = value[int(part)] if part.isdecimal() and int(part) < len(value) else None
            else:
                value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None and not isinstance(value, Mapping):
            found[key] = value
        elif key in job.given:
            found[key] = job.given[key]
    return found


def _check_texts(overrides: Sequence[object]) -> None:
    """Checks for mistakes that a Python caller can make and the command line cannot."""
    for given in overrides:
        if not isinstance(given, str):
            expected = 'texts, each an argument of its own: run("optimizer=adam", "seed=1"), run(*overrides)'
            raise UserError(f"{given!r} is not an override: expected {expected}")


def _check_idle(configs: Iterable[Mapping[str, Any]]) -> None:
    """Settings of pseudo-labels do something in some run, if they are set. Raises ConfigError."""
    found = ""
    for config in configs:
        key = idle(config["trainer"])
        if key is None:
            return
        found = found or f"trainer.{key}={shown(config['trainer'][key])}"
    raise ConfigError(
        f"{found}: of which pictures?", "name them too: trainer.unlabelled=PATH, or trainer.unlabelled=test"
    )


def _check_seeds(overrides: Sequence[str]) -> None:
    """seeds= is another word for seed=; if both are given, one would be dropped."""
    given = [o for o in overrides if re.match(r"\+{0,2}seeds?=", o)]
    if len(given) > 1 and any("seeds=" in o for o in given):
        raise ConfigError(f"{' and '.join(given)}: expected one of them", "seeds=3 stands for seed=range(3)")


def _seeds(override: str) -> str:
    match = re.fullmatch(r"seeds=(.*)", override)
    if not match:
        return override
    if not re.fullmatch(r"[1-9]\d{0,5}", match[1]):
        raise ConfigError(f"{override}: expected how many seeds, a whole number of at least 1")
    return f"seed=range({match[1]})"


def _all_folds(overrides: Sequence[str]) -> list[str]:
    """data.folds=5 alone stands for all five folds."""
    given = [o for o in overrides if re.match(r"\+{0,2}data\.folds=", o)]
    if not given or any(re.match(r"\+{0,2}data\.fold=", o) for o in overrides):
        return list(overrides)
    if not re.fullmatch(r"[1-9]\d{0,3}", count := given[-1].partition("=")[2]):
        raise ConfigError(f"{given[-1]}: expected how many folds, a whole number", "data.folds=5 runs all five")
    return [*overrides, f"data.fold=range({count})"]


def _sweep_name(overrides: Sequence[str]) -> str:
    named = [o.partition("=")[2] for o in overrides if re.match(r"experiment=[\w/]+$", o)]
    digest = hashlib.sha256("\n".join(sorted(overrides)).encode()).hexdigest()[:8]
    return f"{named[0].replace('/', '-')[:60] if named else 'sweep'}-{digest}"


_NOTHING: Mapping[str, Any] = MappingProxyType({})


def slug_of(config: Mapping[str, Any], run_id: str) -> str:
    """The name of a run's folder."""
    return f"{_slug(config['choices'])}-s{config['seed']}-{run_id}"


def _slug(choices: Mapping[str, Any]) -> str:
    parts = (choices["model"], around_name(choices), choices["scheduler"])
    return "-".join(re.sub(r"\W+", "_", str(part)) for part in parts)


class _Identifier:
    """Composed configurations to planned runs; a data folder is looked at once, and so is what its names stand for."""

    def __init__(self, progress: Progress | None = None) -> None:
        self._progress = progress
        self._fingerprints: dict[tuple[str, str], str] = {}
        self._unlabelled: dict[tuple[Any, ...], Mapping[str, str]] = {}
        self._sources: dict[tuple[tuple[str, ...], ...], dict[str, str]] = {}
        self._names = {part: PerObject(functools.partial(names_in, part=part)) for part in PARTS}
        self._identity = Identities()
        self._slug = PerObject(_slug)
        importlib.invalidate_caches()  # a module may have been written a moment ago

    def __call__(
        self, composed: Composed, parent: Path, sweep: str | None = None, swept: Mapping[str, Any] | None = None
    ) -> Planned:
        config = composed.config
        if behind := self._behind(config):
            config = {**config, KEY: behind}
        seen = self._fingerprint(config)
        if config["trainer"].get("unlabelled") is not None:
            config = {**config, unlabelled.KEY: self._without_labels(config)}
        identity = self._identity(config, seen)
        slug = f"{self._slug(config['choices'])}-s{config['seed']}-{identity}"
        return Planned(config, parent / slug, identity, sweep, swept or {}, seen)

    def _behind(self, config: Mapping[str, Any]) -> dict[str, str]:
        known = tuple(names(config.get(part) or _NOTHING) for part, names in self._names.items())
        if known not in self._sources:
            _fetch(config["data"])
            self._sources[known] = sources(config)
        return self._sources[known]

    def _without_labels(self, config: Mapping[str, Any]) -> Mapping[str, str]:
        key = config["trainer"]["unlabelled"], config["data"].get("root"), config["data"].get("_target_")
        if key not in self._unlabelled:
            self._unlabelled[key] = unlabelled.identity(config, self._progress) or {}
        return self._unlabelled[key]

    def _fingerprint(self, config: Mapping[str, Any]) -> str | None:
        root = config["data"].get("root")
        if not root:
            return None
        looked = str(root), _looker(config)
        if looked not in self._fingerprints:
            self._fingerprints[looked] = data_fingerprint(config, self._progress) or ""
        return self._fingerprints[looked]


def _looker(config: Mapping[str, Any]) -> str:
    """Of two data sets on one folder: whether what identifies it may differ. The class says which of its files count,
    and where it makes them, its settings say what they are."""
    node, name = config["data"], config["choices"]["data"]
    target = str(node["_target_"])
    if makes_its_root(name, target):
        return f"{name} {json.dumps(node, sort_keys=True, default=str)}"
    return f"{name} {target}"


def _fetch(node: Mapping[str, Any]) -> None:
    """Lets a data set fetch its files where data.download asks for it: a run's identity is made of what they hold."""
    if node.get("download") is not True:
        return
    from optbench.config import build
    from optbench.problem.folds import KEYS

    made = build({key: value for key, value in node.items() if key not in KEYS}, "data")
    if callable(fetch := getattr(made, "fetch", None)):
        fetch()


def data_fingerprint(config: Mapping[str, Any], progress: Progress | None = None) -> str | None:
    """The fingerprint of a configuration's data folder; None where it has none. Raises DataError.

    Of data sets that come with optbench it is of the pictures that a run trains and validates on; of the user's own,
    who alone knows what is read, of everything in the folder.

    Args:
        config: resolved.
        progress: told how many files are read, of those that are not known from before.
    """
    root = config["data"].get("root")
    if not root:
        return None
    try:
        place = place_of(root)
        if is_own(config["data"]["_target_"]):
            return fingerprint(place, everything=True)
        return _of_pictures(place, config, progress)
    except DataError as error:
        name = config["choices"]["data"]
        hint = f"data={name} reads data.root={root}; data=synthetic_food makes pictures in the same layout"
        raise DataError(error.message, error.hint or hint) from error


def _of_pictures(place: Path, config: Mapping[str, Any], progress: Progress | None) -> str:
    """The fingerprint of what lies at a place, or of what a data set that makes its pictures will make there."""
    try:
        return Splits(place).fingerprint(progress)
    except DataError:
        node = config["data"]
        if not makes_its_root(config["choices"]["data"], str(node["_target_"])):
            raise
    from optbench.config import build
    from optbench.problem.folds import KEYS
    from optbench.problem.planning import planning

    with planning():
        made = build({key: value for key, value in node.items() if key not in KEYS}, "data").make()
    return Splits(made).fingerprint(progress)
