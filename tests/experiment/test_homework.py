"""Homework 3 end to end: images to a trained network, its evaluation, and submission.csv."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_tools import command
from PIL import Image
from scipy.stats import binom

import optbench
from optbench.config import build
from optbench.errors import DataError
from optbench.experiment import plan_run
from optbench.experiment.rebuild import rebuild
from optbench.metrics import success_rate
from optbench.prediction import evaluate, predict, submission
from optbench.records import Run

DIGITS = ["model=mlp", "model.hidden=[32]", "data.image_size=8", "trainer.epochs=3", "trainer.threads=1"]
FOOD = ["model=hw3_cnn", "model.width=2", "data=synthetic_food", "data.image_size=32", "data.train_per_class=3",
        "data.validation_per_class=2", "data.n_test=5", "trainer.epochs=2", "trainer.batch_size=8",
        "trainer.threads=1"]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPTBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def trained(overrides: list[str], factory: pytest.TempPathFactory) -> Path:
    run = optbench.run(*overrides, out=factory.mktemp("runs"))
    assert run.status == "completed", run.reason
    assert run.path is not None
    return run.path


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(DIGITS, tmp_path_factory)


@pytest.fixture(scope="module")
def food(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(FOOD, tmp_path_factory)


@pytest.fixture(scope="module")
def regression(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained([*DIGITS, "loss=class_number"], tmp_path_factory)


def read_submission(file: Path, names: Sequence[str] = ()) -> list[int]:
    """Categories in a submission file, which must be in the homework's form: the files' numbers, else 1, 2, 3 ..."""
    lines = file.read_text().splitlines()
    assert lines[0] == "Id,Category"
    rows = list(csv.reader(lines[1:]))
    numbers = [int(n.partition(".")[0]) for n in names] or range(1, len(rows) + 1)
    assert [r[0] for r in rows] == [f"{i:04d}" for i in numbers]
    return [int(r[1]) for r in rows]


def data_of(run: Path) -> Any:
    config = optbench.Run({"run_id": "", "status": "completed"}, run).config
    return build(config["data"], "data")


@pytest.mark.parametrize("which", ["digits", "food", "regression"])
def test_evaluate_agrees_with_a_recount(
    which: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    run: Path = request.getfixturevalue(which)
    assert command("evaluate", run, "--json") == 0
    found = json.loads(capsys.readouterr().out)

    rebuilt = rebuild(run)
    part = data_of(run).load("validation")
    with torch.no_grad():
        outputs = torch.cat([rebuilt.model(image[None].float() / 255) for image in part.images])
    if which == "regression":
        predicted = outputs[:, 0].round().clamp(0, rebuilt.data.n_classes - 1).long()
        loss = (outputs[:, 0] - part.labels).square().mean()
    else:
        predicted = outputs.argmax(-1)
        loss = -outputs.log_softmax(-1)[torch.arange(len(part)), part.labels].mean()
    pairs = list(zip(part.labels.tolist(), predicted.tolist(), strict=True))
    k = rebuilt.data.n_classes
    assert found["n"] == len(pairs)
    assert found["confusion"] == [[pairs.count((true, guess)) for guess in range(k)] for true in range(k)]
    assert found["accuracy"] == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))
    assert found["loss"] == pytest.approx(float(loss), rel=1e-5)
    counts = np.bincount(part.labels, minlength=k)
    assert np.array(found["confusion"]).sum(axis=1).tolist() == counts.tolist()
    for c, share in enumerate(found["class_accuracy"]):
        assert share == pytest.approx(pairs.count((c, c)) / counts[c])
    summary = json.loads((run / "run.json").read_text())
    assert found["accuracy"] == pytest.approx(summary["best_val_accuracy"])


def test_evaluate_prints_a_table(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("evaluate", digits, "--checkpoint", "last", "--split", "test") == 0
    lines = capsys.readouterr().out.splitlines()
    found = evaluate(rebuild(digits, "last"), "test")
    span = f"[{found.interval.low:.4f}, {found.interval.high:.4f}]"
    assert lines[0] == f"accuracy  {found.accuracy:.4f} {span} on {found.n} test images (checkpoint last)"
    assert len(lines) == 5 + 10
    assert [int(line.split()[0]) for line in lines[5:]] == list(range(10))
    assert lines[4].split() == [str(i) for i in range(10)]
    for line, row in zip(lines[5:], found.confusion, strict=True):
        assert [0 if cell == "." else int(cell) for cell in line.split()[3:]] == row.tolist()
        assert len(line) == len(lines[4])


def test_the_homeworks_confusion_matrix_fits_into_80_columns(food: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("evaluate", food) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "Vegetable/Fruit" in lines[-1]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("which", ["digits", "food", "regression"])
def test_predict_writes_the_homeworks_file(which: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    run: Path = request.getfixturevalue(which)
    file = tmp_path / "deep" / "submission.csv"
    assert command("predict", run, "-o", file, "--quiet") == 0
    rebuilt, part = rebuild(run), data_of(run).load("test")
    categories = read_submission(file, part.names)
    assert list(part.names) == sorted(part.names)
    assert len(categories) == len(part)
    assert set(categories) <= set(range(rebuilt.data.n_classes))
    assert categories == [int(rebuilt.labels(rebuilt.outputs(image[None]))) for image in part.images]
    assert command("predict", run, "-o", file) == 2  # it is there already
    assert command("predict", run, "-o", file, "--overwrite", "--quiet") == 0


def test_predict_on_a_folder_goes_by_file_order(digits: Path, tmp_path: Path) -> None:
    part = data_of(digits).load("test")
    order = [7, 2, 11, 5]
    for name, index in zip(["b.png", "a.png", "0010.png", "0002.png"], order, strict=True):
        Image.fromarray(part.images[index].permute(1, 2, 0).numpy()).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    out = tmp_path / "s.csv"
    assert command("predict", digits, "--data", tmp_path, "-o", out, "--quiet") == 0
    rebuilt = rebuild(digits)
    expected = rebuilt.labels(rebuilt.outputs(part.images[[5, 11, 2, 7]]))  # 0002, 0010, a, b
    assert read_submission(out) == expected.tolist()
    assert [name for name, _ in predict(rebuilt, tmp_path)] == ["0002.png", "0010.png", "a.png", "b.png"]


def test_ids_have_four_digits() -> None:
    lines = submission([("x.jpg", 3)] * 10001).splitlines()
    assert lines[:2] == ["Id,Category", "0001,3"]
    assert lines[9999:] == ["9999,3", "10000,3", "10001,3"]


def test_ids_are_the_numbers_in_the_names() -> None:
    assert submission([("0007.jpg", 3), ("0012.jpg", 10)]) == "Id,Category\n0007,3\n0012,10\n"


@pytest.mark.parametrize(("words", "said"), [
    (["evaluate", "RUN", "--split", "held-out"], "--split held-out"),
    (["evaluate", "RUN", "--checkpoint", "first"], "--checkpoint first"),
    (["evaluate", "RUN", "--split", "test"], "no labels"),
    (["evaluate", "NOWHERE"], "no such folder"),
    (["predict", "RUN", "--data", "NOWHERE"], "no such folder"),
    (["predict", "RUN", "--data", "EMPTY"], "no images"),
    (["predict", "RUN", "--data", "BROKEN"], "is a readable picture"),
])  # fmt: skip
def test_what_cannot_be_done_is_said(
    words: list[str], said: str, food: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("empty", "broken"):
        (tmp_path / name).mkdir()
    (tmp_path / "broken" / "0000.jpg").write_text("a text")
    places = {"RUN": food, "NOWHERE": tmp_path / "nowhere", "EMPTY": tmp_path / "empty", "BROKEN": tmp_path / "broken"}
    output = ["-o", tmp_path / "s.csv", "--quiet"] if words[0] == "predict" else []
    assert command(*(places.get(w, w) for w in words), *output) == 2
    message = capsys.readouterr().err
    assert said in message
    assert len(message.splitlines()) <= 3
    assert not (tmp_path / "s.csv").exists()


def test_a_missing_checkpoint_is_named(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    aside = (digits / "best.pt").rename(digits / "aside.pt")
    try:
        assert command("evaluate", digits) == 2
        assert "best.pt: no such checkpoint" in capsys.readouterr().err
        assert command("evaluate", digits, "--checkpoint", "last") == 0
    finally:
        aside.rename(digits / "best.pt")


def test_a_surface_has_nothing_to_predict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = optbench.run("trainer.steps=3", out=tmp_path)
    assert run.path is not None
    assert command("evaluate", run.path) == 2
    assert "is a run on a surface" in capsys.readouterr().err


def test_food11_reads_the_folders_that_synthetic_food_writes(food: Path, tmp_path: Path) -> None:
    synthetic = data_of(food)
    synthetic.load("train")
    (root,) = [f.parent for f in Path(os.environ["OPTBENCH_CACHE"]).glob("synthetic-food-*/recipe.json")]
    overrides = [*(o for o in FOOD if "per_class" not in o and "n_test" not in o and o != "data=synthetic_food")]
    run = optbench.run("data=food11", f"data.root={root}", *overrides, out=tmp_path)
    assert run.summary["data_fingerprint"]
    here = json.loads((food / "run.json").read_text())
    assert run.summary["final_loss"] == here["final_loss"]  # the same pictures, the same numbers
    assert run.path is not None
    assert evaluate(rebuild(run.path)).accuracy == run.summary["best_val_accuracy"]
    with pytest.raises(DataError, match="nowhere"):
        plan_run(["model=mlp", "data=food11", f"data.root={tmp_path / 'nowhere'}"])


DISHES = ["model=hw3_cnn", "model.width=8", "trainer.epochs=20", "trainer.threads=1"]
SIXTY = ["data=synthetic_food", "data.train_per_class=60", "data.validation_per_class=20"]
N_VALIDATION = 11 * 20


def dishes() -> Any:
    """60 training pictures of each of 11 dishes, and 20 to validate on."""
    return build(plan_run(["model=logistic", *SIXTY]).config["data"], "data")


@pytest.mark.slow
def test_the_cnn_tells_dishes_apart_that_no_linear_model_does(tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    data = dishes()
    (x, y), (vx, vy) = (
        ((s.images.flatten(1) / 255.0).numpy(), s.labels.numpy()) for s in map(data.load, ("train", "validation"))
    )
    assert (len(x), len(vx)) == (11 * 60, N_VALIDATION)
    right = [
        int((LogisticRegression(C=c, max_iter=30, tol=1e-2).fit(x, y).predict(vx) == vy).sum()) for c in (1e-3, 1e-1)
    ]
    run = optbench.run(*DISHES, *SIXTY, out=tmp_path)
    ours = run.summary["val_accuracy"]
    assert ours >= 0.9
    assert success_rate(round(ours * N_VALIDATION), N_VALIDATION).low > success_rate(max(right), N_VALIDATION).high


@pytest.mark.slow
def test_shuffled_labels_teach_nothing(tmp_path: Path) -> None:
    """With the labels of both splits dealt anew, hits are draws of one in eleven; a leak of any kind would be more."""
    data = dishes()
    data.load("train")
    (root,) = [
        f.parent
        for f in Path(os.environ["OPTBENCH_CACHE"]).glob("synthetic-food-*/recipe.json")
        if len(list((f.parent / "training").iterdir())) == 11 * 60
    ]
    rng = np.random.default_rng(0)
    for split in ("training", "validation"):
        (tmp_path / "food" / split).mkdir(parents=True)
        files = sorted((root / split).glob("*.jpg"))
        labels = rng.permutation([int(file.name.split("_")[0]) for file in files])
        for i, (file, label) in enumerate(zip(files, labels, strict=True)):
            shutil.copy(file, tmp_path / "food" / split / f"{label}_{i}.jpg")
    (tmp_path / "food" / "test").mkdir()
    words = ["data=food11", f"data.root={tmp_path / 'food'}", "data.image_size=64", "trainer.epochs=8"]
    run = optbench.run(*DISHES, *words, out=tmp_path / "runs")
    low, high = binom.interval(0.999, N_VALIDATION, 1 / 11)
    assert low <= run.summary["val_accuracy"] * N_VALIDATION <= high


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_cnn_reads_digits(seed: int, tmp_path: Path) -> None:
    run = optbench.run("model=hw3_cnn", "model.width=16", f"seed={seed}", out=tmp_path)
    check_accuracy(run)


@pytest.mark.slow
def test_the_cnn_at_full_width_reads_digits(tmp_path: Path) -> None:
    check_accuracy(optbench.run("model=hw3_cnn", out=tmp_path))


def check_accuracy(run: Run) -> None:
    """98 % on validation, measured again from the checkpoint."""
    assert run.status == "completed", run.reason
    assert run.summary["val_accuracy"] >= 0.98
    assert run.path is not None
    assert evaluate(rebuild(run.path, "last")).accuracy == pytest.approx(run.summary["val_accuracy"])
