"""A sweep from its plan to its records: what is done is left, rows run as batches, the rest goes to the launcher."""

from __future__ import annotations

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from optbench.config.callbacks import NONE, Callbacks, parse_callbacks
from optbench.descend.portable import is_portable
from optbench.errors import IncompatibleError, OptbenchError, OutputError, RecordError, UserError, unexpected
from optbench.experiment import Folders, Planned, Stop, interruptible, paths_of, plan_sweep
from optbench.experiment.plan import Sweep
from optbench.experiment.programs import is_shelved
from optbench.experiment.schedule_note import note_of
from optbench.experiment.watching import tell
from optbench.launch import stacks_kept
from optbench.launch.base import Launcher, Watcher, available_cores
from optbench.launch.batches import ALONE, LEAST_ROWS, LOOP, Rows, batches, is_usual, startable
from optbench.launch.kept_curves import fill
from optbench.launch.local import is_network
from optbench.launch.members import check_members
from optbench.launch.outlook import TooLargeError, chunk_rows, chunks, outlook
from optbench.launch.rows import RECORDED, run_rows, skip_rows
from optbench.launch.stacks import LEAST_STACK, Stacked, run_stack, stacks
from optbench.ranks import of_environment
from optbench.records import Run, Status, check_place, read
from optbench.records.run import read_columns
from optbench.records.sweep_plan import NAME as PLAN
from optbench.records.sweep_plan import write_plan
from optbench.records.tables import CURVES, RUNS, recorded_ids
from optbench.settings import SAMPLES, by_engine

if TYPE_CHECKING:
    from optbench.launch.crew import Crew

log = logging.getLogger(__name__)

ENGINES = ("auto", "loop", "eager", "fused", "portable", "stacked")


class SweepWatcher(Watcher):
    """A Watcher that is also told of batches; this one ignores it all."""

    def already(self, done: int) -> None:
        """So many runs of the sweep were done before."""

    def batch(self, label: str, rows: int) -> None:
        """A batch of runs begins."""

    def rows(self, ended: int) -> None:
        """So many rows of the batch have ended since it was told last."""

    def stage(self, words: str, share: float) -> None:
        """What is being done for the rows in flight, and which share of it lies behind (0 to 1)."""


Silent = SweepWatcher
"""A watcher that ignores everything."""


@dataclass(frozen=True)
class Options:
    """How a sweep is carried out.

    Attributes:
        force: run again what is done.
        retry_failed: run again what failed.
        stop_on_error: end the sweep at the first failed run.
        engine: "auto"; "loop": every run by itself; "eager" or "fused": rows by this engine; "stacked": networks that
            can train as one program do, whichever way is quicker.
        recorded: how many runs of a batch keep their whole curve, see kept_curves.
        least: fewer runs than this that would be rows of one batch keep a folder each.
        callbacks: told of the runs that execute now: live of those that go one by one, at the end of all others.
    """

    force: bool = False
    retry_failed: bool = False
    stop_on_error: bool = False
    engine: str = "auto"
    recorded: int = RECORDED
    least: int = LEAST_ROWS
    callbacks: Callbacks = NONE

    @property
    def backend(self) -> str:
        """What computes rows on surfaces."""
        return "auto" if self.engine in ("loop", "stacked") else self.engine


@dataclass
class Outcome:
    """What became of a sweep.

    Attributes:
        by_status: how many runs have each status, done before or now.
        failed, skipped: of this time, without those of a batch that was skipped as a whole.
        gone: how many of the runs that ended have no record any more.
    """

    by_status: Counter[str] = field(default_factory=Counter)
    failed: list[Run] = field(default_factory=list)
    skipped: list[Run] = field(default_factory=list)
    gone: int = 0

    def add(self, run: Run) -> None:
        """Counts one run."""
        self.by_status[run.status.value] += 1
        if run.status is Status.FAILED:
            self.failed.append(run)
        if run.status is Status.SKIPPED:
            self.skipped.append(run)


@dataclass(frozen=True)
class Division:
    """The runs of a sweep by what is to be done with them.

    Attributes:
        done: run_id to status of the runs that are done.
        rows: batches to do.
        single: runs to do one by one.
        stacks: networks to train as one program.
        why: run_id to why a single run is no row; see batches.is_usual.
        flaws: of runs to do whose place is not empty, what is wrong with what lies there.
    """

    done: Mapping[str, str]
    rows: Sequence[Rows]
    single: Sequence[Planned]
    why: Mapping[str, str] = field(default_factory=dict)
    flaws: Mapping[str, str] = field(default_factory=dict)
    stacks: Sequence[Stacked] = ()

    @property
    def todo(self) -> int:
        """Number of runs to do."""
        return len(self.single) + sum(map(len, self.programs()))

    def programs(self) -> list[Sequence[Planned]]:
        """The runs of each program that executes many."""
        return [*(rows.planned for rows in self.rows), *(stack.planned for stack in self.stacks)]

    def without(self, run_ids: Collection[str]) -> Division:
        """The same without some of the runs to do; a batch goes as a whole."""
        rows = [r for r in self.rows if r.planned[0].run_id not in run_ids]
        stacks = [s for s in self.stacks if s.planned[0].run_id not in run_ids]
        single = [item for item in self.single if item.run_id not in run_ids]
        return replace(self, rows=rows, stacks=stacks, single=single)

    def alone(self, everything: bool = False) -> list[str]:
        """One sentence for each reason for which runs go one by one; `everything`: for the usual ones, too."""
        members: dict[str, list[Planned]] = defaultdict(list)
        for item in self.single:
            if item.run_id in self.why and (everything or not is_usual(self.why[item.run_id])):
                members[self.why[item.run_id]].append(item)
        return [f"{len(items)} like {items[0].label} go one by one: {why}" for why, items in members.items()]

    def notes(self, everything: bool = False) -> list[str]:
        """What the user should know of the runs to do, a sentence each: who goes alone, which schedule never acts."""
        idle: dict[str, list[Planned]] = defaultdict(list)
        for item in (*self.single, *(p for members in self.programs() for p in members)):
            if (note := note_of(item.config)) is not None:
                idle[note].append(item)
        return [
            *self.alone(everything),
            *(f"{len(items)} like {items[0].label}: {note}" for note, items in idle.items()),
        ]


def divide(sweep: Sweep, options: Options, to_run: bool = False) -> Division:
    """Looks at what is recorded, once for the whole folder, and sorts the runs.

    Args:
        sweep: the plan.
        options: how it would be carried out.
        to_run: whether it will be: then the places of what is to do are tried.

    Raises:
        RecordError: the sweep has a table that cannot be read.
        OutputError: something to do could not be recorded.
    """
    found_ids = recorded_ids(sweep.folder)  # with force too: rows cannot be added to a table that cannot be read
    in_tables = {} if options.force else found_ids
    folders = set(os.listdir(sweep.folder)) if sweep.folder.is_dir() and not options.force else set()
    done: dict[str, str] = {}
    todo: list[Planned] = []
    flaws: dict[str, str] = {}
    for item in sweep:
        status = in_tables.get(item.run_id)
        if status is None and item.folder.name in folders:
            found, flaw = item.look()
            status = None if found is None else found.status.value
            if flaw is not None:
                flaws[item.run_id] = flaw
        finished = status is not None and (Status(status).final or (status == "failed" and not options.retry_failed))
        if finished and status is not None:
            done[item.run_id] = status
        else:
            todo.append(item)
    if to_run and todo:
        _check_places(sweep, todo)
    if options.engine in ("loop", "eager") and any(is_portable(item.config["trainer"]) for item in todo):
        raise UserError(f"--engine {options.engine} and trainer.engine=portable: expected one of them")
    todo = [replace(item, callbacks=options.callbacks.nodes) for item in todo] if options.callbacks else todo
    if options.callbacks.need_module and options.engine in ("eager", "fused", "stacked", "portable"):
        raise UserError(
            f"--engine {options.engine}: one of the callbacks looks into the module of a run that goes alone"
        )
    if options.engine == "loop" or options.callbacks.need_module:
        todo = [replace(item, engine="loop") for item in todo]
        why = LOOP if options.engine == "loop" else f"{ALONE}a callback looks into the module"
        return Division(done, [], todo, dict.fromkeys((item.run_id for item in todo), why), flaws)
    sorted_ = batches(todo, options.least, options.engine != "eager")
    return _with_stacks(sweep, Division(done, *sorted_, flaws), options)


def _with_stacks(sweep: Sweep, division: Division, options: Options) -> Division:
    """The same with the networks that train as one program apart; on other machines each goes by itself."""
    if not any(map(is_network, division.single)):
        return division
    why = dict(division.why)
    if sweep.launcher.get("name", "local") != "local":
        words = f"{ALONE}hydra/launcher={sweep.launcher['name']} gives each a place of its own"
        why |= dict.fromkeys((item.run_id for item in division.single if is_network(item)), words)
        return replace(division, why=why)
    least = min(options.least, LEAST_STACK)
    found, reasons = stacks(division.single, least, options.force, always=options.engine == "stacked")
    taken = {item.run_id for stack in found for item in stack.planned}
    single = [item for item in division.single if item.run_id not in taken]
    why = {run_id: words for run_id, words in (why | reasons).items() if run_id not in taken}
    return replace(division, single=single, why=why, stacks=found)


def _check_places(sweep: Sweep, todo: Sequence[Planned]) -> None:
    """Tries whether what is to do can be recorded. Raises OutputError."""
    check_place(sweep.folder, folder=True)
    there = set(os.listdir(sweep.folder)) if sweep.folder.is_dir() else set()
    for name in there & {RUNS, CURVES, PLAN}:
        check_place(sweep.folder / name)
    for item in todo:
        if item.folder.name in there:
            check_place(item.folder, folder=True)


def run_sweep(
    sweep: Sweep, launcher: Launcher, stop: Stop, watcher: SweepWatcher, options: Options | None = None
) -> Outcome:
    """Carries a sweep out; every planned run has one record in the end, unless the user stopped it.

    Args:
        sweep: the plan.
        launcher: where single runs execute, see launch.launcher.
        stop: see experiment.interruptible.
        watcher: told what happens.
        options: see Options.

    Raises:
        OutputError: records cannot be written.
        RecordError: the sweep has a table that cannot be read; nothing was changed.
        ConfigError: a member cannot be built; nothing was changed.
        TooLargeError: rows that no memory holds; nothing was changed.
    """
    options = options or Options()
    division, outcome = divide(sweep, options, to_run=True), Outcome()
    if division.single:
        launcher.expect(division.single)
    if division.todo:
        check_members(*_to_check(division))
    parts = _parts(division.rows, watcher)
    kept = _write_plans(sweep)
    _say_flaws(sweep, division.flaws)
    outcome.by_status.update(division.done.values())
    watcher.already(len(division.done))
    for sentence in division.notes(everything=options.engine in ("eager", "fused")):
        watcher.note(sentence)
    single = list(division.single)
    for stack in division.stacks:
        if not stop.requested:
            single += _run_stack(stack, launcher.cores, stop, watcher, options, outcome)
    for part in parts:
        if not stop.requested:
            whole = any(part is rows for rows in division.rows)
            recorded = options.recorded if whole else 0  # of a batch in chunks the curves are chosen when all have run
            single += _run_batch(part, stop, watcher, replace(options, recorded=recorded), outcome)
    if single and not stop.requested:
        counted = _Counted(single, watcher)
        for run in launcher.launch(single, stop, watcher, options.force):
            outcome.add(run)
            counted.look(run)
            if run.status is Status.FAILED and options.stop_on_error:
                stop.requested = True
    told = {item.run_id for members in division.programs() for item in members} - {item.run_id for item in single}
    if outcome.by_status.total() == len(sweep):
        _keep_curves(sweep, division, kept, stop, options, cut=len(parts) > len(division.rows))
        outcome.gone = _gone(sweep)
        if division.stacks:
            stacks_kept.remove(sweep.folder)
    if options.callbacks and told:
        _tell(sweep, told, options.callbacks, watcher)
    return outcome


def _tell(sweep: Sweep, run_ids: Collection[str], callbacks: Callbacks, watcher: SweepWatcher) -> None:
    """Tells callbacks of the runs that executed as parts of programs."""
    runs = [run for run in read([sweep.folder]).runs() if run.run_id in run_ids]
    curves = read_columns(runs)
    for run, columns in zip(runs, curves, strict=True):
        tell(run, columns, callbacks.nodes, watcher.note)
    if bare := sum(not columns for columns in curves):
        watcher.note(f"callbacks were told the end alone of {bare} runs, whose curves are not kept; see --curves")


def _to_check(division: Division) -> tuple[list[Planned], set[str]]:
    """The runs whose members are to be built before the first starts, and which of them had their problem built: not
    those that are known, which were built when their program was made."""
    unknown = [rows for rows in division.rows if rows.known is None]
    single: Sequence[Planned] = [*division.single, *(item for stack in division.stacks for item in stack.planned)]
    if len(single) <= _LOOKED_UP:
        single = [item for item in single if item.engine != "auto" or not is_shelved(item.config)]
    built = {item.run_id for rows in unknown if rows.shared is not None for item in rows.planned}
    return [*single, *(item for rows in unknown for item in rows.planned)], built


_LOOKED_UP = 1000
"""Runs that go one by one up to which each is looked up on the shelf."""


def _parts(batches_: Sequence[Rows], watcher: SweepWatcher) -> list[Rows]:
    """The batches, those that memory does not hold in chunks; of large ones it is said what they will take."""
    parts: list[Rows] = []
    for rows in batches_:
        words, size = forecast(rows)
        if words:
            watcher.note(words)
        parts += chunks(rows, size)
    return parts


def forecast(rows: Rows) -> tuple[str, int]:
    """What a large batch will take, as a sentence (empty for a small one), and how many of its rows fit at once.

    Raises:
        TooLargeError: not even 64 rows fit into memory.
    """
    try:
        seen, size = outlook(rows), chunk_rows(rows)
    except TooLargeError:
        raise
    except Exception as error:  # parts are anyone's code; whatever it is comes again where they begin
        log.debug("%s", rows.planned[0].label, exc_info=error)
        seen, size = None, len(rows.planned)
    first = rows.planned[0]
    return "" if seen is None else f"{first.choices['model']} {first.choices['optimizer']}: {seen.sentence()}", size


class _Counted:
    """Notes on schedules that wait for a number of updates which only the data say, each once: as the first run of its
    kind has ended, the others still to come.

    Args:
        planned: the runs.
        watcher: told of them.
    """

    def __init__(self, planned: Sequence[Planned], watcher: SweepWatcher) -> None:
        self._watcher, self._said = watcher, set[str]()
        self._open = {item.run_id: item for item in planned if item.config["trainer"].get("steps") is None}

    def look(self, run: Run) -> None:
        """Records that a run has ended."""
        item = self._open.get(run.run_id)
        if item is None or run.status is not Status.COMPLETED:
            return
        note = note_of(item.config, run.summary["steps"])
        if note is not None and note not in self._said:
            self._said.add(note)
            self._watcher.note(f"{item.label} and runs like it: {note}")


def _keep_curves(sweep: Sweep, division: Division, kept: int, stop: Stop, options: Options, cut: bool) -> None:
    """Records the curves that the rows of a sweep that has ended should have.

    `kept`: so many of each batch are there; `cut`: a batch ran in chunks, which keep none by themselves.
    A missing curve is no reason to fail: what goes wrong is reported.
    """
    wanted = max(kept, options.recorded)
    if stop.requested or options.engine == "loop" or not (sweep.folder / RUNS).exists():
        return
    if division.done or cut:  # else each batch has just run, and kept its own
        if not cut and kept >= wanted and (sweep.folder / CURVES).exists():
            return
        try:
            fill(sweep, sweep.folder, wanted, stop, available_cores(), options.backend)
        except (OutputError, RecordError):
            raise
        except Exception as error:  # parts are anyone's code
            log.debug("curves of %s", sweep.folder, exc_info=True)
            log.warning("%s: not every curve could be recorded: %s", sweep.folder, unexpected(error))
            return
    if not stop.requested:
        _write_plans(sweep, wanted)


def _write_plans(sweep: Sweep, curves: int = 0) -> int:
    """Keeps the plan of each part of a sweep; gives how many curves of each batch are there. Raises OutputError."""
    return min(
        write_plan(part.folder, part.overrides, (item.run_id for item in part), curves, part.options)
        for part in sweep.parts
    )


_MOST_SAID = 10


def _say_flaws(sweep: Sweep, flaws: Mapping[str, str]) -> None:
    """Reports what is in the place of a run but is not a valid record of it."""
    names = {item.run_id: item.folder for item in sweep if item.run_id in flaws}
    for run_id, why in list(flaws.items())[:_MOST_SAID]:
        log.warning("%s: %s; the run is done again", names[run_id], why)
    if len(flaws) > _MOST_SAID:
        log.warning("... and %d more runs are done again", len(flaws) - _MOST_SAID)


def _gone(sweep: Sweep) -> int:
    """How many records of a sweep that has ended are not there: somebody removed them meanwhile."""
    left: Sequence[Planned] = sweep
    for _ in range(2):  # another process may turn a folder into a row in between
        in_tables = recorded_ids(sweep.folder)
        left = [item for item in left if item.run_id not in in_tables and not (item.folder / "run.json").exists()]
    for item in left[:_MOST_SAID]:
        log.warning("%s: it was removed while the sweep ran; the same command makes it again", item.folder)
    return len(left)


def recorded(plan: Sweep) -> list[Run]:
    """The records of a sweep's runs, in the order of the plan; runs without one are left out."""
    if not plan.folder.exists():
        return []
    table = read([plan.folder])
    places = {run_id: place for place, run_id in enumerate(table.values("run_id"))}
    at = [places[item.run_id] for item in plan if item.run_id in places]
    return table.take(np.array(at, dtype=np.int64)).runs()


def sweep(
    *overrides: str,
    config_dir: Folders = (),
    out: str | Path | None = None,
    name: str | None = None,
    samples: int = SAMPLES,
    force: bool = False,
    engine: str = "auto",
    retry_failed: bool = False,
    curves: int = RECORDED,
    least: int = LEAST_ROWS,
    stop: Stop | None = None,
    watcher: SweepWatcher | None = None,
    crew: Crew | None = None,
    callbacks: Sequence[str] = (),
) -> list[Run]:
    """Runs every combination that the overrides describe and returns the records, in the order of the plan.

    Args:
        overrides: as on the command line, e.g. "optimizer=sgd,adam", "seeds=5", "hydra/launcher=ray".
        config_dir: folders laid over optbench's conf/.
        out: folder that holds sweeps; default outputs/sweeps.
        name: the sweep's folder in it; by default made from the overrides.
        samples: points drawn from intervals.
        force: run again what is done.
        engine: what computes runs on surfaces; see Options.
        retry_failed: run again what failed.
        least: fewer runs than this that would be rows of one batch keep a folder each.
        curves: how many runs of a batch keep their whole curve.
        stop: ends it in order, between two updates; by default Ctrl-C does.
        watcher: told what happens; default nobody.
        crew: worker processes to keep between sweeps on this machine.
        callbacks: as `--callback` has them.

    Returns:
        One record a planned run; fewer only when the user stopped it.

    Raises:
        UserError: torchrun started this process as one of several.
    """
    from optbench.launch import launcher

    if (rank := of_environment()) is not None:
        raise UserError(f"a sweep is one process, and this is one of {rank.size} (WORLD_SIZE)",
                        "start it without torchrun; its launcher uses all cores")  # fmt: skip
    asked_for, engine = by_engine(overrides, engine)
    plan = plan_sweep(asked_for, paths_of(config_dir), Path(out) if out else None, name, samples)
    options = Options(force, retry_failed, engine=engine, recorded=curves, least=least,
                      callbacks=parse_callbacks(callbacks, paths_of(config_dir)))  # fmt: skip
    with nullcontext(stop) if stop is not None else interruptible() as asked:
        run_sweep(plan, launcher(plan.launcher, crew), asked, watcher or Silent(), options)
    return recorded(plan)


def _run_stack(
    stack: Stacked, cores: int, stop: Stop, watcher: SweepWatcher, options: Options, outcome: Outcome
) -> Sequence[Planned]:
    """Trains a stack; returns the runs that must go one by one."""
    watcher.batch(f"{stack.label}, stacked", len(stack.planned))
    try:
        runs, alone = run_stack(
            stack,
            stop,
            cores,
            watcher.rows,
            lambda words, share: watcher.stage(f"{stack.label}: {words}", share),
            watcher.note,
            options.force,
        )
    except (OutputError, RecordError):
        raise
    except Exception as error:  # parts are anyone's code
        log.debug("%s", stack.label, exc_info=True)
        log.warning("%s: its %d runs go one by one: %s", stack.label, len(stack.planned), unexpected(error))
        return stack.planned
    for run in runs:
        outcome.add(run)
    return alone


def _run_batch(rows: Rows, stop: Stop, watcher: SweepWatcher, options: Options, outcome: Outcome) -> Sequence[Planned]:
    """Executes a batch; returns the runs that must go one by one, where each gets its own status and reason."""
    first = rows.planned[0]
    try:
        able, unable = startable(rows)
        if not able.planned:
            return unable
        label = f"{first.choices['model']} {first.choices['optimizer']}"
        watcher.batch(label, len(able.planned))
        counts = run_rows(
            able,
            stop,
            watcher.rows,
            threads=available_cores(),
            backend=options.backend,
            recorded=options.recorded,
            on_stage=lambda words, share: watcher.stage(f"{label}: {words}", share),
        )
    except (OutputError, RecordError):
        raise
    except IncompatibleError as error:  # of what all rows share
        skip_rows(rows, error.message)
        log.warning("%s: its %d runs are skipped: %s", first.label, len(rows.planned), error.message)
        outcome.by_status[Status.SKIPPED.value] += len(rows.planned)
        watcher.rows(len(rows.planned))
        return []
    except OptbenchError:
        return rows.planned
    except Exception as error:  # parts are anyone's code, and the engine traces what they do
        log.debug("%s", first.label, exc_info=True)
        log.warning("%s: its %d runs go one by one: %s", first.label, len(rows.planned), unexpected(error))
        return rows.planned
    outcome.by_status.update(counts)
    return unable
