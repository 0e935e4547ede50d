"""What every launcher shares: the contract, who is informed, and what happens to a run whose worker was lost."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from optbench.errors import OptbenchError, RunFailure, in_a_line
from optbench.experiment import Display, Planned, Stop, skipped
from optbench.records import Run, Status
from optbench.records.metrics import judged
from optbench.records.whole import unheld

log = logging.getLogger(__name__)

Work = Callable[[Planned, Stop, Display | None, bool, int | None], Run]
"""What executes one planned run: `experiment.run_and_record`. A stand-in must be importable by name, since workers
receive it pickled."""

TICK_SECONDS = 0.1
_REPORT_SECONDS = 0.25


class Watcher:
    """Told in the driver, between two events, how the runs are progressing; this one ignores it all.

    A subclass overrides what it wants to hear. Every method must be cheap.
    """

    def started(self, planned: Planned, where: str) -> None:
        """A run begins at a place: "process 4711", a host, a job of a queue. Again after each retry."""

    def loading(self, planned: Planned, done: int, total: int) -> None:
        """`done` of `total` images of a run's data are decoded."""

    def progress(self, planned: Planned, step: int, total: int, row: Mapping[str, Any]) -> None:
        """A run is at `step` of `total`; a few times a second at most, where the launcher hears of it at all."""

    def retried(self, planned: Planned, why: str) -> None:
        """A run's worker was lost, and the run waits for another one."""

    def finished(self, run: Run) -> None:
        """A run has its record; also told of runs that were done before."""

    def waiting(self, text: str) -> None:
        """What runs wait for in a queue, in a few words, told again and again; empty: nothing waits any more."""

    def note(self, text: str) -> None:
        """A message for the user."""


Nobody = Watcher
"""A watcher that ignores everything."""


class Launcher(ABC):
    """Executes planned runs somewhere."""

    @abstractmethod
    def where(self, planned: Sequence[Planned]) -> str:
        """In a few words, where and how these runs would execute; nothing is started."""

    @property
    def cores(self) -> int:
        """Cores of this machine that what runs in this process may use."""
        return available_cores()

    def expect(self, planned: Sequence[Planned]) -> None:  # noqa: B027  most have nothing to start
        """These runs will be launched in a moment: what takes seconds to be ready may start now."""

    def launch(self, planned: Sequence[Planned], stop: Stop, watcher: Watcher, force: bool = False) -> Iterator[Run]:
        """Executes the runs, yielding one record each as they finish; fewer only when the user stopped it.

        Args:
            planned: the runs; those that are done already come first and are not repeated.
            stop: see experiment.interruptible.
            watcher: told what happens.
            force: run again what is done.

        Raises:
            OutputError: records cannot be written; what was running has been ended and saved.
            UserError, RunFailure: the place cannot be reached, or no worker lives long enough to begin.
        """
        done, todo = divided(planned, force)
        for run in done:
            watcher.finished(run)
            yield run
        if todo:
            yield from self._launch(todo, stop, watcher, force)

    @abstractmethod
    def _launch(self, todo: Sequence[Planned], stop: Stop, watcher: Watcher, force: bool) -> Iterator[Run]:
        """Executes the runs, none of which is done or all of which are to run again; see `launch`."""


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def divided(planned: Sequence[Planned], force: bool) -> tuple[list[Run], list[Planned]]:
    """The records of runs that are done, and the runs to do."""
    done: list[Run] = []
    todo: list[Planned] = []
    for item in planned:
        found = None if force else item.recorded()
        if found is not None and found.status.final:
            done.append(found)
        else:
            todo.append(item)
    return done, todo


def attempt(work: Work, planned: Planned, stop: Stop, display: Display, force: bool, threads: int) -> Run:
    """Executes one run here; an unforeseen exception becomes `failed`. Raises OptbenchError as `work` does."""
    try:
        return work(planned, stop, display, force, threads)
    except OptbenchError:
        raise
    except Exception as error:
        log.debug("%s", planned.folder, exc_info=True)
        return skipped(planned, Status.FAILED, RunFailure(in_a_line(error)))


class Relay:
    """A Display that passes on, a few times a second, where a run is.

    Args:
        send: takes ("loading", done, total), ("note", words) and ("step", step, total, row); called in the thread
            of the run.
        pause: least seconds between two of the others than "note".
    """

    def __init__(self, send: Callable[[tuple[Any, ...]], None], pause: float = _REPORT_SECONDS) -> None:
        self._send, self._pause, self._next = send, pause, 0.0
        self._judged: Mapping[str, Any] = {}

    def start(self, label: str, index: int, count: int) -> None:
        pass

    def loading(self, done: int, total: int) -> None:
        self._pass_on("loading", done, total)

    def note(self, words: str) -> None:
        self._send(("note", words))

    def step(self, step: int, total: int, row: Mapping[str, Any]) -> None:
        self._judged = judged(row) or self._judged  # in the rows of evaluations alone, most of which are not passed on
        row = {**row, **self._judged}
        self._pass_on("step", step, total, row)

    def end(self, run: Any) -> None:
        pass

    def _pass_on(self, *message: Any) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self._pause
            self._send(tuple(dict(m) if isinstance(m, Mapping) else m for m in message))


def tell(watcher: Watcher, planned: Planned, message: tuple[Any, ...]) -> None:
    """Passes a Relay's message on to a watcher."""
    kind, *rest = message
    if kind == "note":
        watcher.note(f"{planned.label} {rest[0]}")
        return
    (watcher.loading if kind == "loading" else watcher.progress)(planned, *rest)


class Attempts:
    """How often each run lost its worker, and whether it gets another one.

    Args:
        retries: how often a run may be tried again.
        watcher: told of every retry.
        patience: seconds that a record may take to appear where this process reads; a shared file system needs some.
    """

    def __init__(self, retries: int, watcher: Watcher, patience: float = 0.0) -> None:
        self._retries, self._watcher, self._patience = retries, watcher, patience
        self._lost: Counter[str] = Counter()

    def before(self, planned: Planned) -> int:
        """How many attempts the run has had."""
        return self._lost[planned.run_id]

    def ended(self, planned: Planned, run: Run, winding_up: bool = False) -> Run | None:
        """What a worker reports to have recorded, once it is in the folder that this process reads, and whole.

        Args:
            planned: the run.
            run: what the worker reports.
            winding_up: nothing is tried again; what is not there has no record.

        Returns:
            As `lost`.
        """
        deadline = time.monotonic() + self._patience
        while (why := unheld(run, planned.folder)) is not None and time.monotonic() < deadline:
            time.sleep(TICK_SECONDS)
            with contextlib.suppress(OSError):
                os.listdir(planned.folder.parent)  # network file systems look again for what was not there
        if why is None:
            return run
        return planned.recorded() if winding_up else self.lost(planned, f"reported {run.status}, but {why}")

    def lost(self, planned: Planned, why: str) -> Run | None:
        """Counts a lost worker: None when the run is to be tried again, else the record of its failure."""
        self._lost[planned.run_id] += 1
        if self._lost[planned.run_id] <= self._retries:
            self._watcher.retried(planned, why)
            return None
        times = self._lost[planned.run_id]
        return skipped(planned, Status.FAILED, RunFailure(f"{why}, {times} attempt{'s' if times > 1 else ''}"), False)
