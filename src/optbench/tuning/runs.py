"""The runs of a search: settings with seeds, recorded as a sweep like any other, and the metric of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optbench.comparison.ranked_by import TO_TARGET
from optbench.config import Composer
from optbench.experiment import Planned, Stop, plan_sweep
from optbench.experiment.plan import NO_POINTS, Points, Sweep
from optbench.launch import launcher
from optbench.launch.crew import Crew
from optbench.launch.sweep import Options, SweepWatcher, recorded, run_sweep
from optbench.metrics import median_interval
from optbench.records import Run, Status
from optbench.records.chosen import criteria
from optbench.records.metrics import COLUMN, first_of
from optbench.statistics import STATISTICS, has_result
from optbench.tuning.search import Point

_BUDGETS = ("trainer.steps", "trainer.epochs")
_TARGETS = ("target", "target_accuracy", "target_val_loss")
_MISSED = 1e12
"""Cost of a run that missed its target, and up to twice as much the worse it ended: more than any number of steps."""

TARGET_RULE = (
    "Runs stop at their target: settings are chosen by the steps to it, and where all missed it by what they ended at"
)

Watching = Callable[[int, str], AbstractContextManager[SweepWatcher]]
"""Number of runs and label to a watcher of them."""


@dataclass(frozen=True)
class Trial:
    """A setting that was tried.

    Attributes:
        point: its values.
        cost: median over the tuning seeds, small is good, infinite without a result; see `Runs.costs`.
        value: the same as the metric has it.
        share: of the budget that its runs had.
    """

    point: Point
    cost: float
    value: float
    share: float = 1.0


@dataclass(frozen=True)
class Made:
    """A planned run and its record."""

    planned: Planned
    run: Run


@dataclass(frozen=True)
class Part:
    """What of a sweep is of one contender.

    Attributes:
        overrides: of its runs.
        points: its settings; none: one run a seed.
        slug: for the name of the file that holds them.
    """

    overrides: Sequence[str]
    points: Sequence[Point] = ()
    slug: str = ""


class Runs:
    """Makes the runs of a search; a context manager, whose end lets the workers go that it keeps between sweeps.

    Args:
        folder: where the sweeps go.
        config_dirs: the user's own conf folders.
        checkpoint: whose accuracy counts, best or last.
        stop: see `interruptible`.
        watching: gives a watcher for each sweep.
        options: how sweeps are carried out.
        settings: of the launcher, over those that the configuration composes.

    Attributes:
        failed: run_id of those that failed.
        new: how many runs were made and not found.
        complete: whether every run of the last sweep has ended.
        composer: of whatever is planned.
    """

    def __init__(
        self,
        folder: Path,
        config_dirs: Sequence[Path],
        checkpoint: str,
        stop: Stop,
        watching: Watching,
        options: Options,
        settings: Mapping[str, Any],
    ) -> None:
        self._folder, self._config_dirs, self._checkpoint = folder, config_dirs, checkpoint
        self._stop, self._watching, self._options, self._settings = stop, watching, options, settings
        self._metric: str | None = None
        self._to_target = False
        self.composer, self._crew = Composer(config_dirs), Crew()
        self.failed = set[str]()
        self.new = 0
        self.complete = True

    def __enter__(self) -> Runs:
        self._crew.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._crew.__exit__(*exc)

    @property
    def metric(self) -> str:
        """The column of a summary by which settings are chosen: the steps to the target, where runs stop at it, or the
        first criterion that any run had."""
        return TO_TARGET if self._to_target else self._end

    @property
    def _end(self) -> str:
        """The column that runs are judged by at their end."""
        return self._metric or criteria(self._checkpoint)[-1]

    def sweep(
        self, overrides: Sequence[str], name: str, label: str, seeds: range, points: Sequence[Point] = ()
    ) -> list[Made]:
        """Runs points with seeds, and gives their records in the order of the plan: by seed, then by point."""
        return self.together({"": Part(overrides, points)}, name, label, seeds)[""]

    def together(self, parts: Mapping[str, Part], name: str, label: str, seeds: range) -> dict[str, list[Made]]:
        """Runs what several contenders try as one sweep, so that it shares stacks, batches and workers.

        Args:
            parts: by contender.
            name: of the sweep.
            label: of it, for people.
            seeds: of all.

        Returns:
            The records of each part, by seed, then by point; without the runs that have none.
        """
        with self.composer:
            plans = {who: self._planned(part, name, seeds) for who, part in parts.items()}
        plan = Sweep.joined(list(plans.values()))
        place = launcher({**plan.launcher, **self._settings}, self._crew)
        before = sum(run.status is not Status.INTERRUPTED for run in recorded(plan))
        with self._watching(len(plan), label) as watcher:
            outcome = run_sweep(plan, place, self._stop, watcher, self._options)
        ended = outcome.by_status.total() - outcome.by_status[Status.INTERRUPTED.value]
        self.new += ended - before
        self.complete = ended == len(plan) and not outcome.gone
        by_id = {run.run_id: run for run in recorded(plan)}
        self.failed |= {run.run_id for run in by_id.values() if run.status is Status.FAILED}
        return {
            who: [Made(item, by_id[item.run_id]) for item in own if item.run_id in by_id] for who, own in plans.items()
        }

    def _planned(self, part: Part, name: str, seeds: range) -> Sweep:
        """The plan of one part, its settings written where the command that repeats it finds them."""
        file = self._folder / f"{name}{'-' * bool(part.slug)}{part.slug}.csv"
        given = Points(part.points).write(file) if part.points else NO_POINTS
        seeded = [*part.overrides, f"seed=range({seeds.start},{seeds.stop})"]
        return plan_sweep(
            seeded, self._config_dirs, self._folder, name, points=given, declared=False, composer=self.composer
        )

    def trial(self, point: Point, runs: Sequence[Run], share: float) -> Trial:
        """What came of a point: the median over its runs."""
        values, sign = self.values(runs), -direction_of(self.metric)
        value = sign * median_interval([math.inf if math.isnan(one) else sign * one for one in values]).value
        return Trial(point, median_interval(self.costs(runs)).value, value, share)

    def costs(self, runs: Sequence[Run]) -> list[float]:
        """What each run is judged by, small is good, infinite without a result. Of runs that stop at a target the one
        that meets it in fewer steps is better; one that missed it is worse than all that met it, and among such the one
        that ended better is."""
        self._look(runs)
        sign = -direction_of(self._end)
        ends = [math.inf if math.isnan(value) else sign * value for value in self._column(runs, self._end)]
        if not self._to_target:
            return ends
        missed = [_MISSED * (1.5 + math.atan(end) / math.pi) if end < math.inf else math.inf for end in ends]
        hits = self._column(runs, TO_TARGET)
        return [other if math.isnan(hit) else hit for hit, other in zip(hits, missed, strict=True)]

    def values(self, runs: Sequence[Run]) -> list[float]:
        """The metric of each run, NaN without a result, or where its target was missed."""
        self._look(runs)
        return self._column(runs, self.metric)

    def _look(self, runs: Sequence[Run]) -> None:
        """Settles by the first runs that have a result what all are judged by."""
        if self._metric is not None:
            return
        self._to_target = bool(runs) and all(map(_stops_at_target, runs))
        metrics = [run.summary.get(COLUMN) for run in runs]
        STATISTICS.learn(metrics)
        names = criteria(self._checkpoint, first_of(metrics))
        self._metric = next((name for name in names if any(run.summary.get(name) is not None for run in runs)), None)

    def _column(self, runs: Sequence[Run], name: str) -> list[float]:
        values = [run.summary.get(name) if has_result(run.status) else None for run in runs]
        return [math.nan if value is None else float(value) for value in values]


def _stops_at_target(run: Run) -> bool:
    trainer = run.config["trainer"]
    return any(trainer.get(key) is not None for key in _TARGETS) and bool(trainer.get("stop_at_target", True))


def direction_of(metric: str) -> int:
    """What is better of a column of a summary: 1 large values, -1 small ones."""
    return STATISTICS[metric].direction if metric in STATISTICS else -1


def budget_of(config: Mapping[str, Any]) -> tuple[str, int] | None:
    """The key that says how long a run is, and how long that is; None where neither steps nor epochs are set."""
    for key in _BUDGETS:
        if (whole := config["trainer"].get(key.partition(".")[2])) is not None:
            return key, int(whole)
    return None


def by_point(made: Sequence[Made], points: Sequence[Point]) -> list[list[Run]]:
    """The runs of each point; points that are the same setting share theirs."""
    found: dict[tuple[str, ...], list[Run]] = {}
    for one in made:
        at = tuple(_alike(_value_at(one.planned.config, key)) for key in points[0])
        found.setdefault(at, []).append(one.run)
    return [found.get(tuple(map(_alike, point.values())), []) for point in points]


def _alike(value: Any) -> str:
    """A value as text, the same for what a configuration makes of it: a setting that is a number takes 1 for 1.0."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_alike, value))}]"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return repr(float(value) if number else value)


def _value_at(config: Mapping[str, Any], key: str) -> Any:
    """The value of a key, or the name of what was chosen of a group."""
    if key in config["choices"]:
        return config["choices"][key]
    node: Any = config
    for part in key.split("."):
        node = node[part]
    return node
