"""Runs on Slurm: whatever becomes of tasks and drivers, one true row a run, none under way twice, never too many.

Most of it is held against a queue in this process that keeps what Slurm keeps and executes the tasks while it is asked;
then what Slurm's commands print (22.05), and a whole driver against commands that keep their state in files.
"""

from __future__ import annotations

import functools
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import fake_slurm
import launch_parts
import pytest
from members import TESTS

from optbench.errors import OutputError, UserError
from optbench.experiment import Planned, Stop, plan_sweep, run_and_record
from optbench.launch import Nobody, launcher, slurm, slurm_queue
from optbench.launch.base import Relay, divided
from optbench.launch.settings import SlurmSettings
from optbench.launch.slurm_arrays import Array, Arrays, Ending
from optbench.launch.slurm_queue import GONE, OVER_MEMORY, QueueSilent, Seen, SubmissionRefused
from optbench.records import Run, Status, read_run

pytest.importorskip("submitit")
pytestmark = pytest.mark.slow  # all of them: what `make test` installs has no submitit, what `make test-slow` does has


@dataclass
class Notes(Nobody):
    """A Watcher that writes down what it is told."""

    starts: list[str] = field(default_factory=list)
    retries: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    waits: list[str] = field(default_factory=list)

    def started(self, planned: Planned, where: str) -> None:
        self.starts.append(planned.run_id)

    def retried(self, planned: Planned, why: str) -> None:
        self.retries.append(why)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def waiting(self, text: str) -> None:
        self.waits.append(text)


@dataclass
class FakeTask:
    """A task in the queue of this process; `ticks`: how often it is still seen running."""

    call: Any
    name: str
    at_once: int
    seen: Seen = field(default_factory=lambda: Seen("PENDING", "Resources"))
    ticks: int = 0

    @property
    def planned(self) -> Planned:
        planned: Planned = self.call.args[0].planned
        return planned


@dataclass
class FakeQueue:
    """A queue that starts and ends tasks whenever it is asked how they are.

    Attributes:
        fate: what becomes of a task when it ends, asked once a task: "" (it does its run) or a state of Slurm's.
        cpus: tasks that run at once, of whichever array; 0: everything waits.
        ticks: how often a task is seen before it ends.
        most_running: tasks that ran at once at some time.
    """

    fate: Callable[[Planned], str] = lambda planned: ""
    cpus: int = 8
    ticks: int = 2
    most: int = 50
    tasks: dict[str, FakeTask] = field(default_factory=dict)
    submissions: list[tuple[str, int, int]] = field(default_factory=list)
    most_running: int = 0
    silent: bool = False
    refuses: int = 0
    number: int = 100

    def submit(self, calls: Sequence[Any], name: str, at_once: int) -> str:
        if self.refuses:
            self.refuses -= 1
            raise SubmissionRefused("no such partition")
        assert len(calls) <= self.most
        self.number += 1
        self.submissions.append((name, len(calls), at_once))
        for i, call in enumerate(calls):
            job = f"{self.number}" if len(calls) == 1 else f"{self.number}_{i}"
            alive = {task.planned.run_id for task in self.tasks.values() if task.seen.alive}
            assert call.args[0].planned.run_id not in alive, "the run is under way twice"
            self.tasks[job] = FakeTask(call, name, at_once)
        return str(self.number)

    def find(self, name: str) -> str | None:
        return next((job.partition("_")[0] for job, task in self.tasks.items() if task.name == name), None)

    def look(self, tasks: Collection[str]) -> dict[str, Seen]:
        if self.silent:
            raise QueueSilent("squeue: error: Unable to contact slurm controller")
        self.tick()
        gone = Seen(GONE, "Slurm accounting storage is disabled")
        return {t: self.tasks[t].seen if t in self.tasks else gone for t in tasks}

    def tick(self) -> None:
        """Time passes."""
        running = [task for task in self.tasks.values() if task.seen.state == "RUNNING"]
        for task in running:
            task.ticks -= 1
            if task.ticks <= 0:
                self._end(task)
        for task in self.tasks.values():
            if task.seen.state != "PENDING":
                continue
            names = [t.name for t in self.tasks.values() if t.seen.state == "RUNNING"]
            if names.count(task.name) >= task.at_once:
                task.seen = Seen("PENDING", "JobArrayTaskLimit")
            elif len(names) < self.cpus:
                task.seen, task.ticks = Seen("RUNNING", node="n1"), self.ticks
        now = sum(task.seen.state == "RUNNING" for task in self.tasks.values())
        self.most_running = max(now, self.most_running)

    def _end(self, task: FakeTask) -> None:
        fate = self.fate(task.planned)
        if not fate:
            work, folder, token = task.call.args
            Arrays(folder).begin(token, work.planned.run_id)
            Arrays(folder).end(token, work.planned.run_id, Ending.of(work.perform(Stop(), Relay(lambda message: None))))
        task.seen = Seen(fate or "COMPLETED", node="n1")

    def cancel(self, tasks: Collection[str], waiting: bool = False) -> None:
        for job, task in list(self.tasks.items()):
            if (job in tasks or job.partition("_")[0] in tasks) and task.seen.alive:
                if task.seen.waits:
                    del self.tasks[job]  # as Slurm does where it keeps no accounts
                elif not waiting:
                    task.seen = Seen("CANCELLED", node="n1")

    def last_words(self, task: str) -> str | None:
        return "ValueError: bad node"


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> FakeQueue:
    """The queue that drivers of this process get; nobody waits for a clock."""
    made = FakeQueue()
    monkeypatch.setattr(slurm, "queue_for", lambda settings, folder: made)
    monkeypatch.setattr(slurm, "TICK_SECONDS", 0.0)
    for name in ("FIRST_LOOK_SECONDS", "LOOK_SECONDS", "LAG_SECONDS", "FILES_SECONDS", "PATIENCE_SECONDS"):
        monkeypatch.setattr(slurm, name, 0.0)
    return made


@functools.cache
def planned() -> list[Planned]:
    return list(plan_sweep(["model=sphere", "optimizer=gd", "trainer.steps=3", "trainer.start=random", "seeds=12"]))


def plan(out: Path, count: int) -> list[Planned]:
    """So many runs of a sweep in a folder."""
    return [replace(item, folder=out / "s" / item.folder.name) for item in planned()[:count]]


def driver(out: Path, watcher: Nobody, force: bool = False, **settings: Any) -> slurm._Driver:
    (out / "s" / ".submitit").mkdir(parents=True, exist_ok=True)
    return slurm._Driver(SlurmSettings(**settings), run_and_record, watcher, force, out / "s" / ".submitit")


def entries(out: Path) -> list[str]:
    """What is left in the sweep's folder of arrays that may be alive."""
    return sorted(path.name for path in (out / "s" / ".submitit").glob("*") if path.name != ".lock")


def test_runs_become_one_array_and_leave_nothing_behind(queue: FakeQueue, tmp_path: Path) -> None:
    runs, notes = plan(tmp_path, 6), Notes()
    place = launcher({"name": "slurm", "jobs": 2})
    found = list(place.launch(runs, Stop(), notes))
    assert {r.run_id for r in found} == {p.run_id for p in runs}
    assert {r.status for r in found} == {Status.COMPLETED}
    assert [entry[1:] for entry in queue.submissions] == [(6, 2)]
    assert queue.most_running == 2
    assert set(notes.waits) == {""}  # to wait for one another is what the user asked for
    assert sorted(notes.starts) == sorted(p.run_id for p in runs)
    assert entries(tmp_path) == []
    assert len(list(place.launch(runs, Stop(), Notes()))) == 6
    assert len(queue.submissions) == 1  # done is done


def test_more_runs_than_an_array_takes_come_in_few_arrays(queue: FakeQueue, tmp_path: Path) -> None:
    queue.most = 4
    found = list(driver(tmp_path, Notes()).run(plan(tmp_path, 11), Stop()))
    assert len(found) == 11
    assert len(queue.submissions) <= 6
    assert min(n for _, n, _ in queue.submissions[:-1]) >= 2


FATES = {
    "NODE_FAIL": ("failed", "NODE_FAIL on n1", True),
    "TIMEOUT": ("failed", "TIMEOUT on n1, hydra.launcher.minutes=60", True),
    "FAILED": ("failed", "FAILED on n1: ValueError: bad node", True),
    "COMPLETED": ("failed", "COMPLETED on n1: ValueError: bad node", True),
    "PREEMPTED": ("failed", "PREEMPTED on n1", True),
    "OUT_OF_MEMORY": ("failed", "hydra.launcher.memory_gb", False),
    "CANCELLED": ("interrupted", "not by this command", False),
}
"""State in which every task of a run ends: status of the run, words of the reason, whether it is tried again."""


def test_what_slurm_does_to_a_task_is_a_row(queue: FakeQueue, tmp_path: Path) -> None:
    runs, notes = plan(tmp_path, len(FATES) + 1), Notes()
    states = dict(zip((p.run_id for p in runs), FATES, strict=False))
    queue.fate = lambda planned: states.get(planned.run_id, "")
    found = {r.run_id: r for r in driver(tmp_path, notes, retries=2).run(runs, Stop())}
    assert len(found) == len(runs)
    assert found[runs[-1].run_id].status is Status.COMPLETED
    for number, (item, (status, words, again)) in enumerate(zip(runs, FATES.values(), strict=False)):
        recorded = read_run(item.folder)
        assert (recorded.status, recorded.reason) == (status, found[item.run_id].reason)
        assert words in recorded.reason
        assert f"job 101_{number}:" in recorded.reason or again
        assert recorded.reason.endswith(", 3 attempts") == again
    assert len(notes.retries) == 2 * sum(again for *_, again in FATES.values())
    assert entries(tmp_path) == []


def test_a_record_that_is_not_where_the_driver_reads_is_not_believed(queue: FakeQueue, tmp_path: Path) -> None:
    [item], notes = plan(tmp_path, 1), Notes()

    def elsewhere(planned: Planned, *arguments: Any) -> Run:
        return run_and_record(replace(planned, folder=tmp_path / "away" / planned.folder.name), *arguments)

    made = driver(tmp_path, notes, retries=1)
    made._work = elsewhere
    [run] = made.run([item], Stop())
    assert run.status is Status.FAILED
    assert "reported completed, but run.json is missing" in run.reason
    assert len(notes.retries) == 1


def test_an_older_record_in_its_place_is_not_taken_for_it(queue: FakeQueue, tmp_path: Path) -> None:
    [item] = plan(tmp_path, 1)
    older = run_and_record(item, Stop())

    def elsewhere(planned: Planned, *arguments: Any) -> Run:
        return run_and_record(replace(planned, folder=tmp_path / "away" / planned.folder.name), *arguments)

    made = driver(tmp_path, Nobody(), force=True, retries=0)
    made._work = elsewhere
    [run] = made.run([item], Stop())
    assert older.status is Status.COMPLETED
    assert (run.status, run.reason.partition("reported ")[2]) == (
        Status.FAILED,
        "completed, but another record is there, 1 attempt",
    )


def test_a_task_cancelled_while_it_waits_is_a_row(queue: FakeQueue, tmp_path: Path) -> None:
    runs = plan(tmp_path, 3)

    def fate(planned: Planned) -> str:
        if planned is runs[0]:
            queue.cancel({"101_2"})  # Slurm without accounts knows nothing of it any more
        return ""

    queue.fate = fate
    found = list(driver(tmp_path, Nobody(), jobs=1).run(runs, Stop()))
    rows = {run.run_id: run for run in found}
    assert [rows[p.run_id].status for p in runs] == ["completed", "completed", "interrupted"]
    assert rows[runs[2].run_id].reason == "job 101_2: CANCELLED (while it waited), not by this command"
    assert len(queue.submissions) == 1


def test_records_that_cannot_be_written_end_the_sweep(queue: FakeQueue, tmp_path: Path) -> None:
    def full(planned: Planned, *arguments: Any) -> Run:
        raise OutputError("cannot write there: No space left on device", "free some space")

    made = driver(tmp_path, Notes(), jobs=1)
    made._work = full
    with pytest.raises(OutputError, match="No space left") as caught:
        list(made.run(plan(tmp_path, 4), Stop()))
    assert caught.value.hint == "free some space"
    assert not any(task.seen.alive for task in queue.tasks.values())
    assert entries(tmp_path) == []


@pytest.mark.parametrize("seed", range(20))
def test_any_fates_and_killed_drivers(seed: int, queue: FakeQueue, tmp_path: Path) -> None:
    """Random ends of tasks and drivers: never a run twice at once (FakeQueue.submit), never more at once than asked."""
    rng = random.Random(seed)
    runs, jobs, retries = plan(tmp_path, 12), rng.choice([1, 2, 3]), 2
    fates: dict[str, list[str]] = {}

    def fate(planned: Planned) -> str:
        drawn = rng.choice(["", "", "NODE_FAIL", "TIMEOUT", "FAILED", "CANCELLED", "OUT_OF_MEMORY"])
        fates.setdefault(planned.run_id, []).append(drawn)
        return drawn

    queue.fate, queue.most = fate, 7
    rows: dict[str, Run] = {}
    abandoned = []
    while len(rows) < len(runs):
        done, todo = divided([p for p in runs if p.run_id not in rows], False)
        rows.update((run.run_id, run) for run in done)
        going = driver(tmp_path, Nobody(), jobs=jobs, retries=retries).run(todo, Stop())
        abandoned.append(going)  # a driver that is killed cleans up nothing: it must not be closed
        for run in going:
            assert run.run_id not in rows
            rows[run.run_id] = run
            if rng.random() < 0.25:
                break
    assert queue.most_running <= jobs
    for item in runs:
        ended, row = fates[item.run_id], rows[item.run_id]
        assert read_run(item.folder).reason == row.reason
        assert len(ended) <= (retries + 1) * len(abandoned)
        assert {"": "completed", "CANCELLED": "interrupted"}.get(ended[-1], "failed") == row.status
    assert not any(task.seen.alive for task in queue.tasks.values())
    for going in abandoned:
        going.close()


def test_a_second_driver_waits_for_what_the_first_one_left(queue: FakeQueue, tmp_path: Path) -> None:
    runs, notes = plan(tmp_path, 6), Notes()
    first = driver(tmp_path, Nobody(), jobs=2).run(runs[:5], Stop())
    done = [next(first) for _ in range(2)]  # killed here
    left = [p for p in runs if p.run_id not in {r.run_id for r in done}]
    assert len(entries(tmp_path)) > 0
    found = list(driver(tmp_path, notes, jobs=2).run(left, Stop()))
    assert {r.run_id for r in found} == {p.run_id for p in left}
    assert notes.notes[0].startswith("adopting job 101 (")
    assert "of 5 tasks alive" in notes.notes[0]
    assert [n for _, n, _ in queue.submissions] == [5, 1]  # the sixth run alone was missing
    assert queue.most_running <= 2
    assert entries(tmp_path) == []
    first.close()


def test_a_driver_killed_while_it_submits_leaves_what_can_be_found(queue: FakeQueue, tmp_path: Path) -> None:
    runs = plan(tmp_path, 3)
    arrays = Arrays(tmp_path / "s" / ".submitit")
    never = Array("aaaa", None, tuple(p.run_id for p in runs), 3, False)
    made = driver(tmp_path, Nobody())
    arrays.write(never)  # killed before sbatch
    token = "bbbb"
    known = Array(token, None, tuple(p.run_id for p in runs), 3, False)
    arrays.write(known)  # killed after sbatch, before the number was written
    queue.submit([made._call(p, known) for p in runs], known.name, 3)
    notes = Notes()
    assert len(list(driver(tmp_path, notes).run(runs, Stop()))) == 3
    assert len(queue.submissions) == 1
    assert notes.notes == ["adopting job 101 (3 of 3 tasks alive, 3 running)"]
    assert entries(tmp_path) == []


def test_nothing_is_submitted_while_it_cannot_be_known_what_is_alive(queue: FakeQueue, tmp_path: Path) -> None:
    runs = plan(tmp_path, 3)
    first = driver(tmp_path, Nobody(), jobs=1).run(runs, Stop())
    next(first)
    queue.silent = True
    with pytest.raises(UserError, match=r"whether job 101 is alive .*Unable to contact"):
        list(driver(tmp_path, Nobody(), jobs=1).run(runs[1:], Stop()))
    queue.silent = False
    [entry] = [name for name in entries(tmp_path) if name.startswith("array-")]
    path = tmp_path / "s" / ".submitit" / entry
    path.write_text(path.read_text().replace('"101"', '"107"'))
    with pytest.raises(UserError, match="changed after it was written, and job 101 may be alive") as caught:
        list(driver(tmp_path, Nobody(), jobs=1).run(runs[1:], Stop()))
    assert "scancel 101" in caught.value.hint
    queue.tasks.clear()
    notes = Notes()
    assert len(list(driver(tmp_path, notes, jobs=1).run(runs[1:], Stop()))) == 2
    assert "changed after it was written" in notes.notes[0]
    first.close()


def test_one_driver_at_a_time(queue: FakeQueue, tmp_path: Path) -> None:
    runs = plan(tmp_path, 3)
    place = launcher({"name": "slurm", "jobs": 1})
    first = place.launch(runs, Stop(), Nobody())
    next(first)
    with pytest.raises(UserError, match="another optbench sends runs of"):
        list(place.launch(runs, Stop(), Nobody()))
    assert len(list(first)) == 2


def test_force_is_obeyed_by_tasks_found_too(queue: FakeQueue, tmp_path: Path) -> None:
    runs, queue.ticks = plan(tmp_path, 2), 9
    first = driver(tmp_path, Nobody(), jobs=1).run(runs, Stop())
    next(first)
    found = list(driver(tmp_path, Nobody(), force=True, jobs=1).run(runs, Stop()))
    assert len(found) == 2
    assert all(task.call.args[0].force for task in list(queue.tasks.values())[2:])
    assert len(queue.tasks) == 4  # one was found, and done again as it was not asked for by force
    first.close()


def test_pending_says_so(queue: FakeQueue, tmp_path: Path) -> None:
    stop, notes = Stop(), Notes()
    queue.cpus = 0

    class Impatient(Notes):
        def waiting(self, text: str) -> None:
            notes.waits.append(text)
            stop.requested = True

        def note(self, text: str) -> None:
            notes.notes.append(text)

    assert list(driver(tmp_path, Impatient()).run(plan(tmp_path, 6), stop)) == []
    assert notes.waits[0] == "job 101: 6 pending (Resources)"
    assert notes.waits[-1] == ""
    assert notes.notes == ["job 101: 6 tasks that waited cancelled"]
    assert not queue.tasks
    assert entries(tmp_path) == []


def test_who_stops_waits_for_what_runs(queue: FakeQueue, tmp_path: Path) -> None:
    stop, notes = Stop(), Notes()
    runs = plan(tmp_path, 6)
    seen = []
    for run in driver(tmp_path, notes, jobs=2).run(runs, stop):
        seen.append(run)
        stop.requested = True
    assert 1 < len(seen) <= 4
    assert notes.notes[0].startswith("job 101: ")
    assert "that waited cancelled" in notes.notes[0]
    assert "told to end after the update" in notes.notes[0]
    assert not any(task.seen.alive for task in queue.tasks.values())


def test_who_cannot_wait_leaves_nothing_running(queue: FakeQueue, tmp_path: Path) -> None:
    notes = Notes()
    going = driver(tmp_path, notes, jobs=2).run(plan(tmp_path, 6), Stop())
    next(going)
    going.close()
    assert notes.notes[0].startswith("job 101: ")
    assert notes.notes[0].endswith("cancelled")
    assert not any(task.seen.alive for task in queue.tasks.values())


def test_a_refusal_ends_the_launch_only_where_nothing_is_under_way(
    queue: FakeQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.refuses = 1
    with pytest.raises(UserError, match=r"the queue refused the runs .no such partition"):
        list(driver(tmp_path, Nobody()).run(plan(tmp_path, 2), Stop()))
    assert entries(tmp_path) == []
    monkeypatch.setattr(slurm, "REFUSED_SECONDS", 0.0)
    runs, notes = plan(tmp_path, 7), Notes()

    def fate(planned: Planned) -> str:
        queue.refuses = int(planned is runs[1])
        return ""

    queue.most, queue.fate, queue.cpus = 4, fate, 1
    assert len(list(driver(tmp_path, notes).run(runs, Stop()))) == 7
    assert "no such partition" in notes.notes[0]


# Slurm's own words ----------------------------------------------------------------------------------------------------


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes a command that prints a text, or fails with it."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    def make(command: str, text: str, code: int = 0) -> None:
        path = tmp_path / "bin" / command
        path.write_text(f"#!/bin/sh\ncat <<'END' >&{2 if code else 1}\n{text}\nEND\nexit {code}\n")
        path.chmod(0o755)

    for command in ("srun", "scontrol", "sacct"):
        make(command, "")
    return make


def test_what_slurm_prints_is_understood(says: Callable[..., None], tmp_path: Path) -> None:
    # recorded: squeue and sacct of Slurm 22.05.8. An array that was cancelled as a whole is one line.
    says("squeue", "1_0|COMPLETING|None|vm\n1_2|PENDING|JobArrayTaskLimit|\n1_1|NODE_FAIL|NodeDown|vm\n"
         "6|CANCELLED|Resources|\n7|FAILED|NonZeroExitCode|vm")  # fmt: skip
    says("sacct", "1_1|NODE_FAIL|0:0|vm\n6_[0-4%2]|CANCELLED by 1000|0:0|None assigned\n7|FAILED|9:0|vm\n"
         "7.batch|FAILED|9:0|vm\n8_3|OUT_OF_MEMORY|0:125|n[3]\n9|RUNNING|0:0|n4")  # fmt: skip
    queue = slurm_queue.SlurmQueue(SlurmSettings(), tmp_path)
    seen = queue.look(["1_0", "1_1", "1_2", "6_0", "6_4", "7", "8_3", "9", "10_0"])
    assert {task: str(found) for task, found in seen.items()} == {
        "1_0": "COMPLETING on vm",
        "1_1": "NODE_FAIL on vm",
        "1_2": "PENDING (JobArrayTaskLimit)",
        "6_0": "CANCELLED (by uid 1000)",
        "6_4": "CANCELLED (by uid 1000)",
        "7": "FAILED on vm (exit code 9:0)",
        "8_3": "OUT_OF_MEMORY on n[3] (exit code 0:125)",
        "9": "no longer in the queue (Slurm keeps no account of it)",  # the accounts are behind
        "10_0": "no longer in the queue (Slurm keeps no account of it)",
    }
    assert [task for task, found in seen.items() if found.alive] == ["1_0", "1_2"]
    assert [task for task, found in seen.items() if found.waits] == ["1_2"]


def test_a_job_that_slurm_forgot_is_over_and_silence_is_not_an_end(
    says: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = slurm_queue.SlurmQueue(SlurmSettings(), tmp_path)
    says("squeue", "slurm_load_jobs error: Invalid job id specified", 1)
    says("sacct", "Slurm accounting storage is disabled", 1)
    assert queue.look(["5_0"]) == {"5_0": Seen(GONE, "sacct: Slurm accounting storage is disabled")}
    says("squeue", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)", 1)
    with pytest.raises(QueueSilent, match=r"squeue: .*Unable to contact"):
        queue.look(["5_0"])
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(QueueSilent, match="squeue: No such file"):
        queue.look(["5_0"])


def test_a_refusal_is_said_in_a_line_and_leaves_nothing(
    says: Callable[..., None], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    says("sbatch", "sbatch: error: invalid partition specified: nowhere\n"
         "sbatch: error: Batch job submission failed: Invalid partition name specified", 1)  # fmt: skip
    queue = slurm_queue.SlurmQueue(SlurmSettings(partition="nowhere"), tmp_path / "runs")
    with pytest.raises(SubmissionRefused) as caught:
        queue.submit([dict, dict], "optbench-x", 2)
    words = "invalid partition specified: nowhere; Batch job submission failed: Invalid partition name specified"
    assert str(caught.value) == words
    assert list((tmp_path / "runs").iterdir()) == []
    assert capfd.readouterr() == ("", "")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(SubmissionRefused, match="sbatch: No such file"):
        queue.submit([dict], "optbench-x", 2)


def test_last_words(tmp_path: Path) -> None:
    path = tmp_path / "7_1_0_log.err"
    assert slurm_queue._last_words(tmp_path, "7_1") is None
    path.write_text("Traceback ...\nModuleNotFoundError: No module named 'x'\nsrun: error: vm: task 0: Exited\n")
    assert slurm_queue._last_words(tmp_path, "7_1") == "ModuleNotFoundError: No module named 'x'"
    path.write_text("a warning\nslurmstepd-vm: error: Exceeded job memory limit\nsrun: error: vm: task 0: Killed\n")
    assert OVER_MEMORY.search(slurm_queue._last_words(tmp_path, "7_1") or "")


# a whole driver -------------------------------------------------------------------------------------------------------


@dataclass
class Site:
    """A Slurm of files, and a place to sweep in."""

    folder: Path
    out: Path
    overlay: Path
    slurm: Mapping[str, str]
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def sweep(self, *overrides: str, retries: int = 1) -> subprocess.Popen[str]:
        """Starts the command; runs take a while."""
        command = ["-m", "optbench", "sweep", "--config-dir", str(self.overlay), "--out", str(self.out), "--name", "s"]
        command += ["--engine", "loop", "model=sphere", "optimizer=sleeper", "trainer.start=random"]
        command += ["hydra/launcher=slurm", f"hydra.launcher.retries={retries}", *overrides]
        places = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(places)} | self.slurm
        process = subprocess.Popen(
            [sys.executable, *command], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.started.append(process)
        return process

    def states(self) -> Counter[str]:
        return Counter(task["state"] for task in fake_slurm.tasks(self.folder).values())

    def scancel(self, *tasks: str) -> None:
        subprocess.run([self.folder / "bin" / "scancel", *tasks], env=os.environ | self.slurm, check=True)

    def events(self) -> list[list[str]]:
        return [line.split() for line in (self.folder / "events").read_text().splitlines()]

    def runs(self) -> list[Run]:
        return [read_run(path.parent) for path in sorted(self.out.glob("s/*/run.json"))]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    overlay = launch_parts.write_overlay(tmp_path / "conf")
    made = Site(tmp_path / "slurm", tmp_path / "out", overlay, fake_slurm.install(tmp_path / "slurm"))
    yield made
    made.scancel(*{name.partition("_")[0] for name in fake_slurm.tasks(made.folder)})
    for process in made.started:
        process.kill()
        process.communicate()


def wait_for(what: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def test_the_same_command_adopts_the_array_of_a_killed_driver(site: Site) -> None:
    given = ("trainer.steps=300", "optimizer.pause=0.03", "seeds=4", "hydra.launcher.jobs=2")
    first = site.sweep(*given)
    wait_for(lambda: len(site.runs()) == 2)
    first.kill()
    first.communicate()
    _, err = site.sweep(*given).communicate(timeout=240)
    assert re.search(r"note: adopting job 101 \([1-4] of 4 tasks alive, [012] running\)", err), err
    assert "4 of 4 runs in" in err
    assert [run.status for run in site.runs()] == ["completed"] * 4
    wait_for(lambda: site.states()["COMPLETED"] == 4)
    events = site.events()
    assert Counter(state for state, _ in events) == {"PENDING": 4, "RUNNING": 4, "COMPLETED": 4}  # one array, once
    level = peak = 0
    for state, _ in events:
        level += (state == "RUNNING") - (state == "COMPLETED")
        peak = max(level, peak)
    assert peak == 2
    assert {path.name.partition("_")[0] for path in (site.out / "s" / ".submitit").iterdir()} == {".lock", "101"}


def test_a_cancel_from_outside_and_the_end_of_a_driver(site: Site) -> None:
    driver = site.sweep("trainer.steps=100000", "optimizer.pause=0.02", "seeds=4", "hydra.launcher.jobs=2", "--json")
    wait_for(lambda: len(site.runs()) == 2)
    site.scancel("101_0")
    wait_for(lambda: site.states()["CANCELLED"] == 1)
    wait_for(lambda: any("not by this command" in run.reason for run in site.runs()))
    wait_for(lambda: len(site.runs()) == 3)  # the next one began
    driver.send_signal(signal.SIGTERM)
    out, err = driver.communicate(timeout=120)
    assert driver.returncode == 128 + signal.SIGTERM
    assert "note: job 101_0: CANCELLED on fake, not by this command" in err
    assert "note: job 101: 1 task that waited cancelled, 2 tasks told to end after the update" in err
    rows = json.loads(out)
    assert [row["status"] for row in rows] == ["interrupted"] * 3
    reasons = sorted(row["reason"] for row in rows)
    assert reasons[0].startswith("job 101_0: CANCELLED on fake, not by this command, after step ")
    assert all(reason.startswith("stopped by the user after step ") for reason in reasons[1:])
    assert all(row["steps"] > 0 for row in rows)
    wait_for(lambda: site.states() == {"CANCELLED": 2, "COMPLETED": 2})


def test_no_such_partition_is_one_line(site: Site) -> None:
    driver = site.sweep("seeds=2", "hydra.launcher.partition=nowhere")
    _, err = driver.communicate(timeout=120)
    assert driver.returncode == 2
    assert err == "error: hydra/launcher=slurm: the queue refused the runs (invalid partition specified: nowhere)\n"
    assert site.runs() == []
