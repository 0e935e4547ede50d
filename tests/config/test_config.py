"""Overrides to a resolved configuration: what composes, what is refused and in which words, what a sweep expands to,
and what a recorded configuration may name."""

from __future__ import annotations

import contextlib
import copy
import inspect
import itertools
import math
import os
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import members
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from optbench.catalogue import GROUPS, catalogue
from optbench.config import Composed, Composer, check_targets, complete, trusted_targets
from optbench.errors import ConfigError, OptbenchError, RecordError, UserError
from optbench.experiment.plan import plan_run, plan_sweep
from optbench.records import flatten, run_id
from optbench.records.vocabulary import as_now
from optbench.settings import RANGES, NetworkTrainer, SurfaceTrainer, check_range, check_ranges, trainer_from

TRUSTED = trusted_targets()
CHOICES = [(group, name) for group in GROUPS for name in members.names(group)]


@pytest.fixture(scope="module")
def composer() -> Iterator[Composer]:
    with Composer() as ready:
        yield ready


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    """A user's own conf folder: an optimizer, a surface, an experiment, and another adam."""
    files = {
        "optimizer/own_sgd.yaml": "# my SGD\n_target_: torch.optim.SGD\n_partial_: true\nlr: 0.5\n",
        "optimizer/adam.yaml": "# my Adam\n_target_: torch.optim.Adam\n_partial_: true\nlr: 0.25\n",
        "my/module.py": "",
        "model/own_bowl.yaml": "# my bowl\ndefaults: [_surface]\n_target_: my.module.Bowl\nsteep: 2.0\n",
        "experiment/own_race.yaml": (
            "# @package _global_\n# my race\ndefaults:\n  - override /model: own_bowl\n"
            "trainer: {steps: 7}\nhydra: {sweeper: {params: {optimizer: 'own_sgd,adam'}}}\n"
        ),
    }
    for name, text in files.items():
        path = tmp_path / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "mine"


def refused(*overrides: str, folders: list[Path] | None = None) -> ConfigError:
    """The error that composing these overrides ends in."""
    with Composer(folders or []) as composer, pytest.raises(ConfigError) as caught:
        composer.compose(list(overrides))
    assert_readable(caught.value)
    return caught.value


def assert_readable(error: OptbenchError) -> None:
    """One line, a hint of at most one more, and no Python in it."""
    assert error.message
    assert len(error.message.splitlines()) == 1
    assert len(error.hint.splitlines()) <= 1
    assert "Traceback" not in error.message
    assert "object has no attribute" not in error.message


# ---- what composes


@pytest.mark.parametrize(("group", "name"), [
    pytest.param(*choice, marks=[] if choice[0] != before[0] else pytest.mark.slow)  # the first of each group at once
    for before, choice in itertools.pairwise([("", ""), *CHOICES])
])  # fmt: skip
def test_every_choice_composes(composer: Composer, group: str, name: str) -> None:
    """Resolved, with every key of its YAML, the same run after a round trip through YAML, and trusted in a record."""
    table = ["data.path=a.csv", "data.target=y"]  # which they cannot do without
    files = {"csv": table, "hf": table, "hf_images": table, "npz": ["data.path=a.npz"]}
    more = files.get(name, []) if group == "data" else ["model=mlp"] if name == "accumulate" else []
    if group == "experiment" and "suite" in members.read(group, name):
        with pytest.raises(ConfigError, match=f"{name} is a suite of \\d+ problems, and a run is of one"):
            composer.compose([f"{group}={name}"])
        return
    config = composer.compose([f"{group}={name}", *more]).config
    if (group, name) == ("collate", "stack"):  # what rows of one length need none for has no node
        assert group not in config
        return
    if group == "wrap":  # around the optimizer there is a node for each, and none where there is nothing
        config = {**config, group: config.get(group, {}).get(name, members.read(group, name))}
    assert config["choices"].get(group, name) == name
    assert not [v for v in flatten(config).values() if isinstance(v, str) and ("${" in v or v == "???")]
    if group != "experiment":
        given_keys = {k for k in members.read(group, name) if k not in ("defaults", "n_outputs")}
        by_problem = str(members.read(group, name).get("groups", "")).startswith("${by_problem:null,")
        assert given_keys - ({"groups"} if by_problem else set()) <= set(config[group])
    assert run_id(yaml.safe_load(yaml.safe_dump(config))) == run_id(config)
    check_targets(config, TRUSTED)


def test_the_default_run_is_rmsprop_on_rosenbrock(composer: Composer) -> None:
    config = composer.compose(["optimizer=rmsprop"]).config
    assert config["choices"] == {
        "model": "rosenbrock",
        "data": "none",
        "augment": "none",
        "loss": "surface",
        "optimizer": "rmsprop",
        "scheduler": "constant",
        "trainer": "surface",
    }
    assert config["seed"] == 0
    assert config["model"] == {"_target_": "optbench.surfaces.rosenbrock.Rosenbrock", "dim": 2, "instance": None}


PLAIN = [n for n in members.surfaces() if members.read("model", n)["defaults"] == ["_surface"]]  # it brings all of it


@pytest.mark.parametrize(
    "model", [pytest.param(n, marks=pytest.mark.slow if n in PLAIN[1:] else ()) for n in members.surfaces()]
)
def test_a_surface_brings_its_trainer_and_no_data(composer: Composer, model: str) -> None:
    config = composer.compose([f"model={model}"]).config
    assert config["choices"]["data"] == "none"
    assert config["choices"]["trainer"] == "surface"
    assert isinstance(trainer_from(config), SurfaceTrainer)


@pytest.mark.parametrize("model", members.networks())
def test_a_network_brings_its_trainer_and_data(composer: Composer, model: str) -> None:
    config = composer.compose([f"model={model}"]).config
    assert config["choices"]["data"] == "digits"
    assert config["choices"]["loss"] == "cross_entropy"
    assert isinstance(trainer_from(config), NetworkTrainer)
    assert config["n_outputs"] == config["data"]["n_classes"] == 10


def test_data_brings_its_augmentation_and_the_command_line_wins(composer: Composer) -> None:
    def chosen(*overrides: str) -> str:
        return str(composer.compose(["model=mlp", *overrides]).config["choices"]["augment"])

    assert (chosen(), chosen("data=food11"), chosen("data=synthetic_food")) == ("none", "flip_crop", "flip_crop")
    for order in itertools.permutations(["data=food11", "augment=none"]):
        assert chosen(*order) == "none"
    assert chosen("augment=auto") == "auto"


def test_without_augmentation_a_run_is_what_it_was_before_there_was_a_choice(composer: Composer) -> None:
    config = composer.compose(["model=sphere"]).config
    assert run_id(config) == run_id({k: v for k, v in config.items() if k != "augment"})


@pytest.mark.parametrize("name", ["none", "flip_crop", "auto"])
def test_what_was_a_setting_of_the_data_is_the_same_run_as_a_group(composer: Composer, name: str) -> None:
    now = composer.compose(["model=mlp", "data=synthetic_food", f"augment={name}"]).config
    before = {k: v for k, v in now.items() if k != "augment"} | {"data": {**now["data"], "augment": name}}
    assert run_id(now) == run_id(before)
    assert as_now(before) == now == as_now(now)
    assert run_id(now) not in {
        run_id(composer.compose(["model=mlp", "data=synthetic_food", f"augment={other}"]).config)
        for other in {"none", "flip_crop", "auto"} - {name}
    }


def test_the_command_line_wins_over_what_a_model_brings(composer: Composer) -> None:
    overrides = ["model=hw3_cnn", "data=synthetic_food", "loss=focal"]
    for order in itertools.permutations(overrides):
        choices = composer.compose(order).config["choices"]
        assert (choices["data"], choices["loss"]) == ("synthetic_food", "focal")


def test_one_output_under_class_number_whatever_the_data(composer: Composer) -> None:
    for data in ("digits", "synthetic_food"):
        config = composer.compose(["model=hw3_cnn", "loss=class_number", f"data={data}"]).config
        assert config["n_outputs"] == config["model"]["n_outputs"] == 1
        assert config["loss"]["n_classes"] == config["data"]["n_classes"] > 1


def test_by_problem_gives_each_its_learning_rate(composer: Composer) -> None:
    raw = members.read("optimizer", "rmsprop")["lr"]
    on_surface, on_network = (float(v) for v in raw.removeprefix("${by_problem:").removesuffix("}").split(","))
    assert on_surface != on_network
    assert composer.compose(["optimizer=rmsprop"]).config["optimizer"]["lr"] == on_surface
    assert composer.compose(["optimizer=rmsprop", "model=hw3_cnn"]).config["optimizer"]["lr"] == on_network
    assert composer.compose(["optimizer=rmsprop", "optimizer.lr=0.7"]).config["optimizer"]["lr"] == 0.7


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[] if name == "surface_race" else pytest.mark.slow)
    for name in members.names("experiment")
])  # fmt: skip
def test_plus_experiment_is_experiment(composer: Composer, name: str) -> None:
    if "suite" not in members.read("experiment", name):  # of which a run is of one problem
        assert composer.compose([f"+experiment={name}"]) == composer.compose([f"experiment={name}"])
    plus, plain = composer.grid([f"+experiment={name}"]), composer.grid([f"experiment={name}"])
    several = "hydra" in members.read("experiment", name)  # a sweep, not one run
    assert (plus.count == plain.count > 1) if several else (plus.count == plain.count == 1)
    assert list(itertools.islice(plus, 20)) == list(itertools.islice(plain, 20))


def test_composing_leaves_no_trace_in_the_next(composer: Composer) -> None:
    before = copy.deepcopy(composer.compose([]))
    composer.compose(["optimizer.lr=0.5", "trainer.start=[1,1]", "seed=9"]).config["optimizer"]["lr"] = 99
    assert composer.compose([]) == before


def test_composing_does_not_touch_hydras_global_state() -> None:
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    with Composer() as composer:
        composer.compose([])
    assert not GlobalHydra.instance().is_initialized()


@pytest.mark.parametrize("text", ["optimizer.lr=1e-1", "optimizer.lr=0.1", "optimizer.lr=.1"])
def test_ways_to_write_a_number(composer: Composer, text: str) -> None:
    assert composer.compose([text]).config["optimizer"]["lr"] == 0.1


def test_whole_numbers_are_numbers(composer: Composer) -> None:
    """With the same identity, whether the default is a number (eps) or depends on the problem (lr)."""
    for key in ("optimizer.lr", "optimizer.eps"):
        configs = [composer.compose([f"{key}={text}"]).config for text in ("1", "1.0", "1e0")]
        assert {type(flatten(c)[key]) for c in configs} == {float}
        assert len({run_id(c) for c in configs}) == 1


# ---- what is refused, and in which words

REFUSED = [
    ("optimizer=sdg", "'sdg' is not a choice for 'optimizer'", "did you mean: optimizer=sgd?"),
    ("optimizer=ADAM", "'ADAM' is not a choice", "optimizer=adam"),
    ("optimizer=", "'' is not a choice for 'optimizer'", ""),
    ("optimizer=adam.yaml", "'adam.yaml' is not a choice", "optimizer=adam"),
    ("optimizer=../model/rosenbrock", "is not a choice for 'optimizer'", ""),
    ("optimizer=/etc/hostname", "is not a choice for 'optimizer'", ""),
    ("optimizer=null", "expected a name for 'optimizer'", ""),
    ("optimizer=3", "expected a name for 'optimizer'", ""),
    ("optimizer=[adam,sgd]", "expected a name for 'optimizer'", ""),
    ("experiment=nope", "'nope' is not a choice for 'experiment'", ""),
    ("hydra/launcher=nope", "'nope' is not a choice for 'hydra/launcher'", ""),
    ("model=_surface", "'_surface' is a base that others build on", ""),
    ("loss=_one_output", "'_one_output' is a base that others build on", ""),
    ("trainer=surface_trainer_schema", "is a base that others build on", ""),
    ("data.augment=flip_crop", "'data.augment' is no longer a key", "augment=flip_crop"),
    ("data.collate=pad", "'data.collate' is no key", "collate=pad"),
    ("collate.length=3", "'collate' has no key 'length'", "collate=pad, pad_bare have it"),
    ("augment=flip", "'flip' is not a choice for 'augment'", "did you mean: augment=flip_crop?"),
    ("optimizer.lrr=1", "'optimizer' has no key 'lrr' (keys: lr, betas", "did you mean: optimizer.lr?"),
    ("optimizer.foo.bar=1", "'optimizer' has no key 'foo'", ""),
    ("augment.mixup=1", "'augment' has no key 'mixup'", "augment=homework, rand, strong, trivial have it"),
    ("optimizer.lr.x=1", "'optimizer.lr' is a value and has no keys", "optimizer.lr=..."),
    ("optimzer=adam", "no key 'optimzer'", "did you mean: optimizer?"),
    ("optimzer.lr=1", "no key 'optimzer'", "did you mean: optimizer?"),
    ("seed.x=1", "'seed' is a value", ""),
    ("choices.model=x", "no key 'choices'", ""),
    ("trainer.batch_size=8", "'trainer' has no key 'batch_size'", ""),
    ("+foo=1", "'foo' is not part of a run", ""),
    ("hydra.foo=1", "hydra.foo", ""),
    ("optimizer.lr=fast", "optimizer.lr=fast: expected a positive number", ""),
    ("optimizer.lr=true", "optimizer.lr=true: expected a positive number", ""),
    ("optimizer.lr={a:1}", "optimizer.lr={'a':1}: expected a positive number", ""),
    ("optimizer.lr=${nope}", "'nope' not found", ""),
    ("optimizer.lr=${optimizer.lr}", "optimizer.lr: Recursive interpolation", ""),
    ("optimizer.eps=small", "optimizer.eps=small: expected a number", ""),
    ("optimizer.betas=0.9", "expected a list", ""),
    ("optimizer.betas=[a,b]", "optimizer.betas[0]=a: expected a number", ""),
    ("optimizer=3e", "'3e' is not a choice", ""),
    ("model=1", "expected a name for 'model'", ""),
    ("model.dim=2.5", "model.dim=2.5: expected a whole number", ""),
    ("trainer={steps: 3}", "expected a name for 'trainer'", ""),
    ("trainer.steps=1.5", "trainer.steps=1.5: expected a whole number", ""),
    ("trainer.steps=null", "trainer.steps=null: expected a whole number", ""),
    ("trainer.steps=many", "trainer.steps=many: expected a whole number", ""),
    ("trainer.start_anywhere=maybe", "trainer.start_anywhere=maybe: expected true or false", ""),
    ("seed=x", "seed=x: expected a whole number", ""),
    ("seed=null", "seed=null: expected a whole number", ""),
    ("optimizer.lr=-1", "optimizer.lr=-1.0: expected a positive number", ""),
    ("optimizer.lr=nan", "optimizer.lr=nan: expected a positive number", ""),
    ("optimizer.lr=1e400", "expected a positive number", ""),
    ("optimizer.betas=[0.9,1]", "expected a list of numbers in [0, 1)", ""),
    ("model.dim=0", "model.dim=0: expected a whole number from 1 to 1000000", ""),
    ("model.dim=10000000000", "expected a whole number from 1 to 1000000", ""),
    ("seed=-1", "seed=-1: expected a whole number from 0", ""),
    ("n_outputs=-1", "n_outputs=-1: expected", ""),
    ("trainer.steps=0", "trainer.steps=0: expected a whole number of at least 1", ""),
    ("trainer.threads=0", "trainer.threads=0: expected a whole number from 1 to 1024", ""),
    ("trainer.threads=100000", "trainer.threads=100000: expected a whole number from 1 to 1024", ""),
    ("trainer.seconds=0", "trainer.seconds=0.0: expected a positive number", ""),
    ("trainer.start=[nan,1]", "expected usual, random, or a list of finite coordinates", ""),
    ("trainer.start=[]", "expected usual, random, or a list of finite coordinates", ""),
    ("trainer.divergence_factor=1", "expected a number above 1", ""),
    ("optimizer", "cannot read the override 'optimizer'", "key=value"),
    ("", "cannot read the override ''", "key=value"),
    ("=adam", "cannot read the override '=adam'", "key=value"),
    ("optimizer==adam", "cannot read the override", "key=value"),
    ("optimizer.lr=[1", "cannot read the override", "key=value"),
    ("optimizer.lr=\n", "cannot read the override", "key=value"),
    ("optimizer=é", "cannot read the override 'optimizer=é'", "quote"),
    ("--plto", "no such option: --plto", "--help"),
    ("optimizer=adam,sgd", "optimizer=adam,sgd: several values for one run", "optbench sweep"),
    ("seed=range(3)", "several values for one run", "optbench sweep"),
    ("optimizer.lr=interval(0,1)", "several values for one run", "optbench sweep"),
    ("optimizer=glob(a*)", "several values for one run", "optbench sweep"),
    ("optimizer.lr=???", "optimizer.lr has no value", "set it: optimizer.lr="),
    ("trainer.start=[???,1]", "trainer.start has no value", "set it: trainer.start="),
    ('model="a\rb\x1b[31m"', "'a\\rb\\x1b[31m' is not a choice for 'model'", ""),
    ("--\rplto", "no such option: --\\rplto", "--help"),
    ("trainer.\u2028steps=1", "cannot read", ""),
    ("~optimizer", "a run needs 'optimizer'", "optbench list optimizer"),
    ("~seed", "a run needs 'seed'", "seed=0"),
    ("~nothing", "nothing", ""),
    ("+optimizer=adam", "optimizer", ""),
]


@pytest.mark.parametrize(("text", "message", "hint"), REFUSED, ids=[repr(r[0]) for r in REFUSED])
def test_a_wrong_override_is_named(composer: Composer, text: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        composer.compose([text])
    assert_readable(caught.value)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_an_unknown_choice_lists_the_choices(composer: Composer) -> None:
    with pytest.raises(ConfigError) as caught:
        composer.compose(["scheduler=nope"])
    assert all(name in caught.value.message for name in members.names("scheduler"))


@pytest.mark.parametrize(
    "text",
    [
        "trainer.batch_size=0",
        "trainer.batch_size=2.5",
        "trainer.batch_size=half",
        "trainer.epochs=0",
        "trainer.epochs=null",
        "trainer.target_accuracy=1.5",
        "data.channels=2",
        "data.image_size=0",
        "model.width=0",
        "trainer.eval_every=0",
    ],
)
def test_ranges_of_a_network(composer: Composer, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        composer.compose(["model=hw3_cnn", text])
    assert_readable(caught.value)
    assert caught.value.message.startswith(text.partition("=")[0])


ENDS: dict[str, tuple[list[Any], list[Any]]] = {
    "seed": ([0, 2**63 - 1], [-1, 2**63, 0.0, True]),
    "n_outputs": ([0, 11], [-1, 1.5]),
    "model.dim": ([1, 1_000_000], [0, 1_000_001, 2.0]),
    "model.width": ([1], [0, -1]),
    "model.length": ([5], [4, 5.5]),
    **dict.fromkeys(("model.context", "model.layers", "model.heads", "data.context", "data.density",
                     "data.train_windows", "data.validation_windows", "data.test_windows", "data.n_targets",
                     "data.train_sentences", "data.validation_sentences", "data.test_sentences"),
                    ([1], [0, 1.5])),
    "data.text_seed": ([0], [-1]),
    "data.signal_seed": ([0, 2**32 - 1], [-1, 2**32, 0.5]),
    "data.standardize": ([True, False], [0, "yes"]),
    "data.download": ([True, False], [0, "yes"]),
    "data.path": (["a.csv"], ["", "${a}", 3]),
    "data.target": (["y", ["y", "z"]], ["", [], [1], 3]),
    "data.inputs": (["x", ["x", "z"], None], ["", [], [1], 3]),
    "data.weight": (["w", None], ["", 3]),
    "data.drop": ([[], ["a"]], ["a", [1]]),
    "data.task": (["classification", "regression", None], ["ranking"]),
    "model.hidden": ([[1], []], [[0], 4]),
    "data.image_size": ([1], [0]),
    "data.channels": ([1, 3], [0, 2, 4]),
    "loss.gamma": ([0, 2.5], [-1e-9]),
    "loss.label_smoothing": ([0, 1], [-0.1, 1.1]),
    "optimizer.lr": ([1e-300, 1e9], [0, -1e-3, math.inf, math.nan]),
    "optimizer.momentum": ([0], [-1e-9]),
    "optimizer.betas": ([[0, 0.999], [0, 0.5, 0.9]], [[0.9, 1], [-0.1, 0.9], [0.9], [], None]),
    "optimizer.beta1": ([0, 0.999999], [1, -1e-9]),
    "optimizer.alpha": ([0, 1], [-0.1, 1.01]),
    "optimizer.rho": ([0, 1], [-0.1, 1.01]),
    "optimizer.eps": ([0], [-1e-9]),
    "optimizer.weight_decay": ([0], [-1e-9]),
    "scheduler.gamma": ([1e-9, 2], [0, -1]),
    "scheduler.warmup_steps": ([0, 1, None, 0.5], [-1, 1.0, 1.5, 0.0]),
    "optimizer.lr_decay": ([0], [-1e-9, None]),
    "optimizer.momentum_decay": ([0], [-1e-9]),
    "optimizer.initial_accumulator_value": ([0], [-1e-9]),
    "optimizer.etas": ([[0.1, 1.1]], [[0, 1.1], [1, 1.1], [0.1, 1], [0.5], [0.5, 1.2, 2]]),
    "optimizer.step_sizes": ([[1e-9, 1e-9]], [[0, 1], [2, 1], [1]]),
    "optimizer.ns_steps": ([1], [0]),
    "optimizer.max_iter": ([1], [0]),
    "optimizer.max_eval": ([1, None], [0]),
    "optimizer.history_size": ([1], [0]),
    "optimizer.tolerance_grad": ([0], [-1e-9]),
    "optimizer.tolerance_change": ([0], [-1e-9]),
    **dict.fromkeys(("wrap.clip.norm", "wrap.clip.value", "wrap.swa.lr"), ([1e-9, None], [0, -1])),
    **dict.fromkeys(("wrap.agc.clipping", "wrap.agc.eps"), ([1e-9], [0, None])),
    "wrap.sam.rho": ([0], [-1e-9, None]),
    "wrap.sam.adaptive": ([True], [1]),
    "wrap.lookahead.k": ([1], [0, 1.5]),
    "wrap.lookahead.alpha": ([0, 1], [1.01]),
    "wrap.ema.decay": ([0.999], [0, 1]),
    "wrap.swa.start": ([0, 1], [-0.1, 1.1]),
    "wrap.swa.every": ([1, None], [0]),
    "scheduler.step_size": ([1, -1, None], [0, 1.5]),
    "scheduler.milestones": ([[], [-1, 3]], [3, [0.5], None]),
    "scheduler.T_max": ([1, -1, 0.5, None], [0]),
    "scheduler.T_0": ([1, None], [0, 1.5]),
    "scheduler.T_mult": ([1], [0, None]),
    "scheduler.total_steps": ([1, None], [0]),
    "scheduler.total_iters": ([0, -4, None], [1.5]),
    "scheduler.power": ([-1, 0], [math.inf, None]),
    "scheduler.eta_min": ([-1, 0], [math.nan, None]),
    "scheduler.min_lr": ([0], [-1e-9]),
    "scheduler.min_factor": ([0, 1], [-0.1, 1.1]),
    "scheduler.factor": ([0, 1], [-1e-9]),
    "scheduler.pct_start": ([0, 1], [-0.1, 1.1]),
    "scheduler.div_factor": ([1], [0.9]),
    "scheduler.final_div_factor": ([1], [0.9]),
    "scheduler.patience": ([0], [-1, 0.5]),
    "scheduler.cooldown": ([0], [-1]),
    "scheduler.threshold": ([0], [-1e-9]),
    "trainer.steps": ([1], [0, 1.0]),
    "trainer.epochs": ([1], [0]),
    "trainer.seconds": ([1e-9], [0, -1]),
    "trainer.target": ([-1e9, 0], [math.inf, math.nan]),
    "trainer.target_accuracy": ([0, 1], [-0.1, 1.1]),
    "trainer.target_val_loss": ([-1, 0, 2.5, None], [math.inf, math.nan, "a"]),
    "trainer.mup_base": ([{"width": 8}, {"hidden": [8, 8]}, None], [{}, {"width": 0}, {"hidden": [8, "a"]}, 8, [8]]),
    "trainer.stop_at_target": ([True, False], [None, 0, "no"]),
    "trainer.accumulate": ([1, 8], [0, -1, 1.5, True]),
    "trainer.ema": ([1e-9, 0.999, None], [0, 1, -0.1, "a"]),
    "trainer.nan": (["stop", "skip"], ["", "go", 0]),
    "trainer.precision": (["fp32", "tf32", "bf16", "fp16"], ["", "float32", 16]),
    "trainer.compile": ([True, False, "graphs"], ["yes", 1, 0]),
    "trainer.deterministic": ([True, False], [1, "yes"]),
    "trainer.stochastic_depth": ([0, 0.2, 1, None], [-0.1, 1.1]),
    "trainer.clip_norm": ([1e-9, 10, None], [0, -1, math.inf]),
    "trainer.normalize": ([True, False, None], [1, "yes"]),
    "trainer.patience": ([0, 5, None], [-1, 0.5]),
    "trainer.unlabelled": (["test", "中 文", None], ["", 3]),
    "trainer.pseudo_threshold": ([1e-9, 0.7, 1], [0, 1.1, "a"]),
    "trainer.pseudo_start": ([0, 3], [-1, 0.5]),
    "trainer.pseudo_every": ([1], [0, 1.5]),
    "trainer.pseudo_weight": ([0.1, 3], [0, -1, math.inf]),
    "trainer.pseudo_ramp": ([0, 4], [-1, 0.5]),
    "trainer.grad_tol": ([0], [-1e-9]),
    "trainer.plateau_steps": ([1], [0]),
    "trainer.plateau_delta": ([0], [-1e-9]),
    "trainer.divergence_factor": ([1.0001], [1, 0]),
    "trainer.record_every": ([1], [0]),
    "trainer.engine": (["auto", "portable"], ["fused", "", 1]),
    "trainer.curvature_every": ([1], [0]),
    "trainer.curvature_share": ([1e-9, 1], [0, 1.1]),
    "trainer.metrics": ([["accuracy"], ["ece", {"_target_": "a.b"}], None], [[], [""], "accuracy", [1]]),
    "trainer.eval_every": ([1], [0]),
    "trainer.checkpoint_every": ([1], [0]),
    "trainer.keep_every": ([1], [0]),
    "trainer.threads": ([1, 1024], [0, 1025]),
    "trainer.grad_noise": ([0], [-1e-9]),
    "trainer.batch_size": ([1, "full"], [0, "half", 1.5]),
    "trainer.start": (["usual", "random", [0.5, -1]], ["nowhere", [], [math.nan], ["1"]]),
    "model.condition": ([1, 1.5], [0.999, -2]),
    "model.instance": ([1, 15], [0, 1.5, "a"]),
    "model.l2": ([0, 0.5], [-1e-9]),
    "model.third": ([-3, 0, 0.5], [math.inf, "a"]),
    "model.dropout": ([0, 0.5, 1], [-0.1, 1.1]),
    "model.stochastic_depth_prob": ([0, 0.2, 1], [-0.1, 1.1]),
    "data.root": (["a", "中 文"], ["", 3]),
    "data.folds": ([2, 1000], [1, 1001, 2.5]),
    "data.fold": ([0, 4], [-1, 0.5]),
    "augment.parts": ([1, 64], [0, -1, 1.5]),
    "augment.mixup": ([0.0, 0.4, 2.0], [-0.1, "a"]),
    "augment.cutmix": ([0.0, 1.0], [-0.1, "a"]),
    "augment.scale": ([[0.01, 1.0], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.4], [0.5, 1.1], [0.5], 0.5]),
    "augment.colour": ([0.0, 1.0], [-0.1, 1.1]),
    "augment.erasing": ([0.0, 1.0], [-0.1, 1.1]),
    "augment.deviation": ([0.0, 0.1], [-0.1, "a"]),
    "data.on_bad": (["error", "skip"], ["", "keep", True, 1]),
    "data.n_classes": ([0, 11], [-1, 2.5]),
    "data.validation_share": ([1e-6, 0.999], [0, 1]),
    "data.test_share": ([0, 0.999], [1, -0.1]),
    "loss.n_classes": ([0, 2], [1, -1]),
    "loss.weight": ([[1, 0], [0.5, 1, 2]], [[1], [], [0, 0], [1, -1], [1, math.inf], 2]),
    "loss.alpha": ([[0.25, 1], [1, 2, 3]], [[1], [0, 1], 2, [1, -1]]),
    "loss.reduction": (["none"], ["mean", "sum"]),
    "optimizer.dampening": ([-1, 0, 0.9], [math.nan, "a"]),
    "scheduler.eps": ([0, 1e-8], [-1e-9]),
    "scheduler.last_epoch": ([-1], [0, 1, True]),
    **dict.fromkeys(("data.n_test", "data.picture_seed", "data.split_seed"), ([0], [-1, 0.5])),
    **dict.fromkeys(
        ("data.train_per_class", "data.validation_per_class", "model.n_outputs", "model.num_classes",
         "model.in_channels", "model.image_size", "model.in_features"), ([1], [0, 1.5]),
    ),
    **dict.fromkeys(
        (f"optimizer.{name}" for name in ("amsgrad", "capturable", "centered", "decoupled_weight_decay",
         "differentiable", "foreach", "fused", "maximize", "nesterov")), ([True, False], [0, 1, "yes"]),
    ),
}  # fmt: skip
"""What just passes and what just does not."""


@pytest.mark.parametrize("key", ENDS)
def test_the_ends_of_a_range(key: str) -> None:
    passing, refused = ENDS[key]
    for value in passing:
        check_range(key, value)
    for value in refused:
        with pytest.raises(ConfigError, match=f"{re.escape(key)}=.*expected"):
            check_range(key, value)


@pytest.mark.parametrize(
    "text",
    [
        "optimizer=gd optimizer.lr=null",
        "optimizer=adam optimizer.betas=[0.9]",
        "optimizer=adam optimizer.betas=[0.9,0.99,0.999]",
        "optimizer=adam optimizer.betas=null",
        "optimizer=adam optimizer.eps=null",
        "optimizer=adam optimizer.weight_decay=null",
        "optimizer=nadam optimizer.momentum_decay=null",
        "optimizer=momentum optimizer.momentum=null",
        "optimizer=adagrad optimizer.lr_decay=-0.1",
        "optimizer=rprop optimizer.etas=[0.5]",
        "optimizer=rprop optimizer.etas=[1.2,0.5]",
        "optimizer=rprop optimizer.step_sizes=[50.0,1e-6]",
        "optimizer=lbfgs optimizer.history_size=0",
        "optimizer=muon optimizer.ns_steps=0",
        "scheduler=step scheduler.step_size=0",
        "scheduler=step scheduler.gamma=null",
        "scheduler=multistep scheduler.milestones=null",
        "scheduler=cosine scheduler.T_max=0",
        "scheduler=cosine scheduler.eta_min=null",
        "scheduler=cosine_restarts scheduler.T_0=0",
        "scheduler=cosine_restarts scheduler.T_mult=0",
        "scheduler=polynomial scheduler.power=null",
        "scheduler=one_cycle scheduler.div_factor=0",
        "scheduler=one_cycle scheduler.pct_start=1.5",
        "scheduler=warmup_cosine scheduler.total_steps=0",
        "scheduler=plateau scheduler.patience=-1",
        "model=sphere model.dim=null",
    ],
)
def test_numbers_that_parts_divide_by_and_lists_with_a_length(composer: Composer, text: str) -> None:
    """One line with key, value and what is expected, alone and as one of several values of a sweep."""
    *choices, bad = text.split()
    key, _, value = bad.partition("=")
    with pytest.raises(ConfigError) as error:
        composer.compose([*choices, bad])
    assert_readable(error.value)
    assert re.match(rf"{re.escape(key)}=\S+: expected a", error.value.message)
    with pytest.raises(ConfigError, match=re.escape(key)):
        list(composer.grid([*choices, f"{key}={value},{value}"]))


@pytest.mark.parametrize(
    "text",
    [
        "scheduler=step scheduler.step_size=null",  # the length of the run
        "scheduler=step scheduler.step_size=-2",  # torch takes it
        "scheduler=multistep scheduler.milestones=[-1,3]",
        "scheduler=multistep scheduler.milestones=[]",
        "scheduler=warmup_constant scheduler.warmup_steps=null",
        "scheduler=constant scheduler.factor=0.0",
        "optimizer=lbfgs optimizer.max_eval=null",
    ],
)
def test_what_means_something_passes(composer: Composer, text: str) -> None:
    composer.compose(text.split())


def test_an_optimizer_of_ones_own_may_have_three_betas() -> None:
    check_range("optimizer.betas", [0.9, 0.99, 0.999], "mine.Three")
    with pytest.raises(ConfigError, match="two of them"):
        check_range("optimizer.betas", [0.9, 0.99, 0.999], "torch.optim.Adam")


def test_every_range_has_its_ends_tested() -> None:
    assert set(RANGES) == set(ENDS)


def test_every_range_is_of_a_key_that_some_choice_has() -> None:
    known = {"seed", "n_outputs", *(f"{group}.{key}" for group, name in CHOICES for key in members.read(group, name))}
    known |= {f"trainer.{f.name}" for kind in (SurfaceTrainer, NetworkTrainer) for f in fields(kind)}
    known |= {
        f"{group}.{name}.{key}" for group, name in CHOICES if group == "wrap" for key in members.read(group, name)
    }
    for group, name in CHOICES:  # keywords that its class has, to be added with +
        if members.read(group, name).get("_target_"):
            known |= {f"{group}.{key}" for key in inspect.signature(members.target(group, name)).parameters}
    assert set(RANGES) <= known | {"data.folds", "data.fold"}  # of no class: data of any kind are divided


WORDS = st.sampled_from(
    ["optimizer", "optimizer.lr", "model", "model.dim", "trainer.start", "seed", "x", "data", "hydra"]
)
SCRAPS = st.lists(
    st.sampled_from(
        ["adam", "1", "-1", "nan", "[", "]", "{", "}", ",", "$", "${", ":", "'", '"', "(", ")", "=", ".", "~"]
    )
    | st.text(max_size=3),
    max_size=4,
).map("".join)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=WORDS, sign=st.sampled_from(["", "+", "++", "~"]), value=SCRAPS)
@example(key="seed", sign="", value="${seed}")
@example(key="optimizer.lr", sign="", value="${oc.env:NO_SUCH_VARIABLE}")
def test_any_text_composes_or_is_refused_in_a_line(composer: Composer, key: str, sign: str, value: str) -> None:
    for text in (f"{sign}{key}={value}", value):
        try:
            made = composer.compose([text])
        except OptbenchError as error:
            assert_readable(error)
        else:
            assert isinstance(made, Composed)
            check_ranges(made.config)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(lr=st.floats(allow_nan=True, allow_infinity=True), steps=st.integers(-3, 10**12), dim=st.integers(-2, 10**7))
def test_a_number_passes_exactly_when_it_is_in_range(composer: Composer, lr: float, steps: int, dim: int) -> None:
    def passes(text: str) -> bool:
        try:
            return bool(composer.compose([text]))
        except ConfigError as error:
            assert_readable(error)
            return False

    assert passes(f"optimizer.lr={lr!r}") == (0 < lr < float("inf"))
    assert passes(f"trainer.steps={steps}") == (steps >= 1)
    assert passes(f"model.dim={dim}") == (1 <= dim <= 10**6)


# ---- a user's own folder


def test_an_overlay_adds_choices(overlay: Path) -> None:
    with Composer([overlay]) as composer:
        config = composer.compose(["optimizer=own_sgd", "model=own_bowl"]).config
        rates = [job.composed.config["optimizer"]["lr"] for job in composer.grid(["experiment=own_race"])]
        steps = composer.compose(["experiment=own_race"]).config["trainer"]["steps"]
    assert config["optimizer"] == {"_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.5}
    assert config["model"] == {"_target_": "my.module.Bowl", "steep": 2.0, "instance": None}
    assert config["choices"]["trainer"] == "surface"
    assert rates == [0.5, 0.25]
    assert steps == 7


def test_an_overlay_wins_over_the_packaged_choice(overlay: Path, composer: Composer) -> None:
    with Composer([overlay]) as mine:
        assert mine.compose(["optimizer=adam"]).config["optimizer"]["lr"] == 0.25
        assert mine.compose(["optimizer=sgd"]) == composer.compose(["optimizer=sgd"])
    assert composer.compose(["optimizer=adam"]).config["optimizer"]["lr"] != 0.25


def test_composers_are_closed_in_any_order(overlay: Path) -> None:
    """What Hydra keeps for all of a process (resolvers, schemas) is there until the last of them is closed."""
    from omegaconf import OmegaConf

    with contextlib.ExitStack() as last:
        outer, inner = Composer(), Composer([overlay])
        last.enter_context(outer)
        with inner:
            assert inner.loader is not outer.loader  # the inner one is the first to load Hydra
        known = OmegaConf.has_resolver("by_problem")
        assert outer.compose(["model=mlp", "optimizer=adam", "trainer.steps=null", "seed=77"]).config["seed"] == 77
    assert known


def test_a_sweep_sets_what_a_choice_leaves_open(overlay: Path, tmp_path: Path) -> None:
    """What must be said (null or ??? in the YAML), or is wrong beside its neighbours as it stands there, is judged once
    all values are set: the plan is that of single runs."""
    sgd = "_target_: torch.optim.SGD\n_partial_: true\nlr: "
    (overlay / "optimizer" / "open.yaml").write_text(f"{sgd}???\n")
    (overlay / "optimizer" / "odd.yaml").write_text(f"{sgd}0.1\nnesterov: true\nmomentum: 0.0\n")
    table = ("model=linear", "data=csv", "data.path=a.csv", "data.target=y")
    for fixed, values in (
        (table, {"optimizer.lr": (0.1, 0.2), "seed": (0, 1)}),
        (("optimizer=open",), {"optimizer.lr": (0.1, 0.2)}),
        (("optimizer=odd", "optimizer.momentum=0.9"), {"optimizer.lr": (0.1, 0.2)}),
    ):
        swept = [f"{key}={','.join(map(str, some))}" for key, some in values.items()]
        found = [one.run_id for one in plan_sweep([*fixed, *swept], [overlay], tmp_path)]
        points = itertools.product(*([f"{key}={value}" for value in some] for key, some in values.items()))
        assert found == [plan_run([*fixed, *point], [overlay], tmp_path).run_id for point in points]
    with pytest.raises(ConfigError, match=r"optimizer\.lr has no value"):
        plan_sweep(["optimizer=open", "seed=0,1"], [overlay], tmp_path)
    with pytest.raises(ConfigError, match=r"data\.target is not set"):
        plan_sweep([*table[:3], "seed=0,1"], [overlay], tmp_path)


def test_the_last_overlay_wins(overlay: Path, tmp_path: Path) -> None:
    (tmp_path / "more/optimizer").mkdir(parents=True)
    (tmp_path / "more/optimizer/adam.yaml").write_text("# a\n_target_: torch.optim.Adam\n_partial_: true\nlr: 0.125\n")
    for folders, lr in (([overlay, tmp_path / "more"], 0.125), ([tmp_path / "more", overlay], 0.25)):
        with Composer(folders) as composer:
            assert composer.compose(["optimizer=adam"]).config["optimizer"]["lr"] == lr
        described = {e.name: e.description for e in catalogue("optimizer", folders)}
        assert described["adam"] == ("a" if lr == 0.125 else "my Adam")


def test_the_catalogue_of_an_overlay(overlay: Path) -> None:
    entries = {(e.group, e.name): e for e in catalogue(None, [overlay])}
    own = {key for key, e in entries.items() if e.own}
    assert own == {
        ("optimizer", "own_sgd"),
        ("optimizer", "adam"),
        ("model", "own_bowl"),
        ("experiment", "own_race"),
    }
    assert entries["experiment", "own_race"].description == "my race"


def test_an_overlay_is_checked_like_the_package(overlay: Path) -> None:
    assert "did you mean: optimizer=own_sgd" in refused("optimizer=own_sgb", folders=[overlay]).hint
    assert "'model' has no key 'steap'" in refused("model=own_bowl", "model.steap=1", folders=[overlay]).message
    assert "expected a number" in refused("model=own_bowl", "model.steep=x", folders=[overlay]).message


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"), Composer([tmp_path / "gone"]):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="no such folder"), Composer([tmp_path / "file"]):
        pass
    with pytest.raises(ConfigError, match="no such folder"):
        catalogue(None, [tmp_path / "gone"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("_target_: [torch\nlr: : 1\n", "own_sgd.yaml, line 2: not YAML"),
        ("\tlr: 1\n", "own_sgd.yaml, line 1: not YAML"),
        ("- a\n- b\n", "optimizer=own_sgd has no _target_"),
        ("just a sentence\n", "optimizer=own_sgd has no _target_"),
        ("", "optimizer=own_sgd has no _target_"),
        ("lr: 1\nlr: 2\n", "own_sgd.yaml, line 2: not YAML"),
        ("defaults: [nowhere]\nlr: 1\n", "nowhere"),
        ("defaults: 3\nlr: 1\n", ""),
        ("_target_: torch.optim.SGD\n_partial_: true\nlr: ???\n", "optimizer.lr has no value"),
        ("_target_: torch.optim.SGD\n_partial_: true\nlr: ${nope}\n", "nope"),
        ("_target_: torch.optim.SGD\n_partial_: true\nlr: -1.0\n", "optimizer.lr=-1.0: expected a positive number"),
    ],
)
def test_a_broken_file_of_an_overlay_is_named(overlay: Path, text: str, message: str) -> None:
    (overlay / "optimizer/own_sgd.yaml").write_text(text)
    assert message in refused("optimizer=own_sgd", folders=[overlay]).message
    with Composer([overlay]) as composer:
        assert composer.compose(["optimizer=sgd"]).config["choices"]["optimizer"] == "sgd"


def test_a_file_that_is_not_text(overlay: Path) -> None:
    (overlay / "optimizer/own_sgd.yaml").write_bytes(b"\xff\xfe\x00lr: 1")
    refused("optimizer=own_sgd", folders=[overlay])


def test_a_foreign_trainer_key_of_an_overlay_is_named(overlay: Path) -> None:
    (overlay / "experiment/own_race.yaml").write_text("# @package _global_\n# e\ntrainer: {stpes: 3}\n")
    assert "stpes" in refused("experiment=own_race", folders=[overlay]).message


def test_a_foreign_keyword_of_an_overlay_is_named_when_it_is_built(overlay: Path) -> None:
    pytest.importorskip("torch")
    from optbench.config import build

    text = "# s\n_target_: torch.optim.SGD\n_partial_: true\nlr: 0.5\nlrr: 1\n"
    (overlay / "optimizer/own_sgd.yaml").write_text(text)
    with Composer([overlay]) as composer:
        config = composer.compose(["optimizer=own_sgd"]).config
    with pytest.raises(ConfigError, match=r"optimizer\.lrr=1: SGD has no keyword 'lrr'") as caught:
        build(config["optimizer"], "optimizer", [])
    assert_readable(caught.value)


@pytest.mark.parametrize(
    "changes", [{"betas": [0.9]}, {"betas": []}, {"_target_": "torch.optim.Nope"}, {"_target_": "no.x"}]
)
def test_whatever_a_constructor_raises_is_one_line(composer: Composer, changes: dict[str, Any]) -> None:
    import torch

    from optbench.config import build

    node = composer.compose(["optimizer=adam"]).config["optimizer"] | changes
    with pytest.raises(ConfigError) as caught:
        build(node, "optimizer", [torch.zeros(1, requires_grad=True)])
    assert_readable(caught.value)


# ---- sweeps


SWEEPS: list[tuple[list[str], dict[str, list[str]]]] = [
    ([], {}),
    (["optimizer=adam,sgd"], {"optimizer": ["adam", "sgd"]}),
    (["optimizer=choice(adam,sgd)"], {"optimizer": ["adam", "sgd"]}),
    (["seed=range(3)"], {"seed": ["0", "1", "2"]}),
    (["seed=range(2,7,2)"], {"seed": ["2", "4", "6"]}),
    (
        ["optimizer=glob([a*,b*],exclude=book*)"],
        {"optimizer": [n for n in members.names("optimizer") if n[0] in "ab" and not n.startswith("book")]},
    ),
    (["optimizer=adam,sgd", "seed=1,2"], {"optimizer": ["adam", "sgd"], "seed": ["1", "2"]}),
    (["model=booth", "optimizer.lr=1e-3,1e-2"], {"model": ["booth"], "optimizer.lr": ["1e-3", "1e-2"]}),
    (["optimizer.lr=1,2"], {"optimizer.lr": ["1.0", "2.0"]}),
    (["optimizer.betas=[0.9,0.99],[0.5,0.5]"], {"optimizer.betas": ["[0.9,0.99]", "[0.5,0.5]"]}),
    (["trainer.start=usual,random,[1,1]"], {"trainer.start": ["usual", "random", "[1,1]"]}),
    (["model=hw3_cnn,logistic", "loss=class_number,focal"], {"model": ["hw3_cnn", "logistic"],
                                                              "loss": ["class_number", "focal"]}),
    (["optimizer.lr=0.5,${by_problem:0.25,1}"], {"optimizer.lr": ["0.5", "0.25"]}),
]  # fmt: skip


@pytest.mark.parametrize(("overrides", "values"), SWEEPS, ids=[" ".join(o) for o, _ in SWEEPS])
def test_a_sweep_is_the_product_of_its_values(
    composer: Composer, overrides: list[str], values: dict[str, list[str]]
) -> None:
    """In order, each run exactly what composing it by itself gives."""
    rows = itertools.product(*values.values())
    alone = [composer.compose([f"{k}={v}" for k, v in zip(values, row, strict=True)]) for row in rows]
    grid = composer.grid(overrides)
    assert [job.composed for job in grid] == alone
    assert grid.count == len(alone)


def test_an_experiment_declares_its_sweep(composer: Composer) -> None:
    declared = members.read("experiment", "book_optimizers")["hydra"]["sweeper"]["params"]
    count = 10
    for key in ("optimizer", "optimizer.lr"):
        count *= len(declared[key].split(","))
    jobs = list(composer.grid(["experiment=book_optimizers"]))
    assert len({run_id(job.composed.config) for job in jobs}) == len(jobs) == count
    assert {job.composed.config["choices"]["experiment"] for job in jobs} == {"book_optimizers"}


def test_a_declared_axis_is_replaced_by_the_command_line(composer: Composer) -> None:
    jobs = [job.composed.config for job in composer.grid(["experiment=book_optimizers", "optimizer=adam", "seed=3,4"])]
    rates = members.read("experiment", "book_optimizers")["hydra"]["sweeper"]["params"]["optimizer.lr"].split(",")
    assert {c["choices"]["optimizer"] for c in jobs} == {"adam"}
    assert sorted((c["optimizer"]["lr"], c["seed"]) for c in jobs) == sorted(
        (float(r), s) for r in rates for s in (3, 4)
    )


def test_intervals_are_drawn_within_and_always_the_same(composer: Composer) -> None:
    overrides = ["optimizer.lr=tag(log,interval(1e-4,1e-1))", "optimizer=adam,sgd"]
    drawn = [j.composed.config for j in composer.grid(overrides, samples=8)]
    rates = {
        name: [c["optimizer"]["lr"] for c in drawn if c["choices"]["optimizer"] == name] for name in ("adam", "sgd")
    }
    assert len(set(rates["adam"])) == 8
    assert rates["adam"] == rates["sgd"], "the optimizers race at the same points"
    assert all(1e-4 <= r <= 1e-1 for r in rates["adam"])
    assert [j.composed.config for j in composer.grid(overrides, samples=8)] == drawn
    assert [j.composed.config for j in composer.grid(overrides, samples=8, sample_seed=1)] != drawn


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.lr=interval(1,0)", "expected interval(low, high)"),
        ("optimizer.lr=tag(log,interval(0,1))", "both positive for log"),
        ("optimizer.lr=interval(0,inf)", "of finite width"),
        ("optimizer.lr=interval(-1e308,1e308)", "of finite width"),
        ("optimizer.lr=tag(log,interval(1,inf))", "of finite width"),
        ("optimizer.lr=???,0.1", "optimizer.lr has no value"),
        ("trainer.start=[???,1],[0,1]", "trainer.start has no value"),
        ("trainer.threads=1,1025", "trainer.threads=1025: expected a whole number from 1 to 1024"),
        ("optimizer.lr=interval(-2,-1)", "expected a positive number"),
        ("optimizer=glob(zzz*)", "no value to sweep over"),
        ("seed=range(0)", "no value to sweep over"),
        ("seed=range(1,5,0)", "zero"),
        ("seed=choice()", "cannot read the override"),
        ("seeds=0", "expected how many seeds"),
        ("seeds=-1", "expected how many seeds"),
        ("seeds=2.5", "expected how many seeds"),
        ("seeds=many", "expected how many seeds"),
        ("optimizer=adam,sdg", "'sdg' is not a choice"),
        ("optimizer.lr=1,fast", "optimizer.lr=fast: expected a positive number"),
        ("optimizer.lrr=1,2", "no key 'lrr'"),
        ("experiment=surface_race,nope", "'nope' is not a choice"),
    ],
)
def test_a_wrong_sweep_is_named_before_anything_runs(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan_sweep([override])
    assert_readable(caught.value)
    assert message in caught.value.message


def test_seeds_stands_for_a_range(tmp_path: Path) -> None:
    planned = plan_sweep(["seeds=4"], out=tmp_path)
    assert [p.config["seed"] for p in planned] == [0, 1, 2, 3]
    assert [p.swept for p in planned] == [{"seed": s} for s in range(4)]


@pytest.mark.parametrize(
    "overrides",
    [["seeds=2", "seed=3"], ["+seed=3", "seeds=2"], ["seeds=2", "seeds=3"], ["seeds=2", "seed=1,2"],
     ["optimizer.lr=0.1,0.2", "optimizer.lr=0.3"], ["optimizer=sgd,adam", "optimizer=adam"], ["seed=1,2", "seed=3,4"],
     ["optimizer.lr=interval(0,1)", "optimizer.lr=0.3"]],
    ids=" ".join,
)  # fmt: skip
def test_several_values_are_not_dropped_for_later_ones(overrides: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        plan_sweep(overrides)
    assert_readable(caught.value)
    assert all(o in caught.value.message for o in overrides)


def test_of_two_single_values_the_later_one_counts_and_seeds_replaces_a_declared_axis(tmp_path: Path) -> None:
    (planned,) = plan_sweep(["seed=1", "seed=2"], out=tmp_path)
    assert planned.config["seed"] == 2
    assert [p.config["seed"] for p in plan_sweep(["seed=1", "seed=2,3"], out=tmp_path)] == [2, 3]
    planned = plan_sweep(["+experiment=book_optimizers", "seeds=2"], out=tmp_path)
    assert {p.config["seed"] for p in planned} == {0, 1}


@pytest.mark.parametrize("given", [["optimizer=adam"], None, 3], ids=repr)
def test_what_is_no_text_is_no_override(given: Any) -> None:
    for plan in (plan_run, plan_sweep):
        with pytest.raises(UserError, match=r"is not an override: expected texts.*run\(\*overrides\)"):
            plan([given])


def test_more_points_than_a_sweep_may_have_are_not_drawn() -> None:
    with pytest.raises(ConfigError, match="1000000000000 runs: a sweep has at most"):
        plan_sweep(["optimizer.lr=interval(0,1)"], samples=10**12)


def test_the_same_run_is_planned_once(tmp_path: Path) -> None:
    planned = plan_sweep(["optimizer.lr=0.1,1e-1,0.2"], out=tmp_path)
    assert [p.config["optimizer"]["lr"] for p in planned] == [0.1, 0.2]


def test_the_same_sweep_has_the_same_folder(tmp_path: Path) -> None:
    a = plan_sweep(["seeds=2", "optimizer=adam,sgd"], out=tmp_path)
    b = plan_sweep(["optimizer=adam,sgd", "seeds=2"], out=tmp_path)
    c = plan_sweep(["optimizer=adam,sgd", "seeds=2"], out=tmp_path, name="mine")
    assert {p.folder for p in a} == {p.folder for p in b}
    assert {p.folder.parent for p in c} == {tmp_path / "mine"}
    assert {p.run_id for p in a} == {p.run_id for p in c}


@pytest.mark.parametrize("name", ["../up", "a/b", "", "-x", ".", "..", "a" * 101, "名" * 34], ids=lambda n: n[:9])
def test_a_sweep_stays_in_its_folder(tmp_path: Path, name: str) -> None:
    if name:
        with pytest.raises(UserError, match="--name"):
            plan_sweep([], out=tmp_path, name=name)
    else:
        assert plan_sweep([], out=tmp_path, name=name)[0].folder.parent.parent == tmp_path
        assert plan_sweep([], out=tmp_path, name="名" * 33)[0].folder.parent.name == "名" * 33


# ---- identity


def test_identity_depends_on_what_changes_the_numbers(tmp_path: Path) -> None:
    def identity(*overrides: str) -> str:
        return plan_run(overrides, out=tmp_path).run_id

    same = identity()
    assert same == identity("seed=0") == identity("trainer.device=cpu") == identity("trainer.threads=3")
    assert same == identity("optimizer=adam", "model=rosenbrock") == identity("hydra.run.dir=elsewhere")
    others = [
        "seed=1",
        "optimizer=amsgrad",
        "optimizer.lr=0.02",
        "trainer.steps=999",
        "trainer.start=random",
        "model=booth",
    ]
    assert len({same, *(identity(o) for o in others)}) == 1 + len(others)
    assert len(same) == 12
    assert int(same, 16) >= 0


def test_identity_is_the_same_in_every_process() -> None:
    """Worked out from its rule by hand: SHA-256 over the sorted values."""
    import hashlib
    import json

    from optbench.records import NUMERICS

    config = {"seed": 3, "trainer": {"steps": 5, "device": "cpu"}, "choices": {"model": "x"}, "a": {"b": [1, 2.5]}}
    text = json.dumps([NUMERICS, None, {"a.b": [1, 2.5], "seed": 3, "trainer.steps": 5}])
    assert run_id(config) == hashlib.sha256(text.encode()).hexdigest()[:12]


# ---- a record is data


HOSTILE = [
    {"_target_": "os.system", "command": "touch pwned"},
    {"_target_": "pandas.read_pickle", "filepath_or_buffer": "evil.pkl"},
    {"_target_": "numpy.load", "file": "evil.npy", "allow_pickle": True},
    {"_target_": "builtins.eval"},
    {"_target_": "optbench.surfaces.rosenbrock.Rosenbrock.__init__.__globals__"},
    {"_target_": "torch.load"},
    {"_target_": ["os.system"]},
    {"_target_": {"_target_": "os.system"}},
    {"_target_": 3},
    {"_target_": "optbench.surfaces.rosenbrock.Rosenbrock", "_args_": ["x"]},
    {"_target_": "optbench.surfaces.rosenbrock.Rosenbrock", "_recursive_": False},
    {"_target_": "optbench.surfaces.rosenbrock.Rosenbrock", "_convert_": "none"},
    {"_target_": "optbench.surfaces.rosenbrock.Rosenbrock", "dim": {"_target_": "os.getpid"}},
    {"_target_": "optbench.surfaces.rosenbrock.Rosenbrock", "dim": [{"a": [{"_target_": "os.system"}]}]},
    {"_target_": "optbench.surfaces.rosenbrock.Rosenbrock", "dim": "${oc.env:HOME}"},
    {"_target_": "optbench.surfaces.rosenbrock.Rosenbrock", "dim": ["x${oc.decode:1}"]},
]


@pytest.mark.parametrize("node", HOSTILE, ids=str)
def test_a_hostile_node_is_refused(node: dict[str, Any]) -> None:
    with pytest.raises(RecordError) as caught:
        check_targets(node, TRUSTED, "here: model.")
    assert_readable(caught.value)
    assert caught.value.message.startswith("here: model.")


def test_a_users_own_target_is_trusted_with_their_folder_only(overlay: Path) -> None:
    node = {"_target_": "my.module.Bowl", "steep": 2.0}
    check_targets(node, trusted_targets([overlay]))
    with pytest.raises(RecordError) as caught:
        check_targets(node, TRUSTED)
    assert "--config-dir" in caught.value.hint


@pytest.mark.parametrize("part", ["model", "data", "loss"])
def test_a_hostile_record_is_not_built(tmp_path: Path, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an identity that fits the changed configuration: only the rule about targets stands in its way."""
    from optbench.experiment.rebuild import rebuild
    from optbench.experiment.surface import recorded_field
    from optbench.records import read_run, write_json, write_yaml

    monkeypatch.setattr(os, "system", lambda command: pytest.fail("the record was executed"))
    planned = plan_run(["model=hw3_cnn"], out=tmp_path)
    config = copy.deepcopy(dict(planned.config))
    config[part] = {"_target_": "os.system", "command": "echo"} | ({"n_classes": 10} if part == "data" else {})
    row = {"run_id": run_id(config), "status": "completed", "reason": "", "seed": 0, "provenance": {}}
    row |= {k: config["choices"][k] for k in ("model", "data", "optimizer", "scheduler")}
    write_yaml(tmp_path / "r/config.yaml", config)
    write_json(tmp_path / "r/run.json", row | {"loss_name": "cross_entropy"})
    (tmp_path / "r/metrics.csv").write_text("step\n0\n")
    with pytest.raises(RecordError, match=r"os\.system is named by no trusted config"):
        rebuild(tmp_path / "r")
    if part != "data":
        with pytest.raises(RecordError, match=r"os\.system is named by no trusted config"):
            recorded_field(read_run(tmp_path / "r"))


# ---- completion


def test_completion_finds_choices_and_keys() -> None:
    assert set(complete("optimizer=r")) == {f"optimizer={n}" for n in members.names("optimizer") if n.startswith("r")}
    assert complete("optimizer.l") == ["optimizer.lr="]
    assert "optimizer=" in complete("opt")
    assert not [f for f in complete("model=") if "=_" in f]


def test_completion_knows_the_users_folder(overlay: Path) -> None:
    assert complete("optimizer=own", [overlay]) == ["optimizer=own_sgd"]


@pytest.mark.parametrize(
    ("words", "size"),
    [
        ("optimizer=gd", "full"),
        ("optimizer=sgd", 32),
        ("optimizer=sgd trainer.batch_size=1", 1),
        ("optimizer=gd trainer.batch_size=full", "full"),
        ("optimizer=gd trainer.batch_size=32", None),
        ("optimizer=gd ++trainer.batch_size=16", None),
        ("optimizer=rprop", "full"),
        ("optimizer=rprop trainer.batch_size=32", None),
    ],
)
def test_descent_on_the_whole_data_set_is_given_it(composer: Composer, words: str, size: Any) -> None:
    asked = ["model=mlp", *words.split()]
    if size is not None:
        assert composer.compose(asked).config["trainer"]["batch_size"] == size
        return
    with pytest.raises(ConfigError, match=f"with {words.split()[0]} every batch is the whole data set") as caught:
        composer.compose(asked)
    assert "trainer.batch_size=full" in caught.value.hint


def test_a_batch_size_that_is_swept_is_held_to_its_optimizer_too(composer: Composer) -> None:
    grid = composer.grid(["model=mlp", "optimizer=sgd,gd", "trainer.batch_size=full,8"])
    with pytest.raises(ConfigError, match=r"trainer\.batch_size=8: with optimizer=gd"):
        list(grid)
