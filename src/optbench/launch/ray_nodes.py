"""A Ray cluster: how it is reached, and which of its nodes can serve."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from optbench.errors import UserError, first_line
from optbench.experiment import STOP_SIGNALS
from optbench.launch.base import Watcher, available_cores
from optbench.launch.settings import RaySettings

_OBJECT_STORE_BYTES = 100 << 20
_ROOM_SECONDS = 20.0
"""How long a cluster may be without any node that has room for a run, before the runs are given up."""
_SAME_HINT = "every node needs the same optbench, torch and Python as this machine, and the code and data of the runs"


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Within it Ray is there, and quiet; what this starts it ends, what was there stays."""
    import ray

    if ray.is_initialized():
        yield
        return
    new: dict[str, Any] = {"num_cpus": available_cores(), "_node_ip_address": "127.0.0.1"}
    new |= {"include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES}
    try:
        _knock(address)
        with _own_signals():
            ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **({} if address else new))
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise _refused(address, error) from error
    with _quiet():  # to the end: a cluster that died is told of while one takes leave of it
        try:
            yield
        finally:
            ray.shutdown()


def _refused(address: str | None, error: Exception) -> UserError:
    """Why there is no connection, in our words."""
    pairs = re.findall(r"Ray: *(\S+)\s+Python: *(\S+)", str(error))
    if len(pairs) == 2:  # Ray's "Version mismatch", a paragraph
        there, here = pairs
        hint = f"make them the same: pip install 'ray=={there[0]}' here"
        hint += f", with Python {there[1]}" if there[1] != here[1] else f", or 'ray=={here[0]}' on every node of it"
        return UserError(
            f"hydra.launcher.address={address}: the cluster has Ray {there[0]} and Python {there[1]}, "
            f"this machine Ray {here[0]} and Python {here[1]}",
            hint,
        )
    hint = "start one with `ray start --head`, or leave hydra.launcher.address=null"
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
    if isinstance(error, ConnectionError) and not isinstance(error, ConnectionRefusedError) and token.exists():
        # Ray shows a token to a cluster that it finds by itself, and not at an address that is given
        hint = f"if one is there, it may want the token in {token}, which RAY_AUTH_MODE=token sends; or {hint}"
    return UserError(f"hydra.launcher.address={address}: no Ray cluster there ({first_line(error)})", hint)


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Gives the signals that ask for an end back to whoever had them: Ray takes SIGTERM, and dies of it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: not set from Python, and not to be had back
                signal.signal(number, handler)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what the cluster has to say of its own nodes (40 lines when one dies) from standard output, where Ray puts
    it even with log_to_driver=False; there is no public switch, and this is the one that Ray's own debugger uses."""
    from ray._private import worker

    before = getattr(worker, "_worker_logs_enabled", True)
    worker._worker_logs_enabled = False
    try:
        yield
    finally:
        worker._worker_logs_enabled = before


def _knock(address: str | None) -> None:
    """Raises OSError where nobody listens at host:port; Ray itself would try for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=5.0).close()


class Nodes:
    """The nodes of the cluster: which can do a run, and which have said that they cannot.

    Args:
        settings: what a run reserves.
        watcher: told of every node that is left out.
    """

    def __init__(self, settings: RaySettings, watcher: Watcher) -> None:
        import ray

        self._ray: Any = ray
        self._watcher = watcher
        self._needs = {"CPU": settings.threads, "GPU": settings.gpus}
        self._unfit: dict[str, str] = {}
        self._without_disk: set[str] = set()
        self._served = time.monotonic()

    def options(self) -> dict[str, Any]:
        """How a task is kept from the nodes that are left out."""
        return {"label_selector": {"ray.io/node-id": f"!in({','.join(self._unfit)})"}} if self._unfit else {}

    @property
    def some_without_disk(self) -> bool:
        """Whether a node was met that does not see the driver's disk."""
        return bool(self._without_disk)

    def without_disk(self, place: tuple[str, str, str], folder: Path) -> None:
        """A node does not see where records go."""
        node, address, host = place
        if node not in self._without_disk:
            self._without_disk.add(node)
            where = f"Ray node {address} ({host}) does not see {folder} as it is here"
            self._watcher.note(f"{where}: the records of its runs travel back with the results")

    def leave_out(self, place: tuple[str, str, str], why: str) -> None:
        """A node cannot serve."""
        node, address, host = place
        if node not in self._unfit:
            self._unfit[node] = f"{address} ({host}): {why}"
            self._watcher.note(f"Ray node {address} ({host}) is left out: {why}")

    def check(self, at_once: bool = False) -> None:
        """Checks that some node can do a run. Raises UserError when none can, for a while if not `at_once`."""
        nodes = [node for node in self._ray.nodes() if node["Alive"]]
        fitting = [node for node in nodes if self._has_room(node)]
        if any(node["NodeID"] not in self._unfit for node in fitting):
            self._served = time.monotonic()
        elif fitting or at_once or time.monotonic() - self._served > _ROOM_SECONDS:
            raise self._none_serves(nodes)

    def _has_room(self, node: dict[str, Any]) -> bool:
        return all(node["Resources"].get(kind, 0) >= amount for kind, amount in self._needs.items())

    def _none_serves(self, nodes: Sequence[dict[str, Any]]) -> UserError:
        alive = {node["NodeID"] for node in nodes}
        if found := [why for node, why in self._unfit.items() if node in alive]:
            return UserError(f"no node of the Ray cluster can serve; {'; '.join(found)}", _SAME_HINT)
        wanted = " and ".join(
            f"{amount:g} {kind}{'s' if amount > 1 else ''}" for kind, amount in self._needs.items() if amount
        )
        there = ", ".join(
            f"{node['NodeManagerAddress']}: CPUs {node['Resources'].get('CPU', 0):g}, "
            f"GPUs {node['Resources'].get('GPU', 0):g}" for node in nodes
        )  # fmt: skip
        hint = "ask for less with hydra.launcher.threads and hydra.launcher.gpus, or start another node"
        return UserError(f"no node of the Ray cluster has {wanted} for a run ({there})", hint)
