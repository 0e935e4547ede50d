"""Runs on surfaces as scalar programs: the same run by itself, in a sweep and by the loop; without torch when known."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import members
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from surface_tools import make

import optbench
from optbench.critical.numeric.calculus import Field
from optbench.descend.plan import flat_numbers
from optbench.descend.recipe import numbers_of, recipe_of
from optbench.descend.rule import UnsupportedError, find
from optbench.descend.rules import rule_for
from optbench.descend.scalar import Jets, plain_program
from optbench.descend.trace import trace_jet
from optbench.descend.uncompiled import uncompiled
from optbench.errors import ConfigError
from optbench.experiment import Stop, execute
from optbench.experiment.plan import plan_run
from optbench.experiment.traced import traced
from optbench.problem import stream
from optbench.problem.streams import stream_seed, uniform, uniforms, uniforms_along
from optbench.records import Run
from optbench.settings import check_range

HEAVY = ("torch", "numba", "llvmlite", "hydra", "omegaconf", "pandas", "pyarrow", "sympy", "matplotlib", "torchvision",
         "sklearn", "scipy", "ray")  # fmt: skip
SURFACES = [
    name for name in members.names("model") if members.read("model", name)["_target_"].startswith("optbench.surf")
]
LOGITS = ("softmax_logits", "linear_net", "linear_net_l2", "tanh_2neuron")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTBENCH_CACHE", str(tmp_path / "cache"))


def columns(run: Run) -> dict[str, list[Any]]:
    """The curve without its clock."""
    return {name: values.tolist() for name, values in run.curve().items() if name not in ("seconds", "evals")}


def by_loop(words: list[str], out: Path) -> Run:
    """The same run by the training loop, as `sweep --engine loop` has it run."""
    return execute(replace(plan_run(words, (), out), engine="loop"), Stop())


def alone_and_in_company(tmp_path: Path, *overrides: str) -> None:
    """A run by itself is the row of a batch that the compiled program computes, to the bit."""
    alone = optbench.run(*overrides, out=tmp_path / "alone")
    (row,) = optbench.sweep(*overrides, out=tmp_path / "rows", engine="fused", least=1, curves=1)
    assert (alone.summary["engine"], row.summary["engine"]) == ("scalar", "fused")
    assert columns(alone) == columns(row)
    for name in ("run_id", "status", "reason", "steps", "final_loss", "best_loss", "best_step", "final_grad_norm",
                 "stopped_at", "critical_type"):  # fmt: skip
        assert alone.summary[name] == row.summary[name], name


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SURFACES if name not in LOGITS])
def test_a_run_is_a_row_to_the_bit_on_each_surface(name: str, tmp_path: Path) -> None:
    alone_and_in_company(tmp_path, f"model={name}", "optimizer=nadam", "scheduler=warmup_cosine", "trainer.steps=150",
                         "trainer.start=random", "seed=3")  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in members.names("optimizer") if n not in ("lbfgs",)])
def test_a_run_is_a_row_to_the_bit_by_each_optimizer(name: str, tmp_path: Path) -> None:
    alone_and_in_company(tmp_path, "model=rastrigin", f"optimizer={name}", "scheduler=cosine", "trainer.steps=150",
                         "trainer.plateau_steps=40", "trainer.grad_tol=1e-6")  # fmt: skip


@pytest.mark.parametrize("name", ["adam", "lion", "momentum"])
def test_a_run_is_what_the_loop_computes(name: str, tmp_path: Path) -> None:
    words = [
        "model=six_hump_camel",
        f"optimizer={name}",
        "scheduler=warmup_cosine",
        "trainer.steps=60",
        "trainer.start=random",
    ]
    run = optbench.run(*words, out=tmp_path / "program")
    loop = by_loop(words, tmp_path / "loop")
    assert (run.summary["engine"], loop.summary["engine"]) == ("scalar", "loop")
    mine, its = columns(run), columns(loop)
    assert mine.keys() == its.keys()
    for column, values in mine.items():
        np.testing.assert_allclose(values, its[column], rtol=1e-9, atol=1e-12, err_msg=column)
    assert run.summary["status"] == loop.summary["status"]
    assert run.summary["stopped_at"] == loop.summary["stopped_at"]


@pytest.mark.parametrize("loss", ["cross_entropy", "focal", "label_smoothing", "mse_softmax"])
def test_a_run_under_a_classification_loss_is_what_the_loop_computes(loss: str, tmp_path: Path) -> None:
    """Traced anew, whatever program an earlier run has kept: the book's figure 3.36 from an empty cache."""
    words = ["model=softmax_logits", f"loss={loss}", "optimizer=book_gd", "optimizer.lr=0.1", "trainer.steps=20"]
    run, loop = optbench.run(*words, out=tmp_path / "program"), by_loop(words, tmp_path / "loop")
    assert (run.summary["engine"], loop.summary["engine"]) == ("scalar", "loop")
    for column in ("x0", "x1", "loss"):
        np.testing.assert_allclose(run.curve()[column], loop.curve()[column], rtol=1e-9, atol=1e-12)


def test_gradient_descent_on_a_bowl_is_its_closed_form(tmp_path: Path) -> None:
    run = optbench.run("model=sphere", "optimizer=gd", "optimizer.lr=0.25", "trainer.steps=30", out=tmp_path)
    start = run.curve().x0[0]
    assert run.curve().x0.tolist() == [start * 0.5**k for k in range(31)]  # x - 2 x / 4, exact in binary


def test_numbers_that_python_has_none_of_end_a_run_as_the_loop_ends_it(tmp_path: Path) -> None:
    words = ["model=goldstein_price", "optimizer=gd", "optimizer.lr=1e30", "trainer.divergence_factor=1e300"]
    run = optbench.run(*words, out=tmp_path / "program")
    loop = by_loop(words, tmp_path / "loop")
    assert run.status == loop.status == "diverged"
    assert (run.reason, run.summary["steps"]) == (loop.reason, loop.summary["steps"])


@pytest.mark.parametrize(
    "words",
    [
        ["optimizer=lbfgs", "trainer.steps=3"],
        ["scheduler=plateau", "trainer.steps=3"],
        ["trainer.grad_noise=0.1", "trainer.steps=3"],
        ["trainer.seconds=10", "trainer.steps=3"],
        ["model=sphere", "model.dim=40", "trainer.steps=3"],
    ],
    ids=" ".join,
)
def test_what_is_no_program_goes_by_the_loop(words: list[str], tmp_path: Path) -> None:
    assert optbench.run(*words, out=tmp_path).summary["engine"] == "loop"


def test_code_of_ones_own_goes_by_the_loop(tmp_path: Path) -> None:
    (tmp_path / "mine" / "optimizer").mkdir(parents=True)
    (tmp_path / "mine" / "own_rate.py").write_text("import torch\nclass Own(torch.optim.SGD):\n    pass\n")
    (tmp_path / "mine" / "optimizer" / "own.yaml").write_text("_target_: own_rate.Own\n_partial_: true\nlr: 0.001\n")
    run = optbench.run("optimizer=own", "trainer.steps=3", config_dir=tmp_path / "mine", out=tmp_path / "runs")
    assert run.summary["engine"] == "loop"


def test_other_numbers_share_a_program_and_other_parts_do_not(tmp_path: Path) -> None:
    def kept() -> int:
        return len(list((tmp_path / "cache" / "programs").glob("*.json")))

    for words, count in (
        (["optimizer.lr=0.5"], 1),
        (["optimizer.lr=0.25", "trainer.steps=7", "scheduler=cosine", "seed=4", "trainer.start=random"], 1),
        (["optimizer.weight_decay=0.1"], 2),
        (["model=himmelblau"], 3),
        (["model=sphere", "model.dim=3"], 4),
    ):
        assert traced(plan_run(words, (), tmp_path).config) is not None
        assert kept() == count, words


def test_a_known_run_loads_nothing_heavy(tmp_path: Path) -> None:
    words = ["model=himmelblau", "optimizer=rmsprop", "trainer.start=random", "trainer.steps=50"]
    first = optbench.run(*words, out=tmp_path / "runs")
    before = columns(first)
    code = (
        "import sys, json\n"
        "from optbench.cli import main\n"
        f"sys.argv = ['optbench', 'run', *{words!r}, '--force', '--quiet', '--out', {str(tmp_path / 'runs')!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"print(json.dumps(sorted(set({HEAVY!r}) & set(sys.modules))))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(done.stdout.splitlines()[-1]) == []
    again = optbench.run(*words, out=tmp_path / "runs")
    assert again.summary["seconds"] != first.summary["seconds"]
    assert columns(again) == before
    assert again.summary["stopped_at"] == first.summary["stopped_at"]
    assert again.summary["lambda_min"] == first.summary["lambda_min"]


def held(name: str) -> None:
    """The traced derivatives of a surface are autograd's, and so is what is said of the places."""
    surface = make(name)
    program, results = trace_jet(surface, list(surface.start))
    jets = Jets(plain_program(program, [f"x[{i}]" for i in range(surface.dim)], results), surface.dim)
    low, high = np.array(surface.domain).T
    x = low + (high - low) * np.random.default_rng(5).uniform(size=(20, surface.dim))
    mine, its = Field(jets, surface.domain).jet(x), Field(surface, surface.domain).jet(x)
    for part in ("value", "grad", "hess"):
        found, wanted = getattr(mine, part), getattr(its, part)
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-11 * np.abs(wanted).max(), err_msg=part)


@pytest.mark.parametrize("name", ["rastrigin", "ackley", "monkey_saddle"])
def test_traced_derivatives_are_autograds(name: str) -> None:
    held(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in SURFACES if n not in LOGITS])
def test_traced_derivatives_are_autograds_on_each_surface(name: str) -> None:
    held(name)


@given(seed=st.integers(0, 2**63 - 1), count=st.integers(1, 400))
def test_starts_are_torchs_draws(seed: int, count: int) -> None:
    drawn = torch.rand(count, generator=stream(seed, "start"), dtype=torch.float64)
    assert uniform(stream_seed(seed, "start"), count).tolist() == drawn.tolist()


@given(seeds=st.lists(st.integers(0, 2**63 - 1), max_size=20), count=st.integers(1, 120))
def test_many_starts_are_those_of_each(seeds: list[int], count: int) -> None:
    found = uniforms(np.array(seeds, dtype=np.uint64), "start", count)
    assert found.tolist() == [uniform(stream_seed(seed, "start"), count).tolist() for seed in seeds]


@given(seed=st.integers(0, 2**63 - 1), positions=st.integers(0, 20), count=st.integers(1, 113))
def test_streams_along_a_run_are_those_of_each(seed: int, positions: int, count: int) -> None:
    found = uniforms_along(seed, "noise", positions, count)
    assert found.tolist() == [uniform(stream_seed(seed, "noise", k), count).tolist() for k in range(positions)]


def test_a_start_that_does_not_fit_is_named_without_torch(tmp_path: Path) -> None:
    optbench.run("model=himmelblau", "trainer.steps=2", out=tmp_path)
    for start, words in (("[1,2,3]", "has 3 coordinates; Himmelblau has 2"), ("[99,0]", "outside the domain")):
        with pytest.raises(optbench.errors.UserError, match=words):
            optbench.run("model=himmelblau", "trainer.steps=2", f"trainer.start={start}", out=tmp_path)


@pytest.mark.parametrize("name", members.names("optimizer"))
def test_other_numbers_come_from_the_recipe_as_from_the_rule(name: str) -> None:
    node = {"_target_": members.read("optimizer", name)["_target_"], **members.keywords("optimizer", name)}
    try:
        recipe = recipe_of(node)
    except UnsupportedError:
        assert name == "lbfgs"
        return
    assert recipe is not None
    rng = np.random.default_rng(8)

    def other(value: Any) -> Any:
        if isinstance(value, list):
            return [other(v) for v in value]
        return value * rng.uniform(0.9, 1.0) if isinstance(value, float) else value

    changed = {key: other(value) for key, value in node.items()}
    assert numbers_of(recipe, changed) == flat_numbers(rule_for(changed))


NARROW = [
    (name, key, value)
    for name in members.names("optimizer")
    for key, usual in members.keywords("optimizer", name).items()
    for value in ([0.0, 1e-300, 0.5, 0.999999, 1.0, 7.0, 1e300] if isinstance(usual, float) else [])
    if (value != 0.0) == (usual != 0.0)  # or it is another program
]


def test_what_the_ranges_take_an_optimizer_takes() -> None:
    """So that a number which was never tried needs no torch to be known as one that the optimizer takes."""
    tried = 0
    for name, key, value in NARROW:
        target = members.read("optimizer", name)["_target_"]
        try:
            check_range(f"optimizer.{key}", value, target)
        except ConfigError:
            continue
        with uncompiled():
            find(target)(
                [torch.zeros(2, dtype=torch.float64, requires_grad=True)],
                **{**members.keywords("optimizer", name), key: value},
            )
        tried += 1
    assert tried > 60
