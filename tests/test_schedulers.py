"""Schedulers: every update's learning rate against a closed form, and the contract of the loop for all of conf/."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import members
import pytest
import torch
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau

from optbench.schedulers import warmup

ALL = members.names("scheduler")
LENGTH, LR = 60, 0.1


def build(name: str, optimizer: Optimizer, length: int = LENGTH, **changes: Any) -> LRScheduler:
    """The member on an optimizer; null in the YAML is the run's length in updates."""
    filled = {key: length for key, value in members.keywords("scheduler", name).items() if value is None}
    return members.make("scheduler", name, optimizer, **{**filled, **changes})


def sgd(lr: float = LR) -> Optimizer:
    return SGD([torch.zeros(1, requires_grad=True)], lr=lr)


def advance(optimizer: Optimizer, scheduler: LRScheduler, metric: float = 1.0) -> None:
    """What the loop does at each update."""
    optimizer.step(lambda: torch.tensor(0.0, requires_grad=True))
    if isinstance(scheduler, ReduceLROnPlateau):
        scheduler.step(metric)
    else:
        scheduler.step()


def rates(name: str, steps: int = LENGTH, length: int = LENGTH, **changes: Any) -> list[float]:
    """Learning rates of updates 0 ... steps; the last is what an update past the end would use."""
    optimizer = sgd()
    scheduler = build(name, optimizer, length, **changes)
    seen = [optimizer.param_groups[0]["lr"]]
    for _ in range(steps):
        advance(optimizer, scheduler)
        seen.append(optimizer.param_groups[0]["lr"])
    return seen


def cosine(progress: float) -> float:
    return math.cos(math.pi * progress / 2.0) ** 2


def restarts(t: int) -> float:
    start, cycle = 0, 10
    while t >= start + cycle:
        start, cycle = start + cycle, 2 * cycle
    return cosine((t - start) / cycle)


def one_cycle(t: int) -> float:
    peak, end = 0.25 * LENGTH - 1, LENGTH - 1
    if t <= peak:
        return 0.1 + 0.9 * cosine(1.0 - t / peak)
    return 0.001 + 0.999 * cosine(min((t - peak) / (end - peak), 1.0))


def warmed_cosine(t: int) -> float:
    return (t + 1) / 10 if t < 9 else 0.2 + 0.8 * cosine((t - 9) / (LENGTH - 9))


# name, changes, factor at update t, factor after the last update
CLOSED_FORMS: list[tuple[str, dict[str, Any], Callable[[int], float], float]] = [
    ("constant", {}, lambda t: 1.0, 1.0),
    ("step", {"step_size": 7, "gamma": 0.5}, lambda t: 0.5 ** (t // 7), 0.5**8),
    ("multistep", {"milestones": [5, 40]}, lambda t: 0.1 ** ((t >= 5) + (t >= 40)), 0.01),
    ("exponential", {"gamma": 0.9}, lambda t: 0.9**t, 0.9**60),
    ("polynomial", {}, lambda t: 1.0 - t / 60, 0.0),
    ("polynomial", {"power": 3.0}, lambda t: (1.0 - t / 60) ** 3, 0.0),
    ("cosine", {}, lambda t: cosine(t / 60), 0.0),
    ("cosine", {"eta_min": 0.02}, lambda t: 0.2 + 0.8 * cosine(t / 60), 0.2),
    ("cosine_restarts", {"T_0": 10}, restarts, cosine(30 / 40)),
    ("one_cycle", {"pct_start": 0.25, "div_factor": 10.0, "final_div_factor": 100.0}, one_cycle, 0.001),
    ("warmup_constant", {"warmup_steps": 8}, lambda t: min((t + 1) / 8, 1.0), 1.0),
    ("warmup_constant", {"warmup_steps": 0}, lambda t: 1.0, 1.0),
    ("warmup_constant", {"warmup_steps": 0.2}, lambda t: min((t + 1) / 12, 1.0), 1.0),
    ("warmup_constant", {}, lambda t: min((t + 1) / 6, 1.0), 1.0),
    ("warmup_cosine", {"warmup_steps": 1 / 6, "min_factor": 0.2}, warmed_cosine, 0.2),
    ("warmup_cosine", {"warmup_steps": 0}, lambda t: cosine(t / 60), 0.0),
    ("warmup_cosine", {"warmup_steps": 10, "min_factor": 0.2}, warmed_cosine, 0.2),
    (
        "warmup_inverse_sqrt",
        {"warmup_steps": 16},
        lambda t: 4.0 * min((t + 1) ** -0.5, (t + 1) * 16**-1.5),  # Vaswani et al., equation 3
        4.0 / 61**0.5,
    ),
    # a metric that never improves: the first reading is the best one, then every fourth one cuts
    ("plateau", {"patience": 3, "factor": 0.5}, lambda t: 0.5 ** (max(t - 1, 0) // 4), 0.5**14),
]


@pytest.mark.parametrize(("name", "changes", "factor", "end"), CLOSED_FORMS, ids=lambda v: v if v in ALL else "")
def test_every_update_follows_the_closed_form(name: str, changes: dict[str, Any], factor: Any, end: float) -> None:
    seen = rates(name, **changes)
    assert seen == pytest.approx([LR * factor(t) for t in range(LENGTH + 1)], rel=1e-9, abs=1e-15)
    assert seen[LENGTH] == pytest.approx(LR * end, rel=1e-9, abs=1e-15)


def test_constant_is_constant_to_the_bit() -> None:
    assert set(rates("constant", steps=3 * LENGTH)) == {LR}


def test_one_cycle_is_torch_one_cycle_with_the_optimizers_rate_as_maximum() -> None:
    optimizer = sgd()
    theirs = OneCycleLR(optimizer, max_lr=LR, total_steps=LENGTH, cycle_momentum=False)
    expected = []
    for _ in range(LENGTH):
        expected.append(theirs.get_last_lr()[0])
        advance(optimizer, theirs)
    assert rates("one_cycle", steps=LENGTH - 1) == pytest.approx(expected, rel=1e-12)


def test_one_cycle_of_a_single_update() -> None:
    assert rates("one_cycle", steps=2, length=1)[0] == LR


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("length", [1, 2, LENGTH])
def test_never_negative_and_never_above_the_optimizers_rate(name: str, length: int) -> None:
    seen = rates(name, steps=3 * LENGTH, length=length)
    assert min(seen) >= 0.0
    assert max(seen) <= LR * (1 + 1e-12)


@pytest.mark.parametrize("name", [n for n in ALL if n.startswith("warmup") or n == "one_cycle"])
def test_rises_from_above_zero_to_the_full_rate(name: str) -> None:
    length = 400
    seen = rates(name, steps=length, length=length)
    top = seen.index(max(seen))
    assert 0.0 < seen[0] < seen[top // 2] < seen[top]
    assert seen[top] == pytest.approx(LR, rel=1e-3)


@pytest.mark.parametrize("name", ALL)
def test_checkpoint_continues_to_the_bit(name: str) -> None:
    optimizer = sgd()
    scheduler = build(name, optimizer)
    for t in range(23):
        advance(optimizer, scheduler, metric=1.0 / (t + 1))
    file = io.BytesIO()
    torch.save({"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)

    again = sgd()
    resumed = build(name, again)
    resumed.load_state_dict(saved["scheduler"])
    again.load_state_dict(saved["optimizer"])
    for _ in range(LENGTH):
        assert again.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]
        advance(optimizer, scheduler)
        advance(again, resumed)
    assert resumed.last_epoch == scheduler.last_epoch


@pytest.mark.parametrize("optimizer_name", members.names("optimizer"))
@pytest.mark.parametrize("name", ALL)
def test_acts_on_every_group_of_every_optimizer(name: str, optimizer_name: str) -> None:
    weights = [torch.ones(2, requires_grad=True), torch.ones(3, 2, requires_grad=True)]
    optimizer = members.make("optimizer", optimizer_name, weights)
    base = [group["lr"] for group in optimizer.param_groups]
    scheduler = build(name, optimizer, length=10)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = sum((w * w).sum() for w in weights)
        loss.backward()
        return loss

    reference = rates(name, steps=4, length=10)
    for t in range(5):
        seen = [group["lr"] for group in optimizer.param_groups]
        assert seen == pytest.approx([b * reference[t] / LR for b in base], rel=1e-9)
        optimizer.step(closure)
        scheduler.step(*([1.0] if isinstance(scheduler, ReduceLROnPlateau) else []))
    assert all(w.isfinite().all() for w in weights)


def test_plateau_cuts_only_without_progress() -> None:
    optimizer = sgd()
    scheduler = build("plateau", optimizer, patience=2)
    for metric in (5.0, 4.0, 3.0, 2.0, 2.0, 2.0):
        advance(optimizer, scheduler, metric)
        assert optimizer.param_groups[0]["lr"] == LR
    advance(optimizer, scheduler, 2.0)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * LR)


@pytest.mark.parametrize(
    "factor",
    [
        lambda t: warmup.warmup_constant_factor(t, 7),
        lambda t: warmup.warmup_cosine_factor(t, 7, 40, 0.1),
        lambda t: warmup.warmup_inverse_sqrt_factor(t, 7),
        lambda t: warmup.one_cycle_factor(t, 40),
    ],
)
def test_factors_are_elementwise_on_tensors(factor: Callable[[torch.Tensor], torch.Tensor]) -> None:
    t = torch.arange(60, dtype=torch.float64).reshape(3, 20)
    together = factor(t)
    assert together.shape == t.shape
    torch.testing.assert_close(
        together, torch.stack([factor(v) for v in t.reshape(-1)]).reshape(3, 20), rtol=1e-13, atol=0
    )


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("warmup_constant", {"warmup_steps": -1}),
        ("warmup_inverse_sqrt", {"warmup_steps": -1}),
        ("warmup_constant", {"warmup_steps": 1.5}),
        ("warmup_constant", {"warmup_steps": 0.5, "total_steps": None}),
        ("warmup_cosine", {"total_steps": 0}),
        ("warmup_cosine", {"min_factor": 1.5}),
        ("one_cycle", {"total_steps": 0}),
        ("one_cycle", {"pct_start": -0.1}),
        ("one_cycle", {"div_factor": 0.5}),
    ],
)
def test_bad_values_are_refused(name: str, bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Invalid"):
        build(name, sgd(), **bad)


@pytest.mark.parametrize("name", members.own("scheduler"))
def test_what_is_left_out_is_what_conf_says(name: str) -> None:
    found, said = members.left_out("scheduler", name)
    assert found == said
    assert name != "one_cycle" or found == {"pct_start": 0.3, "div_factor": 25.0, "final_div_factor": 1e4}


def test_a_warm_up_is_a_share_of_the_run_or_a_number_of_updates() -> None:
    for steps, total, updates in (
        (0.25, 40, 10), (0.1, 24, 2), (0.1, 26, 3), (0.999, 1000, 999), (0.01, 10, 1), (1, 10, 1), (1.0, None, 1),
        (7, None, 7), (7.0, 3, 7), (0, 10, 0), (0.0, None, 0),
    ):  # fmt: skip
        assert warmup.updates_of(steps, total) == updates
    with pytest.raises(ValueError, match=r"Invalid warmup_steps: 0\.5, a share of a run needs total_steps"):
        warmup.updates_of(0.5, None)
    for wrong in (-1, -0.5, 1.5, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"Invalid warmup_steps: {wrong}, expected a share below 1 or a number"):
            warmup.updates_of(wrong, 10)


def rates_of(name: str, **options: float) -> list[float]:
    """The rates of 45 updates of a schedule that was made for 40."""
    optimizer = SGD([torch.zeros(1)], lr=LR)
    scheduler, rates = getattr(warmup, name)(optimizer, total_steps=40, **options), []
    for _ in range(45):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_the_ends_of_the_ranges_are_taken() -> None:
    assert rates_of("warmup_cosine", warmup_steps=0, min_factor=1.0) == [LR] * 45
    falling = rates_of("one_cycle", pct_start=0.0, final_div_factor=1.0, div_factor=10.0)
    assert (falling[0], falling[39:]) == (LR, [pytest.approx(LR / 10)] * 6)
    rising = rates_of("one_cycle", pct_start=1.0, div_factor=10.0)
    assert (rising[0], rising[39]) == (pytest.approx(LR / 10), pytest.approx(LR))
    assert rising[:40] == sorted(rising[:40])
    assert rates_of("one_cycle", div_factor=1.0, final_div_factor=1.0) == pytest.approx([LR] * 45)
    for wrong in ({"pct_start": 1.01}, {"div_factor": 0.99}, {"final_div_factor": 0.99}):
        with pytest.raises(ValueError, match="Invalid"):
            rates_of("one_cycle", **wrong)
    for wrong in ({"min_factor": 1.01}, {"min_factor": -0.01}):
        with pytest.raises(ValueError, match="Invalid min_factor"):
            rates_of("warmup_cosine", warmup_steps=0, **wrong)


@pytest.mark.parametrize("name", ["warmup_constant", "warmup_cosine", "warmup_inverse_sqrt"])
def test_a_share_is_the_number_of_updates_that_it_comes_to(name: str) -> None:
    def path(steps: float) -> list[float]:
        return rates_of(name, warmup_steps=steps)

    assert path(0.25) == path(10) != path(9)
    assert path(10)[:10] == pytest.approx([LR * (t + 1) / 10 for t in range(10)], rel=1e-12)
    assert path(0)[0] == LR
