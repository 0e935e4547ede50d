"""One configuration, one result: rows are held to the loop; where they differ the loop runs, and the plan says why."""

from __future__ import annotations

import inspect
import json
import math
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_tools import command
from descend_tools import SUPPORTED_OPTIMIZERS, SUPPORTED_SCHEDULERS, Rows, interpreted, node
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from members import TESTS
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

from optbench import run, sweep
from optbench.descend import Batch, UnsupportedError, agreement, body, descend, disagreement, kept, refused
from optbench.descend.fused import fuse, run_fused, run_some
from optbench.descend.kept import has_agreed
from optbench.descend.kernel import agreement_of
from optbench.descend.plan import learning_rates, make_plan
from optbench.descend.rule import find
from optbench.descend.schedules import factor_table, stepped
from optbench.descend.store import Store
from optbench.descend.torch_rules import TORCH_RULES
from optbench.settings import SurfaceTrainer

LR = "torch.optim.lr_scheduler."
CONSTANT = node("scheduler", "constant")
RATES = np.array([0.1, 0.02, 3.0])


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Kernels go to a folder of their own: some are wrong on purpose."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPTBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def rows_of(optimizer: dict[str, Any], scheduler: dict[str, Any], steps: int = 30, n: int = 3) -> Batch:
    """n rows on a bowl from (1, 2), recorded, that no rule ends."""
    return Batch(
        objective=lambda x: (x * x * torch.tensor([1.0, 3.0], dtype=x.dtype)).sum(-1),
        starts=np.tile([1.0, 2.0], (n, 1)),
        optimizer=optimizer,
        scheduler=scheduler,
        trainer=SurfaceTrainer(steps=steps, grad_tol=-1.0, divergence_factor=math.inf),
        record=range(n),
        backend="eager",
    )


# what a class has of its own


OWN = {
    "HalfLion": "its own step",
    "LateLion": "its own step",
    "SlowMuon": "its own step",
    "RoundNAdam": "its own zero_grad",
    "InitGroupSGD": "its own _init_group",
    "GroupedAdam": "its own add_param_group",
    "DecayedSGD": "its own param_groups",
    "hooked_lion": "a hook at its step",
    "watching_lion": "a hook on its parameters",
    "patched_lion": "its own step",
    "WrongDamped": "makes other updates than its rule",
    "Stateful": "makes other updates than its rule",
}


@pytest.mark.parametrize(("name", "words"), OWN.items())
def test_whatever_an_optimizer_has_of_its_own_is_left_to_the_loop(name: str, words: str) -> None:
    found = disagreement(rows_of({"_target_": f"foreign_rules.{name}", "lr": RATES}, CONSTANT))
    assert found is not None
    assert words in found


@pytest.mark.parametrize("name", ["RightDamped", "PlainSGD"])
def test_what_computes_the_same_runs_as_rows(name: str) -> None:
    assert disagreement(rows_of({"_target_": f"foreign_rules.{name}", "lr": RATES}, CONSTANT)) is None


def test_hooks_of_all_optimizers_are_left_to_the_loop() -> None:
    handle = register_optimizer_step_post_hook(lambda *_: None)
    try:
        found = agreement._rule_disagreement({"_target_": "torch.optim.SGD", "lr": RATES}, 3)
    except UnsupportedError as error:
        found = str(error)
    finally:
        handle.remove()
    assert "hook at its step" in str(found)


@pytest.mark.parametrize("key", ["_args_", "nested"])
def test_what_only_hydra_makes_is_left_to_the_loop(key: str) -> None:
    value = {"_target_": "builtins.dict"} if key == "nested" else [1]
    found = disagreement(rows_of({"_target_": "torch.optim.SGD", "lr": RATES, key: value}, CONSTANT))
    assert f"'{key}'" in str(found)


@pytest.mark.parametrize("name", SUPPORTED_OPTIMIZERS)
def test_every_optimizer_of_the_catalogue_agrees(name: str) -> None:
    assert disagreement(rows_of(node("optimizer", name, lr=RATES), CONSTANT)) is None


@pytest.mark.parametrize("name", SUPPORTED_SCHEDULERS)
def test_every_schedule_of_the_catalogue_agrees(name: str) -> None:
    assert disagreement(rows_of(node("optimizer", "sgd", lr=RATES), node("scheduler", name), steps=600)) is None


@pytest.mark.parametrize(
    ("name", "alike"), [("HalfLion", "lion"), ("InitGroupSGD", "gd"), ("WrongDamped", "book_momentum")]
)
def test_a_sweep_gives_what_the_run_alone_gives_and_says_why(
    name: str, alike: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["model=sphere", f"optimizer={alike}", f"optimizer._target_=foreign_rules.{name}", "trainer.steps=12"]
    words += ["trainer.start=random", "optimizer.lr=0.05"]
    single = run(*words, "seed=3", out=tmp_path / "alone")
    assert command("sweep", *words, "seeds=16", "--jobs", "0", "--out", tmp_path / "rows", "--json") == 0
    said = capsys.readouterr()
    (row,) = [r for r in json.loads(said.out) if r["seed"] == 3]
    assert row["final_loss"] == single.summary["final_loss"]
    assert row["engine"] == "loop"
    assert said.err.count(f"note: 16 like sphere {alike}") == 1
    reason = OWN[name]
    assert reason in said.err
    assert command("sweep", *words, "seeds=16", "--out", tmp_path / "plan", "--dry-run", "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert {r["engine"] for r in plan} == {"loop"}
    assert all(reason in r["why"] for r in plan)
    assert command("sweep", *words, "seeds=16", "--out", tmp_path / "plan", "--dry-run") == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if reason in line]
    assert line.startswith(f"16 like sphere {alike} constant seed=0 go one by one: ")


@pytest.mark.parametrize("name", ["HalfLion", "hooked_lion"])
@pytest.mark.parametrize("question", [["basins", "--grid", "8"], ["sensitivity", "--points", "3"]])
def test_what_asks_for_thousands_of_runs_refuses_what_only_the_loop_computes(
    question: list[str], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["model=himmelblau", "optimizer=book_gd", f"optimizer._target_=foreign_rules.{name}", "trainer.steps=5"]
    assert command(question[0], *words, *question[1:]) == 2
    said = capsys.readouterr().err
    assert "cannot run as rows of one batch" in said
    assert OWN[name] in said
    assert len(said.strip().splitlines()) <= 3


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["scheduler=one_cycle", "scheduler._target_=foreign_rules.Random"], "foreign_rules.Random"),
        (["scheduler=step", "scheduler._target_=foreign_rules.Decaying"], "foreign_rules.Decaying"),
    ],
)
def test_schedules_that_fail_in_them_are_said_in_a_line(
    words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("basins", "model=himmelblau", "optimizer=gd", *words, "--grid", "8") == 2
    said = capsys.readouterr().err
    assert reason in said
    assert len(said.strip().splitlines()) <= 3


# schedules


EDGES: list[tuple[str, dict[str, Any]]] = [
    ("ConstantLR", {"factor": 0.1}),
    ("ConstantLR", {"factor": 0.1, "total_iters": 0}),
    ("ConstantLR", {"factor": 0.0}),
    ("ConstantLR", {}),
    ("ConstantLR", {"total_iters": -3}),
    ("LinearLR", {"total_iters": 0}),
    ("LinearLR", {"start_factor": 0.2, "end_factor": 0.0, "total_iters": 7}),
    ("StepLR", {"step_size": -2, "gamma": 0.5}),
    ("StepLR", {"step_size": 0}),
    ("StepLR", {"step_size": 1, "gamma": -2.0}),
    ("MultiStepLR", {"milestones": [-1, 3], "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [9, 4, 4, 0], "gamma": 0.5}),
    ("MultiStepLR", {"milestones": []}),
    ("MultiStepLR", {"milestones": 3}),
    ("ExponentialLR", {"gamma": 0.0}),
    ("ExponentialLR", {"gamma": 40.0}),
    ("PolynomialLR", {"total_iters": -4}),
    ("PolynomialLR", {"total_iters": 0}),
    ("PolynomialLR", {"power": -1.0}),
    ("PolynomialLR", {"power": 0.0}),
    ("CosineAnnealingLR", {"T_max": 0}),
    ("CosineAnnealingLR", {"T_max": -3}),
    ("CosineAnnealingLR", {"T_max": 7, "eta_min": 0.3}),
    ("CosineAnnealingLR", {"T_max": 3.5}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2, "eta_min": 5.0}),
    ("CosineAnnealingWarmRestarts", {"T_0": 0}),
    ("OneCycleLR", {"max_lr": 0.1, "total_steps": 30}),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.2, "cycle_momentum": False}),
    ("StepLR", {"step_size": 3, "last_epoch": 4}),
]


def rates_by_torch(scheduler: dict[str, Any], lr: float, steps: int) -> list[float] | str:
    """What the scheduler gives a real optimizer, update by update; or the error that it ends in."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    keywords = {k: steps if v is None else v for k, v in scheduler.items() if k[0] != "_"}
    seen = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            made = find(scheduler["_target_"])(optimizer, **keywords)
            for k in range(steps + 1):
                seen.append(optimizer.param_groups[0]["lr"])
                optimizer.step()
                if k < steps:
                    made.step()
        except Exception as error:
            return repr(error)
    return seen


def assert_rates(batch: Batch) -> None:
    """Rows have the learning rates of the schedule itself, or it is left to the loop; what fails there is no row."""
    rates = [rates_by_torch(agreement.taken(batch.scheduler, np.array([i])), float(lr), batch.steps)
             for i, lr in enumerate(batch.optimizer["lr"])]  # fmt: skip
    try:
        plan = make_plan(batch)
    except UnsupportedError:
        return
    found = learning_rates(plan, np.arange(len(rates)), np.arange(batch.steps + 1))
    for mine, wanted in zip(found, rates, strict=True):
        assert not isinstance(wanted, str), wanted
        np.testing.assert_allclose(mine, wanted, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize(("name", "keywords"), EDGES, ids=[f"{n}-{k}" for n, k in EDGES])
def test_schedules_at_their_edges(name: str, keywords: dict[str, Any]) -> None:
    batch = rows_of({"_target_": "torch.optim.SGD", "lr": RATES}, {"_target_": LR + name, **keywords})
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no word of numpy's
        assert_rates(batch)


def test_most_of_the_edges_run_as_rows() -> None:
    """Otherwise the test above holds nothing."""
    refusals = []
    for name, keywords in EDGES:
        try:
            make_plan(rows_of({"_target_": "torch.optim.SGD", "lr": RATES}, {"_target_": LR + name, **keywords}))
        except UnsupportedError:
            refusals.append(name)
    assert len(refusals) <= 9
    assert {"OneCycleLR", "CyclicLR"} <= set(refusals)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Random", "not the same twice"),
        ("Decaying", "changes the optimizer's weight_decay"),
        ("Clamped", "not proportional"),
    ],
)
def test_schedules_that_are_no_table_are_left_to_the_loop(name: str, words: str) -> None:
    found = disagreement(rows_of({"_target_": "torch.optim.SGD", "lr": np.array([1.0, 0.06, 2.0])},
                                 {"_target_": f"foreign_rules.{name}"}))  # fmt: skip
    assert words in str(found)


def test_many_settings_of_torchs_schedules_are_all_stepped(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no function that says what they are."""
    monkeypatch.setattr("optbench.descend.schedules._STEPPED", 10)
    target, many = "torch.optim.lr_scheduler.StepLR", [{"step_size": n} for n in (1, 2, 5, 7)]
    found = factor_table(target, many, [[0.1]] * len(many), 12)
    for line, keywords in zip(found, many, strict=True):
        np.testing.assert_allclose(line, 0.1 ** (np.arange(12) // keywords["step_size"]), rtol=1e-12)


@pytest.mark.parametrize("name", ["warmup_constant", "warmup_cosine", "warmup_inverse_sqrt", "one_cycle"])
def test_many_settings_of_our_own_schedules_are_what_they_step(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they are too many to step, each line is what its scheduler would have stepped to."""
    from optbench.descend import schedules

    monkeypatch.setattr(schedules, "_STEPPED", 100)
    target = f"optbench.schedulers.warmup.{name}"
    lengths = [1, 2, 3, 20, 30, 400]
    many = [({"total_steps": n} if name == "one_cycle" else {"warmup_steps": n}) for n in lengths]
    if name == "warmup_cosine":
        many = [{**k, "total_steps": 25} for k in many]
    if name == "one_cycle":  # also where the rise is shorter than an update
        many += [{"total_steps": 30, "pct_start": p} for p in (0.0, 0.01, 0.03, 0.04, 1.0)]
    asked: list[Any] = []
    monkeypatch.setattr(schedules, "stepped", lambda *words: asked.append(words) or stepped(*words))
    found = factor_table(target, many, [[0.1]] * len(many), 31)
    assert len(asked) == 2, "the first and the last of them"
    for line, keywords in zip(found, many, strict=True):
        np.testing.assert_allclose(line, stepped(target, keywords, [1.0], 31)[:, 0], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    "words",
    [
        ["scheduler.factor=0.1"],
        ["~scheduler.factor", "scheduler.total_iters=3"],
        ["scheduler=step", "scheduler.step_size=2", "scheduler.gamma=0.5"],
        ["scheduler=polynomial", "scheduler.power=0.0"],
        ["scheduler=one_cycle", "scheduler.pct_start=0.05"],
        ["scheduler=cosine", "scheduler.eta_min=0.2"],
    ],
)
def test_the_number_of_seeds_changes_no_result(words: list[str], tmp_path: Path) -> None:
    words = ["model=sphere", "optimizer=sgd", "trainer.steps=6", *words]
    alone = run(*words, out=tmp_path / "alone")
    found = sweep(*words, "seeds=16", out=tmp_path / "rows")
    assert {r.summary["engine"] for r in found} <= {"eager", "fused", "scalar", "arrays"}
    assert [r.summary["final_loss"] for r in found] == pytest.approx([alone.summary["final_loss"]] * 16, rel=1e-12)


# random schedules and optimizers


NUMBERS = st.sampled_from([0, 1, 2, 3, 7, 30, -1, -4, 0.0, 0.1, 0.3, 0.5, 0.9, 1.0, 1.5, 2.0, -0.5, 1e-9, 1e10])
ABSURD = st.one_of(NUMBERS, st.none(), st.booleans(), st.lists(NUMBERS, max_size=3))
SCHEDULERS = [LR + n for n in ("ConstantLR", "LinearLR", "StepLR", "MultiStepLR", "ExponentialLR", "PolynomialLR",
              "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "OneCycleLR", "CyclicLR")]  # fmt: skip
SCHEDULERS += [f"optbench.schedulers.warmup.{n}" for n in ("warmup_constant", "warmup_cosine", "one_cycle")]


@st.composite
def nodes(draw: st.DrawFn, targets: list[str], reserved: frozenset[str], values: st.SearchStrategy[Any]) -> Any:
    """A configuration node with random keywords: what must be given, and some others."""
    target = draw(st.sampled_from(targets))
    known = [p for p in inspect.signature(find(target)).parameters.values() if p.name not in reserved]
    needed = {p.name for p in known if p.default is p.empty}
    given = needed | set(draw(st.lists(st.sampled_from([p.name for p in known]), max_size=3)))
    return {"_target_": target, **{name: draw(values) for name in sorted(given)}}


RESERVED = frozenset(
    {"optimizer", "params", "lr", "foreach", "fused", "capturable", "differentiable", "args", "kwargs"}
)
PAIRS = st.tuples(st.sampled_from([0.0, 0.5, 0.9]), st.sampled_from([0.0, 0.5, 0.99])).map(list)
SENSIBLE = st.one_of(st.sampled_from([0.0, 0.1, 0.3, 0.9, 0.99]), st.booleans(), ABSURD, PAIRS)


def loop_path(batch: Batch, row: int, gradients: np.ndarray) -> np.ndarray | str:
    """The iterates of the real optimizer and scheduler under given gradients, or the error that the run ends in."""
    optimizer, scheduler = (agreement.taken(n, np.array([row])) for n in (batch.optimizer, batch.scheduler))
    plain = {k: v[0].tolist() if isinstance(v, np.ndarray) else v for k, v in optimizer.items() if k != "_target_"}
    filled = {k: batch.steps if v is None else v for k, v in scheduler.items() if k != "_target_"}
    x = torch.tensor(batch.starts[row], requires_grad=True)
    seen = [batch.starts[row]]
    try:
        made = find(optimizer["_target_"])([x], **plain)
        schedule = find(scheduler["_target_"])(made, **filled)
        for k in range(batch.steps):
            x.grad = torch.from_numpy(gradients[k].copy())
            made.step()
            schedule.step()
            seen.append(x.detach().numpy().copy())
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return np.array(seen)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    nodes(sorted(TORCH_RULES), RESERVED, SENSIBLE), nodes(SCHEDULERS, RESERVED, ABSURD), st.sampled_from([1, 2, 5, 40])
)
@pytest.mark.filterwarnings("ignore")
def test_rows_and_loop_give_the_same_numbers_or_the_same_refusal(
    optimizer: dict[str, Any], scheduler: dict[str, Any], steps: int
) -> None:
    batch = rows_of({**optimizer, "lr": RATES}, scheduler, steps)
    random = np.random.default_rng(steps)
    gradients = random.normal(size=(steps + 1, 2)) * 10.0 ** random.uniform(-3, 3, size=(steps + 1, 2))
    wanted = [loop_path(batch, row, gradients) for row in range(3)]
    if refused(batch):
        assert all(isinstance(path, str) for path in wanted)
        return
    try:
        found = descend(replace(batch, objective=agreement._forced(gradients))) if disagreement(batch) is None else None
    except UnsupportedError:
        return
    for row, path in enumerate(wanted) if found is not None else ():
        assert not isinstance(path, str), path
        steady = np.abs(path) < 1e100
        until = steady.all(axis=1).argmin() if not steady.all() else steps + 1
        mine = found.curves.x[row][:until]
        size = np.maximum.accumulate(np.abs(path[:until]), axis=0)
        assert np.all(np.abs(mine - path[:until]) <= 1e-7 * size), (optimizer, scheduler)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(nodes(sorted(TORCH_RULES), RESERVED, SENSIBLE), nodes(SCHEDULERS, RESERVED, ABSURD))
@pytest.mark.filterwarnings("ignore")
def test_the_compiled_step_gives_the_numbers_of_the_eager_one(
    optimizer: dict[str, Any], scheduler: dict[str, Any]
) -> None:
    """On the bowl itself, from the kernel's text executed as Python: the same plan, compiled or not."""
    batch = replace(rows_of({**optimizer, "lr": RATES}, scheduler), trainer=SurfaceTrainer(steps=5))
    try:
        plan = make_plan(batch)
    except UnsupportedError:
        return
    eager, compiled = descend(batch), Store(batch)
    fused = fuse(batch, plan)
    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        run_fused(batch, plan, compiled, fused, interpreted(fused.source, patch))
    assert compiled.code.tolist() == eager.code.tolist()
    np.testing.assert_allclose(compiled.path, eager.curves.x, rtol=1e-9, atol=1e-9)


MIXED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("SGD", {"dampening": 0.4}, {"momentum": [0.0, 0.9, 0.5]}),
    ("SGD", {"momentum": 0.9}, {"dampening": [0.0, 0.4, 1.0], "weight_decay": [0.0, 0.1, 0.0]}),
    ("Adam", {}, {"weight_decay": [0.0, 0.1, 0.3], "betas": [[0.0, 0.5], [0.9, 0.0], [0.9, 0.999]]}),
    ("AdamW", {"amsgrad": True}, {"weight_decay": [0.0, 0.1, 0.3], "eps": [1e-8, 1e-2, 1e-3]}),
    ("Adagrad", {}, {"lr_decay": [0.0, 0.1, 0.0], "initial_accumulator_value": [0.0, 0.0, 0.7]}),
    ("RMSprop", {"centered": True}, {"momentum": [0.0, 0.5, 0.0], "alpha": [0.9, 0.5, 0.3]}),
    ("Adadelta", {}, {"rho": [0.0, 0.5, 0.9], "weight_decay": [0.0, 0.1, 0.0]}),
    ("NAdam", {}, {"momentum_decay": [0.0, 0.1, 0.004], "weight_decay": [0.0, 0.0, 0.1]}),
    ("RAdam", {}, {"betas": [[0.9, 0.9], [0.5, 0.999], [0.9, 0.99]], "weight_decay": [0.0, 0.1, 0.0]}),
    (
        "Rprop",
        {},
        {"etas": [[0.3, 1.7], [0.5, 1.2], [0.9, 1.1]], "step_sizes": [[1e-3, 0.05], [1e-6, 50.0], [0.1, 1.0]]},
    ),
]


@pytest.mark.parametrize(("name", "shared", "varied"), MIXED, ids=[f"{n}-{'-'.join(v)}" for n, _, v in MIXED])
def test_rows_that_use_an_option_and_rows_that_do_not(
    name: str, shared: dict[str, Any], varied: dict[str, Any]
) -> None:
    """A row without momentum, decay ... beside rows with it is what it would be alone."""
    arrays = {k: np.array(v) for k, v in varied.items()}
    batch = rows_of({"_target_": f"torch.optim.{name}", "lr": RATES, **shared, **arrays}, CONSTANT, steps=20)
    gradients = np.random.default_rng(3).normal(size=(21, 2))
    found = descend(replace(batch, objective=agreement._forced(gradients)))
    for row in range(3):
        wanted = loop_path(batch, row, gradients)
        assert not isinstance(wanted, str), wanted
        np.testing.assert_allclose(found.curves.x[row], wanted, rtol=1e-12, atol=1e-13)


# the surface and the compiled step


def _mixing(x: Tensor) -> Tensor:
    return (x * x).sum(-1) + x.sum()


def _flat(x: Tensor) -> Tensor:
    return (x * x).sum()


@pytest.mark.parametrize("objective", [_mixing, _flat])
def test_a_surface_that_mixes_points_is_left_to_the_loop(objective: Callable[[Tensor], Tensor]) -> None:
    batch = replace(rows_of(node("optimizer", "sgd", lr=RATES), CONSTANT), objective=objective)
    assert "the surface" in str(disagreement(batch))


def test_a_step_that_is_compiled_wrongly_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(body.FORMS, "sub", "{0} - {1} * 0.999")
    result = descend(replace(Rows("sphere", "gd", changes={"lr": [0.1, 0.2]}).batch("fused"), dtype="float64"))
    assert result.engine == "eager"
    assert "not fused: the compiled step gives" in result.why


def test_a_number_that_left_torch_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy inside an objective is a constant to the tracer; the compiled step would have it for every row."""

    def objective(x: Tensor) -> Tensor:
        scale = torch.from_numpy(np.asarray(np.abs(x.detach().numpy()).sum(-1)))
        return (x * x).sum(-1) * scale

    batch = replace(Rows("sphere", "gd", changes={"lr": [0.01, 0.02]}).batch("fused"), objective=objective)
    plan = make_plan(batch)
    fused = fuse(batch, plan)
    kernel = interpreted(fused.source, monkeypatch)
    found = agreement.compiled_disagreement(batch, plan, lambda b, p, s, rows: run_some(b, p, s, rows, fused, kernel))
    assert "the compiled step gives" in str(found)


def test_agreement_is_kept_with_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = Rows("booth", "gd", changes={"lr": [0.01, 0.02]}).batch("fused")
    assert descend(batch).engine == "fused"
    source = fuse(batch, make_plan(batch)).source
    assert has_agreed(agreement_of(source))

    def asked(*args: Any) -> str:
        return "asked again"

    monkeypatch.setattr(agreement, "compiled_disagreement", asked)
    assert descend(batch).engine == "fused"
    monkeypatch.setattr(kept, "_known", set())  # as in another process
    assert descend(batch).engine == "fused"
    for other in (b"another torch", b"", b"\xff\xfe"):
        agreement_of(source).write_bytes(other)
        monkeypatch.setattr(kept, "_known", set())
        assert "asked again" in descend(batch).why


def test_the_agreement_of_a_known_rule_is_kept_by_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other numbers are not asked again, another option is; of one's own optimizer each process asks."""
    asked = []
    original = agreement._rule_disagreement
    monkeypatch.setattr(agreement, "_rule_disagreement", lambda node, rows: asked.append(node) or original(node, rows))

    def times(**node: Any) -> int:
        monkeypatch.setattr(agreement, "_rules_seen", {})  # as in another process
        monkeypatch.setattr(kept, "_known", set())
        asked.clear()
        assert agreement.rule_disagreement(node, 3) is None
        return len(asked)

    plain = {"_target_": "torch.optim.Adamax", "betas": [0.9, 0.99]}
    assert times(**plain, lr=RATES, eps=1e-7) == 1
    assert times(**plain, lr=RATES, eps=1e-7) == 0
    assert times(**plain, lr=3.0 * RATES, eps=2e-7) == 0
    assert times(**plain, lr=RATES, eps=0.0) == 1  # 0/0 in a pause of the gradient, for both
    assert times(**plain, lr=RATES, eps=1e-7, weight_decay=0.1) == 1
    assert times(**plain, lr=RATES, eps=1e-7, maximize=False) == 1
    own = {"_target_": "foreign_rules.RightDamped", "lr": RATES}
    assert (times(**own), times(**own)) == (1, 1)


@pytest.mark.slow
def test_a_plan_does_not_import_the_compiler_of_torch() -> None:
    code = """
import sys, numpy as np
from optbench.descend import Batch, disagreement, refused, descend
from optbench.settings import SurfaceTrainer
lr = np.array([0.1, 0.2])
own = {"_target_": "foreign_rules.RightDamped", "lr": lr}
scheduler = {"_target_": "torch.optim.lr_scheduler.StepLR", "step_size": 3}
batch = Batch(objective=lambda x: (x * x).sum(-1), starts=np.ones((2, 2)), optimizer=own, scheduler=scheduler,
              trainer=SurfaceTrainer(steps=9), backend="eager")
assert not refused(batch) and disagreement(batch) is None
descend(batch)
assert "torch._dynamo" not in sys.modules
import torch
x = torch.zeros(2, requires_grad=True)
optimizer = torch.optim.Adam([x])
optimizer.zero_grad()
assert "torch._dynamo" in sys.modules  # as ever, afterwards
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=TESTS)
