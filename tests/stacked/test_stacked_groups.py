"""Parameter groups, muP, averages and mini-batches in a stack: each row is the run alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from test_stacked import NEAR, RATES, apart, both, check_same, weights

from optbench.experiment import plan_sweep
from optbench.launch.sweep import Options, divide
from optbench.records import Run
from optbench.stacked.train import piece_sizes

GROUPS = "optimizer.groups=[{role:vector,weight_decay:0.0},{params:'layers.1.*',lr_scale:0.1,weight_decay:0.5}]"


def check_groups(stacked: Run, alone: Run) -> None:
    """Also the rate of each group, and what the record says of them."""
    check_same(stacked, alone)
    mine, theirs = stacked.columns(), alone.columns()
    names = [name for name in theirs if name.startswith("lr")]
    assert [name for name in mine if name.startswith("lr")] == names
    for name in names:
        assert apart(mine[name], theirs[name]) < 1e-12
    assert stacked.provenance.get("parameter_groups") == alone.provenance.get("parameter_groups")


def test_groups(tmp_path: Path) -> None:
    """On equal inputs, whose weights move as one: the decay that is taken apart is that of their group."""
    given = ("data.channels=3", "optimizer=adamw", RATES, "optimizer.weight_decay=0.3", "trainer.clip_norm=0.5", GROUPS)
    for stacked, alone in both(tmp_path, *given):
        check_groups(stacked, alone)
        assert "lr2" in stacked.columns()


@pytest.mark.slow
@pytest.mark.parametrize("given", [
    ("optimizer=adamw", "optimizer.groups=no_decay", "optimizer.weight_decay=0.01,0.4"),
    ("optimizer=sgd", "optimizer.groups=[{ndim:1,lr:0.2},{params:'*',lr_scale:0.5}]", "optimizer.lr=0.02,0.1"),
    ("optimizer=momentum", "optimizer.groups=[{role:head,nesterov:true,lr_scale:2}]", "optimizer.lr=0.01,0.05"),
    ("optimizer=adam", "trainer.mup_base={hidden:[3,2]}", "model.hidden=[12,8]", RATES),
    ("optimizer=sgd", "trainer.mup_base={hidden:[3,2]}", "model.hidden=[12,8]", "optimizer.lr=0.02,0.1"),
])  # fmt: skip
def test_every_kind_of_group(given: tuple[str, ...], tmp_path: Path) -> None:
    for stacked, alone in both(tmp_path, *given, "seeds=2", "scheduler=warmup_cosine"):
        check_groups(stacked, alone)


def check_averaged(stacked: Run, alone: Run) -> None:
    """Also the weights that are trained on."""
    check_same(stacked, alone)
    for name in ("last", "best"):
        mine, theirs = (torch.load((run.path or Path()) / f"{name}.pt", weights_only=True) for run in (stacked, alone))
        if name == "last" or mine["step"] == theirs["step"]:
            assert mine["averaged"] == theirs["averaged"]
            for key, value in theirs["trained"].items():
                assert apart(mine["trained"][key], value) < 10 * NEAR, (name, key)
    state = torch.load((stacked.path or Path()) / "last.pt", weights_only=True)
    assert apart(state["trained"]["layers.1.weight"], weights(stacked, "last")["layers.1.weight"]) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("given", [
    ("data.channels=3", "optimizer=adamw", "optimizer.weight_decay=0.3", "optimizer.lr=5e-3,1e30"),
    ("model.norm=batch", "optimizer=momentum", "optimizer.lr=0.05,0.01"),
])  # fmt: skip
def test_averages(given: tuple[str, ...], tmp_path: Path) -> None:
    """Of equal inputs too, and of batch norm's statistics; a row that diverges leaves the others alone."""
    for stacked, alone in both(tmp_path, *given, "trainer.ema=0.9"):
        assert stacked.status == alone.status
        if alone.status.value == "completed":
            check_averaged(stacked, alone)


@pytest.mark.slow
@pytest.mark.parametrize("given", [(), ("model.norm=batch",), ("model.norm=batch", "trainer.batch_size=full")])
def test_mini_batches(given: tuple[str, ...], tmp_path: Path) -> None:
    """Batch norm's statistics are those of a mini-batch; without it all go through the layers at once."""
    overrides = ("optimizer=sgd", "optimizer.lr=0.1,0.02", "trainer.batch_size=110", "trainer.accumulate=3", *given)
    for stacked, alone in both(tmp_path, *overrides):
        check_same(stacked, alone)


def test_mini_batches_are_the_loops() -> None:
    assert piece_sizes(7, 3) == [3, 4]
    assert piece_sizes(8, 3) == [3, 3, 2]
    assert piece_sizes(3, 1) == [1, 1, 1]
    assert piece_sizes(1, 3) == [1]
    assert piece_sizes(6, 3) == [3, 3]


@pytest.mark.parametrize(("rule", "words"), [
    ("{role:head,_target_:torch.optim.SGD,lr:0.1}", "another optimizer"),
    ("{role:head,scheduler:constant}", "another schedule"),
])  # fmt: skip
def test_why_groups_stay_alone(rule: str, words: str, tmp_path: Path) -> None:
    plan = plan_sweep(["model=mlp", "optimizer=adam", "seeds=2", f"optimizer.groups=[{rule}]"], (), tmp_path, "s")
    (why,) = set(divide(plan, Options(engine="stacked", least=2)).why.values())
    assert words in why


MOMENTUM = ("optimizer=momentum", "optimizer.lr=0.05,0.01")


@pytest.mark.slow
@pytest.mark.parametrize("given", [
    (*MOMENTUM, "wrap=clip", "wrap.clip.norm=0.2", "trainer.clip_norm=0.5"),
    (*MOMENTUM, "wrap=[clip,ema]", "wrap.clip.value=1e-3", "wrap.clip.norm=null", "wrap.ema.decay=0.8"),
    ("wrap=[lookahead,clip]", "wrap.lookahead.k=3", "optimizer=adamw", "optimizer.weight_decay=0.3",
     "optimizer.lr=5e-3,1e30"),
    (*MOMENTUM, "wrap=clip", "wrap.clip.value=1e-3", "model.norm=batch", "trainer.ema=0.9"),
])  # fmt: skip
def test_wrappers(given: tuple[str, ...], tmp_path: Path) -> None:
    """Gradients that are cut, and weights beside, on equal inputs too."""
    for stacked, alone in both(tmp_path, "data.channels=3", *given):
        assert stacked.status == alone.status
        assert stacked.provenance.get("protocol") == alone.provenance.get("protocol")
        if alone.status.value == "completed":
            check_same(stacked, alone)
            if "wrap=clip" not in given:
                states = [torch.load((one.path or Path()) / "last.pt", weights_only=True) for one in (stacked, alone)]
                assert states[0].keys() == states[1].keys()
                for key, value in states[1]["trained"].items():
                    assert apart(states[0]["trained"][key], value) < 10 * NEAR, key


def test_why_wrappers_stay_alone(tmp_path: Path) -> None:
    for given, said in ((("wrap=sam",), "wrap=sam is around"), (("wrap=ema", "model.norm=batch"), "statistics anew"),
                        (("wrap=ema", "trainer.ema=0.9"), "wrap=ema is around")):  # fmt: skip
        plan = plan_sweep(["model=mlp", "optimizer=adam", "seeds=2", *given], (), tmp_path, "s")
        (why,) = set(divide(plan, Options(engine="stacked", least=2)).why.values())
        assert said in why
