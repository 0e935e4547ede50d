"""The portable engine: functions within their bounds, and one run's bits in Python, numba, NumPy and JavaScript."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import members
import mpmath
import numpy as np
import pytest
import torch
from play_tools import ENGINE, javascript

from optbench import run
from optbench.catalogue import surface_names
from optbench.config import build
from optbench.descend import Batch, UnsupportedError, descend
from optbench.descend.array_rows import has_arrays, run_arrays
from optbench.descend.coefficients import BY_NAME
from optbench.descend.fused import fuse, run_fused
from optbench.descend.javascript import library
from optbench.descend.kernel import load
from optbench.descend.known import Known, plain_step, schedule_key
from optbench.descend.plan import make_plan
from optbench.descend.portable import array_functions, portable_step, scalar_functions
from optbench.descend.portable_coefficients import named
from optbench.descend.portable_math import FARTHEST, FUNCTIONS
from optbench.descend.portable_noise import MOST_NOISY, normal_draws
from optbench.descend.recipe import recipe_of
from optbench.descend.scalar import ScalarStep, Walk
from optbench.descend.scalar_rows import run_scalar
from optbench.descend.store import Store
from optbench.descend.trace import trace_step
from optbench.errors import IncompatibleError
from optbench.experiment import plan_run
from optbench.experiment.programs import Later, Shelved
from optbench.experiment.traced import Traced, _numbers
from optbench.play.program import bits, emitted, keywords
from optbench.problem import stream, surface_objective
from optbench.settings import SurfaceTrainer

BOUNDS = {"exp": 1, "log": 1, "sin": 1, "cos": 1, "atan": 1, "pow": 1, "expm1": 3, "log1p": 3, "tan": 3, "tanh": 3}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTBENCH_CACHE", str(tmp_path / "cache"))


def arguments(name: str, count: int) -> tuple[np.ndarray[Any, Any], ...]:
    """Where functions are looked at: their whole range, near 0 and near 1, multiples of pi/2."""
    random = np.random.default_rng(0)
    near = random.normal(size=count) * 10.0 ** random.uniform(-18, 1, count)
    wide = {
        "exp": random.uniform(-745, 709.7, count),
        "expm1": random.uniform(-50, 709, count),
        "log": 10.0 ** random.uniform(-320, 308, count),
        "log1p": 10.0 ** random.uniform(-20, 300, count),
        "tanh": random.normal(size=count) * 8,
        "atan": 10.0 ** random.uniform(-20, 20, count),
    }
    if name == "pow":
        base = np.r_[10.0 ** random.uniform(-300, 300, count), 1 - 10.0 ** random.uniform(-6, -1, count)]
        return base, np.r_[random.uniform(-1, 1, count), np.floor(random.uniform(1, 3000, count))]
    turns = np.r_[random.uniform(-FARTHEST, FARTHEST, count), np.arange(1, count) * math.pi / 2]
    found = np.r_[wide.get(name, turns), near]
    return (np.r_[np.abs(found), 1 + near[:100] * 1e-6] if name == "log" else np.maximum(found, -0.999),) if name in (
        "log", "log1p") else (found,)  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_within_their_bounds_and_one_in_floats_and_arrays(name: str) -> None:
    """mpmath is the judge."""
    given = arguments(name, 300)
    function = scalar_functions()[f"_portable_{name}"]
    found = np.array([function(*map(float, row)) for row in zip(*given, strict=True)])
    with np.errstate(all="ignore"):
        assert array_functions()[f"_portable_{name}"](*given).tobytes() == found.tobytes()
    exact = mpmath.power if name == "pow" else getattr(mpmath, name)
    with mpmath.workprec(160):
        for value, row in zip(found, zip(*given, strict=True), strict=True):
            wanted = exact(*(mpmath.mpf(float(v)) for v in row))
            apart = abs(mpmath.mpf(float(value)) - wanted) / mpmath.mpf(math.ulp(float(wanted)))
            assert apart <= BOUNDS[name], (name, row, float(value))


def test_functions_at_the_ends_of_their_ranges() -> None:
    f = {name: scalar_functions()[f"_portable_{name}"] for name in FUNCTIONS}
    inf, nan = math.inf, math.nan
    assert [f["exp"](v) for v in (inf, -inf, 0.0, 1000.0, -1000.0)] == [inf, 0.0, 1.0, inf, 0.0]
    assert [f["log"](v) for v in (inf, 0.0, 1.0)] == [inf, -inf, 0.0]
    assert [f["log1p"](v) for v in (inf, -1.0, 0.0)] == [inf, -inf, 0.0]
    assert [f["tanh"](v) for v in (inf, -inf, 0.0)] == [1.0, -1.0, 0.0]
    assert [f["pow"](a, 2.0) for a in (-3.0, inf, -inf, 0.0)] == [9.0, inf, inf, 0.0]
    assert [f["pow"](a, -3.0) for a in (-2.0, inf, 0.0)] == [-0.125, 0.0, inf]
    assert f["pow"](nan, 0.0) == f["pow"](1.0, nan) == f["pow"](-0.0, 0.0) == 1.0
    outside = [f["log"](-1.0), f["log1p"](-2.0), f["pow"](-2.0, 0.5), f["sin"](inf), f["cos"](2e6), f["tan"](-2e6)]
    assert all(math.isnan(v) for v in [*outside, *(f[name](nan) for name in FUNCTIONS if name != "pow")])


@pytest.mark.parametrize("name", BY_NAME)
def test_coefficients_are_those_of_numpy_to_rounding(name: str) -> None:
    h = {"beta1": 0.9, "beta2": np.array([[0.99], [0.999]]), "momentum": 0.9, "dampening": 0.1, "lr_decay": 0.01,
         "momentum_decay": 0.004}  # fmt: skip
    t = np.arange(200.0)
    found, wanted = named(f"portable_{name}")(t, h), BY_NAME[name](t, h)
    assert list(found) == list(wanted)
    for key in wanted:
        np.testing.assert_allclose(found[key], wanted[key], rtol=1e-10)  # 1 - beta^t loses digits where t is small


# one run, everywhere


def traced_now(model: str, optimizer: str, steps: int) -> tuple[Traced, Shelved] | None:
    """A run's portable program, traced without being held to the real optimizer, which other tests do; None where the
    surface has not two coordinates or the optimizer has no rule."""
    config = plan_run([f"model={model}", f"optimizer={optimizer}", f"trainer.steps={steps}"]).config
    surface = build(config["model"], "model")
    if len(surface.start) != 2:
        return None
    trainer = SurfaceTrainer(steps=steps, grad_tol=0.0)
    objective = surface_objective(surface, build(config["loss"], "loss"))
    batch = Batch(objective=objective, starts=np.array([surface.start]), optimizer=config["optimizer"],
                  scheduler=config["scheduler"], trainer=trainer)  # fmt: skip
    try:
        plan, recipe = make_plan(batch), recipe_of(config["optimizer"])
    except UnsupportedError:
        return None
    step = plain_step(trace_step(objective, list(surface.start), plan), plan, 2)
    program = portable_step({"domain": surface.domain, "hyper": recipe, **step})
    found = Shelved(program, plan.floor, plan.tables[1].values[0, 0].tolist())
    scalar = ScalarStep(program["step"], 2, 2 * len(program["memories"]))
    return Traced(config, trainer, model, surface.start, scalar, _numbers(config, steps, found)), found


def walked(this: Traced) -> np.ndarray[Any, Any]:
    """(iterates, 3): coordinates and loss."""
    rows = Walk(this.step, this.numbers, this.trainer, this.start).rows()
    return np.array([[row["x0"], row["x1"], row["loss"]] for row in rows])


_COMPARE = """
for (const job of JOBS) {
  const walk = new Walk(job.spec, job.programs, job.keywords, doubles(job.start), job.spec.steps), seen = [];
  do seen.push(walk.x[0], walk.x[1], walk.loss); while (walk.step());
  const place = firstDifference(Float64Array.from(seen), doubles(job.path));
  print(`${job.label} ${place}`);
}
"""


def differences(pairs: list[tuple[str, str]], steps: int, folder: Path) -> dict[str, int]:
    """Of each pair of surface and optimizer, the first number in which JavaScript differs from Python; -1 for none."""
    jobs, programs = [], []
    for model, optimizer in pairs:
        if (found := traced_now(model, optimizer, steps)) is None:
            continue
        this, kept = found
        step = emitted(kept, this.trainer)
        programs += step.programs.values()
        facts = {"label": f"{model}/{optimizer}", "spec": step.spec, "path": bits(walked(this)),
                 "keywords": keywords(this.config["optimizer"]), "start": bits(this.start)}  # fmt: skip
        jobs.append(f"{{...{json.dumps(facts)}, programs: {step.text()}}}")
    text = "\n".join([ENGINE.read_text(), library(*programs), f"const JOBS = [{', '.join(jobs)}];", _COMPARE])
    lines = (line.split() for line in javascript(text, folder).splitlines())
    found_ = {label: int(place) for label, place in lines}
    assert len(found_) == len(jobs)
    return found_


MODELS = surface_names()
OPTIMIZERS = members.names("optimizer")


def test_a_few_runs_have_the_same_bits_in_javascript(tmp_path: Path) -> None:
    few = [("himmelblau", "adam"), ("ackley", "nadam"), ("tanh_2neuron", "rprop"), ("softmax_logits", "book_adam")]
    found = differences(few, 40, tmp_path)
    assert len(found) == 4
    assert set(found.values()) == {-1}, found


@pytest.mark.slow
@pytest.mark.parametrize("part", range(9))
def test_every_surface_and_optimizer_has_the_same_bits_in_javascript(part: int, tmp_path: Path) -> None:
    found = differences([(m, o) for m in MODELS[part::9] for o in OPTIMIZERS], 25, tmp_path)
    assert len(found) > 80
    assert set(found.values()) == {-1}, {label: place for label, place in found.items() if place >= 0}


@pytest.mark.slow
def test_one_row_among_many_compiled_as_arrays_and_alone_has_the_same_bits() -> None:
    """numba, NumPy and Python's floats."""
    this, kept = traced_now("ackley", "nadam", 30) or pytest.fail("no program")
    known = Known(kept.program, {schedule_key(this.config["scheduler"]): list(kept.factors)})
    batch = Batch(
        objective=Later(this.config),
        starts=np.array([this.start, [1.0, 2.0], [-3.0, 0.5]]),
        optimizer=this.config["optimizer"],
        scheduler=this.config["scheduler"],
        trainer=this.trainer,
        known=known,
    )
    plan, stores = make_plan(batch), [Store(batch) for _ in range(3)]
    assert has_arrays(batch)
    fused = fuse(batch, plan)
    run_scalar(batch, plan, stores[0])
    run_arrays(batch, plan, stores[1])
    run_fused(batch, plan, stores[2], fused, load(fused.source))
    assert len({store.x.tobytes() for store in stores}) == 1
    assert stores[0].x[0].tobytes() == walked(this)[-1, :2].tobytes()
    assert descend(batch).engine == "portable"


def test_gradient_noise_is_what_other_engines_draw(tmp_path: Path) -> None:
    """To rounding: torch.randn itself, and what its training loop makes of it."""
    for dim in (1, 2, 3, MOST_NOISY):
        given = [torch.randn(dim, generator=stream(5, "noise", k), dtype=torch.float64) for k in range(40)]
        np.testing.assert_allclose(normal_draws(5, 40, dim), torch.stack(given), rtol=1e-13, atol=1e-15)
    asked = ["model=two_well", "optimizer=adam", "trainer.grad_noise=0.7", "trainer.steps=60", "seed=2"]
    portable, loop = (run(*asked, f"trainer.engine={e}", out=tmp_path) for e in ("portable", "auto"))
    assert (portable.summary["engine"], loop.summary["engine"]) == ("portable", "loop")
    for name in ("x0", "x1", "loss", "grad_norm"):
        np.testing.assert_allclose(portable.columns()[name], loop.columns()[name], rtol=1e-9, atol=1e-12)
    with pytest.raises(IncompatibleError, match="15 coordinates"):
        run("model=sphere", "model.dim=16", "trainer.grad_noise=1", "trainer.engine=portable", out=tmp_path)


def test_the_engine_is_part_of_a_runs_identity_and_neutral_where_it_is_not_asked_for(tmp_path: Path) -> None:
    usual, portable = (plan_run(["optimizer=adam", *more]) for more in ([], ["trainer.engine=portable"]))
    assert usual.run_id == plan_run(["optimizer=adam", "trainer.engine=auto"]).run_id != portable.run_id
    found = run("optimizer=adam", "trainer.engine=portable", "trainer.steps=5", out=tmp_path)
    assert found.summary["engine"] == "portable"
    for refused, words in (("optimizer=lbfgs", "no pure update rule"), ("trainer.seconds=1", "seconds")):
        with pytest.raises(IncompatibleError, match=words):
            run(refused, "trainer.engine=portable", out=tmp_path)
    with pytest.raises(IncompatibleError, match="networks"):
        run("model=mlp", "trainer.engine=portable", out=tmp_path)
