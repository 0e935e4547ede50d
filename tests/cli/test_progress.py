"""What is seen while a command works, on narrow terminals too: how far, how good, how long."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
import typer
from command_tools import invoke
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from optbench.cli import Command, every_command
from optbench.cli.pieces import Piece
from optbench.cli.progress import LiveDisplay
from optbench.cli.progress_line import composed, duration, lines_on, shortened
from optbench.cli.sweep_display import LiveSweep
from optbench.launch.base import Relay
from optbench.records import Run

ROW = {"loss": 0.123456, "lr": 0.00098, "epoch": 3.1}
NAMES = [command.name for command in every_command()]
LABEL = "hw3_cnn, adamw, warmup_cosine, seed 12"


def screen(width: int, file: Any = None) -> Console:
    return Console(file=file or io.StringIO(), force_terminal=True, width=width, height=24, color_system=None)


def seen(console: Console, what: Any) -> list[str]:
    with console.capture() as captured:
        console.print(what)
    return captured.get().splitlines()


@pytest.mark.parametrize("width", [60, 72, 80, 100, 140])
def test_a_run_keeps_count_accuracy_and_time_left(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    console = screen(width)
    progress = lines_on(console)
    clock = 100.0
    monkeypatch.setattr(progress, "get_time", lambda: clock)
    shown = LiveDisplay(progress)
    shown.start(LABEL, 0, 1)
    assert "loading torch" in seen(console, progress)[0]
    shown.loading(3, 700)
    assert re.search(r"  3/700  ", seen(console, progress)[0])
    for step in range(1, 101):
        clock += 0.5
        shown._shown = 0.0  # each is shown
        shown.step(step, 12000, {**ROW, "step": step} | ({"val_accuracy": 0.952} if step == 7 else {}))
    (line,) = seen(console, progress)
    assert cell_len(line) <= width
    assert "  100/12000  " in line
    assert "val 95.2%" in line
    assert "loss 0.1235" in line
    assert line.rstrip().endswith("1:39:10 left")  # of 11,900 updates at two a second
    assert line.startswith("hw3_")
    assert "12" in line[:38]
    assert ("lr 0.00098" in line) == (width >= 140)
    assert (LABEL in line) == (width >= 140)


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_sweep_keeps_counts_and_the_best(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Item:
        run_id, label = "0" * 12, LABEL

    class Done:
        run_id, status, path = "1" * 12, "completed", None
        summary = {"final_loss": 0.25, "optimizer": "adamw"}  # noqa: RUF012

    console = screen(width)
    monkeypatch.setattr("rich.console.Console", lambda **options: console)
    sweep = LiveSweep(300)
    sweep.started(Item(), "process 4711")  # type: ignore[arg-type]
    sent: list[Any] = []
    relay = Relay(sent.append, pause=0.0)
    relay.step(1, 400, {**ROW, "val_accuracy": 0.5})
    relay.step(2, 400, ROW)
    kind, *rest = sent[-1]
    assert kind == "step"
    sweep.progress(Item(), *rest)  # type: ignore[arg-type]
    assert sweep._progress.tasks[0].start_time is not None
    monkeypatch.setattr(sweep._progress, "get_time", lambda: 1060.0)
    for task in sweep._progress.tasks:
        task.start_time, task._get_time = 1000.0, sweep._progress.get_time
    sweep.already(100)  # were done before, and say nothing of the time that the others take
    assert seen(console, sweep._render())[0].rstrip().endswith("  1:00")  # so far
    sweep.finished(Done())  # type: ignore[arg-type]
    sweep.finished(Done())  # type: ignore[arg-type]
    everything, run, heading, best = seen(console, sweep._render())
    assert all(cell_len(line) <= width for line in (everything, run, heading, best))
    assert re.match(r"all runs  ━+  102/300  1 running  ([\d.e+]+ runs/s  )?1:39:00 left", everything)
    assert ("runs/s" in everything) == (width >= 80)
    assert "  2/400  loss 0.1235  val 50.0%" in run
    assert heading.split("  ")[0] == "best so far"
    assert re.match(r"adamw +0.25 ", best)


def test_the_best_so_far_is_by_the_rule_of_the_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    console = screen(100)
    monkeypatch.setattr("rich.console.Console", lambda **options: console)

    def done(sweep: LiveSweep, optimizer: str, status: str = "completed", **summary: Any) -> None:
        run = Run({"run_id": optimizer, "status": status, "optimizer": optimizer, **summary})
        sweep.finished(run)

    for checkpoint, first, heading, shown in (("best", "adam", "best accuracy", "91.0%"),
                                             ("last", "sgd", "last accuracy", "85.0%")):  # fmt: skip
        sweep = LiveSweep(300, checkpoint=checkpoint)
        done(sweep, "adam", final_loss=0.9, best_val_accuracy=0.91, val_accuracy=0.5)
        done(sweep, "sgd", final_loss=0.1, best_val_accuracy=0.86, val_accuracy=0.85)
        done(sweep, "sgd", final_loss=0.01, best_val_accuracy=0.85, val_accuracy=0.84)
        done(sweep, "lion", "diverged", final_loss=0.0, best_val_accuracy=0.99, val_accuracy=0.99)
        done(sweep, "gd", final_loss=0.001)
        header, *best = seen(console, sweep._render())[1:]
        assert heading in header
        assert best[0].split()[0] == first
        assert shown in best[0]
        assert [line.split()[:2] for line in best][2:] == [["gd", "0.001"]]


def test_the_best_so_far_of_regressions_is_by_their_validation_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    console = screen(100)
    monkeypatch.setattr("rich.console.Console", lambda **options: console)
    sweep = LiveSweep(300)
    for optimizer, final, held_out in (("adam", 0.01, 0.9), ("sgd", 0.5, 0.6)):
        summary = {"final_loss": final, "val_loss": 0.0, "best_val_loss": held_out}
        sweep.finished(Run({"run_id": optimizer, "status": "completed", "optimizer": optimizer, **summary}))
    header, *best = seen(console, sweep._render())[1:]
    assert "best validation loss" in header
    assert [line.split()[:2] for line in best] == [["sgd", "0.6"], ["adam", "0.9"]]


PIECES = st.lists(st.tuples(st.text("abc 界", max_size=12), st.integers(0, 6)), max_size=7)


@given(st.text("abcdefgh, 界é", max_size=60), PIECES, st.booleans(), st.integers(20, 200))
def test_a_line_fits_or_holds_only_what_never_goes(
    label: str, drawn: list[tuple[str, int]], bar: bool, width: int
) -> None:
    pieces = [Piece(*each) for each in drawn]
    shown, length, words = composed(label, pieces, bar, width)
    whole = cell_len(shown) + sum(2 + cell_len(w) for w in words) + (2 + length if length else 0)
    needed = [p.text for p in pieces if p.text and not p.spare]
    assert whole <= max(width, sum(2 + cell_len(w) for w in needed))
    rest = iter(p.text for p in pieces)
    assert all(any(w == text for text in rest) for w in words)  # in order, and nothing made up
    left = list(words)
    for text in needed:
        left.remove(text)
    gone = [p.spare for p in pieces if p.text and p.text not in words]
    if gone:  # then no room was to be had
        full = sum(2 + cell_len(p.text) for p in pieces if p.text and p.spare <= min(gone))
        drawn_bar = 8 if bar and min(gone) > 3 else 0
        assert full + drawn_bar + min(cell_len(label), 20 if min(gone) >= 3 else 9) > width
    if whole + 1 < width and not gone:
        assert shown == label or cell_len(shown) >= 9 or length


@given(st.text("abcdefgh, 界é", max_size=60), st.integers(0, 80))
def test_a_short_label_keeps_both_ends(label: str, width: int) -> None:
    found = shortened(label, width)
    assert cell_len(found) <= width
    if cell_len(label) <= width:
        assert found == label
    elif width >= 8:
        head, tail = found.split("…")
        assert label.endswith(tail)
        assert label.startswith(head.rstrip())
        assert cell_len(found) >= width - 2


def test_time_left_in_words() -> None:
    assert [duration(s) for s in (0.4, 59.9, 61, 3600, 36061)] == ["0:00", "0:59", "1:01", "1:00:00", "10:01:01"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("end", [typer.Exit(130), typer.Exit(143), KeyboardInterrupt()])
def test_an_interrupt_says_what_the_same_command_does_now(
    name: str, end: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise end

    monkeypatch.setattr(Command, "function", lambda self: interrupted)
    code, out, err = invoke(capsys, name)
    assert code == (end.exit_code if isinstance(end, typer.Exit) else 130)
    assert out == ""
    goes_on = name in ("run", "sweep", "tune", "which", "transfer", "play", "reproduce")
    what = "goes on from what is recorded" if goes_on else "starts from the beginning: it keeps nothing"
    assert err == f"interrupted; the same command {what}\n"
