"""Who may rest and who is hired again, with workers that are only looked at: no process is started."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from optbench.launch import crew as crew_module
from optbench.launch.crew import Crew
from optbench.launch.pool import Pool


@dataclass
class Standing:
    """A process or a pipe that is there, or is not."""

    alive: bool = True

    def is_alive(self) -> bool:
        return self.alive

    def join(self, timeout: float | None = None) -> None:
        self.alive = False

    def close(self) -> None:
        self.alive = False


@dataclass(eq=False)
class FakeWorker:
    work: Any
    gpu: str | None = None
    ready: bool = True
    planned: Any = None
    process: Standing = field(default_factory=Standing)
    pipe: Standing = field(default_factory=Standing)
    told: list[str] = field(default_factory=list)

    def wind_up(self) -> None:
        self.told.append("stop")


def work(*args: Any) -> Any:
    raise AssertionError("nothing runs here")


def other_work(*args: Any) -> Any:
    raise AssertionError("nothing runs here")


@pytest.fixture(autouse=True)
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew_module, "Worker", FakeWorker)


def pool(crew: Crew, *workers: FakeWorker) -> Pool:
    made = Pool(2, 1, 0, work, crew=crew)
    made._workers.extend(workers)  # type: ignore[arg-type]
    return made


def test_a_worker_is_hired_for_its_own_work_and_card() -> None:
    crew = Crew()
    resting = [FakeWorker(work, "0"), FakeWorker(work, "1"), FakeWorker(other_work, "2"), FakeWorker(work, None)]
    resting.append(FakeWorker(work, "3", process=Standing(alive=False)))
    crew.rest(resting)  # type: ignore[arg-type]
    assert crew.hire(work, "1") is resting[1]
    assert crew.hire(work, None) is resting[3]
    for gpu in ("1", "2", "3", None):  # taken, of other work, dead, taken
        hired = crew.hire(work, gpu)
        assert hired not in resting
        assert (hired.work, hired.gpu) == (work, gpu)
    assert crew.hire(work, "0") is resting[0]


def test_an_idle_worker_rests_and_the_next_launch_has_it() -> None:
    crew, worker = Crew(), FakeWorker(work)
    pool(crew, worker)._close()
    assert worker.pipe.alive
    assert crew.hire(work, None) is worker


@pytest.mark.parametrize("state", [{"ready": False}, {"planned": "a run"}])
def test_a_worker_that_starts_or_runs_does_not_rest(state: dict[str, Any]) -> None:
    crew, worker = Crew(), FakeWorker(work, **state)
    pool(crew, worker)._close()
    assert not worker.pipe.alive
    assert crew.hire(work, None) is not worker


def test_a_worker_that_was_told_of_a_stop_does_not_rest() -> None:
    """Its runs would be interrupted at once."""
    crew, worker = Crew(), FakeWorker(work)
    stopped = pool(crew, worker)
    stopped._wind_up()
    stopped._close()
    assert worker.told == ["stop"]
    assert not worker.pipe.alive
    assert crew.hire(work, None) is not worker
