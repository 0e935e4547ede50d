"""Where a number comes from: versions, commit, host, device, threads, flags. Part of every record, of no identity."""

from __future__ import annotations

import contextlib
import functools
import platform
import subprocess
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from optbench.paths import conf_folder

_PACKAGES = ("optbench", "torch", "torchvision", "numpy", "hydra-core", "omegaconf")

_ELSEWHERE: ContextVar[Mapping[str, str] | None] = ContextVar("_ELSEWHERE", default=None)


@contextlib.contextmanager
def standing_at(**facts: str) -> Iterator[None]:
    """Within it, records name more of the place than its host: a node's address, a job's number."""
    token = _ELSEWHERE.set(facts)
    try:
        yield
    finally:
        _ELSEWHERE.reset(token)


def place() -> dict[str, str]:
    """Where this process runs: its `host`, and what `standing_at` adds."""
    return {"host": platform.node(), **(_ELSEWHERE.get() or {})}


@functools.cache
def package_version(name: str) -> str | None:
    """Installed version of a distribution; None when it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


@functools.cache
def source_commit() -> dict[str, Any]:
    """Commit and dirty flag of the checkout that optbench runs from; empty for an installed wheel."""
    top = conf_folder().parent
    if not (top / ".git").exists():
        return {}

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(top), *words], capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        return {"git_commit": git("rev-parse", "HEAD"), "git_dirty": bool(git("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):  # no git, or a checkout it refuses: not worth failing a run
        return {}


@functools.cache
def processor() -> str:
    """The CPU's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def device_column(facts: Mapping[str, Any]) -> str | None:
    """What the column `device` of runs has of a provenance: cpu, or a GPU's name; None where nothing was executed."""
    device = facts.get("device")
    return device if device in (None, "cpu") else str(facts["device_name"])


def provenance(
    device: str, threads: int, dtype: str, deterministic: bool, device_name: str | None = None
) -> dict[str, Any]:
    """The `provenance` object of run.json; `device_name`: of a GPU."""
    return {
        "versions": {name: package_version(name) for name in _PACKAGES} | {"python": platform.python_version()},
        **source_commit(),
        **place(),
        "platform": platform.platform(),
        "processor": processor(),
        "device": device,
        "device_name": device_name or processor(),
        "threads": threads,
        "dtype": dtype,
        "deterministic": deterministic,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
