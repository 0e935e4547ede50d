"""Regression: numbers as labels, held to least squares in NumPy; what asks for classes is refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import members
import numpy as np
import pytest
import torch
from command_tools import invoke
from torch import nn

import optbench
from optbench.errors import DataError, IncompatibleError, UserError
from optbench.experiment.assemble import check_learns
from optbench.losses.squared_error import SquaredError
from optbench.problem import AbstractData, Split, read_split

SETS = [name for name in members.names("data") if members.read("data", name).get("n_classes") == 0
        and members.read("data", name)["_target_"] is not None]  # fmt: skip
LINEAR = ["model=logistic", "data=diabetes", "loss=squared_error", "scheduler=constant", "trainer.threads=1"]


@pytest.mark.parametrize("name", SETS)
def test_every_split_keeps_the_contract_of_numbers(name: str) -> None:
    data = members.make("data", name)
    seen: list[str] = []
    for part in ("train", "validation", "test"):
        split, again = read_split(data, part), data.load(part)
        assert split.labels is not None
        assert split.labels.dtype == split.inputs.dtype == torch.float32
        assert split.inputs.shape == (len(split), members.read("data", name)["channels"])
        assert torch.equal(split.inputs, again.inputs)
        seen += split.names
    assert len(seen) == len(set(seen)), "nobody stands in two splits"
    with pytest.raises(DataError, match="'holdout'"):
        data.load("holdout")
    for change in ({"channels": 2}, {"n_classes": 3}, {"image_size": 2}, {"validation_share": 0.0}, {"split_seed": -1}):
        with pytest.raises(DataError, match=f"{next(iter(change))}="):
            members.make("data", name, **change)


@pytest.mark.slow  # scikit-learn takes seconds to import
def test_the_patients_are_scikit_learns() -> None:
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True, scaled=False)
    data = members.make("data", "diabetes")
    for part in ("train", "validation"):
        split = data.load(part)
        rows = np.array([int(name) - 1 for name in split.names])
        for ours, theirs in ((split.inputs, x[rows]), (split.labels, y[rows])):
            # standardised by the same numbers everywhere: a straight line, whose correlation is 1
            ours, theirs = (np.atleast_2d(np.asarray(v, dtype=float).T) for v in (ours, theirs))
            for a, b in zip(ours, theirs, strict=True):
                assert np.corrcoef(a, b)[0, 1] == pytest.approx(1.0, abs=1e-6)
    train = data.load("train")
    assert train.labels is not None
    assert float(train.labels.mean()) == pytest.approx(0.0, abs=1e-6)
    assert float(train.labels.std()) == pytest.approx(1.0, abs=1e-6)


def test_a_linear_network_ends_at_least_squares(tmp_path: Path) -> None:
    settings = ["optimizer=lbfgs", "optimizer.lr=1", "trainer.batch_size=full", "trainer.epochs=12"]
    run = optbench.run(*LINEAR, *settings, out=tmp_path)

    data = members.make("data", "diabetes")
    train, validation = (data.load(name) for name in ("train", "validation"))
    x, v = (np.column_stack([s.inputs.double().numpy(), np.ones(len(s))]) for s in (train, validation))
    y, target = (s.labels.double().numpy() for s in (train, validation) if s.labels is not None)
    weights, *_ = np.linalg.lstsq(x, y, rcond=None)
    assert run.summary["final_loss"] == pytest.approx(float(np.mean((x @ weights - y) ** 2)), rel=1e-4)
    curve = run.curve()
    assert curve["val_loss"].dropna().iloc[-1] == pytest.approx(float(np.mean((v @ weights - target) ** 2)), rel=1e-3)
    assert run.summary["best_val_loss"] == curve["val_loss"].min()
    assert run.summary["val_accuracy"] is None
    assert "val_accuracy" not in curve or curve["val_accuracy"].isna().all()
    assert run.path is not None
    assert (run.path / "best.pt").exists()
    with pytest.raises(UserError, match="regression: there are no classes"):
        optbench.evaluate(optbench.rebuild(run.path))
    with pytest.raises(UserError, match="regression: there are no classes"):
        optbench.predict(optbench.rebuild(run.path), None)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data=diabetes", "loss=cross_entropy"], "the data have numbers and no classes; the loss compares classes"),
        (["data=digits", "loss=squared_error"], "loss=squared_error learns numbers, and data=digits has classes"),
    ],
)
def test_numbers_and_classes_do_not_mix(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = invoke(capsys, "run", "model=mlp", *words, "-o", str(tmp_path), "--quiet")
    assert code == 2
    assert message in err
    assert "loss=" in err.splitlines()[1]


def test_a_loss_of_ones_own_is_told_that_there_are_no_classes() -> None:
    class Mine(nn.Module):
        takes_numbers = False

    for loss in (Mine(), nn.CrossEntropyLoss(), nn.NLLLoss()):
        with pytest.raises(IncompatibleError, match="data=diabetes has numbers and no classes for loss=mine"):
            check_learns(members.make("data", "diabetes"), loss, {"data": "diabetes", "loss": "mine"})


def test_where_nobody_chooses_a_loss_it_is_that_of_the_data() -> None:
    from optbench.config import Composer

    chosen = {
        ("data=diabetes",): "squared_error", ("data=digits",): "cross_entropy",
        ("data=diabetes", "loss=class_number"): "class_number", ("data=digits", "loss=focal"): "focal",
    }  # fmt: skip
    with Composer() as composer:
        for words, loss in chosen.items():
            config = composer.compose(["model=mlp", *words]).config
            assert config["choices"]["loss"] == loss


def test_the_squared_error_is_of_one_output() -> None:
    loss = SquaredError()
    assert loss(torch.tensor([[1.5], [-2.0]]), torch.tensor([1.0, 1.0])).tolist() == [0.25, 9.0]
    with pytest.raises(IncompatibleError, match="1 output"):
        loss(torch.zeros(2, 3), torch.zeros(2))


class Numbers(AbstractData):
    n_classes, channels, image_size, class_names = 0, 2, 1, ()

    def __init__(self, labels: object) -> None:
        self.labels = labels

    def load(self, split: str) -> Split:
        return Split(torch.zeros(3, 2, 1, 1), self.labels, ("a", "b", "c"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("labels", "words"),
    [(torch.zeros(3, dtype=torch.long), "torch.int64"), (torch.zeros(2), r"\(2,\)"), ([0.0] * 3, "list"),
     (torch.tensor([0.0, float("nan"), 1.0]), "not finite")],
)  # fmt: skip
def test_labels_that_are_no_numbers_are_named(labels: object, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_split(Numbers(labels), "train")


def test_wide_numbers_are_kept_in_single_precision() -> None:
    found = read_split(Numbers(torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)), "train").labels
    assert found is not None
    assert found.dtype == torch.float32
    assert isinstance(SquaredError(), nn.Module)
