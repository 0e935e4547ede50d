"""Overrides to planned runs: what would run, under which identity, in which folder, and whether it has run already.

Nothing here imports torch: a wrong override is named, and a sweep is planned, before anything heavy is loaded.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optbench.config import GROUPS, Composed, Composer
from optbench.errors import ConfigError, DataError, RecordError, UserError
from optbench.folders import fingerprint
from optbench.records import Run, flatten, read_run, run_id


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
    """

    config: Mapping[str, Any]
    folder: Path
    run_id: str
    sweep: str | None = None
    swept: Mapping[str, Any] = field(default_factory=dict)
    data_fingerprint: str | None = None

    @property
    def choices(self) -> Mapping[str, str]:
        """Group to the chosen name."""
        found: Mapping[str, str] = self.config["choices"]
        return found

    @property
    def label(self) -> str:
        """The run in a few words, for people: model, optimizer, scheduler, what was swept, seed."""
        names = [self.choices["model"], self.choices["optimizer"], self.choices["scheduler"]]
        values = [f"{k.rpartition('.')[2]}={v}" for k, v in self.swept.items() if k not in (*GROUPS, "seed")]
        return " ".join([*names, *values, f"seed={self.config['seed']}"])

    def recorded(self) -> Run | None:
        """The record of this run, whatever its status; None when there is none that can be read."""
        try:
            run = read_run(self.folder)
        except RecordError:
            return None
        return run if run.run_id == self.run_id else None


def plan_run(overrides: Sequence[str], config_dirs: Sequence[Path] = (), out: Path | None = None) -> Planned:
    """The one run that the overrides describe. Raises ConfigError, DataError."""
    with Composer(config_dirs) as composer:
        composed = composer.compose(overrides)
    return _planned(composed, out or composed.run_dir)


def plan_sweep(
    overrides: Sequence[str],
    config_dirs: Sequence[Path] = (),
    out: Path | None = None,
    name: str | None = None,
) -> list[Planned]:
    """Every run of a sweep, in order, duplicates left out. Raises ConfigError, DataError.

    Args:
        overrides: with Hydra's sweep grammar (choices, ranges, globs) and `seeds=n` for seed=0 ... n-1.
        config_dirs: folders laid over conf/.
        out: folder that holds sweeps.
        name: the sweep's folder in it; by default made from the experiment and a hash of the overrides, so that the
            same command finds its own results again.
    """
    overrides = [_seeds(o.removeprefix("+") if o.startswith("+experiment=") else o) for o in overrides]
    with Composer(config_dirs) as composer:
        jobs = composer.expand(overrides)
        composed = [composer.compose(job) for job in jobs]
    name = name or _sweep_name(overrides)
    if not re.fullmatch(r"[\w][\w.,=+-]*", name):
        raise UserError(f"--name {name}: expected letters, digits and . , = + -")
    values = [_values(job) for job in jobs]
    keys = [k for k in dict.fromkeys(k for v in values for k in v) if len({str(v.get(k)) for v in values}) > 1]
    runs: dict[str, Planned] = {}
    for c, given in zip(composed, values, strict=True):
        flat = flatten(c.config) | c.config["choices"]
        planned = _planned(c, (out or c.sweep_dir) / name, name, {k: flat.get(k, given.get(k)) for k in keys})
        runs.setdefault(planned.run_id, planned)
    return list(runs.values())


def _seeds(override: str) -> str:
    match = re.fullmatch(r"seeds=(.*)", override)
    if not match:
        return override
    if not re.fullmatch(r"[1-9]\d{0,5}", match[1]):
        raise ConfigError(f"{override}: expected how many seeds, a whole number of at least 1")
    return f"seed=range({match[1]})"


def _values(job: Sequence[str]) -> dict[str, str]:
    pairs = (o.lstrip("+").partition("=") for o in job if "=" in o)
    return {key: value for key, _, value in pairs}


def _sweep_name(overrides: Sequence[str]) -> str:
    named = [o.partition("=")[2] for o in overrides if re.match(r"experiment=[\w/]+$", o)]
    digest = hashlib.sha256("\n".join(sorted(overrides)).encode()).hexdigest()[:8]
    return f"{named[0].replace('/', '-') if named else 'sweep'}-{digest}"


def _planned(
    composed: Composed, parent: Path, sweep: str | None = None, swept: Mapping[str, Any] | None = None
) -> Planned:
    config = composed.config
    root = config["data"].get("root")
    try:
        print_of_data = fingerprint(Path(root)) if root else None
    except DataError as error:
        name = config["choices"]["data"]
        hint = f"data={name} reads data.root={root}; data=synthetic_food makes its own pictures in the same layout"
        raise DataError(error.message, error.hint or hint) from error
    identity = run_id(config, print_of_data)
    names = [str(config["choices"][g]) for g in ("model", "optimizer", "scheduler")]
    folder = parent / ("-".join([*(re.sub(r"\W+", "_", n) for n in names), f"s{config['seed']}", identity]))
    return Planned(config, folder, identity, sweep, swept or {}, print_of_data)
