"""The second proof in Arb arithmetic: it confirms what is right and contradicts what is not."""

from __future__ import annotations

import re
import sys
from dataclasses import replace

import pytest
import torch
from certified_tools import objective_of

from optbench.critical.arithmetic.functions import RULES
from optbench.critical.certified import certify
from optbench.critical.second_proof.verify import verify_arb
from optbench.critical.typed.expression import parse_expression
from optbench.errors import UserError

FAST = [
    "sphere",
    "near_flat_min",
    "himmelblau",
    "six_hump_camel",
    "linear_net_l2",
    "branin",
    "double_well_1d",
    "linear_net",
]


@pytest.mark.parametrize("name", FAST)
def test_agrees(name: str) -> None:
    pytest.importorskip("flint")
    objective, box = objective_of(name)
    found = certify(objective, box)
    proof = verify_arb(objective, found)
    assert proof.agrees, proof.why
    assert proof.points == sum(p.type != "degenerate" for p in found.points)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["rastrigin", "levy", "peaks", "goldstein_price", "schwefel", "ackley", "rosenbrock_4d"]
)
def test_agrees_on_larger_surfaces(name: str) -> None:
    pytest.importorskip("flint")
    objective, box = objective_of(name)
    proof = verify_arb(objective, certify(objective, box), seconds=900.0)
    assert proof.agrees, proof.why


def test_contradicts_a_wrong_list() -> None:
    pytest.importorskip("flint")
    objective, box = objective_of("himmelblau")
    found = certify(objective, box)
    short = replace(found, points=found.points[1:])
    assert "9 points in Arb arithmetic, 8 in the list" in verify_arb(objective, short).why
    first = replace(found.points[0], morse_index=1)
    assert "Morse index" in verify_arb(objective, replace(found, points=(first, *found.points[1:]))).why
    moved = replace(found.points[0], x=(0.5, 0.5))
    proof = verify_arb(objective, replace(found, points=(moved, *found.points[1:])))
    assert (proof.agrees, "not found" in proof.why) == (False, True)
    assert "budget" in verify_arb(objective, found, max_boxes=3).why


def test_an_unfinished_proof_says_how_far_it_came() -> None:
    pytest.importorskip("flint")
    objective, box = objective_of("himmelblau")
    found = certify(objective, box)
    last = verify_arb(objective, found).boxes
    said = [verify_arb(objective, found, max_boxes=n).why for n in (0, last - 1)]
    assert "after 0 boxes; so far 0 % of the box and 0 points" in said[0]
    match = re.search(rf"after {last - 1} boxes; so far ([\d.]+) % of the box", said[1])
    assert match is not None
    assert 99.0 < float(match[1]) <= 100.0, "one box of the smallest is left"


def test_degenerate_regions_must_be_known() -> None:
    pytest.importorskip("flint")
    objective, box = objective_of("quartic_bowl")
    found = certify(objective, box)
    proof = verify_arb(objective, found)
    assert (proof.agrees, proof.why.partition("no other")[2]) == (True, " outside of boxes round degenerate points")
    assert "could not be decided" in verify_arb(objective, replace(found, points=())).why


def test_every_factor_is_proved_again_also_after_equal_ones() -> None:
    pytest.importorskip("flint")
    objective = parse_expression("+".join(f"(x{i}**2 - 1)**2" for i in range(1, 7)) + " + (x7 - 0.2)**2", 7)
    found = certify(objective, ((-2.0, 2.0),) * 7)
    assert (len(found.points), len(found.factors)) == (3**6, 7)
    proof = verify_arb(objective, found)
    assert proof.agrees
    assert "3 points proved again" in proof.why
    assert "1 point proved again" in proof.why


@pytest.mark.parametrize(
    ("expression", "boxes"),
    [("(x + y)**2", 1), ("abs(x)**1.5 + x + y**2", None)],  # all of the box is a valley; a piece round a kink
)
def test_what_the_first_proof_left_open_is_not_asked_of_the_second(expression: str, boxes: int | None) -> None:
    pytest.importorskip("flint")
    objective = parse_expression(expression, 2)
    found = certify(objective, ((-1.0, 1.0),) * 2)
    (cluster,) = found.clusters
    assert ("--depth" in found.why) == (cluster.kind == "undecided"), "no depth resolves a valley"
    proof = verify_arb(objective, found)
    assert proof.agrees
    assert boxes in (None, proof.boxes)


@pytest.mark.parametrize(
    ("expression", "morse_index"),
    [("(x**2 + y**2 - 1)**2", 2), ("-(x**2 + y**2 - 1)**2", 0)],
)
def test_a_point_in_the_middle_of_an_open_ring_is_proved_again(expression: str, morse_index: int) -> None:
    pytest.importorskip("flint")
    objective = parse_expression(expression, 2)
    found = certify(objective, ((-2.0, 2.0),) * 2)
    (point,) = (p for p in found.points if p.type != "degenerate")
    assert point.morse_index == morse_index
    proof = verify_arb(objective, found)
    assert (proof.agrees, proof.points) == (True, 1), proof.why
    assert proof.why.endswith("and no other outside of boxes round open regions")
    wrong = replace(found, points=(replace(point, morse_index=1),))
    assert "Morse index" in verify_arb(objective, wrong).why
    moved = replace(found, points=(replace(point, x=(0.5, 0.25)),))
    assert "(0.5, 0.25) is not found" in verify_arb(objective, moved).why


@pytest.mark.parametrize("side", [(-1.0, 1.0), (1.0, 3.0)])
def test_a_point_that_is_exactly_at_an_end_of_the_box_is_inside(side: tuple[float, float]) -> None:
    """All is exact in binary, and x = 1 comes out without a radius; along the face x = 1 the slope 2 y is not 0."""
    pytest.importorskip("flint")
    objective = parse_expression("(x - 1)**2 + 2*(x - 1)*y + 2*y**2", 2)
    found = certify(objective, (side, (-1.0, 1.0)))
    proof = verify_arb(objective, found)
    assert ([p.inside for p in found.points], proof.agrees) == ([True], True), proof.why


CONSTANT = {("abs", 1), ("abs", 2), ("relu", 1), ("relu", 2), ("square", 2)}  # derivatives that are one exact number


@pytest.mark.parametrize("name", sorted(RULES))
def test_ball_rules_hold_autograd(name: str) -> None:
    """Over a ball, the values at points of the whole ball; what is no constant has a radius."""
    pytest.importorskip("flint")
    from optbench.critical.arithmetic.arb import SLOPES, ball

    for x in (0.3, 1.7, 2.9) + (() if name in ("log", "sqrt") else (-0.6,)):
        t = torch.tensor([x - 0.9e-6, x, x + 0.9e-6], dtype=torch.float64, requires_grad=True)
        value = getattr(torch, name)(t) if name != "log1pexp" else torch.nn.functional.softplus(t)
        (first,) = torch.autograd.grad(value.sum(), t, create_graph=True)
        second = torch.autograd.grad(first.sum(), t)[0] if first.requires_grad else torch.zeros(3)
        for order, (found, exact) in enumerate(
            zip(SLOPES[name](ball(x - 1e-6, x + 1e-6)), (value, first, second), strict=True)
        ):
            truths = (exact.detach() + torch.zeros(3)).tolist()
            assert all(found.contains(truth) for truth in truths), (name, order)
            constant = (name, order) in CONSTANT or (name == "relu" and x < 0)
            assert (float(found.rad()) == 0.0) == constant
            assert float(found.rad()) <= 1e-4 * (1 + abs(truths[1]))


def test_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    objective, box = objective_of("sphere")
    found = certify(objective, box)
    monkeypatch.setitem(sys.modules, "flint", None)
    with pytest.raises(UserError, match="python-flint") as caught:
        verify_arb(objective, found)
    assert "optbench[verify]" in caught.value.hint
