"""The metrics of runs: a setting, columns of every record, what the best evaluation and a comparison are judged by.

Values are held to scikit-learn's, and what is best to a search through the curve.
"""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_tools import invoke
from hypothesis import given
from hypothesis import strategies as st
from made_runs import make_run

import optbench
from optbench.comparison import compare
from optbench.config import Composer
from optbench.errors import ConfigError, UserError
from optbench.experiment import plan_run
from optbench.loop.progress import Progress
from optbench.loop.rules import verdict
from optbench.records import run_id
from optbench.records.metrics import directions, written
from optbench.settings import NetworkTrainer
from optbench.statistics import STATISTICS

NETWORK = ("model=mlp", "model.hidden=[8]", "trainer.batch_size=128", "trainer.threads=1")
OWN = {
    "gap.py": """
def gap(outputs, targets, weights=None, power=1):
    \"\"\"Mean distance to the right class.\"\"\"
    return (outputs.argmax(-1) - targets).abs().double().pow(power).mean()
""",
    "metric/gap.yaml": "# distance in classes\n_target_: gap.gap\npower: 2\ndirection: min\nneeds: classes\n",
}


@pytest.fixture(scope="module")
def composer() -> Iterator[Composer]:
    with Composer() as ready:
        yield ready


def judged(values: list[float], sign: int) -> tuple[Progress, list[int]]:
    """A run with these values of its first metric, and the evaluations that were the best so far."""
    progress, best = Progress(), []
    for step, value in enumerate(values):
        progress.step = step
        if progress.evaluated({"val_loss": 1.0, "val_m": value}, ("val_m", sign)):
            best.append(step)
    return progress, best


@given(st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), min_size=1, max_size=12), st.sampled_from([1, -1]))
def test_the_best_evaluation_is_that_of_the_best_value(values: list[float], sign: int) -> None:
    progress, best = judged(values, sign)
    there = [value for value in values if not math.isnan(value)]
    if not there:
        assert best == [0]  # by the loss, and none after it is better
        return
    top = max(there) if sign > 0 else min(there)
    assert progress.best_val_step == values.index(top)
    assert progress.best_figures == {"val_m": top}
    assert progress.stale == len(values) - 1 - values.index(top)
    found = verdict({}, progress, NetworkTrainer(batch_size=1, patience=0), False)
    assert (found is not None) == (progress.stale > 0)
    assert found is None or ("m has not risen" if sign > 0 else "m has not fallen") in found[1]


def test_a_run_goes_on_from_a_checkpoint_of_before_metrics() -> None:
    state = {"best_val_accuracy": 0.9, "best_val_loss": 0.3, "best_val_step": 4, "val_accuracy": 0.8, "stale": 1}
    progress = Progress(**state)  # type: ignore[arg-type]
    assert not progress.evaluated({"val_loss": 0.1, "val_accuracy": 0.85}, ("val_accuracy", 1))
    assert (progress.best_val_step, progress.stale) == (4, 2)
    numbers = Progress(best_val_loss=0.3, best_val_step=4)
    assert not numbers.evaluated({"val_loss": 0.31}, ("val_loss", -1))


def predicted(run: Any) -> tuple[np.ndarray, np.ndarray]:
    """Outputs and targets of the validation data, by the run's best checkpoint."""
    network = optbench.rebuild(run.path)
    part = network.data.load("validation")
    return network.outputs(part.inputs).double().numpy(), part.targets.numpy()


@pytest.mark.slow  # scikit-learn takes seconds to import
def test_columns_of_classes_are_scikit_learns(tmp_path: Path) -> None:
    from sklearn import metrics as sk

    names = "accuracy,macro_f1,top5,perplexity,ece"
    metrics = "trainer.metrics=[macro_f1,accuracy,top5,perplexity,ece]"
    run = optbench.run(*NETWORK, "data=digits", "trainer.epochs=3", metrics, out=tmp_path)
    outputs, targets = predicted(run)
    likely = torch.from_numpy(outputs).softmax(-1).numpy()
    wanted = {
        "accuracy": sk.accuracy_score(targets, outputs.argmax(1)),
        "macro_f1": sk.f1_score(targets, outputs.argmax(1), average="macro"),
        "top5": sk.top_k_accuracy_score(targets, likely, k=5),
        "perplexity": math.exp(sk.log_loss(targets, likely)),
    }
    for name, value in wanted.items():
        assert run.summary[f"best_val_{name}"] == pytest.approx(value, rel=1e-6)
    rows = list(csv.DictReader((run.path / "metrics.csv").read_text().splitlines()))  # type: ignore[operator]
    evaluated = [row for row in rows if row["val_loss"]]
    assert len(evaluated) == 4
    best = max(evaluated, key=lambda row: (float(row["val_macro_f1"]), -float(row["val_loss"])))
    assert int(best["step"]) == run.summary["best_val_step"]
    for name in names.split(","):
        assert float(best[f"val_{name}"]) == run.summary[f"best_val_{name}"]
        assert float(evaluated[-1][f"val_{name}"]) == run.summary[f"val_{name}"]
    assert directions(run.summary["metrics"]) == {"macro_f1": "max", "accuracy": "max", "top5": "max",
                                                  "perplexity": "min", "ece": "min"}  # fmt: skip


@pytest.mark.slow  # scikit-learn takes seconds to import
def test_columns_of_numbers_are_scikit_learns(tmp_path: Path) -> None:
    from sklearn import metrics as sk

    run = optbench.run(*NETWORK, "data=diabetes", "trainer.epochs=4", "trainer.metrics=[rmse,mae,r2]", out=tmp_path)
    outputs, targets = predicted(run)
    assert run.summary["best_val_rmse"] == pytest.approx(sk.root_mean_squared_error(targets, outputs[:, 0]), rel=1e-6)
    assert run.summary["best_val_mae"] == pytest.approx(sk.mean_absolute_error(targets, outputs[:, 0]), rel=1e-6)
    assert run.summary["best_val_r2"] == pytest.approx(sk.r2_score(targets, outputs[:, 0]), rel=1e-6)
    assert run.summary["val_accuracy"] is None


@pytest.mark.parametrize(("given", "words"), [
    ("trainer.metrics=[macro_f]", "no metric 'macro_f'"),
    ("trainer.metrics=[ece,ece]", "twice"),
    ("trainer.metrics=accuracy", "expected a list of names"),
    ("trainer.metrics=[rmse]", "rmse is of numbers, and data=digits has classes"),
    ("trainer.metrics=[top5] data=wine", "top5 says nothing below 6 classes, and data=wine has 3"),
    ("trainer.metrics=[accuracy] data=diabetes", "accuracy is of classes, and data=diabetes has numbers"),
    ("trainer.metrics=[ece] loss=class_number", "ece is of probabilities of classes, and loss=class_number has none"),
    ("trainer.metrics=[{_target_:math.fsum}]", "does not say which values are better"),
    ("trainer.metrics=[{_target_:nowhere.f,direction:max}]", "trainer.metrics is built by nowhere.f"),
    ("trainer.metrics=[{_target_:math.fsum,direction:up}]", "expected max or min"),
    ("trainer.metrics=[{_target_:math.fsum,direction:max,name:loss}]", "expected a name"),
    ("trainer.metrics=[{_target_:math.fsum,direction:min,name:accuracy}]", "of accuracy max is better"),
    ("metric=ece", "metrics are a setting of the trainer"),
    ("model=sphere data=none trainer.metrics=[rmse]", "'trainer' has no key 'metrics'"),
])  # fmt: skip
def test_what_does_not_fit_is_one_line(composer: Composer, given: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace("[", r"\[")) as caught:
        composer.compose(["model=mlp", "data=digits", *given.split()])
    assert "\n" not in caught.value.message


def test_identity(composer: Composer) -> None:
    """What it is where nothing is said has the identity of before; so has the accuracy of classes by its name."""
    given = ([], ["trainer.metrics=[accuracy]"], ["trainer.metrics=[macro_f1]"])
    ids = [run_id(composer.compose(["model=mlp", "data=digits", *more]).config) for more in given]
    assert ids[0] == ids[1] != ids[2]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with a metric of the user's own."""
    folder = tmp_path / "mine"
    for name, text in OWN.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.chdir(folder)
    monkeypatch.delitem(sys.modules, "gap", raising=False)
    return folder


@pytest.mark.slow  # two runs, and the command line
def test_one_of_the_users_own(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By its YAML, from the command line: a column, the best evaluation, a ranking; edited code is another run."""
    code, out, _ = invoke(capsys, "list", "metric", "--config-dir", ".")
    assert code == 0
    assert "distance in classes  (yours)" in out
    given = [*NETWORK, "data=digits", "trainer.epochs=2", "trainer.metrics=[gap,accuracy]"]
    runs = [
        optbench.run(*given, f"optimizer={name}", config_dir=own, out=tmp_path / "runs") for name in ("adam", "sgd")
    ]
    outputs, targets = predicted(runs[0])
    assert runs[0].summary["best_val_gap"] == np.square(outputs.argmax(1) - targets).mean()
    found = compare([tmp_path / "runs"])
    assert [group.best for group in found.groups] == [True, False]
    values = [group.statistics["best_val_gap"].value for group in found.groups]  # type: ignore[union-attr]
    assert values == sorted(run.summary["best_val_gap"] for run in runs)
    assert found.names.count("best_val_gap") == 1
    before = plan_run(given, [own]).run_id
    (own / "gap.py").write_text(OWN["gap.py"].replace("abs()", "abs().sqrt()"))
    assert plan_run(given, [own]).run_id != before


def made(folder: Path, optimizer: str, metrics: dict[str, str] | None, **figures: float) -> None:
    network = {"model": "mlp", "data": "digits", "loss_name": "cross_entropy", "optimizer": optimizer}
    changes = {"optimizer._target_": f"torch.optim.{optimizer}", "data._target_": "d", "choices.optimizer": optimizer}
    if metrics is not None:
        network["metrics"] = written(metrics)
    make_run(folder / optimizer, changes, **network, **figures)


def test_the_first_metric_ranks_where_all_name_it(tmp_path: Path) -> None:
    metrics = {"loss_of_mine": "min", "ece": "min"}
    made(tmp_path, "a", metrics, best_val_accuracy=0.9, val_accuracy=0.9, best_val_loss_of_mine=3.0, best_val_ece=0.1)
    made(tmp_path, "b", metrics, best_val_accuracy=0.8, val_accuracy=0.8, best_val_loss_of_mine=2.0, best_val_ece=0.2)
    assert [group.label for group in compare([tmp_path]).groups] == ["b", "a"]
    assert [group.label for group in compare([tmp_path], metric="best_val_ece").groups] == ["a", "b"]
    assert not compare([tmp_path]).warnings or not any(
        "name different" in text for text in compare([tmp_path]).warnings
    )
    made(tmp_path, "c", None, best_val_accuracy=0.95, val_accuracy=0.95)
    found = compare([tmp_path])
    assert [group.label for group in found.groups] == ["c", "a", "b"]
    assert any("name different metrics first" in text and "best accuracy" in text for text in found.warnings)
    made(tmp_path, "d", {"loss_of_mine": "max"}, best_val_accuracy=0.5, best_val_loss_of_mine=9.0)
    with pytest.raises(UserError, match="loss_of_mine: in some of these records large values are better"):
        compare([tmp_path])


def test_every_packaged_metric_has_its_scores() -> None:
    for name, direction in (("macro_f1", 1), ("ece", -1), ("rmse", -1), ("r2", 1)):
        for column in (f"val_{name}", f"best_val_{name}"):
            assert (STATISTICS[column].direction, STATISTICS[column].metric) == (direction, name)


@given(st.dictionaries(st.from_regex("[a-z][a-z0-9_]{0,8}", fullmatch=True), st.sampled_from(["max", "min"])))
def test_what_is_written_is_read(metrics: dict[str, str]) -> None:
    assert directions(written(metrics)) == metrics
    assert list(directions(written(metrics))) == list(metrics)
