"""Sweeps of runs on surfaces from the cache: the bits of the long way round, without torch."""

from __future__ import annotations

import itertools
import json
import random
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import members
import numpy as np
import pytest
from descend_tools import interpreted

import optbench
from optbench.descend import array_rows, library
from optbench.descend.array_rows import has_arrays, run_arrays
from optbench.descend.batch import Batch, BatchResult
from optbench.descend.engine import estimates
from optbench.descend.fused import fuse, run_fused
from optbench.descend.plan import make_plan
from optbench.descend.scalar_rows import run_scalar
from optbench.descend.store import Store
from optbench.errors import OptbenchError
from optbench.experiment import Stop
from optbench.experiment.plan import plan_sweep
from optbench.launch.batches import Rows, batch_of, batches, startable
from optbench.records import Run, read

SURFACES = [
    name for name in members.names("model") if members.read("model", name)["_target_"].startswith("optbench.surf")
]
OPTIMIZERS, SCHEDULERS = members.names("optimizer"), members.names("scheduler")
LOGITS = ("softmax_logits", "linear_net", "linear_net_l2", "tanh_2neuron")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "known"))


def batch(words: list[str], out: Path, programs: bool) -> tuple[Rows, Batch] | None:
    """The batch of a sweep of three seeds; None where its runs go one by one."""
    plan = plan_sweep([*words, "seeds=3", "trainer.start=random"], (), out, "swept")
    found = batches(plan, 1, programs).rows
    if not found:
        return None
    rows, unable = startable(found[0])
    assert not unable
    return rows, batch_of(rows, Stop(), recorded=2)


def executed(this: Batch, scalar: bool = False, arrays: bool = False) -> BatchResult:
    """What comes of a batch: by its kernel, as Python's interpreter executes it, row by row, or side by side."""
    plan, store = make_plan(this), Store(this)
    with np.errstate(all="ignore"):
        if scalar:
            run_scalar(this, plan, store)
        elif arrays:
            run_arrays(this, plan, store)
        else:
            fused = fuse(this, plan)
            with pytest.MonkeyPatch.context() as patch:
                run_fused(this, plan, store, fused, interpreted(fused.source, patch))
    return store.result(this, plan, 0.0, 0.0, "", "")


def bits(result: Any) -> dict[str, Any]:
    """Every number of a result, to the bit."""
    found: dict[str, Any] = {}
    for part in fields(result):
        value = getattr(result, part.name)
        if isinstance(value, np.ndarray):
            found[part.name] = value.dtype, value.shape, value.tobytes()
        elif part.name == "curves":
            found |= {f"curves.{name}": own for name, own in bits(value).items()}
    return found


def both_ways(words: list[str], out: Path) -> bool:
    """Whether the runs have a program; if so, they are the same to the bit in whichever way they come about."""
    known = batch(words, out, True)
    assert known is not None or batch(words, out, True) is None
    if known is None or known[1].known is None:
        return False
    long_way = batch(words, out, False)
    assert long_way is not None
    assert long_way[1].known is None
    assert fuse(known[1], make_plan(known[1])).source == fuse(long_way[1], make_plan(long_way[1])).source
    wanted = executed(long_way[1])
    assert bits(executed(known[1], scalar=True)) == bits(wanted)
    if has_arrays(known[1]):
        assert bits(executed(known[1], arrays=True)) == bits(wanted)
    again = batch(words, out, True)  # from the shelf now, and not from what was just made
    assert again is not None
    assert again[1].known is not None
    assert bits(executed(again[1], scalar=True)) == bits(wanted)
    return True


def words_of(surface: str, optimizer: str, scheduler: str) -> list[str]:
    return [f"model={surface}", f"optimizer={optimizer}", f"scheduler={scheduler}", "trainer.steps=12",
            "trainer.record_every=5", "trainer.plateau_steps=6"]  # fmt: skip


def sample(count: int) -> list[tuple[str, str, str]]:
    product = list(itertools.product([s for s in SURFACES if s not in LOGITS], OPTIMIZERS, SCHEDULERS))
    return random.Random(13).sample(product, count)


@pytest.mark.parametrize("parts", sample(6), ids="-".join)
def test_kept_rows_are_those_of_the_long_way(parts: tuple[str, str, str], tmp_path: Path) -> None:
    kept = both_ways(words_of(*parts), tmp_path)
    assert kept or "lbfgs" in parts or "plateau" in parts


@pytest.mark.slow
@pytest.mark.parametrize("surface", SURFACES)
def test_kept_rows_are_those_of_the_long_way_for_all_parts(surface: str, tmp_path: Path) -> None:
    """Every optimizer on every surface, with a schedule that another surface has another of: every two parts meet."""
    assert len(SURFACES) >= len(SCHEDULERS)
    for number, optimizer in enumerate(OPTIMIZERS, SURFACES.index(surface)):
        scheduler = SCHEDULERS[number % len(SCHEDULERS)]
        kept = both_ways(words_of(surface, optimizer, scheduler), tmp_path)
        assert kept or surface in LOGITS or optimizer == "lbfgs" or scheduler == "plateau"


@pytest.mark.parametrize(
    "words",
    [
        ["optimizer=adam", "optimizer.lr=0.01,0.1,0.5"],
        ["optimizer=momentum", "optimizer.weight_decay=0,0.01"],
        ["optimizer=adam", "optimizer.betas=[0.9,0.999],[0.5,0.9]", "scheduler=cosine"],
        ["optimizer=nadam", "scheduler=step", "scheduler.gamma=0.5,0.9", "scheduler.step_size=4"],
    ],
    ids=lambda words: words[-1],
)
def test_rows_that_differ_in_numbers_are_kept_too(words: list[str], tmp_path: Path) -> None:
    assert both_ways([*words, "model=himmelblau", "trainer.steps=12"], tmp_path)


def columns(run: Run) -> dict[str, Any]:
    """A record without its clocks and its place."""
    left_out = ("provenance", "sweep", "reason")
    return {name: value for name, value in run.summary.items() if name not in left_out and value == value}


@pytest.mark.slow
def test_a_sweep_records_the_same_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTBENCH_CACHE", str(tmp_path / "cache"))
    words = ["model=ackley", "optimizer=adam", "optimizer.lr=0.01,0.1", "seeds=40", "trainer.start=random"]
    cold, warm = (optbench.sweep(*words, out=tmp_path / name, engine="fused", curves=5) for name in ("cold", "warm"))
    assert list(map(columns, cold)) == list(map(columns, warm))
    curves = [read([tmp_path / name]).runs() for name in ("cold", "warm")]
    assert len(curves[0]) == 80
    tables = [next((tmp_path / name).rglob("curves.parquet")).read_bytes() for name in ("cold", "warm")]
    assert tables[0] == tables[1]


def test_what_has_no_program_goes_the_long_way(tmp_path: Path) -> None:
    for words in (["trainer.grad_noise=0.1"], ["trainer.grad_noise=0,0.1"], ["model=sphere", "model.dim=20"]):
        found = batch([*words, "trainer.steps=5"], tmp_path, True)
        assert found is not None, words
        assert found[1].known is None, words


def test_a_start_outside_goes_alone_where_its_rows_are_kept(tmp_path: Path) -> None:
    words = ["model=himmelblau", "trainer.steps=3", "trainer.start=[0,0],[99,0],[1,1]"]
    plan = plan_sweep(words, (), tmp_path, "swept")
    (rows,) = batches(plan, 1).rows
    able, unable = startable(rows)
    assert rows.known is not None
    assert [item.config["trainer"]["start"] for item in able.planned] == [[0, 0], [1, 1]]
    assert [item.config["trainer"]["start"] for item in unable] == [[99, 0]]
    with pytest.raises(OptbenchError, match="outside the domain"):
        optbench.run("model=himmelblau", "trainer.steps=3", "trainer.start=[99,0]", out=tmp_path)


def test_a_kept_batch_runs_by_torch_where_it_is_asked_to(tmp_path: Path) -> None:
    found = batch(["model=rastrigin", "trainer.steps=9"], tmp_path, True)
    assert found is not None
    this = found[1]
    assert this.known is not None
    eager = optbench.descend.descend(replace(this, backend="eager"))
    assert eager.engine == "eager"
    mine = executed(this, scalar=True)
    np.testing.assert_allclose(mine.x, eager.x, rtol=1e-9)
    assert mine.steps.tolist() == eager.steps.tolist()


ENDS = {
    "all ends": ["optimizer=gd", "optimizer.lr=0.01,0.02,0.05,2.0", "trainer.target=0.5", "trainer.grad_tol=0.05"],
    "plateaus": ["optimizer=adam", "optimizer.lr=0.1,1.0", "trainer.plateau_steps=7", "trainer.plateau_delta=0.05"],
    "cosine": ["optimizer=nadam", "optimizer.lr=0.01,0.3", "scheduler=cosine", "optimizer.betas=[0.9,0.99],[0.5,0.9]"],
    "floors": ["optimizer=rmsprop", "optimizer.lr=0.03,0.1", "scheduler=step", "scheduler.gamma=0.1,0.9"],
}


def plainly(result: BatchResult) -> dict[str, Any]:
    """Every number of a result to the bit, one NaN being as good as another."""
    return bits(replace(result, **_with_one_nan(result), curves=replace(result.curves, **_with_one_nan(result.curves))))


def _with_one_nan(result: Any) -> dict[str, Any]:
    arrays = {part.name: getattr(result, part.name) for part in fields(result)}
    floats = {name: a for name, a in arrays.items() if isinstance(a, np.ndarray) and a.dtype == np.float64}
    return {name: np.where(np.isnan(a), np.nan, a) for name, a in floats.items()}


@pytest.mark.parametrize("name", ENDS)
def test_rows_side_by_side_end_as_one_by_one(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["model=himmelblau", *ENDS[name], "trainer.steps=40", "trainer.record_every=3"]
    plan = plan_sweep([*words, "seeds=9", "trainer.start=random"], (), tmp_path, "swept")
    (rows,) = batches(plan, 1).rows
    this = batch_of(startable(rows)[0], Stop(), recorded=7)
    this = replace(this, targets=(30.0, 1.0))
    assert has_arrays(this)
    wanted = executed(this, scalar=True)
    if name == "all ends":
        assert len(set(wanted.code.tolist())) >= 3
    assert plainly(executed(this, arrays=True)) == plainly(wanted)
    monkeypatch.setattr(array_rows, "BLOCK", 5)
    told: list[int] = []
    in_blocks = executed(replace(this, on_rows=told.append), arrays=True)
    assert plainly(in_blocks) == plainly(wanted)
    assert sum(told) == this.rows


def test_rows_side_by_side_that_are_stopped_are_left_to_do(tmp_path: Path) -> None:
    plan = plan_sweep(["model=himmelblau", "optimizer=gd", "optimizer.lr=0.01,9.0", "seeds=3", "trainer.start=random",
                       "trainer.steps=50"], (), tmp_path, "swept")  # fmt: skip
    (rows,) = batches(plan, 1).rows
    asked = iter([False] * 20 + [True] * 99)
    this = replace(batch_of(startable(rows)[0], Stop(), recorded=6), stop_requested=lambda: next(asked))
    found = executed(this, arrays=True)
    quick = np.array([item.config["optimizer"]["lr"] == 9.0 for item in rows.planned])
    assert [found.status(i).value for i in np.flatnonzero(quick)] == ["diverged"] * 3
    assert [found.status(i).value for i in np.flatnonzero(~quick)] == ["interrupted"] * 3
    assert np.isnan(found.curves.loss[~quick]).all()


def test_functions_of_numpy_are_not_trusted_with_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for surface, exact in (("rosenbrock", True), ("ackley", False)):
        found = batch([f"model={surface}", "trainer.steps=3"], tmp_path, True)
        assert found is not None
        assert has_arrays(found[1])  # with functions of our own
        assert not has_arrays(replace(found[1], known=None))
        with monkeypatch.context() as patch:
            patch.setattr(library, "is_there", lambda: False)
            assert has_arrays(found[1]) is exact


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        ["model=ackley", "model.dim=3"],
        ["model=rastrigin", "optimizer.lr=0.1,1e9"],
        ["model=easom"],
        ["model=tanh_2neuron"],
    ]
    + [["model=bbob", f"model.function={f}", "model.dim=3"] for f in (2, 6, 7, 10, 14, 16, 20, 22)],
    ids=" ".join,
)
def test_functions_of_arrays_have_the_bits_of_single_numbers(model: list[str], tmp_path: Path) -> None:
    words = [*model, "optimizer=gd", "trainer.steps=60", "seeds=9", "trainer.start=random"]
    (rows,) = batches(plan_sweep(words, (), tmp_path, "swept"), 1).rows
    this = batch_of(startable(rows)[0], Stop(), recorded=5)
    assert has_arrays(this)  # of bbob 17, 23 and 24 rounding grows so fast that no step but torch's own is believed
    assert plainly(executed(this, arrays=True)) == plainly(executed(this, scalar=True))


def test_the_engine_follows_the_size_of_a_batch(tmp_path: Path) -> None:
    found = batch(["model=rosenbrock", "trainer.steps=500"], tmp_path, True)
    assert found is not None

    def quickest(rows: int, compiled: bool = False, cost: int = 100) -> str:
        seconds = estimates(found[1], rows, compiled, cost)
        assert next(iter(seconds)) == "fused"
        return min(seconds, key=lambda name: seconds[name])

    assert (quickest(3), quickest(1000), quickest(3_000_000)) == ("scalar", "arrays", "fused")
    assert quickest(3_000_000, cost=10_000_000) == "arrays"  # what takes a day to compile
    by_torch = replace(found[1], known=None)
    assert set(estimates(by_torch, 1000, False, 100)) == {"fused", "eager"}


def test_a_record_says_why_its_engine_ran_it(tmp_path: Path) -> None:
    words = ["model=himmelblau", "optimizer=gd", "seeds=200", "trainer.start=random", "trainer.steps=20"]
    provenance = json.loads(optbench.sweep(*words, out=tmp_path)[0].summary["provenance"])
    assert re.fullmatch(r"about compiled \S+ s; one by one \S+ s; side by side \S+ s", provenance["batch"]["why"])
