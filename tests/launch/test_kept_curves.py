"""Curves of a batch: kept in turns of each configuration, best and median seeds first; what a figure lacks, it says."""

from __future__ import annotations

import math
import shutil
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from command_tools import command
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from optbench.comparison import compare, drawn
from optbench.comparison.shown import _left_out
from optbench.experiment import Stop, plan_sweep
from optbench.launch import kept_curves, launcher
from optbench.launch.batches import Rows
from optbench.launch.kept_curves import End, chosen
from optbench.launch.sweep import Options, Silent, run_sweep
from optbench.plot import footnote, loss_curves, save
from optbench.records import read
from optbench.records.files import curve_ids

WORDS = ["model=himmelblau", "optimizer=momentum", "optimizer.lr=1e-4,1e-3,1e-2", "seeds=8", "trainer.start=random",
         "trainer.steps=6"]  # fmt: skip


def sweep(out: Path, words: Sequence[str] = WORDS, stop: Stop | None = None, **options: Any) -> None:
    local = launcher({"name": "local", "jobs": 0, "threads": 1})
    plan = plan_sweep(words, out=out, name="s")
    run_sweep(plan, local, stop or Stop(), Silent(), Options(**{"engine": "eager", **options}))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made")
    sweep(out, recorded=6)
    return out


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "out")
    return tmp_path / "out"


def kept(out: Path) -> set[str]:
    return set(curve_ids(out / "s" / "curves.parquet"))


def by_rate(out: Path) -> dict[float, list[tuple[float, str]]]:
    """Learning rate to the last losses and run_ids, the best first."""
    found: dict[float, list[tuple[float, str]]] = defaultdict(list)
    for run in read([out]).runs():
        found[run.summary["optimizer.lr"]].append((run.summary["final_loss"], run.run_id))
    return {rate: sorted(runs) for rate, runs in found.items()}


def test_each_configuration_keeps_its_best_and_its_median_seed(made: Path) -> None:
    expected = {runs[place][1] for runs in by_rate(made).values() for place in (0, 3)}
    assert kept(made) == expected
    assert drawn([made], [], 9).left_out == "6 of 24 runs are drawn"


def test_a_kept_curve_is_that_of_the_run(made: Path, tmp_path: Path) -> None:
    sweep(tmp_path, recorded=24)
    whole = {run.run_id: run for run in read([tmp_path]).runs()}
    for run in read([made]).runs():
        assert run.summary["final_loss"] == whole[run.run_id].summary["final_loss"]
        if run.run_id in kept(made):
            assert run.curve().equals(whole[run.run_id].curve())
            assert run.curve()["loss"].iloc[-1] == run.summary["final_loss"]
            assert len(run.curve()) == 7


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=30),
    st.data(),
    st.integers(0, 35),
)
def test_curves_go_round(rates: list[int], data: st.DataObject, count: int) -> None:
    losses = data.draw(st.lists(st.none() | st.floats(-5, 5), min_size=len(rates), max_size=len(rates)))
    planned: list[Any] = [_Item({"optimizer": {"lr": float(rate)}, "seed": i}) for i, rate in enumerate(rates)]
    ends = [End(3, loss) for loss in losses]
    found = chosen(Rows(planned, ("optimizer.lr", "seed")), ends, count)
    assert len(found) == len(set(found)) == min(count, len(rates))
    turns = [sum(rates[i] == rate for i in found) for rate in set(rates)]
    sizes = [rates.count(rate) for rate in set(rates)]
    assert all(a >= min(b - 1, size) for a, size in zip(turns, sizes, strict=True) for b in turns)
    value = [math.inf if loss is None else loss for loss in losses]
    for rate in set(rates):
        own = [i for i in found if rates[i] == rate]
        ranks = sorted(value[i] for i, r in enumerate(rates) if r == rate)
        assert [value[i] for i in own[:1]] == ranks[: len(own[:1])]
        if len(own) > 1:
            assert ranks[(len(ranks) - 1) // 2] in {value[i] for i in own[:2]}


class _Item:
    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config


def engine_runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each run of an engine had."""
    import optbench.descend as engine

    counts: list[int] = []
    original = engine.descend
    monkeypatch.setattr(engine, "descend", lambda batch: counts.append(len(batch.starts)) or original(batch))
    return counts


def test_more_curves_of_a_done_sweep_cost_those_rows_alone(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (copied / "s" / "runs.parquet").read_bytes()
    first, counts = kept(copied), engine_runs(monkeypatch)
    sweep(copied, recorded=10)
    assert counts == [4]
    assert kept(copied) > first
    assert len(kept(copied)) == 10
    sweep(copied, recorded=10)
    sweep(copied, recorded=6)
    assert counts == [4]
    (copied / "s" / "curves.parquet").unlink()
    assert any("curves.parquet is missing" in note for note in compare([copied]).notes)
    sweep(copied, recorded=6)  # what was there once is asked for again
    assert counts == [4, 10]
    assert compare([copied]).notes == ()
    assert (copied / "s" / "runs.parquet").read_bytes() == before
    assert command("sweep", *WORDS, "--out", copied, "--name", "s", "--curves", "24", "--quiet") == 0
    assert len(kept(copied)) == 24


def test_a_row_that_ends_otherwise_keeps_no_curve(copied: Path, caplog: pytest.LogCaptureFixture,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    ends = kept_curves.recorded_ends(copied / "s")
    odd = {run_id: (steps, loss and loss * (1 + 1e-6)) for run_id, (steps, loss) in ends.items()}
    monkeypatch.setattr(kept_curves, "recorded_ends", lambda folder: odd)
    first = kept(copied)
    sweep(copied, recorded=10)
    assert kept(copied) == first
    assert "4 rows keep no curve: they came to another end" in caplog.text


def test_stopped_while_curves_are_recorded_the_next_time_goes_on(copied: Path) -> None:
    stop = Stop()
    stop.requested = True
    sweep(copied, stop=stop, recorded=12)
    assert len(kept(copied)) == 6
    sweep(copied, recorded=12)
    assert len(kept(copied)) == 12


def test_what_a_figure_leaves_out_stands_in_it(copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyarrow import compute, parquet

    path = copied / "s" / "curves.parquet"
    table, slow = parquet.read_table(path), [run for _, run in by_rate(copied)[1e-4]]
    import pyarrow as pa

    parquet.write_table(table.filter(compute.invert(compute.is_in(table["run_id"], pa.array(slow)))), path)
    found = drawn([copied], [], 1)
    assert found.left_out.splitlines()[0] == "1 of 24 runs are drawn"
    assert "1 of 3 configurations without a recorded curve: momentum lr=0.0001" in found.left_out
    assert "1 of 3 configurations left out by --curves: momentum lr=0.0" in found.left_out
    figure = loss_curves(found.runs, found.labels)
    footnote(figure, found.left_out)
    assert "without a recorded curve: momentum lr=0.0001" in text_of(figure)
    save(figure, tmp_path / "f.png")
    said: list[str] = []
    monkeypatch.setattr("optbench.plot.footnote", lambda figure, text: said.append(text))
    for option in ([], ["--path"]):
        assert command("plot", copied, "-o", tmp_path / "f.svg", "--curves", "1", *option) == 0
    assert said == [found.left_out] * 2


def text_of(figure: Figure) -> str:
    """The text below the axes."""
    found = figure.get_supxlabel()
    return " ".join(found.split())


def test_configurations_that_a_figure_lacks_are_named_up_to_six() -> None:
    names = [f"adam lr={k}" for k in range(9)]
    assert _left_out(9, 9, names, set(names), set(names)) == ""
    six = _left_out(3, 9, names, set(names), set(names[:3])).splitlines()
    assert six == ["3 of 9 runs are drawn", f"6 of 9 configurations left out by --curves: {'; '.join(names[3:])}"]
    seven = _left_out(2, 9, names, set(names[:2]), set(names[:2])).splitlines()
    assert seven[1:] == [f"7 of 9 configurations without a recorded curve: {'; '.join(names[2:8])}, and 1 more"]
