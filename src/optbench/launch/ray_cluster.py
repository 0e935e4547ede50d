"""Runs as tasks of a Ray cluster.

Ray places the tasks; the rest is ours: a task whose worker or node is lost is tried again here, not by Ray, so that it
counts the same as elsewhere. An actor beside the driver, the board, carries news to it and the wish to stop from it;
when the driver dies, Ray ends its tasks and the board.

Nothing is asked of a node but Ray (`outpost`): one that cannot do a run says why and gets no further ones. One that
does not see the driver's disk sends the run's files back with the result, and gets a checkpoint to go on from
(`errand`).
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from optbench.errors import OptbenchError, OutputError, RunFailure, UserError
from optbench.experiment import Planned, Stop, run_and_record
from optbench.launch import outpost
from optbench.launch.base import Attempts, Launcher, Watcher, Work, tell
from optbench.launch.errand import Carried, Errand, Mark, Wanted, marked, origin_of
from optbench.launch.parcel import pack
from optbench.launch.ray_nodes import Nodes, connected
from optbench.launch.remote import Place, Task
from optbench.launch.settings import RaySettings
from optbench.records import Run

_WINDOW = 256
"""Tasks submitted at a time: enough for Ray to fill a cluster, few enough to watch."""
_NEWS_SECONDS = 0.25
_COUNT_SECONDS = 5.0
_VISIBLE_SECONDS = 10.0
"""How long a shared file system may take to show here what another machine wrote."""


class RayLauncher(Launcher):
    """Executes runs on a Ray cluster.

    Args:
        settings: see RaySettings.
        work: what executes a run.

    Raises:
        UserError: Ray is not installed.
    """

    def __init__(self, settings: RaySettings, work: Work = run_and_record) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # as it will be; without it, a warning
        try:
            import ray  # noqa: F401
        except ImportError as error:
            raise UserError("hydra/launcher=ray needs Ray", "pip install 'optbench[ray]'") from error
        self._settings, self._work = settings, work

    def where(self, planned: Sequence[Planned]) -> str:
        threads = self._settings.threads
        cluster = self._settings.address or "started on this machine"
        return f"on Ray ({cluster}), {threads} CPU{'s' if threads > 1 else ''} a run"

    def _launch(self, todo: Sequence[Planned], stop: Stop, watcher: Watcher, force: bool) -> Iterator[Run]:
        with connected(self._settings.address), marked({item.folder.parent for item in todo}) as mark:
            yield from _Flight(self._settings, self._work, watcher, force, mark).run(todo, stop)


class _Flight:
    """One launch: the tasks under way, and the runs that wait."""

    def __init__(self, settings: RaySettings, work: Work, watcher: Watcher, force: bool, mark: Mark) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self._ray: Any = ray
        self._ray.cloudpickle.register_pickle_by_value(outpost)
        self._settings, self._watcher = settings, watcher
        self._work, self._force, self._mark, self._place = work, force, mark, Place.here()
        self._attempts = Attempts(settings.retries, watcher, _VISIBLE_SECONDS)
        self._nodes = Nodes(settings, watcher)
        # the board must outlive every other node
        beside = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._board: Any = ray.remote(outpost.Board).options(num_cpus=0, scheduling_strategy=beside).remote()
        gpus = {"num_gpus": settings.gpus} if settings.gpus else {}
        self._options = {"max_retries": 0, "num_cpus": settings.threads, **gpus}
        self._begin: Any = ray.remote(outpost.begin)
        self._facts = outpost.facts()
        self._waiting: deque[Planned] = deque()
        self._flying: dict[Any, Planned] = {}
        self._started: dict[str, str] = {}
        self._looked = self._counted = 0.0
        self._winding_up = False
        self._error: OptbenchError | None = None

    def run(self, planned: Sequence[Planned], stop: Stop) -> Iterator[Run]:
        """Yields each run's record as it finishes; see Launcher.launch."""
        self._nodes.check(at_once=True)
        self._waiting.extend(planned)
        try:
            while self._waiting or self._flying:
                if stop.requested:
                    self._wind_up()
                self._submit()
                for ref in self._landed():
                    if (run := self._collect(ref)) is not None:
                        self._watcher.finished(run)
                        yield run
        except self._ray.exceptions.RayError as error:
            hint = "what has ended is recorded; the same command goes on, when there is a cluster again"
            raise RunFailure(f"the Ray cluster is gone ({type(error).__name__})", hint) from error
        finally:
            for ref in self._flying:
                self._ray.cancel(ref, force=True)
            self._ray.kill(self._board)
        if self._error is not None:
            raise self._error

    def _submit(self) -> None:
        limit = self._settings.jobs or _WINDOW
        while self._waiting and len(self._flying) < limit:
            item = self._waiting.popleft()
            tries = self._attempts.before(item)
            task = Task(self._place, item, self._work, self._force, self._settings.threads, tries)
            resumable = not self._force and (item.folder / "last.pt").exists()
            errand = Errand(task, self._mark, origin_of(item), resumable)
            parcel = self._ray.put(pack(item.folder)) if resumable and self._nodes.some_without_disk else None
            begin = self._begin.options(**self._options, **self._nodes.options())
            path, pickled = list(self._place.path), self._ray.cloudpickle.dumps(errand)
            self._flying[begin.remote(path, self._facts, pickled, self._board, parcel)] = item

    def _wind_up(self) -> None:
        """Nothing new begins; what runs ends after its update."""
        self._waiting.clear()
        if self._winding_up:
            return
        self._winding_up = True
        self._ray.get(self._board.ask_to_stop.remote())
        self._read_news()
        for ref, item in list(self._flying.items()):
            if item.run_id not in self._started:
                self._ray.cancel(ref, force=True)
                del self._flying[ref]

    def _give_up(self, error: OptbenchError) -> None:
        self._error = self._error or error
        self._wind_up()

    def _landed(self) -> list[Any]:
        """Tasks that ended, one way or another; waits a moment for one, and passes on the news."""
        flying = list(self._flying)
        found, _ = self._ray.wait(flying, timeout=_NEWS_SECONDS) if flying else ([], [])
        if found:  # and whoever landed with it
            found, _ = self._ray.wait(flying, num_returns=len(flying), timeout=0)
        now = time.monotonic()
        if found or now - self._looked >= _NEWS_SECONDS:  # what landed is told of before it is settled
            self._read_news()
        if not found and not self._winding_up and now - self._counted > _COUNT_SECONDS:
            self._counted = now
            self._nodes.check()
        return list(found)

    def _read_news(self) -> None:
        self._looked = time.monotonic()
        flying = {item.run_id: item for item in self._flying.values()}
        for run_id, (kind, *rest) in self._ray.get(self._board.take.remote()):
            if (item := flying.get(run_id)) is None:
                continue
            if kind == "started":
                where, place, shares = rest
                self._started[run_id] = place[1]
                if not shares:
                    self._nodes.without_disk(place, item.folder.parent)
                self._watcher.started(item, where)
            else:
                tell(self._watcher, item, (kind, *rest))

    def _collect(self, ref: Any) -> Run | None:
        """The record of a task that ended; None when its run is tried again or has none."""
        item = self._flying.pop(ref)
        address = self._started.pop(item.run_id, None)
        try:
            place, outcome = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            return self._again(item, self._lost(item, error, address))
        if isinstance(outcome, Run | Carried):
            return self._again(item, self._record(item, outcome))
        if isinstance(outcome, OptbenchError):
            self._give_up(outcome)
            return None
        if isinstance(outcome, Wanted):
            self._nodes.without_disk(place, item.folder.parent)
        else:
            self._nodes.leave_out(place, outcome["unfit"])
            self._nodes.check()
        return self._again(item, item.recorded() if self._winding_up else None)

    def _again(self, item: Planned, run: Run | None) -> Run | None:
        """Puts a run without a record back into the queue, unless nothing new is to begin."""
        if run is None and not self._winding_up:
            self._waiting.appendleft(item)
        return run

    def _record(self, item: Planned, outcome: Run | Carried) -> Run | None:
        """What a node has recorded, as it is in the folder here."""
        try:
            run = outcome if isinstance(outcome, Run) else outcome.deliver(item.folder)
        except OutputError as error:
            self._give_up(error)
            return None
        return self._attempts.ended(item, run, self._winding_up)

    def _lost(self, item: Planned, error: Exception, address: str | None) -> Run | None:
        """Counts a task of which nothing came back."""
        if self._winding_up:
            return item.recorded()
        if isinstance(error, self._ray.exceptions.RayTaskError):
            return self._attempts.lost(item, f"a Ray worker broke off ({_last_line(error)})")
        if isinstance(error, self._ray.exceptions.NodeDiedError) and address:
            return self._attempts.lost(item, f"Ray node {address} was lost")
        return self._attempts.lost(item, f"worker lost: {type(error).__name__}")


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
