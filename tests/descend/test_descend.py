"""Batches of rows: the training loop's numbers and statuses, by both engines, whatever else is in the batch."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import members
import numpy as np
import pytest
import torch
from descend_tools import SUPPORTED_OPTIMIZERS, SUPPORTED_SCHEDULERS, Rows, assert_as_loop, interpreted, node
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from optbench.descend import Batch, BatchResult, body, descend, order, pieces, vector_math, vector_math_single
from optbench.descend.fused import fuse, largest_square, run_fused
from optbench.descend.kernel import cache_hits, load
from optbench.descend.plan import make_plan
from optbench.descend.program import Program
from optbench.descend.schedules import factor_table
from optbench.descend.store import Store
from optbench.errors import UserError
from optbench.records import Status
from optbench.settings import SurfaceTrainer

BOTH = pytest.mark.parametrize("backend", ["eager", "fused"])
LOGITS = ("cross_entropy", "focal", "label_smoothing", "mse_softmax")


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Kernels of these tests go to a folder of their own; the tests that a worker has after them have the usual one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPTBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def rates(optimizer: str) -> list[float]:
    lr = float(members.keywords("optimizer", optimizer)["lr"])
    return [lr, 0.3 * lr, 2.0 * lr]


def as_python(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> BatchResult:
    """The fused engine with its kernel executed as plain Python."""
    plan, store = make_plan(batch), Store(batch)
    fused = fuse(batch, plan)
    with np.errstate(all="ignore"):
        run_fused(batch, plan, store, fused, interpreted(fused.source, monkeypatch))
    return store.result(batch, plan, 0.0, 0.0, "python", "")


def run_by(engine: str, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> BatchResult:
    """By eager torch, or by the kernel as Python, which needs no compiler."""
    return descend(replace(batch, backend="eager")) if engine == "eager" else as_python(batch, monkeypatch)


# the loop's numbers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", SUPPORTED_OPTIMIZERS)
def test_eager_is_the_loop_for_every_optimizer(optimizer: str) -> None:
    rows = Rows("rosenbrock", optimizer, "cosine", {"lr": rates(optimizer)})
    assert_as_loop(rows, descend(rows.batch("eager")))


@pytest.mark.parametrize("scheduler", SUPPORTED_SCHEDULERS)
def test_eager_is_the_loop_for_every_schedule(scheduler: str) -> None:
    rows = Rows("styblinski_tang", "adam", scheduler, {"lr": rates("adam")}, trainer=SurfaceTrainer(steps=60))
    assert_as_loop(rows, descend(rows.batch("eager")))


def test_fused_is_the_loop() -> None:
    rows = Rows("beale", "rmsprop", "one_cycle", {"lr": rates("rmsprop")})
    result = descend(rows.batch("fused"))
    assert result.engine == "fused"
    assert_as_loop(rows, result)


SURFACES = ("rosenbrock", "styblinski_tang", "himmelblau")


@pytest.mark.slow
@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("optimizer", SUPPORTED_OPTIMIZERS)
def test_engines_are_the_loop(surface: str, optimizer: str) -> None:
    """Every optimizer with every schedule, and either with every surface: a third of all combinations of the three."""
    first = (SUPPORTED_OPTIMIZERS.index(optimizer) + SURFACES.index(surface)) % len(SURFACES)
    for scheduler in SUPPORTED_SCHEDULERS[first :: len(SURFACES)]:
        rows = Rows(surface, optimizer, scheduler, {"lr": rates(optimizer)})
        for backend in ("eager", "fused"):  # the loop's runs, the dear part, are made once for both
            assert_as_loop(rows, descend(rows.batch(backend)))


@pytest.mark.parametrize("name", members.surfaces())
def test_kernel_of_every_surface_means_the_loop(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced gradients against autograd, step by step; the kernel's text is executed as Python, without a compiler."""
    for loss in LOGITS if members.make("model", name).label is not None else ("surface",):
        rows = Rows(name, "adam", changes={"lr": rates("adam")}, loss=loss, trainer=SurfaceTrainer(steps=12))
        assert_as_loop(rows, as_python(rows.batch("fused"), monkeypatch))


@pytest.mark.parametrize("optimizer", SUPPORTED_OPTIMIZERS)
def test_kernel_of_every_optimizer_means_the_loop(optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Rows("himmelblau", optimizer, "cosine", {"lr": rates(optimizer)}, trainer=SurfaceTrainer(steps=12))
    assert_as_loop(rows, as_python(rows.batch("fused"), monkeypatch))


def _hill(x: Tensor) -> Tensor:
    return torch.cat([x.clamp(min=-0.5), x.flip(-1).abs().log1p()], dim=-1).amax(dim=-1) + (x.tanh() / 3).mean(dim=-1)


def _powers(x: Tensor) -> Tensor:
    return x.sigmoid().sum(dim=-1) + torch.where(x > 0, x * x, -x).sum(dim=-1) + (x + 9.0).rsqrt().sum(dim=-1)


def _swapped(x: Tensor) -> Tensor:
    return torch.logsumexp(torch.stack([x, -2 * x], dim=0).movedim(0, -1), dim=(-2, -1)) + torch.atan(x).pow(3).sum(-1)


def _picked(x: Tensor) -> Tensor:
    """A coordinate that is picked twice: its slopes add up."""
    chosen = x.gather(-1, torch.tensor([0, 0, 1, 0]).expand(*x.shape[:-1], 4))
    return (chosen * chosen * torch.tensor([1.0, 0.5, 2.0, 0.25], dtype=x.dtype)).sum(-1)


@pytest.mark.parametrize("objective", [_hill, _powers, _swapped, _picked])
def test_operations_that_users_may_write(
    objective: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = Rows("sphere", "adam", changes={"lr": [0.1, 0.2]}, starts=[[0.7, -1.3], [1.1, 0.4]])
    rows.trainer.steps = 12
    batch = replace(rows.batch("fused"), objective=objective)
    found, expected = as_python(batch, monkeypatch), descend(replace(batch, backend="eager"))
    np.testing.assert_allclose(found.curves.loss, expected.curves.loss, rtol=1e-13)
    np.testing.assert_allclose(found.x, expected.x, rtol=1e-13)


def test_instances_of_a_surface_share_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    starts = [[0.7, -1.3, 2.0, 4.4], [-3.1, 0.4, 0.1, -2.0]]
    texts, given = set(), set()
    for function, instance in ((15, 1), (15, 2), (7, 1), (7, 2)):  # rotations; stairs
        rows = Rows("sphere", "adam", changes={"lr": [0.1, 0.2]}, starts=starts, trainer=SurfaceTrainer(steps=12))
        batch = replace(rows.batch("fused"), objective=members.make("model", "bbob", function=function,
                                                                    instance=instance, dim=4))  # fmt: skip
        fused = fuse(batch, make_plan(batch))
        texts.add(fused.source)
        given.add(tuple(fused.constants))
        found, expected = as_python(batch, monkeypatch), descend(replace(batch, backend="eager"))
        np.testing.assert_allclose(found.curves.loss, expected.curves.loss, rtol=1e-11)
        np.testing.assert_allclose(found.x, expected.x, rtol=1e-11)
    assert (len(texts), len(given)) == (2, 4)


ENDS = [[0.0, 0.0], [-0.0, 1.0], [math.inf, 1.0], [-math.inf, -math.inf], [math.inf, -math.inf], [math.nan, 1.0],
        [1e200, -1e200], [710.0, -710.0], [800.0, 900.0], [5e-324, -5e-324]]  # fmt: skip


@pytest.mark.parametrize(
    "objective",
    [
        lambda x: torch.logsumexp(x, dim=-1),
        lambda x: torch.logsumexp((x * x).log(), dim=-1),  # minus infinity everywhere at 0
        lambda x: -torch.log_softmax(x, dim=-1)[..., 0],
        lambda x: torch.softmax(x, dim=-1)[..., 0],
        lambda x: x.amax(dim=-1) + x.floor().sum(-1),
        lambda x: x.amin(dim=-1) + x.abs().sum(-1),
        lambda x: (x.sigmoid() + x.tanh()).sum(-1),
        lambda x: (x.exp() + x.expm1()).sum(-1),
        lambda x: torch.where(x > 0, x.sqrt(), x.sign()).sum(-1),
        lambda x: x.clamp(-2.0, 3.0).sum(-1) + torch.maximum(x[..., 0], x[..., 1]),
    ],
)
def test_operations_at_the_ends_of_the_numbers(
    objective: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values at infinite, missing and tiny coordinates are torch's, point by point."""
    rows = Rows("sphere", "gd", changes={"lr": [0.1] * len(ENDS)}, starts=ENDS, trainer=SurfaceTrainer(steps=1))
    found = as_python(replace(rows.batch("fused"), objective=objective), monkeypatch)
    expected = [float(objective(torch.tensor(point, dtype=torch.float64))) for point in ENDS]
    np.testing.assert_allclose(found.start_loss, expected, rtol=1e-13, atol=0.0)


# how rows end --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["eager", "python"])
def test_rows_end_for_the_loops_reasons(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = SurfaceTrainer(steps=80, target=1e-4, grad_tol=1e-9, plateau_steps=30, plateau_delta=1e-3)
    lr = [0.1, 1e-3, 1e-12, 1.5, 3e200, 0.3]
    starts = [[1.0, 1.0], [1.0, 0.5], [2.0, 1.0], [1.0, 1.0], [1.0, 1.0], [1e-10, 0.0]]
    rows = Rows("sphere", "gd", changes={"lr": lr}, starts=starts, trainer=trainer)
    result = run_by(engine, rows.batch("fused"), monkeypatch)
    assert_as_loop(rows, result)
    assert [result.status(i) for i in range(6)] == [
        Status.TARGET_REACHED,
        Status.COMPLETED,
        Status.CONVERGED,
        Status.DIVERGED,
        Status.DIVERGED,
        Status.TARGET_REACHED,
    ]
    resting = replace(rows, trainer=replace(trainer, target=None))
    ended = run_by(engine, resting.batch("fused"), monkeypatch)
    assert_as_loop(resting, ended)
    assert "gradient norm" in ended.reason(5)
    assert "fell by less" in ended.reason(2)


@pytest.mark.parametrize("engine", ["eager", "python"])
def test_first_steps_at_several_targets(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Rows("sphere", "gd", changes={"lr": [0.1, 0.01, 2.0]}, starts=[[1.0, 1.0]] * 3)
    result = run_by(engine, rows.batch("fused", targets=(1.0, 1e-3, -1.0)), monkeypatch)
    for i in range(3):
        loss = result.curve(i)["loss"]
        for j, target in enumerate((1.0, 1e-3, -1.0)):
            hits = np.flatnonzero(loss <= target)
            assert result.reached[i, j] == (hits[0] if len(hits) else -1)
    assert result.status(2) is Status.DIVERGED


def test_start_that_is_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Rows("ackley", "sgd", changes={"lr": [0.1] * 2}, starts=[[0.0, 0.0], [1.0, 1.0]])  # slope 0/0 at the kink
    for result in (descend(rows.batch("eager")), as_python(rows.batch("fused"), monkeypatch)):
        assert (result.status(0), result.steps[0]) == (Status.DIVERGED, 0)
        assert result.status(1) is not Status.DIVERGED
        assert result.best_loss[0] == pytest.approx(0.0, abs=1e-15)


def test_a_start_with_an_infinite_loss_has_diverged_however_flat_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = SurfaceTrainer(steps=5, grad_tol=1e6, target=1e300, plateau_steps=1)
    rows = Rows("sphere", "gd", changes={"lr": [0.1] * 2}, starts=[[1.0, 1.0], [-1.0, 1.0]], trainer=trainer)
    for infinite in (math.inf, -math.inf):
        batch = replace(
            rows.batch("fused"),
            objective=lambda x, far=infinite: (x * x).sum(-1) + torch.where(x[..., 0] > 0, far, 0.0).to(x.dtype),
        )
        for result in (descend(replace(batch, backend="eager")), as_python(batch, monkeypatch)):
            assert (result.status(0), result.steps[0]) == (Status.DIVERGED, 0)
            assert result.status(1) is Status.TARGET_REACHED


def test_of_equal_losses_the_first_is_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    """At lr 1 a bowl throws x to -x: every loss is the same number."""
    rows = Rows("sphere", "gd", changes={"lr": [1.0, 0.9]}, starts=[[1.0, 2.0]] * 2)
    rows.trainer.steps = 6
    for result in (descend(rows.batch("eager")), as_python(rows.batch("fused"), monkeypatch)):
        assert len(set(result.curve(0)["loss"].tolist())) == 1
        assert result.best_step.tolist() == [0, 6]
    summary, curve = rows.loop(0)
    assert len(set(curve["loss"].tolist())) == 1
    assert (summary.best_step, summary.best_loss) == (0, 5.0)


def test_wall_clock_and_interruption() -> None:
    rows = Rows(changes={"lr": [0.01, 0.02]}, trainer=SurfaceTrainer(steps=500, seconds=1e-9))
    result = descend(rows.batch("fused"))
    assert (result.engine, result.status(0), result.steps[0]) == ("eager", Status.TIMED_OUT, 1)
    assert "wall-clock" in result.why
    rows.trainer.plateau_steps = 1  # of which it may not be said to have died: its loss falls
    assert "s of training time were spent after 1 updates" in descend(rows.batch("fused")).reason(0)
    rows.trainer.seconds = rows.trainer.plateau_steps = None
    stopped = descend(rows.batch("eager", stop_requested=lambda: True))
    assert stopped.status(1) is Status.INTERRUPTED


def test_noise_is_that_of_the_loop() -> None:
    rows = Rows("rosenbrock", "rmsprop", changes={"lr": [0.01, 0.02, 0.01]}, noise=0.5, seeds=[3, 3, 8])
    rows.trainer.steps = 25
    rows.trainer.grad_tol = 0.0
    result = descend(rows.batch("auto"))
    assert_as_loop(rows, result)
    assert (result.engine, "noise" in result.why) == ("eager", True)
    with pytest.raises(UserError, match="one seed a row"):
        replace(rows.batch("eager"), seeds=None)


# rows are independent ------------------------------------------------------------------------------------------------


@BOTH
def test_row_alone_has_the_bits_that_it_has_in_company(backend: str) -> None:
    """Mixed momentum, decay and alpha, and neighbours that diverge: nothing of it shows in a row."""
    n = 70
    lr = [1e-3] * n
    lr[3:60:2] = [10.0] * len(lr[3:60:2])
    changes = {
        "lr": lr,
        "momentum": [0.9 * (i % 2) for i in range(n)],
        "weight_decay": [0.1 * (i % 3) for i in range(n)],
    }
    changes["alpha"] = [0.9 + 0.001 * i for i in range(n)]
    random = np.random.default_rng(1)
    rows = Rows("levy", "rmsprop", "step", changes, starts=random.uniform(-5, 5, (n, 2)).tolist())
    batch = rows.batch(backend, record=())
    whole = descend(batch)
    threaded = descend(replace(batch, threads=2))
    assert np.array_equal(threaded.x, whole.x)
    for i in (0, 64, 66, 69) if backend == "eager" else (66,):
        part = {k: v[i : i + 1] if isinstance(v, np.ndarray) else v for k, v in batch.optimizer.items()}
        alone = descend(replace(batch, starts=batch.starts[i : i + 1], optimizer=part))
        for name in ("x", "final_loss", "best_loss", "final_grad_norm", "steps", "code"):
            assert np.array_equal(getattr(alone, name)[0], getattr(whole, name)[i]), (name, i)


def test_recording_changes_nothing_and_keeps_what_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Rows("himmelblau", "adam", changes={"lr": [0.1, 0.2, 0.3, 0.4]})
    rows.trainer.record_every, rows.trainer.steps, rows.trainer.target = 7, 60, 0.5
    for run in (descend, lambda batch: as_python(batch, monkeypatch)):
        full, some = (run(rows.batch("eager", record=r)) for r in (range(4), (3, 1)))
        assert some.curves.rows.tolist() == [1, 3]
        assert np.array_equal(full.final_loss, some.final_loss)
        assert_as_loop(rows, full)
        assert np.array_equal(some.curve(3)["loss"], full.curve(3)["loss"])


def test_pieces_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"lr": [0.01] * 5, "betas": [[0.9, 0.99], [0.8, 0.99], [0.9, 0.9], [0.5, 0.99], [0.9, 0.99]]}
    batch = Rows("rosenbrock", "adam", "cosine", changes).batch("eager", record=(0, 3), targets=(1.0,))
    whole = descend(batch)
    monkeypatch.setattr(pieces, "TABLE_LIMIT", 2 * 4 * (batch.steps + 1))
    parts = descend(batch)
    for name in ("x", "code", "final_loss", "reached", "final_lr"):
        assert np.array_equal(getattr(parts, name), getattr(whole, name))
    assert np.array_equal(parts.curves.loss, whole.curves.loss)
    assert parts.curves.rows.tolist() == [0, 3]


def test_pieces_choose_the_engine_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    from optbench.descend import engine

    changes = {"lr": [0.01] * 5, "betas": [[0.9, 0.99]] * 4 + [[0.8, 0.99]]}
    batch = Rows("rosenbrock", "adam", "cosine", changes).batch("auto")
    monkeypatch.setattr(pieces, "TABLE_LIMIT", 2 * 4 * (batch.steps + 1))
    seen = []

    def estimates(piece: Batch, rows: int, compiled: bool, cost: int) -> dict[str, float]:
        seen.append((piece.rows, rows))
        return {"fused": 1.0, "eager": 0.0}

    monkeypatch.setattr(engine, "estimates", estimates)
    descend(batch)
    assert seen == [(2, 5), (2, 5), (1, 5)]


def test_high_dimensions_are_eager_and_right() -> None:
    batch = Rows("sphere", "adam", changes={"lr": [0.1, 0.2]}, starts=[[1.0, 2.0]] * 2).batch("fused")
    wide = replace(batch, starts=np.linspace(-1, 1, 80).reshape(2, 40), objective=lambda x: (x * x).sum(-1))
    result = descend(wide)
    assert "40 dimensions" in result.why
    single = descend(replace(wide, starts=wide.starts[:, :1].copy()))
    assert np.allclose(single.x[:, 0], result.x[:, 0], rtol=1e-13)  # the sphere is separable


@pytest.mark.parametrize("backend", ["eager", "fused"])
def test_single_precision(backend: str) -> None:
    batch = Rows("rosenbrock", "adam", changes={"lr": [0.01, 0.02]}).batch(backend)
    exact, single = descend(replace(batch, backend="eager")), descend(replace(batch, dtype="float32"))
    assert np.allclose(single.curves.loss, exact.curves.loss, rtol=2e-3)
    assert not np.array_equal(single.x, exact.x)
    assert np.array_equal(single.x, single.x.astype(np.float32))


# choosing ------------------------------------------------------------------------------------------------------------


def _branching(x: Tensor) -> Tensor:
    return (x * x).sum(-1) if bool((x.sum() > 100).item()) else (x * x * x * x).sum(-1)


def _foreign(x: Tensor) -> Tensor:
    return torch.special.bessel_j0(x.detach()).sum(-1) + (x * x).sum(-1)


@pytest.mark.parametrize(("objective", "name"), [(_branching, "_local_scalar_dense"), (_foreign, "special_bessel_j0")])
def test_what_cannot_be_traced_runs_eagerly_and_says_so(objective: Callable[[Tensor], Tensor], name: str) -> None:
    batch = replace(Rows("sphere", "gd", changes={"lr": [0.1]}).batch("fused"), objective=objective)
    result = descend(batch)
    assert (result.engine, result.why) == ("eager", f"not fused: aten.{name}")
    assert result.status(0) is Status.COMPLETED


def test_kernel_that_numba_refuses_runs_eagerly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(body.FORMS, "mul", "{0} @ {1}")
    result = descend(Rows("three_hump_camel", "gd", changes={"lr": [0.1]}).batch("fused"))
    assert (result.engine, result.why[:18]) == ("eager", "not fused: numba: ")


@pytest.mark.parametrize(
    ("surface", "optimizer"), [("ackley", "rmsprop"), ("rosenbrock", "rprop"), ("levy", "amsgrad")]
)
def test_cuts_between_loops_change_nothing(surface: str, optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the step is cut, every value passes on, memories whose old value is still wanted included."""
    rows = Rows(surface, optimizer, "cosine", {"lr": rates(optimizer)}, trainer=SurfaceTrainer(steps=12))
    batch, found, loops = rows.batch("fused"), [], []
    for longest in (10**6, 40, 9, 3):
        monkeypatch.setattr(order, "_LONGEST_PIECE", longest)
        loops.append(fuse(batch, make_plan(batch)).source.count("for lane in range"))
        found.append(as_python(batch, monkeypatch))
    assert loops == sorted(loops)
    assert loops[-1] > loops[0]
    for cut in found[1:]:
        assert np.array_equal(cut.curves.x, found[0].curves.x, equal_nan=True)
        assert np.array_equal(cut.curves.loss, found[0].curves.loss, equal_nan=True)


def test_arguments_out_of_reach_are_computed_again_by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Rows("sphere", "gd", changes={"lr": [0.1] * 3}, starts=[[1.0, 2.0], [3e6, 1.0], [0.1, -1.0]])
    rows.trainer.steps = 5
    batch = replace(rows.batch("fused"), objective=lambda x: (x.cos() + x.sin()).sum(-1))
    found, expected = as_python(batch, monkeypatch), descend(replace(batch, backend="eager"))
    assert np.array_equal(found.x[1], expected.x[1])
    assert np.allclose(found.x, expected.x, rtol=1e-14)
    assert np.allclose(found.curves.loss, expected.curves.loss, rtol=1e-13)


@pytest.mark.parametrize("name", ["sin", "cos", "exp"])
@pytest.mark.parametrize("widest", [700.0, 1.5e6])
def test_vector_functions_are_the_librarys(name: str, widest: float) -> None:
    points = np.random.default_rng(0).uniform(-widest, widest, 2000)
    points = np.concatenate([points, points / widest, [0.0, np.pi / 2, np.pi / 4]])
    points = points[np.abs(points) < 707.0] if name == "exp" else points
    for x in points.tolist():
        exact = getattr(math, name)(x)
        assert abs(vector_math.FUNCTIONS[name](x) - exact) <= 2 * math.ulp(exact), x


@pytest.mark.parametrize("name", ["sin", "cos", "exp"])
@pytest.mark.parametrize("widest", [80.0, 9.9e4])
def test_vector_functions_in_single_precision(name: str, widest: float) -> None:
    """Against the library in double precision; near a zero far from the origin an absolute error counts."""
    points = np.random.default_rng(0).uniform(-widest, widest, 2000)
    points = np.concatenate([points, points / widest, [0.0, np.pi / 2, np.pi / 4]]).astype(np.float32)
    points = points[np.abs(points) < 87.0] if name == "exp" else points
    for x in points:
        exact = getattr(math, name)(float(x))
        found = vector_math_single.FUNCTIONS[name](x)
        assert isinstance(found, np.float32)
        near = 1e-9 if abs(x) > 4.0 and name != "exp" else 0.0
        assert abs(float(found) - exact) <= 2 * float(np.spacing(np.float32(abs(exact)))) + near, x


def test_vector_functions_at_the_ends_in_single_precision() -> None:
    f, single = vector_math_single.FUNCTIONS["exp"], np.float32
    with np.errstate(all="ignore"):
        assert f(single(math.inf)) == f(single(88.8)) == math.inf
        assert f(single(-math.inf)) == f(single(-110.0)) == 0.0
        assert f(single(-100.0)) == pytest.approx(math.exp(-100.0), rel=0.05)  # a subnormal number
        assert math.isnan(f(single(math.nan)))


def test_vector_functions_at_the_ends() -> None:
    f = vector_math.FUNCTIONS
    with np.errstate(all="ignore"):
        assert f["exp"](math.inf) == f["exp"](709.9) == math.inf
        assert f["exp"](-math.inf) == f["exp"](-1000.0) == 0.0
        assert f["exp"](-740.0) == pytest.approx(math.exp(-740.0), rel=0.1)  # a subnormal number
        assert math.isnan(f["exp"](math.nan))


def test_small_work_is_not_compiled() -> None:
    rows = Rows("mccormick", "adadelta", changes={"lr": [1.0]}, trainer=SurfaceTrainer(steps=3))
    assert descend(rows.batch("auto")).engine == "eager"


def test_second_process_finds_the_kernel(tmp_path: Path) -> None:
    rows = Rows("beale", "rmsprop", "one_cycle", {"lr": rates("rmsprop")})
    batch = rows.batch("fused")
    source = fuse(batch, make_plan(batch)).source
    load(source)
    (tmp_path / "source.py").write_text(source)
    code = "import sys; from optbench.descend.kernel import *; print(cache_hits(load(open(sys.argv[1]).read())))"
    found = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "source.py"], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "1"
    assert cache_hits(load(source)) in (0, 1)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("norm", [0.0, 1e-12, 1e-3, 0.7, 3.0])
def test_largest_square_is_the_rule_on_the_root(norm: float, dtype: str) -> None:
    kind: Any = np.dtype(dtype).type
    limit = kind(largest_square(norm, dtype))
    assert np.sqrt(limit) <= kind(norm) < np.sqrt(np.nextafter(limit, kind(np.inf)))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["add", "sub", "mul", "div", "neg"]), st.integers(0, 99), st.integers(0, 99)))
)
def test_signs_taken_out_of_a_program_change_no_bit(steps: list[tuple[str, int, int]]) -> None:
    """Random programs against the same operations made one by one; only the sign of a zero may differ."""
    program, random = Program(), np.random.default_rng(len(steps))
    numbers = [float(v) for v in random.normal(size=3)]
    values = [program.input(str(i)) for i in range(3)]
    for op, i, j in steps:
        chosen = (i % len(values),) if op == "neg" else (i % len(values), j % len(values))
        values.append(program.apply(op, *(values[c] for c in chosen)))
        numbers.append(_number(op, *(numbers[c] for c in chosen)))
    done: dict[int, float] = {}
    for value in order.schedule(program, values):
        op, args, payload = program.code[value]
        done[value] = numbers[int(payload)] if op == "input" else _number(op, *(done[a] for a in args))
    for value, number in zip(values, numbers, strict=True):
        assert done[value] == number or (math.isnan(number) and math.isnan(done[value]))


def _number(op: str, a: float, b: float = 0.0) -> float:
    with np.errstate(all="ignore"):
        x, y = np.float64(a), np.float64(b)
        return float({"add": x + y, "sub": x - y, "mul": x * y, "neg": -x, "div": x / y if y else math.nan}[op])


def test_wrong_batches_are_refused() -> None:
    batch = Rows(changes={"lr": [0.1, 0.2]}).batch("eager")
    with pytest.raises(UserError, match="3 values for 2 rows"):
        replace(batch, optimizer={**batch.optimizer, "eps": np.zeros(3)})
    with pytest.raises(UserError, match="expected one of"):
        replace(batch, backend="gpu")
    with pytest.raises(UserError, match="shape"):
        replace(batch, starts=np.zeros(2))


WEIGHT = torch.tensor([[0.5, -1.0], [0.25, 2.0], [1.0, 0.75]], dtype=torch.float64)
OPERATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean with its axis kept": lambda x: (x - x.mean(-1, keepdim=True)).square().sum(-1) + x.mean(-1),
    "amax and amin": lambda x: 2.0 * x.amax(-1) - x.amin(-1, keepdim=True)[..., 0],
    "alphas": lambda x: (torch.rsub(x, 3.0, alpha=2.0) ** 2 + torch.sub(x, x * x, alpha=0.5).sin()).sum(-1),
    "add, alpha": lambda x: torch.add(x, x * x, alpha=-0.3).cos().sum(-1),
    "reciprocal and rsqrt": lambda x: ((x + 4.0).reciprocal() + (x + 4.0).rsqrt()).sum(-1),
    "clamp on either side": lambda x: (x.clamp(max=1.0) + 2.0 * x.clamp(min=0.2) + x.clamp(0.3, 0.9)).square().sum(-1),
    "masked_fill": lambda x: x.masked_fill(x > 1.0, 0.5).square().sum(-1) + x.sum(-1).square(),
    "isnan": lambda x: torch.where((x * 0.0).isnan(), 1.0, x * x).sum(-1),
    "comparisons": lambda x: torch.where((x >= 0.5) & (x <= 0.9) | ~(x < 3.0) | (x == 2.0), x, x * x).sum(-1),
    "expand": lambda x: (x.unsqueeze(-1).expand(*x.shape, 3) * x.new_tensor([1.0, 2.0, 3.0])).square().sum((-1, -2)),
    "slices with a step": lambda x: torch.cat([x, x * x, x.sin()], -1)[..., 1:6:2].square().sum(-1),
    "select from the end": lambda x: x[..., -1] * 3.0 + x[..., 0].square(),
    "unbind and squeeze": lambda x: sum(part.squeeze(-1).sin() for part in x.unsqueeze(-1).unbind(-2)),
    "transposes": lambda x: (x.unsqueeze(-1) * x.unsqueeze(-2).exp()).transpose(-1, -2)[..., 0, 1].sin(),
    "permute and reshape": lambda x: torch.stack([x, x * x], -1).movedim(-1, 0).reshape(2, *x.shape)[1].sum(-1),
    "flip and cat": lambda x: (torch.cat([x.flip(-1), x], -1) * x.new_tensor([1.0, 2.0, 3.0, 4.0])).square().sum(-1),
    "an affine map": lambda x: (x.unsqueeze(-2) * WEIGHT).sum(-1).tanh().square().sum(-1),
    "elementary": lambda x: (x.tan() + x.atan() + x.log1p() + x.expm1() + (x + 1.0).log() + x.sign() * x).sum(-1),
    "powers": lambda x: ((x + 1.0) ** 3 + (x + 1.0) ** 0.5 + (x + 1.0) ** -1.0 + (x + 1.0) ** 1.7 + 2.0**x).sum(-1),
    "softmax": lambda x: (x.softmax(-1) * x).sum(-1),
    "log_softmax": lambda x: (torch.stack([x, 2.0 * x, x * x], -1).log_softmax(-1) * WEIGHT[:, 0]).sum((-1, -2)),
    "logsumexp with its axis kept": lambda x: (x - x.logsumexp(-1, keepdim=True)).square().sum(-1),
    "sigmoid and tanh": lambda x: (x.sigmoid() * x.tanh()).sum(-1),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_the_trace_makes_of_an_operation_is_what_torch_does(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values and slopes by the rules of `aten`, against autograd on batches, at points on either side of each case."""
    starts = [[0.7, 1.3], [0.25, 0.4], [1.1, 0.6]]
    rows = Rows("sphere", "gd", changes={"lr": [1e-3] * 3}, starts=starts, trainer=SurfaceTrainer(steps=2))
    batch = replace(rows.batch("fused"), objective=OPERATIONS[name])
    found = as_python(batch, monkeypatch)
    for i, start in enumerate(starts):
        x = torch.tensor(start, dtype=torch.float64, requires_grad=True)
        value = OPERATIONS[name](x)
        (slope,) = torch.autograd.grad(value, x)
        assert found.start_loss[i] == pytest.approx(float(value.detach()), rel=1e-13)
        assert found.curve(i)["grad_norm"][0] == pytest.approx(float(slope.norm()), rel=1e-12)
        after = [found.curve(i)[f"x{k}"][1] for k in range(2)]
        assert after == pytest.approx((x - 1e-3 * slope).tolist(), rel=1e-13)


@pytest.mark.parametrize("backend", ["eager", "fused"])
def test_a_schedule_with_a_lowest_rate_is_torchs(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a plane each update moves by the learning rate: three rows with lowest rates of their own."""
    steps, lr, lowest = 9, [0.5, 0.3, 0.2], [0.0, 0.05, 0.2]
    rows = Rows("sphere", "gd", changes={"lr": lr}, starts=[[1.0, 2.0]] * 3, trainer=SurfaceTrainer(steps=steps))
    scheduler = node("scheduler", "cosine", T_max=6, eta_min=np.array(lowest))
    batch = replace(rows.batch(backend), objective=lambda x: x.sum(-1), scheduler=scheduler)
    found = descend(batch) if backend == "eager" else as_python(batch, monkeypatch)
    for i in range(3):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr[i])
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 6, lowest[i])
        moved = 0.0
        for k in range(steps):
            rate = optimizer.param_groups[0]["lr"]
            assert found.curve(i)["lr"][k] == pytest.approx(rate, rel=1e-9)
            assert found.curve(i)["x1"][k] == pytest.approx(2.0 - moved, rel=1e-9)
            moved += rate
            optimizer.step()
            schedule.step()
        assert found.x[i].tolist() == pytest.approx([1.0 - moved, 2.0 - moved], rel=1e-9)


def test_a_rate_that_grows_without_end_is_still_proportional() -> None:
    """Rounding grows with the rate: it is judged against the rate that there is, not the one at the start."""
    table = factor_table("torch.optim.lr_scheduler.ExponentialLR", [{"gamma": 1.5}], [[0.1, 0.3, 7e-5]], 151)
    assert table[0] == pytest.approx(1.5 ** np.arange(151.0), rel=1e-12)


def test_a_loss_with_class_weights_has_no_rows() -> None:
    def weighted(x: Tensor) -> Tensor:
        outputs = torch.stack([x[..., 0], x[..., 1]], -1).reshape(-1, 2)
        target = torch.zeros(len(outputs), dtype=torch.long)
        return torch.nn.functional.cross_entropy(outputs, target, x.new_tensor([3.0, 1.0]), reduction="none").reshape(
            x.shape[:-1]
        )

    batch = replace(Rows("sphere", "gd", changes={"lr": [0.1]}).batch("fused"), objective=weighted)
    result = descend(batch)
    assert result.why == "not fused: aten.nll_loss with class weights or a reduction"
    x = torch.tensor(Rows("sphere").shape.start, dtype=torch.float64)
    assert result.start_loss[0] == pytest.approx(float(weighted(x)))
