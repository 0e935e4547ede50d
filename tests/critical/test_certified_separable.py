"""Separable surfaces: found by structure alone; combinations of the factors' points are the surface's points."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from certified_tools import objective_of
from command_tools import invoke

from optbench.critical.budget import Budget
from optbench.critical.certified import certify
from optbench.critical.certified import product as module
from optbench.critical.certified.enumerate import Search
from optbench.critical.points.describe import describe
from optbench.critical.points.found import CriticalSet
from optbench.critical.programs.program import Program, record
from optbench.critical.programs.separable import factors
from optbench.critical.second_proof.verify import verify_arb

SEPARABLE = ("rastrigin_3d", "styblinski_tang_4d", "levy_3d", "schwefel_3d", "dixon_price_3d", "powell_8d")


def parts_of(objective: Any, dim: int) -> list[tuple[int, ...]]:
    """Which coordinates belong together."""
    return [factor.coordinates for factor in factors(record(objective, dim))]


@pytest.mark.parametrize(
    ("surface", "expected"),
    [
        (lambda x: (x * x).sum(dim=-1), [(0,), (1,), (2,)]),
        (lambda x: ((x * x).mean(dim=-1) - 1.0) / 3.0 - 2.0, [(0,), (1,), (2,)]),
        (lambda x: x[..., 0] * x[..., 2] + x[..., 1], [(0, 2), (1,)]),
        (lambda x: x[..., 0] * x[..., 1] + (x[..., 1] * x[..., 2]).sin(), [(0, 1, 2)]),
        (lambda x: (x[..., 0] + x[..., 1]) ** 2 + x[..., 2], [(0, 1), (2,)]),
        (lambda x: (x[..., 0] + x[..., 1]) * 0.5 + x[..., 2].exp(), [(0,), (1,), (2,)]),
        (lambda x: (x[..., 0] + x[..., 1] + x[..., 2]).exp(), [(0, 1, 2)]),
        (lambda x: x[..., 0] ** 2, [(0,), (1,), (2,)]),
        # separable in truth, (a + b)^2 - 2 a b, but not by its structure: not split
        (lambda x: (x[..., 0] + x[..., 1]) ** 2 - 2.0 * x[..., 0] * x[..., 1] + x[..., 2], [(0, 1), (2,)]),
    ],
)
def test_what_is_split(surface: Any, expected: list[tuple[int, ...]]) -> None:
    assert parts_of(surface, 3) == expected


def test_a_sum_that_uses_itself_is_not_taken_apart_for_ever() -> None:
    def doubled(x: Any) -> Any:
        total = x[..., 0] + x[..., 1]
        for _ in range(60):
            total = total + total
        return total

    assert parts_of(doubled, 2) == [(0, 1)]


def floating(program: Program, x: torch.Tensor) -> torch.Tensor:
    """A program in torch, step by step."""
    values: list[torch.Tensor] = []
    for op, args, number in program.steps:
        a, c = [values[k] for k in args], number or 0.0
        if op in ("x", "constant"):
            values.append(x[int(c)] if op == "x" else torch.tensor(c, dtype=torch.float64))
        elif op in ("plus", "times"):
            values.append(a[0] + a[1] if op == "plus" else a[0] * a[1])
        elif op in ("shift", "scale", "over"):
            values.append({"shift": a[0] + c, "scale": a[0] * c, "over": a[0] / (c or 1.0)}[op])
        else:
            values.append(a[0] ** c if op in ("power", "real_power") else getattr(torch, op)(a[0]))
    return values[program.result]


@pytest.mark.parametrize("name", SEPARABLE)
def test_the_factors_have_the_gradient_of_the_surface(name: str) -> None:
    objective, box = objective_of(name)
    unit = np.random.default_rng(0).random((5, len(box)))
    for row in unit:
        x = torch.tensor([low + u * (high - low) for u, (low, high) in zip(row, box, strict=True)], requires_grad=True)
        whole = torch.autograd.grad(objective(x[None]).sum(), x)[0]
        total = sum(floating(f.program, x[list(f.coordinates)]) for f in factors(record(objective, len(box))))
        assert torch.is_tensor(total)
        assert torch.autograd.grad(total, x)[0].numpy() == pytest.approx(whole.numpy(), rel=1e-11)


def both(monkeypatch: pytest.MonkeyPatch, objective: Any, box: Any) -> tuple[CriticalSet, CriticalSet, CriticalSet]:
    """The points found without factors, listed from factors, and counted from factors."""
    listed = certify(objective, box)
    with monkeypatch.context() as patch:
        patch.setattr(module, "MOST_LISTED", 0)
        counted = certify(objective, box)
    with monkeypatch.context() as patch:
        patch.setattr(module, "LEAST", 100)
        whole = certify(objective, box)
    return whole, listed, counted


@pytest.mark.parametrize(
    ("surface", "box"),
    [
        ("rastrigin_3d", ((-1.7, 1.2),) * 3),
        ("styblinski_tang_4d", ((-5.0, 5.0),) * 4),
        ("levy_3d", ((-4.0, 4.0),) * 3),
        # factors of two coordinates and of one; one coordinate with other points in another box
        (lambda x: (x[..., 0] ** 2 + x[..., 2] - 11.0) ** 2 + (x[..., 0] + x[..., 2] ** 2 - 7.0) ** 2
         + (3.0 * x[..., 1]).cos(), ((-6.0, 6.0), (-1.0, 2.5), (-6.0, 6.0))),
    ],
)  # fmt: skip
def test_listed_counted_and_searched_agree(monkeypatch: pytest.MonkeyPatch, surface: Any, box: Any) -> None:
    objective = objective_of(surface)[0] if isinstance(surface, str) else surface
    whole, listed, counted = both(monkeypatch, objective, box)
    assert whole.complete
    assert listed.complete
    assert counted.complete
    assert whole.counts() == listed.counts() == counted.counts()
    assert not whole.factors
    assert not listed.factors
    assert len(counted.factors) > 1
    assert listed.index_sum == counted.index_sum == whole.index_sum
    assert len(counted.points) == sum(counted.counts().values())  # few enough: all of them
    for other in (listed, counted):
        for p, q in zip(whole.points, sorted(other.points, key=lambda p: whole_order(whole, p)), strict=True):
            assert (p.type, p.morse_index) == (q.type, q.morse_index)
            assert p.x == pytest.approx(q.x, abs=1e-9)
            assert p.value == pytest.approx(q.value, rel=1e-9, abs=1e-9)
            for value, (low, high) in zip(p.eigenvalues, q.eigenvalue_bounds, strict=True):
                assert low - 1e-6 <= value <= high + 1e-6


def whole_order(whole: CriticalSet, point: Any) -> int:
    """The number of the nearest point in another list."""
    return min(range(len(whole.points)), key=lambda i: math.dist(whole.points[i].x, point.x))


@pytest.mark.parametrize("dim", [6, 8])
def test_too_many_to_list(dim: int) -> None:
    objective, box = objective_of(f"rastrigin_{dim}d")
    found = certify(objective, box)
    assert found.complete
    assert found.counts() == {
        "minimum": 11**dim, "maximum": 10**dim, "saddle": 21**dim - 11**dim - 10**dim, "degenerate": 0,
    }  # fmt: skip
    assert len(found.points) == module.FIRST
    assert [factor.coordinates for factor in found.factors] == [(i,) for i in range(dim)]
    assert found.to_json()["counts"] == found.counts()
    assert len(found.to_json()["factors"][0]["points"]) == 21
    gradient = torch.tensor([p.x for p in found.points], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.grad(objective(gradient).sum(), gradient)[0].abs().max() < 1e-9
    text = "\n".join(describe(found))
    assert f"exactly {21**dim:,} critical points" in text
    assert "all combinations" in text


def test_styblinski_tang_in_eight_coordinates_is_listed() -> None:
    found = certify(*objective_of("styblinski_tang_8d"))
    assert (found.complete, found.factors, len(found.points)) == (True, (), 3**8)
    assert found.counts() == {"minimum": 2**8, "maximum": 1, "saddle": 3**8 - 2**8 - 1, "degenerate": 0}


def test_a_factor_without_points_leaves_none() -> None:
    """Also where another factor is never finished: |x2| + ... has a kink, the plane x3 x4 = 0 is a continuum."""
    found = certify(
        lambda x: x[..., 0] + x[..., 1] ** 4 + x[..., 2].abs() + (x[..., 3] * x[..., 4]) ** 2, ((-1.0, 2.0),) * 5
    )
    assert (found.complete, found.points, found.clusters) == (True, (), ())


def test_what_a_factor_leaves_open_is_open() -> None:
    surface: Any = lambda x: (x[..., 0] * x[..., 1] - 1.0) ** 2 + (x[..., 2:] ** 2).sum(dim=-1)  # noqa: E731
    found = certify(surface, ((0.5, 2.0), (0.5, 2.0), (-1.0, 1.0), (-1.0, 1.0), (-1.0, 1.0)))
    assert (found.complete, found.points) == (False, ())
    assert found.why.startswith("in x0, x1: ")
    assert all(side == (-1.0, 1.0) for cluster in found.clusters for side in cluster.box[2:])
    assert found.clusters


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (("minimum", "minimum"), "minimum"),
        (("maximum", "maximum"), "maximum"),
        (("minimum", "maximum"), "saddle"),
        (("saddle", "undecided"), "saddle"),
        (("minimum", "undecided"), "undecided"),
    ],
)
def test_what_a_combination_of_degenerate_points_is(verdicts: Any, expected: str) -> None:
    assert module._verdict(verdicts) == expected


def test_a_point_that_may_be_outside_is_not_counted_inside() -> None:
    """A third is no double: of the two nearest ones, one box holds the point and one does not."""
    surface: Any = lambda x: ((3.0 * x[..., :1] - 1.0) ** 2).sum(dim=-1) + (x[..., 1:] * 3.0).cos().sum(dim=-1)  # noqa: E731
    for edge, count in ((0.3333333333333333, 0), (0.33333333333333337, 13**4)):
        found = certify(surface, ((-1.0, edge), *[(-6.5, 6.5)] * 4))
        inside = sum(found.counts().values())
        assert inside == count or (not found.complete and inside == 0)


def test_combinations_are_verified_factor_by_factor() -> None:
    pytest.importorskip("flint")
    objective, box = objective_of("rastrigin_5d")
    found = certify(objective, box)
    first, proof = found.factors[0], verify_arb(objective, found)
    assert proof.agrees
    assert (proof.points, proof.boxes > proof.points) == (len(first.found.points), True), "one factor, five times"
    fewer = replace(first, found=replace(first.found, points=first.found.points[1:]))
    second = verify_arb(objective, replace(found, factors=(fewer, *found.factors[1:])))
    assert not second.agrees
    assert "in x0" in second.why


def test_the_command_counts(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = invoke(capsys, "classify-critical", "--fn", "rastrigin", "--dim", "5", "--csv", "--quiet")
    assert (code, len(out.splitlines())) == (0, module.FIRST + 1)
    assert "1,000 of 4,084,101 points" in err


def test_combinations_come_in_order() -> None:
    found = certify(*objective_of("rastrigin_5d"))
    kinds = [key for key, _ in itertools.groupby(p.type for p in found.points)]
    assert kinds == ["minimum"]


def test_a_degenerate_combination_names_the_factors_that_make_it_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """x0^4 - x1^4 + three cosines, counted: each combination is degenerate in the first two coordinates alone."""
    monkeypatch.setattr(module, "MOST_LISTED", 0)
    surface: Any = lambda x: x[..., 0] ** 4 - x[..., 1] ** 4 + (3.0 * x[..., 2:]).cos().sum(dim=-1)  # noqa: E731
    found = certify(surface, ((-1.0, 1.5),) * 5)
    assert found.complete
    assert found.counts() == {"minimum": 0, "maximum": 0, "saddle": 0, "degenerate": 8}
    assert {p.wording for p in found.points} == {"degenerate in x0, x1: see the factors"}
    assert {(p.type, p.verdict, p.morse_index) for p in found.points} == {("degenerate", "saddle", None)}
    at = {tuple(round(3.0 * v / math.pi) for v in p.x[2:]): p.index for p in found.points}
    # index 1 of x0^4, -1 of -x1^4, -1 of a cosine's maximum at 0 and 1 of its minimum at pi / 3
    assert at == {ends: -math.prod(1 if end else -1 for end in ends) for ends in itertools.product((0, 1), repeat=3)}


def test_boxes_of_combinations_hold_one_point_each_and_more_room() -> None:
    """What is proved of a factor's box is proved of the box of the combination: its unique box lies round the point."""
    objective, box = objective_of("styblinski_tang_5d")
    low, high = (np.array([side[k] for side in box]) for k in (0, 1))
    search = Search(module.FactorField(record(objective, 5), low, high), 1e-7, 10**6, Budget(60.0))
    parts = module.search_parts(search)
    assert len(parts) == 5
    assert module.listed(search, parts)
    (held_low, held_high), (unique_low, unique_high) = search.held.arrays(), search.unique.arrays()
    assert len(held_low) == 3**5
    assert ((unique_low < held_low) & (held_high < unique_high)).all()
    assert len(np.unique(held_low, axis=0)) == 3**5
