"""Which optimizer, schedule and loss trains this: a tournament within a budget, reported on fresh seeds.

Every contender (an optimizer with a schedule and a loss) tries the same number of settings with short runs on the
tuning seeds; half of the contenders go on, each with the better third of its settings and runs three times as long,
until runs are whole (successive halving, of contenders and of settings: K. Jamieson and A. Talwalkar 2016, AISTATS).
The best contenders, each with its best setting, then meet on seeds that no choice has seen, and only those count.

A budget in runs decides everything beforehand. With a budget in time the first seed of one setting of each is timed,
then of a few more, until that says how large it may be; later stages go by a few seeds at a time as long as there is
time, and the final takes what is left. What was decided is kept (`decided`), so that the same command follows it, and
makes only what is missing. A larger budget goes on: its first rung has the settings of the smaller one and more, and
whoever came into a later rung there is in it here too, with the settings that it had.

What all contenders try in a stage is one sweep, so that they share workers, and what can be rows or stacks is.
"""

from __future__ import annotations

import itertools
import math
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from optbench.config import Composer
from optbench.config.space import Dimension
from optbench.errors import IncompatibleError, UserError
from optbench.experiment import Planned, Stop, plan_run
from optbench.launch.sweep import Options
from optbench.protocol import around_name
from optbench.records import Run, Status, check_place, read
from optbench.records.sweep_plan import TUNING
from optbench.tuning.budget import (
    FEWEST_SEEDS,
    MOST_SEEDS,
    SIZES,
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
from optbench.tuning.course import At, curvature_along
from optbench.tuning.decided import FINAL, Decided
from optbench.tuning.endings import Endings, endings_of
from optbench.tuning.runs import Made, Part, Runs, Trial, Watching, budget_of, by_point, direction_of
from optbench.tuning.search import ETA, Point, Quasirandom
from optbench.tuning.tune import REPORT, Result, Task, Tuned, own_spaces, problem_name, spaces_of

ON_SURFACES = ("gd", "momentum", "nesterov", "rmsprop", "adam", "lion")
ON_NETWORKS = ("sgd", "momentum", "adamw", "radam", "lion", "muon")
"""Optimizers that compete where none are named."""
SCHEDULERS = ("constant", "cosine")
"""Schedules that compete on networks where none are named; on surfaces there is none."""
MOST_TUNING = 3
"""Seeds 0, 1, 2 choose; the report's begin after them, whatever the size."""
GROUPS = ("optimizer", "wrap", "scheduler", "loss")
"""What a contender is a choice of."""
_OVERRUN = 1.03  # of the time: what is in flight is ended then
_LOOK = 3  # runs that take as long as a look at the curvature of one: three places with 20 products each
_LOOK_MOST = 0.15  # of the budget
_LOOK_STARTS = 4.0  # seconds until the first look has begun: torch and what it compiles, 2.4 s of a quiet core
_GLANCE = 1 / 4  # of the time: where the first look at each took less, another says what they take when all is warm


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        overrides: what every run has, without optimizer, what is around it, scheduler and loss.
        space: what is searched over of every contender that has the key, instead of what its YAML says.
        groups: choices of each of GROUPS that compete, as typed; no losses: the problem's own; no wraps: nothing.
        budget: what may be spent.
        folder: where the sweeps go.
        search_seed: of the settings' draws.
        config_dirs: the user's own conf folders.
        checkpoint: whose accuracy counts, best or last.
        own: what is searched over of the contenders with one optimizer, by its name.
    """

    overrides: tuple[str, ...]
    space: tuple[Dimension, ...]
    groups: Mapping[str, tuple[str, ...]]
    budget: Budget
    folder: Path
    search_seed: int = 0
    config_dirs: tuple[Path, ...] = ()
    checkpoint: str = "best"
    own: tuple[tuple[str, Dimension], ...] = ()


@dataclass
class Entrant:
    """A contender, and what came of it.

    Attributes:
        choices: its optimizer, its scheduler and, where they compete, its loss and what is around the optimizer.
        name: of it, in words.
        space, sources: what was searched over, and where each range comes from.
        planned: its run as it is by default.
        points: settings that are still tried.
        rungs: its trials in each rung that it took part in, by the rung's number.
        made: the runs of its best setting in the last of these, or of the final.
        reported: the metric of each fresh seed, NaN without a result; empty where it is no finalist.
        curvature: along its run with the first of these; empty where it was not measured.
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
    curvature: list[At] = field(default_factory=list)

    @property
    def overrides(self) -> list[str]:
        """What makes a run its own."""
        return [f"{group}={name}" for group, name in self.choices.items()]

    @property
    def slug(self) -> str:
        """For names of folders."""
        words = "-".join(self.choices[group] for group in GROUPS if group in self.choices)
        return re.sub(r"[^\w.+-]+", "-", words).strip("-")

    @property
    def best(self) -> Trial | None:
        """The best trial of its last rung; None where none has a result. Of equals the first."""
        last = self.rungs[max(self.rungs)] if self.rungs else []
        found = min(last, key=lambda trial: trial.cost, default=None)
        return found if found is not None and math.isfinite(found.cost) else None

    @cached_property
    def endings(self) -> Endings:
        """How the runs that speak for it ended; asked for when all were made."""
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
        before: smaller budgets that it goes on from, as typed, and taken: how many runs these had, idle: how many of
            the folder's runs count for nothing here.
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
    before: tuple[str, ...] = ()
    taken: int = 0
    idle: int = 0


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
    own: Sequence[str] = (),
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
    given = {one.key: tuple(map(_choice, one.values)) for one in space if one.key in GROUPS}
    given |= {key: (value,) for o in fixed for key, _, value in [o.partition("=")] if key in GROUPS}
    plain = tuple(o for o in fixed if o.partition("=")[0] not in GROUPS)
    planned = plan_run(list(plain), config_dirs)
    network = planned.config["data"].get("_target_") is not None
    usual = {"optimizer": ON_NETWORKS, "scheduler": SCHEDULERS} if network else {
        "optimizer": ON_SURFACES, "scheduler": ("constant",)}  # fmt: skip
    groups = {group: given.get(group) or usual.get(group, ()) for group in GROUPS}
    if len(groups["loss"]) > 1 and not (network and planned.config["data"].get("n_classes")):
        raise IncompatibleError("losses are compared by accuracy: this problem has none", "one loss, such as the usual")
    searched = tuple(one for one in space if one.key not in GROUPS)
    of_one = own_spaces(own, groups["optimizer"], config_dirs)
    return Question(plain, searched, groups, budget, folder, search_seed, tuple(config_dirs), checkpoint, of_one)


def entrants_of(question: Question, composer: Composer | None = None) -> list[Entrant]:
    """The contenders: every optimizer with every schedule under every loss; `composer` as of `plan_sweep`.

    Raises:
        UserError, ConfigError: of one of them nothing says what to tune, or the seed changes nothing.
    """
    groups, composing = question.groups, composer or Composer(question.config_dirs)
    found = []
    rest = itertools.product(groups["loss"] or ("",), groups["scheduler"], groups["wrap"] or ("",))
    for loss, scheduler, wrap in rest:
        chosen = {"wrap": wrap, "scheduler": scheduler, "loss": loss}
        choices = {group: name for group, name in chosen.items() if name}
        for optimizer, (space, sources, planned) in spaces_of(_task(question, choices), composing).items():
            name = around_name(planned.choices) + (f" with {scheduler}" if len(groups["scheduler"]) > 1 else "")
            name += f" under {loss}" if len(groups["loss"]) > 1 else ""
            found.append(Entrant({**choices, "optimizer": optimizer}, name, space, sources, planned))
    if len(found) < 2:
        raise UserError("a tournament has at least two contenders", "optimizer=adamw,sgd, or scheduler=constant,cosine")
    return found


def _choice(value: Any) -> str:
    """A choice of a group, or a list of them, as it is typed."""
    return f"[{','.join(map(str, value))}]" if isinstance(value, list) else str(value)


def _task(question: Question, choices: Mapping[str, str], report: range = range(0)) -> Task:
    overrides = (*question.overrides, *(f"{group}={name}" for group, name in choices.items()))
    return Task(overrides, question.space, question.groups["optimizer"], 0, "halving", range(MOST_TUNING), report,
                question.folder, question.search_seed, question.config_dirs, question.checkpoint,
                own=question.own)  # fmt: skip


def decided_of(question: Question) -> Decided:
    """What was decided in the question's folder, as far as its budget goes on with it. Raises as `Decided.read`."""
    asked = {
        "overrides": list(question.overrides), "space": [one.override() for one in question.space],
        "groups": {group: list(names) for group, names in question.groups.items()},
        "search_seed": question.search_seed, "checkpoint": question.checkpoint,
    }  # fmt: skip
    if question.own:
        asked["own"] = [f"{name}:{one.override()}" for name, one in question.own]
    return Decided.read(question.folder, asked, question.budget)


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
        self._decided = decided_of(question)
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
        entrants = entrants_of(self._question, self._runs.composer)  # what cannot be is said before the first run
        check_place(self._question.folder, folder=True)
        self._key, self._whole = length_of(entrants)
        with self._runs:
            if self._decided.size is None:
                self._decide(entrants)
            alive = list(entrants)
            if self._decided.size is not None:
                for number, rung in enumerate(ladder(len(entrants), self._whole, self._decided.size)):
                    alive = self._rung(number, rung, alive)
                self._final(alive)
        self._keep()
        return self._found(entrants)

    @property
    def _spent(self) -> float:
        return self._before + self._clock() - self._began

    def _left(self) -> float:
        """Seconds of the budget that are left; of a budget in runs all of them."""
        return (self._seconds or math.inf) - self._spent

    def _keep(self) -> None:
        self._decided.spent = self._spent if self._runs.new else self._before  # to read again costs nothing
        self._decided.write()

    def _decide(self, entrants: list[Entrant]) -> None:
        """How large it may be: by the number of runs, or by the time of short runs of each."""
        budget, kept, n = self._question.budget, self._decided, len(entrants)
        taken = kept.taken_over(len(lengths(self._whole)))
        if budget.runs is not None:
            kept.size = size_of_runs(budget.runs, n, self._whole, taken)
            return
        assert budget.seconds is not None
        shortest, size = lengths(self._whole)[0], SIZES[0]
        while True:
            if kept.rates:
                size = size_of_seconds(budget.seconds - self._spent, n, self._whole, kept.rates, taken)
            more = self._next(size.settings, budget.seconds)
            if more <= kept.tried:
                break
            for one in entrants:
                one.points = self._points(one, more)
            if self._seed(TUNING, shortest, entrants, range(1)) is None:
                return
            # where all were made before, by a command that was killed, what this one took is all that is known
            rate = kept.rates.setdefault(shortest, Rate(self._spent / len(entrants)))
            if kept.tried == 0:  # of the first look; what the next one takes corrects it
                kept.rates[shortest] = rate.without_start()
            kept.tried = more
            self._keep()
        kept.size = replace(size, settings=max(size.settings, kept.tried))
        kept.seeds["0"] = 1  # of the first rung, the first seed is made
        self._keep()

    def _next(self, settings: int, seconds: float) -> int:
        """How many settings of each to have tried next, to see what a run takes: three times as many, as far as the
        size allows that this says is affordable; the first look has the start of everything in it."""
        tried = self._decided.tried
        if tried == 0:
            return 1
        if tried == 1 and settings < ETA and self._spent <= _GLANCE * seconds:
            return ETA
        return min(settings, ETA * tried)

    def _points(self, one: Entrant, count: int) -> list[Point]:
        """The first settings of a sequence: those of more are the same and more."""
        asked = Quasirandom(one.space, count, self._question.search_seed).ask()
        assert asked is not None
        return asked.points

    def _rung(self, number: int, rung: Rung, alive: list[Entrant]) -> list[Entrant]:
        """Runs a rung; gives who goes on, the best first. A rung without time for one seed changes nothing."""
        if not alive:
            return []
        if number == 0:
            for one in alive:
                one.points = self._points(one, rung.settings)
        else:
            carried = self._decided.carried.get(str(number), {})
            chosen = alive[: rung.contenders]
            alive = [*chosen, *(one for one in alive[rung.contenders :] if one.name in carried)]
            for one in alive:
                order = sorted(self._last(one), key=lambda trial: trial.cost)  # of equals the first
                best = [trial.point for trial in order[: rung.settings]] if one in chosen else []
                one.points = [*best, *(point for point in carried.get(one.name, []) if point not in best)]
        assert self._decided.size is not None
        made = self._stage(str(number), TUNING, rung.length, alive, range(self._decided.size.tuning))
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

    def _final(self, alive: list[Entrant]) -> None:
        """The best on fresh seeds, and with them whoever was there with a smaller budget and the same best setting."""
        size, carried = self._decided.size, self._decided.carried.get(FINAL, {})
        assert size is not None
        earlier = [one for one in alive[size.finalists :] if one.best and [one.best.point] == carried.get(one.name)]
        finalists = [*alive[: size.finalists], *earlier]
        if not finalists:
            return
        for one in finalists:
            assert one.best is not None
            one.points = [one.best.point]
        made = self._stage(FINAL, REPORT, self._whole, finalists, self._fresh(size, finalists))
        for one in finalists if made is not None else ():
            assert made is not None
            one.made = [item.run for item in made[one.name]]
            one.reported = self._runs.values(one.made)
        for one in finalists if made is not None else ():
            assert made is not None
            self._look(one, made[one.name][0])

    def _look(self, one: Entrant, first: Made) -> None:
        """The curvature along the run of a finalist, measured once."""
        known = self._decided.curvature.get(one.name, {})
        if known.get("run_id") != first.run.run_id:
            if self._stop.requested or self._left() < 0:
                return
            found = curvature_along(first, self._left)
            known = {"run_id": first.run.run_id, "at": [asdict(at) for at in found]}
            self._decided.curvature[one.name] = known
        one.curvature = [At(**at) for at in known["at"]]

    def _fresh(self, size: Size, finalists: Sequence[Entrant]) -> range:
        """The seeds of the report, at most. Of a budget in runs that goes on from a smaller one, all that is left."""
        count, kept = size.report, self._decided
        if self._seconds is not None:
            count = MOST_SEEDS
        elif kept.before:
            if not kept.fresh:
                carried = kept.carried.get(FINAL, {})
                made = sum(one.points == carried.get(one.name) for one in finalists) * kept.had.get(FINAL, 0)
                left = (self._question.budget.runs or 0) - len(read([self._question.folder])) + made
                kept.fresh = min(MOST_SEEDS, max(1, left // len(finalists)))
            count = kept.fresh
        return range(MOST_TUNING, MOST_TUNING + count)

    def _stage(
        self, name: str, begins: str, length: int, entrants: list[Entrant], seeds: range
    ) -> dict[str, list[Made]] | None:
        """Runs the settings of contenders with as many of the seeds as there is time for; None where for none.

        Args:
            name: of the stage.
            begins: what the name of its sweep begins with.
            length: of the runs.
            entrants: who takes part.
            seeds: at most.
        """
        kept = self._decided
        kept.stages[name] = {one.name: one.points for one in entrants}
        self._keep()
        if self._seconds is None:
            if (found := self._seed(begins, length, entrants, seeds)) is None:
                return None
            kept.seeds[name] = len(seeds)
            return found[0]
        made: dict[str, list[Made]] = {}
        done, a_seed = 0, sum(len(one.points) for one in entrants)
        while done < len(seeds):
            count = kept.seeds.get(name, 0) - done  # what was made before is read in one piece
            if count <= 0:
                over = name in kept.closed or self._stop.requested
                count = 0 if over else self._affordable(a_seed, length, self._reserve(name, a_seed, done))
            some = seeds[done : done + count]
            found = self._seed(begins, length, entrants, some) if count else None
            if found is None:
                break
            done += found[1]
            kept.seeds[name] = max(done, kept.seeds.get(name, 0))
            self._keep()
            for who, items in found[0].items():
                made.setdefault(who, []).extend(items)
            if found[1] < len(some):
                break
        if not self._user.requested and name not in kept.closed:
            kept.closed.append(name)
            self._keep()
        return made or None

    def _reserve(self, stage: str, a_seed: int, done: int) -> float:
        """How many seconds a stage leaves: those of the shortest final; in the final, once it has that many seeds, as
        many as a look at the curvature of each finalist may take, and no more than a part of the budget: a look leaves
        out what there is no time for."""
        assert self._decided.size is not None
        a_run = seconds_of_run(self._decided.rates, self._whole)
        if stage != FINAL:
            return self._decided.size.finalists * FEWEST_SEEDS * a_run
        if done < FEWEST_SEEDS:
            return 0.0
        assert self._seconds is not None
        return min(_LOOK_STARTS + _LOOK * a_seed * a_run, _LOOK_MOST * self._seconds)

    def _affordable(self, runs: int, length: int, reserve: float) -> int:
        """How many seeds of so many runs of a length to make at once: half of those that there is time for before a
        reserve of seconds, a quarter where no run of that length was measured, and 1 where there is time for any."""
        assert self._seconds is not None
        rates = self._decided.rates
        left = self._seconds - self._spent - reserve
        most = int(left / max(runs * seconds_of_run(rates, length), 1e-9))
        return max(1, most // (2 if length in rates else 4)) if most >= 1 else 0

    def _seed(
        self, begins: str, length: int, entrants: list[Entrant], seeds: range
    ) -> tuple[dict[str, list[Made]], int] | None:
        """The runs of all with some seeds, by contender, and how many of the seeds are whole: fewer where the time was
        over before, and then the runs are of these alone. None where there is none, or the user ended it."""
        began, new, unit = self._clock(), self._runs.new, self._key.partition(".")[2]
        more = [f"{self._key}={length}"] if length != self._whole else []
        parts = {
            one.name: Part([*self._question.overrides, *one.overrides, *more], one.points, one.slug) for one in entrants
        }
        settings = sum(len(one.points) for one in entrants)
        long = f"{length} {unit.removesuffix('s') if length == 1 else unit}"
        label = f"{len(entrants)} contenders, {settings} settings x {len(seeds)}, {long}"
        made = self._runs.together(parts, f"{begins}{length}{unit}", label, seeds)
        whole = len(seeds)
        if not self._runs.complete:
            if self._user.requested or not self._stop.requested:
                return None
            each = (_whole_seeds(made[one.name], one.points) for one in entrants)
            ended = set(seeds).intersection(*each)
            whole = next((i for i, seed in enumerate(seeds) if seed not in ended), len(seeds))
            first = seeds[:whole]
            made = {who: [one for one in of if one.planned.config["seed"] in first] for who, of in made.items()}
        elif (new := self._runs.new - new) > 0:
            self._decided.rates[length] = _rate((self._clock() - began) / new, made)
        self._ids |= {item.run.run_id for items in made.values() for item in items}
        return (made, whole) if whole else None

    def _out_of_time(self) -> bool:
        """Whether a rung had fewer seeds than its size says, or there was no final."""
        size, seeds = self._decided.size, self._decided.seeds
        if self._seconds is None:
            return False
        tuning = [name for name in self._decided.closed if name != FINAL]
        return size is None or any(seeds.get(name, 0) < size.tuning for name in tuning)

    def _idle(self) -> int:
        """How many runs of a smaller budget count for nothing here."""
        if not self._decided.before:
            return 0
        return sum(run_id not in self._ids for run_id in read([self._question.folder]).values("run_id"))

    def _found(self, entrants: list[Entrant]) -> Found:
        metric, decided = self._runs.metric, self._decided
        finalists = [one for one in entrants if one.reported]
        direction = direction_of(metric)
        n = len(finalists[0].reported) if finalists else 0
        tuned = [
            Tuned(one.name, one.space, one.sources, True, direction, self._last(one), one.best, one.reported,
                  config=one.planned.config)
            for one in finalists
        ]  # fmt: skip
        task = _task(self._question, {}, range(MOST_TUNING, MOST_TUNING + n))
        stopped, looked = self._user.requested, bool(decided.before)
        final = Result(task, problem_name(entrants[0].planned), metric, tuned, stopped, looked)
        tuned.sort(key=lambda one: -direction * final.estimate(one.reported).value)
        place = {one.name: i for i, one in enumerate(tuned)}
        order = sorted(entrants, key=lambda e: (place.get(e.name, len(place)), -max(e.rungs, default=-1), _cost(e)))
        seeds = {number: decided.seeds.get(str(number), 0) for number in self._rungs}
        return Found(self._question, decided.size, self._rungs, seeds, order, final, len(self._ids), decided.spent,
                     self._out_of_time(), len(self._runs.failed), self._key.partition(".")[2], tuple(decided.before),
                     decided.taken, self._idle())  # fmt: skip


def _whole_seeds(made: Sequence[Made], points: Sequence[Point]) -> set[int]:
    """The seeds with which every setting has ended."""
    ended = Counter(item.planned.config["seed"] for item in made if item.run.status is not Status.INTERRUPTED)
    different = len({repr(point) for point in points})
    return {seed for seed, count in ended.items() if count >= different}


def _rate(seconds: float, made: Mapping[str, list[Made]]) -> Rate:
    """What a run took, and how much of it went into updates, at most all of it where several run at once."""
    training = [item.run.summary.get("seconds") for items in made.values() for item in items]
    known = [float(one) for one in training if one is not None]
    if not known or len(known) < len(training):
        return Rate(seconds)
    return Rate(seconds, min(seconds, sum(known) / len(known)))


def _cost(one: Entrant) -> float:
    return one.best.cost if one.best is not None else math.inf
