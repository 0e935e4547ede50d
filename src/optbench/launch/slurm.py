"""Runs as tasks of Slurm job arrays, by submitit.

The disk is all that driver and tasks share: submitit carries a run there in a file, the record and a word on how the
task ended come back in files, and a file asks the tasks to stop. Arrays outlive a driver that is killed: the next one
finds them (`slurm_arrays`), asks the queue how they are (`slurm_queue`), waits for what is under way and submits what
is not, so that no run is under way twice. A task that Slurm ends (time limit, a lost node) is submitted again; a
network goes on from its checkpoint.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import secrets
import signal
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from optbench.errors import OptbenchError, OutputError, RecordError, RunFailure, UserError
from optbench.experiment import Planned, Stop, run_and_record, skipped
from optbench.experiment.execute import explained
from optbench.launch.base import TICK_SECONDS, Attempts, Launcher, Relay, Watcher, Work, available_cores, divided
from optbench.launch.local import is_network
from optbench.launch.remote import Lookout, Place, Task
from optbench.launch.settings import SlurmSettings
from optbench.launch.slurm_arrays import Array, Arrays, Ending
from optbench.launch.slurm_queue import GONE, OVER_MEMORY, QueueSilent, Seen, SubmissionRefused, queue_for
from optbench.records import Run, Status, locked, writing
from optbench.records.whole import unheld

log = logging.getLogger(__name__)

FIRST_LOOK_SECONDS, LOOK_SECONDS = 1.0, 15.0
"""Between two questions to Slurm: at first, and once nothing happens. What ends in order is seen at once, by a file."""
LAG_SECONDS = 15.0
"""A shared file system may show a file so much later than Slurm says that the task is over."""
FILES_SECONDS = 0.5
PATIENCE_SECONDS = 5.0
"""Tasks that wait for less are not worth a word."""
REFUSED_SECONDS = 60.0
_OWN_LIMIT = "JobArrayTaskLimit"
"""Slurm's reason for tasks that wait because of `jobs`: what the user asked for."""
_NOT_AGAIN = {
    "OUT_OF_MEMORY": "hydra.launcher.memory_gb asks for more",
    "DEADLINE": "Slurm expected it to end after its deadline",
}
"""States in which a task would only end once more; what to know."""


def perform(task: Task, folder: Path, token: str) -> None:
    """What a task of an array does. How it ended is in a file (slurm_arrays.Ending); Slurm's signals ask it to end."""
    arrays, run_id = Arrays(folder), task.planned.run_id
    arrays.begin(token, run_id)
    stop, heard = Stop(), []

    def ask(number: int, frame: Any) -> None:
        heard.append(signal.Signals(number).name)
        stop.requested = True

    # SIGTERM: cancelled, preempted or out of time; SIGUSR2: soon out of time, no use to a run that would start anew.
    # submitit's own handlers would break off the update
    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGUSR2, ask if is_network(task.planned) else signal.SIG_IGN)
    with Lookout(arrays.stop_file(token).exists, stop):
        outcome = task.perform(stop, Relay(lambda message: None))
    unfinished = isinstance(outcome, Run) and outcome.status is Status.INTERRUPTED
    arrays.end(token, run_id, Ending.of(outcome, heard[0] if heard and unfinished else ""))


class SlurmLauncher(Launcher):
    """Executes runs on a Slurm cluster.

    Args:
        settings: see SlurmSettings.
        work: what executes a run.

    Raises:
        UserError: submitit is not installed.
    """

    def __init__(self, settings: SlurmSettings, work: Work = run_and_record) -> None:
        try:
            import submitit  # noqa: F401
        except ImportError as error:
            raise UserError("hydra/launcher=slurm needs submitit", "pip install 'optbench[slurm]'") from error
        self._settings, self._work = settings, work

    def where(self, planned: Sequence[Planned]) -> str:
        s = self._settings
        queue = f"partition {s.partition}" if s.partition else "the default partition"
        place = f"on Slurm, {queue}" if s.cluster == "slurm" else "as submitit's local jobs"
        return f"{place}, {s.threads} CPU{'s' if s.threads > 1 else ''} and {s.minutes} minutes a run"

    def _launch(self, todo: Sequence[Planned], stop: Stop, watcher: Watcher, force: bool) -> Iterator[Run]:
        folder = todo[0].folder.absolute().parent / ".submitit"
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            yield from _Driver(self._settings, self._work, watcher, force, folder).run(todo, stop)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Within it no other driver submits runs of the sweep. Raises UserError where one does."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(locked(folder))
        except OutputError as error:
            hint = "wait for it; once it has ended, however that be, the same command goes on"
            raise UserError(f"another optbench sends runs of {folder.parent} to Slurm at the moment", hint) from error
        yield


@dataclass
class _Flight:
    """A run whose task is submitted.

    Attributes:
        planned: the run.
        array: that has its task.
        again: to be done once more afterwards: the task found was not asked for `force`.
        seen: what the queue said last.
        over: when the queue said first that it is over, or its last word was found.
        started: the watcher was told.
    """

    planned: Planned
    array: Array
    again: bool = False
    seen: Seen = field(default_factory=lambda: Seen("PENDING"))
    over: float | None = None
    started: bool = False

    @property
    def task(self) -> str:
        return self.array.task(self.planned.run_id)

    @property
    def key(self) -> tuple[str, str]:
        return self.array.token, self.planned.run_id


class _Driver:
    """One launch: the tasks under way, and the runs that wait to be submitted."""

    def __init__(self, settings: SlurmSettings, work: Work, watcher: Watcher, force: bool, folder: Path) -> None:
        self._settings, self._work, self._watcher, self._force = settings, work, watcher, force
        self._arrays, self._queue, self._place = Arrays(folder), queue_for(settings, folder), Place.here()
        self._attempts = Attempts(settings.retries, watcher)
        self._local = settings.cluster == "local"
        self._jobs = settings.jobs or (available_cores() if self._local else None)
        self._waiting: deque[Planned] = deque()
        self._flying: dict[tuple[str, str], _Flight] = {}
        self._leaving: dict[tuple[str, str], _Flight] = {}  # done, and the queue has not seen the process end
        self._open: dict[str, set[str]] = {}  # by array, the runs whose task may be alive, other commands' too
        self._lag = 0.0 if self._local else LAG_SECONDS
        self._names: set[tuple[str, str]] = set()
        self._next_files = self._next_look = self._not_before = 0.0
        self._pause, self._since = FIRST_LOOK_SECONDS, time.monotonic()
        self._silent = self._winding_up = False
        self._told: set[str] = set()
        self._error: OptbenchError | None = None

    def run(self, planned: Sequence[Planned], stop: Stop) -> Iterator[Run]:
        """Yields each run's record as it finishes; see Launcher.launch."""
        done = self._adopt(planned)
        taken = {flight.planned.run_id for flight in self._flying.values()} | {run.run_id for run in done}
        self._waiting.extend(item for item in planned if item.run_id not in taken)
        try:
            for recorded in done:
                self._watcher.finished(recorded)
                yield recorded
            while self._waiting or self._flying:
                if stop.requested:
                    self._wind_up()
                self._submit()
                time.sleep(TICK_SECONDS)
                for flight in self._ended():
                    if flight.key not in self._flying:  # cancelled with another's end
                        continue
                    if (run := self._collect(flight)) is not None:
                        self._watcher.finished(run)
                        yield run
        finally:
            self._watcher.waiting("")
            self._abandon()
        if self._error is not None:
            raise self._error

    # what an earlier driver left ------------------------------------------------------------------------------------

    def _adopt(self, planned: Sequence[Planned]) -> list[Run]:
        """Takes over the tasks that are under way.

        Returns:
            The records of runs whose task has ended since it was looked which are done.

        Raises:
            UserError: it cannot be known which tasks are under way.
        """
        items, over, said = {item.run_id: item for item in planned}, set[str](), self._arrays.ended()
        for token in self._arrays.tokens():
            array = self._known(token)
            if array is None:
                continue
            tasks = {array.task(run_id): run_id for run_id in array.runs}
            try:
                seen = self._queue.look(tasks)
            except QueueSilent as error:
                raise _unsure(f"job {array.job}", error) from error
            alive = {task: seen[task] for task in tasks if seen[task].alive}
            for task, run_id in tasks.items():  # the process may take a while to end
                if (token, run_id) in said and (ending := self._arrays.ending(token, run_id)) and not ending.signal:
                    alive.pop(task, None)
            over |= {tasks[task] for task in tasks if task not in alive}
            if not alive:
                self._arrays.remove(array)
                continue
            running = sum(not each.waits for each in alive.values())
            self._watcher.note(
                f"adopting job {array.job} ({len(alive)} of {len(tasks)} tasks alive, {running} running)"
            )
            self._open[token] = {tasks[task] for task in alive}
            for task in alive:
                if (item := items.get(tasks[task])) is not None:
                    again = self._force and not array.force
                    flight = _Flight(item, array, again, alive[task])
                    self._flying[flight.key] = flight
        over -= {flight.planned.run_id for flight in self._flying.values()}  # tried again: its last task brings it
        return divided([items[run_id] for run_id in over if run_id in items], self._force)[0]

    def _known(self, token: str) -> Array | None:
        """An array with its job number; None, and it is forgotten, where the queue never got it or lost it."""
        try:
            array, flaw = self._arrays.read(token), ""
        except RecordError as error:
            array, flaw = Array(token, None, (), 1, False), error.message
        if array.job is not None:
            return array
        try:
            job = self._queue.find(array.name)
        except QueueSilent as error:
            raise _unsure(f"a job named {array.name}", error) from error
        if flaw and job is not None:
            raise UserError(f"{flaw}, and job {job} may be alive", f"scancel {job}, then the same command again")
        if job is None:
            if flaw:
                self._watcher.note(f"{flaw}; the queue knows no job of its name, so that its runs are submitted again")
            self._arrays.remove(array)
            return None
        array = replace(array, job=job)
        self._arrays.write(array)
        return array

    # submitting -----------------------------------------------------------------------------------------------------

    def _room(self) -> tuple[int, int]:
        """How many runs may be submitted now, and how many of them may run at once."""
        waiting = len(self._waiting)
        if self._jobs is None:  # no small arrays: they are put together until half of an array is free
            room = self._queue.most - len(self._flying)
            return (min(waiting, room),) * 2 if room >= min(waiting, self._queue.most / 2) else (0, 0)
        flights = [*self._flying.values(), *self._leaving.values()]
        flying = Counter(flight.array.token for flight in flights)
        at_once = {flight.array.token: flight.array.at_once for flight in flights}
        free = self._jobs - sum(min(n, at_once[token]) for token, n in flying.items())
        count = min(waiting, self._queue.most) if free > 0 else 0
        return count, min(free, count)

    def _submit(self) -> None:
        while self._waiting and time.monotonic() >= self._not_before:
            count, at_once = self._room()
            if count <= 0:
                return
            items = [self._waiting.popleft() for _ in range(count)]
            array = Array(secrets.token_hex(4), None, tuple(item.run_id for item in items), at_once, self._force)
            self._arrays.write(array)
            try:
                job = self._queue.submit([self._call(item, array) for item in items], array.name, at_once)
            except SubmissionRefused as error:
                self._arrays.remove(array)
                self._waiting.extendleft(reversed(items))
                if not self._flying:
                    raise UserError(f"hydra/launcher=slurm: the queue refused the runs ({error})") from error
                self._watcher.note(f"the queue refused {count} runs ({error}); they are submitted again in a minute")
                self._not_before = time.monotonic() + REFUSED_SECONDS
                return
            array = replace(array, job=job)
            self._arrays.write(array)
            self._open[array.token] = set(array.runs)
            for flight in (_Flight(item, array) for item in items):
                self._flying[flight.key] = flight
            self._look_soon()

    def _call(self, item: Planned, array: Array) -> functools.partial[None]:
        tries = self._attempts.before(item)
        task = Task(self._place, item, self._work, self._force, self._settings.threads, tries)
        return functools.partial(perform, task, self._arrays.folder, array.token)

    # watching -------------------------------------------------------------------------------------------------------

    def _look_soon(self) -> None:
        self._since = time.monotonic()
        self._pause = FILES_SECONDS if self._local else FIRST_LOOK_SECONDS
        self._next_look = self._since + self._pause

    def _ended(self) -> list[_Flight]:
        """The tasks that are over, and whose last word has been waited for."""
        now = time.monotonic()
        if now < self._next_files:
            return []
        self._next_files = now + FILES_SECONDS
        self._names = self._arrays.ended()
        if now >= self._next_look:
            self._look()
            self._pause = self._pause if self._local else min(2 * self._pause, LOOK_SECONDS)
            self._next_look = now + self._pause
        return [flight for flight in self._flying.values() if self._is_over(flight, now)]

    def _look(self) -> None:
        """Asks the queue how the tasks are."""
        flights = [*self._flying.values(), *self._leaving.values()]
        if not flights:
            return
        try:
            seen = self._queue.look({flight.task for flight in flights})
        except QueueSilent as error:
            if not self._silent:
                self._watcher.note(f"the queue does not answer ({error}); asking on")
            self._silent = True
            return
        self._silent = False
        now = time.monotonic()
        self._leaving = {key: flight for key, flight in self._leaving.items() if seen[flight.task].alive}
        for flight in self._flying.values():
            before, flight.seen = flight.seen, seen[flight.task]
            if flight.seen.state == GONE:  # what it once said to be over it may forget; what waited, at once
                flight.seen = Seen("CANCELLED", "while it waited") if before.waits else flight.seen
                flight.seen = flight.seen if before.alive else before
            flight.over = None if flight.seen.alive else flight.over or now
            if flight.seen.state == "RUNNING":
                self._say_started(flight)
        if now - self._since >= PATIENCE_SECONDS:
            self._watcher.waiting(_pending(self._flying.values()))

    def _say_started(self, flight: _Flight) -> None:
        if not flight.started:
            flight.started = True
            node = f" on {flight.seen.node}" if flight.seen.node else ""
            self._watcher.started(flight.planned, f"job {flight.task}{node}")

    def _is_over(self, flight: _Flight, now: float) -> bool:
        lag = self._lag if flight.started else 0.0
        if self._local and flight.over is None:  # a process is waited for
            return False
        if flight.key in self._names and (ending := self._arrays.ending(*flight.key)) is not None:
            self._say_started(flight)
            if ending.signal:  # the queue will say why it sent it, or starts the task again
                return flight.over is not None
            if ending.error is not None or self._held(flight, ending) is not None:
                return True
            flight.over, lag = flight.over or now, self._lag
        return flight.over is not None and now >= flight.over + lag

    def _held(self, flight: _Flight, ending: Ending) -> Run | None:
        """The record that a task reports, if it is where this process reads."""
        item = flight.planned
        return None if unheld(ending.reported(item.run_id), item.folder) else item.recorded()

    # what became of a run -------------------------------------------------------------------------------------------

    def _collect(self, flight: _Flight) -> Run | None:
        """The record of a task that ended; None when its run is tried again or has none."""
        item, ending = flight.planned, self._arrays.ending(*flight.key)
        self._close(flight)
        if ending is not None and ending.error is not None:
            self._error = self._error or ending.error
            self._wind_up()
            return None
        run = item.recorded() if ending is None else self._held(flight, ending)
        if self._winding_up:
            return run if flight.started else None
        if flight.again:
            self._waiting.append(item)
            return None
        if run is not None and run.status is not Status.INTERRUPTED and ending is not None:
            return run
        if run is not None and run.status.final and not self._force:  # its last word was lost, its record was not
            return run
        return self._unfinished(flight, ending, run)

    def _close(self, flight: _Flight) -> None:
        """A task is over; with its last one, an array is forgotten."""
        del self._flying[flight.key]
        if flight.over is None:
            self._leaving[flight.key] = flight
        left = self._open[flight.array.token]
        left.discard(flight.planned.run_id)
        if not left:
            self._arrays.remove(flight.array)

    def _unfinished(self, flight: _Flight, ending: Ending | None, run: Run | None) -> Run | None:
        """A run that did not end by itself: its record, None when it is tried again."""
        item, state = flight.planned, flight.seen.state
        if state == "CANCELLED":
            return self._cancelled(flight, run)
        why = f"job {flight.task}: {self._words(flight, ending, run)}"
        if OVER_MEMORY.search(why):
            state = "OUT_OF_MEMORY"
        if state in _NOT_AGAIN:  # it would only end so once more
            return skipped(item, Status.FAILED, RunFailure(f"task lost: {why}; {_NOT_AGAIN[state]}"), False)
        if (lost := self._attempts.lost(item, f"task lost: {why}")) is None:
            self._waiting.append(item)
        return lost

    def _cancelled(self, flight: _Flight, run: Run | None) -> Run:
        """The record of a run whose task somebody else has cancelled: a wish, so that it is not tried again."""
        why = f"job {flight.task}: {flight.seen}, not by this command"
        if flight.array.token not in self._told:
            self._told.add(flight.array.token)
            self._watcher.note(f"{why}; the same command again goes on from there")
        if run is None or run.status is not Status.INTERRUPTED:
            return skipped(flight.planned, Status.INTERRUPTED, RunFailure(why), False)
        return explained(run, f"{why}, after step {run.summary.get('steps') or 0}")

    def _words(self, flight: _Flight, ending: Ending | None, run: Run | None) -> str:
        """How a task ended without ending its run."""
        item, seen, limit = flight.planned, flight.seen, f"hydra.launcher.minutes={self._settings.minutes}"
        if seen.state == "TIMEOUT":
            return f"{seen}, {limit}"
        if ending is not None and ending.signal == "SIGUSR2":
            return f"ended shortly before its time limit, {limit}"
        if run is not None and run.status is Status.INTERRUPTED and ending is not None:
            return f"{seen}, after step {run.summary.get('steps') or 0}"
        if ending is not None:
            return f"reported {ending.status}, but {unheld(ending.reported(item.run_id), item.folder)}"
        said = self._queue.last_words(flight.task)
        if said is None and not item.folder.exists():
            said = f"it left nothing in {self._arrays.folder}: does the node see this folder?"
        return f"{replace(seen, why='')}: {said}" if said else str(seen)

    # the end --------------------------------------------------------------------------------------------------------

    def _wind_up(self) -> None:
        """Nothing new begins; what runs ends after its update."""
        self._waiting.clear()
        if self._winding_up:
            return
        self._winding_up = True
        flights = list(self._flying.values())
        with writing(self._arrays.folder):
            for token in {flight.array.token for flight in flights}:
                self._arrays.stop_file(token).touch()
        self._cancel(flights, waiting=True)
        self._look()
        for flight in flights:
            if not flight.seen.alive and not flight.started and flight.key not in self._names:
                self._close(flight)
        if flights:
            left = len(self._flying)
            gone = len(flights) - left
            words = ([f"{_tasks(gone)} that waited cancelled"] if gone else []) + (
                [f"{_tasks(left)} told to end after the update"] if left else []
            )
            self._watcher.note(f"{_jobs(flights)}: {', '.join(words)}")
        self._look_soon()

    def _abandon(self) -> None:
        """Whatever is still under way is cancelled: the user could not wait, or something broke."""
        if flights := list(self._flying.values()):
            self._watcher.note(f"{_jobs(flights)}: {_tasks(len(flights))} cancelled")
            self._cancel(flights)

    def _cancel(self, flights: Sequence[_Flight], waiting: bool = False) -> None:
        tasks: set[str] = set()
        for token in {flight.array.token for flight in flights}:
            own = [flight for flight in flights if flight.array.token == token]
            whole = len(own) == len(self._open[token])
            tasks.update([str(own[0].array.job)] if whole else (flight.task for flight in own))
        if not tasks:
            return
        try:
            self._queue.cancel(tasks, waiting)
        except QueueSilent as error:
            self._watcher.note(f"{_jobs(flights)} could not be cancelled ({error}): scancel {' '.join(sorted(tasks))}")


def _jobs(flights: Iterable[_Flight]) -> str:
    return ", ".join(sorted({f"job {flight.array.job}" for flight in flights}))


def _tasks(n: int) -> str:
    return f"{n} task{'s' * (n != 1)}"


def _pending(flights: Iterable[_Flight]) -> str:
    """What tasks wait for, by job and Slurm's reason."""
    waiting = (flight for flight in flights if flight.seen.waits and flight.seen.why != _OWN_LIMIT)
    counts = Counter((flight.array.job, flight.seen.why or flight.seen.state.lower()) for flight in waiting)
    words = [f"job {job}: {n} pending ({why})" for (job, why), n in counts.most_common()]
    return "; ".join(words[:3]) + ("; ..." if len(words) > 3 else "")


def _unsure(what: str, error: QueueSilent) -> UserError:
    hint = "the same command again, once Slurm answers; it waits for what is under way and submits the rest"
    return UserError(f"whether {what} is alive cannot be known ({error}), so no run is submitted", hint)
