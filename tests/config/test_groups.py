"""Parameter groups by rule: how they divide a network, what is refused and in which words, and runs that have them."""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import members
import pytest
import torch
from command_tools import invoke
from loop_tools import StopsAfter
from torch import nn

import optbench
from optbench.config import Composer, build_optimizer
from optbench.config.groups import account, check, divided, unmatched, written
from optbench.errors import ConfigError, IncompatibleError
from optbench.experiment import Stop
from optbench.experiment.execute import execute
from optbench.experiment.plan import plan_run
from optbench.records import run_id
from optbench.verification import verify

SGD = {"_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.5, "weight_decay": 0.1}


def net() -> nn.Sequential:
    """Names 0 to 3; roles first, filter, matrix, head, and vectors."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(12, 5), nn.Linear(5, 4)
    )


def made(groups: Any, module: nn.Module | None = None, **more: Any) -> torch.optim.Optimizer:
    node = written({**SGD, "groups": groups, **more})
    found: torch.optim.Optimizer = build_optimizer({"optimizer": node}, module or net())
    return found


def names(module: nn.Module, optimizer: torch.optim.Optimizer) -> list[list[str]]:
    called = {id(p): name for name, p in module.named_parameters()}
    return [[called[id(p)] for p in group["params"]] for group in optimizer.param_groups]


def test_the_first_rule_that_matches_counts_and_the_rest_is_group_0() -> None:
    module = net()
    rules = [
        {"role": ["head", "first"], "lr": 2},
        {"params": "4.*", "ndim": 2, "lr_scale": 0.5},
        {"layer": "_BatchNorm", "weight_decay": 0},
        {"ndim": 1, "lr": 0.25, "weight_decay": 0.0},
    ]
    optimizer = made(rules, module)
    assert names(module, optimizer) == [
        ["2.weight"], ["0.weight", "5.weight"], ["4.weight"], ["1.weight", "1.bias"],
        ["0.bias", "2.bias", "4.bias", "5.bias"],
    ]  # fmt: skip
    assert [(g["lr"], g["weight_decay"]) for g in optimizer.param_groups] == [
        (0.5, 0.1), (2.0, 0.1), (0.25, 0.1), (0.5, 0.0), (0.25, 0.0),
    ]  # fmt: skip
    everything = made([{"role": "head", "lr": 1.0}, {"momentum": 0.9}], module)
    assert [len(group["params"]) for group in everything.param_groups] == [1, 9]  # no rest


def test_an_update_is_that_of_groups_made_by_hand() -> None:
    """Against torch, with groups that are written out; decay on weights alone, in two ways of saying it."""
    for said in ("no_decay", [{"role": ["vector"], "weight_decay": 0}]):
        ours, theirs = net(), net()
        optimizer = made(said, ours)
        weights = [p for p in theirs.parameters() if p.ndim > 1]
        vectors = [p for p in theirs.parameters() if p.ndim == 1]
        by_hand = torch.optim.SGD(
            [{"params": weights}, {"params": vectors, "weight_decay": 0.0}], 0.5, weight_decay=0.1
        )
        for module, stepped in ((ours, optimizer), (theirs, by_hand)):
            for _ in range(2):
                stepped.zero_grad()
                module(torch.ones(2, 1, 6, 6)).square().sum().mul(1e-3).backward()
                stepped.step()
        assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
        plain = net()
        torch.optim.SGD(plain.parameters(), 0.5, weight_decay=0.1)
        assert not torch.equal(next(plain.parameters()), next(ours.parameters()))


def test_several_optimizers_over_disjoint_roles_are_those_by_hand() -> None:
    """torch's Muon on hidden matrices beside SGD, with one schedule over both; and gone on with from a state."""
    rule = {"role": "matrix", "_target_": "torch.optim.Muon", "lr_scale": 0.1, "weight_decay": 0.0}
    ours, theirs, third = net(), net(), net()
    optimizer, again = made([rule], ours), made([rule], third)
    hidden = theirs[4].weight
    others = [p for p in theirs.parameters() if p is not hidden]
    pair = [torch.optim.SGD(others, 0.5, weight_decay=0.1), torch.optim.Muon([hidden], 0.05, weight_decay=0.0)]
    schedules = [torch.optim.lr_scheduler.ExponentialLR(one, 0.5) for one in (optimizer, *pair)]
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.05]

    def loss(module: nn.Module) -> torch.Tensor:
        total: torch.Tensor = module(torch.ones(2, 1, 6, 6)).square().sum() * 1e-3
        return total

    calls = 0

    def closure() -> torch.Tensor:
        nonlocal calls
        calls += 1
        optimizer.zero_grad()
        value = loss(ours)
        value.backward()
        return value

    for _ in range(3):
        assert optimizer.step(closure) == loss_before(theirs, loss, pair)
        for schedule in schedules:
            schedule.step()
    assert calls == 3
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    assert optimizer.param_groups[1]["lr"] == 0.05 * 0.5**3
    assert set(optimizer.state) == {ours[4].weight}  # SGD without momentum has none
    third.load_state_dict(ours.state_dict())
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for module, stepped in ((ours, optimizer), (third, again)):
        stepped.zero_grad()
        loss(module).backward()
        stepped.step()
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), third.parameters(), strict=True))
    with pytest.raises(ValueError, match="the states of 2 optimizers"):
        again.load_state_dict({"state": {}, "param_groups": []})


def loss_before(module: nn.Module, loss: Any, optimizers: list[torch.optim.Optimizer]) -> torch.Tensor:
    """One update by each of the optimizers; gives the loss before it."""
    value: torch.Tensor = loss(module)
    module.zero_grad()
    value.backward()
    for optimizer in optimizers:
        optimizer.step()
    return value


class Wants(torch.optim.SGD):
    """Records what it was built from."""

    def __init__(self, params: Any, lr: float = 0.1, num_iterations: int = 0, size: int = 0, net: Any = None) -> None:
        self.built = params if isinstance(params, nn.Module) else list(params)
        self.known = (num_iterations, size, net)
        super().__init__(params.parameters() if isinstance(params, nn.Module) else self.built, lr)


WANTS = {"_target_": f"{__name__}.Wants", "_partial_": True}


def test_names_the_model_and_what_is_known_of_the_run_are_given_where_they_are_asked_for() -> None:
    module = net()

    def built(node: Mapping[str, Any], **known: int) -> Wants:
        found: Wants = build_optimizer({"optimizer": written({**WANTS, **node})}, module, **known)
        return found

    assert built({}).built == list(module.parameters())
    assert built({"params": "named"}).built == list(module.named_parameters())
    assert built({"params": "named"}).param_groups[0]["param_names"][0] == "0.weight"
    assert built({"params": "model"}).built is module  # type: ignore[comparison-overlap]
    grouped = built({"params": "named", "groups": [{"role": "head", "lr": 1.0}]})
    assert [group["param_names"] for group in grouped.param_groups][1] == ["5.weight"]
    asked = {"given": {"num_iterations": "steps", "size": "examples", "net": "model"}}
    assert built(asked, steps=70, examples=9).known == (70, 9, module)
    with pytest.raises(ConfigError, match=r"optimizer.given.num_iterations: steps of this run are not known"):
        built(asked)


REFUSED: list[tuple[Any, str]] = [
    ("no_deacy", "groups=no_deacy: expected a list of rules or no_decay"),
    ([], r"groups=\[\]: expected a list of rules"),
    ({"role": "head"}, "expected a list of rules"),
    (["head"], r"groups\[0\]=head: expected a rule"),
    ([{"role": "haed", "lr": 1}], r"groups\[0\].role=haed: expected one of embedding, vector, first"),
    ([{"ndim": "two"}], r"groups\[0\].ndim=two: expected a number of dimensions"),
    ([{"params": 3}], r"groups\[0\].params=3: expected a name or a pattern"),
    ([{"layer": [1]}], r"groups\[0\].layer=1: expected a class"),
    ([{"role": "head", "lr": -1}], r"groups\[0\].lr=-1.0: expected a positive number"),
    ([{"role": "head", "_target_": "torch.optim.Adam", "betas": [2]}], r"groups\[0\].betas=\[2\]: expected a list"),
    ([{"role": "head", "lr_scale": "x"}], r"groups\[0\].lr_scale=x: expected a number that is not negative"),
    ([{"role": "head", "lr_scale": 1, "lr": 1}], "it stands beside lr"),
    ([{"role": "head", "optional": "yes"}], r"optional=yes: expected true or false"),
    ([{"role": "head", "scheduler": "cosin"}], r"groups\[0\].scheduler: there is no schedule 'cosin'"),
    ([{"role": "head", "scheduler": 3}], r"expected a schedule, such as constant"),
    ([{"role": "head", "scheduler": {"name": "step", "size": 3}}], r"step has no key 'size'"),
    ([{"role": "head", "scheduler": {"name": "step", "step_size": 0}}], r"groups\[0\].scheduler.step_size=0"),
]


@pytest.mark.parametrize(("groups", "words"), REFUSED)
def test_what_cannot_be_a_rule_is_refused_before_the_network(groups: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        written({**SGD, "groups": groups})


def test_what_does_not_fit_the_network_or_the_optimizer_is_refused_with_what_there_is() -> None:
    with pytest.raises(IncompatibleError, match=r"groups\[0\] \(role embedding\) matches no parameter of Seq") as seen:
        made([{"role": "embedding", "lr": 1.0}])
    assert seen.value.hint.startswith("there are 6 vector, 1 first, 1 head, 1 filter, 1 matrix")
    with pytest.raises(IncompatibleError, match=r"params fc.\*") as seen:
        made([{"params": "fc.*", "lr": 1.0}])
    assert "such as 0.weight, 0.bias" in seen.value.hint
    with pytest.raises(IncompatibleError, match="layer Conv3d") as seen:
        made([{"layer": "Conv3d", "lr": 1.0}])
    assert "in Conv2d, BatchNorm2d, Linear" in seen.value.hint
    with pytest.raises(IncompatibleError, match=r"groups\[1\] \(role head\) is left with nothing: a rule before it"):
        made([{"lr": 1.0}, {"role": "head", "lr": 1.0}])
    with pytest.raises(ConfigError, match=r"\(role head\): learning_rate=1.0: SGD has no option 'learning_rate'"):
        made([{"role": "head", "learning_rate": 1.0}])
    assert len(made([{"role": "head", "rank": 4}], options=["rank"]).param_groups) == 2  # the node says so
    with pytest.raises(IncompatibleError, match="LBFGS computes the loss as often as it needs"):
        made([{"role": "head", "_target_": "torch.optim.LBFGS"}])
    with pytest.raises(ConfigError, match="there are no groups that go by roles"):
        build_optimizer({"optimizer": {**SGD, "roles": [{"params": "0.*", "role": "head"}]}}, net())
    optional = written({**SGD, "groups": [{"role": "embedding", "lr": 1.0, "optional": True}]})
    assert [group.rule for group in divided(optional, net())] == [{}]
    assert unmatched(optional, net()) == [
        "optimizer.groups[0] (role embedding) matches nothing in this Sequential, so no parameter has lr=1.0"
    ]
    for node, words in (({"params": "all"}, "expected named or model"), ({"given": {"x": "y"}}, "expected steps"),
                        ({"roles": [{"params": "x"}]}, "a pattern of names and a role")):  # fmt: skip
        with pytest.raises(ConfigError, match=words):
            check({**SGD, **node})


def test_groups_of_none_change_no_identity_and_one_way_of_saying_them_is_recorded() -> None:
    with Composer() as composer:
        base = ["model=mlp", "data=digits", "optimizer=adamw"]
        plain = composer.compose(base).config
        null = composer.compose([*base, "optimizer.groups=null"]).config
        rules = "optimizer.groups=[{role:[head],lr:1},{lr:0.2}]"
        both = composer.compose([*base, rules]).config
        assert "groups" not in plain["optimizer"]
        assert run_id(plain) == run_id(null)

        def identity(groups: Any) -> str:
            return run_id({**plain, "optimizer": written({**plain["optimizer"], "groups": groups})})

        assert identity([{"role": "head", "lr": 1.0}, {"lr": 0.2}]) == run_id(both)  # one way of writing it
        assert identity("no_decay") == identity([{"role": ["vector"], "weight_decay": 0}])
        assert (
            len(
                {
                    run_id(plain),
                    run_id(both),
                    identity("no_decay"),
                    identity([{"lr": 0.2}]),
                    identity([{"lr": 0.2}, {"role": "head", "lr": 1.0}]),
                }
            )
            == 5
        )  # the order counts
        one = composer.compose([*base, rules, "optimizer.groups.1.lr=1"]).config["optimizer"]["groups"]
        assert one == [{"role": "head", "lr": 1.0}, {"lr": 1.0}]
        with pytest.raises(ConfigError, match="has 2 entries, counted from 0"):
            composer.compose([*base, rules, "optimizer.groups.2.lr=1"])
        with pytest.raises(ConfigError, match=r"groups\[1\].lr=-1.0: expected a positive number"):
            composer.compose([*base, rules, "optimizer.groups.1.lr=-1"])
        grid = list(composer.grid([*base, rules, "optimizer.groups.0.lr=0.3,0.4"]))
        assert [job.composed.config["optimizer"]["groups"][0]["lr"] for job in grid] == [0.3, 0.4]
        assert all(job.composed.config["optimizer"]["groups"][1] == {"lr": 0.2} for job in grid)
        with pytest.raises(ConfigError, match=r"groups\[0\].lr=-1.0"):
            list(composer.grid([*base, rules, "optimizer.groups.0.lr=0.3,-1"]))


def test_a_run_records_every_rate_and_what_the_groups_are(tmp_path: Path) -> None:
    base = ["model=mlp", "model.hidden=[8,8]", "data=digits", "trainer.steps=3", "scheduler=exponential"]
    rules = "optimizer.groups=[{role:head,lr_scale:10},{role:vector,weight_decay:0}]"
    run = optbench.run(*base, "optimizer=adamw", rules, out=tmp_path)
    curve = run.curve()
    assert curve["lr1"].tolist() == pytest.approx([10 * lr for lr in curve["lr"].tolist()], rel=1e-14)
    assert curve["lr2"].tolist() == curve["lr"].tolist()
    rest, head, vectors = run.provenance["parameter_groups"]
    assert (rest["of"], head["of"], vectors["of"]) == ("the rest", "role head", "role vector")
    assert head == {
        "of": "role head", "tensors": 1, "parameters": 80, "roles": {"head": 1}, "options": {"lr": pytest.approx(0.01)},
    }  # fmt: skip
    assert sum(one["parameters"] for one in (rest, head, vectors)) == sum(
        one["parameters"] for one in account(run.config["optimizer"], rebuilt(run))
    )
    same = optbench.run(*base, "optimizer=adamw", "optimizer.groups=no_decay", out=tmp_path)
    assert "lr1" not in same.curve()  # all at one rate
    assert [one.verdict.value for one in verify([run, same], Stop())] == ["same bits"] * 2


def test_a_group_with_a_schedule_of_its_own_goes_by_that_alone(tmp_path: Path) -> None:
    """Rates by hand; a part that has an optimizer of its own stands last, in the record as in the columns; and a run
    that was stopped and goes on makes the same bits."""
    rules = ("optimizer.groups=[{role:head,_target_:torch.optim.SGD,lr:0.5},"
             "{role:vector,scheduler:{name:step,step_size:3,gamma:0.1}},"
             "{role:first,lr_scale:2,scheduler:constant}]")  # fmt: skip
    words = ["model=mlp", "model.hidden=[8,8]", "data=wine", "trainer.steps=8", "scheduler=cosine", "optimizer=adam",
             "optimizer.lr=0.01", "trainer.batch_size=full", rules]  # fmt: skip
    run = optbench.run(*words, out=tmp_path / "whole")
    curve, t = run.curve(), range(8)
    cosine = [0.5 * (1 + math.cos(math.pi * k / 8)) for k in t]
    wanted = {"lr": [0.01 * c for c in cosine], "lr1": [0.01 * 0.1 ** (k // 3) for k in t], "lr2": [0.02] * 8,
              "lr3": [0.5 * c for c in cosine]}  # fmt: skip
    for column, rates in wanted.items():
        assert curve[column].tolist()[:8] == pytest.approx(rates, rel=1e-12), column
    assert [one["of"] for one in run.provenance["parameter_groups"]] == [
        "the rest", "role vector", "role first", "role head",
    ]  # fmt: skip
    assert run.provenance["parameter_groups"][2]["scheduler"] == "constant"
    assert execute(plan_run(words, out=tmp_path / "part"), StopsAfter(3)).status == "interrupted"
    whole = optbench.run(*words, out=tmp_path / "part")
    assert whole.curve()[["loss", *wanted]].equals(curve[["loss", *wanted]])
    with pytest.raises(ConfigError, match="waits for evaluations"):
        optbench.run(*words, "scheduler=plateau", out=tmp_path / "no")


def rebuilt(run: optbench.Run) -> nn.Module:
    return optbench.build_problem(run.config, torch.device("cpu")).module


def test_a_surface_with_groups_goes_by_the_loop_to_the_bits_of_the_rows(tmp_path: Path) -> None:
    base = ["model=sphere", "optimizer=adam", "trainer.steps=20"]
    plain, grouped = (optbench.run(*base, *more, out=tmp_path) for more in ([], ["optimizer.groups=[{role:vector}]"]))
    assert (plain.summary["engine"], grouped.summary["engine"]) == ("scalar", "loop")
    assert grouped.summary["final_loss"] == pytest.approx(plain.summary["final_loss"], rel=1e-12)


def test_a_sweep_skips_where_a_rule_fits_no_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = ("sweep", "model=mlp,logistic", "data=digits", "trainer.steps=2", "optimizer=sgd", "hydra.launcher.jobs=0")
    code, out, _ = invoke(capsys, *sweep, "optimizer.groups=[{role:first,lr:0.1}]", "--out", tmp_path, "--json")
    found = {run["model"]: (run["status"], run["reason"]) for run in json.loads(out)}
    assert code == 0
    assert found["mlp"][0] == "completed"
    assert found["logistic"][0] == "skipped"
    assert "(role first) matches no parameter of Logistic" in found["logistic"][1]


def test_the_muons_of_the_page_are_what_it_says(tmp_path: Path) -> None:
    """The YAML files of docs/optimizers.md as they stand there, on a network and on a surface."""
    text = (members.ROOT / "docs" / "optimizers.md").read_text(encoding="utf-8")
    for name, block in re.findall(r"```yaml\n# mine/(optimizer/\w+.yaml)\n(.*?)```", text, re.DOTALL):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(block, encoding="utf-8")
    with Composer([tmp_path]) as composer:
        network, surface = (
            composer.compose([model, "optimizer=torch_muon"]).config for model in ("model=hw3_cnn", "model=sphere")
        )
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2, 5), nn.Linear(5, 5), nn.Linear(5, 2))
    first, second = build_optimizer(network, module).parts
    assert (type(first), type(second)) == (torch.optim.AdamW, torch.optim.Muon)
    assert [p.shape for p in second.param_groups[0]["params"]] == [(5, 2), (5, 5)]
    assert second.param_groups[0]["lr"] == network["optimizer"]["lr"]
    point = nn.Module()
    point.x = nn.Parameter(torch.zeros(2))
    assert type(build_optimizer(surface, point)) is torch.optim.AdamW
    pytest.importorskip("pytorch_optimizer", reason="the extra with other people's optimizers is not installed")
    with Composer([tmp_path]) as composer:
        config = composer.compose(["model=hw3_cnn", "optimizer=their_muon"]).config
    theirs = build_optimizer(config, module)
    assert [(group["use_muon"], len(group["params"])) for group in theirs.param_groups] == [(True, 2), (False, 6)]
    module(torch.ones(2, 1, 3, 3)).square().sum().backward()
    before = [p.detach().clone() for p in module.parameters()]
    theirs.step()
    assert not any(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))
