"""Slurm's commands for tests, as far as optbench and submitit use them; what they know is in files of $FAKE_SLURM.

    fake_slurm.py sbatch SCRIPT | srun ... | squeue ... | scancel ... | sacct ... | scontrol ...

A job is carried out by a process that sbatch leaves behind: it starts tasks within the array's limit, passes a cancel
on as SIGTERM and writes down how each one is: TASK.json. `events` has a line for each start and end.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(os.environ.get("FAKE_SLURM", "."))


def install(folder: Path) -> dict[str, str]:
    """Makes the commands in a folder; returns the environment in which they are Slurm."""
    (folder / "bin").mkdir(parents=True)
    for name in ("sbatch", "srun", "squeue", "scancel", "sacct", "scontrol"):
        path = folder / "bin" / name
        command = shlex.join([sys.executable, __file__, name])
        # under LC_ALL=C Python does not read the .pth files of an environment whose path is not ASCII
        path.write_text(f'#!/bin/sh\nLC_ALL=C.UTF-8 exec {command} "$@"\n')
        path.chmod(0o755)
    return {"FAKE_SLURM": str(folder), "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}


def tasks(folder: Path) -> dict[str, dict[str, Any]]:
    """What is known of every task."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        with contextlib.suppress(OSError, ValueError):
            found[path.stem] = json.loads(path.read_text())
    return found


def _write(task: str, **facts: Any) -> None:
    path = HERE / f"{task}.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(known | facts))
    temporary.replace(path)
    if "state" in facts:
        with (HERE / "events").open("a") as file:
            file.write(f"{facts['state']} {task}\n")


def sbatch(script: str) -> None:
    text = Path(script).read_text()
    options = dict(re.findall(r"#SBATCH --([\w-]+)=(.*)", text))
    if options.get("partition") == "nowhere":
        sys.exit("sbatch: error: invalid partition specified: nowhere")
    number = 101 + len({name.partition("_")[0] for name in tasks(HERE)})
    (HERE / f"{number}.sh").write_text(text)
    array = re.fullmatch(r"0-(\d+)%(\d+)", options.get("array", ""))
    names = [f"{number}_{i}" for i in range(int(array[1]) + 1)] if array else [str(number)]
    for name in names:
        _write(name, state="PENDING", why="Resources", name=options["job-name"])
    subprocess.Popen(
        [sys.executable, __file__, "carry_out", str(number), array[2] if array else "1", *names],
        start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    print(f"Submitted batch job {number}")


def carry_out(number: str, limit: str, *names: str) -> None:
    """The life of a job."""
    waiting, running = list(names), dict[str, subprocess.Popen[bytes]]()
    while waiting or running:
        for name in [n for n in waiting if (HERE / f"{n}.cancel").exists()]:
            waiting.remove(name)
            _write(name, state="CANCELLED", why="None")
        while waiting and len(running) < int(limit) and not (HERE / "hold").exists():
            name = waiting.pop(0)
            job, _, index = name.partition("_")
            ids = {"SLURM_JOB_ID": job} | ({"SLURM_ARRAY_JOB_ID": job, "SLURM_ARRAY_TASK_ID": index} if index else {})
            running[name] = subprocess.Popen(
                ["bash", str(HERE / f"{number}.sh")], env=os.environ | ids, start_new_session=True
            )
            _write(name, state="RUNNING", why="None", pid=running[name].pid)
        for name, process in list(running.items()):
            cancelled = HERE / f"{name}.cancel"
            if process.poll() is not None:
                del running[name]
                ended = "COMPLETED" if process.returncode == 0 else "FAILED"
                _write(name, state="CANCELLED" if cancelled.exists() else ended, why="None")
            elif cancelled.exists() and cancelled.stat().st_size == 0:
                cancelled.write_text("told")
                os.killpg(process.pid, 15)
        time.sleep(0.1)


def srun(*arguments: str) -> None:
    rest = list(arguments)
    paths: dict[str, str] = {}
    while rest[0].startswith("--"):
        option = rest.pop(0)
        if option in ("--output", "--error"):
            paths[option] = rest.pop(0)
    ids = {"%j": "SLURM_JOB_ID", "%A": "SLURM_ARRAY_JOB_ID", "%a": "SLURM_ARRAY_TASK_ID"}
    for number, option in ((1, "--output"), (2, "--error")):
        path = paths[option].replace("%t", "0")
        for short, name in ids.items():
            path = path.replace(short, os.environ.get(name, ""))
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), number)
    os.execvp(rest[0], rest)


def squeue(*arguments: str) -> None:
    options = dict(a.removeprefix("--").partition("=")[::2] for a in arguments)
    known = tasks(HERE)
    if "name" in options:
        print("\n".join({n.partition("_")[0] for n, t in known.items() if t["name"] == options["name"]}))
        return
    wanted = options["jobs"].split(",")
    for name, task in known.items():
        if name.partition("_")[0] in wanted and not (task["state"] == "CANCELLED" and "pid" not in task):
            print(f"{name}|{task['state']}|{task['why']}|{'fake' if 'pid' in task else ''}")


def scancel(*arguments: str) -> None:
    known = tasks(HERE)
    for wanted in (a for a in arguments if not a.startswith("--")):
        for name, task in known.items():
            if wanted in (name, name.partition("_")[0]) and (
                task["state"] == "PENDING" or (task["state"] == "RUNNING" and "--state=PENDING" not in arguments)
            ):
                (HERE / f"{name}.cancel").touch()
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline and any(
        t["state"] == "PENDING" and (HERE / f"{n}.cancel").exists() for n, t in tasks(HERE).items()
    ):
        time.sleep(0.05)


def sacct(*arguments: str) -> None:
    sys.exit("Slurm accounting storage is disabled")


def scontrol(*arguments: str) -> None:
    print("MaxArraySize            = 1001")


def main(command: str, arguments: Sequence[str]) -> None:
    """Does what a command does."""
    globals()[command](*arguments)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
