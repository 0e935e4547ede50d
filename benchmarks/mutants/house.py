"""Where tests run: a copy of the tree, and processes forked from one that has loaded the libraries.

The user's own tree is never touched, so a killed session leaves no changed source behind. Python's cached bytecode is
believed by the hash of its source, never by time and size: two mutants of one second and one length are common.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PARTS = ("src", "conf", "tests", "docs", "examples", "benchmarks", "outputs")
FILES = ("*.md", "*.toml", "*.txt", "*.yml", "*.cff", "LICENSE", "Makefile")
LIBRARIES = (
    "torch", "torch.func", "torch.optim.lr_scheduler", "torch.utils.data", "numba", "numpy",
    "scipy.stats", "scipy.optimize", "scipy.linalg", "pandas", "pyarrow.parquet", "pyarrow.compute",
    "pyarrow.dataset", "hydra", "omegaconf", "typer", "rich.table", "rich.progress",
    "sklearn.datasets", "PIL.Image", "hypothesis", "pytest", "coverage", "flint",
    "yaml",
)  # fmt: skip
MEMORY = 8 << 30  # bytes of a test process; a mutant may ask for all there is
PATIENCE = 8.0
"""How many times longer than the unmutated tests a mutant may take, in CPU seconds, before it counts as endless."""
START = 15.0  # CPU seconds more: imports, collection, compiled kernels


@dataclass(frozen=True)
class House:
    """A copy of the tree and the scratch folders of the processes that run in it."""

    root: Path

    @property
    def package(self) -> Path:
        return self.root / "tree" / "src" / "optbench"

    @property
    def tree(self) -> Path:
        return self.root / "tree"

    @property
    def kernels(self) -> Path:
        return self.root / "kernels"


def built(source: Path, root: Path, kernels: Path) -> House:
    """A house with a copy of `source`, and of the kernels that an earlier session compiled of the unmutated tree."""
    house = House(root)
    house.tree.mkdir(parents=True)
    for part in PARTS:
        shutil.copytree(
            source / part, house.tree / part, ignore=shutil.ignore_patterns("__pycache__", "results", "sweeps")
        )
    if kernels.exists():
        shutil.copytree(kernels, house.kernels)
    for path in (path for pattern in FILES for path in source.glob(pattern)):
        shutil.copy2(path, house.tree / path.name)
    words = ("-m", "compileall", "-q", "--invalidation-mode", "checked-hash", house.tree / "src")
    subprocess.run([sys.executable, *map(str, words)], check=True)
    return house


def load_libraries() -> None:
    """Loads what tests use and mutants leave alone; what is not installed is not used either."""
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(1)


@dataclass(frozen=True)
class Ended:
    """How a test process ended: pytest's exit code, or None when it was stopped; its words; wall seconds."""

    code: int | None
    words: str
    seconds: float


def in_fork(house: House, tests: Sequence[str], plugins: Sequence[Any], cpu: float, keep_kernels: bool) -> Ended:
    """Runs pytest on `tests` in a process of its own.

    Args:
        house: its copy of the tree, where the mutant already is.
        tests: node ids, or files, relative to the tree.
        plugins: of pytest.
        cpu: CPU seconds that it may take; ten times as many by the clock, since other processes may run.
        keep_kernels: whether the compiled kernels of the unmutated tree may be used.
    """
    scratch = house.root / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    if keep_kernels and house.kernels.exists():
        shutil.copytree(house.kernels, scratch / "cache")
    said, began = scratch / "words.txt", time.monotonic()
    child = os.fork()
    if child == 0:
        try:
            _become(house, scratch, said, cpu)
            pytest: Any = importlib.import_module("pytest")
            words = ["-x", "-q", "-p", "no:cacheprovider", "--tb=line", f"--basetemp={scratch / 't'}"]
            words += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of hypothesis, which is loaded already
            code = int(pytest.main([*words, *tests], plugins=list(plugins)))
            sys.stdout.flush()
            os._exit(code)
        except BaseException as error:
            print("the test process broke:", repr(error), flush=True)
            os._exit(3)
    try:
        code = _wait(child, 10.0 * cpu + 60.0)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # what it started
    return Ended(code, said.read_text(errors="replace") if said.exists() else "", time.monotonic() - began)


def _become(house: House, scratch: Path, said: Path, cpu: float) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what runs in its background deaf to it
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    file = os.open(said, os.O_WRONLY | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    resource.setrlimit(resource.RLIMIT_CPU, (int(cpu) + 1, int(cpu) + 1))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    (scratch / "tmp").mkdir()
    os.environ.pop("OPTBENCH_CACHE", None)  # where a user's cache is by default, there the tests' is
    os.environ |= {
        "PYTHONPATH": str(house.tree / "src"),
        "XDG_CACHE_HOME": str(scratch / "cache"),
        "TMPDIR": str(scratch / "tmp"),
        "OMP_NUM_THREADS": "1",
        "MPLBACKEND": "agg",
    }
    os.chdir(house.tree)
    sys.path[:0] = [str(house.tree / "src"), str(house.tree / "tests")]
    optbench: Any = importlib.import_module("optbench")
    if not Path(optbench.__file__).is_relative_to(house.tree):
        raise RuntimeError(f"optbench comes from {optbench.__file__}, not from the copy")


def _wait(child: int, seconds: float) -> int | None:
    """The exit code of a process; None when a signal or the deadline ended it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None
