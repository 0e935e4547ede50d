"""Tuning that cannot flatter: settings are chosen on some seeds and reported on others.

The best of k tries looks better than it is: chance helped to choose it. So every contender is searched with the same
number of trials, each run with the tuning seeds; the setting with the best median is chosen, and what is reported of it
is of seeds that no choice has seen, beside the contender's defaults on the same seeds.

Every run is recorded like any other and no run is made twice. A search is a function of what came of its runs, so the
same command after an interrupt makes the runs that are missing and goes on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from optbench.catalogue import Searched, searched
from optbench.config import Composer
from optbench.config.space import Dimension
from optbench.config.wraps import GROUP as WRAP
from optbench.errors import ConfigError, IncompatibleError, UserError
from optbench.experiment import Planned, Stop, plan_run
from optbench.experiment.seed_note import is_idle
from optbench.launch.sweep import Options
from optbench.metrics import Estimate, median_interval
from optbench.metrics.pairs import Pair, verdicts
from optbench.metrics.tuned import BestOf, Edge, best_of, edge
from optbench.protocol import around_name
from optbench.records import check_place
from optbench.records.sweep_plan import TUNING
from optbench.tuning.endings import endings_of
from optbench.tuning.runs import Made, Runs, Trial, Watching, budget_of, by_point, direction_of
from optbench.tuning.search import METHODS, Point, Search

_SEARCHED = ("optimizer", "scheduler", "loss", "model")
"""Groups whose YAML may say what of them is to be tuned."""
REPORT, DEFAULTS = "report-", "defaults-"
"""What the names of a contender's sweeps begin with, beside TUNING."""
LEARN = frozenset({"halving", "tpe"})
"""Methods whose later trials depend on the earlier ones."""


@dataclass(frozen=True)
class Task:
    """What is tuned, and how.

    Attributes:
        overrides: what every run has, as typed, without intervals.
        space: what is searched over, of every contender that has the key, instead of what its YAML says.
        contenders: names of optimizers, with what is around them: adam, adam+sam.
        trials: settings that each may try.
        method: one of METHODS.
        tuning, report: the seeds; none in both.
        folder: where the sweeps go.
        search_seed: of the search's own draws.
        config_dirs: the user's own conf folders.
        checkpoint: whose accuracy counts, best or last.
        settings: what tells the problem from the others of a suite, beside model and data: dim=3.
        own: what is searched over of one contender alone, or of all with one optimizer, by that name; it counts before
            `space`.
    """

    overrides: tuple[str, ...]
    space: tuple[Dimension, ...]
    contenders: tuple[str, ...]
    trials: int
    method: str
    tuning: range
    report: range
    folder: Path
    search_seed: int = 0
    config_dirs: tuple[Path, ...] = ()
    checkpoint: str = "best"
    settings: tuple[str, ...] = ()
    own: tuple[tuple[str, Dimension], ...] = ()


@dataclass
class Tuned:
    """What came of one contender.

    Attributes:
        name: of the optimizer, with what is around it.
        space: what was searched over, and sources: where the ranges come from, by key.
        trials: in order.
        chosen: the best of those with the whole budget; None where none has a result.
        reported, defaults: value of the metric of each report seed, NaN without a result.
        evaluations: evaluations of objective and gradient that its search spent.
        learns: whether later trials depend on what came of earlier ones.
        direction: what is better of the metric: 1 large values, -1 small ones.
        start: where losses are what counts, their median before the first update of the runs of the best setting.
        config: of its run as it is by default.
    """

    name: str
    space: tuple[Dimension, ...]
    sources: Mapping[str, str]
    learns: bool
    direction: int = -1
    trials: list[Trial] = field(default_factory=list)
    chosen: Trial | None = None
    reported: list[float] = field(default_factory=list)
    defaults: list[float] = field(default_factory=list)
    evaluations: int = 0
    start: float | None = None
    config: Mapping[str, Any] = field(default_factory=dict)

    def edges(self) -> list[tuple[Dimension, Edge]]:
        """The numbers whose best value lies at an end of its range."""
        longest = max((trial.share for trial in self.trials), default=1.0)
        full = [trial for trial in self.trials if trial.share == longest]
        found = []
        for one in self.space if self.chosen else ():
            if not one.values:
                tried, costs = [trial.point[one.key] for trial in full], [trial.cost for trial in full]
                found.append((one, edge(tried, costs, (one.low, one.high), log=one.log)))
        return [(one, at) for one, at in found if at is not None]

    def best_of(self) -> BestOf | None:
        """What the best of 1, 2, 4 ... trials is; None where the later ones knew of the earlier ones, as `tpe` does."""
        if self.learns or not self.trials:
            return None
        n = len(self.trials)
        ks = sorted({*(2**i for i in range(n.bit_length())), n})
        return best_of([trial.value for trial in self.trials], ks, direction=self.direction, start=self.start)


@dataclass(frozen=True)
class Result:
    """What a tuning found.

    Attributes:
        task: as asked.
        problem: its name.
        metric: column of a summary by which settings are chosen and reported.
        tuned: the contenders, the best first.
        stopped: whether the user ended it before it was done.
        looked: whether fewer seeds were judged before, so that verdicts must hold though one looked and added some.
    """

    task: Task
    problem: str
    metric: str
    tuned: list[Tuned]
    stopped: bool = False
    looked: bool = False

    @property
    def direction(self) -> int:
        """What is better: 1 large values, -1 small ones."""
        return direction_of(self.metric)

    def estimate(self, values: Sequence[float]) -> Estimate:
        """Median and interval of values of the metric; without a result is the worst."""
        return median_interval(self._worst_for_none(values))

    def pairs(self) -> list[Pair]:
        """The verdict on each pair of contenders on the report's seeds; numbers are places in `reported_all`."""
        values = [self._worst_for_none(one.reported) for one in self.reported_all()]
        return verdicts(values, self.direction, anytime=self.looked) if len(values) > 1 else []

    def reported_all(self) -> list[Tuned]:
        """The contenders that were reported on with every seed."""
        return [one for one in self.tuned if len(one.reported) == len(self.task.report)]

    def _worst_for_none(self, values: Sequence[float]) -> list[float]:
        worst = -self.direction * math.inf
        return [worst if math.isnan(value) else value for value in values]


# what is asked -------------------------------------------------------------------------------------------------------


def task_of(
    overrides: Sequence[str],
    folder: Path,
    *,
    against: Sequence[str] = (),
    trials: int = 16,
    method: str = "quasirandom",
    tuning_seeds: int = 3,
    report_seeds: int = 10,
    search_seed: int = 0,
    config_dirs: Sequence[Path] = (),
    checkpoint: str = "best",
    own: Sequence[str] = (),
) -> Task:
    """The task that overrides describe. Nothing is run and torch is not loaded.

    Args:
        overrides: `optimizer=` and `wrap=` may have several, and each optimizer with each wrap is a contender;
            intervals and choices of other keys are what is searched over.
        folder: where the sweeps go.
        against: further contenders, tuned as hard.
        trials: settings of each.
        method: one of METHODS.
        tuning_seeds, report_seeds: how many of each; 0, 1 ... are the tuning seeds and the report's follow.
        search_seed: of the search's own draws.
        config_dirs: the user's own conf folders.
        checkpoint: best or last.
        own: what is searched over of one contender alone: `adam:optimizer.lr=tag(log,interval(1e-4,10))`.

    Raises:
        UserError, ConfigError: it cannot be done as asked.
    """
    if method not in METHODS:
        raise UserError(f"--method {method}: expected {', '.join(METHODS)}")
    if taken := [o for o in overrides if o.lstrip("+").startswith(("seed=", "seeds="))]:
        raise UserError(
            f"{taken[0]}: the seeds are divided here", "--tune-seeds N to choose by, --report-seeds N to report"
        )
    with Composer(config_dirs) as composer:
        space, fixed = composer.space(overrides)
    named = [o.partition("=")[2] for o in fixed if o.startswith("optimizer=")]
    swept = [str(v) for one in space if one.key == "optimizer" for v in one.values]
    plain = [o for o in fixed if not o.startswith("optimizer=")]
    asked = swept or named
    wraps = [_around(value) for one in space if one.key == WRAP for value in one.values]
    if wraps:
        asked = [name + wrap for name in asked or [_usual(plain, config_dirs)] for wrap in wraps]
    contenders = tuple(dict.fromkeys([*asked, *against])) or (_usual(plain, config_dirs),)
    tuning = range(tuning_seeds)
    searched_over = tuple(one for one in space if one.key not in ("optimizer", WRAP))
    return Task(
        tuple(plain), searched_over, contenders, trials, method, tuning,
        range(tuning.stop, tuning.stop + report_seeds), folder, search_seed, tuple(config_dirs), checkpoint,
        own=own_spaces(own, contenders, config_dirs),
    )  # fmt: skip


def own_spaces(
    given: Sequence[str], contenders: Sequence[str], config_dirs: Sequence[Path] = ()
) -> tuple[tuple[str, Dimension], ...]:
    """What `--space` says is searched over of one contender, or of all with one optimizer, by that name.

    Args:
        given: as typed, NAME:OVERRIDE.
        contenders: that there are: adam, adam+sam.
        config_dirs: the user's own conf folders.

    Raises:
        UserError, ConfigError: it is of no contender, or says nothing to search.
    """
    found: list[tuple[str, Dimension]] = []
    with Composer(config_dirs) as composer:
        for text in given:
            name, sign, override = text.partition(":")
            if not sign:
                raise UserError(f"--space {text}: expected NAME:KEY=INTERVAL", _EXAMPLE)
            if not any(_is_of(name, one) for one in contenders):
                raise UserError(f"--space {text}: no contender is called {name}", f"there are: {', '.join(contenders)}")
            space, fixed = composer.space([override])
            if fixed:
                raise ConfigError(f"--space {text}: it has one value", _EXAMPLE)
            found += [(name, one) for one in space]
    return tuple(found)


_EXAMPLE = "such as --space 'adam:optimizer.lr=tag(log,interval(1e-4,10))'"


def _is_of(name: str, contender: str) -> bool:
    """Whether a name is that of a contender, or of its optimizer."""
    return name in (contender, contender.partition("+")[0])


def _usual(overrides: Sequence[str], config_dirs: Sequence[Path]) -> str:
    """The optimizer where none is named."""
    return str(plan_run(overrides, config_dirs).choices["optimizer"])


def _around(wrap: Any) -> str:
    """What follows the name of an optimizer with something around it: +sam, +clip+lookahead."""
    return "".join(f"+{one}" for one in (wrap if isinstance(wrap, list) else [wrap]) if one != "none")


def choosing(contender: str) -> list[str]:
    """The overrides that choose a contender: of adam+sam, optimizer=adam and wrap=sam."""
    optimizer, *wraps = contender.split("+")
    several = f"[{','.join(wraps)}]" if len(wraps) > 1 else "".join(wraps)
    return [f"optimizer={optimizer}", *([f"{WRAP}={several}"] if wraps else [])]


def tasks_of(overrides: Sequence[str], folder: Path, config_dirs: Sequence[Path] = (), **how: Any) -> list[Task]:
    """The task of each problem of the suite that the experiment declares, in a folder of its own; one where there is
    no suite.

    Args, Raises: as `task_of`; ConfigError too where an override sets a key that the suite sets.
    """
    given = [o.removeprefix("+") if o.startswith("+experiment=") else o for o in overrides]
    problems: list[list[str]] = []
    if any(o.startswith("experiment=") for o in given):  # nothing else declares one, and composing takes its time
        with Composer(config_dirs) as composer:
            problems = composer.suite([o for o in given if not o.startswith(("seed=", "seeds="))])
    places = [(one, folder / f"{number:02}") for number, one in enumerate(problems, start=1)] or [([], folder)]
    return [
        replace(task_of([*given, *one], place, config_dirs=config_dirs, **how), settings=_telling(one))
        for one, place in places
    ]


def _telling(problem: Sequence[str]) -> tuple[str, ...]:
    """The settings of a problem of a suite that are no group, by the last part of their key; no targets."""
    found = (text.partition("=") for text in problem)
    return tuple(
        f"{key.rpartition('.')[2]}={value}"
        for key, _, value in found
        if "." in key and not key.startswith("trainer.target")
    )


Space = tuple[tuple[Dimension, ...], dict[str, str], Planned]
"""What is searched over for one contender, where each range comes from by key, and its run as it is by default."""


def spaces_of(task: Task, composer: Composer | None = None) -> dict[str, Space]:
    """The space of each contender, by name; `composer` as of `plan_sweep`.

    Raises:
        ConfigError: none has a key that is to be searched, or nothing is said about what to search.
        UserError: the seed changes nothing.
    """
    with composer or Composer(task.config_dirs) as composing:
        found = {name: space_of(task, name, composing) for name in task.contenders}
    for name, (_, _, planned) in found.items():
        if is_idle(planned):
            remedy = "trainer.start=random draws a start for each seed"
            raise UserError(f"{name}: every seed makes the same run here, so none is left to report on", remedy)
    configs = [planned.config for _, _, planned in found.values()]
    for one in task.space:
        if not any(_has(config, one.key) for config in configs):
            raise ConfigError(f"{one.override()}: {' and '.join(found)} have no {one.key}")
    return found


def space_of(task: Task, name: str, composer: Composer) -> Space:
    """The space of one contender. What the user gave counts before what the YAML of a part says, and a value
    that is given is not searched over.

    Raises:
        ConfigError: nothing is said about what to search.
    """
    planned = plan_run([*task.overrides, *choosing(name)], task.config_dirs, task.folder, composer=composer)
    network = planned.config["data"].get("_target_") is not None
    said: list[Searched] = []
    for group in _SEARCHED:
        said += searched(group, planned.choices[group], network, task.config_dirs)
    own = {one.key: one for who, one in task.own if _is_of(who, name)}
    if foreign := [one for key, one in own.items() if not _has(planned.config, key)]:
        raise ConfigError(f"--space: {name} has no {foreign[0].key}")
    of_all = [one for one in task.space if one.key not in own]
    given = {o.lstrip("+").partition("=")[0] for o in task.overrides} | {one.key for one in task.space} | own.keys()
    said = [one for one in said if one.key not in given]
    declared, fixed = composer.space([one.override for one in said])
    if fixed:
        raise ConfigError(f"# tune: {fixed[0]} has one value", "expected an interval, or values with commas")
    known = [*own.values(), *(one for one in of_all if _has(planned.config, one.key))]
    if not (known or declared):
        hint = f"say what to search: 'optimizer.lr=tag(log,interval(1e-4,1))', or # tune: in the YAML of {name}"
        raise ConfigError(f"nothing is said about what to tune of optimizer={name}", hint)
    sources = {one.key: one.source for one in said} | {one.key: "as given" for one in known}
    return (*known, *declared), sources, planned


def _has(config: Mapping[str, Any], key: str) -> bool:
    """Whether a configuration has a key, or a group of that name."""
    node: Any = config
    if key in config["choices"]:
        return True
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return False
        node = node[part]
    return True


# the tuning ----------------------------------------------------------------------------------------------------------


class Tuner:
    """Carries a task out.

    Args:
        task: what to do.
        stop: see `interruptible`.
        watching: gives a watcher for each sweep.
        options: how sweeps are carried out.
        settings: of the launcher, over those that the configuration composes.
    """

    def __init__(
        self,
        task: Task,
        stop: Stop,
        watching: Watching,
        options: Options,
        settings: Mapping[str, Any],
    ) -> None:
        self._task, self._stop = task, stop
        self._choosing: dict[str, list[str]] = {}
        self._runs = Runs(task.folder, task.config_dirs, task.checkpoint, stop, watching, options, settings)

    def run(self) -> Result:
        """Tunes every contender and reports on fresh seeds.

        Raises:
            UserError, ConfigError, OutputError, RecordError: as of `run_sweep`; what was recorded stays.
        """
        task = self._task
        spaces = spaces_of(task, self._runs.composer)  # what cannot be is said before the first run
        check_place(task.folder, folder=True)
        problem = next(iter(spaces.values()))[2]
        learns = task.method in LEARN
        found = []
        for name, (space, sources, planned) in spaces.items():
            found.append(Tuned(around_name(planned.choices), space, sources, learns, config=planned.config))
            self._choosing[found[-1].name] = choosing(name)
        with self._runs:
            for one in found:
                self._search(one, METHODS[task.method](one.space, task.trials, task.search_seed))
            for one in found:
                self._report(one)
        name = " ".join([problem_name(problem), *task.settings])
        result = Result(task, name, self._runs.metric, found, self._ended())
        for one in found:
            one.direction = result.direction
        sign = -result.direction
        found.sort(key=lambda one: sign * result.estimate(one.reported).value if one.reported else math.inf)
        return result

    def _ended(self) -> bool:
        """Whether the user asked for an end; a call, since a signal changes it at any time."""
        return self._stop.requested

    def _search(self, one: Tuned, search: Search) -> None:
        task, done = self._task, 0
        full: list[Trial] = []
        while not self._ended() and (asked := search.ask()) is not None:
            label = f"{one.name}: {len(asked.points)} settings x {len(task.tuning)} seeds"
            budget = self._budget(one.name, asked.share)
            name = f"{TUNING}{one.name}" + (f"-{done}" if one.learns else "")
            made = self._sweep(one.name, name, label, task.tuning, asked.points, budget)
            if self._ended():
                return
            groups = by_point(made, asked.points)
            one.evaluations += sum(int(run.summary.get("evals") or 0) for of_one in groups for run in of_one)
            trials = [
                self._runs.trial(point, own, asked.share) for point, own in zip(asked.points, groups, strict=True)
            ]
            search.tell([trial.cost for trial in trials])
            if self._runs.metric == "final_loss":
                one.start = endings_of(groups[min(range(len(trials)), key=lambda i: trials[i].cost)]).start
            one.trials += trials
            full += [trial for trial in trials if trial.share == 1.0]
            done += 1
        best = min(full, key=lambda trial: trial.cost, default=None)  # of equals the first
        one.chosen = best if best is not None and math.isfinite(best.cost) else None

    def _report(self, one: Tuned) -> None:
        task = self._task
        if self._ended():
            return
        if one.chosen is not None:
            label = f"{one.name}: the chosen setting x {len(task.report)} seeds"
            made = self._sweep(one.name, f"{REPORT}{one.name}", label, task.report, [one.chosen.point])
            one.reported = self._runs.values([item.run for item in made])
        if not self._ended():
            label = f"{one.name}: its defaults x {len(task.report)} seeds"
            made = self._sweep(one.name, f"{DEFAULTS}{one.name}", label, task.report)
            one.defaults = self._runs.values([item.run for item in made])

    def _sweep(
        self,
        contender: str,
        name: str,
        label: str,
        seeds: range,
        points: Sequence[Point] = (),
        more: Sequence[str] = (),
    ) -> list[Made]:
        task = self._task
        return self._runs.sweep([*task.overrides, *more, *self._choosing[contender]], name, label, seeds, points)

    def _budget(self, contender: str, share: float) -> list[str]:
        """Overrides that give runs a share of their budget."""
        if share == 1.0:
            return []
        config = plan_run([*self._task.overrides, *self._choosing[contender]], self._task.config_dirs).config
        if (found := budget_of(config)) is None:
            raise IncompatibleError("--method halving divides trainer.steps or trainer.epochs: this run has neither")
        key, whole = found
        return [f"{key}={max(1, round(whole * share))}"]


def problem_name(planned: Planned) -> str:
    """The name of the problem that a run is of."""
    choices = planned.choices
    on = "" if choices["data"] == "none" else f" on {choices['data']}"
    return f"{choices['model']}{on}"
