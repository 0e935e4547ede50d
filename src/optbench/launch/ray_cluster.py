"""Runs as tasks of a Ray cluster.

Ray places the tasks; the rest is ours: a task whose worker or node is lost is tried again here, not by Ray, so that it
counts the same as elsewhere. An actor beside the driver, the board, carries news to it and the wish to stop from it;
when the driver dies, Ray ends its tasks and the board.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from optbench.errors import OptbenchError, UserError
from optbench.experiment import Planned, Stop, settle
from optbench.launch.base import Attempts, Relay, Watcher, Work, available_cores, divided, tell
from optbench.launch.remote import Lookout, Place, Task
from optbench.launch.settings import RaySettings
from optbench.records import Run

_WINDOW = 256
"""Tasks submitted at a time: enough for Ray to fill a cluster, few enough to watch."""
_NEWS_SECONDS = 0.25
_OBJECT_STORE_BYTES = 100 << 20
_SAME_HINT = "every node needs the same optbench, Python and Ray as this machine"


class Board:
    """What tasks tell the driver, and whether the user wants to stop. Lives in a Ray actor."""

    def __init__(self) -> None:
        self._news: list[tuple[str, tuple[Any, ...]]] = []
        self._stop = False

    def tell(self, run_id: str, message: tuple[Any, ...]) -> None:
        self._news.append((run_id, message))

    def take(self) -> list[tuple[str, tuple[Any, ...]]]:
        """The news since the last call."""
        news, self._news = self._news, []
        return news

    def ask_to_stop(self) -> None:
        self._stop = True

    def stopping(self) -> bool:
        return self._stop


def perform(task: Task, board: Any) -> Run | OptbenchError:
    """What a Ray worker does with a task."""
    import ray

    run_id, stop = task.planned.run_id, Stop()
    ray.get(board.tell.remote(run_id, ("started", f"{platform.node()}, process {os.getpid()}")))
    with Lookout(lambda: bool(ray.get(board.stopping.remote())), stop):
        return task.perform(stop, Relay(lambda message: board.tell.remote(run_id, message), pause=1.0))


class RayLauncher:
    """Executes runs on a Ray cluster.

    Args:
        settings: see RaySettings.
        work: what executes a run.

    Raises:
        UserError: Ray is not installed.
    """

    def __init__(self, settings: RaySettings, work: Work = settle) -> None:
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

    def launch(self, planned: Sequence[Planned], stop: Stop, watcher: Watcher, force: bool = False) -> Iterator[Run]:
        done, todo = divided(planned, force)
        for run in done:
            watcher.finished(run)
            yield run
        if todo:
            with _connected(self._settings.address):
                yield from _Flight(self._settings, self._work, watcher, force).run(todo, stop)


@contextlib.contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """Within it Ray is there; what this starts it ends, what was there stays."""
    import ray

    if ray.is_initialized():
        yield
        return
    new: dict[str, Any] = {"num_cpus": available_cores(), "_node_ip_address": "127.0.0.1"}
    new |= {"include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES}
    try:
        _knock(address)
        ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **({} if address else new))
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        hint = "start one with `ray start --head`, or leave hydra.launcher.address=null"
        raise UserError(f"hydra.launcher.address={address}: no Ray cluster there ({first})", hint) from error
    try:
        yield
    finally:
        ray.shutdown()


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()


def _knock(address: str | None) -> None:
    """Raises OSError where nobody listens at host:port; Ray itself would try for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=5.0).close()


class _Flight:
    """One launch: the tasks under way, and the runs that wait."""

    def __init__(self, settings: RaySettings, work: Work, watcher: Watcher, force: bool) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self._ray, self._settings, self._watcher = ray, settings, watcher
        self._work, self._force, self._place = work, force, Place.here()
        self._attempts = Attempts(settings.retries, watcher)
        # the board must outlive every other node
        beside = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._board: Any = ray.remote(Board).options(num_cpus=0, scheduling_strategy=beside).remote()
        gpus = {"num_gpus": settings.gpus} if settings.gpus else {}
        self._perform: Any = ray.remote(perform).options(max_retries=0, num_cpus=settings.threads, **gpus)
        self._waiting: deque[Planned] = deque()
        self._flying: dict[Any, Planned] = {}
        self._started: set[str] = set()
        self._looked = 0.0
        self._winding_up = False
        self._error: OptbenchError | None = None

    def run(self, planned: Sequence[Planned], stop: Stop) -> Iterator[Run]:
        """Yields each run's record as it finishes; see Launcher.launch."""
        self._waiting.extend(planned)
        try:
            while self._waiting or self._flying:
                if stop.requested:
                    self._wind_up()
                self._submit()
                for ref in self._landed():
                    if (run := self._settle(ref)) is not None:
                        self._watcher.finished(run)
                        yield run
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
            self._flying[self._perform.remote(task, self._board)] = item

    def _wind_up(self) -> None:
        """Nothing new begins; what runs ends after its update."""
        self._waiting.clear()
        if self._winding_up:
            return
        self._winding_up = True
        self._read_news()
        self._ray.get(self._board.ask_to_stop.remote())
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
        if found or time.monotonic() - self._looked >= _NEWS_SECONDS:  # what landed is told of before it is settled
            self._read_news()
        return list(found)

    def _read_news(self) -> None:
        self._looked = time.monotonic()
        flying = {item.run_id: item for item in self._flying.values()}
        for run_id, (kind, *rest) in self._ray.get(self._board.take.remote()):
            if (item := flying.get(run_id)) is None:
                continue
            if kind == "started":
                self._started.add(run_id)
                self._watcher.started(item, *rest)
            else:
                tell(self._watcher, item, (kind, *rest))

    def _settle(self, ref: Any) -> Run | None:
        """The record of a task that ended; None when its run is tried again or has none."""
        item = self._flying.pop(ref)
        self._started.discard(item.run_id)
        try:
            outcome = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:  # a task raises nothing: it could not even be read there
            self._give_up(UserError(f"a Ray worker cannot execute a run ({_last_line(error)})", _SAME_HINT))
            return None
        except self._ray.exceptions.RayError as error:
            if self._winding_up:
                return item.recorded()
            run = self._attempts.lost(item, f"worker lost: {type(error).__name__}")
            if run is None:
                self._waiting.appendleft(item)
            return run
        if isinstance(outcome, OptbenchError):
            self._give_up(outcome)
            return None
        assert isinstance(outcome, Run)
        return outcome
