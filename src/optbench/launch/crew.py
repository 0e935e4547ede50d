"""Worker processes: how one is started, talked to and dismissed; and a crew of idle ones kept between launches.

A worker has to be started and to find its data, so code that launches many small sweeps one after the other keeps a
crew. Where its process comes from: see `nursery`.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from typing import Any

from optbench.experiment import Planned
from optbench.launch import nursery, worker
from optbench.launch.base import Work


class Worker:
    """One process, the driver's end of its pipe, and the run that it has.

    Args:
        work: what executes a run.
        gpu: name for its CUDA_VISIBLE_DEVICES; None: it sees what the driver sees.
    """

    def __init__(self, work: Work, gpu: str | None = None) -> None:
        self.pipe, theirs = multiprocessing.get_context("spawn").Pipe()
        arguments = theirs, work, gpu, dict(os.environ)
        self.process = nursery.new_process(worker.main, arguments, alone=gpu is not None)
        with nursery.undisturbed():
            self.process.start()
        theirs.close()
        self.planned: Planned | None = None
        self.work, self.gpu = work, gpu
        self.ready = self.lost = False

    def give(self, planned: Planned, force: bool, threads: int) -> None:
        """Hands it a run."""
        self.planned = planned
        self._send((planned, force, threads))

    def wind_up(self) -> None:
        """Tells it that the user has asked to stop."""
        self._send(None)

    def _send(self, message: worker.Message) -> None:
        with contextlib.suppress(OSError):  # it is dead: the next look at it says so
            self.pipe.send(message)

    def messages(self) -> Iterator[tuple[Any, ...]]:
        """The messages that it has sent since the last call; sets `lost` when no more will come."""
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


def dismiss(workers: Sequence[Worker]) -> None:
    """Lets workers go: an idle one ends at once, a busy one after its update."""
    for each in workers:
        each.pipe.close()
    deadline = time.monotonic() + worker.GRACE_SECONDS
    for each in workers:
        each.process.join(max(0.0, deadline - time.monotonic()))
        if each.process.is_alive():
            each.process.kill()
            each.process.join()
        each.process.close()


class Crew:
    """Idle workers that wait for the next launch; a context manager, whose end lets them go."""

    def __init__(self) -> None:
        self._idle: list[Worker] = []

    def __enter__(self) -> Crew:
        atexit.register(self._close)  # an iterator that nobody closed must not keep the interpreter from ending
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        atexit.unregister(self._close)

    def _close(self) -> None:
        idle, self._idle = self._idle, []
        dismiss(idle)

    def hire(self, work: Work, gpu: str | None) -> Worker:
        """An idle worker that does this work with this GPU, or else a new one."""
        for each in self._idle:
            if each.work is work and each.gpu == gpu and each.process.is_alive():
                self._idle.remove(each)
                return each
        return Worker(work, gpu)

    def rest(self, workers: Sequence[Worker]) -> None:
        """Keeps workers that are idle."""
        self._idle.extend(workers)
