"""Runs as tasks of a Slurm job array, by submitit.

The disk is all that driver and tasks share: submitit carries a run there and its record back in files, and a file asks
the tasks to stop. A task that Slurm ends (time limit, preemption, a lost node) is submitted again; a network goes on
from its checkpoint.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from optbench.errors import OptbenchError, UserError
from optbench.experiment import Planned, Stop, run_and_record
from optbench.launch.base import TICK_SECONDS, Attempts, Relay, Watcher, Work, available_cores, divided
from optbench.launch.remote import Lookout, Place, Task
from optbench.launch.settings import SlurmSettings
from optbench.records import Run, writing

_ARRAY = 1000
"""Tasks of one array: Slurm's own limit (MaxArraySize) is 1001 unless a site raised it."""


def perform(task: Task, stop_file: Path) -> Run | OptbenchError:
    """What a task of the array does."""
    stop = Stop()
    with Lookout(stop_file.exists, stop):
        return task.perform(stop, Relay(lambda message: None))


class SlurmLauncher:
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

    def launch(self, planned: Sequence[Planned], stop: Stop, watcher: Watcher, force: bool = False) -> Iterator[Run]:
        done, todo = divided(planned, force)
        for run in done:
            watcher.finished(run)
            yield run
        if todo:
            folder = todo[0].folder.absolute().parent / ".submitit"
            with writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
            yield from _Queue(self._settings, self._work, watcher, force, folder).run(todo, stop)


class _Queue:
    """One launch: the tasks submitted, and the runs that wait."""

    def __init__(self, settings: SlurmSettings, work: Work, watcher: Watcher, force: bool, folder: Path) -> None:
        self._settings, self._work, self._watcher, self._force = settings, work, watcher, force
        self._executor = _executor(settings, folder)
        self._stop_file = folder / f"stop-{secrets.token_hex(4)}"
        self._place = Place.here()
        self._attempts = Attempts(settings.retries, watcher)
        local = settings.cluster == "local"
        self._limit = (settings.jobs or available_cores()) if local else _ARRAY  # Slurm limits an array by itself
        self._waiting: deque[Planned] = deque()
        self._submitted: dict[Any, Planned] = {}
        self._started: set[str] = set()
        self._winding_up = False
        self._error: OptbenchError | None = None

    def run(self, planned: Sequence[Planned], stop: Stop) -> Iterator[Run]:
        """Yields each run's record as it finishes; see Launcher.launch."""
        self._waiting.extend(planned)
        try:
            while self._waiting or self._submitted:
                if stop.requested:
                    self._wind_up()
                self._submit()
                time.sleep(TICK_SECONDS)
                for job in self._ended():
                    if (run := self._collect(job)) is not None:
                        self._watcher.finished(run)
                        yield run
        finally:
            for job in self._submitted:
                job.cancel(check=False)
            self._stop_file.unlink(missing_ok=True)
        if self._error is not None:
            raise self._error

    def _submit(self) -> None:
        items = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._limit - len(self._submitted)))]
        if not items:
            return
        tries = map(self._attempts.before, items)
        tasks = [
            Task(self._place, item, self._work, self._force, self._settings.threads, n)
            for item, n in zip(items, tries, strict=True)
        ]
        try:
            with self._executor.batch():
                jobs = [self._executor.submit(perform, task, self._stop_file) for task in tasks]
        except (OSError, RuntimeError) as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UserError(f"hydra/launcher=slurm: the queue refused the array ({first})") from error
        self._submitted.update(zip(jobs, items, strict=True))

    def _wind_up(self) -> None:
        """Nothing new begins; what runs ends after its update."""
        self._waiting.clear()
        if self._winding_up:
            return
        self._winding_up = True
        with writing(self._stop_file):
            self._stop_file.touch()
        for job in list(self._submitted):
            if job.state == "PENDING":
                job.cancel(check=False)
                del self._submitted[job]

    def _ended(self) -> list[Any]:
        ended = [job for job in self._submitted if job.done()]
        for job in self._submitted:
            if job.job_id not in self._started and (job in ended or job.state == "RUNNING"):
                self._started.add(job.job_id)
                self._watcher.started(self._submitted[job], f"job {job.job_id}")
        return ended

    def _collect(self, job: Any) -> Run | None:
        """The record of a task that ended; None when its run is tried again or has none."""
        item = self._submitted.pop(job)
        try:
            outcome = job.result()
        except Exception as error:  # submitit's own, pickle's, the system's: all mean that nothing came back
            if self._winding_up:
                return item.recorded()
            run = self._attempts.lost(item, f"task lost: {type(error).__name__}, job {job.job_id}, state {job.state}")
            if run is None:
                self._waiting.append(item)
            return run
        if isinstance(outcome, OptbenchError):
            self._error = self._error or outcome
            self._wind_up()
            return None
        assert isinstance(outcome, Run)
        return outcome


def _executor(settings: SlurmSettings, folder: Path) -> Any:
    """submitit's executor, set as the settings say."""
    import submitit

    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=settings.cluster)
    except RuntimeError as error:
        raise UserError(
            "hydra/launcher=slurm: there is no Slurm on this machine (no srun)",
            "hydra.launcher.cluster=local runs the same path as processes here",
        ) from error
    asked = {
        "name": "optbench",
        "timeout_min": settings.minutes,
        "cpus_per_task": settings.threads,
        "gpus_per_node": settings.gpus or None,
        "mem_gb": settings.memory_gb,
        "slurm_partition": settings.partition,
        "slurm_account": settings.account,
        "slurm_array_parallelism": settings.jobs,
        "slurm_additional_parameters": dict(settings.extra) or None,
    }
    executor.update_parameters(**{k: v for k, v in asked.items() if v is not None})
    return executor
