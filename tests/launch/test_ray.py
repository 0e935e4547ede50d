"""Runs on Ray clusters of several nodes, on this machine but with processes, addresses and disks of their own."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import launch_parts
import pytest
from members import TESTS
from test_launch import NETWORK, ONE_CLUSTER, SURFACE, Notes, needs, processes

import optbench
from optbench.errors import RecordError, UserError
from optbench.experiment import Planned, Stop, interruptible, plan_run, plan_sweep, run_and_record
from optbench.experiment.plan import data_fingerprint
from optbench.experiment.sources import sources
from optbench.launch import Nobody, launcher
from optbench.launch.errand import Mark, marked, unfit_for
from optbench.launch.outpost import facts, unfit
from optbench.launch.parcel import pack, unpack
from optbench.launch.ray_cluster import RayLauncher
from optbench.launch.settings import RaySettings
from optbench.records import Run, Status, read_curves, read_run

PACKAGE = Path(optbench.__file__).parent


@dataclass
class Told(Notes):
    """Notes that also keep what a launcher has to say."""

    said: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.said.append(text)


# without a cluster ---------------------------------------------------------------------------------------------------


def test_a_folder_travels_as_it_is_and_into_no_other_place(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    files = {"run.json": b"{}", "metrics.csv": b"step\n0\n", "last.pt": b"\x00\xff", "checkpoints/epoch-2.pt": b"x"}
    for name, data in files.items():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_bytes(data)
    (here / ".lock").touch()
    (here / "endless").symlink_to("/dev/zero")
    assert pack(here) == files
    (there / "checkpoints").mkdir(parents=True)
    (there / "checkpoints" / "epoch-1.pt").write_bytes(b"of an earlier attempt")
    (there / "notes.txt").write_bytes(b"the user's")
    unpack(pack(here), there)
    assert pack(there) == files | {"notes.txt": b"the user's"}
    for name in ("../x", "/x", "a/../../x", "..\\x", ""):
        with pytest.raises(RecordError, match="returned a file named"):
            unpack({name: b""}, there)


def test_a_mark_is_seen_where_it_lies(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    theirs.mkdir()
    with marked([ours]) as mark:
        assert mark.seen(ours)
        assert not mark.seen(theirs)
        assert not mark.seen(tmp_path / "nowhere")
        assert not Mark(mark.name, "another").seen(ours)  # a copy of the folder, made when another driver had it
    assert not list(ours.iterdir())


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("torch", "1.0", "it has torch .*, here is 1.0"),
        ("optbench", "99", "it has optbench .*, here is 99"),
        ("Python", "2.7", "it has Python 3.*, here is 2.7"),
        ("source", "0", "its optbench .* has another source"),
    ],
)
def test_a_machine_with_other_versions_is_not_fit(name: str, value: str, words: str) -> None:
    assert unfit(facts()) is None
    why = unfit(facts() | {name: value})
    assert why is not None
    assert re.match(words, why)


def test_a_machine_with_other_code_or_data_is_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_part.py").write_text("import collections\nOptimizer = collections.Counter\n")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(b"one")
    monkeypatch.syspath_prepend(tmp_path)
    config: dict[str, Any] = {
        "choices": {"data": "mine"},
        "data": {"_target_": "own_part.Optimizer", "root": str(tmp_path / "pictures")},
        "optimizer": {"_target_": "own_part.Optimizer"},
    }
    config["sources"] = sources(config)
    here = Planned(config, tmp_path, "x", data_fingerprint=data_fingerprint(config))
    assert unfit_for(here) is None
    other_code = replace(here, config=config | {"sources": config["sources"] | {"optimizer": "0" * 12}})
    assert unfit_for(other_code) == "the source or a file of optimizer differs from the one here"
    assert str(unfit_for(replace(here, data_fingerprint="0" * 64))).endswith("pictures holds something else there")
    nowhere = config | {"data": config["data"] | {"root": str(tmp_path / "gone")}}
    assert "gone" in str(unfit_for(replace(here, config=nowhere)))
    missing = config | {"optimizer": {"_target_": "no_such_part.Optimizer"}}
    assert str(unfit_for(replace(here, config=missing))).startswith("no_such_part.Optimizer cannot be imported there")


# clusters ------------------------------------------------------------------------------------------------------------


@dataclass
class Cluster:
    """Ray nodes as several machines would be: own addresses, own processes, and where wanted other disks."""

    address: str
    folder: str
    nodes: int = 0

    def add(self, cpus: int = 1, hide: Sequence[Path] = (), **environment: str) -> None:
        """Starts a node, the first one as the head; folders of `hide` are empty for it."""
        self.nodes += 1
        number, (_, _, port) = self.nodes, self.address.partition(":")
        where = [f"--address={self.address}"]
        if number == 1:
            where = ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={self.folder}"]
        common = [f"--node-ip-address=127.0.0.{number}", f"--num-cpus={cpus}", "--object-store-memory=100000000"]
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", *where, *common, "--disable-usage-stats"]
        if hide:
            mounts = " && ".join(f"mount -t tmpfs tmpfs '{path}'" for path in hide)
            command = ["unshare", "-m", "sh", "-c", f'{mounts} && exec "$0" "$@"', *command]
        env = os.environ | {"OPTBENCH_TEST_NODE": f"{self.folder}-{number}"} | environment
        subprocess.run(command, env=env, check=True, capture_output=True, text=True, timeout=180)

    def node(self, number: int, command: str = "") -> list[int]:
        return processes(f"OPTBENCH_TEST_NODE={self.folder}-{number}", command)

    def kill(self, number: int, command: str = "") -> None:
        """As if someone pulled the plug: everything of the node at once, or what is called `command`."""
        while found := self.node(number, command):
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def free_port() -> int:
    """A port below those that the system hands out, and that Ray's own workers take."""
    for port in random.sample(range(20_000, 32_000), 100):
        with contextlib.suppress(OSError), socket.socket() as free:
            free.bind(("0.0.0.0", port))
            return port
    raise AssertionError("no port is free")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A cluster without nodes yet."""
    if not Path("/proc").is_dir():
        pytest.skip("processes are looked up in /proc")
    folder = tempfile.mkdtemp(prefix="ray")  # short: sockets are in it
    port = free_port()
    made = Cluster(f"127.0.0.1:{port}", folder)
    try:
        yield made
    finally:
        for number in range(made.nodes, 0, -1):
            made.kill(number)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def disks() -> None:
    """Skips where a node cannot have a disk of its own."""
    tried = (
        subprocess.run(["unshare", "-m", "true"], capture_output=True, text=True) if shutil.which("unshare") else None
    )
    if tried is None or tried.returncode:
        why = tried.stderr.strip() if tried else "there is no unshare"
        pytest.skip(f"a node without this disk is made by `unshare -m` and a tmpfs, which is not allowed here: {why}")


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    return launch_parts.write_overlay(tmp_path / "conf")


def on(cluster: Cluster, **settings: Any) -> Any:
    return launcher({"name": "ray", "address": cluster.address, **settings})


def same_numbers(runs: Sequence[Run], others: Sequence[Run]) -> None:
    """The records of the same runs agree bit for bit, in all but times and places."""
    by_id = {run.run_id: run for run in others}
    assert len(by_id) == len(runs) == len({run.run_id for run in runs})
    for run in runs:
        other = by_id[run.run_id]
        for key in ("status", "reason", "steps", "evals", "final_loss", "best_loss", "best_step", "val_accuracy"):
            assert run.summary[key] == other.summary[key], key
        curves = [curve.drop(columns="seconds") for curve in read_curves([run, other])]
        assert curves[0].equals(curves[1])


def nodes_of(runs: Sequence[Run]) -> set[str]:
    return {run.summary["provenance"]["node"] for run in runs}


def slow(test: Any) -> Any:
    """A test with a cluster."""
    return pytest.mark.slow(ONE_CLUSTER(needs("ray")(test)))


@slow
@pytest.mark.parametrize("whole", [True, False], ids=["the node", "its raylet"])
def test_the_loss_of_a_node_is_one_line(
    whole: bool, overlay: Path, tmp_path: Path, cluster: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    cluster.add()
    cluster.add()
    marker = tmp_path / "lost"
    changes = ["optimizer=straggler", f"optimizer.marker={marker}", "seeds=6"]
    slow_ones = plan_sweep([*SURFACE, *changes], [overlay], tmp_path, "runs")
    where: dict[str, set[int]] = {}

    class Kills(Notes):
        def started(self, planned: Planned, where_it_is: str) -> None:
            super().started(planned, where_it_is)
            pid = int(where_it_is.rpartition(" ")[2])
            number = 2 if pid in cluster.node(2) else 1
            where.setdefault(planned.run_id, set()).add(number)
            if number == 2:
                marker.touch()
                cluster.kill(2, "" if whole else "raylet/raylet")

    notes = Kills()
    capfd.readouterr()
    runs = list(on(cluster).launch(slow_ones, Stop(), notes))
    assert capfd.readouterr() == ("", "")  # what Ray has to say of it is 40 lines
    assert {r.run_id for r in runs} == {p.run_id for p in slow_ones}
    assert {r.status for r in runs} == {Status.COMPLETED}
    assert [why for _, why in notes.retries] == ["Ray node 127.0.0.2 was lost"]
    lost = {run_id for run_id, _ in notes.retries}
    assert {run_id for run_id, nodes in where.items() if 2 in nodes} == lost
    assert where[lost.pop()] == {1, 2}
    assert cluster.node(1, "raylet")  # what was there stays there


@slow
def test_no_more_runs_at_once_than_cpus(overlay: Path, tmp_path: Path, cluster: Cluster) -> None:
    cluster.add(cpus=2)
    marker = tmp_path / "marker"
    changes = ["optimizer=sleeper", "optimizer.pause=0.01", f"optimizer.marker={marker}", "seeds=10"]
    runs = plan_sweep([*SURFACE, *changes], [overlay], tmp_path, "runs")
    ray = RayLauncher(RaySettings(address=cluster.address), launch_parts.noted)
    assert len(list(ray.launch(runs, Stop(), Nobody()))) == 10
    at_once, most = 0, 0
    for line in marker.read_text().split():
        at_once += 1 if line == "begins" else -1
        most = max(most, at_once)
    assert most == 2


@slow
def test_a_node_without_the_disk_sends_its_records_back(
    overlay: Path, tmp_path: Path, cluster: Cluster, disks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, cache = tmp_path / "runs", tmp_path / "cache"
    out.mkdir()
    cluster.add()
    cluster.add(hide=[out], OPTBENCH_CACHE=str(cache))
    changes = ["optimizer=sleeper", "optimizer.pause=0.02", "seeds=10"]
    planned = plan_sweep([*SURFACE, *changes], [overlay], out, "s")
    notes = Told()
    runs = list(on(cluster).launch(planned, Stop(), notes))
    assert len(nodes_of(runs)) == 2
    assert [text for text in notes.said if "127.0.0.2" in text and "travel back" in text] == notes.said
    assert len(notes.said) == 1
    assert {run.path for run in runs} == {item.folder for item in planned}
    on_disk = [item.recorded() for item in planned]
    same_numbers([run for run in on_disk if run is not None], runs)
    same_numbers(runs, [run_and_record(replace(p, folder=tmp_path / "local" / p.folder.name), Stop()) for p in planned])
    left = [path for path in out.rglob(".*") if path.name != ".lock"]
    assert not left
    assert not list(cache.glob("runs/*/*"))  # nothing stays on the other machine


@slow
def test_an_interrupted_network_goes_on_where_the_disk_is_not(
    overlay: Path, tmp_path: Path, cluster: Cluster, disks: None
) -> None:
    out = tmp_path / "runs"
    out.mkdir()
    cluster.add(cpus=0)
    cluster.add(hide=[out])
    item = plan_run([*NETWORK, "optimizer=sleeper", "optimizer.pause=0.03"], [overlay], out)

    class Asks(Notes):
        def progress(self, planned: Planned, step: int, total: int, row: Mapping[str, Any]) -> None:
            super().progress(planned, step, total, row)
            if step > 20 and not stop.requested:
                os.kill(os.getpid(), signal.SIGTERM)  # which Ray would take for itself

    with interruptible() as stop:
        [first] = list(on(cluster).launch([item], stop, Asks()))
    assert stop.exit_code == 143
    assert first.status is Status.INTERRUPTED
    assert first.summary["steps"] > 20
    assert (item.folder / "last.pt").exists()
    notes = Told()
    [run] = list(on(cluster).launch([item], Stop(), notes))
    assert run.status is Status.COMPLETED
    assert notes.steps[item.run_id][0] > first.summary["steps"]
    assert nodes_of([first, run]) == {"127.0.0.2"}
    same_numbers(
        [read_run(item.folder)], [run_and_record(replace(item, folder=tmp_path / "x" / item.folder.name), Stop())]
    )


@slow
def test_nodes_that_cannot_serve_are_left_out(overlay: Path, tmp_path: Path, cluster: Cluster, disks: None) -> None:
    other = tmp_path / "site"
    (other / "torch-1.0.dist-info").mkdir(parents=True)
    (other / "torch-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 1.0\n")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "torch.py").write_text("raise ImportError('libsomething.so is missing')\n")
    path = os.environ.get("PYTHONPATH", "")
    cluster.add()
    cluster.add(hide=[PACKAGE])
    cluster.add(PYTHONPATH=f"{other}{os.pathsep}{path}")
    cluster.add(PYTHONPATH=f"{broken}{os.pathsep}{path}")
    cluster.add(hide=[TESTS])
    changes = ["optimizer=sleeper", "optimizer.pause=0.05", "seeds=12"]
    planned = plan_sweep([*SURFACE, *changes], [overlay], tmp_path, "runs")
    notes = Told()
    runs = list(on(cluster).launch(planned, Stop(), notes))
    assert [run.status for run in runs] == [Status.COMPLETED] * 12
    assert not notes.retries
    said = {text.split()[2]: text for text in notes.said}
    assert len(said) == len(notes.said)
    assert all("is left out: " in text for text in notes.said)
    expected = {
        2: ("it has no optbench", "another source"),  # where another checkout is installed beside this one
        3: ("it has torch 1.0, here is ",),
        4: ("torch cannot be imported there (ImportError: libsomething.so is missing)",),
        5: ("launch_parts.Sleeper cannot be imported there (ModuleNotFoundError",),
    }
    for number, words in expected.items():
        assert any(word in said[f"127.0.0.{number}"] for word in words), said
    assert not {f"127.0.0.{number}" for number in expected} & nodes_of(runs)


@slow
def test_a_cluster_where_no_node_can_serve(overlay: Path, tmp_path: Path, cluster: Cluster) -> None:
    other = tmp_path / "site"
    (other / "torch-1.0.dist-info").mkdir(parents=True)
    (other / "torch-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 1.0\n")
    cluster.add(cpus=0)
    cluster.add(PYTHONPATH=f"{other}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    item = plan_run([*SURFACE, "optimizer=sleeper"], [overlay], tmp_path)
    with pytest.raises(UserError, match=r"no node .* can serve; 127.0.0.2 .*it has torch 1.0, here is") as caught:
        list(on(cluster).launch([item], Stop(), Nobody()))
    assert "the same optbench, torch and Python" in caught.value.hint
    with pytest.raises(UserError, match=r"no node of the Ray cluster has 64 CPUs for a run \(.*127.0.0.2: CPUs 1"):
        list(on(cluster, threads=64).launch([item], Stop(), Nobody()))
    assert item.recorded() is None


@slow
def test_another_version_of_ray_is_named(overlay: Path, tmp_path: Path, cluster: Cluster) -> None:
    import ray
    from ray._common.usage.usage_constants import CLUSTER_METADATA_KEY
    from ray._private.ray_constants import KV_NAMESPACE_CLUSTER
    from ray._raylet import GcsClient

    cluster.add()
    client = GcsClient(address=cluster.address)
    known = json.loads(client.internal_kv_get(CLUSTER_METADATA_KEY, namespace=KV_NAMESPACE_CLUSTER))
    told = json.dumps(known | {"ray_version": "2.1.0"}).encode()
    client.internal_kv_put(CLUSTER_METADATA_KEY, told, overwrite=True, namespace=KV_NAMESPACE_CLUSTER)
    item = plan_run([*SURFACE, "optimizer=sleeper"], [overlay], tmp_path)
    with pytest.raises(UserError) as caught:
        list(on(cluster).launch([item], Stop(), Nobody()))
    assert "has Ray 2.1.0 and Python" in caught.value.message
    assert f"this machine Ray {ray.__version__}" in caught.value.message
    assert "ray==2.1.0" in caught.value.hint
    assert "\n" not in caught.value.message + caught.value.hint
