"""A network's picture in words, held to whole sentences: a wrong figure, sign or bound would be believed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from optbench.curvature import FlatObjective, prepare
from optbench.curvature.descent import Escape, Move, Witness
from optbench.curvature.describe import describe_network, describe_plan
from optbench.curvature.hvp import HessianOperator
from optbench.curvature.lanczos import lanczos
from optbench.curvature.measure import measure_by_lanczos
from optbench.curvature.newton import NewtonGain
from optbench.curvature.picture import NetworkPicture, Plan
from optbench.curvature.proof import Proof, interval
from optbench.curvature.spectrum import Density, Shares, full_hessian, gauss, mass_below
from optbench.curvature.verdict import Figures, Verdict, criticality_of, decide, percent, undecided_at_second_order
from optbench.errors import UserError

FIGURES = Figures(
    gain=1e-9, fall=1e-9, hess_grad=0.5, low=-0.1, high=2.0, lower_bound=-0.11, upper_bound=2.1, noise=1e-6
)
CRITICAL = "critical to working precision; "
NEAR = "near-critical: a damped Newton step lowers the loss by 0.2 %; "
LOW = "negative curvature shown: v'Hv = -0.1, 1e+05 times the operator noise"
CHOLESKY = "; the Hessian, shifted down by three times its noise, has a Cholesky factorization"
NO_SIGN = "minimum-like or degenerate: no negative curvature "
DOWN = Proof(curvature=(-0.2, -0.1))
BOTH = Proof(curvature=(-0.2, -0.1), upward=(0.5, 1.0))


@pytest.mark.parametrize(
    ("changes", "kind", "basis", "wording"),
    [
        ({}, "saddle", "shown", f"{CRITICAL}saddle: {LOW}"),
        ({"low": -1e-3}, "saddle", "shown",
         f"{CRITICAL}mild saddle: negative curvature shown: v'Hv = -0.001, 1e+03 times the operator noise"),
        ({"low": -2e-3}, "saddle", "shown",
         f"{CRITICAL}saddle: negative curvature shown: v'Hv = -0.002, 2e+03 times the operator noise"),
        ({"noise": 0.0}, "saddle", "shown",
         f"{CRITICAL}saddle: negative curvature shown: v'Hv = -0.1, the operator has no noise"),
        ({"gain": 2e-3, "fall": 2e-3}, "saddle", "shown", f"{NEAR}saddle: {LOW}"),
        ({"gain": 0.4, "fall": 0.2}, "saddle", "shown",
         f"not critical: a damped Newton step lowers the loss by 20 %; {LOW}"),
        ({"gain": 0.4, "fall": 0.2, "low": -1e-3}, "saddle", "shown",
         "not critical: a damped Newton step lowers the loss by 20 %; mild negative curvature shown: v'Hv = -0.001, "
         "1e+03 times the operator noise"),
        ({"gain": 0.4, "fall": 0.0}, "saddle", "shown",
         f"not critical by the quadratic model, whose step does not lower the loss; {LOW}"),
        ({"gain": 2e-3, "fall": 2e-3, "hess_grad": 0.019}, "saddle", "shown",
         "near-critical: a damped Newton step lowers the loss by 0.2 %; gradient-flat: g lies almost in the Hessian's "
         f"kernel; a small |g| is not criticality; saddle: {LOW}"),
        ({"hess_grad": 0.001}, "saddle", "shown", f"{CRITICAL}saddle: {LOW}"),
        ({"proof": BOTH}, "saddle", "proved", f"{CRITICAL}saddle: negative curvature proved: v'Hv in [-0.2, -0.1]"),
        ({"proof": DOWN}, "saddle", "shown", f"{CRITICAL}saddle: negative curvature proved: v'Hv in [-0.2, -0.1]"),
        ({"high": 2e-6, "proof": DOWN}, "not a minimum", "proved",
         f"{CRITICAL}not a minimum: negative curvature proved: v'Hv in [-0.2, -0.1]; "
         "no positive curvature was found"),
        ({"high": 3e-6}, "not a minimum", "shown",
         f"{CRITICAL}not a minimum: {LOW}; no positive curvature was found"),
        ({"upper_bound": -4e-6, "high": -1.0}, "maximum", "probable", f"{CRITICAL}local maximum (confidence 99.9 %)"),
        ({"upper_bound": -4e-6, "high": -1.0, "gain": 2e-3, "fall": 2e-3, "exact": True}, "maximum", "shown",
         f"{NEAR}local maximum (shown, all eigenvalues)"),
        ({"upper_bound": -4e-6, "high": -1.0, "gain": math.inf, "fall": 0.5, "confidence": 0.99}, "maximum", "probable",
         "not critical: a damped Newton step lowers the loss by 50 %; every direction curves down (confidence 99 %)"),
        ({"upper_bound": -3e-6, "high": -1.0}, "not a minimum", "shown",
         f"{CRITICAL}not a minimum: {LOW}; no positive curvature was found"),
        ({"low": 0.1, "lower_bound": 4e-6}, "minimum", "probable", f"{CRITICAL}local minimum (confidence 99.9 %)"),
        ({"low": 0.1, "lower_bound": 4e-6, "exact": True, "definite": True}, "minimum", "shown",
         f"{CRITICAL}local minimum (shown, all eigenvalues{CHOLESKY})"),
        ({"low": 0.1, "lower_bound": 4e-6, "gain": 0.1, "fall": 0.1}, "minimum", "probable",
         "not critical: a damped Newton step lowers the loss by 10 %; every direction curves up (confidence 99.9 %)"),
        ({"low": 0.1, "lower_bound": 3e-6}, "degenerate", "undecided",
         f"{CRITICAL}{NO_SIGN}below 3e-06 (99.9 %); the second order cannot decide"),
        ({"low": -3e-6}, "degenerate", "undecided",
         f"{CRITICAL}{NO_SIGN}below -0.11 (99.9 %); the second order cannot decide"),
        ({"low": -3e-6, "doubt": 0.5}, "degenerate", "undecided",
         f"{CRITICAL}{NO_SIGN}below -0.11 (99.9 %); the second order cannot decide"),
        ({"low": -1e-6, "exact": True}, "degenerate", "undecided",
         f"{CRITICAL}{NO_SIGN}beyond the noise of 1e-06 (all eigenvalues)"),
        ({"low": -1e-6, "lower_bound": -math.inf, "witness": False}, "degenerate", "undecided",
         f"{CRITICAL}{NO_SIGN}found, and too few products to say what was missed; "
         "no lower point was found on spheres round it"),
        ({"doubt": 0.3}, "degenerate", "undecided",
         f"{CRITICAL}degenerate: the curvature -0.1 is smaller than its change on the way to the critical point (ratio "
         "0.3); the second order cannot decide"),
        ({"doubt": 0.25}, "saddle", "shown", f"{CRITICAL}saddle: {LOW}"),
        ({"doubt": 0.3, "gain": 0.2, "fall": 0.2}, "saddle", "shown",
         f"not critical: a damped Newton step lowers the loss by 20 %; {LOW}"),
        ({"doubt": 0.3, "low": 0.1, "lower_bound": 0.05}, "degenerate", "undecided",
         f"{CRITICAL}degenerate: the curvature 0.1 is smaller than its change on the way to the critical point (ratio "
         "0.3); the second order cannot decide"),
        ({"low": 0.0, "witness": True, "order": 3.04, "radius": 0.01}, "not a minimum", "shown",
         f"{CRITICAL}degenerate, and not a minimum: a lower point lies at distance 0.01, falling with order 3.0 of the "
         "distance"),
        ({"low": 0.0, "witness": True, "radius": 0.3}, "not a minimum", "shown",
         f"{CRITICAL}degenerate, and not a minimum: a lower point lies at distance 0.3"),
    ],
)  # fmt: skip
def test_a_verdict_is_this_sentence(changes: dict[str, Any], kind: str, basis: str, wording: str) -> None:
    figures = replace(FIGURES, **changes)
    verdict = decide(figures)
    assert (verdict.kind, verdict.basis, verdict.wording) == (kind, basis, wording)
    assert verdict.gradient_flat == ("gradient-flat" in wording)
    assert verdict.mild == ("mild saddle" in wording or "mild negative" in wording)
    searched = kind == "degenerate" or "lower point lies" in wording
    assert undecided_at_second_order(replace(figures, witness=None)) == searched


def test_the_bounds_of_the_words_for_the_gradient() -> None:
    words = {1e-6: "critical", 1.01e-6: "near-critical", 1e-2: "near-critical", 1.01e-2: "not critical"}
    assert {gain: criticality_of(gain) for gain in words} == words
    assert criticality_of(math.nan) == criticality_of(math.inf) == "not critical"
    assert [percent(v) for v in (0.2, 0.123, 0.0005, 1e-7)] == ["20 %", "12 %", "0.05 %", "1e-05 %"]


PLAN = Plan(
    n=1234, examples=48, of=48, dtype="float64", exact=False, starts=3, steps=30, gain_steps=20, products=110,
    gradient_seconds=0.005, product_gradients=2.04, vector_bytes=2_400_000, kept_bytes=1_500_000_000, chunks=2,
)  # fmt: skip


def test_a_plan_is_these_lines() -> None:
    assert describe_plan(PLAN) == [
        "1,234 weights, 48 examples (all) in 2 chunks, float64; 3 x 30 Lanczos steps",
        "110 Hessian-vector products of at most 2.0 gradients each = 224 gradients of 5 ms: about 1.12 s",
        "memory beside the model: 2 MB of vectors, up to 1.5 GB of kept intermediates, 1.5 GB in all",
    ]
    exact = describe_plan(replace(PLAN, exact=True, chunks=1, examples=12, of=48, kept_bytes=0))
    assert exact[0] == "1,234 weights, 12 examples (25% of 48) in 1 chunk, float64; the exact Hessian"
    assert exact[2] == "memory beside the model: 2 MB of vectors, up to 0 MB of kept intermediates, 2 MB in all"
    none = describe_plan(replace(PLAN, examples=0, of=0))
    assert none[0].startswith("1,234 weights, no examples in 2 chunks")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "about 374 min; cheaper with --share 0.1 or --products 30"),
        ({"of": 96}, "about 374 min; cheaper with --share 0.05 or --products 30"),
        ({"examples": 20, "of": 20, "products": 91}, "about 5.2 h; cheaper with --share 0.1 or --products 30"),
        ({"examples": 19, "of": 19}, "about 6.2 h; cheaper with --products 30"),
        ({"products": 90}, "about 5.1 h; cheaper with --share 0.1"),
        ({"products": 90, "examples": 5}, "about 5.1 h"),
        ({"gradient_seconds": 299.0 / (110 * 2.04)}, "about 5 min"),
        ({"gradient_seconds": 301.0 / (110 * 2.04)}, "about 5 min; cheaper with --share 0.1 or --products 30"),
        ({"gradient_seconds": 119.0 / (110 * 2.04)}, "about 119 s"),
        ({"gradient_seconds": 0.999 / (110 * 2.04)}, "about 1e+03 ms"),
        ({"gradient_seconds": 7199.0 / (110 * 2.04)},
         "about 120 min; cheaper with --share 0.1 or --products 30"),
    ],
)  # fmt: skip
def test_what_makes_a_long_inspection_shorter(changes: dict[str, Any], words: str) -> None:
    line = describe_plan(replace(PLAN, **{"gradient_seconds": 100.0, **changes}))[1]
    assert "about " + line.split(": about ")[1] == words.replace("about 374 min", "about 6.2 h")


PICTURE = NetworkPicture(
    name="best.pt", plan=PLAN, loss=0.123456789, grad_norm=0.00123456, grad_error=None,
    newton=NewtonGain(0.00123456, 0.5, 0.002, -0.001, 0.3), lambda_min=-0.0123456, lambda_max=12.34567,
    residual_min=0.00234, residual_max=0.0345, lower_bound=-0.02345, upper_bound=13.456, confidence=0.999,
    noise=2.3e-9, products=111, gradients_a_product=1.96, kept_share=0.5,
    shares=Shares((0.1, 0.2), (0.5, 0.5), (0.3, 0.4), 1e-5, False), density=Density(np.zeros(2), np.zeros(2)),
    v_min=torch.tensor([0.0, 1.0]), escape=None, witness=None, proof=None,
    verdict=Verdict("near-critical", False, "saddle", "shown", False, "a sentence"), seconds=130.0, notes=("a", "b"),
)  # fmt: skip
GRADIENT = "gradient    |g| = 0.001235   relative Newton gain 0.2 % (checked: 0.1 % with 0.3 of the step)"
CURVATURE = "curvature   lambda_min = -0.012346 (+-0.002)   lambda_max = 12.346 (+-0.03)   "


def lines_of(**changes: Any) -> list[str]:
    return describe_network(replace(PICTURE, **changes))


def test_a_picture_is_these_lines() -> None:
    assert lines_of() == [
        "checkpoint  best.pt   n=1,234 weights   loss 0.123457 on 48 examples (all)   float64, evaluation mode",
        f"{GRADIENT}   -> near a critical point",
        f"{CURVATURE}99.9 %: nothing below -0.02345, nothing above 13.46",
        "            111 products of 2.0 gradients (intermediates of 50% of the data kept), 2 min; "
        "operator noise 2e-09",
        "shares      negative 10.00..20.00 %   zero 50.00 %   positive 30.00..40.00 %   |lambda| <= 1e-05 "
        "counted as zero (Chebyshev-Markov-Stieltjes ranges, 99.9 % over the random starts)",
        "            the lecture's minimum ratio: 0.3000..0.4000 strictly positive, 0.8000..0.9000 counting zeros",
        "note        a",
        "note        b",
        "verdict     a sentence",
    ]


def test_the_lines_of_a_picture_that_depend_on_what_was_found() -> None:
    found = lines_of(grad_error=0.0004567, plan=replace(PLAN, exact=True),
                     newton=replace(PICTURE.newton, predicted=0.0),
                     shares=replace(PICTURE.shares, negative=(0.25, 0.25), exact=True))  # fmt: skip
    assert found[1] == (
        "gradient    |g| = 0.001235 (+-0.00046 for the examples that were drawn)   relative Newton gain 0 %   "
        "-> near a critical point"
    )
    assert found[2] == f"{CURVATURE}all eigenvalues, from the exact Hessian"
    assert found[4].startswith("shares      negative 25.00 %   zero 50.00 %")
    assert found[4].endswith("(counted)")
    assert found[5].endswith("0.7500 counting zeros")
    assert lines_of(lower_bound=-math.inf)[2] == f"{CURVATURE}too few products to say what may lie beyond"
    for word, text in (("not critical", "NOT a critical point"), ("critical", "critical to working precision")):
        verdict = replace(PICTURE.verdict, criticality=word)
        assert lines_of(verdict=verdict)[1] == f"{GRADIENT}   -> {text}"


def test_ways_down_and_proofs_in_words() -> None:
    moves = (Move(0.01, -1e-3, -1.04e-3), Move(-0.1, -0.1, 0.25))
    way = Escape(torch.tensor([0.0, 1.0]), moves, moves[0])
    assert lines_of(escape=way)[6:8] == [
        "escape      along v_min: loss -0.00104 at step 0.01 (predicted -0.001)",
        "            0.01: -0.001   -0.1: +0.25",
    ]
    blind = lines_of(escape=replace(way, best=None))
    assert blind[6] == "escape      along v_min no step lowers the loss: the negative curvature is only very near"
    assert len(blind) == len(lines_of()) + 1
    assert lines_of(proof=Proof(curvature=(-0.2, 0.1), why="no time"))[6:-3] == [
        "proof       not proved not to be a local minimum: no time"
    ]
    whole = Proof(loss=(0.12, 0.13), curvature=(-0.2, -0.1), upward=(0.5, 1.0), step=0.3, lower=(0.1, 0.11))
    lines = [
        "proof       no local minimum, by interval arithmetic: v'Hv in [-0.2, -0.1] along v_min",
        "            v'Hv in [0.5, 1] along v_max: the Hessian is indefinite",
        "            lower at step 0.3: [0.1, 0.11] below [0.12, 0.13]",
    ]
    assert lines_of(proof=whole)[6:-3] == lines
    assert lines_of(proof=replace(whole, upward=None))[6:-3] == [lines[0], lines[2]]
    assert lines_of(proof=replace(whole, lower=(0.1, 0.12)))[6:-3] == lines[:2]
    search = Witness(True, 0.03, ((0.3, -1e-3), (0.03, -1e-6)), 3.0, torch.tensor([1.0, 0.0]))
    spheres = "spheres     lowest change of the loss at distance 0.3: -0.001   0.03: -1e-06"
    assert lines_of(witness=search)[6:-3] == [f"{spheres}   order 3.00"]
    assert lines_of(witness=replace(search, order=None))[6:-3] == [spheres]
    assert lines_of(witness=Witness(False, None, (), None, None))[6:-3] == ["spheres     no direction is flat"]


def test_the_way_down_is_that_of_the_escape_else_of_the_spheres() -> None:
    layout = (("w", torch.Size([2])),)
    move = Move(0.01, -1.0, -1.0)
    way = Escape(torch.tensor([0.0, 1.0]), (move,), move)
    search = Witness(True, 0.03, (), None, torch.tensor([1.0, 0.0]))
    base = replace(PICTURE, layout=layout)
    assert base.way_down() is None
    assert replace(base, escape=replace(way, best=None)).way_down() is None
    for picture, direction, step in (
        (replace(base, escape=way, witness=search), [0.0, 1.0], 0.01),
        (replace(base, escape=replace(way, best=None), witness=search), [1.0, 0.0], 0.03),
    ):
        found = picture.way_down()
        assert found is not None
        assert found["w"].tolist() == direction
        assert float(found["step"]) == pytest.approx(step)


@pytest.mark.parametrize(
    ("ends", "text"),
    [
        ((0.1, 0.1), "[0.10000000000000000, 0.10000000000000001]"),
        ((1.0, 2.0), "[1.00, 2.00]"),
        ((1.23449, 1.23451), "[1.2344899, 1.2345101]"),
        ((-1.0, 1e9), "[-1.00, 1.00e+09]"),
        ((0.0, math.inf), "an unbounded interval"),
        ((-math.inf, 0.0), "an unbounded interval"),
    ],
)
def test_an_interval_is_printed_outward(ends: tuple[float, float], text: str) -> None:
    printed = interval(ends)
    if "unbounded" in text:
        assert printed == text
        return
    low, high = (float(part) for part in printed.strip("[]").split(", "))
    assert low <= ends[0]
    assert ends[1] <= high
    width = ends[1] - ends[0]
    assert (high - low) <= width + 0.02 * max(width, 1e-15 * max(map(abs, ends)) * 100)


def test_mass_at_a_number_counts_below_it_only_where_that_is_asked() -> None:
    """A measure that is known exactly: masses 1/4 and 3/4 at -1 and 1."""
    diagonal, start = torch.tensor([-1.0, 1.0]).double(), torch.tensor([0.5, math.sqrt(0.75)]).double()
    probe = lanczos(lambda v: diagonal * v, start, 5, torch.float64).tridiagonal
    assert probe.exhausted
    nodes, _ = gauss(probe)
    for x, below, up_to in ((-2.0, 0.0, 0.0), (nodes[0], 0.0, 0.25), (0.0, 0.25, 0.25), (nodes[1], 0.25, 1.0)):
        assert mass_below(probe, x) == pytest.approx((below, below))
        assert mass_below(probe, x, inclusive=True) == pytest.approx((up_to, up_to))


def test_every_row_of_a_hessian_is_told() -> None:
    matrix = torch.tensor([[2.0, 1.0, 0.0], [1.0, -1.0, 0.5], [0.0, 0.5, 3.0]], dtype=torch.float64)
    told: list[int] = []
    objective = FlatObjective([lambda w: 0.5 * w @ matrix @ w], torch.zeros(3, dtype=torch.float64))
    found = full_hessian(HessianOperator(objective), lambda: told.append(len(told)))
    assert found == pytest.approx(matrix.numpy())
    assert told == [0, 1, 2]


def test_more_confidence_costs_a_wider_bound() -> None:
    values = torch.linspace(-1.0, 2.0, 60, dtype=torch.float64)
    operator = HessianOperator(FlatObjective([lambda w: 0.5 * (values * w * w).sum()], torch.zeros(60).double()))
    bounds = [measure_by_lanczos(operator, 2, 15, 0, torch.float64, c) for c in (0.5, 0.99, 0.999999)]
    assert bounds[0].lower_bound > bounds[1].lower_bound > bounds[2].lower_bound
    assert bounds[0].upper_bound < bounds[1].upper_bound < bounds[2].upper_bound
    assert all(one.lower_bound <= -1.0 and one.upper_bound >= 2.0 for one in bounds[1:])
    assert torch.equal(bounds[0].v_min, bounds[2].v_min)
    told: list[int] = []
    measure_by_lanczos(operator, 2, 15, 0, torch.float64, 0.9, lambda: told.append(1))
    assert len(told) == 30


def test_the_least_number_of_products_is_said_and_enough() -> None:
    objective = FlatObjective([lambda w: (w**2).sum()], torch.zeros(200, dtype=torch.float64))
    with pytest.raises(UserError, match="--products 9: expected at least 10"):
        prepare(objective, products=9)
    plan = prepare(objective, products=10).plan
    assert (plan.exact, plan.starts, plan.steps) == (False, 1, 10)
