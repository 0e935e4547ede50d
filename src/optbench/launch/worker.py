"""What a worker process does: take a run, execute it, answer; end when the driver says so or is gone.

A thread listens to the driver, so that a word from it, or its death (the pipe ends), is heard in mid-run: the run then
ends after its update, saves and is `interrupted`.

    driver -> worker    (Planned, force, threads): execute it            None: the user stops
    worker -> driver    ("ready",)                     torch is imported
                        ("loading" | "step", ...)      where the run is
                        ("done", Run)                  it has its record
                        ("error", OptbenchError)       it has none: its records cannot be written
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

from optbench.errors import OptbenchError
from optbench.experiment import STOP_SIGNALS, Planned, Stop
from optbench.experiment.kept_data import keeping_data
from optbench.launch.base import Relay, Work, attempt

Message = tuple[Planned, bool, int] | None

GRACE_SECONDS = 20.0
"""How long a worker whose driver is gone may take to end its update and save."""


def main(connection: Connection, work: Work, gpu: str | None, environment: Mapping[str, str]) -> None:
    """A worker's life; `environment`: the driver's, which may have changed since the server that forks was started."""
    for number in STOP_SIGNALS:  # they reach the whole group; the driver passes them on
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    with contextlib.suppress(OSError):  # no standard error, nothing to keep apart
        os.dup2(2, 1)  # standard output belongs to the driver's one document
    os.environ.clear()
    os.environ.update(environment)
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    stop = Stop()
    inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, inbox, stop), daemon=True).start()
    import torch  # noqa: F401  so that `ready` means ready

    def send(message: tuple[Any, ...]) -> None:
        with contextlib.suppress(OSError):  # the driver is gone: the listener knows, and the run ends by itself
            connection.send(message)

    send(("ready",))
    while (message := inbox.get()) is not None:
        planned, force, threads = message
        try:
            with keeping_data(planned):
                run = attempt(work, planned, stop, Relay(send), force, threads)
            send(("done", run))
        except OptbenchError as error:
            send(("error", error))
    connection.close()
    sys.stderr.flush()
    os._exit(0)  # all is recorded; taking torch apart would cost seconds


def _listen(connection: Connection, inbox: queue.SimpleQueue[Message], stop: Stop) -> None:
    while True:
        try:
            message = connection.recv()
        except (EOFError, OSError):
            stop.requested = True
            inbox.put(None)
            time.sleep(GRACE_SECONDS)
            os._exit(1)
        if message is None:
            stop.requested = True
        else:
            inbox.put(message)
