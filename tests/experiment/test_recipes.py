"""The homework's recipes: each says what is known of it, and trains on made pictures of its size in a step or two."""

from __future__ import annotations

from pathlib import Path

import members
import pytest
from members import ROOT

import optbench
from optbench.experiment import compose, plan_run, plan_sweep

BASELINES = {"hw3/simple": "0.50099", "hw3/medium": "0.73207", "hw3/strong": "0.81872", "hw3/boss": "0.88446"}
MADE = ["data.train_per_class=2", "data.validation_per_class=1", "data.n_test=2", "trainer.threads=1"]


def text_of(name: str) -> str:
    return (ROOT / "conf" / "experiment" / f"{name}.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", BASELINES)
def test_a_recipe_says_what_was_never_run(name: str) -> None:
    lines = text_of(name).splitlines()
    comments = " ".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))
    assert f"(public {BASELINES[name]} in 2022)" in lines[1]
    assert "Never run on the real Food-11 here, so no score of this recipe is known." in comments
    assert f"experiment={name} data=food11 data.root=" in comments  # how it would be


@pytest.mark.parametrize("name", BASELINES)
def test_a_recipe_is_as_it_says(name: str, tmp_path: Path) -> None:
    config = compose(f"experiment={name}", "data=food11")
    assert config["data"]["image_size"] == (224 if name == "hw3/boss" else 128)
    assert config["trainer"]["clip_norm"] == 10
    assert f"{config['trainer']['epochs']} epochs" in text_of(name).splitlines()[1]
    small = [f"experiment={name}", "trainer.steps=1"]
    assert len(plan_sweep(small, out=tmp_path)) == (5 if name == "hw3/strong" else 1)
    assert plan_run(small, out=tmp_path).config["data"].get("folds") == (5 if name == "hw3/strong" else None)


SLOW = ("hw3/medium", "hw3/boss")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in BASELINES])
def test_a_recipe_runs_on_made_pictures(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTBENCH_CACHE", str(tmp_path / "cache"))
    narrow = (
        ["model.width=2"] if "width" in members.read("model", compose(f"experiment={name}")["choices"]["model"]) else []
    )
    size = 64 if name == "hw3/boss" else 32
    small = [*MADE, *narrow, f"data.image_size={size}", "trainer.batch_size=8", "trainer.steps=2"]
    run = optbench.run(f"experiment={name}", *small, out=tmp_path)
    assert (run.status, run.summary["steps"]) == ("completed", 2), run.reason


@pytest.mark.slow
def test_the_races_are_one_line_each_and_of_their_size(tmp_path: Path) -> None:
    """What the page says of them: every optimizer but the general form, and every batch size by itself on the clock."""
    race = plan_sweep(["experiment=hw3/optimizer_race"], out=tmp_path)
    optimizers = {*members.names("optimizer")} - {"book"}
    assert {item.config["choices"]["optimizer"] for item in race} == optimizers
    assert len(race) == len(optimizers) * 5 * 3 * 2
    sizes = plan_sweep(["experiment=hw3/batch_size"], out=tmp_path)
    assert {item.config["trainer"]["batch_size"] for item in sizes} == {1, 16, 64, 256, "full"}
    assert len(sizes) == 5 * 2 * 3
    assert {item.config["trainer"]["threads"] for item in sizes} == {1}
    losses = plan_sweep(["experiment=hw3/loss"], out=tmp_path)
    assert {item.config["choices"]["loss"] for item in losses} == {"cross_entropy", "mse_softmax"}
    assert len(losses) == 2 * 2 * 5 * 6


@pytest.mark.parametrize("name", ["hw3/optimizer_race", "hw3/batch_size", "hw3/loss", "hw3/sample"])
def test_what_was_never_run_on_the_real_pictures_is_said(name: str) -> None:
    assert "ever on the real Food-11" in text_of(name) or "Never run on the real Food-11" in text_of(name)
