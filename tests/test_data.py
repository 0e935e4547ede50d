"""Data sets: every one in conf loads, splits are fair and repeat, augmentation follows its generator, errors tell."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import idx_files
import members
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn.functional import cross_entropy

from optbench.augment.flip_crop import FlipCrop
from optbench.config import build
from optbench.data.digits import Digits
from optbench.data.food11 import CLASS_NAMES, Food11
from optbench.data.image_folder import ImageFolder
from optbench.data.synthetic_food import SyntheticFood
from optbench.errors import DataError, OutputError
from optbench.experiment import Stop, plan_run, run_and_record
from optbench.images import read_folder
from optbench.launch.probe import outlook_of
from optbench.models.hw3_cnn import HW3CNN
from optbench.problem import AbstractData, stream

AUGMENTATIONS = [name for name in members.names("augment") if members.read("augment", name)["_target_"] is not None]
SETS = [name for name in members.names("data") if members.read("data", name)["_target_"] is not None]
DATA = [
    name for name in SETS
    if members.read("data", name).get("image_size", 1) != 1 and "n_classes" in members.read("data", name)
]  # fmt: skip
"""Those of pictures, in classes that are known beforehand."""
SPLITS = ("train", "validation", "test")
FEW = {"train_per_class": 2, "validation_per_class": 1, "n_test": 4}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("OPTBENCH_CACHE", str(folder))
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The homework's folders, painted once for this file; tests that change them copy them first."""
    root = tmp_path_factory.mktemp("pictures") / "food"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPTBENCH_CACHE", str(root.parent / "cache"))
        SyntheticFood(str(root), **FEW).load("test")
    return root


@pytest.fixture
def food(pictures: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pictures, tmp_path / "food11"))


@pytest.fixture
def classes(pictures: Path, tmp_path: Path) -> Path:
    """The same pictures, a folder a class."""
    root = tmp_path / "images"
    for folder in ("training", "validation"):
        for file in (pictures / folder).iterdir():
            target = root / folder.removesuffix("ing") / f"kind_{int(file.name.split('_')[0]):02d}"
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    shutil.copytree(pictures / "test", root / "test")
    return root


def make(name: str, food: Path, classes: Path, **changes: Any) -> AbstractData:
    """A data set of conf, small, on the folders of this test where it reads folders."""
    ours: dict[str, dict[str, Any]] = {
        "food11": {"root": str(food)},
        "image_folder": {"root": str(classes), "n_classes": 11},
        "synthetic_food": FEW,
        "torchvision": {"path": str(food.parent / "idx")},
    }
    if name == "torchvision" and not (food.parent / "idx").is_dir():
        idx_files.write(food.parent / "idx")
    data = members.make("data", name, **{**ours.get(name, {}), **changes})
    assert isinstance(data, AbstractData)
    return data


def test_data_sets_are_discovered() -> None:
    assert {"digits", "food11", "image_folder", "synthetic_food"} <= set(DATA)
    assert members.read("data", "none") == {"_target_": None, "n_classes": 0}


@pytest.mark.parametrize("name", DATA)
def test_yaml_has_what_models_refer_to(name: str) -> None:
    assert {"n_classes", "channels", "image_size"} <= set(members.keywords("data", name))


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_split_keeps_the_contract(name: str, channels: int, food: Path, classes: Path) -> None:
    data = make(name, food, classes, channels=channels, image_size=12)
    assert (data.channels, data.image_size, len(data.class_names)) == (channels, 12, data.n_classes)
    assert len(set(data.class_names)) == data.n_classes
    for part in SPLITS:
        split = data.load(part)
        assert split.images.shape == (len(split), channels, 12, 12)
        assert split.images.dtype == torch.uint8
        assert split.images.is_contiguous()
        assert len(split.names) == len(set(split.names)) == len(split) > 0
        if split.labels is not None:
            assert split.labels.dtype == torch.int64
            assert split.labels.shape == (len(split),)
            assert set(split.labels.tolist()) == set(range(data.n_classes))
        else:
            assert part == "test"


@pytest.mark.parametrize("name", DATA)
def test_loading_repeats(name: str, food: Path, classes: Path) -> None:
    for part in SPLITS:
        first, again = (make(name, food, classes, image_size=12).load(part) for _ in range(2))
        assert torch.equal(first.images, again.images)
        assert first.names == again.names
        assert (first.labels is None) == (again.labels is None)
        if first.labels is not None and again.labels is not None:
            assert torch.equal(first.labels, again.labels)


@pytest.mark.parametrize("name", DATA)
def test_unknown_split_is_refused(name: str, food: Path, classes: Path) -> None:
    with pytest.raises(DataError, match="'holdout'"):
        make(name, food, classes).load("holdout")


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"image_size": 0}, "image_size=0"),
        ({"channels": 2}, "channels=2"),
        ({"n_classes": 0}, "n_classes=0"),
    ],
)
def test_absurd_values_are_refused(name: str, change: dict[str, Any], named: str, food: Path, classes: Path) -> None:
    with pytest.raises(DataError, match=named):
        make(name, food, classes, **change)


# --- digits -----------------------------------------------------------------------------------------------------------


def test_digits_splits_are_disjoint_complete_and_stratified() -> None:
    data = Digits(image_size=8, channels=1)
    splits = {part: data.load(part) for part in SPLITS}
    names = [name for split in splits.values() for name in split.names]
    assert len(names) == len(set(names)) == 1797
    assert all(list(split.names) == sorted(split.names) for split in splits.values())
    totals = Counter(load_digits().target.tolist())
    for part, share in (("validation", 0.2), ("test", 0.1), ("train", 0.7)):
        labels = splits[part].labels
        assert labels is not None
        counts = Counter(labels.tolist())
        assert all(abs(counts[digit] - share * totals[digit]) <= 1 for digit in range(10))


def test_the_cut_of_digits_is_the_one_that_runs_were_recorded_on() -> None:
    found = {}
    for part in SPLITS:
        split = Digits(image_size=8, channels=1).load(part)
        assert split.labels is not None
        digest = hashlib.sha256(split.images.numpy().tobytes() + split.labels.numpy().astype("int64").tobytes())
        found[part] = digest.hexdigest()[:16]
    assert found == {"train": "b592a50b884b2e6b", "validation": "fd996836643954be", "test": "d2dccb3e5d5ee3b0"}


def test_digits_are_scikit_learns() -> None:
    bunch = load_digits()
    split = Digits(image_size=8, channels=1).load("train")
    assert split.labels is not None
    for image, label, name in zip(split.images, split.labels, split.names, strict=True):
        index = int(name.removesuffix(".png")) - 1
        assert label == bunch.target[index]
        assert torch.equal(image[0], torch.from_numpy((bunch.images[index] * 255 / 16 + 0.5).astype("uint8")))


def test_digits_come_from_scikit_learn_where_its_file_is_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = Digits().load("test")
    monkeypatch.setattr("optbench.data.digits._FILE", "moved/digits.csv.gz")
    asked = Digits().load("test")
    assert torch.equal(usual.images, asked.images)
    assert usual.labels is not None
    assert asked.labels is not None
    assert torch.equal(usual.labels, asked.labels)


def test_digits_need_no_import_of_scikit_learn() -> None:
    code = "import sys; from optbench.data.digits import Digits; Digits().load('train'); "
    code += "sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_digits_are_enlarged_and_replicated() -> None:
    small, large = Digits(image_size=8, channels=1).load("test"), Digits(image_size=32).load("test")
    assert small.names == large.names
    assert torch.equal(large.images[:, 0], large.images[:, 2])
    # Bilinear by hand: output i samples position (i + 1/2) / 4 - 1/2 of the row, held at the edges.
    position = ((torch.arange(32) + 0.5) / 4 - 0.5).clamp(0, 7)
    weights = (1 - (position[:, None] - torch.arange(8)).abs()).clamp(min=0)
    index = [int(name.removesuffix(".png")) - 1 for name in large.names]
    levels = torch.from_numpy(load_digits().images[index]).float() * (255 / 16)
    expected = weights @ levels @ weights.T
    assert (large.images[:, 0].float() - expected).abs().max() < 0.51


def test_digits_with_fewer_classes_keep_the_first_and_their_split() -> None:
    few, all_ = Digits(n_classes=3, image_size=8).load("validation"), Digits(image_size=8).load("validation")
    assert few.labels is not None
    assert all_.labels is not None
    kept = all_.labels < 3
    assert torch.equal(few.images, all_.images[kept])
    assert torch.equal(few.labels, all_.labels[kept])


def test_digits_split_seed_names_the_cut() -> None:
    assert Digits(image_size=8).load("test").names != Digits(image_size=8, split_seed=1).load("test").names


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"n_classes": 11}, "n_classes=11"),
        ({"n_classes": 1}, "n_classes=1"),
        ({"validation_share": 0.0}, "validation_share=0.0"),
        ({"validation_share": 0.001}, "validation_share=0.001"),
        ({"validation_share": 0.9, "test_share": 0.099}, "test_share=0.099"),
        ({"validation_share": 0.7, "test_share": 0.3}, "test_share=0.3"),
        ({"test_share": -0.1}, "test_share=-0.1"),
        ({"split_seed": -1}, "split_seed=-1"),
    ],
)
def test_digits_refuse(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(DataError, match=named):
        Digits(**changes)


def test_digits_without_test_share_have_no_test_split() -> None:
    data = Digits(image_size=8, test_share=0.0)
    with pytest.raises(DataError, match="'test'"):
        data.load("test")
    assert len(data.load("train")) + len(data.load("validation")) == 1797


# --- food11 -----------------------------------------------------------------------------------------------------------


def test_food11_labels_are_in_the_names(food: Path) -> None:
    data = Food11(str(food), image_size=8)
    train, test = data.load("train"), data.load("test")
    assert train.labels is not None
    assert [int(name.split("_")[0]) for name in train.names] == train.labels.tolist()
    assert train.names == tuple(sorted(p.name for p in (food / "training").iterdir()))
    assert test.labels is None
    assert test.names == ("0001.jpg", "0002.jpg", "0003.jpg", "0004.jpg")
    assert data.class_names == CLASS_NAMES
    assert len(CLASS_NAMES) == 11


def test_food11_reads_only_the_split_asked_for(food: Path) -> None:
    shutil.rmtree(food / "training")
    data = Food11(str(food), image_size=8)
    assert len(data.load("test")) == 4
    with pytest.raises(DataError, match=r"no training/ \(or train/\); there: test/, validation/") as caught:
        data.load("train")
    assert "3_100.jpg" in caught.value.hint


def test_food11_missing_root_tells_the_layout(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere") as caught:
        Food11(str(tmp_path / "nowhere")).load("train")
    assert all(word in caught.value.hint for word in ("training/", "validation/", "test/"))


@pytest.mark.parametrize("name", ["100.jpg", "_5.jpg", "x_5.jpg", "-1_5.jpg", "11_5.jpg", "٣_5.jpg"])
def test_food11_bad_names_are_named(food: Path, name: str) -> None:
    shutil.copy(food / "training" / "3_0.jpg", food / "training" / name)
    with pytest.raises(DataError, match=f"training.{name}: .*expected"):
        Food11(str(food), image_size=8).load("train")


def test_food11_label_beyond_n_classes_is_named(food: Path) -> None:
    with pytest.raises(DataError, match=r"12 of 22 .*10_0\.jpg \(label 10; expected 0 to 4\)"):
        Food11(str(food), n_classes=5, image_size=8).load("train")


@pytest.mark.parametrize("content", ["text", "half"])
def test_food11_broken_files_are_named(food: Path, content: str) -> None:
    file = food / "validation" / "7_0.jpg"
    file.write_bytes(b"I am text" if content == "text" else file.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"7_0\.jpg: cannot be read as an image"):
        Food11(str(food), image_size=8).load("validation")


def test_food11_empty_folder_is_named(food: Path) -> None:
    shutil.rmtree(food / "test")
    (food / "test").mkdir()
    with pytest.raises(DataError, match="test: no images"):
        Food11(str(food), image_size=8).load("test")


def test_food11_tells_its_progress(food: Path) -> None:
    data = Food11(str(food), image_size=8)
    seen: list[tuple[int, int]] = []
    data.progress = lambda done, total: seen.append((done, total))
    data.load("test")
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


# --- image_folder -----------------------------------------------------------------------------------------------------


def test_image_folder_labels_are_the_folders(classes: Path, food: Path) -> None:
    data = ImageFolder(str(classes), 11, image_size=8)
    train = data.load("train")
    assert train.labels is not None
    assert data.class_names == tuple(f"kind_{k:02d}" for k in range(11))
    assert [name.split("/")[0] for name in train.names] == [data.class_names[k] for k in train.labels.tolist()]
    assert data.load("test").labels is None
    same = Food11(str(food), image_size=8).load("train")
    place = {name: i for i, name in enumerate(same.names)}
    assert all(
        torch.equal(image, same.images[place[name.split("/")[1]]])
        for image, name in zip(train.images, train.names, strict=True)
    )


def test_image_folder_takes_val_and_a_labelled_test(classes: Path) -> None:
    (classes / "validation").rename(classes / "val")
    shutil.rmtree(classes / "test")
    shutil.copytree(classes / "val", classes / "test")
    data = ImageFolder(str(classes), 11, image_size=8)
    validation, test = data.load("validation"), data.load("test")
    assert validation.labels is not None
    assert test.labels is not None
    assert torch.equal(validation.labels, test.labels)


def test_image_folder_tells_the_number_of_classes(classes: Path) -> None:
    assert ImageFolder(str(classes)).n_classes == 11
    with pytest.raises(DataError, match="11 class folders, but n_classes=10") as caught:
        ImageFolder(str(classes), 10)
    assert caught.value.hint == "leave out data.n_classes, or set data.n_classes=11"
    for k in range(1, 11):
        shutil.rmtree(classes / "train" / f"kind_{k:02d}")
    with pytest.raises(DataError, match="one class folder, kind_00/, and nothing to tell it from"):
        ImageFolder(str(classes))


def test_image_folder_missing_root_tells_the_layout(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder") as caught:
        ImageFolder(str(tmp_path / "nowhere"))
    assert "train/CLASS" in caught.value.hint


def test_image_folder_refuses_a_class_without_pictures(classes: Path) -> None:
    for file in (classes / "train" / "kind_03").iterdir():
        file.rename(file.with_suffix(".txt"))
    data = ImageFolder(str(classes), n_classes=11, image_size=16)
    with pytest.raises(DataError, match="kind_03: no images in this class folder"):
        data.load("train")


def test_image_folder_strays_are_named(classes: Path, pictures: Path) -> None:
    data = ImageFolder(str(classes), 11, image_size=8)
    shutil.copy(pictures / "test" / "0001.jpg", classes / "train" / "stray.jpg")
    with pytest.raises(DataError, match=r"stray\.jpg: an image outside the class folders"):
        data.load("train")
    (classes / "validation" / "kind_03").rename(classes / "validation" / "other")
    with pytest.raises(DataError, match=r"other.*not among the folders"):
        data.load("validation")


# --- synthetic_food ---------------------------------------------------------------------------------------------------


def test_synthetic_food_has_the_homeworks_layout(pictures: Path) -> None:
    assert {p.name for p in pictures.iterdir() if p.is_dir()} == {"training", "validation", "test"}
    counts = Counter(p.name.split("_")[0] for p in (pictures / "training").iterdir())
    assert counts == {str(k): 2 for k in range(11)}
    assert sorted(p.name for p in (pictures / "test").iterdir()) == [f"{i:04d}.jpg" for i in range(1, 5)]
    sizes = set()
    for file in (pictures / "training").iterdir():
        with Image.open(file) as image:
            assert image.format == "JPEG"
            sizes.add(image.size)
    assert len(sizes) > 10


def test_synthetic_food_is_food11_on_its_folder(cache: Path) -> None:
    data = SyntheticFood(image_size=16, **FEW)
    ours = data.load("validation")
    (root,) = cache.glob("synthetic-food-*")
    theirs = Food11(str(root), image_size=16).load("validation")
    assert torch.equal(ours.images, theirs.images)
    assert ours.names == theirs.names


def test_synthetic_food_is_written_once_and_repeats(cache: Path, tmp_path: Path) -> None:
    SyntheticFood(image_size=16, **FEW).load("train")
    (root,) = cache.glob("synthetic-food-*")
    times = {p: p.stat().st_mtime_ns for p in root.rglob("*.jpg")}
    SyntheticFood(image_size=24, **FEW).load("validation")
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*.jpg")} == times
    again = tmp_path / "again"
    SyntheticFood(str(again), **FEW).load("train")
    for file in times:
        assert file.read_bytes() == (again / file.relative_to(root)).read_bytes()


def test_synthetic_food_seed_and_splits_give_other_pictures(tmp_path: Path) -> None:
    a, b = (SyntheticFood(image_size=16, picture_seed=seed, **FEW) for seed in (0, 1))
    parts = [split.images for data in (a, b) for split in (data.load("train"), data.load("validation"))]
    distinct = {image.numpy().tobytes() for images in parts for image in images}
    assert len(distinct) == sum(len(images) for images in parts)


def test_synthetic_food_repairs_its_own_folder(tmp_path: Path) -> None:
    data = SyntheticFood(str(tmp_path / "own"), image_size=16, **FEW)
    before = data.load("train").images.clone()
    (tmp_path / "own" / "training" / "4_1.jpg").unlink()
    assert torch.equal(data.load("train").images, before)
    shutil.rmtree(tmp_path / "own" / "test")
    assert len(data.load("test")) == 4
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("kind", ["foreign", "other parameters", "torn mark", "file"])
def test_synthetic_food_leaves_other_folders_alone(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "taken"
    if kind == "file":
        root.write_text("precious")
    else:
        root.mkdir()
        (root / "precious.txt").write_text("precious")
        if kind != "foreign":
            (root / "recipe.json").write_text(json.dumps({"n_test": 5}) if kind == "other parameters" else "{")
    with pytest.raises(DataError, match="taken"):
        SyntheticFood(str(root), **FEW).load("train")
    assert (root if kind == "file" else root / "precious.txt").read_text() == "precious"


@pytest.mark.parametrize("incomplete", [False, True])
def test_synthetic_food_may_be_written_by_several_at_once(tmp_path: Path, incomplete: bool) -> None:
    root = tmp_path / "shared"
    if incomplete:
        SyntheticFood(str(root), image_size=16, **FEW).load("train")
        shutil.rmtree(root / "training")
    together = Barrier(4)

    def load(_: int) -> bytes:
        together.wait()
        return SyntheticFood(str(root), image_size=16, **FEW).load("train").images.numpy().tobytes()

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(load, range(4)))) == 1
    assert [p.name for p in tmp_path.iterdir() if p.name != "cache"] == ["shared"]


@pytest.mark.parametrize("moment", ["paint", "os.rename"])
def test_synthetic_food_keeps_what_another_process_finished_first(tmp_path: Path, moment: str) -> None:
    root = tmp_path / "shared"
    first, late = (SyntheticFood(str(root), image_size=16, **FEW) for _ in range(2))
    module = importlib.import_module("optbench.data.synthetic_food")
    original = module.paint if moment == "paint" else os.rename
    written: dict[Path, int] = {}

    def interrupted(*args: Any) -> Any:
        patch.undo()
        first.load("train")
        written.update({file: file.stat().st_mtime_ns for file in root.rglob("*.jpg")})
        return original(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"optbench.data.synthetic_food.{moment}", interrupted)
        late.load("train")
    assert len(written) == 37
    assert {file: file.stat().st_mtime_ns for file in root.rglob("*.jpg")} == written


def test_synthetic_food_takes_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    assert len(SyntheticFood(str(tmp_path / "new"), image_size=16, **FEW).load("train")) == 22


@pytest.mark.parametrize("there", [False, True])
def test_a_run_makes_the_pictures_at_a_root_where_nothing_is(there: bool, tmp_path: Path) -> None:
    root = tmp_path / "我的 图"
    if there:
        root.mkdir()
    words = ["model=mlp", "data=synthetic_food", f"data.root={root}", *(f"data.{k}={v}" for k, v in FEW.items())]
    words += ["trainer.epochs=1", "model.hidden=[4]", "trainer.batch_size=full"]
    planned = plan_run(words, out=tmp_path / "runs")
    outlook_of(planned)  # what --dry-run says besides
    assert root.exists() == there  # nothing is written while planning
    assert not there or not list(root.iterdir())
    run_and_record(planned, Stop(), threads=1)
    assert len(list((root / "training").iterdir())) == len(CLASS_NAMES) * FEW["train_per_class"]
    assert plan_run(words).run_id == planned.run_id  # the same command finds its own run
    food = ["model=mlp", "data=food11", f"data.root={root}"]
    assert plan_run(food).data_fingerprint == planned.data_fingerprint
    with pytest.raises(DataError, match="no such folder"):
        plan_run([*food[:2], f"data.root={tmp_path / 'none'}"])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text("mine")
    with pytest.raises(DataError, match="not made by synthetic_food"):
        plan_run([*words[:2], f"data.root={tmp_path / 'mine'}"])


def test_synthetic_food_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written") as caught:
        SyntheticFood(str(tmp_path / "file" / "below"), **FEW).load("train")
    assert "data.root" in caught.value.hint


@pytest.mark.parametrize("change", [{"train_per_class": 0}, {"n_test": 0}, {"picture_seed": -1}, {"n_classes": 12}])
def test_synthetic_food_refuses(change: dict[str, int]) -> None:
    ((name, value),) = change.items()
    with pytest.raises(DataError, match=f"{name}={value}"):
        SyntheticFood(**change)


@pytest.mark.slow
def test_synthetic_food_can_be_learned_but_not_from_mean_colour() -> None:
    data = SyntheticFood(image_size=32)
    train, validation = data.load("train"), data.load("validation")
    assert train.labels is not None
    assert validation.labels is not None
    torch.manual_seed(0)
    network = HW3CNN(11, 3, 32, width=8)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for epoch in range(10):
        order = torch.randperm(len(train), generator=stream(0, "order", epoch))
        for step, indices in enumerate(order.split(32)):
            batch = FlipCrop()(train.images[indices], stream(0, "augment", epoch, step))
            optimizer.zero_grad()
            cross_entropy(network(batch / 255), train.labels[indices]).backward()
            optimizer.step()
    network.eval()
    with torch.no_grad():
        accuracy = (network(validation.images / 255).argmax(1) == validation.labels).float().mean()
    assert accuracy > 0.4
    colours, mean = train.images.float().mean((2, 3)), validation.images.float().mean((2, 3))
    nearest = train.labels[torch.cdist(mean, colours).argmin(1)]
    assert (nearest == validation.labels).float().mean() < 0.3


# --- augmentation -----------------------------------------------------------------------------------------------------


def batch(n: int = 16, channels: int = 3, size: int = 24) -> Tensor:
    """Coordinates as pixels: channel 0 holds the row, the last one the column, so that every shift can be read off."""
    rows = torch.arange(size, dtype=torch.uint8)[:, None].expand(size, size) + 100
    return torch.stack([rows if c == 0 else rows.T for c in range(channels)]).expand(n, -1, -1, -1).contiguous()


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_augmentation_follows_its_generator(name: str, channels: int) -> None:
    augmentation = build(members.read("augment", name), "augment")
    images = batch(channels=channels)
    untouched = images.clone()
    state = torch.get_rng_state()
    first, again, other = (augmentation(images, stream(seed, "augment", 0)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(images, untouched)
    assert first.shape == images.shape
    assert first.dtype == torch.uint8
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    torch.manual_seed(123)
    assert torch.equal(first, augmentation(images, stream(1, "augment", 0)))


def test_flip_crop_is_a_mirror_and_a_shift() -> None:
    images = batch(256)
    size, margin = 24, 3
    seen = set()
    for image in FlipCrop()(images, stream(0, "augment")):
        centre = image[:, size // 2, size // 2].int() - 100
        down = int(centre[0]) - size // 2
        step = int(image[2, size // 2, size // 2 + 1]) - int(image[2, size // 2, size // 2])
        right = int(centre[2]) - (size // 2 if step == 1 else size // 2 - 1)
        assert abs(down) <= margin
        assert abs(right) <= margin
        expected = torch.zeros(3, size + 2 * margin, size + 2 * margin, dtype=torch.uint8)
        expected[:, margin:-margin, margin:-margin] = images[0]
        y, x = margin + down, margin + right
        window = expected[:, y : y + size, x : x + size]
        assert torch.equal(image, window if step == 1 else window.flip(-1))
        seen.add((down, right, step))
    assert {s[0] for s in seen} == {s[1] for s in seen} == set(range(-margin, margin + 1))
    assert {s[2] for s in seen} == {-1, 1}


def test_labels_follow_files_through_the_cache(food: Path) -> None:
    data = Food11(str(food), image_size=8)
    before = data.load("train")
    assert before.labels is not None
    (food / "training" / "3_0.jpg").rename(food / "training" / "4_99.jpg")
    after = data.load("train")
    assert after.labels is not None
    assert (before.labels == 4).sum() + 1 == (after.labels == 4).sum()
    assert torch.equal(after.images, read_folder(food / "training", 8)[0])
