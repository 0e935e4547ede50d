"""Which optimizer, schedule and loss trains this: a tournament within a budget, reported on fresh seeds.

Every contender (an optimizer with a schedule and a loss) tries the same number of settings with short runs on the
tuning seeds; half of the contenders go on, each with the better third of its settings and runs three times as long,
until runs are whole (successive halving, of contenders and of settings: K. Jamieson and A. Talwalkar 2016, AISTATS).
The best contenders, each with its best setting, then meet on seeds that no choice has seen, and only those count.

A budget in runs decides everything beforehand. With a budget in time the first seed of one setting of each is timed,
which decides the size; later stages go by a few seeds at a time as long as there is time, and the final takes what is
left. What was decided is kept (`decided`), so that the same command follows it, and makes only what is missing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optbench.config import Composer
from optbench.config.space import Dimension
from optbench.errors import IncompatibleError, UserError
from optbench.experiment import Planned, Stop, plan_run
from optbench.launch.sweep import Options
from optbench.records import Run, check_place
from optbench.records.sweep_plan import TUNING
from optbench.tuning.budget import (
    FEWEST_SEEDS,
    MOST_SEEDS,
    Budget,
    Rate,
    Rung,
    Size,
    ladder,
    lengths,
    seconds_of_run,
    size_of_runs,
    size_of_seconds,
)
from optbench.tuning.decided import Decided
from optbench.tuning.endings import Endings, endings_of
from optbench.tuning.runs import Made, Runs, Trial, Watching, budget_of, by_point, direction_of
from optbench.tuning.search import Point, Quasirandom
from optbench.tuning.tune import REPORT, Result, Task, Tuned, problem_name, spaces_of

ON_SURFACES = ("gd", "momentum", "nesterov", "rmsprop", "adam", "lion")
ON_NETWORKS = ("sgd", "momentum", "adamw", "radam", "lion", "muon")
"""Optimizers that compete where none are named."""
SCHEDULERS = ("constant", "cosine")
"""Schedules that compete on networks where none are named; on surfaces there is none."""
MOST_TUNING = 3
"""Seeds 0, 1, 2 choose; the report's begin after them, whatever the size."""
FINAL = "final"
_GROUPS = ("optimizer", "scheduler", "loss")
_OVERRUN = 1.05  # of the time: what is in flight is ended then


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        overrides: what every run has, without optimizer, scheduler and loss.
        space: what is searched over of every contender that has the key, instead of what its YAML says.
        groups: names of each of optimizer, scheduler and loss that compete; no losses: the problem's own.
        budget: what may be spent.
        folder: where the sweeps go.
        search_seed: of the settings' draws.
        config_dirs: the user's own conf folders.
        checkpoint: whose accuracy counts, best or last.
    """

    overrides: tuple[str, ...]
    space: tuple[Dimension, ...]
    groups: Mapping[str, tuple[str, ...]]
    budget: Budget
    folder: Path
    search_seed: int = 0
    config_dirs: tuple[Path, ...] = ()
    checkpoint: str = "best"


@dataclass
class Entrant:
    """A contender, and what came of it.

    Attributes:
        choices: the name of its optimizer, its scheduler and its loss, those that compete.
        name: of it, in words.
        space, sources: what was searched over, and where each range comes from.
        planned: its run as it is by default.
        points: settings that are still tried.
        rungs: its trials in each rung that it took part in, by the rung's number.
        made: the runs of its best setting in the last of these, or of the final.
        reported: the metric of each fresh seed, NaN without a result; empty where it is no finalist.
    """

    choices: Mapping[str, str]
    name: str
    space: tuple[Dimension, ...]
    sources: Mapping[str, str]
    planned: Planned
    points: list[Point] = field(default_factory=list)
    rungs: dict[int, list[Trial]] = field(default_factory=dict)
    made: list[Run] = field(default_factory=list)
    reported: list[float] = field(default_factory=list)

    @property
    def overrides(self) -> list[str]:
        """What makes a run its own."""
        return [f"{group}={name}" for group, name in self.choices.items()]

    @property
    def slug(self) -> str:
        """For names of folders."""
        return "-".join(self.choices.values()).replace("/", "-")

    @property
    def best(self) -> Trial | None:
        """The best trial of its last rung; None where none has a result. Of equals the first."""
        last = self.rungs[max(self.rungs)] if self.rungs else []
        found = min(last, key=lambda trial: trial.cost, default=None)
        return found if found is not None and math.isfinite(found.cost) else None

    def endings(self) -> Endings:
        """How the runs that speak for it ended."""
        return endings_of(self.made)


@dataclass(frozen=True)
class Found:
    """What a tournament found.

    Attributes:
        question: as asked.
        size: how large it was; None: the budget ended before that was known.
        rungs: those that took place, by number, and seeds: how many seeds each had.
        entrants: all contenders, the best first: finalists by the report, the others by how far they came.
        final: the finalists on fresh seeds; its `tuned` is empty where there was no final.
        runs: how many runs it has.
        spent: seconds, of all commands.
        out_of_time: whether a part was left out because time was over.
        failed: how many of its runs failed.
        unit: of the length of a run, steps or epochs.
    """

    question: Question
    size: Size | None
    rungs: Mapping[int, Rung]
    seeds: Mapping[int, int]
    entrants: list[Entrant]
    final: Result
    runs: int
    spent: float
    out_of_time: bool = False
    failed: int = 0
    unit: str = "steps"


class _Deadline(Stop):
    """A Stop that is also requested when time is over."""

    def __init__(self, user: Stop, clock: Callable[[], float], at: float) -> None:
        self._user, self._clock, self._at = user, clock, at

    @property
    def over(self) -> bool:
        """Whether time is over."""
        return self._clock() > self._at

    @property
    def requested(self) -> bool:
        """Whether the user asked for an end, or time is over."""
        return self._user.requested or self.over

    @requested.setter
    def requested(self, value: bool) -> None:
        self._user.requested = value


# what is asked -------------------------------------------------------------------------------------------------------


def question_of(
    overrides: Sequence[str],
    folder: Path,
    budget: Budget,
    *,
    search_seed: int = 0,
    config_dirs: Sequence[Path] = (),
    checkpoint: str = "best",
) -> Question:
    """The question that overrides ask. Nothing is run and torch is not loaded.

    Raises:
        UserError, ConfigError: it cannot be asked so.
    """
    if taken := [o for o in overrides if o.lstrip("+").startswith(("seed=", "seeds="))]:
        raise UserError(f"{taken[0]}: the seeds are divided here", "seeds 0 to 2 choose, those after them report")
    with Composer(config_dirs) as composer:
        space, fixed = composer.space(overrides)
    if several := [one.key for one in space if one.key in ("model", "data", "augment", "trainer")]:
        raise UserError(f"{several[0]}: a tournament is held on one problem", f"one command for each {several[0]}")
    given = {one.key: tuple(map(str, one.values)) for one in space if one.key in _GROUPS}
    given |= {key: (value,) for o in fixed for key, _, value in [o.partition("=")] if key in _GROUPS}
    plain = tuple(o for o in fixed if o.partition("=")[0] not in _GROUPS)
    planned = plan_run(list(plain), config_dirs)
    network = planned.config["data"].get("_target_") is not None
    usual = {"optimizer": ON_NETWORKS, "scheduler": SCHEDULERS} if network else {
        "optimizer": ON_SURFACES, "scheduler": ("constant",)}  # fmt: skip
    groups = {group: given.get(group) or usual.get(group, ()) for group in _GROUPS}
    if len(groups["loss"]) > 1 and not (network and planned.config["data"].get("n_classes")):
        raise IncompatibleError("losses are compared by accuracy: this problem has none", "one loss, such as the usual")
    own = tuple(one for one in space if one.key not in _GROUPS)
    return Question(plain, own, groups, budget, folder, search_seed, tuple(config_dirs), checkpoint)


def entrants_of(question: Question) -> list[Entrant]:
    """The contenders: every optimizer with every schedule under every loss.

    Raises:
        UserError, ConfigError: of one of them nothing says what to tune, or the seed changes nothing.
    """
    groups = question.groups
    found = []
    for loss in groups["loss"] or ("",):
        for scheduler in groups["scheduler"]:
            rest = {"scheduler": scheduler} | ({"loss": loss} if loss else {})
            for optimizer, (space, sources, planned) in spaces_of(_task(question, rest)).items():
                name = optimizer + (f" with {scheduler}" if len(groups["scheduler"]) > 1 else "")
                name += f" under {loss}" if len(groups["loss"]) > 1 else ""
                found.append(Entrant({"optimizer": optimizer, **rest}, name, space, sources, planned))
    if len(found) < 2:
        raise UserError("a tournament has at least two contenders", "optimizer=adamw,sgd, or scheduler=constant,cosine")
    return found


def _task(question: Question, choices: Mapping[str, str], report: range = range(0)) -> Task:
    overrides = (*question.overrides, *(f"{group}={name}" for group, name in choices.items()))
    return Task(overrides, question.space, question.groups["optimizer"], 0, "halving", range(MOST_TUNING), report,
                question.folder, question.search_seed, question.config_dirs, question.checkpoint)  # fmt: skip


def length_of(entrants: Sequence[Entrant]) -> tuple[str, int]:
    """The key of a run's length, and the length of a whole run. Raises IncompatibleError where there is none."""
    if (found := budget_of(entrants[0].planned.config)) is None:
        raise IncompatibleError("rungs divide trainer.steps or trainer.epochs: this run has neither")
    return found


# the tournament ------------------------------------------------------------------------------------------------------


class Tournament:
    """Carries a question out.

    Args:
        question: what is asked.
        stop: see `interruptible`.
        watching: gives a watcher for each sweep.
        options: how sweeps are carried out.
        settings: of the launcher, over those that the configuration composes.
        clock: seconds.
    """

    def __init__(
        self,
        question: Question,
        stop: Stop,
        watching: Watching,
        options: Options,
        settings: Mapping[str, Any],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._question, self._user, self._clock = question, stop, clock
        self._began = clock()
        self._seconds = question.budget.seconds
        asked = {
            "overrides": list(question.overrides), "space": [one.override() for one in question.space],
            "groups": {group: list(names) for group, names in question.groups.items()},
            "budget": [question.budget.runs, question.budget.seconds], "search_seed": question.search_seed,
            "checkpoint": question.checkpoint,
        }  # fmt: skip
        self._decided = Decided.read(question.folder, asked)
        self._before = self._decided.spent
        left = math.inf if self._seconds is None else _OVERRUN * self._seconds - self._before
        self._stop = _Deadline(stop, clock, self._began + left)
        self._runs = Runs(
            question.folder, question.config_dirs, question.checkpoint, self._stop, watching, options, settings
        )
        self._ids: set[str] = set()
        self._rungs: dict[int, Rung] = {}

    def run(self) -> Found:
        """Holds the tournament.

        Raises:
            UserError, ConfigError, OutputError, RecordError: as of `run_sweep`; what was recorded stays.
        """
        entrants = entrants_of(self._question)  # what cannot be is said before the first run
        check_place(self._question.folder, folder=True)
        self._key, self._whole = length_of(entrants)
        if self._decided.size is None:
            self._decide(entrants)
        alive = list(entrants)
        if self._decided.size is not None:
            for number, rung in enumerate(ladder(len(entrants), self._whole, self._decided.size)):
                alive = self._rung(number, rung, alive)
            self._final(alive[: self._decided.size.finalists])
        self._keep()
        return self._found(entrants)

    @property
    def _spent(self) -> float:
        return self._before + self._clock() - self._began

    def _keep(self) -> None:
        self._decided.spent = self._spent if self._runs.new else self._before  # to read again costs nothing
        self._decided.write()

    def _decide(self, entrants: list[Entrant]) -> None:
        """How large it may be: by the number of runs, or by the time of one short run of each."""
        budget = self._question.budget
        if budget.runs is not None:
            self._decided.size = size_of_runs(budget.runs, len(entrants), self._whole)
            return
        assert budget.seconds is not None
        shortest = lengths(self._whole)[0]
        for one in entrants:
            one.points = self._points(one, 1)
        if self._seed(TUNING, shortest, entrants, range(1)) is not None:
            left = budget.seconds - self._spent
            # where all were made before, by a command that was killed, what this one took is all that is known
            self._decided.rates.setdefault(shortest, Rate(self._spent / len(entrants)))
            self._decided.size = size_of_seconds(left, len(entrants), self._whole, self._decided.rates)
            self._keep()

    def _points(self, one: Entrant, count: int) -> list[Point]:
        """The first settings of a sequence: those of more are the same and more."""
        asked = Quasirandom(one.space, count, self._question.search_seed).ask()
        assert asked is not None
        return asked.points

    def _rung(self, number: int, rung: Rung, alive: list[Entrant]) -> list[Entrant]:
        """Runs a rung; gives who goes on, the best first. A rung without time for one seed changes nothing."""
        if number == 0:
            for one in alive:
                one.points = self._points(one, rung.settings)
        else:
            alive = alive[: rung.contenders]
            for one in alive:
                order = sorted(self._last(one), key=lambda trial: trial.cost)  # of equals the first
                one.points = [trial.point for trial in order[: rung.settings]]
        assert self._decided.size is not None
        made = self._stage(str(number), TUNING, rung.length, alive, range(self._decided.size.tuning), rung.runs)
        if not made:
            return alive if number else []
        self._rungs[number] = rung
        for one in alive:
            groups = by_point(made[one.name], one.points)
            pairs = zip(one.points, groups, strict=True)
            one.rungs[number] = [self._runs.trial(point, own, rung.share) for point, own in pairs]
            at = min(range(len(groups)), key=lambda i: one.rungs[number][i].cost)
            one.made = groups[at]
        return sorted((one for one in alive if one.best is not None), key=_cost)

    def _last(self, one: Entrant) -> list[Trial]:
        return one.rungs[max(one.rungs)] if one.rungs else []

    def _final(self, finalists: list[Entrant]) -> None:
        size = self._decided.size
        if size is None or not finalists:
            return
        for one in finalists:
            assert one.best is not None
            one.points = [one.best.point]
        count = size.report if self._seconds is None else MOST_SEEDS
        seeds = range(MOST_TUNING, MOST_TUNING + count)
        made = self._stage(FINAL, REPORT, self._whole, finalists, seeds, len(finalists))
        for one in finalists if made is not None else ():
            assert made is not None
            one.made = [item.run for item in made[one.name]]
            one.reported = self._runs.values(one.made)

    def _stage(
        self, name: str, begins: str, length: int, entrants: list[Entrant], seeds: range, a_seed: int
    ) -> dict[str, list[Made]] | None:
        """Runs the settings of contenders with as many of the seeds as there is time for; None where for none.

        Args:
            name: of the stage.
            begins: what the names of its sweeps begin with.
            length: of the runs.
            entrants: who takes part.
            seeds: at most.
            a_seed: how many runs a seed is.
        """
        if self._seconds is None:
            found = self._seed(begins, length, entrants, seeds)
            if found is not None:
                self._decided.seeds[name] = len(seeds)
            return found
        made: dict[str, list[Made]] = {}
        kept = self._decided
        done = 0
        while done < len(seeds):
            count = kept.seeds.get(name, 0) - done  # what was made before is read in one piece
            if count <= 0:
                over = name in kept.closed or self._stop.requested
                count = 0 if over else self._affordable(a_seed, length, final=name == FINAL)
            some = seeds[done : done + count]
            found = self._seed(begins, length, entrants, some) if count else None
            if found is None:
                break
            done += len(some)
            kept.seeds[name] = max(done, kept.seeds.get(name, 0))
            self._keep()
            for who, items in found.items():
                made.setdefault(who, []).extend(items)
        if not self._user.requested and name not in kept.closed:
            kept.closed.append(name)
            self._keep()
        return made or None

    def _affordable(self, runs: int, length: int, *, final: bool) -> int:
        """How many seeds of so many runs of a length to make at once: a quarter of those that there is time for before
        the shortest final, and 1 where there is time for any, since what they take is measured anew each time."""
        assert self._seconds is not None
        assert self._decided.size is not None
        rates = self._decided.rates
        reserve = 0 if final else self._decided.size.finalists * FEWEST_SEEDS
        left = self._seconds - self._spent - reserve * seconds_of_run(rates, self._whole)
        most = int(left / max(runs * seconds_of_run(rates, length), 1e-9))
        return max(1, most // 4) if most >= 1 else 0

    def _seed(self, begins: str, length: int, entrants: list[Entrant], seeds: range) -> dict[str, list[Made]] | None:
        """The runs of all with some seeds; None where they were not all made, since the user or the time ended them."""
        began, made, new = self._clock(), dict[str, list[Made]](), self._runs.new
        for one in entrants:
            overrides = [*self._question.overrides, *one.overrides]
            overrides += [f"{self._key}={length}"] if length != self._whole else []
            label = f"{one.name}: {len(one.points)} x {len(seeds)}, {length} {self._key.partition('.')[2]}"
            made[one.name] = self._runs.sweep(overrides, f"{begins}{one.slug}", label, seeds, one.points)
            self._ids |= {item.run.run_id for item in made[one.name]}
            if not self._runs.complete:
                return None
        if (new := self._runs.new - new) > 0:
            self._decided.rates[length] = _rate((self._clock() - began) / new, made)
        return made

    def _out_of_time(self) -> bool:
        """Whether a rung had fewer seeds than its size says, or there was no final."""
        size, seeds = self._decided.size, self._decided.seeds
        if self._seconds is None:
            return False
        tuning = [name for name in self._decided.closed if name != FINAL]
        return size is None or any(seeds.get(name, 0) < size.tuning for name in tuning)

    def _found(self, entrants: list[Entrant]) -> Found:
        metric, decided = self._runs.metric, self._decided
        finalists = [one for one in entrants if one.reported]
        direction = direction_of(metric)
        n = len(finalists[0].reported) if finalists else 0
        tuned = [
            Tuned(one.name, one.space, one.sources, True, direction, self._last(one), one.best, one.reported)
            for one in finalists
        ]
        task = _task(self._question, {}, range(MOST_TUNING, MOST_TUNING + n))
        final = Result(task, problem_name(entrants[0].planned), metric, tuned, self._user.requested)
        tuned.sort(key=lambda one: -direction * final.estimate(one.reported).value)
        place = {one.name: i for i, one in enumerate(tuned)}
        order = sorted(entrants, key=lambda e: (place.get(e.name, len(place)), -max(e.rungs, default=-1), _cost(e)))
        seeds = {number: decided.seeds.get(str(number), 0) for number in self._rungs}
        return Found(self._question, decided.size, self._rungs, seeds, order, final, len(self._ids), decided.spent,
                     self._out_of_time(), len(self._runs.failed), self._key.partition(".")[2])  # fmt: skip


def _rate(seconds: float, made: Mapping[str, list[Made]]) -> Rate:
    """What a run took, and how much of it went into updates, at most all of it where several run at once."""
    training = [item.run.summary.get("seconds") for items in made.values() for item in items]
    known = [float(one) for one in training if one is not None]
    if not known or len(known) < len(training):
        return Rate(seconds)
    return Rate(seconds, min(seconds, sum(known) / len(known)))


def _cost(one: Entrant) -> float:
    return one.best.cost if one.best is not None else math.inf
