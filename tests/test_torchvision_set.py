"""Data sets of torchvision's from local files: what is read is what was written, and what is wrong is one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import idx_files
import numpy as np
import pytest
from command_tools import invoke

import optbench
from optbench.data._sizes import TORCHVISION
from optbench.data.torchvision_set import TorchvisionSet
from optbench.errors import DataError
from optbench.experiment.plan import plan_run
from optbench.settings import RANGES


def raw(root: Path) -> Path:
    return root / "MNIST" / "raw" / "train-labels-idx1-ubyte"


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    root, seen = idx_files.write(tmp_path), []
    data = TorchvisionSet("MNIST", str(root), validation_share=0.2)
    for split in ("train", "validation", "test"):
        found = data.load(split)
        images, labels = idx_files.drawn(*((50, 1) if split == "test" else (200, 0)))
        at = [int(name.rpartition("/")[2]) - 1 for name in found.names]
        assert np.array_equal(found.images.numpy()[:, 0], images[at])
        assert found.labels is not None
        assert np.array_equal(found.labels.numpy(), labels[at])
        assert np.bincount(found.labels.numpy()).tolist() == [len(at) // 10] * 10
        seen += found.names
    assert len(set(seen)) == 250
    three = TorchvisionSet("MNIST", str(root), channels=3, image_size=14).load("test").images
    assert three.shape == (50, 3, 14, 14)
    assert all(np.array_equal(three[:, 0], three[:, k]) for k in (1, 2))


def one_class(root: Path) -> None:
    images, labels = idx_files.drawn(200, 0)
    idx_files.write_part(root, "train", images, labels * 0)


def too_large(root: Path) -> None:
    images, labels = idx_files.drawn(200, 0)
    idx_files.write_part(root, "train", images, labels + 1)


def empty(root: Path) -> None:
    idx_files.write_part(root, "train", *idx_files.drawn(0, 0))


def other_lengths(root: Path) -> None:
    idx_files.write_part(root, "train", idx_files.drawn(200, 0)[0], idx_files.drawn(150, 0)[1])


WRONG: dict[str, tuple[Callable[[Path], Any], dict[str, Any], str]] = {
    "no folder": (lambda root: None, {"path": "nowhere"}, "data.path=nowhere: no such folder"),
    "a missing file": (lambda root: raw(root).unlink(), {}, "MNIST is not there"),
    "another set": (lambda root: None, {"name": "FashionMNIST"}, "FashionMNIST is not there"),
    "no such set": (lambda root: None, {"name": "ImageNet"}, "name=ImageNet: expected MNIST, "),
    "classes": (lambda root: None, {"n_classes": 7}, "n_classes=7: MNIST has 10"),
    "share": (lambda root: None, {"validation_share": 1.0}, "validation_share=1.0"),
    "one class": (one_class, {}, "every image has label 0: one class, nothing to tell"),
    "a label too many": (too_large, {}, "labels of MNIST from 1 to 10; expected 0 to 9"),
    "empty": (empty, {}, "0 training images|broken files of MNIST"),
    "other lengths": (other_lengths, {}, "200 training images of MNIST, 150 labels"),
    "cut short": (lambda root: raw(root).write_bytes(raw(root).read_bytes()[:50]), {}, "broken files of MNIST"),
    "mixed up": (lambda root: raw(root).write_text("label\n3\nfive\n"), {}, "broken files of MNIST"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(case: str, tmp_path: Path) -> None:
    spoil, more, words = WRONG[case]
    root = idx_files.write(tmp_path)
    spoil(root)
    with pytest.raises(DataError, match=words) as error:
        TorchvisionSet(**{"name": "MNIST", "path": str(root), **more}).load("train")
    assert "\n" not in error.value.message


def test_nothing_is_fetched_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision is told so; and where it cannot fetch, that is a line."""
    from optbench.vision import torchvision

    asked = []

    def made(root: str, train: bool, download: bool) -> None:
        asked.append(download)
        raise OSError("no network") if download else RuntimeError("Dataset not found.")

    monkeypatch.setattr(torchvision.datasets, "MNIST", made)
    for download, words in ((False, "is not there"), (True, "cannot be fetched into data.path=.*: no network")):
        with pytest.raises(DataError, match=words):
            TorchvisionSet("MNIST", str(tmp_path), download=download).load("train")
    assert asked == [False, True]
    with pytest.raises(DataError, match="cannot be fetched"):  # before an identity is made of what is there
        plan_run(["model=mlp", "data=torchvision", f"data.path={tmp_path}", "data.download=true"])


def test_its_identity_is_its_content(tmp_path: Path) -> None:
    words = ["model=mlp", "data=torchvision"]
    roots = [idx_files.write(tmp_path / name) for name in ("a", "b")]
    ids = [plan_run([*words, f"data.path={root}"]).run_id for root in roots]
    assert ids[0] == ids[1]
    idx_files.write_part(roots[1], "test", *idx_files.drawn(50, 7))
    assert plan_run([*words, f"data.path={roots[1]}"]).run_id != ids[0]
    assert RANGES["data.download"][0](True)


@pytest.mark.slow  # runs
def test_a_run_of_each_sort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    idx_files.write(tmp_path / "data" / "MNIST")
    words = ["model=mlp", "model.hidden=[8]", "data=torchvision", "trainer.epochs=1", "trainer.threads=1"]
    run = optbench.run(*words, out=tmp_path / "runs")
    assert run.status == "completed"
    assert invoke(capsys, "evaluate", str(run.path), "--split", "test")[0] == 0
    assert invoke(capsys, "predict", str(run.path), "-o", "p.csv")[0] == 0
    for extra in ("data.name=KMNIST", "data.name=CIFAR100", "data.path=nowhere", "data.name=7"):
        code, _, err = invoke(capsys, "run", *words, extra, "-o", str(tmp_path / "no"), "--quiet")
        assert code == 2, extra
        assert 1 <= len(err.strip().splitlines()) <= 3, err


def test_names_are_torchvisions() -> None:
    from optbench.vision import torchvision

    assert all(hasattr(torchvision.datasets, name) for name in TORCHVISION)


def test_sizes_are_those_of_the_set_unless_said(tmp_path: Path) -> None:
    """As published, in the words of each set's paper; the ones that are said stay."""
    root = idx_files.write(tmp_path)
    words = ["model=mlp", "data=torchvision", f"data.path={root}"]
    plain = plan_run(words)
    assert plan_run([*words, "data.n_classes=10", "data.channels=1", "data.image_size=28"]).run_id == plain.run_id
    found = plan_run([*words, "data.name=CIFAR100", "data.image_size=16"]).config
    assert [found["data"][key] for key in ("n_classes", "channels", "image_size")] == [100, 3, 16]
    assert [found["model"][key] for key in ("n_outputs", "in_channels", "image_size")] == [100, 3, 16]
    assert TorchvisionSet("MNIST", str(root)).load("test").images.shape[1:] == (1, 28, 28)
