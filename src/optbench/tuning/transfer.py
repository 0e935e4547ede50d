"""Does the best learning rate of a small network serve a large one: loss against rate over widths, depths or batches.

Over widths twice: under the standard parametrisation, where the best rate moves, and under muP, which is made so that
it does not (`problem.mup`). Every run is recorded as of a sweep; the same question again makes only what is missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from optbench.catalogue import growing, grown_by
from optbench.config import Composer
from optbench.errors import UserError
from optbench.experiment import Stop, plan_run
from optbench.launch.sweep import Options
from optbench.metrics.estimates import Floats
from optbench.metrics.optimum import Optimum, Shift, optimum, shift
from optbench.records import check_place
from optbench.settings import shown
from optbench.statistics import has_result
from optbench.tuning.runs import Runs, Watching, by_point
from optbench.tuning.tune import problem_name

STANDARD, MUP = "standard", "mup"
METRICS = ("final_loss", "val_loss", "best_val_loss")
RATE = "optimizer.lr"
_BATCH = "trainer.batch_size"


@dataclass(frozen=True)
class Cell:
    """A size under a parametrisation: the overrides that make it, and the name of its sweep."""

    parametrisation: str
    size: int
    overrides: tuple[str, ...]
    name: str


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        axis: width, depth or batch size.
        key: the setting that it is.
        sizes: ascending.
        base: size at which the parametrisations are one and the same; None: only the standard one is asked for.
        rates: ascending.
        seeds: of each.
        metric: one of METRICS.
        overrides: that all runs have.
        cells: what is run, a sweep each, the same one for both parametrisations at the base.
        problem: its name and the optimizer's.
        folder, config_dirs: where the sweeps go, and the user's own conf folders.
    """

    axis: str
    key: str
    sizes: tuple[int, ...]
    base: int | None
    rates: tuple[float, ...]
    seeds: int
    metric: str
    overrides: tuple[str, ...]
    cells: tuple[Cell, ...]
    problem: str
    folder: Path
    config_dirs: tuple[Path, ...] = ()

    @property
    def runs(self) -> int:
        """How many runs it takes."""
        return len({cell.name for cell in self.cells}) * len(self.rates) * self.seeds


@dataclass(frozen=True)
class Curve:
    """What came of a cell.

    Attributes:
        parametrisation, size: its own.
        losses: of each seed and rate, infinite without a result, (seeds, rates).
        best: the optimum; None where no rate has a result in most seeds.
    """

    parametrisation: str
    size: int
    losses: Floats
    best: Optimum | None


@dataclass(frozen=True)
class Transfer:
    """The answer: the curves, and whether the user ended it before all runs were made."""

    question: Question
    curves: tuple[Curve, ...]
    stopped: bool = False

    def of(self, parametrisation: str) -> list[Curve]:
        """The curves under one parametrisation, the smallest size first."""
        return [one for one in self.curves if one.parametrisation == parametrisation]

    def moves(self, parametrisation: str) -> Shift | None:
        """How the optimum moved from the smallest size to the largest; None where one of them has none."""
        own = self.of(parametrisation)
        ends = (own[0].best, own[-1].best) if len(own) > 1 else (None, None)
        return None if ends[0] is None or ends[1] is None else shift(ends[0], ends[1])


# what is asked --------------------------------------------------------------------------------------------------------


def question_of(
    overrides: Sequence[str],
    folder: Path,
    *,
    axis: str,
    sizes: Sequence[int],
    base: int | None = None,
    only: str = "both",
    seeds: int = 3,
    metric: str = "final_loss",
    config_dirs: Sequence[Path] = (),
) -> Question:
    """The question that overrides describe. Nothing is run and torch is not loaded.

    Args:
        overrides: of one run, but for the rates: values of optimizer.lr with commas, range() or choice().
        folder: where the sweeps go.
        axis: width, depth or batch.
        sizes: at least two.
        base: width at which muP is the standard parametrisation; None: the smallest.
        only: both, standard or mup.
        seeds: of each size and rate.
        metric: one of METRICS.
        config_dirs: the user's own conf folders.

    Raises:
        UserError, ConfigError: it cannot be done as asked.
    """
    if metric not in METRICS:
        raise UserError(f"--metric {metric}: expected {', '.join(METRICS)}")
    if only not in ("both", STANDARD, MUP):
        raise UserError(f"--parametrization {only}: expected both, {STANDARD} or {MUP}")
    if taken := [o for o in overrides if o.lstrip("+").startswith(("seed=", "seeds="))]:
        raise UserError(f"{taken[0]}: the seeds are 0, 1 ... here", "--seeds N says how many")
    sizes = tuple(sorted(set(sizes)))
    if len(sizes) < 2:
        raise UserError(f"one {axis} alone: whether the best rate moves takes several", f"e.g. --{axis}s 32,64,128")
    fixed, rates = _rates(overrides, config_dirs)
    if base is not None and axis != "width":
        raise UserError(f"--base is of widths, and this goes over {axis}s", "leave it out")
    planned = plan_run(fixed, config_dirs, folder)
    config = planned.config
    if config["data"].get("_target_") is None:
        raise UserError(f"model={config['choices']['model']} is a surface", "this is of networks, e.g. model=mlp")
    both = (STANDARD, MUP) if only == "both" else (only,)
    kinds = both if axis == "width" else (STANDARD,)
    if kinds == (STANDARD,) and only == MUP:
        raise UserError(f"--parametrization mup: muP is of widths, and this goes over {axis}s", "--widths 32,64,128")
    key = _key(axis, config, config_dirs)
    base = (base or sizes[0]) if MUP in kinds else None
    cells = tuple(_cell(kind, axis, key, size, base, config) for kind in kinds for size in sizes)
    for cell in cells:  # what cannot be is said before the first run
        plan_run([*fixed, *cell.overrides], config_dirs, folder)
    name = f"{problem_name(planned)}, {config['choices']['optimizer']}"
    return Question(axis, key, sizes, base, rates, seeds, metric, tuple(fixed), cells, name, folder, tuple(config_dirs))


def _rates(overrides: Sequence[str], config_dirs: Sequence[Path]) -> tuple[list[str], tuple[float, ...]]:
    """The overrides without the rates, and the rates. Raises UserError, ConfigError."""
    with Composer(config_dirs) as composer:
        space, fixed = composer.space(overrides)
    found: tuple[float, ...] = ()
    for one in space:
        if one.key != RATE or not one.values:
            raise UserError(f"{one.override()}: only the rates and the sizes vary here", f"{RATE}=1e-3,1e-2,1e-1")
        found = tuple(sorted({float(value) for value in one.values}))
    if len(found) < 3:
        raise UserError("which learning rates? an optimum takes three of them or more", f"{RATE}=1e-3,3e-3,1e-2,3e-2")
    if found[0] <= 0:
        raise UserError(f"{RATE}={found[0]:g}: expected numbers above 0")
    return fixed, found


def _key(axis: str, config: Mapping[str, Any], config_dirs: Sequence[Path]) -> str:
    """The setting that an axis is. Raises UserError."""
    if axis == "batch":
        return _BATCH
    model = config["choices"]["model"]
    key = grown_by(axis, model, config_dirs)
    if key is None:
        there = ", ".join(growing(axis, config_dirs))
        raise UserError(f"model={model} has no {axis} to vary: its YAML has no line '# {axis}: model.KEY'",
                        f"these have: {there}")  # fmt: skip
    return key


def _cell(kind: str, axis: str, key: str, size: int, base: int | None, config: Mapping[str, Any]) -> Cell:
    def of(size: int) -> Any:
        now = config["model"].get(key.rpartition(".")[2]) if key != _BATCH else None
        if not isinstance(now, list):
            return size
        return [size] * len(now) if axis == "width" else [now[0]] * size

    overrides, is_other = [f"{key}={shown(of(size))}"], kind == MUP and size != base
    if is_other:
        assert base is not None
        overrides.append(f"trainer.mup_base={{{key.rpartition('.')[2]}:{shown(of(base))}}}")
    return Cell(kind, size, tuple(overrides), f"{MUP}{base}-{axis}{size}" if is_other else f"{STANDARD}-{axis}{size}")


# the runs -------------------------------------------------------------------------------------------------------------


def carry_out(question: Question, stop: Stop, watching: Watching, jobs: int | None = None) -> Transfer:
    """Makes the runs that are missing, and answers.

    Args:
        question: what is asked.
        stop: see `interruptible`.
        watching: gives a watcher for each sweep.
        jobs: worker processes; None: as the configuration says.

    Raises:
        UserError, ConfigError, OutputError, RecordError: as of `run_sweep`; what was recorded stays.
    """
    check_place(question.folder, folder=True)
    settings = {} if jobs is None else {"jobs": jobs}
    points = [{RATE: rate} for rate in question.rates]
    made: dict[str, Floats] = {}
    curves = []
    with Runs(question.folder, question.config_dirs, "last", stop, watching, Options(least=2), settings) as runs:
        for cell in question.cells:
            if cell.name not in made:
                if stop.requested:
                    break
                label = f"{cell.parametrisation}, {question.axis} {cell.size}"
                given = [*question.overrides, *cell.overrides]
                found = runs.sweep(given, cell.name, label, range(question.seeds), points)
                if not runs.complete:
                    break
                own = [[_loss(run, question.metric) for run in several] for several in by_point(found, points)]
                made[cell.name] = np.array(own).T
            losses = made[cell.name]
            curves.append(Curve(cell.parametrisation, cell.size, losses, optimum(question.rates, losses)))
    return Transfer(question, tuple(curves), len(curves) < len(question.cells))


def _loss(run: Any, metric: str) -> float:
    value = run.summary.get(metric) if has_result(run.status) else None
    return math.inf if value is None or math.isnan(value) else float(value)
