"""Where worker processes come from: a server that has imported what a run needs once, and forks.

A process of its own for each worker would import torch again each time, seconds of a core. Forking the driver would be
no way: it has threads, and perhaps a card. The server has neither; it only imports, and the pages of what it imported
are shared by its workers. It is multiprocessing's fork server with three differences, all of them because it is not the
user's: it is one of our own, so that what their code starts is not what we preload; it has the module path of the
driver, in that order; and it holds back what asks for an end, which reaches the whole group, for its workers end their
runs in order and it must be there to say how they died.

Where there is no fork server that can be trusted (macOS, Windows, an interpreter that ignores PYTHONPATH, a module path
that it cannot hold), and for workers with a card of their own, a worker is spawned as ever.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import signal
import sys
import types
from collections.abc import Iterator
from multiprocessing import context, reduction, resource_tracker, spawn, util
from typing import Any

from optbench.experiment import STOP_SIGNALS

PRELOADED = "optbench.launch.preloaded"


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Around the start of a process, so that it neither imports the caller's script nor dies of an early Ctrl-C.

    multiprocessing has a new process import the main module, which runs a script that has no __main__ guard once more;
    and until the new process can say that it ignores what asks for an end, it inherits a mask that holds them back.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    masks = hasattr(signal, "pthread_sigmask")
    if masks:
        resource_tracker.ensure_running()  # its start unblocks SIGINT
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        if masks:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _module_path() -> list[str]:
    return [place or os.getcwd() for place in sys.path]


def can_fork() -> bool:
    """Whether workers can come from a fork server that imports what this process would."""
    if sys.platform != "linux" or sys.flags.ignore_environment or sys.flags.isolated:
        return False
    return not any(os.pathsep in place for place in _module_path())


if sys.platform == "linux":
    from multiprocessing import forkserver, popen_forkserver

    _SERVER = forkserver.ForkServer()
    _SERVER.set_forkserver_preload([PRELOADED])

    class _Popen(popen_forkserver.Popen):
        """multiprocessing's, with a server of its own."""

        def _launch(self, process_obj: Any) -> None:
            start_server()
            data = io.BytesIO()
            context.set_spawning_popen(self)
            try:
                reduction.dump(spawn.get_preparation_data(process_obj._name), data)
                reduction.dump(process_obj, data)
            finally:
                context.set_spawning_popen(None)
            self.sentinel, child = _SERVER.connect_to_new_process(self._fds)  # type: ignore[attr-defined]
            ends = os.dup(child), self.sentinel
            self.finalizer = util.Finalize(self, util.close_fds, ends)  # type: ignore[attr-defined]
            with open(child, "wb") as file:
                file.write(data.getbuffer())
            self.pid = forkserver.read_signed(self.sentinel)

    class _Forked(context.ForkServerProcess):
        @staticmethod
        def _Popen(process_obj: Any) -> Any:  # noqa: N802  multiprocessing calls it so
            return _Popen(process_obj)


def start_server() -> None:
    """Starts the server, if there can be one and none is running: it imports while its caller goes on."""
    if not can_fork():
        return
    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "PYTHONSAFEPATH")}
    os.environ.update(PYTHONPATH=os.pathsep.join(_module_path()), PYTHONSAFEPATH="1")
    try:
        with undisturbed():
            _SERVER.ensure_running()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def new_process(target: Any, arguments: tuple[Any, ...], alone: bool = False) -> Any:
    """A process that is not started yet.

    Args:
        target: what it calls.
        arguments: with which.
        alone: whether it is to be spawned.
    """
    if alone or not can_fork():
        return multiprocessing.get_context("spawn").Process(target=target, args=arguments, name="optbench")
    return _Forked(target=target, args=arguments, name="optbench")
