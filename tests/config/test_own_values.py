"""What a user's own classes mean by their settings is theirs, and means the same in every command and file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optbench import compose
from optbench.config.build import build
from optbench.config.callbacks import parse_callbacks
from optbench.config.group_schedules import schedule_node
from optbench.config.metrics import named, node_of
from optbench.config.plain_yaml import value_of
from optbench.errors import ConfigError
from optbench.experiment.plan import plan_run, plan_sweep
from optbench.settings import RANGES, TO_BE_SAID, check_range

OF_PARTS = [key for key in RANGES if key.partition(".")[0] in ("model", "data", "augment", "loss", "scheduler")]
ELSEWHERE = {"data.n_classes", "data.n_targets", "data.folds", "data.fold", "model.n_outputs", "model.num_classes",
             "loss.reduction"}  # fmt: skip


@pytest.mark.parametrize("key", OF_PARTS)
def test_the_settings_of_anyones_class_are_its_own_affair(key: str) -> None:
    """A focal loss with one alpha, a model with a list of layers, an augmentation with one scale ..."""
    odd: Any = {"a": "mapping"}
    with pytest.raises(ConfigError):
        check_range(key, odd, f"optbench.anything.{key}")
    if key in ELSEWHERE:  # read outside the class
        with pytest.raises(ConfigError):
            check_range(key, odd, "mine.Own")
    else:
        check_range(key, odd, "mine.Own")
        check_range(key, None, "mine.Own")


def test_numbers_are_numbers_in_every_file(tmp_path: Path) -> None:
    """PyYAML takes 1e-3 for a text; Hydra does not, nor do the files that Hydra does not read."""
    for group, text in {
        "metric": "_target_: within.within\ndirection: max\ntolerance: 1e-3\n",
        "callback": "_target_: told.Told\nevery: 2e-1\nnumber: 1\n",
    }.items():
        (tmp_path / group).mkdir()
        (tmp_path / group / "own.yaml").write_text(f"# mine\n{text}")
    (tmp_path / "told.py").write_text(
        "import optbench\n\nclass Told(optbench.Callback):\n    def __init__(self, every, number): pass\n"
    )
    (metric,) = named(["own"], [tmp_path])
    assert metric["tolerance"] == 1e-3
    ((_, callback),) = parse_callbacks(["own:number=3e-4"], [tmp_path]).nodes
    assert (callback["every"], callback["number"]) == (0.2, 3e-4)
    assert isinstance(schedule_node("plateau", "here")["eps"], float)
    assert isinstance(node_of("ece")["_target_"], str)
    assert [value_of(text) for text in ("1e-3", "true", "null", "a=b", "[1,2]", "x")] == [
        1e-3, True, None, "a=b", [1, 2], "x"]  # fmt: skip
    for text in ("[1", "{", "a: b: c"):
        with pytest.raises(ValueError, match=r"\w"):
            value_of(text)
    (tmp_path / "metric" / "own.yaml").write_text("a: [1\n")
    with pytest.raises(ConfigError, match="not YAML"):
        named(["own"], [tmp_path])


def test_a_sweep_over_a_file_of_ones_own_is_its_runs(tmp_path: Path) -> None:
    """What must be said is said on the command line, and no base is without it."""
    np.savez(tmp_path / "t.npz", x=np.arange(60.0).reshape(20, 3), y=np.arange(20.0))
    words = ["model=mlp", "data=npz", f"data.path={tmp_path / 't.npz'}", "trainer.epochs=1"]
    found = plan_sweep([*words, "optimizer.lr=0.1,0.01", "seeds=2"])
    alone = {plan_run([*words, f"optimizer.lr={lr}", f"seed={k}"]).run_id for lr in (0.1, 0.01) for k in (0, 1)}
    assert {item.run_id for item in found} == alone
    assert len(alone) == 4
    csv = ["model=mlp", "data=csv", f"data.path={tmp_path / 't.csv'}"]
    (tmp_path / "t.csv").write_text("a,b,c\n" + "".join(f"{k},{k * k % 7},{k % 5}.5\n" for k in range(40)))
    assert [item.config["data"]["target"] for item in plan_sweep([*csv, "data.target=b,c"])] == ["b", "c"]
    for key in sorted(TO_BE_SAID):
        with pytest.raises(ConfigError, match=f"{key} is not set"):
            plan_sweep([one for one in [*csv, "data.target=b"] if not one.startswith(key)] + ["seeds=2"])


def test_a_base_that_is_only_right_with_the_values_of_the_sweep(tmp_path: Path) -> None:
    (tmp_path / "optimizer").mkdir()
    text = "# mine\n_target_: torch.optim.SGD\n_partial_: true\nlr: 0.1\nmomentum: 0\nnesterov: true\n"
    (tmp_path / "optimizer" / "own.yaml").write_text(text)
    found = plan_sweep(["optimizer=own", "optimizer.momentum=0.9,0.8"], config_dirs=[tmp_path])
    alone = [plan_run(["optimizer=own", f"optimizer.momentum={m}"], config_dirs=[tmp_path]) for m in (0.9, 0.8)]
    assert [item.run_id for item in found] == [item.run_id for item in alone]
    with pytest.raises(ConfigError, match="expected a number above 0 beside"):
        plan_sweep(["optimizer=own", "optimizer.lr=0.1,0.2"], config_dirs=[tmp_path])


def test_a_rate_that_a_file_has_as_1_is_no_whole_number(tmp_path: Path) -> None:
    (tmp_path / "optimizer").mkdir()
    (tmp_path / "optimizer" / "own.yaml").write_text("# mine\n_target_: mine.Own\n_partial_: true\nlr: 1\nk: 3\n")
    (tmp_path / "mine.py").write_text("")
    assert plan_run(["optimizer=own", "optimizer.lr=0.25"], config_dirs=[tmp_path]).config["optimizer"]["lr"] == 0.25
    with pytest.raises(ConfigError, match="expected a whole number"):
        plan_run(["optimizer=own", "optimizer.k=0.5"], config_dirs=[tmp_path])


def test_a_wrapper_stands_once() -> None:
    with pytest.raises(ConfigError, match="sam stands there twice"):
        compose("wrap=[sam,sam]")
    with pytest.raises(ConfigError, match="clip stands there twice"):
        plan_sweep(["wrap=none,[clip,sam,clip]"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model=hw3_cnn", "data=wine"], "model.in_channels is data.channels, and the data have none"),
        (["model=mlp", "data=none"], "data=none: a network is trained on data"),
        (["model=gpt", "data=made_text", "trainer.mup_base={widht:32}"], "did you mean: width"),
        (["model=mlp", "trainer.mup_base={width:32}"], "hidden"),
        (["experiment=suite/small"], "is a suite of 12 problems, and a run is of one"),
        (["experiment=suite/surfaces", "optimizer=adam"], "optbench sweep experiment=suite/surfaces"),
    ],
)
def test_what_is_asked_of_one_run_is_named(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        compose(*words)
    assert said in f"{error.value.message} {error.value.hint}"


def test_one_problem_of_a_suite_is_a_run() -> None:
    config = compose("experiment=suite/small", "model=linear", "data=diabetes", "trainer.target_val_loss=0.466")
    assert config["trainer"]["target_val_loss"] == 0.466


def test_a_class_that_is_not_there_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(ConfigError, match="there is no 'Adamm'"):
        build({"_target_": "torch.optim.Adamm", "lr": 0.1}, "optimizer")
    assert not caplog.records
