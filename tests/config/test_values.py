"""Every number, switch and list that conf/ names, given what it cannot be: it runs right, or one sentence refuses it.

The keys are found by being there. `slow` composes and runs; the default suite asks the table of ranges alone.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import hf_files
import idx_files
import members
import numpy as np
import pytest
import torch
from test_config import assert_readable
from torch import Tensor, nn

from optbench.config import Composer, build
from optbench.config.keywords import check_keywords
from optbench.errors import ConfigError, IncompatibleError, OptbenchError
from optbench.experiment import Stop, execute
from optbench.experiment.plan import plan_run, plan_sweep
from optbench.records import Status
from optbench.settings import RANGES, check_range

NUMBERS = ("null", "0", "-1", "nan", "inf", "-inf", "1e300", "0.5", "true", "words", "[1,2]", "[]", "{a:1}")
LISTS = (
    "null",
    "[]",
    "[0.5]",
    "[0.5,0.6,0.7]",
    "[null,null]",
    "[nan,0.5]",
    "[a,b]",
    "[-1,2]",
    "[0,0]",
    "[[1],[2]]",
    "0.5",
)
ENDS = {Status.COMPLETED, Status.CONVERGED, Status.TARGET_REACHED, Status.DIVERGED, Status.TIMED_OUT}
NULL_SPEAKS = {"optimizer.fused", "model.instance"} | {
    f"scheduler.{key}" for key in ("step_size", "total_iters", "warmup_steps", "T_0")
}
"""Where null is a value: left to torch, or the length of the run."""
TINY = ("model=logistic", "data.image_size=8", "trainer.steps=2", "trainer.batch_size=full")
EASY = ("model=sphere", "trainer.steps=3")


def leaves(node: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Dotted key and value of what is a number, a switch, a list, or nothing."""
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        elif not key.startswith("_") and not isinstance(value, str):
            yield f"{prefix}{key}", value


FILES = {
    "csv": ["data.path=a.csv", "data.target=y"],
    "npz": ["data.path=a.npz"],
    "torchvision": ["data.path=idx"],
    "hf": ["data.path=a.parquet", "data.target=y"],
    "hf_images": ["data.path=pictures.parquet"],
}
"""What data of one's own cannot do without; `write_files` makes them."""


def write_files() -> None:
    """The files of FILES, in the folder where the test is."""
    draws = np.random.default_rng(0)
    x, y = draws.normal(size=(60, 3)), draws.integers(0, 2, 60)
    rows = "".join(f"{a:.6f},{b:.6f},{c:.6f},{label}\n" for (a, b, c), label in zip(x, y, strict=True))
    Path("a.csv").write_text("a,b,c,y\n" + rows)
    np.savez("a.npz", x=x, y=y)
    idx_files.write(Path("idx"))
    hf_files.rows(Path("a.parquet"), **dict(zip("abcy", (*x.T, y), strict=True)))
    hf_files.pictures(Path("pictures.parquet"))


def base(group: str, name: str) -> list[str]:
    """A short run with the member in it."""
    if group == "model":
        own = ["data.image_size=32", "trainer.steps=1", "trainer.batch_size=2", "data.validation_share=0.01"]
        return [f"model={name}", *(own if name in members.networks() else ["trainer.steps=3"])]
    if group == "data":
        numbers = members.keywords(group, name).get("n_classes") == 0  # a regression
        fits = ["loss=squared_error"] * numbers
        return [
            "model=logistic",
            f"data={name}",
            *FILES.get(name, ()),
            *fits,
            "trainer.steps=1",
            "trainer.batch_size=2",
        ]
    if (group, name) in (("loss", "surface"), ("trainer", "surface")) or group in ("optimizer", "scheduler"):
        return [*EASY, f"{group}={name}"]
    return [*TINY, f"{group}={name}"]


def tried(groups: Sequence[str], composer: Composer, once: bool) -> Iterator[tuple[list[str], str]]:
    """The overrides of a run, and one more that gives one of its keys a value of the lists above."""
    seen = set()
    for group in groups:
        for name in members.names(group):
            if members.read(group, name).get("_target_", "") is None or members.read(group, name).get("root"):
                continue  # no data, or pictures that are not here
            overrides = base(group, name)
            node = composer.compose(overrides).config[group]
            for key, value in leaves(node, f"{group}."):
                if once and (key, node.get("_target_")) in seen:
                    continue
                if value is None and key not in RANGES:
                    continue  # of what kind it is, only the class knows
                seen.add((key, node.get("_target_")))
                for text in LISTS if isinstance(value, list) else NUMBERS:
                    yield overrides, f"{key}={text}"


def outcome(composer: Composer, overrides: list[str], tmp_path: Path) -> str:
    """Runs it; a sentence says what is wrong with how it ended, and nothing where it ended as it should."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            composer.compose(overrides)  # most are refused here, in a millisecond
            run = execute(plan_run(overrides, out=tmp_path), Stop())
        except OptbenchError as error:
            assert_readable(error)
            return "" if error.exit_code == 2 else f"{overrides}: exit code {error.exit_code}, {error.message}"
    if heard:
        return f"{overrides}: {heard[0].message}"
    return "" if run.status in ENDS else f"{overrides}: {run.status}, {run.reason}"


@pytest.fixture(scope="module")
def composer() -> Iterator[Composer]:
    with Composer() as ready:
        yield ready


def plain_keys() -> set[tuple[str, Any, str]]:
    """Key, default and target of every number, switch and list of a part in conf/, without composing anything."""
    found = set()
    for group in ("optimizer", "scheduler", "loss", "model", "data"):
        for name in members.names(group):
            target = str(members.read(group, name)["_target_"])
            for key, value in leaves(members.keywords(group, name), f"{group}."):
                found.add((key, value if not isinstance(value, list) else tuple(value), target))
    return found


def test_null_and_nan_are_no_number_switch_or_list() -> None:
    keys = [
        found for found in plain_keys() if found[1] is not None
    ]  # of what kind the others are, only the class knows
    for key, default, target in keys:
        for value in (float("nan"), "words", *([] if key in NULL_SPEAKS else [None])):
            with pytest.raises(ConfigError, match=f"^{re.escape(key)}=.*: expected "):
                check_range(key, value, target)
        check_range(key, list(default) if isinstance(default, tuple) else default, target)
    assert len(keys) > 100


@pytest.mark.slow
@pytest.mark.parametrize("group", ["optimizer", "scheduler", "loss", "trainer", "model", "data"])
def test_every_value_of_every_key_runs_or_is_refused(
    group: str, composer: Composer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")  # synthetic_food makes its pictures below whatever data.root says
    write_files()
    count = 0
    for overrides, last in tried([group], composer, once=group == "model"):
        assert not (wrong := outcome(composer, [*overrides, last], tmp_path)), wrong
        count += 1
    assert count > 40


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("optimizer.amsgrad=null", "no key 'amsgrad'"),
        ("+optimizer.amsgrad=null", "expected true or false"),
        ("+optimizer.amsgrad=1", "expected true or false"),
        ("optimizer.betas=[0.5,0.6,0.7]", "a list of numbers in [0, 1), two of them"),
        ("scheduler.factor=2.0", "a number in [0, 1]"),
        ("trainer.start_anywhere=-1", "expected true or false"),
        ("trainer.start=null", "expected usual, random"),
    ],
)
def test_what_is_refused_as_it_is_composed(text: str, expected: str, composer: Composer) -> None:
    with pytest.raises(ConfigError) as caught:
        composer.compose([text])
    assert_readable(caught.value)
    assert expected in caught.value.message


def test_a_sweep_is_held_to_the_same(composer: Composer) -> None:
    for line in ("optimizer.betas=[0.5,0.6,0.7],[0.9,0.99]", "+optimizer.amsgrad=true,null"):
        with pytest.raises(ConfigError, match="expected"):
            list(composer.grid([line]))
    with pytest.raises(ConfigError, match=r"scheduler.power=-1.0: .*not negative"):
        list(composer.grid(["scheduler=polynomial", "scheduler.power=1,-1"]))
    with pytest.raises(ConfigError, match=r"optimizer\.momentum=0.0: expected a number above 0"):
        list(composer.grid(["optimizer=nesterov", "optimizer.momentum=0.5,0"]))


# ---- keywords of anyone's classes


class Own:
    """Takes some of each kind."""

    def __init__(
        self, rate: float, on: bool = False, pair: tuple[float, float] = (0.0, 1.0), way: str = "up",
        maybe: float | None = 1.0, many: Sequence[float] = (), free: Any = 0, whole: int = 1, implicit: float = None,  # type: ignore[assignment]  # noqa: RUF013
    ) -> None:  # fmt: skip
        self.rate = rate


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"rate": None}, "own.rate=null: expected a number"),
        ({"rate": "fast"}, "own.rate=fast: expected a number"),
        ({"rate": True}, "own.rate=true: expected a number"),
        ({"on": None}, "own.on=null: expected true or false"),
        ({"on": 1}, "own.on=1: expected true or false"),
        ({"pair": [1.0]}, "own.pair=[1.0]: expected a list of 2"),
        ({"pair": [1.0, None]}, "own.pair=[1.0,None]: expected a list of 2, each a number"),
        ({"pair": 1.0}, "own.pair=1.0: expected a list of 2"),
        ({"many": 1.0}, "own.many=1.0: expected a list"),
        ({"many": ["a"]}, "own.many=['a']: expected a list, each a number"),
        ({"maybe": "no"}, "own.maybe=no: expected a number or null"),
        ({"rat": 1.0}, "own.rat=1.0: Own has no keyword 'rat'"),
    ],
)
def test_annotations_rule_values_out(given: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_keywords(given, Own, "own")
    assert caught.value.message == expected
    assert_readable(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        {"rate": 1},
        {"on": True},
        {"pair": [0, 1.5]},
        {"maybe": None},
        {"many": []},
        {"many": [1, 2.5]},
        {"free": [None]},
        {"whole": 2.5},
        {"implicit": None},
        {"way": "down", "_partial_": True},
    ],
)
def test_annotations_are_read_generously(given: dict[str, Any]) -> None:
    check_keywords(given, Own, "own")


@pytest.mark.parametrize("group", ["optimizer", "scheduler", "loss", pytest.param("model", marks=pytest.mark.slow)])
def test_no_member_is_refused_for_its_annotations(group: str) -> None:
    for name in members.names(group):
        plain = {k: v for k, v in members.keywords(group, name).items() if "${" not in str(v)}
        check_keywords({k: v for k, v in plain.items() if v is not None}, members.target(group, name), group)


# ---- class weights


def test_class_weights_are_a_list(tmp_path: Path) -> None:
    weights = [1.0, 2.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 4.0]
    text = "loss.weight=[" + ",".join(map(str, weights)) + "]"
    run = execute(plan_run([*TINY, text], out=tmp_path), Stop())
    plain = execute(plan_run([*TINY], out=tmp_path), Stop())
    assert run.status is Status.COMPLETED
    assert run.run_id != plain.run_id
    loss = build({"_target_": "torch.nn.CrossEntropyLoss", "reduction": "none", "weight": weights}, "loss")
    outputs, labels = torch.randn(6, 10, generator=torch.Generator().manual_seed(0)), torch.arange(6)
    by_hand = torch.tensor([-outputs.log_softmax(-1)[i, i] * weights[i] for i in range(6)])
    torch.testing.assert_close(loss(outputs, labels), by_hand)


def test_class_weights_on_a_surface_of_logits(tmp_path: Path) -> None:
    base = ["model=softmax_logits", "trainer.steps=1"]
    once = execute(plan_run(base, out=tmp_path), Stop())
    twice = execute(plan_run([*base, "loss.weight=[2,2,2]"], out=tmp_path), Stop())
    assert twice.curve()["loss"][0] == pytest.approx(2 * once.curve()["loss"][0], rel=1e-12)
    with pytest.raises(IncompatibleError, match=r"loss\.weight has 2 weights; the model has 3 outputs"):
        execute(plan_run([*base, "loss.weight=[1,2]"], out=tmp_path), Stop())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("loss.weight=[1,2]", "expected 10 numbers, one per class, not 2"),
        ("loss.weight=[]", "a list of numbers that are not negative"),
        ("loss.weight=3", "a list of numbers that are not negative"),
        ("loss.weight=[0,0]", "a list of numbers that are not negative"),
        ("loss.weight=[1,a]", "a list of numbers that are not negative"),
    ],
)
def test_class_weights_that_are_none(text: str, expected: str, composer: Composer) -> None:
    with pytest.raises(ConfigError, match=r"loss\.weight=") as caught:
        composer.compose(["model=mlp", text])
    assert expected in caught.value.message


class Balanced(nn.Module):
    """A loss of one's own that takes a tensor."""

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.scale = scale


def test_lists_are_tensors_where_a_class_takes_tensors() -> None:
    made = build({"_target_": f"{__name__}.Balanced", "scale": [1, 2.5]}, "loss")
    torch.testing.assert_close(made.scale, torch.tensor([1.0, 2.5]))


# ---- Hydra's own settings


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("hydra.job.chdir=true", "-o says where"),
        ("hydra.job.name=x", "a sweep by --name"),
        ("hydra.mode=MULTIRUN", "optbench sweep many"),
        ("hydra.sweep.subdir=x", "named by its configuration"),
        ("hydra/sweeper=basic", "a sweeper of its own"),
        ("hydra.sweeper.max_batch_size=3", "write the values as they are"),
        ("+hydra.callbacks.x.y=1", "of Hydra's own settings this takes hydra.run.dir"),
        ("hydra/launcher=ray", "optbench sweep takes a launcher"),
        ("hydra.launcher.jobs=1", "optbench sweep takes a launcher"),
        ("hydra.sweep.dir=x", "hydra.run.dir"),
    ],
)
def test_settings_of_hydra_that_do_nothing_are_refused(text: str, hint: str) -> None:
    with pytest.raises(ConfigError, match="has no effect here") as caught:
        plan_run([text])
    assert_readable(caught.value)
    assert hint in caught.value.hint


def test_settings_of_hydra_that_do_something() -> None:
    assert str(plan_run(["hydra.run.dir=elsewhere", "hydra.job.chdir=false"]).folder.parent) == "elsewhere"
    swept = plan_sweep(["seeds=2", "hydra.sweep.dir=there", "hydra.launcher.jobs=1"], name="s")
    assert str(swept.folder) == "there/s"
    assert swept.launcher["jobs"] == 1
    with pytest.raises(ConfigError, match=r"hydra.run.dir has no effect here"):
        plan_sweep(["hydra.run.dir=x"])


def test_a_file_that_asks_for_another_working_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "own.yaml").write_text("# @package _global_\n# mine\nhydra: {job: {chdir: true}}\n")
    with pytest.raises(ConfigError, match=r"hydra.job.chdir has no effect here"):
        plan_run(["experiment=own"], [tmp_path])
