"""Ctrl-C and its kin: what is under way ends after its step, what only prepares ends at once.

A run looks between two updates whether an end was asked for. Before there is a run a command composes, imports torch
and compiles, which takes seconds, half a minute on a busy machine, and looks at nothing; but nothing is under way there
that could be saved. So a signal in the middle of that raises, and where it came earlier a timer looks whether the
command is busy with that now. Records are written whole or not at all, and say `interrupted` from their first moment:
what is cut off leaves them so.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from optbench.errors import Interrupted
from optbench.experiment.recorder import STOP_SIGNALS, Stop

_LOOK_SECONDS = 0.3
"""Between two looks; an import or a compilation that is seen at two of them is one that lasts."""
_PREPARING = (
    "<frozen importlib",
    *(f"{os.sep}{os.path.join(*parts)}{os.sep}" for parts in (("numba", "core"), ("torch", "_dynamo"), ("omegaconf",))),
)
"""What is in the names of files whose functions import, compile or compose."""


@contextlib.contextmanager
def interruptible() -> Iterator[Stop]:
    """In it, the first Ctrl-C, SIGTERM or SIGHUP asks the run to end after its update, and ends at once what only
    composes, imports or compiles; a second kills it.

    Raises:
        Interrupted: nothing was under way.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    heard = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]  # nohup, `&` of sh
    before: dict[int, Any] = {}
    raised = False

    def ask(signum: int, frame: FrameType | None) -> None:
        nonlocal raised
        stop.requested, stop.exit_code = True, 128 + signum
        _give_back(before)
        timed.start()
        if _only_prepares(frame):
            raised = True
            raise Interrupted(stop.exit_code)

    def look(lasts: bool) -> None:
        nonlocal raised
        if lasts:
            raised = True
            raise Interrupted(stop.exit_code)

    timed = _Looks(look)
    before |= {number: signal.signal(number, ask) for number in heard}
    try:
        yield stop
    except Exception as error:
        if raised:  # a module that is half imported may say it in its own way
            raise Interrupted(stop.exit_code) from error
        raise
    finally:
        timed.end()
        _give_back(before)


def _give_back(before: dict[int, Any]) -> None:
    for number, handler in before.items():
        signal.signal(number, handler)


class _Looks:
    """Looks again and again whether the main thread only prepares: where code that catches everything let a first
    Interrupted go by, and where the signal came before. Of a system without such a timer there are none.

    Args:
        each: told at each look whether it did at the one before too.
    """

    def __init__(self, each: Callable[[bool], None]) -> None:
        self._each, self._did = each, False
        self._before: Any = None

    def start(self) -> None:
        if not hasattr(signal, "setitimer") or signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL:
            return  # another's timer
        self._before = signal.signal(signal.SIGALRM, self._look)
        signal.setitimer(signal.ITIMER_REAL, _LOOK_SECONDS, _LOOK_SECONDS)

    def end(self) -> None:
        if self._before is not None:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, self._before)
            self._before = None

    def _look(self, signum: int, frame: FrameType | None) -> None:
        did, self._did = self._did, _only_prepares(frame)
        self._each(did and self._did)


def _only_prepares(frame: FrameType | None) -> bool:
    """Whether a frame is part of an import, a compilation or a composition."""
    while frame is not None:
        if any(part in frame.f_code.co_filename for part in _PREPARING):
            return True
        frame = frame.f_back
    return False
