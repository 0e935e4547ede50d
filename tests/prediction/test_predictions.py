"""Recorded networks on images: alone, together, on views, in folders with and without labels, and what is written."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from command_tools import command
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import optbench
from optbench.errors import DataError, UserError
from optbench.experiment.rebuild import rebuild
from optbench.plot import worst_pictures
from optbench.prediction import Ensemble, Views, ensemble, natural, numbered, submission
from optbench.prediction.worst import looked_at, thumbnail, thumbnails
from optbench.records import read_run

SMALL = ["model=mlp", "model.hidden=[16]", "trainer.epochs=2", "trainer.threads=1", "data.image_size=8"]
FOOD = ["model=mlp", "model.hidden=[16]", "trainer.epochs=2", "trainer.threads=1", "trainer.batch_size=8",
        "data.image_size=16"]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPTBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three networks on digits, two trained on shifted images and one on smaller ones."""
    out = tmp_path_factory.mktemp("digits")
    settings = (["augment=flip_crop"], ["augment=flip_crop", "seed=1"], ["data.image_size=6"])
    runs = [optbench.run(*SMALL, *more, out=out) for more in settings]
    return [run.path for run in runs if run.path is not None]


def picture(file: Path, seed: int, size: tuple[int, int] = (20, 16)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run on a folder of classes, and the folder, which has moved since."""
    root = tmp_path_factory.mktemp("there") / "images"
    for split, n in (("train", 8), ("validation", 4)):
        for k, name in enumerate(("ape", "bee", "cow")):
            for i in range(n):
                picture(root / split / name / f"{i}.png", 100 * k + i)
    for i in (10, 2, 1):
        picture(root / "test" / f"{i}.png", i)
    run = optbench.run("data=image_folder", f"data.root={root}", "data.n_classes=3", *FOOD, out=root.parent / "runs")
    assert run.path is not None
    moved = tmp_path_factory.mktemp("here") / "moved"
    shutil.move(root, moved)
    return run.path, moved


def test_a_page_is_told_what_a_network_is_most_wrong_about(digits: list[Path], folders: tuple[Path, Path]) -> None:
    """Against torch's own cross-entropy of its outputs, and with pictures that are those of the data."""
    run, network = read_run(digits[0]), rebuild(digits[0])
    found = looked_at(run, None, (), 5)
    part = network.data.load("validation")
    outputs = network.outputs(part.images)
    losses = torch.nn.functional.cross_entropy(outputs, part.labels, reduction="none")
    wrong = outputs.argmax(1) != part.labels
    assert found.counts is not None
    assert [sum(map(sum, found.counts)), sum(row[i] for i, row in enumerate(found.counts))] == [
        len(part), int((~wrong).sum()),
    ]  # fmt: skip
    worst = losses[wrong].sort(descending=True)
    assert [one.loss for one in found.worst] == pytest.approx(worst.values[:5].tolist(), rel=1e-5)
    place = torch.nonzero(wrong).flatten()[worst.indices[0]]
    first = found.worst[0]
    assert (first.name, int(first.true)) == (part.names[place], int(part.labels[place]))
    assert first.png is not None
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(first.png))), part.images[place].permute(1, 2, 0).numpy())
    assert thumbnails(run, [first.name], None, ()) == {first.name: first.png}
    with pytest.raises(DataError, match="no such folder now"):
        looked_at(read_run(folders[0]), None, (), 5)


def test_a_thumbnail_is_small_whatever_the_picture_is() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (3, 400, 300), dtype=np.uint8)
    for image in (noise, noise[:1], noise[:2].astype(np.float32) - 7.5, np.zeros((1, 5, 5))):
        file = thumbnail(image)
        assert len(file) <= 12_000
        width, height = Image.open(io.BytesIO(file)).size
        assert max(width, height) <= 96
        assert width / height == pytest.approx(image.shape[2] / image.shape[1], rel=0.1)


@given(st.lists(st.integers(0, 10**6), unique=True), st.sampled_from(["", "img", "a b_"]))
def test_numbers_in_names_sort_by_value(numbers: list[int], prefix: str) -> None:
    names = [f"{prefix}{n}.jpg" for n in numbers]
    assert sorted(names, key=natural) == [f"{prefix}{n}.jpg" for n in sorted(numbers)]


@given(st.lists(st.text("ab01².jé /", max_size=6), unique=True))
def test_the_natural_order_is_one_order(names: list[str]) -> None:
    backwards = list(reversed(names))
    assert sorted(backwards, key=natural) == sorted(names, key=natural)


def test_the_number_in_a_name_is_the_id() -> None:
    assert submission([("10.jpg", 3), ("2.jpg", 1)]) == "Id,Category\n0002,1\n0010,3\n"
    assert numbered(["2.jpg", "10.jpg"]) == ([2, 10], [])
    with pytest.raises(UserError, match=r"would share an Id in the submission: 1.jpg and 0001.png; 2.jpg and 2.JPG"):
        numbered(["1.jpg", "0001.png", "2.jpg", "2.JPG", "3.jpg"])


def test_other_names_are_numbered_and_that_is_said() -> None:
    ids, (note, shared) = numbered(["2.jpg", "cat.jpg", "cat.png"])
    assert ids == [1, 2, 3]
    assert "(cat.jpg, cat.png): the 3 files are numbered from 1 in natural order" in note
    assert shared.endswith("cat.jpg and cat.png")
    assert numbered(["a/1.jpg", "b/2.jpg"])[1][0].startswith("names that are no numbers (a/1.jpg, b/2.jpg)")
    assert len(numbered(["cat.jpg"])[1]) == 1


def test_networks_together(digits: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test = rebuild(digits[0]).data.load("test")
    answers = []
    for path in digits:
        member = rebuild(path, "last")
        with torch.no_grad():
            answers.append(torch.softmax(member.model(member.data.load("test").images.float() / 255).double(), -1))
    mean = torch.stack(answers).mean(0)
    counts = [[int(a[i].argmax()) for a in answers] for i in range(len(test))]
    # by hand: the most frequent class, of equally frequent ones that with the larger mean probability
    votes = [max(set(c), key=lambda k, c=c, i=i: (c.count(k), float(mean[i, k]))) for i, c in enumerate(counts)]
    for words, expected in (([], mean.argmax(-1).tolist()), (["--vote"], votes)):
        out, table = tmp_path / f"{len(words)}.csv", tmp_path / f"{len(words)}-p.csv"
        line = ("predict", *digits, "-o", out, "--proba", table, "--checkpoint", "last", "--quiet", *words)
        assert command(*line) == 0
        said = capsys.readouterr().out
        assert f"checkpoint last; 3 networks, {'votes' if words else 'mean of probabilities'}" in said
        assert [int(row["Category"]) for row in csv.DictReader(out.read_text().splitlines())] == expected
        rows = list(csv.reader(table.read_text().splitlines()))
        assert rows[0] == ["file", "Id", *rebuild(digits[0]).class_names]
        shares = np.array([row[2:] for row in rows[1:]], dtype=float)
        assert np.allclose(shares.sum(axis=1), 1.0, atol=1e-4)
        if not words:
            assert np.allclose(shares, mean.numpy(), atol=1e-5)


def test_checkpoints_of_one_run_are_asked_together(digits: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    two = ensemble(digits[:1], "best,last")
    images = two.pictures(split="validation")
    alone = [ensemble(digits[:1], name).each(images[:1])[0] for name in ("best", "last")]
    mean, predicted = two.combined(two.each(images))
    assert torch.allclose(mean, (alone[0] + alone[1]) / 2)
    assert predicted.tolist() == mean.argmax(-1).tolist()
    assert command("evaluate", digits[0], "--checkpoint", "best,last") == 0
    assert "(checkpoints best, last; 2 networks, mean of probabilities)" in capsys.readouterr().out
    assert command("evaluate", digits[0], "--checkpoint", "best,first") == 2
    assert "--checkpoint first: expected best, last or an epoch" in capsys.readouterr().err


def test_checkpoints_of_several_runs_are_candidates(
    digits: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Chosen by hand among runs and checkpoints, one after the other, and asked together with these weights."""
    members = [(path, which) for path in digits[:2] for which in ("best", "last")]
    networks = [rebuild(*one) for one in members]
    held = networks[0].data.load("validation")
    each = [network.probabilities(held.images).numpy() for network in networks]
    counts, taken, score = [0] * 4, np.zeros_like(each[0]), (-1.0, 0.0)
    while sum(counts) < 50:
        tries = []
        for one in each:
            mean = (taken + one) / (sum(counts) + 1)
            logs = np.log(np.maximum(mean[np.arange(len(held)), held.labels.numpy()], 1e-12))
            tries.append((float((mean.argmax(-1) == held.labels.numpy()).mean()), float(logs.mean())))
        best = max(range(4), key=lambda i: tries[i])
        if tries[best] <= score:
            break
        score, taken = tries[best], taken + each[best]
        counts[best] += 1
    test = networks[0].data.load("test")
    mean = sum(n * m.probabilities(test.images) for n, m in zip(counts, networks, strict=True))
    out = tmp_path / "chosen.csv"
    assert command("predict", *digits[:2], "--greedy", "--checkpoint", "best,last", "-o", out, "--quiet") == 0
    assert [int(row["Category"]) for row in csv.DictReader(out.read_text().splitlines())] == mean.argmax(-1).tolist()
    lines = capsys.readouterr().err.splitlines()
    expected = [f"weight {n / sum(counts):.3f}: {path}, checkpoint {which}"
                for n, (path, which) in zip(counts, members, strict=True) if n]  # fmt: skip
    assert lines[: len(expected)] == expected
    assert lines[len(expected)].startswith(f"chosen {len(expected)} of 4: ")


def test_views_count_with_their_weight(digits: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    whole, none, part = (ensemble(digits[:1], views=Views(3, weight)) for weight in (1.0, 0.0, 0.25))
    images = whole.pictures()
    plain = ensemble(digits[:1]).each(images)
    assert torch.equal(whole.each(images), plain)
    assert not torch.allclose(none.each(images), plain, atol=1e-3)  # they are other images
    assert torch.allclose(part.each(images), 0.25 * plain + 0.75 * none.each(images))
    assert torch.equal(part.each(images), part.each(images))
    assert command("evaluate", digits[0], "--tta") == 0
    assert "0.5 x the image + 0.5 x the mean of 5 augmented views" in capsys.readouterr().out
    assert command("evaluate", digits[2], "--tta") == 2
    assert "was trained without augmentation" in capsys.readouterr().err


def test_the_order_of_the_folder_changes_nothing(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, moved = folders
    written = []
    for i, names in enumerate((["1", "2", "10"], ["10", "1", "2"])):
        for name in names:
            (tmp_path / str(i)).mkdir(exist_ok=True)
            shutil.copy(moved / "test" / f"{name}.png", tmp_path / str(i))
        assert command("predict", run, "--data", tmp_path / str(i), "-o", tmp_path / f"{i}.csv", "--quiet") == 0
        written.append((tmp_path / f"{i}.csv").read_text())
    assert written[0] == written[1]
    assert [line[:4] for line in written[0].splitlines()] == ["Id,C", "0001", "0002", "0010"]
    assert "accuracy" not in capsys.readouterr().out  # nothing says their labels


def test_the_data_may_have_moved(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    run, moved = folders
    summary = json.loads((run / "run.json").read_text())
    for verb in (("evaluate",), ("predict", "-o", moved.parent / "none.csv"), ("explain",)):
        assert command(*verb, run) == 2
        said = capsys.readouterr().err
        assert "no such folder" in said
        assert "--data PATH" in said
    found = {}
    for place in (moved, moved / "validation"):
        assert command("evaluate", run, "--data", place, "--json") == 0
        found[place.name] = json.loads(capsys.readouterr().out)
        assert found[place.name]["accuracy"] == pytest.approx(summary["best_val_accuracy"])
    low, high = found["moved"]["interval"]
    assert 0 <= low < found["moved"]["accuracy"] < high <= 1 or low == 0 or high == 1
    assert found["moved"]["confusion"] == found["validation"]["confusion"]
    assert found["moved"]["class_names"] == ["ape", "bee", "cow"]


def test_images_may_lie_in_a_folder_of_any_name(folders: tuple[Path, Path], tmp_path: Path) -> None:
    run, moved = folders
    shutil.copytree(moved / "test", tmp_path / "test" / "unknown")
    (flat,), (below,) = (ensemble([run]).pictures(place) for place in (moved / "test", tmp_path / "test"))
    assert below.names == tuple(f"unknown/{name}" for name in flat.names)
    assert torch.equal(below.images, flat.images)
    assert below.labels is None
    out = tmp_path / "s.csv"
    assert command("predict", run, "--data", tmp_path / "test", "-o", out, "--quiet") == 0
    assert command("predict", run, "--data", moved / "test", "-o", tmp_path / "t.csv", "--quiet") == 0
    assert out.read_text() == (tmp_path / "t.csv").read_text()


def test_labelled_folders_are_scored(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, moved = folders
    out = tmp_path / "s.csv"
    assert command("predict", run, "--data", moved / "validation", "-o", out, "--quiet") == 0
    said = capsys.readouterr()
    assert "numbered from 1 in natural order" in said.err
    predicted = [int(row["Category"]) for row in csv.DictReader(out.read_text().splitlines())]
    right = sum(a == b for a, b in zip(predicted, [k for k in range(3) for _ in range(4)], strict=True))
    assert f"accuracy  {right / 12:.4f} [" in said.out
    assert "predicted:" in said.out
    for i, label in enumerate((2, 0, 1)):  # labels in the names, as in the homework
        picture(tmp_path / "named" / f"{label}_{i}.png", i)
    assert command("evaluate", run, "--data", tmp_path / "named") == 0
    assert "on 3 images in " in capsys.readouterr().out
    picture(tmp_path / "named" / "3_7.png", 9)  # there is no class 3: then the names say no labels
    assert command("evaluate", run, "--data", tmp_path / "named") == 2
    assert "no labels to compare with" in capsys.readouterr().err
    assert command("evaluate", run, "--data", tmp_path / "named", "--split", "train") == 2
    assert "is a folder of images, not a data set" in capsys.readouterr().err


def test_other_classes_are_no_ensemble(digits: list[Path], folders: tuple[Path, Path]) -> None:
    with pytest.raises(UserError, match="tell other classes apart"):
        ensemble([digits[0], folders[0]])
    assert isinstance(ensemble(digits), Ensemble)


def test_the_worst_images_are_drawn(digits: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "worst.png"
    assert command("evaluate", digits[2], "--errors", file) == 0
    with Image.open(file) as drawn:
        assert drawn.size[0] > 400
    images = np.zeros((4, 3, 5, 5), dtype=np.uint8)
    shares = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.99, 0.01]])
    figure = worst_pictures(images, np.array([1, 0, 0, 0]), shares.argmax(1), shares, ["ape", "bee"], list("wxyz"))
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert [title[0] for title in titles] == ["w", "x", "y"]  # by how little was left for the truth
    assert titles[0].splitlines()[1:] == ["label bee (0.100)", "said ape (0.900)"]


def test_a_broken_picture_does_not_cost_the_submission(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "images"
    for split, counts in (("train", (2, 6, 3)), ("validation", (1, 1, 1))):
        for k, n in enumerate(counts):
            for i in range(n):
                picture(root / split / f"kind {k}" / f"{i}.png", 10 * k + i)
    for i in (10, 2, 1, 3):
        picture(root / "test" / f"{i}.png", i)
    (root / "train" / "kind 2" / "broken.png").write_bytes(b"no picture")
    words = ["data=image_folder", f"data.root={root}", "data.n_classes=3", "model=mlp", "model.hidden=[4]",
             "trainer.epochs=1", "trainer.threads=1", "data.image_size=8", "trainer.batch_size=4"]  # fmt: skip
    run = optbench.run(*words, "data.on_bad=skip", out=tmp_path / "runs")
    account = run.summary["provenance"]["pictures"]["train"]
    assert account == {"used": 11, "left_out": {"not an image": 1}, "converted": {}, "classes": [2, 6, 3]}
    assert run.path is not None
    assert command("predict", run.path, "-o", tmp_path / "whole.csv") == 0
    whole = (tmp_path / "whole.csv").read_text().splitlines()
    (root / "test" / "2.png").write_bytes((root / "test" / "2.png").read_bytes()[:60])
    (root / "test" / "7.jpg").write_bytes(b"")
    capsys.readouterr()
    caplog.clear()
    expected = [*whole[:2], "0002,1", whole[3], "0007,1", whole[4]]
    for words in ([], ["--data", root / "test"], ["--data", root]):
        out, table = tmp_path / "s.csv", tmp_path / "p.csv"
        assert command("predict", run.path, *words, "-o", out, "--proba", table, "--overwrite") == 0
        assert out.read_text().splitlines() == expected
        broken = [row for row in csv.DictReader(table.read_text().splitlines()) if row["file"] in ("2.png", "7.jpg")]
        assert [float(row["kind 1"]) for row in broken] == pytest.approx([6 / 11] * 2, abs=1e-5)
        assert "2 files are no readable pictures and get category 1 (kind 1), the most frequent one in training" in (
            capsys.readouterr().err
        )
        assert "2 of 5 files no pictures: 2.png (truncated), 7.jpg (empty)" in caplog.text
        caplog.clear()


def test_broken_pictures_are_not_scored(folders: tuple[Path, Path], tmp_path: Path) -> None:
    run, moved = folders
    root = shutil.copytree(moved / "validation", tmp_path / "labelled")
    (root / "ape" / "0.png").write_bytes(b"")
    (found,) = ensemble([run]).pictures(root)
    assert (len(found), list(found.bad), len(found.readable())) == (12, ["ape/0.png"], 11)
    assert command("evaluate", run, "--data", root) == 0
    for file in root.rglob("*.png"):
        file.write_bytes(b"")
    with pytest.raises(DataError, match="none of the 12 images in"):
        ensemble([run]).pictures(root)[0].readable()


def test_without_a_record_the_other_answers_say_which_class_is_frequent(
    digits: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i in range(6):
        picture(tmp_path / "p" / f"{i}.png", i)
    (tmp_path / "p" / "9.png").write_bytes(b"")
    assert command("predict", digits[0], "--data", tmp_path / "p", "-o", tmp_path / "s.csv") == 0
    answers = [int(row["Category"]) for row in csv.DictReader((tmp_path / "s.csv").read_text().splitlines())]
    counts = np.bincount(answers[:-1], minlength=10)
    assert answers[-1] == counts.argmax()
    assert f"1 file is no readable picture and gets category {answers[-1]}, the most frequent one among the other" in (
        capsys.readouterr().err
    )


def test_a_zip_is_taken_as_the_folder_in_it(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, moved = folders
    shutil.make_archive(str(tmp_path / "root"), "zip", moved)
    shutil.make_archive(str(tmp_path / "pictures"), "zip", moved / "test")
    shutil.copytree(moved / "test", tmp_path / "inner" / "my pictures")
    shutil.make_archive(str(tmp_path / "folder"), "zip", tmp_path / "inner")
    shutil.make_archive(str(tmp_path / "classes"), "zip", moved / "validation")
    answers = []
    for place in (moved / "test", *(tmp_path / f"{name}.zip" for name in ("root", "pictures", "folder"))):
        assert command("predict", run, "--data", place, "-o", tmp_path / "s.csv", "--overwrite") == 0
        answers.append((tmp_path / "s.csv").read_text())
    assert answers == answers[:1] * 4
    capsys.readouterr()
    scores = []
    for place in (moved / "validation", tmp_path / "classes.zip"):
        assert command("evaluate", run, "--data", place, "--json") == 0
        scores.append(json.loads(capsys.readouterr().out)["confusion"])
    assert scores[0] == scores[1]
    (tmp_path / "no.zip").write_text("no zip")
    assert command("predict", run, "--data", tmp_path / "no.zip", "-o", tmp_path / "t.csv") == 2
    assert "expected a folder or a zip" in capsys.readouterr().err
