"""Every member of conf/ at work: optimizers on surfaces and networks, schedulers, losses, models."""

from __future__ import annotations

import functools
import math
from dataclasses import asdict
from typing import Any

import members
import pytest
import torch
from loop_tools import CPU, Watcher, on_dots

from optbench.config import Composer, build_optimizer, build_scheduler
from optbench.errors import IncompatibleError
from optbench.experiment.assemble import build_problem
from optbench.loop import Loop, Summary, total_steps
from optbench.settings import SurfaceTrainer, trainer_from

OPTIMIZERS, SCHEDULERS, LOSSES = members.names("optimizer"), members.names("scheduler"), members.names("loss")


@functools.cache
def part(group: str, name: str) -> dict[str, Any]:
    """A node of the configuration, as it is on a surface."""
    raw = members.read(group, name)
    return {k: raw[k] for k in ("_target_", "_partial_") if k in raw} | members.keywords(group, name)


@functools.cache
def loss_of(surface: str) -> str:
    """The loss that the surface brings."""
    return "cross_entropy" if "_surface_logits" in members.read("model", surface)["defaults"] else "surface"


def on_surface(model: str, optimizer: str = "adam", scheduler: str = "constant", steps: int = 3) -> dict[str, Any]:
    """The configuration of a short run on a surface, put together without Hydra: a thousand are wanted."""
    return {
        "model": part("model", model),
        "data": {"_target_": None},
        "augment": {"_target_": None},
        "loss": part("loss", loss_of(model)),
        "optimizer": part("optimizer", optimizer),
        "scheduler": part("scheduler", scheduler),
        "trainer": asdict(SurfaceTrainer(steps=steps, threads=1)),
        "seed": 0,
        "choices": {"model": model},
    }


def go(config: dict[str, Any]) -> tuple[Summary, Watcher]:
    """Runs a configuration without a folder."""
    trainer = trainer_from(config)
    problem = build_problem(config, CPU)
    optimizer = build_optimizer(config, problem.module)
    scheduler = build_scheduler(config, optimizer, total_steps(problem, trainer))
    watcher = Watcher()
    return Loop(problem, optimizer, scheduler, trainer, watcher).run(), watcher


def compose(*overrides: str) -> dict[str, Any]:
    with Composer() as composer:
        return composer.compose([*overrides, "trainer.threads=1"]).config


@pytest.mark.parametrize(("optimizer", "step"), [
    *((name, 5) for name in OPTIMIZERS), *(pytest.param(name, 1, marks=pytest.mark.slow) for name in OPTIMIZERS),
])  # fmt: skip
def test_every_optimizer_runs_on_every_surface(optimizer: str, step: int) -> None:
    """On every fifth, each optimizer beginning with another, so that a surface has several; and on all."""
    for surface in members.surfaces()[OPTIMIZERS.index(optimizer) % step :: step]:
        summary, watcher = go(on_surface(surface, optimizer))
        where = f"{optimizer} on {surface}: {summary}"
        assert summary.reason, where
        if summary.status == "diverged":
            assert summary.reason.startswith(("the loss ", "the gradient ")), where
            continue
        assert summary.status in ("completed", "converged"), where
        assert summary.steps == 3 or summary.status == "converged", where
        assert len(watcher.rows) == summary.steps + 1, where
        for row in watcher.rows:
            assert all(math.isfinite(value) for value in row.values()), where


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_moves_and_repeats_itself(optimizer: str) -> None:
    (first, one), (_, two) = (go(on_surface("rosenbrock", optimizer, steps=40)) for _ in range(2))
    for rows in (one.rows, two.rows):
        for row in rows:
            del row["seconds"]
    assert one.rows == two.rows
    assert first.best_loss is not None
    assert first.best_loss < one.rows[0]["loss"]


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_every_scheduler_runs(scheduler: str) -> None:
    config = on_surface("sphere", "adam", scheduler, steps=30)
    summary, watcher = go(config)
    assert (summary.status, summary.steps) == ("completed", 30)
    assert all(math.isfinite(r["lr"]) and r["lr"] >= 0 for r in watcher.rows)
    assert watcher.rows[-1]["loss"] < watcher.rows[0]["loss"]


@pytest.mark.parametrize(("optimizer", "scheduler"), [
    *((name, "constant") for name in OPTIMIZERS), *(("adam", name) for name in SCHEDULERS if name != "constant"),
])  # fmt: skip
def test_an_interrupted_run_goes_on_to_the_bit_with(optimizer: str, scheduler: str) -> None:
    def loop_to(stop_after: int | None, state: dict[str, Any] | None = None) -> tuple[Loop, Watcher]:
        problem, trainer = on_dots(epochs=3)
        config = {"optimizer": part("optimizer", optimizer), "scheduler": part("scheduler", scheduler)}
        made = build_optimizer(config, problem.module)
        watcher = Watcher(stop_after)
        schedule = build_scheduler(config, made, total_steps(problem, trainer))
        loop = Loop(problem, made, schedule, trainer, watcher)
        if state is not None:
            loop.restore(state)
        loop.run()
        return loop, watcher

    whole, rows = loop_to(None)
    _, first = loop_to(6)
    resumed, second = loop_to(None, first.state("last"))
    for row in rows.rows + first.rows + second.rows:
        del row["seconds"]
    assert first.rows + second.rows == rows.rows
    weights = zip(whole.problem.module.parameters(), resumed.problem.module.parameters(), strict=True)
    assert all(a.equal(b) for a, b in weights)


# networks on digits


# every optimizer on the CNN: tests/optimizers/test_zoo.py


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("model", ["mlp", "softmax_logits"])
def test_every_loss_runs_or_says_why_not(model: str, loss: str) -> None:
    small = ["data.image_size=8"] if model == "mlp" else []
    config = compose(f"model={model}", f"loss={loss}", "trainer.steps=20", *small)
    kind = members.target("loss", loss)
    takes_label = getattr(kind, "takes_label", True) and not getattr(kind, "takes_numbers", False)  # both have classes
    fits = takes_label and (model in members.networks() or config["n_outputs"] == 0)  # 0: as many as there are
    if not fits:
        with pytest.raises(IncompatibleError) as caught:
            go(config)
        assert caught.value.message
        return
    summary, watcher = go(config)
    losses = [r["loss"] for r in watcher.rows if "loss" in r]
    assert summary.status == "completed"
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("model", members.network_cases())
def test_every_network_takes_a_step_on_digits(model: str) -> None:
    narrow = ["model.width=4"] if "width" in members.read("model", model) else []
    config = compose(f"model={model}", *narrow, "trainer.steps=1", "trainer.batch_size=8")
    torch.manual_seed(0)
    summary, watcher = go(config)
    assert (summary.status, summary.steps) == ("completed", 1), summary.reason
    assert math.isfinite(watcher.rows[0]["loss"])
    assert watcher.rows[0]["grad_norm"] > 0
    assert watcher.rows[-1]["val_loss"] != watcher.rows[0]["val_loss"]  # the step moved it


def test_a_network_and_a_surface_do_not_take_each_others_parts() -> None:
    config = compose("model=mlp")
    surface = compose("model=rosenbrock")
    for mixed, words in (
        ({**config, "data": {"_target_": None}}, "is a network and needs data"),
        ({**config, "trainer": surface["trainer"]}, "trainer=surface is for surfaces"),
        ({**config, "loss": surface["loss"]}, "loss=surface is for surfaces"),
        ({**surface, "data": config["data"]}, "is a surface and takes no data"),
        ({**surface, "trainer": config["trainer"]}, "trainer=network is for networks"),
        ({**surface, "loss": config["loss"]}, "is a surface of values"),
    ):
        with pytest.raises(IncompatibleError, match=words):
            build_problem(mixed, CPU)


def test_a_network_that_does_not_take_the_images_is_incompatible() -> None:
    with pytest.raises(IncompatibleError, match="1x8x8"):
        build_problem(compose("model=resnet18", "data.channels=1", "data.image_size=8"), CPU)
