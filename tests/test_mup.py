"""muP against Table 3 of Yang et al. (2021) by hand, at the base against the standard run, and its coordinates."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import optbench
from optbench import build_problem, compose
from optbench.errors import OptbenchError
from optbench.experiment import plan_run
from optbench.experiment.assemble import optimizer_of
from optbench.problem.mup import factors, grown, rescale

SMALL = ("data.channels=1", "data.image_size=8")


def net(width: int, init: float | None = None) -> nn.Module:
    """Embedding, hidden layer, norm and head; torch's own initial weights, or normal ones of this deviation."""
    torch.manual_seed(width)
    made = nn.Sequential(nn.Embedding(7, width), nn.Linear(width, 2 * width), nn.LayerNorm(2 * width),
                         nn.Conv1d(2 * width, 2 * width, 3), nn.Linear(2 * width, 5))  # fmt: skip
    if init is not None:
        for parameter in made.parameters():
            nn.init.normal_(parameter, std=init)
    return made


#          kind, rate of Adam, rate of SGD, deviation beside the base width, at four times the width
BY_HAND = {
    "0.weight": ("input", 1.0, 4.0, 1.0), "1.weight": ("hidden", 0.25, 1.0, 0.5), "1.bias": ("vector", 1.0, 4.0, 1.0),
    "2.weight": ("vector", 1.0, 4.0, 1.0), "2.bias": ("vector", 1.0, 4.0, 1.0),
    "3.weight": ("hidden", 0.25, 1.0, 0.5), "3.bias": ("vector", 1.0, 4.0, 1.0),
    "4.weight": ("output", 0.25, 0.25, 0.25), "4.bias": ("vector", 1.0, 1.0, 1.0),
}  # fmt: skip


def test_rates_and_deviations_are_those_of_table_3() -> None:
    found = {one.name: (one.kind, one.rate("adam"), one.rate("sgd"), one.deviation) for one in grown(net(64), net(16))}
    assert found == BY_HAND


@pytest.mark.parametrize("init", [None, 0.02])
def test_initial_weights_have_the_deviations_whatever_the_models_own_rule(init: float | None) -> None:
    """torch's layers shrink by themselves as the root of the width, constants do not; factors by hand for either."""
    module, base = net(64, init), net(16, init)
    before = copy.deepcopy(module)
    rescale(module, base)
    own = {"0.weight": 1.0, "2.weight": 1.0, "2.bias": 1.0}  # of torch's: constants, and what has no fan-in
    for (name, now), then in zip(module.named_parameters(), before.parameters(), strict=True):
        shrinks = 0.5 if init is None and name not in own else 1.0
        factor = BY_HAND[name][3] / shrinks
        assert torch.allclose(now, factor * then, rtol=1e-6), name


@pytest.mark.parametrize("seed", range(4))
def test_the_deviation_of_a_few_numbers_is_read_off_many_draws(seed: int) -> None:
    """The bias of one output is one number: two draws of it have any ratio."""
    torch.manual_seed(seed)
    found = factors(lambda: (nn.Linear(48, 1), nn.Linear(24, 1)))
    assert found == pytest.approx({"weight": math.sqrt(0.5), "bias": math.sqrt(2.0)})


@pytest.mark.parametrize("model", [pytest.param("model=gpt model.width=32 base={width:32}", marks=pytest.mark.slow),
                                   "model=mlp model.hidden=[16,16] base={hidden:[16,16]}"])  # fmt: skip
def test_at_the_base_width_mup_is_the_standard_parametrisation(model: str) -> None:
    *given, base = model.split()
    made = []
    for extra in ([], [f"trainer.mup_base={base.removeprefix('base=')}"]):
        config = compose(*given, "optimizer=adam", "trainer.batch_size=8", *extra)
        problem = build_problem(config, torch.device("cpu"))
        optimizer = optimizer_of(config, problem)
        for k in range(2):
            optimizer.zero_grad()
            _backward(problem, k)
            optimizer.step()
        made.append((problem.module.state_dict(), len(optimizer.param_groups)))
    (standard, groups), (mup, mup_groups) = made
    assert groups == mup_groups
    assert all(torch.equal(standard[name], mup[name]) for name in standard)


def _backward(problem: Any, k: int) -> None:
    batch = problem.batch(k)
    problem.loss(problem.module(batch.inputs).flatten(0, -2), batch.targets.flatten()).mean().backward()


def test_the_rates_of_a_run_are_multiples_of_its_own() -> None:
    config = compose("model=mlp", "model.hidden=[64,64]", *SMALL, "optimizer=adam", "optimizer.lr=0.01",
                     "trainer.mup_base={hidden:[16,16]}")  # fmt: skip
    problem = build_problem(config, torch.device("cpu"))
    rates = {id(p): group["lr"] for group in optimizer_of(config, problem).param_groups for p in group["params"]}
    found = {name: rates[id(p)] for name, p in problem.module.named_parameters()}
    small = {"layers.3.weight", "layers.5.weight"}
    assert found == {name: pytest.approx(0.0025 if name in small else 0.01) for name in found}
    assert plan_run(["model=mlp", "trainer.mup_base=null"]).run_id == plan_run(["model=mlp"]).run_id


@pytest.mark.parametrize(("given", "words"), [
    (("trainer.mup_base={wide:8}",), "mlp has no 'wide'"),
    (("trainer.mup_base={hidden:-1}",), "settings of the model at the base width"),
    (("trainer.mup_base={hidden:[8,8]}", "optimizer=muon"), "muP are for SGD and Adam"),
    (("trainer.mup_base={hidden:[8,8]}", "optimizer.groups=no_decay"), "both divide the parameters"),
    (("trainer.mup_base={hidden:[8]}",), "a base has the same layers"),
])  # fmt: skip
def test_what_mup_does_not_fit_is_refused(given: tuple[str, ...], words: str) -> None:
    with pytest.raises(OptbenchError) as refused:
        _built(*given)
    assert words in f"{refused.value} {refused.value.hint}"


def _built(*given: str) -> None:
    config = compose("model=mlp", *SMALL, "optimizer=adam", *given)
    optimizer_of(config, build_problem(config, torch.device("cpu")))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["mlp", "gpt"])
def test_coordinates_change_by_the_same_at_all_widths_under_mup(model: str) -> None:
    """The coordinate check (section D.1): what three updates of Adam do to the outputs grows with the width under the
    standard parametrisation and does not under muP."""
    widths = (32, 64, 128, 256)
    key = {"mlp": "hidden", "gpt": "width"}[model]

    def size(width: int) -> Any:
        return f"[{width},{width}]" if model == "mlp" else width

    slopes = {}
    for mup in (False, True):
        changes = []
        for width in widths:
            base = [f"trainer.mup_base={{{key}:{size(32)}}}"] if mup else []
            data = SMALL if model == "mlp" else ()
            changes.append(_change([f"model={model}", f"model.{key}={size(width)}", *data, *base]))
        x = torch.log2(torch.tensor([float(w) for w in widths]))
        y = torch.log2(torch.tensor(changes))
        slopes[mup] = float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())
    assert slopes[False] > 0.5, slopes
    assert abs(slopes[True]) < 0.25, slopes


def _change(given: list[str]) -> float:
    """Root mean square by which outputs on one batch differ after three updates of Adam; the mean over two seeds."""
    found = []
    for seed in range(2):
        config = compose(*given, "optimizer=adam", "optimizer.lr=0.002", f"seed={seed}", "trainer.batch_size=64")
        problem: Any = build_problem(config, torch.device("cpu"))
        optimizer, inputs = optimizer_of(config, problem), problem.batch(9).inputs
        with torch.no_grad():
            before: Tensor = problem.module(inputs)
        for k in range(3):
            optimizer.zero_grad()
            _backward(problem, k)
            optimizer.step()
        with torch.no_grad():
            found.append(float((problem.module(inputs) - before).square().mean().sqrt()))
    return math.fsum(found) / len(found)


@pytest.mark.slow
def test_a_network_under_mup_is_rebuilt_as_it_was_trained(tmp_path: Any) -> None:
    """Attention under muP divides by another number than the model alone would say."""
    run = optbench.run("model=gpt", "model.width=64", "trainer.steps=3", "trainer.mup_base={width:32}", out=tmp_path)
    again = optbench.rebuild(run.path)
    assert again.model.blocks[0].attention.attention_divisor == pytest.approx(16 / math.sqrt(8))
