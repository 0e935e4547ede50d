"""Layers beyond linear ones in a stack: dropout draws what the run by itself draws, convolutions see what they see."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from test_stacked import check_same, weights

from optbench.experiment import plan_sweep
from optbench.launch.sweep import Options, divide, sweep
from optbench.records import Run, Status

SOURCE = """
from torch import nn


class Dropped(nn.Sequential):
    def __init__(self, n_outputs):
        super().__init__(nn.Flatten(), nn.Dropout(0.1), nn.Linear(64, 9, bias=False), nn.BatchNorm1d(9), nn.ReLU(),
                         nn.Dropout(0.4), nn.Dropout(0.0), nn.Linear(9, 8), nn.Tanh(), nn.Dropout(0.3),
                         nn.Linear(8, n_outputs))


class Signals(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv1d(1, 6, 5, 2, 1, bias=False), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.2),
            nn.MaxPool1d(3, 2, 1), nn.Conv1d(6, 8, 3, 2, 1), nn.Flatten(), nn.Tanh(), nn.Linear(64, n_outputs))

    def forward(self, x):
        return self.layers(x.reshape(-1, 1, 64))


class Pictures(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(1, 5, 3, bias=False), nn.BatchNorm2d(5), nn.MaxPool2d(3, 2, 1), nn.ReLU(),
                                 nn.Conv2d(5, 6, (3, 1), (1, 2), (1, 0)), nn.GELU())
        self.fc = nn.Sequential(nn.Dropout(0.3), nn.Linear(36, n_outputs))

    def forward(self, x):
        return self.fc(self.cnn(x).flatten(1))


class Drawn(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, n_outputs))

    def forward(self, x):
        return self.layers(x)
"""


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with these models."""
    folder = tmp_path_factory.mktemp("layers") / "mine"
    (folder / "model").mkdir(parents=True)
    (folder / "layers_to_stack.py").write_text(SOURCE)
    for name in ("Dropped", "Signals", "Pictures", "Drawn"):
        text = f"# x\ndefaults: [_network]\n_target_: layers_to_stack.{name}\nn_outputs: ${{n_outputs}}\n"
        (folder / "model" / f"{name.lower()}.yaml").write_text(text)
    return folder


def given(name: str, *more: str) -> tuple[str, ...]:
    return (f"model={name}", "data=digits", "data.channels=1", "data.image_size=8", "trainer.steps=12",
            "trainer.batch_size=150", "hydra.launcher.jobs=0", *more)  # fmt: skip


def both(tmp_path: Path, mine: Path, *overrides: str) -> list[tuple[Run, Run]]:
    made = [
        sweep(*overrides, config_dir=mine, out=tmp_path / engine, name="s", engine=engine, least=2)
        for engine in ("stacked", "loop")
    ]
    return list(zip(*made, strict=True))


def test_dropout_draws_as_alone(tmp_path: Path, mine: Path) -> None:
    """Two seeds, two rates, one of which diverges: the others are what they are."""
    pairs = both(tmp_path, mine, *given("dropped", "optimizer=sgd", "optimizer.lr=0.1,1e30", "seeds=2"))
    for stacked, alone in pairs:
        assert stacked.status == alone.status
        if stacked.status is Status.COMPLETED:
            check_same(stacked, alone)
    assert [one.status for one, _ in pairs].count(Status.COMPLETED) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dropped", "signals", "pictures"])
def test_layers(name: str, tmp_path: Path, mine: Path) -> None:
    """A whole batch is random too where layers draw: no gradient is then small enough to end the run."""
    whole = ("trainer.batch_size=full", "trainer.clip_norm=0.5", "trainer.normalize=true", "trainer.grad_tol=1")
    more = ("optimizer.lr=2e-3,5e-4",) if name == "signals" else whole
    for stacked, alone in both(tmp_path, mine, *given(name, "seeds=2", "optimizer=adam", *more)):
        check_same(stacked, alone)


@pytest.mark.slow
def test_packaged_networks_with_convolutions(tmp_path: Path, mine: Path) -> None:
    signals = ("model=cnn1d", "model.width=6", "data=mnist1d", "optimizer=adam")
    pictures = ("model=hw3_cnn", "model.width=2", "data=synthetic_food", "data.image_size=32", "augment=none",
                "optimizer=sgd", "optimizer.lr=0.01")  # fmt: skip
    for chosen in (signals, pictures):
        shared = ("trainer.steps=6", "trainer.batch_size=64", "seeds=2", "hydra.launcher.jobs=0")
        for stacked, alone in both(tmp_path / chosen[0], mine, *chosen, *shared):
            check_same(stacked, alone, 1e-2)  # flat parts of a picture are equal up to rounding, and one is the largest
            for name, value in weights(stacked, "last").items():
                assert value.is_contiguous(), name
                assert torch.isfinite(value).all()


def test_why_a_network_stays_alone(tmp_path: Path, mine: Path) -> None:
    plan = plan_sweep([*given("drawn"), "seeds=2"], (mine,), tmp_path / "plan", "s")
    (why,) = set(divide(plan, Options(engine="stacked", least=2)).why.values())
    assert "dropout (layers.1) of pictures" in why
