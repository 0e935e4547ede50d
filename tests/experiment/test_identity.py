"""Identity is content: what stands behind the names counts, and nothing else changes a run's identity."""

from __future__ import annotations

import importlib
import importlib.machinery
import linecache
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest
from PIL import Image

import optbench
from optbench import folders, records
from optbench.comparison import compare
from optbench.data.synthetic_food import SyntheticFood
from optbench.errors import DataError, RunFailure
from optbench.experiment import Planned, plan_run, plan_sweep, sources
from optbench.experiment.sources import is_own
from optbench.folders import content, fingerprint

KNOWN = {
    "optimizer=rmsprop": "54e8b60beeba",
    "model=himmelblau optimizer=adam optimizer.lr=0.1 trainer.start=[0,0]": "7adebda14004",
    "model=mlp model.hidden=[4] data.image_size=8 optimizer=lion": "848d6e3b848c",
    "model=hw3_cnn model.width=8": "343ee69c4920",
}


@pytest.mark.parametrize(("words", "known"), KNOWN.items())
def test_runs_of_what_the_package_brings_keep_their_identity(words: str, known: str) -> None:
    planned = plan_run(words.split())
    assert planned.run_id == known
    assert "sources" not in planned.config
    assert planned.run_id == records.run_id(planned.config)


# source --------------------------------------------------------------------------------------------------------------

OPTIMIZER = """
import torch
from mine_pack.helpers import scaled
import mine_alone

class Mine(torch.optim.SGD):
    def step(self, closure=None):
        with torch.enable_grad():
            loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                p.data.add_(scaled(p.grad), alpha=-group["lr"])
        return loss
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of one's own with an optimizer, and a folder of configurations that names it."""
    code = tmp_path / "code"
    (code / "mine_pack").mkdir(parents=True)
    (code / "mine_pack" / "__init__.py").write_text("")
    (code / "mine_pack" / "optimizer.py").write_text(OPTIMIZER)
    (code / "mine_pack" / "helpers.py").write_text("from . import deep\nscaled = lambda g: deep.FACTOR * g\n")
    (code / "mine_pack" / "deep.py").write_text("FACTOR = 1.0\n")
    (code / "mine_pack" / "stranger.py").write_text("WORD = 1\n")
    (code / "mine_alone.py").write_text("import json, torch, optbench\n")
    (tmp_path / "conf" / "optimizer").mkdir(parents=True)
    (tmp_path / "conf" / "optimizer" / "mine.yaml").write_text(
        "# mine\n_target_: mine_pack.optimizer.Mine\n_partial_: true\nlr: 0.01\n"
    )
    monkeypatch.syspath_prepend(str(code))
    yield tmp_path
    forget()


WORDS = ["model=sphere", "optimizer=mine", "trainer.steps=3"]


def planned(own: Path) -> Planned:
    return plan_run(WORDS, [own / "conf"], own / "out")


@pytest.mark.parametrize("name", ["mine_pack/optimizer", "mine_pack/helpers", "mine_pack/deep", "mine_pack/__init__",
                                  "mine_alone"])  # fmt: skip
def test_an_edited_source_is_another_run(name: str, own: Path) -> None:
    before = planned(own)
    assert list(before.config["sources"]) == ["optimizer"]
    assert planned(own).run_id == before.run_id
    file = own / "code" / f"{name}.py"
    file.write_text(file.read_text() + "\n# another line\n")
    assert planned(own).run_id != before.run_id
    assert "torch" not in before.config["sources"]


def test_what_is_not_imported_does_not_count(own: Path) -> None:
    before = planned(own).run_id
    (own / "code" / "mine_pack" / "stranger.py").write_text("WORD = 2\n")
    (own / "code" / "other.py").write_text("")
    assert planned(own).run_id == before
    shutil.copytree(own / "code", own / "elsewhere")  # the same text in another place is the same code
    sys.path.insert(0, str(own / "elsewhere"))
    try:
        assert planned(own).run_id == before
    finally:
        sys.path.remove(str(own / "elsewhere"))


def test_planning_imports_and_executes_nothing(own: Path) -> None:
    (own / "code" / "mine_pack" / "__init__.py").write_text("raise SystemExit('executed')\n")
    assert planned(own).config["sources"]
    assert "mine_pack" not in sys.modules


def forget() -> None:
    """What a new process knows of the modules of one's own."""
    for name in [name for name in sys.modules if name.startswith("mine_")]:
        del sys.modules[name]
    sources._LOADED.clear()


def run_anew(own: Path) -> float:
    """The final loss of the run, as a new process has it."""
    forget()
    importlib.invalidate_caches()
    return float(optbench.run(*WORDS, config_dir=own / "conf", out=own / "out").summary["final_loss"])


def test_an_edited_optimizer_is_run_and_not_pooled(own: Path) -> None:
    first = run_anew(own)
    assert run_anew(own) == first
    (own / "code" / "mine_pack" / "deep.py").write_text("FACTOR = 2.50\n")
    second = run_anew(own)
    assert second != first
    found = compare([own / "out"])
    assert [group.n for group in found.groups] == [1, 1]
    assert all(group.label.startswith("mine (source of optimizer ") for group in found.groups)
    assert set(found.runs["final_loss"]) == {first, second}


def test_code_that_was_edited_after_it_was_imported_is_not_run_under_the_new_name(own: Path) -> None:
    run = optbench.run(*WORDS, config_dir=own / "conf", out=own / "out")
    assert run.status == "completed"
    assert run.summary["run_id"] == planned(own).run_id == records.run_id(run.config)
    (own / "code" / "mine_pack" / "deep.py").write_text("FACTOR = 3.0\n")
    with pytest.raises(RunFailure, match="optimizer: its source was edited after this process imported it"):
        optbench.run(*WORDS, config_dir=own / "conf", out=own / "out")
    rows = optbench.sweep(*WORDS, "seeds=16", config_dir=own / "conf", out=own / "rows")
    assert {run.status for run in rows} == {"failed"}


def test_a_run_that_was_planned_before_an_edit_is_not_that_of_the_plan(own: Path) -> None:
    from optbench.experiment import Stop, execute

    before = planned(own)
    (own / "code" / "mine_pack" / "deep.py").write_text("FACTOR = 4.0\n")
    with pytest.raises(RunFailure, match="after the run was planned"):
        execute(before, Stop())


def test_what_is_ones_own() -> None:
    assert is_own("made_runs.make_run")  # beside this file
    for target in ("torch.optim.Adam", "optbench.optimizers.book.Adam", "json.dumps", "numpy.array", "nowhere.at.all"):
        assert not is_own(target), target


def test_a_class_typed_into_a_session_counts_too(own: Path) -> None:
    script = own / "session.py"
    script.write_text(
        "import sys\nfrom optbench.experiment import plan_run\nfrom pathlib import Path\n"
        "main = sys.modules['__main__']\nmain.__spec__ = None\n"
        "class Mine: pass\n"
        "print(plan_run(['model=sphere', 'optimizer=mine'], [Path(sys.argv[1])]).run_id)\n"
    )
    text = (own / "conf" / "optimizer" / "mine.yaml").read_text()
    (own / "conf" / "optimizer" / "mine.yaml").write_text(text.replace("mine_pack.optimizer", "__main__"))

    def go() -> str:
        words = [sys.executable, str(script), str(own / "conf")]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout

    first = go()
    script.write_text(script.read_text().replace("class Mine: pass", "class Mine: x = 1"))
    assert go() != first


# data ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPTBENCH_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "pictures"
    for split in ("train", "validation"):
        for label in "ab":
            (root / split / label).mkdir(parents=True)
            for i in range(3):
                shade = (40 * i, 90, 200 if label == "a" else 20)
                Image.new("RGB", (8, 8), shade).save(root / split / label / f"{i}.bmp")
    return root


def other_content(file: Path) -> None:
    """Other pixels under the same name, size and time."""
    before, raw = file.stat(), bytearray(file.read_bytes())
    raw[-1] ^= 255
    file.write_bytes(raw)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def test_changed_pictures_under_the_same_names_and_sizes_are_other_data(pictures: Path, tmp_path: Path) -> None:
    words = ["model=mlp", "model.hidden=[4]", "data=image_folder", f"data.root={pictures}", "data.n_classes=2",
             "data.image_size=8", "trainer.epochs=1", "trainer.batch_size=2", "trainer.threads=1"]  # fmt: skip
    first = optbench.run(*words, out=tmp_path / "out")
    shutil.copytree(pictures, tmp_path / "copy")
    assert plan_run([*words, f"data.root={tmp_path / 'copy'}"]).run_id == first.run_id
    other_content(pictures / "train" / "a" / "1.bmp")
    second = optbench.run(*words, out=tmp_path / "out")
    assert second.run_id != first.run_id
    assert second.summary["final_loss"] != first.summary["final_loss"]  # read anew too, not from the cache of pixels
    assert [group.n for group in compare([tmp_path / "out"]).groups] == [1, 1]


def test_classes_that_are_counted_are_as_if_typed(pictures: Path) -> None:
    """The same run, alone and as one of a sweep over folders, and models and losses see the number; a folder that has
    grown is counted anew."""
    words = ["model=mlp", "data=image_folder", "data.image_size=8", "trainer.batch_size=2"]
    here, typed = f"data.root={pictures}", "data.n_classes=2"
    other = pictures.with_name("other")
    shutil.copytree(pictures, other)
    for split in ("train", "validation"):
        shutil.copytree(pictures / split / "a", other / split / "c")
    for more in ([], ["loss=class_number"]):
        assert plan_run([*words, here, *more]).run_id == plan_run([*words, here, typed, *more]).run_id
    both = plan_sweep([*words, f"data.root={pictures},{other}"])
    assert [run.run_id for run in both] == [
        plan_run([*words, f"data.root={root}", f"data.n_classes={n}"]).run_id for root, n in ((pictures, 2), (other, 3))
    ]
    assert both[1].config["model"]["n_outputs"] == both[1].config["n_outputs"] == 3
    assert plan_run([*words, here]).config["loss"] == plan_run(["model=mlp"]).config["loss"]
    shutil.copytree(pictures / "train" / "a", pictures / "train" / "d")
    assert plan_run([*words, here]).config["data"]["n_classes"] == 3
    assert len(plan_sweep([*words, f"data.root={pictures},{other}"])[0].config["choices"]) > 5
    with pytest.raises(DataError, match="3 class folders, but n_classes=2"):
        plan_run([*words, here, typed])


def identity(root: Path, *more: str) -> str:
    words = ["model=mlp", "model.hidden=[4]", "data=image_folder", f"data.root={root}", "data.n_classes=2"]
    return plan_run([*words, "data.image_size=8", "trainer.batch_size=2", *more]).run_id


def test_what_a_run_trains_and_validates_on_is_its_data_and_nothing_else(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = identity(pictures)
    for name in ("test/0.bmp", "outputs/runs/x/loss.png", "train/.DS_Store", "train/a/Thumbs.db", "train/a/._0.bmp",
                 "__MACOSX/train/a/0.bmp", "notes.txt", "train/a/notes.txt"):  # fmt: skip
        (pictures / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(pictures / "train" / "a" / "0.bmp", pictures / name)
        assert identity(pictures) == first, name
    (pictures / "train" / "a" / "round").symlink_to(pictures / "train")
    (pictures / "round").symlink_to(pictures)
    monkeypatch.chdir(pictures)
    assert identity(Path(".")) == first
    assert identity(pictures, "data.on_bad=skip") == first  # which files are bad, their contents say
    for changed in ("train/b/2.bmp", "validation/a/0.bmp"):
        other_content(pictures / changed)
        assert identity(pictures) != first
        other_content(pictures / changed)
        assert identity(pictures) == first
    (pictures / "train" / "b" / "2.bmp").rename(pictures / "train" / "a" / "9.bmp")
    assert identity(pictures) != first


def test_the_same_pictures_are_the_same_data_under_either_layout_and_in_a_zip(pictures: Path, tmp_path: Path) -> None:
    first = identity(pictures)
    other = shutil.copytree(pictures, tmp_path / "2022" / "food")
    (other / "train").rename(other / "training")
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "2022")
    (other / "validation").rename(other / "valid")
    assert [identity(root) for root in (other, tmp_path / "2022", tmp_path / "packed.zip")] == [first] * 3


@pytest.mark.parametrize(
    ("remove", "said"),
    [
        (["train"], "no training/ .or train/.; there: validation/"),
        (["validation"], "no validation/ .or valid/, val/.; there: train/"),
        (["train", "validation"], "no training/ .or train/. and validation/ .or valid/, val/.$"),
    ],
)
def test_all_that_is_missing_is_said(pictures: Path, remove: list[str], said: str) -> None:
    for name in remove:
        shutil.rmtree(pictures / name)
    with pytest.raises(DataError, match=said) as caught:
        identity(pictures)
    assert caught.value.hint
    (pictures / "train").mkdir(exist_ok=True)
    (pictures / "training").mkdir(exist_ok=True)
    with pytest.raises(DataError, match="both training/ and train/"):
        identity(pictures)


def test_files_are_counted_as_they_are_read(pictures: Path) -> None:
    seen: list[tuple[int, int]] = []
    plan_run(["model=mlp", "data=image_folder", f"data.root={pictures}", "data.n_classes=2", "data.image_size=8"],
             progress=lambda done, total: seen.append((done, total)))  # fmt: skip
    assert seen == [(i, 6) for i in range(1, 7)] * 2


def test_contents_are_read_once(pictures: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    read: list[str] = []
    monkeypatch.setattr(folders, "content", lambda file: read.append(file.name) or content(file))
    monkeypatch.setattr(folders, "_SETTLED_NS", -(10**12))
    whole = fingerprint(pictures)
    assert len(read) == 12
    assert fingerprint(pictures) == whole
    assert len(read) == 12
    other_content(pictures / "train" / "a" / "2.bmp")
    changed = fingerprint(pictures)
    assert (changed != whole, read[12:]) == (True, ["2.bmp"])
    (cache,) = (tmp_path / "cache").glob("contents/*.json")
    text = cache.read_text()
    for damaged in ("", "[]", text[:90], text.replace("2", "3", 1), "{}"):
        cache.write_text(damaged)
        assert fingerprint(pictures) == changed
    cache.unlink()
    cache.mkdir()  # cannot be written
    assert fingerprint(pictures) == changed


def test_files_that_are_still_warm_are_read_again(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(folders, "content", lambda file: read.append(file.name) or content(file))
    fingerprint(pictures)
    fingerprint(pictures)
    assert len(read) == 24


def test_data_of_ones_own_counts_whatever_its_files_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "own_numbers.py").write_text("class Numbers: pass\n")
    (tmp_path / "conf" / "data" / "numbers.yaml").write_text(
        "# mine\n_target_: own_numbers.Numbers\nroot: null\nlabels: null\nn_classes: 2\nchannels: 1\nimage_size: 8\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "x.npy").write_bytes(b"12345")
    (tmp_path / "y.txt").write_text("0 1")

    def identity() -> str:
        words = ["model=mlp", "data=numbers", f"data.root={tmp_path / 'store'}", f"data.labels={tmp_path / 'y.txt'}"]
        return plan_run(words, [tmp_path / "conf"]).run_id

    first = identity()
    assert identity() == first
    (tmp_path / "store" / "x.npy").write_bytes(b"12346")
    second = identity()
    assert second != first
    (tmp_path / "y.txt").write_text("1 0")
    assert identity() not in (first, second)


def test_in_a_sweep_over_data_of_one_folder_each_run_has_the_identity_that_it_has_alone(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What of a folder counts depends on the class that reads it."""
    monkeypatch.setenv("OPTBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "own_pictures.py").write_text("class Pictures: pass\n")
    (tmp_path / "conf" / "data" / "own.yaml").write_text(
        "# mine\n_target_: own_pictures.Pictures\nroot: null\nn_classes: 2\nchannels: 3\nimage_size: 8\n"
    )
    words = ["model=mlp", "model.hidden=[4]", f"data.root={pictures}", "data.n_classes=2", "data.image_size=8"]
    alone = {name: plan_run([*words, f"data={name}"], [tmp_path / "conf"]).run_id for name in ("image_folder", "own")}
    for order in ("image_folder,own", "own,image_folder"):
        found = plan_sweep([*words, f"data={order}"], [tmp_path / "conf"])
        assert {item.choices["data"]: item.run_id for item in found} == alone


@pytest.mark.slow
def test_in_a_sweep_over_recipes_of_one_folder_each_run_has_the_identity_that_it_has_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPTBENCH_CACHE", str(tmp_path / "cache"))
    words = ["model=mlp", f"data.root={tmp_path / 'made'}", "data=synthetic_food", "data.train_per_class=1"]
    seeds = [plan_run([*words, f"data.picture_seed={seed}"]).data_fingerprint for seed in (0, 1)]
    found = plan_sweep([*words, "data.picture_seed=0,1"])
    assert [item.data_fingerprint for item in found] == seeds
    assert len(set(seeds)) == 2


def test_made_up_pictures_that_were_changed_are_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTBENCH_CACHE", str(tmp_path / "cache"))
    data = SyntheticFood(n_classes=2, image_size=8, train_per_class=2, validation_per_class=1, n_test=1)
    before = data.load("train").images
    (folder,) = (tmp_path / "cache").glob("synthetic-food-*")
    shutil.copyfile(folder / "training" / "1_0.jpg", folder / "training" / "0_1.jpg")
    again = SyntheticFood(n_classes=2, image_size=8, train_per_class=2, validation_per_class=1, n_test=1)
    assert again.load("train").images.equal(before)


def test_what_a_module_imports_is_read_from_its_text(tmp_path: Path) -> None:
    """Every form of import, relative ones from modules and from packages; what is no Python imports nothing."""
    file = tmp_path / "m.py"
    text = """
import a, b.c as d
from e.f import g, h as i
def late():
    from . import j
    from .k import l
    from ..m import n
    from .. import o
"""
    file.write_text(text)
    common = ["a", "b.c", "e.f", "e.f.g", "e.f.h"]
    assert sources._imports("p.q.r", file) == [
        *common, "p.q", "p.q.j", "p.q.k", "p.q.k.l", "p.m", "p.m.n", "p", "p.o"
    ]  # fmt: skip
    package = tmp_path / "__init__.py"
    package.write_text(text)
    assert sources._imports("p.q.r", package) == [
        *common, "p.q.r", "p.q.r.j", "p.q.r.k", "p.q.r.k.l", "p.q.m", "p.q.m.n", "p.q", "p.q.o"
    ]  # fmt: skip
    for wrong in (b"def", b"\x00", b"\xff\xfe"):
        file.write_bytes(wrong)
        assert sources._imports("p.q.r", file) == []
    assert sources._imports("p.q.r", tmp_path / "none.py") == []


def test_modules_behind_a_name_are_ones_own_packages_first(own: Path) -> None:
    code = own / "code"
    assert list(sources._modules_of("mine_pack.optimizer.Mine.step")) == [
        ("mine_pack", code / "mine_pack" / "__init__.py"), ("mine_pack.optimizer", code / "mine_pack" / "optimizer.py")
    ]  # fmt: skip
    (code / "mine_space" / "inner").mkdir(parents=True)
    (code / "mine_space" / "inner" / "leaf.py").write_text("X = 1\n")
    importlib.invalidate_caches()
    assert list(sources._modules_of("mine_space.inner.leaf.X")) == [
        ("mine_space.inner.leaf", code / "mine_space" / "inner" / "leaf.py")
    ]
    for nothing in ("sys.path", "json.dumps", "mine_pack_not_there.x", "", "numpy.linalg.norm"):
        assert list(sources._modules_of(nothing)) == []


@pytest.mark.usefixtures("own")
def test_a_configuration_has_what_is_behind_it_and_nothing_where_all_is_known() -> None:
    known = {"optimizer": {"_target_": "torch.optim.SGD", "lr": 0.1}}
    assert sources.with_sources(known) == known
    mine = {"optimizer": {"_target_": "mine_pack.optimizer.Mine", "lr": 0.1}}
    found = sources.with_sources(mine)
    assert set(found[sources.KEY]) == {"optimizer"}
    assert {key: value for key, value in found.items() if key != sources.KEY} == mine


def test_which_settings_name_files_that_count(tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(b"1")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x").write_bytes(b"2")
    path = str(tmp_path / "w.pt")

    def found(**config: object) -> list[str]:
        return list(sources.sources(config))

    assert found(model={"_target_": "torch.nn.Linear", "weights": path}) == ["model"]
    assert found(loss={"deep": [{"start": path}]}) == ["loss"]
    assert found(optimizer={"log": path}, scheduler={"log": path}, augment={"log": path}) == []
    assert found(model={"_weights": path, "root": path, "name": "wpt", "gone": str(tmp_path / "no.pt")}) == []
    assert found(data={"_target_": "torch.nn.Linear", "folder": str(tmp_path / "folder")}) == []
    assert found(data={"_target_": "made_runs.make_run", "folder": str(tmp_path / "folder")}) == ["data"]
    assert found(model={"_target_": "torch.nn.Linear", "folder": str(tmp_path / "folder")}) == []
    parts = {part: {"_target_": "made_runs.make_run", "folder": str(tmp_path / "folder")} for part in ("data", "model")}
    before = sources.sources(parts)
    (tmp_path / "folder" / "x").write_bytes(b"3")
    after = sources.sources(parts)
    assert (before["data"] != after["data"], before["model"] == after["model"]) == (True, True)
    (one,) = sources.sources({"model": {"a": path}}).values()
    assert len(one) == 12
    assert {one} != set(sources.sources({"model": {"b": path}}).values())
    assert sources.names({"model": {"_target_": "t", "n": 1, "l": ["x"]}, "seed": "s"}) == (
        "model._target_=t",
        "model.l=x",
    )
    config = {"optimizer": {"_target_": "a.b", "x": {"_target_": "c.d"}}, "loss": {"_target_": "a.b"}}
    assert sources.targets(config) == ["a.b", "c.d"]


def test_code_of_ones_own_counts_in_every_part_and_only_as_a_target(tmp_path: Path) -> None:
    for part in ("model", "data", "augment", "loss", "optimizer", "scheduler"):
        assert list(sources.sources({part: {"_target_": "made_runs.make_run"}})) == [part]
        assert sources.sources({part: {"_target_": "torch.optim.SGD", "note": "made_runs.make_run"}}) == {}
        inner = {part: {"_target_": "torch.optim.SGD", "of": [{"_target_": "made_runs.make_run"}]}}
        assert list(sources.sources(inner)) == [part]
    metric = {"_target_": "made_runs.make_run", "direction": "max"}
    assert list(sources.sources({"trainer": {"metrics": ["accuracy", metric]}})) == ["trainer"]
    assert sources.sources({"choices": {"_target_": "made_runs.make_run"}, "model": None}) == {}


def test_modules_that_import_each_other_are_read_once_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {"a": "import mine_b", "b": "from mine_c import x", "c": "import mine_a, mine_b\nx = 1"}.items():
        (tmp_path / f"mine_{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    read: list[str] = []

    def hashed(file: Path) -> str:
        read.append(file.name)
        assert len(read) < 9, "it goes round and round"
        return content(file)

    found = sources.sources({"loss": {"_target_": "mine_a.x"}}, hashed)
    assert sorted(read) == ["mine_a.py", "mine_b.py", "mine_c.py"]
    assert list(found) == ["loss"]
    (tmp_path / "mine_c.py").write_text("import mine_a, mine_b\nx = 2")
    assert sources.sources({"loss": {"_target_": "mine_a.x"}}) != found


def test_words_that_are_no_paths_name_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever lies in the folder where a command is given: `reduction: mean` is a word."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("mean", "mean.pt"):
        (tmp_path / name).write_bytes(b"1")
    assert sources.sources({"loss": {"reduction": "mean"}}) == {}
    there = [sources.sources({"loss": {"start": text}}) for text in ("mean.pt", "./mean", "~/mean")]
    assert all(there)
    assert there[0] == there[1] == there[2], "the content counts, not the place"
    for absurd in ("a/" * 4000, "a/\0", "a/\udcff.pt", "~nobody-of-that-name/x"):
        assert sources.sources({"loss": {"start": absurd}}) == {}
    assert list(sources.sources({"loss": {"\udcff": "mean.pt"}})) == ["loss"]
    with monkeypatch.context() as locked:
        locked.setattr(Path, "open", lambda *_, **__: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
        assert sources.sources({"loss": {"start": "mean.pt"}}) == {}, "what reads it says so"
    (tmp_path / "empty").mkdir()
    own = {"_target_": "made_runs.make_run"}
    assert list(sources.sources({"data": {**own, "folder": "./empty"}})) == ["data"]


def test_what_was_typed_into_a_session_is_ones_own_and_counts_by_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    session = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", session)
    target = {"optimizer": {"_target_": "__main__.mine"}}

    def typed(text: str) -> dict[str, str]:
        monkeypatch.setitem(linecache.cache, "<typed>", (len(text), None, text.splitlines(True), "<typed>"))
        exec(compile(text, "<typed>", "exec"), vars(session))
        return sources.sources(target)

    assert not is_own("__main__.mine")
    first = typed("def mine(params):\n    return 1\n")
    assert is_own("__main__.mine")
    assert list(first) == ["optimizer"]
    assert typed("def mine(params):\n    return 2\n") != first
    assert typed("def mine(params):\n    return 1\n") == first
    vars(session)["number"] = 3
    assert not any(map(is_own, ("__main__.number", "__main__.gone", "__main__")))
    monkeypatch.setitem(sys.modules, "typed_elsewhere", session)
    assert not is_own("typed_elsewhere.mine")
    session.__spec__ = importlib.machinery.ModuleSpec("json", None)  # `python -m`: it has a file, which counts instead
    assert not is_own("__main__.mine")
