"""Reasons are never discarded: why a run is no row, what differs where contents do, what one's own function lacks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from command_tools import invoke
from torch import Tensor

from optbench.comparison.facts import Facts
from optbench.comparison.labels import configuration_names, problem_names
from optbench.errors import UserError
from optbench.experiment import Stop, assemble, plan_sweep
from optbench.launch import launcher
from optbench.launch.sweep import Options, Silent, divide, run_sweep
from optbench.problem import AbstractSurface, check_takes_a_point
from optbench.records import read
from optbench.surfaces.quadratics import Sphere

EASY = ("model=sphere", "trainer.steps=3", "trainer.start=random")


# ---- the plan says who is no row


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("seeds=3",), "fewer than 16 that differ in numbers alone; 16 or more (seeds=16) are rows"),
        (("seeds=16", "trainer.seconds=9"), "trainer.steps makes them rows"),
        (("seeds=16", "trainer.curvature_every=1"), "without it they are rows"),
        (("seeds=16", "trainer.device=cuda"), "trainer.device=cpu makes them rows"),
        (("seeds=16", "optimizer=lbfgs"), "LBFGS"),
        (("model=mlp", "seeds=7"), "networks train one by one: fewer than 8"),
        (
            ("model=hw3_cnn", "model.width=4", "seeds=16"),
            "networks train one by one: 16 networks of 20170 weights, 32 examples an update: about 0.7",
        ),
        (("model=gpt", "seeds=16"), "one by one: Embedding (tokens) does not stack: of transformers"),
        (("model=lstm", "seeds=16"), "one by one: Embedding (tokens) does not stack"),
        (("model=mlp", "seeds=16", "trainer.seconds=9"), "networks train one by one: trainer.seconds=9"),
        (("model=mlp", "seeds=16", "scheduler=plateau"), "a schedule that follows the loss"),
    ],
)
def test_every_run_that_is_no_row_has_its_reason(words: tuple[str, ...], reason: str, tmp_path: Path) -> None:
    base = EASY if words[0][:6] != "model=" else ()
    division = divide(plan_sweep([*base, *words], out=tmp_path), Options())
    assert not division.rows
    assert {reason in division.why[item.run_id] for item in division.single} == {True}
    assert any(reason in sentence for sentence in division.notes(everything=True))
    assert bool(division.notes()) == ("optimizer=lbfgs" in words), "what is usual needs no word where nobody asked"


@pytest.mark.slow
def test_an_engine_that_was_asked_for_and_is_not_used_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sweep", *EASY, "seeds=2", "--out", tmp_path, "--jobs", "0"]
    _, _, err = invoke(capsys, *words, "--engine", "fused")
    assert "2 like sphere adam constant seed=0 go one by one: fewer than 16" in err
    _, _, err = invoke(capsys, *words, "--force")
    assert "one by one" not in err
    _, out, _ = invoke(capsys, *words, "--force", "--dry-run", "--json", "--engine", "loop")
    assert {row["why"] for row in json.loads(out)} == {"asked for, by --engine loop"}


# ---- once


def test_a_sweep_builds_a_surface_once_for_its_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from optbench.launch import batches as module

    built = []

    def counted(*args: Any, **kwargs: Any) -> Any:
        built.append(args)
        return assemble.build_problem(*args, **kwargs)

    monkeypatch.setattr(module, "build_problem", counted)
    plan = plan_sweep([*EASY, "seeds=16", "optimizer=gd,momentum,adam"], out=tmp_path)
    division = divide(plan, Options(engine="eager"))  # by itself, what the cache knows is not built at all
    assert [len(rows.planned) for rows in division.rows] == [16, 16, 16]
    for rows in division.rows:
        module.batch_of(module.startable(rows)[0], None)  # type: ignore[arg-type]
    assert len(built) == 1


def test_a_whole_sweep_builds_its_surface_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    make = Sphere.__init__
    monkeypatch.setattr(Sphere, "__init__", lambda *args, **kwargs: built.append(1) or make(*args, **kwargs))
    plan = plan_sweep([*EASY, "seeds=16", "optimizer=gd,momentum"], out=tmp_path)
    run_sweep(plan, launcher(plan.launcher), Stop(), Silent(), Options(engine="eager"))
    assert len(read([tmp_path])) == 32
    assert len(built) == 1


def test_run_reads_a_record_that_is_done_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from optbench.experiment import plan

    read = []
    look = plan.look
    monkeypatch.setattr(plan, "look", lambda *args: (read.append(args), look(*args))[1])
    assert invoke(capsys, "run", *EASY, "--out", tmp_path)[0] == 0
    assert len(read) == 2, "before the run, and once more when it holds the folder"
    read.clear()
    assert invoke(capsys, "run", *EASY, "--out", tmp_path)[0] == 0
    assert len(read) == 1


# ---- what differs, in words


def test_no_heading_shows_a_hash() -> None:
    base = {"model": "mlp", "data": "food", "loss_name": "cross_entropy", "optimizer": "adam", "scheduler": "constant"}
    rows = [
        Facts({**base, "data_fingerprint": digit * 64, "sources.optimizer": digit * 12, "model.width": 3})
        for digit in "ab"
    ] + [Facts({**base, "model.width": 3})]
    names = [*problem_names(rows).values(), *configuration_names(rows)[0].values()]
    assert names[:3] == [
        "mlp on food, cross_entropy (data aaaaaaaa)",
        "mlp on food, cross_entropy (data bbbbbbbb)",
        "mlp on food, cross_entropy (data not recorded)",
    ]
    assert names[3:] == [
        "adam (source of optimizer aaaaaaaa)",
        "adam (source of optimizer bbbbbbbb)",
        "adam (source of optimizer not recorded)",
    ]


# ---- functions of one's own


class Two(AbstractSurface):
    """f(x, y), where one point is wanted."""

    def __init__(self) -> None:
        super().__init__([(-1.0, 1.0)] * 2, [0.5, 0.5])

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:  # type: ignore[override]
        return x * x + y * y


class Unknown(AbstractSurface):
    """Its minimum is not known."""

    def __init__(self) -> None:
        super().__init__([(-1.0, 1.0)] * 2, [0.5, 0.5], None, None)  # type: ignore[arg-type]

    def __call__(self, x: Tensor) -> Tensor:
        return (x * x).sum(-1) + x[..., 0].sin()


class Column(Unknown):
    """Keeps the last axis."""

    def __call__(self, x: Tensor) -> Tensor:
        return (x * x).sum(-1, keepdim=True)


class Flat(AbstractSurface):
    """Its domain is no list of pairs."""

    def __init__(self) -> None:
        super().__init__([-1.0, 1.0], [0.5])  # type: ignore[list-item]

    def __call__(self, x: Tensor) -> Tensor:
        return x.sum(-1)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A conf folder with the surfaces above."""
    folder = tmp_path / "mine"
    (folder / "model").mkdir(parents=True)
    for kind in (Two, Unknown, Column, Flat):
        text = f"# mine\ndefaults: [_surface]\n_target_: {__name__}.{kind.__name__}\n"
        (folder / "model" / f"{kind.__name__.lower()}.yaml").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("two", "Two(x, y) takes 2 arguments, not one: the point, a tensor (..., dim)", "write Two(x), with x[..., 0]"),
        ("column", "Column returns shape (1,) for a point (2,); expected a tensor ()", "returns (...)"),
        ("flat", "Flat: cannot unpack", "a surface gives domain [(low, high), ...]"),
    ],
)
def test_a_surface_that_is_none_gets_a_sentence(
    name: str, message: str, hint: str, mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = invoke(capsys, "run", f"model={name}", "--config-dir", mine, "--out", tmp_path / "out")
    assert (code, out) == (2, "")
    assert message in err
    assert hint in err
    assert len(err.splitlines()) <= 3


def test_a_function_of_two_arguments_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "own.py"
    file.write_text("def f(x, y):\n    return x * x + y * y\n")
    code, _, err = invoke(capsys, "classify-critical", "--fn", f"{file}:f", "--box", "-1,1;-1,1")
    assert code == 2
    assert "f(x, y) takes 2 arguments, not one" in err
    assert "write f(x), with x[..., 0] for the first coordinate" in err


@pytest.mark.parametrize("function", [lambda x, y: x, lambda: 1, lambda x, *, a: x])
def test_functions_that_do_not_take_a_point(function: Any) -> None:
    with pytest.raises(UserError, match="not one: the point"):
        check_takes_a_point(function, "f")


@pytest.mark.parametrize("function", [lambda x: x, lambda x, a=1: x, lambda *x: x, torch.sin, max])
def test_functions_that_take_a_point(function: Any) -> None:
    check_takes_a_point(function, "f")


@pytest.mark.slow
def test_a_minimum_that_is_unknown_is_said_so(mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = ("model=unknown", "--config-dir", mine)
    assert invoke(capsys, "run", *own, "trainer.steps=3", "--out", tmp_path / "out", "--plot")[0] == 0
    code, out, _ = invoke(capsys, "sensitivity", *own, "--points", "3", "--seeds", "2", "trainer.steps=3")
    assert code == 0
    assert "no known minimum; give trainer.target=..." in out
    assert invoke(capsys, "basins", *own, "--grid", "4", "trainer.steps=3")[0] == 0
