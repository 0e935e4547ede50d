"""Runs on this machine: in this process, or in as many worker processes as pay."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from optbench.experiment import Planned, Stop, run_and_record
from optbench.experiment.programs import has_program
from optbench.launch.base import Attempts, Launcher, Relay, Watcher, Work, attempt, available_cores, tell
from optbench.launch.crew import Crew
from optbench.launch.nursery import start_server
from optbench.launch.pool import Pool
from optbench.launch.settings import LocalSettings
from optbench.records import Run

START_SECONDS = 1.2
"""The cost of the first worker until its first run begins: Python, torch. benchmarks/launch.py measures it."""

STEP_SECONDS, PROGRAM_SECONDS = 2.5e-4, 1e-5
"""What one update on a surface costs, recorded: by torch, and of a program. benchmarks/launch.py measures both."""


def estimated_seconds(planned: Planned) -> float:
    """A surface's steps at what each costs; a network is taken to be worth at least a worker of its own."""
    if is_network(planned):
        return START_SECONDS
    by_program = planned.engine == "auto" and has_program(planned.config)
    return (planned.config["trainer"]["steps"] or 0) * (PROGRAM_SECONDS if by_program else STEP_SECONDS)


def jobs_that_pay(planned: Sequence[Planned], cores: int) -> int:
    """How many worker processes to start; 0: none, the runs execute in this process.

    One run needs no worker. Of several, each worker's share must take at least as long as its start; a single worker
    is no faster than this process, but protects it from networks that run out of memory.
    """
    if len(planned) < 2:
        return 0
    if gpus := gpus_for(planned):
        return min(len(gpus), len(planned))
    jobs = min(cores, len(planned), int(sum(map(estimated_seconds, planned)) / START_SECONDS))
    return jobs if jobs > 1 or any(map(is_network, planned)) else 0


def is_network(planned: Planned) -> bool:
    """Whether a run trains a network: such runs keep checkpoints."""
    return "batch_size" in planned.config["trainer"]


def gpus_for(planned: Sequence[Planned]) -> list[str]:
    """This machine's GPUs, where the runs would take any: one worker each, since two runs would share its memory."""
    if any(item.config["trainer"]["device"] not in ("auto", "cuda") for item in planned):
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name.strip() not in ("", "-1")]
    folder = Path("/proc/driver/nvidia/gpus")  # asking torch would cost its import
    return [str(i) for i, _ in enumerate(folder.iterdir())] if folder.is_dir() else []


class LocalLauncher(Launcher):
    """Executes runs on this machine.

    Args:
        settings: see LocalSettings.
        work: what executes a run.
        crew: workers kept between launches.
    """

    def __init__(self, settings: LocalSettings, work: Work = run_and_record, crew: Crew | None = None) -> None:
        self._settings, self._work, self._crew = settings, work, crew

    def where(self, planned: Sequence[Planned]) -> str:
        jobs, threads = self._shares(planned)
        if not jobs:
            return "in this process"
        plural = "es" if jobs > 1 else ""
        return f"in {jobs} worker process{plural} of {threads} thread{'s' if threads > 1 else ''}"

    @property
    def cores(self) -> int:
        jobs, threads = self._settings.jobs, self._settings.threads
        return available_cores() if jobs is None else max(1, jobs) * (threads or 1)

    def expect(self, planned: Sequence[Planned]) -> None:
        if self._shares(planned)[0] and not gpus_for(planned):
            start_server()

    def _launch(self, todo: Sequence[Planned], stop: Stop, watcher: Watcher, force: bool) -> Iterator[Run]:
        jobs, threads = self._shares(todo)
        if not jobs:
            yield from self._here(todo, stop, watcher, force, threads)
            return
        gpus = gpus_for(todo)
        assigned = gpus if jobs <= len(gpus) else ()
        pool = Pool(jobs, threads, self._settings.retries, self._work, force, assigned, self._crew)
        yield from pool.run(todo, stop, watcher)

    def _shares(self, planned: Sequence[Planned]) -> tuple[int, int]:
        """Worker processes, and threads of each run."""
        cores = available_cores()
        wanted = self._settings.jobs
        jobs = jobs_that_pay(planned, cores) if wanted is None else min(wanted, len(planned))
        return jobs, self._settings.threads or max(1, cores // max(1, jobs))

    def _here(self, todo: Sequence[Planned], stop: Stop, watcher: Watcher, force: bool, threads: int) -> Iterator[Run]:
        attempts, waiting = Attempts(self._settings.retries, watcher), deque(todo)
        while waiting and not stop.requested:
            item = waiting.popleft()
            watcher.started(item, "this process")
            relay = Relay(lambda message, item=item: tell(watcher, item, message))  # type: ignore[misc]
            run = attempts.ended(item, attempt(self._work, item, stop, relay, force, threads), stop.requested)
            if run is None:
                waiting.appendleft(item)
                continue
            watcher.finished(run)
            yield run
