"""Paths as values: whatever a shell passes is the path that a run has; what cannot be one is refused with a way out."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command_tools import invoke
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from optbench.config import Composer
from optbench.config.literal import corrected, is_path, with_paths_quoted
from optbench.errors import ConfigError
from optbench.experiment import plan_run, plan_sweep

NASTY = "我的 作业 [1], (a=b) it's {x} #%?*&;!\"\\"
FOOD = ["model=mlp", "model.hidden=[4]", "data=food11", "data.n_classes=2", "data.image_size=8", "augment=none",
        "trainer.epochs=1", "trainer.batch_size=2", "trainer.threads=1"]  # fmt: skip

names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
parts = st.lists(st.sampled_from([*"a\\'\" ,=[](){}~$#:;|<>", "\\'", "作业", "null", "choice(", "1"]), min_size=1)


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPTBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def composer() -> Iterator[Composer]:
    with Composer() as composer:
        yield composer


def between_quotes(text: str) -> bool:
    return len(text) > 1 and text[0] == text[-1] and text[0] in "'\""


@given(st.one_of(names, parts.map("".join)))
@example(NASTY)
def test_any_path_is_read_letter_by_letter(composer: Composer, path: str) -> None:
    if path == "null" or between_quotes(path):
        path = f"./{path}"
    (override,) = composer.parse([f"data.root={path}"])
    assert override.value() == path
    swept = composer.parse([f"data.root={corrected_value(path)},b"], sweep=True)[0]
    assert [getattr(value, "text", value) for value in swept.sweep_iterator()] == [path, "b"]
    assert composer.parse([swept.input_line or ""], sweep=True)[0].input_line == swept.input_line  # once is enough


def corrected_value(path: str) -> str:
    return with_paths_quoted(f"data.root={path}").removeprefix("data.root=")


def test_a_sweep_has_several_paths(composer: Composer) -> None:
    several = {
        "a,b c": ["a", "b c"],
        "'a,b',c": ["a,b", "c"],
        "作业 1,it's": ["作业 1", "it's"],
        "choice(a,b)": ["a", "b"],
    }
    for text, values in several.items():
        grid = composer.grid([*FOOD, f"data.root={text}"])
        assert [job.composed.config["data"]["root"] for job in grid] == values


def test_what_is_a_path_and_what_is_not() -> None:
    for key in ("data.root", "data.path", "hydra.run.dir", "data.label_file", "root", "trainer.unlabelled"):
        assert is_path(key)
    for key in ("optimizer.lr", "data.rooted", "model.hidden", "data.image_size"):
        assert not is_path(key)
    for override in ("data.root=null", "data.root='a b'", "optimizer=adam", "model.hidden=[1,2]", "~data.root=a,b",
                     "data.files=[a,b]", "data.root=", "model.root=0.5", "optimizer.path=true"):  # fmt: skip
        assert with_paths_quoted(override) == override
    assert with_paths_quoted("data.root=2022") == "data.root='2022'"
    assert with_paths_quoted("trainer.unlabelled=2022") == "trainer.unlabelled='2022'"


@pytest.mark.parametrize("value", ["é", "it's", 'say "so"', "a b)", "$x`y`", "x=y", "back\\"])
def test_the_correction_of_an_override_is_what_a_shell_and_hydra_read(composer: Composer, value: str) -> None:
    """Of a value that the grammar cannot take, the hint ends in a word for the shell that says the same as a text."""
    shown = corrected(f"model.words={value}")
    assert shown is not None
    (word,) = shlex.split(shown)
    (override,) = composer.parse([word])
    assert (override.key_or_group, override.value()) == ("model.words", value)


def test_the_hint_has_the_correction() -> None:
    with pytest.raises(ConfigError) as refused:
        plan_run(["model=mlp", "model.words=it's (it)"])
    assert refused.value.hint is not None
    assert refused.value.hint.endswith(str(corrected("model.words=it's (it)")))


def test_a_reference_in_a_path_is_said(composer: Composer) -> None:
    assert composer.compose([*FOOD, "data.root=of_${seed}"]).config["data"]["root"] == "of_0"
    for path in ("${x}", "a\\${seed}"):
        with pytest.raises(ConfigError, match=r"data\.root"):
            composer.compose([*FOOD, f"data.root={path}"])


def pictures(root: Path) -> Path:
    draw = np.random.default_rng(0)
    for folder, count in (("training", 2), ("validation", 1), ("test", 2)):
        (root / folder).mkdir(parents=True)
        for label in range(2):
            for i in range(count):
                name = f"{label}{i}" if folder == "test" else f"{label}_{i}"
                pixels = draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / folder / f"{name}.png")
    return root


def test_every_path_of_the_homework_may_be_called_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, out, conf = (tmp_path / NASTY / name for name in ("data, '1'", "结果=~", "mine [x]"))
    pictures(root)
    (conf / "loss").mkdir(parents=True)
    (conf / "loss" / "mine.yaml").write_text("# mine\n_target_: torch.nn.CrossEntropyLoss\nreduction: none\n")
    words = [*FOOD, f"data.root={root}", "loss=mine", "--config-dir", conf]
    code, said, error = invoke(capsys, "run", *words, "-o", out)
    assert code == 0, error
    (run,) = out.iterdir()
    assert str(run) in said
    for how in (["-o", out], [f"hydra.run.dir={out}"]):
        assert "done already" in invoke(capsys, "run", *words, *how)[2]
    for command in (["evaluate", run], ["predict", run, "--data", root / "test", "-o", out / "答 案.csv"]):
        code, said, error = invoke(capsys, *command, "--config-dir", conf)
        assert code == 0, error
    assert (out / "答 案.csv").read_text().splitlines()[0] == "Id,Category"
    assert invoke(capsys, "compare", out)[0] == 0


def test_home_is_expanded_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    root = pictures(tmp_path / "food")
    there = plan_run([*FOOD, f"data.root={root}"])
    assert plan_run([*FOOD, "data.root=~/food"]).run_id == there.run_id
    assert plan_run([*FOOD, "data.root=~/food", "hydra.run.dir=~/runs"]).folder.parent == tmp_path / "runs"
    assert plan_sweep([*FOOD, "data.root=~/food", "hydra.sweep.dir=~/sweeps"]).folder.parent == tmp_path / "sweeps"
    assert invoke(capsys, "run", *FOOD, "data.root=~/food", "--out=~/runs")[0] == 0
    (run,) = (tmp_path / "runs").iterdir()
    data, output = "--data=~/food/test", "--output=~/submission.csv"
    assert invoke(capsys, "predict", f"~/runs/{run.name}", data, output)[0] == 0
    assert (tmp_path / "submission.csv").exists()
    (tmp_path / "~").mkdir()
    pictures(tmp_path / "~" / "b")
    assert plan_run([*FOOD, "data.root=./~/b"]).data_fingerprint == there.data_fingerprint
