"""Data sets of Hugging Face's `datasets` on local disk: what is read is what was saved, what is wrong is a line.

The files are written by `datasets` itself, or by pyarrow where that is simpler. Without the extra all but one skip.
"""

from __future__ import annotations

import datetime
import socket
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hf_files
import numpy as np
import pyarrow as pa
import pytest
import torch
from command_tools import invoke

import optbench
from optbench.data._tables import Rows
from optbench.data.hf import HuggingFace
from optbench.data.hf_images import HuggingFaceImages
from optbench.errors import DataError
from optbench.experiment.plan import plan_run
from optbench.problem import read_split

N = 60
HAS = find_spec("datasets") is not None
with_datasets = pytest.mark.skipif(not HAS, reason="the extra hf is not installed")
RANDOM = np.random.default_rng(0)
COLUMNS: dict[str, Any] = {
    "a": RANDOM.normal(size=N),
    "b": np.arange(N),
    "w": ["u", "v", "v"] * (N // 3),
    "v": [list(row) for row in RANDOM.normal(size=(N, 3))],
    "t": [[i % 7, i % 5] for i in range(N)],
    "k": np.arange(N) % 2,
    "y": RANDOM.normal(size=N),
}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)


def parquet(place: Path, **changes: Any) -> Path:
    return hf_files.rows(place, **{**COLUMNS, **changes})


def saved(place: Path, sizes: dict[str, int] | None = None, **features: Any) -> Path:
    """A folder of save_to_disk: in one piece, or of splits."""
    import datasets

    datasets.disable_progress_bars()
    rows = datasets.Dataset.from_dict(COLUMNS)
    for name, feature in features.items():
        rows = rows.cast_column(name, feature)
    if sizes is None:
        rows.save_to_disk(str(place))
        return place
    starts = np.cumsum([0, *sizes.values()])
    parts = {name: rows.select(range(start, start + sizes[name])) for name, start in zip(sizes, starts, strict=False)}
    datasets.DatasetDict(parts).save_to_disk(str(place))
    return place


def rows_of(names: tuple[str, ...], starts: dict[str, int]) -> list[int]:
    """Where rows such as validation[3] stand in COLUMNS."""
    return [starts[name.partition("[")[0]] + int(name.partition("[")[2][:-1]) for name in names]


def test_without_the_extra_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    for choice in ("hf", "hf_images"):
        words = ("run", "model=mlp", f"data={choice}", f"data.path={tmp_path}", "data.target=y", "-o", str(tmp_path))
        code, _, err = invoke(capsys, *words)
        assert (code, err) == (2, f"error: data={choice} needs the package datasets\npip install 'optbench[hf]'\n")


@pytest.mark.slow  # `datasets` takes a second to import
@with_datasets
def test_splits_are_those_that_were_saved(tmp_path: Path) -> None:
    import datasets

    sizes = {"train": 30, "valid": 12, "test": 10, "unsupervised": 8}
    k = datasets.ClassLabel(names=["no", "yes"])
    data = HuggingFace(str(saved(tmp_path / "dd", sizes, k=k)), "k", ["a", "w", "v", "b"], standardize=False)
    starts = {"train": 0, "validation": 30, "test": 42}
    for split, size in (("train", 30), ("validation", 12), ("test", 10)):
        found = read_split(data, split)
        at = rows_of(found.names, starts)
        assert at == list(range(starts[split], starts[split] + size))
        words = np.array([[word == "u", word == "v"] for word in COLUMNS["w"]])
        wanted = np.column_stack([COLUMNS["a"], words, np.array(COLUMNS["v"]), COLUMNS["b"]])[at]
        np.testing.assert_allclose(found.inputs.numpy(), wanted, rtol=1e-6)
        assert found.labels.tolist() == (np.arange(N) % 2)[at].tolist()
    assert data.class_names == ("no", "yes")
    with pytest.raises(DataError, match="no rows in split 'unsupervised'"):
        data.load("unsupervised")
    scaled = HuggingFace(str(tmp_path / "dd"), "y", "v").load("train")
    torch.testing.assert_close(scaled.inputs.std(0, correction=0), torch.ones(3))
    torch.testing.assert_close(scaled.targets.mean(), torch.tensor(0.0), atol=1e-6, rtol=0)


@pytest.mark.slow
@with_datasets
def test_splits_that_lack_are_cut_and_all_files_say_the_same(tmp_path: Path) -> None:
    import datasets

    table = datasets.Dataset.from_dict({name: COLUMNS[name] for name in ("a", "b", "w", "k", "y")})
    folder = tmp_path / "的 [1]*"  # no pattern
    folder.mkdir()
    table.save_to_disk(str(folder / "whole"))
    table.to_parquet(str(folder / "t [0].parquet"))
    table.to_json(str(folder / "t.jsonl"))
    table.to_csv(str(folder / "t.csv"), index=False)
    table.to_csv(str(folder / "t.tsv"), index=False, sep="\t")
    with pa.OSFile(str(folder / "t.arrow"), "w") as file, pa.ipc.new_stream(file, table.data.schema) as writer:
        writer.write_table(table.data.table)
    (folder / "parts").mkdir()
    table.to_parquet(str(folder / "parts" / "train.parquet"))
    places = ["whole", "t [0].parquet", "t.jsonl", "t.csv", "t.tsv", "t.arrow", "parts"]
    found = [HuggingFace(str(folder / place), "k", drop=["y"]) for place in places]
    for split in ("train", "validation", "test"):
        first = found[0].load(split)
        for other in found[1:]:
            torch.testing.assert_close(other.load(split).inputs, first.inputs, atol=1e-6, rtol=1e-6)
            assert torch.equal(other.load(split).targets, first.targets)
    assert [len(found[0].load(split)) for split in ("train", "validation", "test")] == [42, 12, 6]
    given = HuggingFace(str(saved(tmp_path / "dd", {"train": 40, "test": 20})), "y", "a", validation_share=0.25)
    assert [len(given.load(split)) for split in ("train", "validation", "test")] == [30, 10, 20]
    at = rows_of(given.load("train").names + given.load("validation").names, {"train": 0, "validation": 99})
    assert sorted(at) == list(range(40))
    assert not list(folder.glob("**/*.lock"))


@pytest.mark.slow
@with_datasets
def test_targets_are_classes_numbers_or_tokens(tmp_path: Path) -> None:
    file = str(parquet(tmp_path / "t.parquet"))
    many = HuggingFace(file, ["a", "y"], "v")
    assert (many.n_classes, many.n_targets, many.load("train").targets.shape[1]) == (0, 2, 2)
    assert HuggingFace(file, "w", "a").class_names == ("u", "v")
    assert HuggingFace(file, "k", "a").class_names == ("0", "1")
    assert HuggingFace(file, "b", "a").n_classes == 0  # 60 different whole numbers
    assert HuggingFace(str(parquet(tmp_path / "m.parquet", b=np.arange(N) // 20)), "b", "a").class_names == (
        "0",
        "1",
        "2",
    )
    text = HuggingFace(file, "t", "v", task="classification", standardize=False)
    assert (text.n_classes, text.load("train").targets.dtype) == (7, torch.int64)
    tokens = HuggingFace(file, "k", "t").load("train")
    assert (tokens.inputs.dtype, tokens.inputs.shape[1:]) == (torch.int64, (2,))
    weighted = HuggingFace(file, "y", "a", weight="b").load("train")
    assert weighted.weights.tolist() == [float(row) for row in rows_of(weighted.names, {"train": 0})]


@pytest.mark.slow
@with_datasets
@pytest.mark.parametrize("how", ["column", "nothing", "minus one"])
def test_a_test_split_may_lack_targets(how: str, tmp_path: Path) -> None:
    import datasets

    features = datasets.Features(x=datasets.Value("float32"), k=datasets.ClassLabel(names=["n", "o", "p"]))
    held = {"x": np.arange(9), "k": np.arange(9) % 3}
    test: dict[str, Any] = {"x": np.arange(4), "k": {"nothing": [None] * 4}.get(how, [-1] * 4)}
    parts = {"train": datasets.Dataset.from_dict(held, features), "test": datasets.Dataset.from_dict(test, features)}
    if how == "column":
        parts["test"] = parts["test"].remove_columns("k")
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "dd"))
    data = HuggingFace(str(tmp_path / "dd"), "k", validation_share=0.34)
    assert data.load("test").targets is None
    assert sorted([*data.load("train").labels.tolist(), *data.load("validation").labels.tolist()]) == [
        0,
        0,
        0,
        1,
        1,
        1,
        2,
        2,
        2,
    ]


def nothing(place: Path) -> Path:
    return place


def text_file(name: str, text: str) -> Any:
    def make(place: Path) -> Path:
        file = place.with_name(name)
        file.write_text(text)
        return file

    return make


def columns(**changes: Any) -> Any:
    return lambda place: parquet(place.with_suffix(".parquet"), **changes)


def splits(**sizes: int) -> Any:
    return lambda place: saved(place, sizes)


def empty_folder(place: Path) -> Path:
    place.mkdir()
    return place


def labels(place: Path) -> Path:
    import datasets

    return saved(place, None, k=datasets.ClassLabel(names=["no", "yes"]))


def other_features(place: Path) -> Path:
    import datasets

    one, two = (datasets.Dataset.from_dict({"a": [value] * 9, "y": np.arange(9.0)}) for value in (1.5, "x"))
    datasets.DatasetDict(train=one, test=two).save_to_disk(str(place))
    return place


def spoilt(values: Any, value: Any) -> list[Any]:
    return [*values[:4], value, *values[5:]]


WRONG: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no path": (nothing, {}, "no such file or folder"),
    "a folder of nothing": (empty_folder, {}, "no data set of Hugging Face's in this folder"),
    "another file": (text_file("t.txt", "a"), {}, "no data set of Hugging Face's"),
    "broken parquet": (text_file("t.parquet", "hello"), {}, "cannot be read: .*Parquet"),
    "broken json": (text_file("t.json", '{"a": 1, "y": }'), {}, "cannot be read: "),
    "mixed up csv": (text_file("t.csv", "a,y\n1,2\n1,2,3\n"), {}, "cannot be read: .*line 3"),
    "empty csv": (text_file("t.csv", ""), {}, "cannot be read: "),
    "empty json": (text_file("t.json", ""), {}, "cannot be read: it is empty"),
    "no rows": (text_file("t.csv", "a,y\n"), {}, "no rows|cannot be read"),
    "missing column": (columns(), {"target": "z"}, "data.target: .* has no column 'z'"),
    "missing input": (columns(), {"inputs": ["a", "z"]}, "data.inputs: .* has no column 'z'"),
    "missing drop": (columns(), {"drop": ["z"]}, "data.drop: .* has no column 'z'"),
    "missing weight": (columns(), {"weight": "z"}, "data.weight: .* has no column 'z'"),
    "twice named": (columns(), {"inputs": ["a", "y"]}, "'y' is named twice"),
    "nothing left": (columns(), {"drop": ["a", "b", "w", "v", "t", "k"]}, "no column is left"),
    "NaN": (columns(a=spoilt(COLUMNS["a"], np.nan)), {}, "'a' has nan in row 4"),
    "infinite": (columns(y=spoilt(COLUMNS["y"], np.inf)), {}, "'y' has inf in row 4"),
    "nothing in a row": (columns(a=spoilt(list(COLUMNS["a"]), None)), {}, "column 'a' has no value in row 4"),
    "nothing in a list": (columns(t=spoilt(COLUMNS["t"], [1, None])), {}, "column 't' has no value in row 4"),
    "other lengths": (columns(t=spoilt(COLUMNS["t"], [1])), {}, "column 't' has lists of 1 and of 2 values"),
    "mixed types": (
        text_file("t.jsonl", '{"a": 1, "y": 2}\n{"a": {"b": 1}, "y": 3}\n' * 20),
        {},
        "column 'a' is of type Json",
    ),
    "no numbers": (columns(a=[{"c": 1}] * N), {}, "column 'a' is of type dict"),
    "dates": (columns(a=[datetime.date(2026, 1, 1)] * N), {}, "column 'a' holds date32"),
    "many words": (columns(w=[f"w{i}" for i in range(N)]), {}, "60 different words; up to 20 are inputs"),
    "arrays beside others": (columns(t=[[[1, 2]]] * N), {}, r"column 't' is of shape \(60, 1, 2\); beside others"),
    "one class": (columns(k=[1] * N), {"target": "k"}, "one class, nothing to tell"),
    "one kind of word": (columns(w=["u"] * N), {"target": "w"}, "one class, nothing to tell"),
    "constant": (columns(y=[2.5] * N), {}, "the same in each row: nothing to learn"),
    "not whole": (columns(), {"task": "classification"}, "not whole"),
    "words as numbers": (columns(), {"target": "w", "task": "regression"}, "is text"),
    "labels as numbers": (labels, {"target": "k", "task": "regression"}, "is a ClassLabel"),
    "several classes": (columns(), {"target": ["k", "w"], "task": "classification"}, "one column to be told"),
    "negative weights": (columns(), {"weight": "a"}, "negative"),
    "n_targets": (columns(), {"n_targets": 3}, "n_targets=3"),
    "task": (columns(), {"task": "ranking"}, "task=ranking"),
    "few rows": (text_file("t.csv", "a,y\n1,2.5\n2,3.5\n"), {}, "2 rows are too few"),
    "no training split": (splits(fit=30, test=30), {}, "no split 'train'"),
    "two of a split": (splits(train=30, val=10, dev=10), {}, "splits 'val' and 'dev': which one"),
    "an empty split": (splits(train=30, test=0), {}, "no rows in split 'test'"),
    "other features": (other_features, {}, "test: column 'a' is "),
    "no label": (columns(k=spoilt(list(COLUMNS["k"]), None)), {"target": "k"}, "'k' has no value in row 4"),
}


@pytest.mark.slow
@with_datasets
@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(case: str, tmp_path: Path) -> None:
    make, more, words = WRONG[case]
    place = make(tmp_path / "data")
    with pytest.raises(DataError, match=words) as error:
        HuggingFace(**{"path": str(place), "target": "y", **more})
    assert "\n" not in error.value.message
    assert "optbench-hf" not in f"{error.value.message}{error.value.hint}"  # the link that the library was given


# pictures -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@with_datasets
def test_pictures_are_decoded_and_squared(tmp_path: Path) -> None:
    data, seen = HuggingFaceImages(str(hf_files.pictures(tmp_path / "p.parquet")), image_size=5), []
    for split in ("train", "validation", "test"):
        found = read_split(data, split)
        at = rows_of(found.names, {"train": 0})
        assert found.images.shape == (len(at), 3, 5, 5)
        assert (found.images == torch.tensor(at).reshape(-1, 1, 1, 1) * 4).all()
        assert found.labels.tolist() == [i % 2 for i in at]
        seen += at
    assert sorted(seen) == list(range(N))
    assert data.class_names == ("cat", "dog")
    grey = HuggingFaceImages(str(tmp_path / "p.parquet"), channels=1, image_size=3).load("test").images
    assert grey.shape == (6, 1, 3, 3)


@pytest.mark.slow
@with_datasets
@pytest.mark.parametrize(("cell", "words"), [
    ({"bytes": None, "path": "https://example.org/a.png"}, r"place of a picture \(https://example.org/a.png\)"),
    ({"bytes": None, "path": "/etc/hostname"}, "the place of a picture"),
    ({"bytes": b"no picture", "path": None}, "row 3: cannot be read as an image .not an image."),
    ({"bytes": hf_files.png(3)[:40], "path": "a.png"}, "row 3: cannot be read as an image"),
    (None, "row 3: no picture"),
])  # fmt: skip
def test_what_is_no_picture_is_named(cell: Any, words: str, tmp_path: Path) -> None:
    data = HuggingFaceImages(str(hf_files.pictures(tmp_path / "p.parquet", {3: cell})), split_seed=0)
    split = next(one for one in ("train", "validation", "test") if "train[3]" in Rows.load(data, one).names)
    with pytest.raises(DataError, match=words) as error:
        data.load(split)
    assert "\n" not in error.value.message


@pytest.mark.slow
@with_datasets
def test_pictures_and_numbers_send_to_each_other(tmp_path: Path) -> None:
    file = str(hf_files.pictures(tmp_path / "p.parquet"))
    with pytest.raises(DataError, match="'image' is of type Image") as error:
        HuggingFace(file, "label")
    assert "data=hf_images" in error.value.hint
    with pytest.raises(DataError, match="'label' is of type ClassLabel, and no picture"):
        HuggingFaceImages(file, inputs="label", target="image")


# runs -----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@with_datasets
def test_a_run_of_each_sort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "dd", {"train": 40, "test": 20})
    hf_files.pictures(tmp_path / "p.parquet")
    short = ("trainer.batch_size=full", "trainer.epochs=1", "trainer.threads=1")
    sorts = [
        ("model=mlp", "model.hidden=[4]", "data=hf", "data.path=dd", "data.target=y"),
        ("model=logistic", "data=hf", "data.path=dd", "data.target=w", "data.inputs=[a,v]"),
        ("model=logistic", "data=hf_images", "data.path=p.parquet", "data.image_size=4"),
    ]
    for words in sorts:
        run = optbench.run(*words, *short, out=tmp_path / "runs")
        assert run.status == "completed"
        assert invoke(capsys, "evaluate", str(run.path), "--split", "test")[0] == 0
        assert invoke(capsys, "predict", str(run.path), "-o", "p.csv", "--overwrite")[0] == 0
    for extra in ("data.path=nowhere", "data.target=z", "data.inputs=z", "data.target=[]", "data.task=ranking"):
        code, _, err = invoke(capsys, "run", *sorts[0], extra, "-o", str(tmp_path / "no"), "--quiet")
        assert code == 2, extra
        assert 1 <= len(err.strip().splitlines()) <= 3, err
    assert not (tmp_path / "no").exists()


@pytest.mark.slow
@with_datasets
def test_its_identity_is_its_content(tmp_path: Path) -> None:
    words = ["model=mlp", "data=hf", "data.target=y"]
    places = [saved(tmp_path / name / "dd", {"train": 40, "test": 20}) for name in ("a", "b")]
    ids = [plan_run([*words, f"data.path={place}"]).run_id for place in places]
    assert ids[0] == ids[1]
    saved(places[1], {"train": 39, "test": 21})
    assert plan_run([*words, f"data.path={places[1]}"]).run_id != ids[0]
