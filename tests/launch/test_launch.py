"""Where runs execute: every planned run ends as one true record, whoever dies on the way."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import launch_parts
import pytest
from members import TESTS

from optbench.config import Composer
from optbench.errors import ConfigError, OutputError, RunFailure, UserError
from optbench.experiment import Planned, Stop, plan_run, plan_sweep, run_and_record
from optbench.experiment.provenance import standing_at
from optbench.launch import Nobody, launcher
from optbench.launch import local as local_module
from optbench.launch.crew import Crew
from optbench.launch.local import LocalLauncher, gpus_for, jobs_that_pay
from optbench.launch.settings import LAUNCHERS, LocalSettings
from optbench.records import Run, Status, read_curves, read_run


@dataclass
class Notes(Nobody):
    """A Watcher that writes down what it is told, by run_id."""

    starts: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    retries: list[tuple[str, str]] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    steps: dict[str, list[int]] = field(default_factory=dict)

    def started(self, planned: Planned, where: str) -> None:
        assert where
        self.places.append(where)
        self.starts.append(planned.run_id)

    def progress(self, planned: Planned, step: int, total: int, row: Mapping[str, Any]) -> None:
        self.steps.setdefault(planned.run_id, []).append(step)

    def retried(self, planned: Planned, why: str) -> None:
        self.retries.append((planned.run_id, why))

    def finished(self, run: Run) -> None:
        self.ends.append(run.run_id)


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return launch_parts.write_overlay(tmp_path_factory.mktemp("launch") / "conf")


Plan = dict[str, Planned]
SURFACE = ["model=sphere", "trainer.steps=40", "trainer.start=random"]
NETWORK = ["model=logistic", "trainer.epochs=3", "trainer.threads=1"]


def plans(overlay: Path, out: Path) -> Plan:
    """One run of every kind that a launcher meets, by what it is."""
    wanted = {
        "plain": [*SURFACE, "optimizer=adam"],
        "plain too": [*SURFACE, "optimizer=adam", "seed=1"],
        "dies once": [*SURFACE, "optimizer=killer", f"optimizer.marker={out}.once"],
        "dies always": [*SURFACE, "optimizer=killer", "optimizer.times=99", f"optimizer.marker={out}.always"],
        "network dies once": [
            *NETWORK,
            "trainer.checkpoint_every=1",
            "optimizer=killer",
            "optimizer.at=100",
            f"optimizer.marker={out}.network",
        ],
        "does not fit": ["model=sphere", "data=digits"],
        "cannot start": ["model=sphere", "trainer.start=[1e9,1e9]"],
        "breaks": [*SURFACE, "optimizer=buggy"],
        "watched": [*SURFACE, "optimizer=sleeper"],
    }
    return {name: plan_run(overrides, [overlay], out) for name, overrides in wanted.items()}


def check_sweep(plan: Plan, runs: Sequence[Run], notes: Notes) -> None:
    """What must hold of the sweep of `plans`, wherever it ran, with one retry."""
    by_id = {run.run_id: run for run in runs}
    assert sorted(by_id) == sorted(item.run_id for item in plan.values())
    assert len(runs) == len(plan) == len(notes.ends)
    got = {name: by_id[item.run_id] for name, item in plan.items()}
    expected = {"dies always": "failed", "cannot start": "failed", "breaks": "failed", "does not fit": "skipped"}
    assert {name: str(run.status) for name, run in got.items()} == {n: expected.get(n, "completed") for n in plan}
    for name, run in got.items():
        on_disk = read_run(plan[name].folder)
        assert (on_disk.run_id, on_disk.status, on_disk.reason) == (run.run_id, run.status, run.reason)
        assert run.reason
        host = None if name == "dies always" else platform.node()
        assert run.summary["provenance"].get("host") == host
    assert got["dies always"].reason.endswith(", 2 attempts")
    died = {item.run_id for name, item in plan.items() if " dies " in f" {name}"}
    assert {run_id for run_id, _ in notes.retries} == died
    assert len(notes.retries) == len(died)
    assert Path(plan["dies always"].config["optimizer"]["marker"]).stat().st_size == 2


@pytest.fixture(scope="module")
def swept(overlay: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, list[Run], Notes]:
    """The sweep of `plans` in two worker processes, one retry."""
    plan, notes = plans(overlay, tmp_path_factory.mktemp("launch") / "runs"), Notes()
    local = launcher({"name": "local", "jobs": 2, "retries": 1})
    return plan, list(local.launch(list(plan.values()), Stop(), notes)), notes


def test_every_run_has_one_record_and_only_the_deadly_one_fails(swept: tuple[Plan, list[Run], Notes]) -> None:
    plan, runs, notes = swept
    check_sweep(plan, runs, notes)
    assert all("signal 9" in why for _, why in notes.retries)
    assert "signal 9" in read_run(plan["dies always"].folder).reason
    starts = {name: notes.starts.count(item.run_id) for name, item in plan.items()}
    assert {name for name, n in starts.items() if n == 2} == {"dies once", "dies always", "network dies once"}
    assert set(starts.values()) == {1, 2}  # nobody is dragged down by another one's death


def test_a_watcher_hears_of_progress(swept: tuple[Plan, list[Run], Notes]) -> None:
    plan, _, notes = swept
    heard = notes.steps[plan["watched"].run_id]
    assert len(heard) >= 2
    assert heard == sorted(heard)


def test_workers_give_the_numbers_of_one_process(
    swept: tuple[Plan, list[Run], Notes], overlay: Path, tmp_path: Path
) -> None:
    # the reference never dies: its markers say that it died already. A network that died goes on from its checkpoint.
    plan, _, _ = swept
    out = tmp_path / "runs"
    for name in ("once", "network"):
        Path(f"{out}.{name}").write_text("x")
    reference = plans(overlay, out)
    for name in ("plain", "plain too", "dies once", "network dies once"):
        alone = run_and_record(reference[name], Stop(), None, False, 1)
        there = read_run(plan[name].folder)
        for column in ("steps", "evals", "final_loss", "best_loss", "best_step", "val_accuracy", "final_grad_norm"):
            assert there.summary[column] == alone.summary[column], (name, column)
        curves = [c.drop(columns="seconds") for c in read_curves([there, alone])]
        assert curves[0].equals(curves[1]), name


def test_what_is_done_is_not_repeated(swept: tuple[Plan, list[Run], Notes]) -> None:
    plan, _, _ = swept
    done, notes = [plan["plain"], plan["does not fit"], plan["dies once"]], Notes()
    runs = list(launcher({"name": "local"}).launch(done, Stop(), notes))
    assert [r.run_id for r in runs] == [p.run_id for p in done] == notes.ends
    assert not notes.starts


@pytest.mark.slow
def test_a_crew_works_for_one_launch_after_another(overlay: Path, tmp_path: Path) -> None:
    first, second = plans(overlay, tmp_path / "first"), plans(overlay, tmp_path / "second")

    notes = Notes()
    with Crew() as crew:
        local = launcher({"name": "local", "jobs": 2, "retries": 0}, crew)
        for each in (first, second):
            runs = list(local.launch([each["plain"], each["plain too"]], Stop(), notes))
            assert [r.status for r in runs] == ["completed", "completed"]
        assert len(set(notes.places)) <= 2  # four runs
        broken = list(local.launch([second["dies always"]], Stop(), notes))  # one that died does not come back
        assert [r.status for r in broken] == ["failed"]
        more = [plan_run([*SURFACE, "optimizer=adam", f"seed={i}"], [overlay], tmp_path / "third") for i in (7, 8, 9)]
        assert [r.status for r in local.launch(more, Stop(), notes)] == ["completed"] * 3
        assert len(set(notes.places)) <= 3
        pids = [int(place.split()[-1]) for place in notes.places]
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_in_this_process(overlay: Path, tmp_path: Path) -> None:
    plan = plans(overlay, tmp_path / "runs")
    names, notes = ("plain", "breaks", "does not fit", "watched"), Notes()
    local = launcher({"name": "local", "jobs": 0})
    runs = list(local.launch([plan[n] for n in names], Stop(), notes))
    assert [r.status for r in runs] == ["completed", "failed", "skipped", "completed"]
    assert len(notes.starts) == 4
    assert notes.steps[plan["watched"].run_id]
    assert local.where([plan["plain"]]) == "in this process"


def test_stop_before_and_between_runs(overlay: Path, tmp_path: Path) -> None:
    plan, stop = plans(overlay, tmp_path / "runs"), Stop()
    local = launcher({"name": "local", "jobs": 0})
    for _ in local.launch([plan["plain"], plan["plain too"]], stop, Nobody()):
        stop.requested = True
    assert plan["plain"].recorded() is not None
    assert plan["plain too"].recorded() is None


@pytest.mark.parametrize("jobs", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_records_that_cannot_be_written_end_the_sweep(overlay: Path, tmp_path: Path, jobs: int) -> None:
    (tmp_path / "file").write_text("in the way")
    blocked = plan_run([*SURFACE, "optimizer=adam"], [overlay], tmp_path / "file")
    slow = plan_run([*SURFACE, "optimizer=sleeper", "trainer.steps=100000"], [overlay], tmp_path / "runs")
    last = plan_run([*SURFACE, "optimizer=adam", "seed=2"], [overlay], tmp_path / "runs")
    order = [slow, blocked, last] if jobs else [blocked, slow, last]
    with pytest.raises(OutputError, match="cannot write") as caught:
        list(launcher({"name": "local", "jobs": jobs}).launch(order, Stop(), Nobody()))
    assert caught.value.hint
    found = slow.recorded()
    if found is not None:  # it had begun: then it was ended in order
        assert found.status is Status.INTERRUPTED
        assert found.reason.startswith("stopped by the user after step")
    assert last.recorded() is None


@pytest.mark.parametrize("jobs", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_record_counts_where_the_driver_reads_it(tmp_path: Path, jobs: int) -> None:
    items = plan_sweep([*SURFACE, "seeds=2"], out=tmp_path, name="runs")
    with standing_at(node="10.0.0.7"):
        before = run_and_record(items[0], Stop())
    assert before.summary["provenance"]["node"] == "10.0.0.7"
    liar = LocalLauncher(LocalSettings(jobs=jobs, retries=1), launch_parts.elsewhere)
    notes = Notes()
    runs = {run.run_id: run for run in liar.launch(items, Stop(), notes, force=True)}
    lost = [runs[item.run_id] for item in items]
    assert [(run.status, run.reason) for run in lost] == [
        (Status.FAILED, "reported completed, but another record is there, 2 attempts"),
        (Status.FAILED, "reported completed, but run.json is missing, 2 attempts"),
    ]
    assert all(read_run(run.path).reason == run.reason for run in lost if run.path)
    assert before.status is Status.COMPLETED
    assert {run_id for run_id, _ in notes.retries} == set(runs)


@pytest.mark.slow
def test_workers_that_cannot_start_are_named(overlay: Path, tmp_path: Path) -> None:
    plan = plans(overlay, tmp_path / "runs")
    broken = LocalLauncher(LocalSettings(jobs=1), launch_parts.stillborn)
    with pytest.raises(RunFailure, match=r"while they start .*exit code 7"):
        list(broken.launch([plan["plain"]], Stop(), Nobody()))


# the driver's death and Ctrl-C ----------------------------------------------------------------------------------------

_DRIVER = """
import sys
from pathlib import Path
from optbench.experiment import interruptible, plan_sweep
from optbench.launch import Nobody, launcher

overlay, out, pause = sys.argv[1:]
planned = plan_sweep(["model=sphere", "optimizer=sleeper", "trainer.steps=100000", "trainer.start=random", "seeds=3",
                      f"optimizer.pause={pause}"], [Path(overlay)], Path(out), "s")
with interruptible() as stop:
    runs = list(launcher({"name": "local", "jobs": 2}).launch(planned, stop, Nobody()))
print("ended", [str(r.status) for r in runs])
"""  # no __main__ guard, on purpose: workers must not run it again


@dataclass
class Driver:
    """A process that sweeps slow runs in two workers."""

    process: subprocess.Popen[str]
    out: Path

    def folders(self) -> list[Path]:
        return [f.parent for f in self.out.glob("s/*/run.json")]

    def workers(self) -> list[int]:
        """Its worker processes, and the server that forks them."""
        return processes(f"OPTBENCH_TEST_OUT={self.out}", "forkserver")


def processes(mark: str, command: str = "") -> list[int]:
    """Processes that inherited `mark` in their environment and whose command line contains `command`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            marked = mark.encode() in (entry / "environ").read_bytes().split(b"\0")
            if marked and command.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def wait_for(what: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


@pytest.fixture
def drive(overlay: Path, tmp_path: Path) -> Iterator[Callable[[float], Driver]]:
    """Starts a driver whose every update takes some seconds' time; both its workers have begun a run."""
    if not Path("/proc").is_dir():
        pytest.skip("processes are looked up in /proc")
    started: list[Driver] = []

    def start(pause: float) -> Driver:
        script, out = tmp_path / "driver.py", tmp_path / "out"
        script.write_text(_DRIVER)
        env = os.environ | {"PYTHONPATH": str(TESTS), "OPTBENCH_TEST_OUT": str(out)}
        process = subprocess.Popen(
            [sys.executable, str(script), str(overlay), str(out), str(pause)],
            env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        driver = Driver(process, out)
        started.append(driver)
        wait_for(lambda: process.poll() is not None or len(driver.folders()) == 2)
        assert process.poll() is None, process.communicate()
        assert len(driver.workers()) == 3
        return driver

    yield start
    for driver in started:
        for pid in driver.workers():
            os.kill(pid, signal.SIGKILL)
        driver.process.kill()
        driver.process.communicate()


@pytest.mark.slow
def test_workers_end_and_save_when_the_driver_is_killed(drive: Callable[[float], Driver]) -> None:
    driver = drive(0.02)
    driver.process.kill()
    wait_for(lambda: not driver.workers())
    runs = [read_run(folder) for folder in driver.folders()]
    assert [r.status for r in runs] == [Status.INTERRUPTED] * 2
    assert all(r.reason.startswith("stopped by the user after step") for r in runs)


@pytest.mark.slow
def test_ctrl_c_ends_runs_in_order(drive: Callable[[float], Driver]) -> None:
    driver = drive(0.02)
    os.killpg(driver.process.pid, signal.SIGINT)  # as a terminal does: everyone in the group
    out, err = driver.process.communicate(timeout=60)
    assert "ended ['interrupted', 'interrupted']" in out
    assert "Traceback" not in err
    assert driver.process.returncode == 0
    assert not driver.workers()
    assert len(driver.folders()) == 2  # the third never began
    assert all(json.loads((f / "run.json").read_text())["steps"] > 0 for f in driver.folders())


@pytest.mark.slow
def test_second_ctrl_c_kills(drive: Callable[[float], Driver]) -> None:
    driver = drive(600.0)
    os.killpg(driver.process.pid, signal.SIGINT)
    time.sleep(2.0)
    assert driver.process.poll() is None
    os.killpg(driver.process.pid, signal.SIGINT)
    try:
        _, err = driver.process.communicate(timeout=30)
    except subprocess.TimeoutExpired:  # the machine was so busy that the driver saw both signals as one
        os.killpg(driver.process.pid, signal.SIGINT)
        _, err = driver.process.communicate(timeout=30)
    assert "KeyboardInterrupt" in err
    wait_for(lambda: not driver.workers())
    assert [read_run(f).status for f in driver.folders()] == [Status.INTERRUPTED] * 2


# how many workers, and the settings -----------------------------------------------------------------------------------


def _surface(steps: int) -> Planned:
    return Planned({"trainer": {"steps": steps, "device": "cpu"}}, Path("x"), "x", engine="loop")


def _network(device: str = "cpu") -> Planned:
    return Planned({"trainer": {"steps": None, "batch_size": 32, "device": device}}, Path("x"), "x")


def test_as_many_workers_as_pay() -> None:
    enough = int(local_module.START_SECONDS / local_module.STEP_SECONDS) + 1
    assert jobs_that_pay([_network()], 8) == 0
    assert jobs_that_pay([_network()] * 3, 8) == 3
    assert jobs_that_pay([_network()] * 30, 8) == 8
    assert jobs_that_pay([_network()] * 3, 1) == 1
    assert jobs_that_pay([_surface(10)] * 50, 8) == 0
    assert jobs_that_pay([_surface(enough)] * 2, 8) == 2
    assert jobs_that_pay([_surface(enough)] * 2, 1) == 0
    assert jobs_that_pay([_surface(enough // 5)] * 22, 8) == 4


def test_one_worker_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert gpus_for([_network("auto"), _network("cuda")]) == ["3", "5"]
    assert gpus_for([_network("auto"), _network("cpu")]) == []
    assert jobs_that_pay([_network("auto")] * 9, 8) == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus_for([_network("auto")]) == []


def test_the_cores_are_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_module, "available_cores", lambda: 8)
    where = LocalLauncher(LocalSettings()).where
    assert where([_network()] * 2) == "in 2 worker processes of 4 threads"
    assert where([_network()] * 20) == "in 8 worker processes of 1 thread"
    assert (
        LocalLauncher(LocalSettings(jobs=3, threads=5))
        .where([_network()] * 9)
        .endswith("3 worker processes of 5 threads")
    )


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"name": "local", "job": 2}, "no key 'job'"),
        ({"name": "local", "jobs": -1}, "jobs=-1: expected a whole number of at least 0, or null"),
        ({"name": "local", "retries": None}, "retries=None: expected a whole number"),
        ({"name": "local", "threads": True}, "threads=True: expected"),
        ({"name": "local", "threads": 1025}, "threads=1025: expected a whole number of at least 1 and at most 1024"),
        ({"name": "ray", "threads": 100_000}, "at most 1024"),
        ({"name": "slurm", "threads": 0}, "at least 1"),
        ({"name": "ray", "address": 3}, "address=3: expected a text, or null"),
        ({"name": "ray", "jobs": 0}, "at least 1"),
        ({"name": "slurm", "cluster": "sge"}, "expected slurm or local"),
        ({"name": "slurm", "minutes": 1.5}, "expected a whole number"),
        ({"name": "dask"}, "expected local, ray, slurm, not dask"),
        ({"_target_": "hydra._internal.core_plugins.basic_launcher.BasicLauncher"}, "BasicLauncher"),
    ],
)
def test_wrong_settings_are_named(node: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        launcher(node)


def composed(*overrides: str) -> dict[str, Any]:
    with Composer() as composer:
        return dict(composer.compose(overrides).launcher)


@pytest.mark.parametrize("name", LAUNCHERS)
def test_the_yaml_of_a_launcher_is_its_defaults(name: str) -> None:
    node = composed(f"hydra/launcher={name}")
    assert node.pop("name") == name
    defaults = LAUNCHERS[name]()
    assert node == vars(defaults)


def test_launchers_compose() -> None:
    assert composed()["name"] == "local"
    assert composed("hydra/launcher=ray", "hydra.launcher.address=auto")["address"] == "auto"
    with pytest.raises(ConfigError, match="job"):
        composed("hydra.launcher.job=2")
    with pytest.raises(ConfigError, match=r"dask.*local, ray, slurm"):
        composed("hydra/launcher=dask")


# Ray and Slurm --------------------------------------------------------------------------------------------------------


def needs(module: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(module) is None
    return pytest.mark.skipif(missing, reason=f"{module} is not installed: pip install 'optbench[ray,slurm]'")


ONE_CLUSTER = pytest.mark.xdist_group("ray")
"""Two Ray clusters at once are more than two cores can start in time, and one would be found by the other's tests."""


@pytest.mark.slow
@needs("submitit")
def test_slurm_by_its_local_executor(overlay: Path, tmp_path: Path) -> None:
    everything, notes = plans(overlay, tmp_path / "runs"), Notes()
    plan = {name: everything[name] for name in ("plain", "dies once", "dies always", "does not fit")}
    slurm = launcher({"name": "slurm", "cluster": "local", "jobs": 2, "retries": 1})
    check_sweep(plan, list(slurm.launch(list(plan.values()), Stop(), notes)), notes)


@pytest.mark.slow
@ONE_CLUSTER
@needs("ray")
def test_ray_started_here(overlay: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTBENCH_TEST_RAY", str(tmp_path))
    plan, notes = plans(overlay, tmp_path / "runs"), Notes()
    here = launcher({"name": "ray", "retries": 1})
    check_sweep(plan, list(here.launch(list(plan.values()), Stop(), notes)), notes)
    assert all(why == "worker lost: WorkerCrashedError" for _, why in notes.retries)
    assert set(notes.starts) == {item.run_id for item in plan.values()}
    assert notes.steps[plan["watched"].run_id]
    wait_for(lambda: not processes(f"OPTBENCH_TEST_RAY={tmp_path}", "ray"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"name": "ray", "jobs": 2}, marks=[needs("ray"), ONE_CLUSTER]),
        pytest.param({"name": "slurm", "cluster": "local", "jobs": 2}, marks=needs("submitit")),
    ],
)
def test_stop_in_order_elsewhere(settings: dict[str, Any], overlay: Path, tmp_path: Path) -> None:
    stop = Stop()
    changes = ["optimizer=sleeper", "trainer.steps=100000"]
    slow = [plan_run([*SURFACE, *changes, f"seed={i}"], [overlay], tmp_path / "runs") for i in range(5)]

    class Asks(Notes):
        def started(self, planned: Planned, where: str) -> None:
            super().started(planned, where)
            stop.requested = len(self.starts) == 2

    runs = list(launcher(settings).launch(slow, stop, Asks()))
    assert len(runs) == 2
    assert {r.status for r in runs} == {Status.INTERRUPTED}
    assert all(r.reason.startswith("stopped by the user after step") for r in runs)
    assert sum(item.recorded() is not None for item in slow) == 2


@needs("ray")
@ONE_CLUSTER
@pytest.mark.slow
@pytest.mark.parametrize("address", ["auto", "127.0.0.1:1"])
def test_no_ray_cluster_there(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._private import services

    # "auto" finds whatever cluster this machine runs, another's too: here the machine has none
    monkeypatch.setattr(services, "find_gcs_addresses", functools.cache(lambda: set()))
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    item = plan_run(SURFACE, (), tmp_path)
    with pytest.raises(UserError, match="no Ray cluster there") as caught:
        list(launcher({"name": "ray", "address": address}).launch([item], Stop(), Nobody()))
    assert "ray start" in caught.value.hint


@pytest.mark.parametrize(("name", "module"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_missing_extra_is_named(name: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError) as caught:
        launcher({"name": name})
    assert f"optbench[{name}]" in caught.value.hint
