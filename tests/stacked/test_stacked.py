"""Networks that train as one program: each is the run that it would be alone, record by record.

What is compared with is the training loop. float32 sums are taken in another order, so numbers agree to a tolerance: a
loss and a gradient norm to 1e-5 of its size before the first update and to `NEAR` over the twenty-odd updates here, of
networks and learning rates that do not enlarge rounding.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from members import CONF, names, read

from optbench.experiment import plan_sweep
from optbench.launch.sweep import Options, divide, sweep
from optbench.records import Run, Status

NEAR = 2e-3
SMALL = ("model=mlp", "model.hidden=[12,7]", "data.image_size=8", "data.channels=1", "trainer.epochs=2",
         "trainer.batch_size=128", "hydra.launcher.jobs=0")  # fmt: skip
RATES = "optimizer.lr=2e-3,5e-4"


def both(tmp_path: Path, *overrides: str) -> list[tuple[Run, Run]]:
    """The runs of a sweep, stacked and by the loop."""
    made = {}
    for engine in ("stacked", "loop"):
        made[engine] = sweep(*SMALL, *overrides, out=tmp_path / engine, name="s", engine=engine, least=2)
    assert len(made["stacked"]) == len(made["loop"])
    return list(zip(made["stacked"], made["loop"], strict=True))


def weights(run: Run, name: str) -> dict[str, torch.Tensor]:
    assert run.path is not None
    state = torch.load(run.path / f"{name}.pt", weights_only=True)
    found: dict[str, torch.Tensor] = state["model"]
    return found


def apart(found: Any, wanted: Any) -> float:
    """The largest difference, relative to the size of what is wanted."""
    a, b = (np.asarray(value, dtype=np.float64) for value in (found, wanted))
    assert np.array_equal(np.isnan(a), np.isnan(b))
    return float(np.nanmax(np.abs(a - b), initial=0.0) / max(np.nanmax(np.abs(b), initial=0.0), 1e-12))


def check_same(stacked: Run, alone: Run, near: float = NEAR) -> None:
    """That two records are of one run, up to rounding."""
    mine, theirs = stacked.summary, alone.summary
    assert mine["engine"] == "stacked", mine
    assert theirs["engine"] == "loop"
    assert (mine["seconds"], mine["seconds_of"]) == (None, "batch")
    for name in ("run_id", "status", "steps", "evals", "epochs", "seed", "model", "target", "steps_to_target"):
        assert mine[name] == theirs[name], name
    assert mine["reason"].split(":")[0] == theirs["reason"].split(":")[0]
    curves = stacked.columns(), alone.columns()
    assert np.array_equal(curves[0]["step"], curves[1]["step"])
    assert np.array_equal(curves[0]["epoch"], curves[1]["epoch"])
    assert apart(curves[0]["lr"], curves[1]["lr"]) < 1e-12
    for name in ("loss", "grad_norm", "val_loss"):
        assert apart(curves[0][name], curves[1][name]) < near, name
        assert apart(curves[0][name][:1], curves[1][name][:1]) < 1e-5, name
    for name in ("val_accuracy", "train_accuracy"):
        if name in curves[1]:
            assert apart(curves[0][name], curves[1][name]) < 0.02, name  # a few examples on the border
    judged = {name for name in curves[1] if name.startswith("val_")}
    assert {name for name in curves[0] if name.startswith("val_")} == judged
    for name in judged - {"val_loss", "val_accuracy"}:
        assert apart(curves[0][name], curves[1][name]) < 0.02, name
        assert apart(mine[f"best_{name}"], theirs[f"best_{name}"]) < 0.02, name
    for name in ("last", "best"):
        found, wanted = weights(stacked, name), weights(alone, name)
        assert list(found) == list(wanted)
        if name == "last" or mine["best_val_step"] == theirs["best_val_step"]:
            for key, value in wanted.items():
                assert found[key].dtype == value.dtype
                assert apart(found[key], value) < 10 * near, key


def test_runs_of_a_stack_are_the_runs_alone(tmp_path: Path) -> None:
    pairs = both(tmp_path, "optimizer=adam", RATES, "seeds=2", "scheduler=warmup_cosine")
    assert len(pairs) == 4
    for stacked, alone in pairs:
        check_same(stacked, alone)
    batch = pairs[0][0].provenance["batch"]
    assert batch["rows"] == 4
    assert batch["seconds"] > 0
    assert "times as quick" in batch["why"]


def test_equal_inputs_move_as_one(tmp_path: Path) -> None:
    """Three equal channels, decoupled decay: the sums that are trained are taken apart again; clipping counts all."""
    given = ("data.channels=3", "optimizer=adamw", RATES, "optimizer.weight_decay=0.3", "trainer.clip_norm=0.05")
    pairs = both(tmp_path, *given)
    for stacked, alone in pairs:
        check_same(stacked, alone)
    assert pairs[0][0].provenance["batch"]["trained"] < 12 * 64 + 12 + 7 * 13 + 10 * 8 + 12


def test_batch_norm_has_its_own_statistics(tmp_path: Path) -> None:
    for stacked, alone in both(tmp_path, "model.norm=batch", "optimizer=momentum", "optimizer.lr=0.05,0.01"):
        check_same(stacked, alone)
        state = weights(stacked, "last")
        assert state["layers.2.num_batches_tracked"] == stacked.summary["steps"]


def test_a_row_that_ends_leaves_the_others_alone(tmp_path: Path) -> None:
    """One diverges in the first epoch, one reaches the target, one goes on; each as it would alone."""
    given = ("optimizer=sgd", "optimizer.lr=1e30,0.5,1e-3", "scheduler=constant", "trainer.target=2.2")
    pairs = both(tmp_path, *given, "trainer.epochs=4")
    ends = [stacked.status for stacked, _ in pairs]
    assert ends == [Status.DIVERGED, Status.TARGET_REACHED, Status.COMPLETED]
    for stacked, alone in pairs:
        assert stacked.status == alone.status
        assert stacked.summary["steps"] == alone.summary["steps"]
    for stacked, alone in pairs[1:]:
        check_same(stacked, alone)


def test_of_a_table_whose_layers_learn_their_sizes_from_it(tmp_path: Path) -> None:
    """Each row begins with what its seed draws once the first examples are there."""
    given = ("model=logistic", "data=wine", "trainer.normalize=true", "optimizer=momentum", "seeds=2",
             "trainer.epochs=2", "hydra.launcher.jobs=0")  # fmt: skip
    made = [sweep(*given, out=tmp_path / e, name="s", engine=e, least=2) for e in ("stacked", "loop")]
    for stacked, alone in zip(*made, strict=True):
        check_same(stacked, alone)
    assert apart(*(weights(run, "last")["linear.weight"] for run in made[0])) > 1e-3


@pytest.mark.slow
def test_no_problem_of_the_suite_raises(tmp_path: Path) -> None:
    """A problem has a stack, or a reason that somebody wrote."""
    division = divide(plan_sweep(["experiment=suite/small"], out=tmp_path, name="s"), Options(least=2))
    passes = {stack.planned[0].choices["model"]: stack.rows.networks.passes is not None for stack in division.stacks}
    assert passes == {"linear": True, "logistic": True, "mlp": True, "cnn1d": False}
    said = {why.removeprefix("networks train one by one: ") for why in division.why.values()}
    assert not [words for words in said if "raised" in words], said
    assert len(said) == 2, said


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(names("optimizer")))
def test_every_optimizer_with_a_rule(name: str, tmp_path: Path) -> None:
    """All packaged ones, as they are chosen; those without a form for rows go by the loop and the plan says why."""
    whole = "# batch: full" in (CONF / "optimizer" / f"{name}.yaml").read_text()
    given = (f"optimizer={name}", "seeds=2", *(["trainer.batch_size=full"] if whole else []))
    plan = plan_sweep([*SMALL, *given], (), tmp_path / "plan", "s")
    division = divide(plan, Options(engine="stacked", least=2))
    if not division.stacks:
        assert name in ("lbfgs", "muon"), division.why
        assert all(why.startswith("networks train one by one: ") for why in division.why.values())
        return
    for stacked, alone in both(tmp_path, *given):
        # they go by signs, or by quotients, of gradients near 0
        check_same(stacked, alone, 2e-2 if name in ("rprop", "lion", "nadam") else NEAR)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(names("scheduler")))
def test_every_schedule(name: str, tmp_path: Path) -> None:
    plan = plan_sweep([*SMALL, f"scheduler={name}", "seeds=2"], (), tmp_path / "plan", "s")
    division = divide(plan, Options(engine="stacked", least=2))
    if not division.stacks:
        assert name == "plateau", division.why
        return
    for stacked, alone in both(tmp_path, f"scheduler={name}", "seeds=2", "optimizer=momentum", "optimizer.lr=0.02"):
        check_same(stacked, alone)


@pytest.mark.slow
@pytest.mark.parametrize("given", [
    *((f"loss={name}", "optimizer.lr=1e-3", *(["data=diabetes"] if "_numbers" in str(read("loss", name)) else []))
      for name in names("loss") if name != "surface"),
    ("model=logistic",), ("model=linear", "data=diabetes", "optimizer=sgd", "optimizer.lr=0.01"),
    ("data=breast_cancer", "trainer.normalize=true"), ("data=two_spirals", "loss=mse_softmax"),
    ("data=wine", "loss=focal", "optimizer=momentum", "trainer.batch_size=50"),
    ("model.activation=tanh", "model.dropout=0.3"), ("trainer.normalize=true",),
    ("trainer.batch_size=full", "trainer.grad_tol=0.3"),
    ("trainer.eval_every=2", "trainer.record_every=3"), ("trainer.patience=0", "trainer.epochs=6", "optimizer.lr=1e-6"),
    ("trainer.steps=13",), ("trainer.plateau_steps=2", "trainer.plateau_delta=0.5"), ("trainer.batch_size=1258",),
    ("trainer.metrics=[perplexity,macro_f1,top5]", "trainer.patience=0", "trainer.epochs=3"),
    ("data=diabetes", "trainer.metrics=[rmse,r2]", "optimizer.lr=1e-3"),
    ("loss=class_number", "n_outputs=1", "trainer.metrics=[macro_f1]"),
])  # fmt: skip
def test_every_kind_of_run(given: tuple[str, ...], tmp_path: Path) -> None:
    """Losses, models, stop rules and recording."""
    gone = {"model=logistic": "hidden", "model=linear": "hidden", "data=": "data."}
    taken = [part for word, part in gone.items() if any(g.startswith(word) for g in given)]
    overrides = [*(g for g in SMALL if not any(part in g for part in taken)), "seeds=2", *given]
    made = {}
    for engine in ("stacked", "loop"):
        made[engine] = sweep(*overrides, out=tmp_path / engine, name="s", engine=engine, least=2)
    for stacked, alone in zip(made["stacked"], made["loop"], strict=True):
        check_same(stacked, alone)
