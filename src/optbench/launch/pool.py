"""Worker processes that outlive their runs, each on a pipe of its own.

One pipe a worker, and one run at a time in it, so that a death is the death of one known run and of no other;
concurrent.futures breaks the whole pool instead.
"""

from __future__ import annotations

import atexit
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing import connection
from typing import Any

from optbench.errors import OptbenchError, RunFailure
from optbench.experiment import Planned, Stop
from optbench.launch.base import TICK_SECONDS, Attempts, Watcher, Work, tell
from optbench.launch.crew import Crew, Worker, dismiss
from optbench.records import Run

_FAILED_STARTS = 3


class Pool:
    """Executes runs in worker processes; use once.

    Args:
        jobs: processes.
        threads: torch threads of a network's run.
        retries: how often a run is tried again after its worker died.
        work: what executes a run.
        force: run again what is done.
        gpus: names for CUDA_VISIBLE_DEVICES, one per worker; empty: every worker sees what the driver sees.
        crew: where workers come from and go to; None: they end with the runs.
    """

    def __init__(
        self,
        jobs: int,
        threads: int,
        retries: int,
        work: Work,
        force: bool = False,
        gpus: Sequence[str] = (),
        crew: Crew | None = None,
    ) -> None:
        self._jobs, self._threads, self._retries = jobs, threads, retries
        self._work, self._force, self._gpus, self._crew = work, force, list(gpus), crew
        self._workers: list[Worker] = []
        self._waiting: deque[Planned] = deque()
        self._failed_starts = 0
        self._winding_up = False
        self._error: OptbenchError | None = None

    def run(self, planned: Sequence[Planned], stop: Stop, watcher: Watcher) -> Iterator[Run]:
        """Yields each run's record as it finishes; see Launcher.launch."""
        self._waiting.extend(planned)
        attempts = Attempts(self._retries, watcher)
        atexit.register(self._close)  # an iterator that nobody closed must not keep the interpreter from ending
        try:
            while self._waiting or any(w.planned for w in self._workers):
                if stop.requested:
                    self._wind_up()
                self._staff(watcher)
                for each in self._stirred():
                    if (run := self._hear(each, watcher, attempts)) is not None:
                        watcher.finished(run)
                        yield run
        except KeyboardInterrupt:  # the second Ctrl-C: now
            for each in self._workers:
                each.process.kill()
            raise
        finally:
            self._close()
            atexit.unregister(self._close)
        if self._error is not None:
            raise self._error

    def _wind_up(self) -> None:
        """Nothing new begins; what runs ends after its update."""
        self._waiting.clear()
        if not self._winding_up:
            self._winding_up = True
            for each in self._workers:
                each.wind_up()

    def _staff(self, watcher: Watcher) -> None:
        """Hires workers while runs would wait for one, and gives every ready one a run."""
        without = sum(w.planned is None for w in self._workers)
        for _ in range(min(self._jobs - len(self._workers), len(self._waiting) - without)):
            taken = {w.gpu for w in self._workers}
            gpu = next((g for g in self._gpus if g not in taken), None)
            self._workers.append(self._crew.hire(self._work, gpu) if self._crew else Worker(self._work, gpu))
        for each in self._workers:
            if each.ready and each.planned is None and self._waiting:
                planned = self._waiting.popleft()
                each.give(planned, self._force, self._threads)
                watcher.started(planned, f"process {each.process.pid}")

    def _stirred(self) -> list[Worker]:
        """Workers that said something or died, within a tick."""
        handles: dict[Any, Worker] = {}
        for each in self._workers:
            handles[each.pipe] = handles[each.process.sentinel] = each
        found = connection.wait(list(handles), timeout=TICK_SECONDS)
        return list({id(w): w for w in (handles[f] for f in found)}.values())

    def _hear(self, each: Worker, watcher: Watcher, attempts: Attempts) -> Run | None:
        """Takes what a worker has to say; returns the record of a run that ended by it."""
        run: Run | None = None
        for kind, *rest in each.messages():
            if kind == "ready":
                each.ready, self._failed_starts = True, 0
            elif kind == "done":
                run = self._take(each, rest[0], attempts)
            elif kind == "error":
                self._error, each.planned = self._error or rest[0], None
                self._wind_up()
            elif each.planned is not None:
                tell(watcher, each.planned, (kind, *rest))
        return self._bury(each, attempts) or run if each.lost else run

    def _take(self, each: Worker, reported: Run, attempts: Attempts) -> Run | None:
        """The record that a worker reports; None when its run is tried again or has none."""
        planned, each.planned = each.planned, None
        assert planned is not None
        run = attempts.ended(planned, reported, self._winding_up)
        if run is None and not self._winding_up:
            self._waiting.appendleft(planned)
        return run

    def _bury(self, each: Worker, attempts: Attempts) -> Run | None:
        """Removes a dead worker; returns the record of its run if that is not tried again."""
        self._workers.remove(each)
        why = each.epitaph()
        each.pipe.close()
        if not each.ready:
            self._failed_starts += 1
            if self._failed_starts >= _FAILED_STARTS:
                raise RunFailure(f"workers die while they start ({why})", "hydra.launcher.jobs=0 runs without workers")
        if each.planned is None:
            return None
        if self._winding_up:  # its record says `interrupted` and is true
            return each.planned.recorded()
        run = attempts.lost(each.planned, why)
        if run is None:
            self._waiting.appendleft(each.planned)
        return run

    def _close(self) -> None:
        """Lets every worker go, or rest where there is a crew and it has nothing to do."""
        resting = [w for w in self._workers if self._may_rest(w)]
        if self._crew is not None:
            self._crew.rest(resting)
        dismiss([w for w in self._workers if w not in resting])
        self._workers.clear()

    def _may_rest(self, each: Worker) -> bool:
        """Whether another launch can have it: a worker that was told of a stop, or is still starting, is not fit."""
        return self._crew is not None and each.ready and each.planned is None and not self._winding_up
