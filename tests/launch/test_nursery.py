"""Workers that are forked: they have the driver's module path and environment, and no more than they would have."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from optbench.experiment import Planned, kept_data
from optbench.experiment.kept_data import built_data, keeping_data
from optbench.launch import nursery

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")
DRIVER = """
import json, multiprocessing, os, signal, sys, threading, time
from optbench.launch import nursery

def start(alone=False):
    here, there = multiprocessing.get_context("spawn").Pipe()
    made = nursery.new_process(reporting.report, (there,), alone)
    with nursery.undisturbed():
        made.start()
    there.close()
    return here, made

if __name__ == "__main__":
    import reporting
    found = []
    for alone in (False, False, True):
        here, made = start(alone)
        found.append(here.recv())
        if len(found) == 2:
            os.kill(made.pid, signal.SIGKILL)
            made.join(20)
            found[-1]["code"] = made.exitcode
        else:
            here.send(None)
            made.join(20)
            found[-1]["code"] = made.exitcode
    print(json.dumps(found))
"""
REPORTING = """
import os, signal, sys, threading

def report(pipe):
    pipe.send({
        "path": [p for p in sys.path if p], "parent": os.getppid(), "torch": "torch" in sys.modules,
        "threads": len(os.listdir("/proc/self/task")), "main": sys.modules["__main__"].__dict__.get("start") is None,
        "held": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())), "cwd": os.getcwd(),
        "preloaded": sys.modules.get("optbench.launch.preloaded") is not None,
    })
    pipe.recv()
"""


@LINUX
@pytest.mark.slow
def test_forked_workers_are_what_spawned_ones_would_be(tmp_path: Path) -> None:
    (tmp_path / "driver.py").write_text(textwrap.dedent(DRIVER))
    (tmp_path / "reporting.py").write_text(textwrap.dedent(REPORTING))
    done = subprocess.run([sys.executable, "driver.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    first, second, spawned = json.loads(done.stdout)
    assert first["torch"]
    assert (first["preloaded"], spawned["preloaded"]) == (True, False)
    assert first["parent"] == second["parent"] != spawned["parent"]  # one server
    assert first["threads"] == 1
    assert (first["code"], second["code"], spawned["code"]) == (0, -signal.SIGKILL, 0)
    for key in ("path", "cwd", "held", "main"):
        assert first[key] == spawned[key], key
    deadline = time.monotonic() + 20
    while Path(f"/proc/{first['parent']}").exists():  # the server has no driver any more
        assert time.monotonic() < deadline
        time.sleep(0.1)


@LINUX
def test_where_no_server_can_be_trusted_workers_are_spawned(monkeypatch: pytest.MonkeyPatch) -> None:
    def method() -> str:
        return type(nursery.new_process(print, ())).__name__

    monkeypatch.setattr(sys, "path", ["", "/some/where"])
    assert method() == "_Forked"
    assert type(nursery.new_process(print, (), alone=True)).__name__ == "SpawnProcess"
    monkeypatch.setattr(sys, "path", ["/some:where"])
    assert method() == "SpawnProcess"
    monkeypatch.setattr(sys, "path", ["/some/where"])
    monkeypatch.setattr(sys, "flags", SimpleNamespace(ignore_environment=1, isolated=0))
    assert method() == "SpawnProcess"
    monkeypatch.undo()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert method() == "SpawnProcess"


@LINUX
@pytest.mark.parametrize("before", [None, "/of/the/user"])
def test_the_server_has_our_module_path_and_we_keep_our_environment(
    before: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    if before is None:
        monkeypatch.delenv("PYTHONPATH", raising=False)
    else:
        monkeypatch.setenv("PYTHONPATH", before)
    monkeypatch.setattr(sys, "path", ["", "/first", "/second"])
    monkeypatch.setattr(
        nursery._SERVER, "ensure_running", lambda: seen.append((os.environ["PYTHONPATH"], os.environ["PYTHONSAFEPATH"]))
    )
    nursery.start_server()
    assert seen == [(f"{os.getcwd()}:/first:/second", "1")]
    assert os.environ.get("PYTHONPATH") == before


def test_data_of_one_kind_are_read_once_and_only_where_they_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    import optbench.data.digits as module

    reads = []
    read = module._read
    monkeypatch.setattr(module, "_read", lambda: reads.append(1) or read())
    monkeypatch.setattr(kept_data, "_kept", {})

    def of(**settings: int) -> Any:
        config = {"data": {"_target_": "optbench.data.digits.Digits", "image_size": 8, **settings}}
        return Planned({**config, "seed": len(reads)}, Path("folder"), "0" * 12)

    one, other = of(), of(image_size=16)

    def images(planned: Any) -> torch.Tensor:
        return built_data(planned.config).load("validation").images

    alone = images(one)
    images(one)
    assert len(reads) == 2  # nothing is kept outside
    with keeping_data(one):
        first = images(one)
        assert torch.equal(first, alone)
    with keeping_data(of()):  # another run
        assert images(one) is first
    assert len(reads) == 3
    with keeping_data(other):
        assert images(other).shape[-1] == 16
    with keeping_data(one):
        again = images(one)
    assert again is not first  # one at a time
    assert torch.equal(again, first)
    with keeping_data(replace(one, data_fingerprint="another folder's")):
        assert images(one) is not again
    assert len(kept_data._kept) == 1


FIRST_RUN = """
import sys, tempfile
from pathlib import Path
import optbench.launch.preloaded
from optbench.experiment import Stop, plan_run, run_and_record
out = Path(tempfile.mkdtemp())
planned = plan_run(["model=logistic", "data.image_size=8", "trainer.steps=1"], (), out)  # as the driver does
before = set(sys.modules)
run_and_record(planned, Stop())
print(*sorted(set(sys.modules) - before))
"""
LEAVES = ("models", "losses", "data", "augment", "optimizers", "schedulers")


@pytest.mark.slow
def test_the_first_run_of_a_forked_worker_imports_its_own_parts_alone(tmp_path: Path) -> None:
    """What every run needs, the server has imported."""
    done = subprocess.run(
        [sys.executable, "-c", FIRST_RUN], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=True
    )
    names = done.stdout.split()
    assert "optbench.models.logistic" in names
    ours = [name.split(".") for name in names if name.startswith("optbench.")]
    assert [name for name in ours if name[1] not in LEAVES] == []
    assert not [name for name in names if name.startswith("numpy.")]
