"""Worker processes that outlive their runs, each on a pipe of its own.

One pipe a worker, and one run at a time in it, so that a death is the death of one known run and of no other;
concurrent.futures breaks the whole pool instead. Processes are spawned, not forked: torch does not survive a fork.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import signal
import sys
import time
import types
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing import connection, resource_tracker
from typing import Any

from optbench.errors import OptbenchError, RunFailure
from optbench.experiment import Planned, Stop
from optbench.launch import worker
from optbench.launch.base import TICK_SECONDS, Attempts, Watcher, Work, tell
from optbench.records import Run

_FAILED_STARTS = 3


@contextlib.contextmanager
def _spawning() -> Iterator[None]:
    """Around the start of a worker, so that it neither imports the caller's script nor dies of an early Ctrl-C.

    multiprocessing has a new process import the main module, which runs a script that has no __main__ guard once more;
    and until the new process can say that it ignores SIGINT, it inherits a mask that holds it back.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    masks = hasattr(signal, "pthread_sigmask")
    if masks:
        resource_tracker.ensure_running()  # its start unblocks the signal
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        if masks:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Worker:
    """One process, the driver's end of its pipe, and the run that it has."""

    def __init__(self, work: Work, threads: int, force: bool, gpu: str | None) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=worker.main, args=(theirs, work, threads, force, gpu), name="optbench")
        with _spawning():
            self.process.start()
        theirs.close()
        self.planned: Planned | None = None
        self.gpu = gpu
        self.ready = self.lost = False

    def send(self, message: Planned | None) -> None:
        with contextlib.suppress(OSError):  # it is dead: the next look at it says so
            self.pipe.send(message)

    def messages(self) -> Iterator[tuple[Any, ...]]:
        """What it said since; sets `lost` when it will say no more."""
        gone = not self.process.is_alive()  # asked first: what a dead worker still said is in the pipe
        try:
            while self.pipe.poll():
                yield self.pipe.recv()
        except (EOFError, OSError):
            gone = True
        self.lost = gone

    def epitaph(self) -> str:
        """How it died."""
        self.process.join(5.0)
        code = self.process.exitcode
        if code is None or code >= 0:
            return f"worker died: exit code {code}"
        with contextlib.suppress(ValueError):
            name = signal.Signals(-code).name
            return f"worker died: signal {-code} ({name}{', often lack of memory' if name == 'SIGKILL' else ''})"
        return f"worker died: signal {-code}"


class Pool:
    """Executes runs in worker processes; use once.

    Args:
        jobs: processes.
        threads: torch threads of a network's run.
        retries: how often a run is tried again after its worker died.
        work: what executes a run.
        force: run again what is done.
        gpus: names for CUDA_VISIBLE_DEVICES, one a worker; empty: every worker sees what the driver sees.
    """

    def __init__(
        self, jobs: int, threads: int, retries: int, work: Work, force: bool = False, gpus: Sequence[str] = ()
    ) -> None:
        self._jobs, self._threads, self._retries = jobs, threads, retries
        self._work, self._force, self._gpus = work, force, list(gpus)
        self._workers: list[_Worker] = []
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
                each.send(None)

    def _staff(self, watcher: Watcher) -> None:
        """Gives every ready worker a run, and starts workers while runs would wait for one."""
        for each in self._workers:
            if each.ready and each.planned is None and self._waiting:
                each.planned = self._waiting.popleft()
                watcher.started(each.planned, f"process {each.process.pid}")
                each.send(each.planned)
        coming = sum(not w.ready for w in self._workers)
        for _ in range(min(self._jobs - len(self._workers), len(self._waiting) - coming)):
            taken = {w.gpu for w in self._workers}
            gpu = next((g for g in self._gpus if g not in taken), None)
            self._workers.append(_Worker(self._work, self._threads, self._force, gpu))

    def _stirred(self) -> list[_Worker]:
        """Workers that said something or died, within a tick."""
        handles: dict[Any, _Worker] = {}
        for each in self._workers:
            handles[each.pipe] = handles[each.process.sentinel] = each
        found = connection.wait(list(handles), timeout=TICK_SECONDS)
        return list({id(w): w for w in (handles[f] for f in found)}.values())

    def _hear(self, each: _Worker, watcher: Watcher, attempts: Attempts) -> Run | None:
        """Takes what a worker has to say; returns the record of a run that ended by it."""
        run: Run | None = None
        for kind, *rest in each.messages():
            if kind == "ready":
                each.ready, self._failed_starts = True, 0
            elif kind == "done":
                run, each.planned = rest[0], None
            elif kind == "error":
                self._error, each.planned = self._error or rest[0], None
                self._wind_up()
            elif each.planned is not None:
                tell(watcher, each.planned, (kind, *rest))
        return self._bury(each, attempts) or run if each.lost else run

    def _bury(self, each: _Worker, attempts: Attempts) -> Run | None:
        """Takes leave of a dead worker; returns the record of its run if that is not tried again."""
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
        """Lets every worker go: an idle one ends at once, a busy one after its update."""
        for each in self._workers:
            each.pipe.close()
        deadline = time.monotonic() + worker.GRACE_SECONDS
        for each in self._workers:
            each.process.join(max(0.0, deadline - time.monotonic()))
            if each.process.is_alive():
                each.process.kill()
                each.process.join()
            each.process.close()
        self._workers.clear()
