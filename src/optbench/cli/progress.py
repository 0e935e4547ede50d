"""The live display of runs: what runs, step, loss, learning rate, rate, time left. Silent unless a person watches."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from optbench.cli.pieces import Piece, facts

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_REFRESH_SECONDS = 0.1
_LEAST_STEPS, _LEAST_SECONDS = 10, 2.0
_LONG = 60.0
"""Seconds from which on a run is long enough to be told of."""


def watched() -> bool:
    """Whether standard error is a terminal."""
    return sys.stderr.isatty()


class Forecast:
    """Says once how long a run will take, if that is long: from its own first updates, at least ten and two seconds.

    The first update is not counted: it pays for what is set up lazily. Evaluations are, as far as they fell into the
    time that was measured.
    """

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None
        self._said = False

    def words(self, step: int, total: int) -> str:
        """What to say now that the run is at `step` of `total`; mostly nothing."""
        if self._said:
            return ""
        now = time.monotonic()
        if self._first is None:
            self._first = step, now
        first, began = self._first
        made, spent = step - first, now - began
        if made < _LEAST_STEPS or spent < _LEAST_SECONDS:
            return ""
        self._said = True
        left = spent / made * (total - step)
        if left < _LONG:
            return ""
        from optbench.launch.outlook import duration

        return f"about {duration(left)} for the {total - step} updates that are left ({spent / made:.3g} s each)"


class PlainDisplay:
    """When nobody watches: what went wrong, and once how long it takes, a line each, on standard error.

    Args:
        quiet: only what went wrong.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._quiet, self._forecast = quiet, Forecast()

    def start(self, label: str, index: int, count: int) -> None:
        self._forecast = Forecast()

    def loading(self, done: int, total: int) -> None:
        pass

    def note(self, words: str) -> None:
        print(f"note: {words}", file=sys.stderr)

    def step(self, step: int, total: int, row: Mapping[str, Any]) -> None:
        if not self._quiet and (words := self._forecast.words(step, total)):
            print(f"note: {words}", file=sys.stderr)

    def end(self, run: Any) -> None:
        if run.status in ("failed", "skipped"):
            print(f"{run.status}: {run.path.name}: {run.reason}", file=sys.stderr)


class LiveDisplay:
    """A progress bar on standard error for the steps of the run."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._steps: TaskID | None = None
        self._shown = 0.0
        self._judged: Mapping[str, Any] = {}
        self._forecast = Forecast()

    def start(self, label: str, index: int, count: int) -> None:
        self._steps = self._progress.add_task(label, total=None, pieces=[Piece("loading torch")])

    def loading(self, done: int, total: int) -> None:
        if self._steps is not None:
            pieces = [Piece("decoding images", 1)]
            self._progress.update(self._steps, completed=done, total=total, pieces=pieces)

    def note(self, words: str) -> None:
        self._progress.console.print(f"note: {words}", markup=False, soft_wrap=True)

    def step(self, step: int, total: int, row: Mapping[str, Any]) -> None:
        from optbench.records.metrics import judged

        self._judged = judged(row) or self._judged  # in the rows of evaluations alone
        if words := self._forecast.words(step, total):
            self._progress.console.print(f"note: {words}", markup=False, soft_wrap=True)
        now = time.monotonic()
        if self._steps is None or (now - self._shown < _REFRESH_SECONDS and step < total):
            return
        self._shown = now
        self._progress.update(self._steps, completed=step, total=total, pieces=facts({**row, **self._judged}))

    def end(self, run: Any) -> None:
        if run.status in ("failed", "skipped"):
            self._progress.console.print(f"{run.status}: {run.path.name}: {run.reason}", markup=False, soft_wrap=True)


@contextmanager
def display(quiet: bool) -> Iterator[LiveDisplay | PlainDisplay]:
    """A live display when a person watches and did not ask for quiet."""
    if quiet or not watched():
        yield PlainDisplay(quiet)
        return
    from rich.console import Console

    from optbench.cli.progress_line import lines_on

    with lines_on(Console(stderr=True)) as progress:
        yield LiveDisplay(progress)


@contextmanager
def counter(label: str, quiet: bool) -> Iterator[Any]:
    """A progress(done, total, facts) callback for work that counts by itself; shown only when a person watches."""
    if quiet or not watched():
        yield None
        return
    from rich.console import Console

    from optbench.cli.progress_line import lines_on

    with lines_on(Console(stderr=True)) as progress:
        task = progress.add_task(label, total=None, share=True, pieces=[Piece("starting")])

        def update(done: float, total: float | None = None, facts: str = "") -> None:
            progress.update(task, completed=done, total=total, pieces=[Piece(facts, 1)])

        yield update


_MANY = 200


@contextmanager
def counter_of_many(label: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """As `counter`, but shown only once it is known that there are many: who has none waits for nothing."""
    with ExitStack() as stack:
        shown: list[Any] = []

        def update(done: int, total: int) -> None:
            if not shown and total >= _MANY:
                shown.append(stack.enter_context(counter(label, quiet)))
            if shown and shown[0] is not None:
                shown[0](done, total)

        yield update
