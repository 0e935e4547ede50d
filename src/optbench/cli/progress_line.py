"""One line a task, made for the width of the terminal: what matters least goes first, count and time left never.

rich gives each column of a progress display what it asks for and cuts the rest, wherever that happens to be; on 80
columns that was the time left. Here a line is composed as a whole. Imported where a person watches, not before.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task
from rich.table import Column
from rich.text import Text

from optbench.cli.pieces import Piece

_GAP = 2
_LABEL = (9, 20)  # cells of a label that stay, and that stay where a bar or lesser words could go instead
_BAR = (6, 24)  # the shortest bar, and the longest
_BAR_SPARE = 3


def shortened(label: str, width: int) -> str:
    """A label in at most `width` cells; both its ends say which one it is, so the middle goes."""
    if cell_len(label) <= width:
        return label
    if width < 2:
        return "…"[:width]
    head = (width - 1) // 2
    tail, room = "", width - 1 - head
    for sign in reversed(label):
        if cell_len(sign + tail) > room:
            break
        tail = sign + tail
    return f"{set_cell_size(label, head)}…{tail}"


def composed(label: str, pieces: Sequence[Piece], bar: bool, width: int) -> tuple[str, int, list[str]]:
    """What of a line fits into `width` cells: the label, the length of the bar (0: none), and the words.

    Args:
        label: of the task; shortened to _LABEL cells before other things go.
        pieces: in the order in which they are shown; empty ones are left out.
        bar: whether there is something to draw a bar of.
        width: cells.
    """
    kept = [piece for piece in pieces if piece.text]

    def room() -> int:
        return width - sum(_GAP + cell_len(piece.text) for piece in kept) - (_GAP + _BAR[0] if bar else 0)

    while True:
        spare = max([piece.spare for piece in kept] + [_BAR_SPARE] * bar, default=0)
        if not spare or room() >= min(cell_len(label), _LABEL[spare >= _BAR_SPARE]):
            break
        if bar and spare == _BAR_SPARE:
            bar = False
        else:
            kept.remove(next(piece for piece in reversed(kept) if piece.spare == spare))
    label = shortened(label, max(0, room()))
    length = min(_BAR[1], _BAR[0] + room() - cell_len(label)) if bar else 0
    return label, length, [piece.text for piece in kept]


def duration(seconds: float) -> str:
    """Time left as m:ss or h:mm:ss."""
    minutes, left = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


class Line(ProgressColumn):
    """The whole line of a task. Its fields: `pieces`; `share`, whether it counts a share and not things; `done`, how
    many things it has counted itself.

    Args:
        console: whose width it is made for.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(Column(no_wrap=True, overflow="ellipsis"))
        self._console = console

    def render(self, task: Task) -> Text:
        known = task.total is not None
        count = Piece("" if not known else f"{task.percentage:.0f}%" if task.fields.get("share") else _count(task))
        remaining = _remaining(task)
        if known and remaining is not None:
            left = f"{duration(remaining)} left"
        else:  # how long nobody knows: then what moves is the time that it has taken
            left = "" if task.elapsed is None else duration(task.elapsed)
        counted = not task.fields.get("share") and "done" not in task.fields
        rate = f"{task.speed:.3g}/s" if task.speed and counted else ""
        pieces = [count, *task.fields.get("pieces", ()), Piece(rate, 5), Piece(left)]
        label, length, words = composed(task.description, pieces, known, self._console.width)
        line = Text(label)
        if length:
            done = round(length * task.percentage / 100)
            sign = "-" if self._console.options.ascii_only else "━"
            line.append(" " * _GAP).append(sign * done, "bar.complete").append(sign * (length - done), "bar.back")
        for text in words:
            line.append(" " * _GAP + text, "dim" if text == rate else "")
        return line


def _remaining(task: Task) -> float | None:
    """Seconds left: as long each as those took on average that were `done` here, where a task counts them itself; rich
    looks at the last ones alone, and runs end in bursts."""
    done = task.fields.get("done")
    if done is None:
        return task.time_remaining
    if not done or task.elapsed is None or task.total is None:
        return None
    return float(task.elapsed * (task.total - task.completed) / done)


def _count(task: Task) -> str:
    """How many of how many, as wide at the start as at the end."""
    total = f"{task.total or 0:.0f}"
    return f"{task.completed:{len(total)}.0f}/{total}"


def lines_on(console: Console, transient: bool = True) -> Progress:
    """A progress display whose tasks are such lines."""
    return Progress(Line(console), console=console, transient=transient)
