"""Data that are no pictures: contract, sources, files of one's own and what is wrong with them; and their networks."""

from __future__ import annotations

import csv
import json
import math
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import members
import numpy as np
import pytest
import torch
from command_tools import invoke
from scipy.special import softmax
from torch import Tensor, nn

import optbench
from optbench.data.made_text import ALPHABET, MadeText, written
from optbench.data.mnist1d import signals
from optbench.data.table_csv import Table
from optbench.data.table_npz import Arrays
from optbench.errors import DataError, UserError
from optbench.experiment.plan import plan_run
from optbench.models.cnn1d import CNN1D
from optbench.models.gpt import GPT
from optbench.models.lstm import LSTM
from optbench.problem import AbstractData, Ragged, read_split, stream

SPLITS = ("train", "validation", "test")
OWN = ("csv", "npz", "hf")
EMBEDDED = [
    name for name in members.names("data")
    if (found := members.read("data", name))["_target_"] and "image_size" not in found and name not in OWN
]  # fmt: skip

PUBLISHED_SIGNALS = {
    0: [-0.3320056673693902, 1.0146680081220367, -0.8901663884753127],
    1: [1.9654808817629648, 0.5930688691509354, -1.3642151108248246],
    3999: [-0.6939948035971022, 0.9245322594397866, -1.6509928567520655],
    4000: [-0.07877078047732886, -0.2442605057849155, 0.3461328866646199],
    4999: [-0.5193287078205188, -0.1341205566194796, 1.193151836835276],
}
"""Positions 0, 13 and 39 of signals of the authors' file, those of training first."""
PUBLISHED_SQUARES = 159248.2538653486, 40751.74613465136
"""Sums of its squares, of training and of test."""


def test_tables_are_discovered() -> None:
    assert {"breast_cancer", "digit_points", "made_sentences", "made_text", "wine"} <= set(EMBEDDED)


def values(tree: Tensor | Ragged) -> Tensor:
    return tree.values if isinstance(tree, Ragged) else tree


@pytest.mark.parametrize("name", EMBEDDED)
def test_every_split_keeps_the_contract(name: str) -> None:
    data, seen = members.make("data", name), []
    for part in SPLITS:
        split, again = read_split(data, part), members.make("data", name).load(part)
        assert torch.equal(values(split.inputs), values(again.inputs))
        assert torch.equal(values(split.targets), values(again.targets))
        assert split.inputs.dtype in (torch.float32, torch.int64)
        assert split.targets is not None
        assert set(values(split.targets).unique().tolist()) <= set(range(data.n_classes))
        assert len(data.class_names) == data.n_classes
        seen += split.names
    of_texts = name.startswith("made_")  # whose splits are texts of their own
    if not of_texts:
        assert len(seen) == len(set(seen))
    with pytest.raises(DataError, match="'holdout'"):
        data.load("holdout")
    key = "text_seed" if of_texts else "split_seed"
    other = members.make("data", name, **{key: 1}).load("validation")
    assert other.names != data.load("validation").names or of_texts
    assert not torch.equal(values(other.inputs), values(data.load("validation").inputs))
    for change in ({key: -1}, {"n_classes": 1}):
        with pytest.raises(DataError, match=f"{next(iter(change))}="):
            members.make("data", name, **change)


@pytest.mark.slow  # scikit-learn takes seconds to import
@pytest.mark.parametrize("name", ["wine", "breast_cancer"])
def test_tables_are_scikit_learns(name: str) -> None:
    import sklearn.datasets

    x, y = getattr(sklearn.datasets, f"load_{name}")(return_X_y=True)
    data = members.make("data", name)
    rows = {part: np.array([int(one) - 1 for one in data.load(part).names]) for part in SPLITS}
    mean, deviation = x[rows["train"]].mean(0), x[rows["train"]].std(0)
    for part in SPLITS:
        split = data.load(part)
        np.testing.assert_allclose(split.inputs.numpy(), (x[rows[part]] - mean) / deviation, atol=1e-5)
        assert split.labels.tolist() == y[rows[part]].tolist()
    assert sum(map(len, rows.values())) == len(y)


def test_signals_are_the_published_ones() -> None:
    """Numbers of the authors' file mnist1d_data.pkl (github.com/greydanus/mnist1d, 2020; mnist1d 0.0.2.post1 makes the
    same): signals from both ends of both parts, and sums over all, which any other draw would change."""
    ours, digits = signals()
    for row, values in PUBLISHED_SIGNALS.items():
        np.testing.assert_allclose(ours[row, [0, 13, 39]], values, atol=1e-12)
    assert digits[:10].tolist() == [2, 6, 4, 5, 6, 6, 6, 0, 3, 1]
    assert np.square(ours[:4000]).sum() == pytest.approx(PUBLISHED_SQUARES[0], rel=1e-12)
    assert np.square(ours[4000:]).sum() == pytest.approx(PUBLISHED_SQUARES[1], rel=1e-12)
    assert ours.shape == (5000, 40)
    assert np.bincount(digits).tolist() == [500] * 10
    assert sum(p.numel() for p in CNN1D().parameters()) == 5210  # Table 1 of the paper


def test_another_seed_draws_other_signals_by_the_same_recipe() -> None:
    other = members.make("data", "mnist1d", signal_seed=7).load("test")
    assert not torch.equal(other.inputs, members.make("data", "mnist1d").load("test").inputs)
    assert float(other.inputs.std()) == pytest.approx(1.0, abs=0.05)


def test_spirals_are_half_a_turn_apart_and_end_where_the_benchmark_says() -> None:
    data = members.make("data", "two_spirals", test_share=0.0)
    points = {name: (x, int(y)) for part in ("train", "validation") for split in [data.load(part)]
              for name, x, y in zip(split.names, split.inputs, split.targets, strict=True)}  # fmt: skip
    assert len(points) == 194
    one = torch.stack([points[f"{i:04d}"][0] for i in range(1, 98)]).double()
    other = torch.stack([points[f"{i:04d}"][0] for i in range(98, 195)]).double()
    torch.testing.assert_close(one, -other)
    radius = 6.5 * one.norm(dim=1)
    torch.testing.assert_close(radius, 6.5 * (104 - torch.arange(97.0, dtype=torch.float64)) / 104, atol=1e-6, rtol=0)
    turns = torch.atan2(one[:, 0], one[:, 1])
    torch.testing.assert_close(
        torch.remainder(turns, 2 * math.pi)[1], torch.tensor(math.pi / 16).double(), atol=1e-5, rtol=0
    )


def test_the_entropy_of_the_made_language_is_that_of_its_sentences() -> None:
    """By counting: the mean of minus the logarithm of the probability of sentences, a letter."""
    text = written(60_000, stream(9, "text"))
    assert set(text) <= set(ALPHABET)
    nats, sentences = 0.0, text.split(". ")[:-1]
    for sentence in sentences:
        words = sentence.split(" ")
        nats += math.log(2)
        number = 0
        for word in words:
            number += word in ("the", "a")
            nats += (
                {"the": math.log(4), "a": math.log(4), "sleeps": 0.0}.get(word, -1.0)
                if word in ("the", "a", "sleeps")
                else _of(word)
            )
        assert number == (1 if words[-1] == "sleeps" else 2)
    letters = sum(len(sentence) + 2 for sentence in sentences)
    assert nats / letters == pytest.approx(MadeText().entropy, rel=0.01)
    split = MadeText(context=8).load("train")
    assert split.targets is not None
    assert torch.equal(split.inputs.flatten()[1:], split.targets.flatten()[:-1])


def _of(word: str) -> float:
    from optbench.data import made_text

    kinds = {"_ADJECTIVES": 8, "_NOUNS": 12, "_VERBS": 8}
    return next(math.log(n) for name, n in kinds.items() if word in getattr(made_text, name))


# files of one's own ---------------------------------------------------------------------------------------------------

HEAD = "a,b,y,kind\n"
ROWS = "".join(f"{i},{i * i % 7},{i / 3:.4f},{'hi' if i % 3 else 'lo'}\n" for i in range(40))


def table(tmp_path: Path, text: str, **more: Any) -> Table:
    file = tmp_path / "t.csv"
    file.write_text(text)
    return Table(str(file), **more)


def test_a_table_is_read_as_it_stands(tmp_path: Path) -> None:
    data = table(tmp_path, HEAD + ROWS, target="kind", drop=["y"], weight="b", standardize=False)
    assert (data.n_classes, data.class_names) == (2, ("hi", "lo"))
    for part in SPLITS:
        split = read_split(data, part)
        i = torch.tensor([int(name.split()[1]) - 2 for name in split.names])
        assert torch.equal(split.inputs[:, 0], i.float())
        assert split.weights is not None
        assert torch.equal(split.weights, (i * i % 7).float())
        assert split.labels.tolist() == [0 if k % 3 else 1 for k in i.tolist()]
    several = table(tmp_path, HEAD + ROWS, target=["y", "b"], drop=["kind"])
    assert (several.n_classes, several.n_targets) == (0, 2)
    train = several.load("train")
    torch.testing.assert_close(train.targets.mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    assert table(tmp_path, HEAD + ROWS, target="b", drop=["kind"]).class_names == ("0", "1", "2", "4")
    assert table(tmp_path, HEAD + ROWS, target="b", drop=["kind"], task="regression").n_classes == 0


def test_words_are_inputs_of_their_own(tmp_path: Path) -> None:
    """As pandas makes them: a column a kind, in order, in the place of the column."""
    import pandas as pd

    data = table(tmp_path, HEAD + ROWS, target="y", standardize=False)
    wanted = pd.get_dummies(pd.read_csv(tmp_path / "t.csv")[["a", "b", "kind"]], dtype=float)
    for part in SPLITS:
        split = data.load(part)
        lines = [int(name.split()[1]) - 2 for name in split.names]
        assert np.array_equal(split.inputs.numpy(), wanted.to_numpy()[lines].astype(np.float32))


@pytest.mark.parametrize("several", [False, True])
def test_numbers_come_back_in_their_units(several: bool, tmp_path: Path) -> None:
    target = ["y", "b"] if several else "y"
    data = table(tmp_path, HEAD + ROWS, target=target, drop=["kind"])
    raw = table(tmp_path, HEAD + ROWS, target=target, drop=["kind"], standardize=False)
    scale = data.units()
    assert scale is not None
    assert raw.units() is None
    assert table(tmp_path, HEAD + ROWS, target="kind").units() is None
    for part in SPLITS:
        learnt, measured = (one.load(part).targets for one in (data, raw))
        assert learnt is not None
        assert measured is not None
        back = scale[0] + scale[1] * learnt.reshape(len(learnt), -1).double()
        torch.testing.assert_close(back.float(), measured.reshape(len(learnt), -1), rtol=1e-5, atol=1e-5)


@pytest.mark.slow  # runs
@pytest.mark.parametrize(
    ("words", "head"),
    [
        ("model=mlp data=wine", "name,class_0,class_1,class_2"),
        ("model=mlp data=wine loss=class_number", "name,class_0,class_1,class_2"),
        ("model=lstm data=made_text", "name,position, ,.,a,b,c"),
        ("model=mlp data=diabetes", "Diabetes is a regression: there are no classes to tell apart"),
        ("model=mlp data=csv data.path=t.csv data.target=[y,a] trainer.batch_size=full", "Table is a regression"),
        ("model=mlp data=wine data.test_share=0", "predictions are of the test split"),
    ],
)
def test_the_probabilities_of_every_classifier_are_written(
    words: str, head: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Against scipy's softmax of the network's outputs; what has none is refused before any file is written."""
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text(HEAD + ROWS)
    run = optbench.run(*words.split(), "trainer.steps=2", out=tmp_path / "out")
    network = optbench.rebuild(run.path)
    code, _, err = invoke(capsys, "predict", str(run.path), "-o", "s.csv", "--proba", "p.csv")
    if "," not in head:
        assert code == 2
        assert head in err
        assert not list(tmp_path.glob("[sp].csv"))
        return
    assert code == 0
    first, *lines = csv.reader(Path("p.csv").read_text().splitlines())
    assert ",".join(first).startswith(head)
    keys = 1 + (first[1] == "position")
    assert first[keys:] == list(network.class_names)
    part = network.data.load("test")
    outputs = network.outputs(part.inputs)
    expected = softmax(outputs.double().numpy(), axis=-1).reshape(-1, len(network.class_names))
    shares = np.array([line[keys:] for line in lines], dtype=float)
    if "class_number" in words:  # no probabilities: all of it on the nearest class
        expected = np.eye(3)[np.clip(np.round(outputs.numpy().ravel()), 0, 2).astype(int)]
    np.testing.assert_allclose(shares, expected, rtol=1e-12)
    said = [line[1] for line in csv.reader(Path("s.csv").read_text().splitlines())][1:]
    best = [network.class_names[k] for k in shares.argmax(axis=-1)]
    if keys == 2:
        length = len(said[0])
        assert [line[:2] for line in lines] == [[name, str(k)] for name in part.names for k in range(length)]
        best = ["".join(best[i : i + length]) for i in range(0, len(best), length)]
    assert said == best


@pytest.mark.slow  # a run
def test_predictions_are_in_the_units_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text(HEAD + ROWS)
    words = ("model=linear", "data=csv", "data.path=t.csv", "data.target=y", "trainer.batch_size=full")
    run = optbench.run(*words, "trainer.epochs=2", out=tmp_path)
    code, out, _ = invoke(capsys, "predict", str(run.path), "-o", "p.csv")
    assert code == 0
    assert "in the units of the target" in out
    rows = [line.split(",") for line in Path("p.csv").read_text().splitlines()[1:]]
    said, true = (np.array([float(row[k]) for row in rows]) for k in (1, 2))
    assert true == pytest.approx([round((int(row[0].split()[1]) - 2) / 3, 4) for row in rows], abs=1e-5)
    found = json.loads(invoke(capsys, "evaluate", str(run.path), "--split", "test", "--json")[1])
    assert found["rmse_in_units"] == pytest.approx([np.sqrt(np.square(said - true).mean())], rel=1e-5)
    assert found["mae_in_units"] == pytest.approx([np.abs(said - true).mean()], rel=1e-5)
    assert found["rmse"] < found["rmse_in_units"][0]  # the deviation of the target is about 4


WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "empty": ("", {}, "the file is empty"),
    "no rows": (HEAD, {}, "no rows below the headings"),
    "missing column": (HEAD + ROWS, {"target": "z"}, "has no column 'z'"),
    "missing drop": (HEAD + ROWS, {"drop": ["z"]}, "data.drop: .* has no column 'z'"),
    "text among inputs": (
        HEAD + "1,1,1,7\n" + ROWS,
        {},
        "column 'kind' has 'lo', which is no finite number, in line 3",
    ),
    "many words": (
        "a,y\n" + "".join(f"w{i},{i}.5\n" for i in range(30)),
        {},
        "30 different words; up to 20 are inputs",
    ),
    "a word missing": (HEAD + "1,1,1,\n" + ROWS, {}, "column 'kind' has no value in line 2"),
    "NaN": (HEAD + "1,nan,1,x\n" + ROWS, {"drop": ["kind"]}, "column 'b' has no value in line 2"),
    "infinite": (HEAD + "1,inf,1,x\n" + ROWS, {"drop": ["kind"]}, "column 'b' has 'inf'"),
    "no cell": (HEAD + ROWS + ",1,1,x\n", {"drop": ["kind"]}, "column 'a' has no value in line 42"),
    "no target": (HEAD + ROWS + "1,1,,x\n", {"drop": ["kind"]}, "column 'y' has no value in line 42"),
    "mixed": (HEAD + ROWS + "1,x,1,x\n", {"drop": ["kind"]}, "column 'b' has 'x'"),
    "mixed classes": (HEAD + ROWS + "1,1,1,3\n", {"target": "kind"}, "has numbers and 'lo' in line 2"),
    "one class": (HEAD + ROWS.replace("lo", "hi"), {"target": "kind", "drop": ["y"]}, "one class, nothing to tell"),
    "constant": ("a,y\n" + "1,2.5\n2,2.5\n" * 9, {}, "is 2.5 in each row: nothing to learn"),
    "few rows": ("a,y\n1,2.5\n2,3.5\n", {}, "2 rows are too few for a"),
    "short line": (HEAD + ROWS + "1,2\n", {}, "line 42 has 2 values, there are 4 headings"),
    "twice": ("a,a\n1,2\n", {"target": "a"}, "two columns 'a'"),
    "twice named": (HEAD + ROWS, {"drop": ["y"]}, "is named twice"),
    "negative weights": (HEAD + "1,-1,1,x\n" + ROWS, {"drop": ["kind"], "weight": "b"}, "negative weights"),
    "nothing left": ("y\n1.5\n2.5\n", {}, "no column is left"),
    "task": (HEAD + ROWS, {"task": "ranking"}, "task=ranking"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_a_table_is_named(case: str, tmp_path: Path) -> None:
    text, more, words = WRONG[case]
    with pytest.raises(DataError, match=words) as error:
        table(tmp_path, text, **{"target": "y", **more})
    assert "\n" not in error.value.message
    assert f"data.drop=[{more.get('target', 'y')}]" not in error.value.hint, "what is to be learnt cannot be left out"


X, Y = np.arange(60.0).reshape(30, 2), np.arange(30) / 7


@pytest.mark.parametrize(("arrays", "more", "words"), [
    ({"x": X}, {}, "has no such array"),
    ({"x": X, "y": Y[:5]}, {}, "'x' has 30 rows and 'y' 5"),
    ({"x": np.full((30, 2), np.nan), "y": Y}, {}, "has nan in row 0"),
    ({"x": X, "y": np.zeros(30)}, {}, "nothing to learn"),
    ({"x": X, "y": np.zeros(30, int)}, {}, "one class"),
    ({"x": X[:0], "y": Y[:0]}, {}, "is empty"),
    ({"x": np.array(["a"] * 30), "y": Y}, {}, "expected numbers"),
    ({"x": np.array([{}] * 30, dtype=object), "y": Y}, {}, "Python objects are not read"),
    ({"x": X, "y": Y}, {"task": "classification"}, "not whole"),
    ({"x": X, "y": Y, "w": -Y - 1}, {"weight": "w"}, "negative"),
    ({"x": X[:2], "y": Y[:2]}, {}, "too few"),
])  # fmt: skip
def test_what_is_wrong_with_arrays_is_named(
    arrays: dict[str, Any], more: dict[str, Any], words: str, tmp_path: Path
) -> None:
    file = tmp_path / "a.npz"
    np.savez(file, **arrays)
    with pytest.raises(DataError, match=words) as error:
        Arrays(str(file), **more)
    assert "\n" not in error.value.message


def test_arrays_are_read_by_their_types(tmp_path: Path) -> None:
    def read(x: Any, y: Any, **more: Any) -> AbstractData:
        np.savez(tmp_path / "a.npz", x=x, y=y)
        return Arrays(str(tmp_path / "a.npz"), **more)

    tokens = np.arange(30 * 4).reshape(30, 4) % 6
    assert (read(X, np.stack([Y, Y**2], 1)).n_targets, read(X, Y).n_classes) == (2, 0)
    names = read(X, np.array(["u", "v", "v"] * 10))
    assert (names.class_names, names.load("train").labels.dtype) == (("u", "v"), torch.int64)
    text = read(tokens, tokens)
    assert (text.n_classes, text.load("train").inputs.dtype) == (6, torch.int64)
    assert read(X.astype(np.uint8), Y).load("train").inputs.dtype == torch.uint8
    (tmp_path / "a.npz").write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"no \.npz file"):
        Arrays(str(tmp_path / "a.npz"))
    with (tmp_path / "a.npz").open("wb") as file:
        np.save(file, X)
    with pytest.raises(DataError, match="one array and not several by name"):
        Arrays(str(tmp_path / "a.npz"))


def test_a_run_on_a_file_is_its_content_wherever_it_lies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = tmp_path / "one.csv", tmp_path / "other"
    one.write_text(HEAD + ROWS)
    other.write_text(HEAD + ROWS)
    words = ["model=mlp", "model.hidden=[4]", "data=csv", "data.target=kind", "data.drop=[y]", "trainer.epochs=1",
             "trainer.batch_size=full"]  # fmt: skip
    ids = [plan_run([*words, f"data.path={file}"]).run_id for file in (one, other)]
    monkeypatch.chdir(tmp_path)
    ids.append(plan_run([*words, "data.path=other"]).run_id)
    assert len(set(ids)) == 1
    other.write_text(HEAD + ROWS + "1,2,3,hi\n")
    assert plan_run([*words, "data.path=other"]).run_id != ids[0]
    run = optbench.run(*words, f"data.path={one}", out=tmp_path / "out")
    assert run.summary["loss_name"] == "by_targets"
    again = optbench.rebuild(run.path)
    assert again.model(torch.zeros(1, 2)).shape == (1, 2)
    capsys.readouterr()
    found = json.loads(invoke(capsys, "evaluate", str(run.path), "--json")[1])
    assert found["loss"] == pytest.approx(run.summary["best_val_loss"])
    assert found["accuracy"] == run.summary["best_val_accuracy"]
    code, _, err = invoke(capsys, "evaluate", str(run.path), "--plot", "confusion.png")
    assert (code, "for pictures" in err) == (2, True)
    code, _, err = invoke(capsys, "explain", str(run.path))
    assert (code, "has no pictures to look at" in err) == (2, True)
    assert invoke(capsys, "predict", str(run.path), "-o", "p.csv")[0] == 0
    rows = [line.split(",") for line in Path("p.csv").read_text().splitlines()]
    assert rows[0] == ["name", "prediction", "p_hi", "p_lo", "label"]
    split = Table(str(one), "kind", drop=["y"]).load("test")
    shares = again.model(split.inputs).double().softmax(-1)
    assert [row[0] for row in rows[1:]] == list(split.names)
    assert [float(row[2]) for row in rows[1:]] == pytest.approx(shares[:, 0].tolist(), abs=1e-6)
    assert invoke(capsys, "predict", str(run.path), "-o", "q.csv", "--proba", "proba.csv")[0] == 0
    assert Path("q.csv").read_text() == Path("p.csv").read_text()
    alone = [line.split(",") for line in Path("proba.csv").read_text().splitlines()]
    assert alone == [["name", "hi", "lo"], *([row[0], *row[2:4]] for row in rows[1:])]
    for extra in ("data.path=nowhere.csv", "data.target=z", "data.path=null", "loss=squared_error"):
        code, _, err = invoke(capsys, "run", *words, f"data.path={one}", extra, "-o", str(tmp_path / "no"), "--quiet")
        assert code == 2, extra
        assert 1 <= len(err.strip().splitlines()) <= 3, err


@pytest.mark.parametrize(("name", "least"), [("own_data", 5), ("own_surface", 3)])
def test_the_pages_on_what_is_ones_own_are_true(
    name: str, least: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From an empty folder: the files that a page shows are written, its commands run, its figures come again."""
    page = (members.ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    for name, text in re.findall(r"`([\w/]+\.(?:py|yaml))`:\n\n```\w+\n(.*?)```", page, re.S):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    if (tmp_path / "make.py").is_file():
        exec((tmp_path / "make.py").read_text(), {})
    ran, folder = 0, ""
    for command, shown in re.findall(r"^\$ optbench (.*?)\n(.*?)(?=^\$|^```)", page, re.M | re.S):
        code, out, err = invoke(
            capsys, *shlex.split(command.replace("RUN", folder)), *(["--quiet"] if " run" in command else [])
        )
        assert code == 0, err
        folder = out.strip().splitlines()[-1] if command.startswith("run") else folder
        for line in (line for line in shown.splitlines() if line.strip() and "..." not in line):
            assert line in out, (command, line, out)
        ran += 1
    assert ran >= least


# networks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [GPT(n_outputs=5, context=6, width=8), LSTM(n_outputs=5, width=8)])
def test_the_next_token_is_told_from_those_before_it_alone(model: nn.Module) -> None:
    model = model.double().eval()
    tokens = torch.arange(12).reshape(2, 6) % 5
    whole = model(tokens)
    assert whole.shape == (2, 6, 5)
    changed = tokens.clone()
    changed[:, 4] = (changed[:, 4] + 1) % 5
    torch.testing.assert_close(model(changed)[:, :4], whole[:, :4], rtol=0, atol=0)
    assert not torch.allclose(model(changed)[:, 4], whole[:, 4])
    torch.testing.assert_close(model(tokens[:, :3]), whole[:, :3])
    with pytest.raises(UserError, match="tokens"):
        model(torch.zeros(2, 6))


def test_attention_is_torchs() -> None:
    model = GPT(n_outputs=5, context=6, width=8, heads=2, layers=1).double()
    layer = model.blocks[0].attention
    x = torch.randn(3, 6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    q, k, v = (part.reshape(3, 6, 2, 4).transpose(1, 2) for part in layer.queries_keys_values(x).chunk(3, dim=-1))
    expected = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(3, 6, 8)
    torch.testing.assert_close(layer(x), layer.out(expected))


@pytest.mark.parametrize(("words", "least"), [
    (["model=gpt", "trainer.epochs=2"], 0.30), (["model=lstm", "trainer.epochs=1"], 0.5),
    (["model=mlp", "data=wine"], 0.8), (["model=cnn1d", "trainer.epochs=1"], 0.2),
])  # fmt: skip
@pytest.mark.slow
def test_they_learn(words: list[str], least: float, tmp_path: Path) -> None:
    run = optbench.run(*words, "optimizer.lr=0.01", "trainer.threads=1", out=tmp_path)
    assert run.summary["val_accuracy"] > least
