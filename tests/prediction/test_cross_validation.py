"""Folds of training and validation data as one sweep, what is kept out of fold, and what is chosen on it."""

from __future__ import annotations

import csv
import itertools
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_tools import command
from hypothesis import given, settings
from hypothesis import strategies as st

import optbench
from optbench.comparison import compare
from optbench.errors import ConfigError, DataError, RecordError, UserError
from optbench.experiment import plan_run, plan_sweep
from optbench.experiment.rebuild import rebuild
from optbench.prediction import run_folders
from optbench.prediction.cross import cross_validated, greedy, shares
from optbench.problem.folds import folds_of
from optbench.records import read_run

SMALL = ["model=mlp", "trainer.epochs=2", "trainer.threads=1", "data.image_size=8", "scheduler=constant"]
ASKED = [*SMALL, "data.folds=3", "model.hidden=[8]", "optimizer.lr=1e-2,1e-3"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two learning rates on three folds each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPTBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        out = tmp_path_factory.mktemp("sweeps")
        for rate, fold in itertools.product(("1e-2", "1e-3"), range(3)):
            settings = [*SMALL, "model.hidden=[8]", "data.folds=3", f"data.fold={fold}", f"optimizer.lr={rate}"]
            assert optbench.run(*settings, out=out / "folds").status == "completed"
        yield out / "folds"


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 4), min_size=7, max_size=60), st.integers(2, 7))
def test_every_fold_has_its_share_of_each_class(labels: list[int], folds: int) -> None:
    found = folds_of(torch.tensor(labels), folds).tolist()
    assert set(found) <= set(range(folds))
    sizes = Counter(found)
    assert max(sizes.values()) - min(sizes.get(k, 0) for k in range(folds)) <= 1
    for label in set(labels):
        counts = Counter(fold for fold, own in zip(found, labels, strict=True) if own == label)
        assert max(counts.values()) - min(counts.get(k, 0) for k in range(folds)) <= 1
    assert folds_of(torch.tensor(labels), folds).tolist() == found


def test_numbers_are_divided_too() -> None:
    assert sorted(Counter(folds_of(torch.rand(11), 4).tolist()).values()) == [2, 3, 3, 3]
    with pytest.raises(DataError, match="3 examples cannot be divided into 5 folds"):
        folds_of(torch.rand(3), 5)


def test_one_override_is_all_folds(tmp_path: Path) -> None:
    planned = plan_sweep(ASKED, out=tmp_path)
    assert [(p.swept["data.fold"], p.swept["optimizer.lr"]) for p in planned] == [
        (fold, rate) for rate in (0.01, 0.001) for fold in range(3)
    ]
    assert len(plan_sweep([*ASKED, "data.fold=1"], out=tmp_path)) == 2
    assert len({p.run_id for p in planned}) == 6
    plain, first = (plan_run([*SMALL, *more], out=tmp_path) for more in ([], ["data.folds=3", "data.fold=0"]))
    assert plain.run_id != first.run_id


@pytest.mark.parametrize(("words", "said"), [
    (["data.folds=3"], "data.folds=3: on which fold"),
    (["data.fold=0"], "data.fold=0: of how many folds"),
    (["data.folds=3", "data.fold=3"], "data.fold=3: expected 0 to 2"),
    (["data.folds=1", "data.fold=0"], "data.folds=1: expected a whole number from 2"),
    (["model=sphere", "data.folds=3", "data.fold=0"], "a surface has none"),
])  # fmt: skip
def test_what_is_no_fold_is_said(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        plan_run([*([] if "model=sphere" in words else SMALL), *words])


def test_each_image_is_held_out_once_and_what_is_said_of_it_is_kept(swept: Path) -> None:
    held: dict[str, list[str]] = {}
    for run in run_folders([swept]):
        member = rebuild(run)
        part, training = member.data.load("validation"), member.data.load("train")
        assert not set(part.names) & set(training.names)
        rows = list(csv.reader((run / "out_of_fold.csv").read_text().splitlines()))
        assert rows[0] == ["image", "fold", "label", *member.class_names]
        assert [row[0] for row in rows[1:]] == list(part.names)
        assert [int(row[2]) for row in rows[1:]] == part.labels.tolist()
        with torch.no_grad():
            outputs = member.model(part.images.float() / 255)
        expected = torch.softmax(outputs.double(), -1).numpy()
        assert np.allclose(np.array([row[3:] for row in rows[1:]], dtype=float), expected, atol=1e-6)
        right = float((expected.argmax(-1) == part.labels.numpy()).mean())
        assert right == pytest.approx(read_run(run).summary["best_val_accuracy"])
        held.setdefault(str(read_run(run).config["optimizer"]["lr"]), []).extend(part.names)
    for names in held.values():
        assert len(names) == len(set(names)) == 1797 - 179  # all but the test images


def test_folds_are_repetitions_of_one_configuration(swept: Path) -> None:
    found = compare([swept])
    assert [group.n for group in found.groups] == [3, 3]
    assert {group.label for group in found.groups} == {"adam lr=0.01", "adam lr=0.001"}


def test_a_sweep_of_folds_is_evaluated_out_of_fold(swept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = cross_validated(run_folders([swept]))
    assert len(found) == 2
    mean = (found[0].probabilities + found[1].probabilities) / 2
    right = float((mean.argmax(-1) == found[0].labels).mean())
    assert command("evaluate", swept) == 0
    said = capsys.readouterr().out
    assert f"accuracy  {right:.4f} [" in said
    assert "on 1618 images out of fold (checkpoint best; 3 folds; mean of 2 configurations)" in said
    assert command("evaluate", swept, "--greedy") == 0
    assert "images out of fold, which chose them" in capsys.readouterr().err
    assert command("evaluate", swept, "--vote") == 2
    assert "predictions out of fold are of the images as they are" in capsys.readouterr().err
    some = run_folders([swept])[1:]
    assert command("evaluate", *some) == 2
    assert "of 3 is missing" in capsys.readouterr().err
    with pytest.raises(UserError, match="are both fold"):
        cross_validated([some[0], some[0]])


def test_each_checkpoint_is_a_candidate_out_of_fold(
    swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = run_folders([swept])
    found = cross_validated(folders, "best,last")
    assert [one.checkpoint for one in found] == ["best", "last", "best", "last"]
    last = found[1]
    for run in last.runs:  # each image by the network that did not see it, as it is after the last epoch
        member = rebuild(run, "last")
        part = member.data.load("validation")
        where = [last.names.index(name) for name in part.names]
        assert np.allclose(last.probabilities[where], member.probabilities(part.images).numpy(), atol=1e-6)
        assert last.labels[where].tolist() == part.labels.tolist()
    counts = greedy(np.stack([one.probabilities for one in found]), found[0].labels)
    weights = shares(counts)
    right = float((sum(w * found[i].probabilities for i, w in weights.items()).argmax(-1) == found[0].labels).mean())
    assert command("evaluate", swept, "--greedy", "--checkpoint", "best,last") == 0
    said = capsys.readouterr()
    assert f"accuracy  {right:.4f} [" in said.out
    assert f"chosen {len(weights)} of 4: {right:.4f} right on 1618 images out of fold" in said.err
    assert command("evaluate", swept, "--checkpoint", "last") == 0
    assert "(checkpoint last; 3 folds; mean of 2 configurations)" in capsys.readouterr().out
    assert command("predict", swept, "--greedy", "--checkpoint", "best,last", "-o", tmp_path / "a.csv", "-q") == 0
    assert f"{3 * len(weights)} networks" in capsys.readouterr().out


def test_the_folds_predict_together(swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, some = tmp_path / "all.csv", tmp_path / "some.csv"
    assert command("predict", swept, "-o", out, "--quiet") == 0
    assert "6 networks, mean of probabilities" in capsys.readouterr().out
    members = [rebuild(run) for run in run_folders([swept])]
    mean = torch.stack([m.probabilities(m.data.load("test").images) for m in members]).mean(0)
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [int(row["Category"]) for row in rows] == mean.argmax(-1).tolist()
    assert command("predict", swept, "--greedy", "-o", some, "--quiet") == 0
    said = capsys.readouterr()
    assert "weight " in said.err
    assert len(some.read_text().splitlines()) == len(rows) + 1


def test_greedy_selection_takes_what_helps_and_nothing_else() -> None:
    labels = np.array([0, 1, 0, 1, 0, 1])
    sure = np.array([0.9, 0.1])

    def candidate(right: str) -> np.ndarray:
        return np.array(
            [sure[[k, 1 - k]] if r == "1" else sure[[1 - k, k]] for r, k in zip(right, labels, strict=True)]
        )

    good, other, bad = candidate("111100"), candidate("001111") * 0.5 + 0.25, candidate("000000")
    counts = greedy(np.stack([good, other, bad]), labels)
    assert counts[2] == 0
    mean = sum(w * one for w, one in zip((counts / counts.sum()).tolist(), (good, other, bad), strict=True))
    alone = max((one.argmax(-1) == labels).mean() for one in (good, other, bad))
    assert (np.asarray(mean).argmax(-1) == labels).mean() >= alone
    assert shares(np.array([3, 0, 1])) == {0: 0.75, 2: 0.25}
    assert greedy(good[None], labels).tolist() == [1]  # once more of the same is no better


def test_a_folder_that_cannot_be_listed_may_hold_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "run").mkdir(parents=True)
        (tmp_path / name / "run" / "run.json").touch()
    assert run_folders([tmp_path]) == [tmp_path / "a" / "run", tmp_path / "b" / "run"]
    listed = os.scandir

    def scandir(place: str) -> Any:
        if Path(place).name == "b":
            raise PermissionError(13, "Permission denied", str(place))
        return listed(place)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(RecordError, match=r"b: cannot be listed \(Permission denied\)"):
        run_folders([tmp_path])
