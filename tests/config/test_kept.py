"""Compositions from one process to the next: the same as Hydra's, without it, and never those of another tree."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from optbench.config import Composer
from optbench.config.kept import is_pure
from optbench.errors import ConfigError
from optbench.experiment.plan import plan_run, plan_sweep

RUNS: list[list[str]] = [
    [],
    ["optimizer=rmsprop", "optimizer.lr=1", "trainer.start=[0,1]"],
    ["model=mlp", "data=digits", "loss=label_smoothing", "seed=7"],
]
SWEEPS: list[Any] = [
    ["optimizer=sgd,adam", "optimizer.lr=1e-3,1", "seeds=3"],
    ["optimizer.lr=tag(log,interval(1e-4,1))", "trainer.start=[0,1],random"],
    pytest.param(["model=rosenbrock,mlp", "trainer.steps=3,5", "optimizer=adam,lion"], marks=pytest.mark.slow),
    pytest.param(["optimizer.weight_decay=0,0.1", "scheduler=step,cosine"], marks=pytest.mark.slow),
    pytest.param(["experiment=book_optimizers"], marks=pytest.mark.slow),
    pytest.param(["model=hw3_cnn", "data=digits", "trainer.batch_size=full,8", "n_outputs=11"], marks=pytest.mark.slow),
]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTBENCH_CACHE", str(tmp_path / "cache"))


def without_hydra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever asks for Hydra fails from here on."""

    def refuse(dirs: Sequence[Path]) -> Any:
        raise AssertionError("Hydra was asked")

    monkeypatch.setattr(sys.modules[Composer.__module__], "_hydra", refuse)


@pytest.mark.parametrize("overrides", RUNS, ids=" ".join)
def test_a_known_run_is_planned_without_hydra(
    overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = plan_run(overrides, (), tmp_path)
    without_hydra(monkeypatch)
    again = plan_run(overrides, (), tmp_path)
    assert again == first
    assert repr(again.config) == repr(first.config)


@pytest.mark.parametrize("overrides", SWEEPS, ids=" ".join)
def test_a_known_sweep_is_planned_without_hydra(
    overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = plan_sweep(overrides, (), tmp_path, samples=5)
    without_hydra(monkeypatch)
    again = plan_sweep(overrides, (), tmp_path, samples=5)
    assert [repr(p.config) for p in again] == [repr(p.config) for p in first]
    assert list(again) == list(first)
    assert (again.name, again.folder, again.launcher) == (first.name, first.folder, first.launcher)


def test_other_overrides_or_samples_are_other_compositions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan_run(["optimizer.lr=0.5"], (), tmp_path)
    plan_sweep(["optimizer.lr=interval(0,1)"], (), tmp_path, samples=3)
    without_hydra(monkeypatch)
    for question in (
        lambda: plan_run(["optimizer.lr=0.25"], (), tmp_path),
        lambda: plan_sweep(["optimizer.lr=interval(0,1)"], (), tmp_path, samples=4),
    ):
        with pytest.raises(ConfigError, match="Hydra was asked"):
            question()


def tree(tmp_path: Path, lr: str) -> Path:
    mine = tmp_path / "mine"
    (mine / "optimizer").mkdir(parents=True, exist_ok=True)
    (mine / "optimizer" / "own.yaml").write_text(f"_target_: torch.optim.SGD\n_partial_: true\nlr: {lr}\n")
    return mine


def test_an_edited_file_is_seen(tmp_path: Path) -> None:
    for lr in ("0.5", "0.7", "0.5"):
        assert plan_run(["optimizer=own"], [tree(tmp_path, lr)], tmp_path).config["optimizer"]["lr"] == float(lr)
    other = shutil.copytree(tree(tmp_path, "0.9"), tmp_path / "other")
    shutil.rmtree(tmp_path / "mine")
    assert plan_run(["optimizer=own"], [other], tmp_path).config["optimizer"]["lr"] == 0.9
    with pytest.raises(ConfigError, match="no such folder"):
        plan_run(["optimizer=own"], [tmp_path / "mine"], tmp_path)


def test_what_the_environment_says_is_asked_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tree(tmp_path, "${oc.decode:${oc.env:OWN_RATE}}")
    for lr in (0.5, 0.25):
        monkeypatch.setenv("OWN_RATE", str(lr))
        assert plan_run(["optimizer=own"], [mine], tmp_path).config["optimizer"]["lr"] == lr


def test_code_of_ones_own_that_went_missing_is_named_all_the_same(tmp_path: Path) -> None:
    mine = tree(tmp_path, "0.5")
    (mine / "optimizer" / "own.yaml").write_text("_target_: gone_soon.Own\n_partial_: true\nlr: 0.5\n")
    (mine / "gone_soon.py").write_text("class Own: ...\n")
    plan_run(["optimizer=own"], [mine], tmp_path)
    (mine / "gone_soon.py").unlink()
    with pytest.raises(ConfigError, match="no module 'gone_soon'"):
        plan_run(["optimizer=own"], [mine], tmp_path)


@pytest.mark.parametrize(
    ("text", "pure"),
    [
        ("lr: ${by_problem:0.1,0.2}", True),
        ("${n_outputs} ${data.channels}", True),
        ("${oc.select:a.b,1}", True),
        ("${oc.env:HOME}", False),
        ("${now:%Y}", False),
        ("${hydra:runtime.cwd}", False),
        ("${ hydra.runtime.cwd}", False),
        ("${by_problem:${oc.env:A},1}", False),
        ("${oc.${kind}:A}", False),
    ],
)
def test_purity(text: str, pure: bool) -> None:
    assert is_pure([text]) is pure
