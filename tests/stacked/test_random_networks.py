"""Compiled passes of networks that nobody chose, beside torch in float64: layers in any order, any loss of conf/.

`test_passes.py` has the courses of whole runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from members import make, names
from test_stacked import check_same
from torch import Tensor, nn

from optbench.launch.sweep import sweep
from optbench.problem import row_losses
from optbench.problem.network import label_rule
from optbench.stacked.chain import Chain, chain_of
from optbench.stacked.passes import Updates, passes_of
from optbench.stacked.weights import Form

BETWEEN = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "same": nn.Identity}
LOSSES = [name for name in names("loss") if name != "surface"]
OF_TORCH = {"huber": nn.HuberLoss(reduction="none", delta=0.7), "smooth_l1": nn.SmoothL1Loss(reduction="none"),
            "l1": nn.L1Loss(reduction="none"), "mse": nn.MSELoss(reduction="none")}  # fmt: skip
CLOSE = 3e-4


def network(features: int, layers: list[str], outputs: int) -> nn.Sequential:
    """Of words: a number is a linear layer of so many units, "norm", "drop", or an activation."""
    made: list[nn.Module] = [nn.Flatten()]
    units = features
    for word in [*layers, str(outputs)]:
        if word.isdigit():
            made.append(nn.Linear(units, int(word), bias=int(word) % 2 == 0))
            units = int(word)
        elif word == "norm":
            made.append(nn.BatchNorm1d(units))
        else:
            made.append(nn.Dropout(0.3) if word == "drop" else BETWEEN[word]())
    return nn.Sequential(*made)


def loss_of(name: str, classes: int) -> tuple[nn.Module, int, bool]:
    """A loss, how many outputs it wants, and whether of labels."""
    if name in OF_TORCH:
        return OF_TORCH[name], 1, False
    loss = make("loss", name, **({"n_classes": classes} if name == "class_number" else {}))
    of_labels = getattr(loss, "takes_numbers", None) is not True and (name != "by_targets" or classes > 3)
    return loss, getattr(loss, "n_outputs", classes if of_labels else 1), of_labels


def by_torch(chain: Chain, x: Tensor, masks: dict[str, Tensor], train: bool) -> Tensor:
    for name, layer in chain.layers:
        x = (x * masks[name] if train else x) if isinstance(layer, nn.Dropout) else layer.train(train)(x)
    return x


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@example(
    loss="mse_softmax", layers=["17", "relu", "norm", "20", "tanh", "sigmoid"], classes=10, b=33, seed=1, spread=1.0
)
@example(loss="squared_error", layers=["drop", "16", "norm", "drop", "tanh"], classes=2, b=32, seed=2, spread=1.0)
@example(loss="class_number", layers=["norm", "33", "sigmoid", "relu"], classes=7, b=48, seed=3, spread=1.0)
@given(
    loss=st.sampled_from([*LOSSES, *OF_TORCH]),
    layers=st.lists(st.sampled_from(["3", "16", "17", "40", "norm", "drop", *BETWEEN]), max_size=7),
    classes=st.integers(2, 12),
    b=st.integers(8, 50),
    seed=st.integers(0, 99),
    spread=st.sampled_from([0.3, 1.0, 5.0]),
)
def test_passes_of_any_network(loss: str, layers: list[str], classes: int, b: int, seed: int, spread: float) -> None:
    torch.manual_seed(seed)
    features = 5 + seed % 30
    judge, outputs, of_labels = loss_of(loss, classes)
    x = torch.randn(b + 9, features)
    targets = torch.randint(0, classes, (b + 9,)) if of_labels else torch.randn(b + 9)
    models = [network(features, layers, outputs) for _ in range(3)]
    for model in models:
        for p in model.parameters():
            p.data *= spread if p.ndim > 1 else 1.0
    chain = chain_of(models[0], x[:4])
    form, n = Form(models[0], chain, None), len(models)
    passes = passes_of(chain, form, judge, targets, classes if of_labels else 0)
    order = torch.stack([torch.randperm(b + 9) for _ in models])
    drawn = [
        {name: torch.bernoulli(torch.full((b, *shape), 0.7)) / 0.7 for name, _, shape in chain.drawing} for _ in models
    ]
    states: list[dict[str, Tensor]] = [dict(model.state_dict()) for model in models]
    flat = form.taken(states, torch.device("cpu"))
    held = torch.stack([torch.cat([flat[0, :0], *(state[s] for s in passes.statistics)]) for state in states]).numpy()
    found, memory = np.empty((2, 1, n)), np.zeros((1, n, form.width), dtype=np.float32)
    work = Updates(
        rule=0, inputs=x.numpy(), order=order.numpy(), spans=np.array([(4, 4 + b)]), x=flat.numpy().copy(),
        g=np.full_like(memory[0], np.nan), memory=memory, statistics=held.copy(),
        masks=np.stack([np.concatenate([flat[0, :0], *(m.mT.flatten() for m in own.values())]) for own in drawn]),
        counts=np.zeros(0, dtype=np.float32), numbers=np.zeros((1, 1, 1), dtype=np.float32), clip=float("inf"),
        first=0, whole=0, which=np.arange(n), loss=found[0], norm=found[1], correct=np.zeros(n, dtype=np.int64),
    )  # fmt: skip
    passes.train(work)
    np.testing.assert_array_equal(work.x, flat)
    for i, model in enumerate(models):
        model.load_state_dict(states[i])
        exact = model.double()
        own = Chain([(name, exact.get_submodule(name)) for name, _ in chain.layers], chain.shapes)
        batch = order[i, 4 : 4 + b]
        made = by_torch(own, x[batch].double(), drawn[i], True)
        wanted = targets[batch] if of_labels else targets[batch].double()
        value = row_losses(judge, made, wanted).mean()
        gradient = torch.cat([g.flatten() for g in torch.autograd.grad(value, list(exact.parameters()))])
        check_near(work.loss[0, i], value.item())
        check_near(work.g[i], gradient)
        check_near(work.norm[0, i], gradient.norm().item())
        if of_labels:
            assert abs(work.correct[i] - (label_rule(judge)(made) == wanted).sum().item()) <= 1  # on the border
        after = exact.state_dict()
        check_near(work.statistics[i], torch.cat([flat[0, :0].double(), *(after[s] for s in passes.statistics)]))
        with torch.no_grad():
            exact.load_state_dict(states[i])
            check_near(passes.outputs(flat.numpy(), held, x.numpy())[i], by_torch(own, x.double(), {}, False))


def check_near(found: Any, wanted: Any) -> None:
    wanted = np.asarray(wanted)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=CLOSE * max(np.abs(wanted).max(initial=0.0), 1e-3))


SOURCE = """
from test_random_networks import network


def words(n_outputs, layers):
    return network(64, layers.split(), n_outputs)
"""
LINEAR = ("sgd", "momentum", "nesterov")


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of words."""
    folder = tmp_path_factory.mktemp("random") / "mine"
    (folder / "model").mkdir(parents=True)
    (folder / "networks_of_words.py").write_text(SOURCE)
    text = "# x\ndefaults: [_network]\n_target_: networks_of_words.words\nn_outputs: ${n_outputs}\nlayers: '16 relu'\n"
    (folder / "model" / "words.yaml").write_text(text)
    return folder


@pytest.mark.slow
@settings(max_examples=7, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    loss=st.sampled_from([name for name in LOSSES if name not in ("squared_error", "by_targets")]),
    layers=st.lists(st.sampled_from(["9", "16", "norm", "drop", *BETWEEN]), max_size=5),
    optimizer=st.sampled_from([*LINEAR, "adam", "adagrad", "rmsprop", "lion"]),
    setting=st.sampled_from(["trainer.clip_norm=0.1", "trainer.ema=0.8", "trainer.accumulate=2", "wrap=lookahead",
                             "scheduler=warmup_cosine", "optimizer.groups=no_decay"]),
)  # fmt: skip
def test_any_network_any_loss_any_optimizer(
    loss: str, layers: list[str], optimizer: str, setting: str, mine: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Stacked and alone, record by record."""
    layers = [word for word in layers if word != "norm" or optimizer in LINEAR]  # see test_passes
    if optimizer in ("adagrad", "rmsprop", "nesterov"):
        setting = setting.replace("optimizer.groups=no_decay", "trainer.clip_norm=1")
    words = ("model=words", f"model.layers='{' '.join(['16', *layers])}'", f"loss={loss}", f"optimizer={optimizer}",
             "optimizer.lr=1e-3,4e-3", setting, "data=digits", "data.channels=1", "data.image_size=8",
             "trainer.steps=6", "trainer.batch_size=150", "hydra.launcher.jobs=0")  # fmt: skip
    folder = tmp_path_factory.mktemp("any")
    made = [sweep(*words, config_dir=mine, out=folder / e, name="s", engine=e, least=2) for e in ("stacked", "loop")]
    for stacked, alone in zip(*made, strict=True):
        check_same(stacked, alone, 2e-2 if optimizer == "lion" else 2e-3)
