"""Certified bifurcation diagrams against closed forms, and against root counts in exact arithmetic."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy
from command_tools import invoke

from optbench.critical.bifurcation import events as events_module
from optbench.critical.bifurcation.describe import describe_diagram
from optbench.critical.bifurcation.diagram import Diagram
from optbench.critical.bifurcation.reduced import expand
from optbench.critical.bifurcation.sweep import sweep
from optbench.critical.bifurcation.symmetry import reflections
from optbench.critical.certified import certify
from optbench.critical.programs.program import record
from optbench.critical.proofs.field import Field
from optbench.critical.typed.expression import parse_expression
from optbench.errors import UserError


def diagram(
    formula: str, box: tuple[tuple[float, float], ...], span: tuple[float, float] = (-1.0, 1.0), **more: Any
) -> Diagram:
    return sweep(parse_expression(formula, len(box), "a"), box, span, name=formula, **more)


def counted(found: Diagram) -> list[tuple[int, int, int]]:
    """Minima, saddles and maxima of each span."""
    return [(c["minimum"], c["saddle"], c["maximum"]) for s in found.spans if (c := s.counts) is not None]


def kinds(found: Diagram) -> list[tuple[str, int, int]]:
    return [(b.kind, b.before, b.after) for b in found.bifurcations]


LINE = ((-2.0, 2.1),)
PLANE = ((-3.0, 3.1), (-3.0, 3.2))
CUSP = (27 * 0.01**2 / 4) ** (1 / 3)  # x^3 - a x + c has a double root where 4 a^3 = 27 c^2
CLOSED = {  # formula: (box, range, bifurcations with the value of a, counts between them)
    "x**3/3 - a*x": (LINE, (-1, 1), [("fold", 0, 2, 0.0)], [(0, 0, 0), (1, 0, 1)]),
    "x**4/4 - a*x**2/2": (LINE, (-1, 1), [("pitchfork", 1, 3, 0.0)], [(1, 0, 0), (2, 0, 1)]),
    "-x**4/4 - a*x**2/2": (LINE, (-1, 1), [("pitchfork", 3, 1, 0.0)], [(1, 0, 2), (0, 0, 1)]),
    "x**4/4 - a*x**2/2 + 0.01*x": (LINE, (-1, 1), [("fold", 0, 2, CUSP)], [(1, 0, 0), (2, 0, 1)]),
    "x**3/3 - a*x**2/2": (LINE, (-1, 1.3), [("transcritical", 2, 2, 0.0)], [(1, 0, 1), (1, 0, 1)]),
    "(x - 1/4)**3/3 - a*(x - 1/4)**2/2": (LINE, (-1, 1.3), [("transcritical", 2, 2, 0.0)], [(1, 0, 1), (1, 0, 1)]),
    "x**4/4 - x**2 - a*x": (
        ((-2.5, 2.5),),
        (-3, 3),
        [("fold", 0, 2, -math.sqrt(32 / 27)), ("fold", 2, 0, math.sqrt(32 / 27))],
        [(1, 0, 0), (2, 0, 1), (1, 0, 0)],
    ),
    "a*x + cos(x)": (  # a = sin x: folds at +-1, at x = +-pi/2
        ((-3.0, 3.0),),
        (0.2, 2),
        [("fold", 2, 0, 1.0)],
        [(1, 0, 1), (0, 0, 0)],
    ),
    "x**3/3 - a*x + y**2 + x*y": (PLANE, (-1, 1), [("fold", 0, 2, -1 / 16)], [(0, 0, 0), (1, 1, 0)]),
    "x**4 - a*x*y + y**2 + x**2": (PLANE, (1, 4), [("pitchfork", 1, 3, 2.0)], [(1, 0, 0), (2, 1, 0)]),
    "x**4 - 3*a*x*y + y**2 + x**2": (
        PLANE,
        (-1, 1.1),
        [("pitchfork", 3, 1, -2 / 3), ("pitchfork", 1, 3, 2 / 3)],
        [(2, 1, 0), (1, 0, 0), (2, 1, 0)],
    ),
    "(1 - x*y)**2 + a*(x**2 + y**2)": (PLANE, (0.1, 2), [("pitchfork", 3, 1, 1.0)], [(2, 1, 0), (1, 0, 0)]),
    "x**3/3 - a*x + y**2 - z**2 + x*z": (  # z = x / 2, y = 0: x^2 + x / 2 = a
        ((-2.0, 2.1),) * 3,
        (-0.5, 1),
        [("fold", 0, 2, -1 / 16)],
        [(0, 0, 0), (0, 2, 0)],
    ),
}


@pytest.mark.parametrize(
    "formula", [pytest.param(f, marks=pytest.mark.slow if f.startswith("x**4 - 3*a*x*y") else ()) for f in CLOSED]
)
def test_closed_forms(formula: str) -> None:
    box, span, expected, between = CLOSED[formula]
    found = diagram(formula, box, span)
    assert found.why == ""
    assert found.complete
    assert kinds(found) == [e[:3] for e in expected]
    for b, (_, _, _, a) in zip(found.bifurcations, expected, strict=True):
        assert b.a[0] - 1e-15 <= a <= b.a[1] + 1e-15
        assert b.a[1] - b.a[0] < 1e-9
        assert b.basis == "proved"
    assert counted(found) == between
    assert (found.spans[0].a[0], found.spans[-1].a[1]) == span
    assert all(c.start != "open" and c.end != "open" for c in found.curves)


@pytest.mark.parametrize(
    ("formula", "roots"),
    [
        ("x**3/3 - a*x", lambda a: [-math.sqrt(a), math.sqrt(a)] if a > 0 else []),
        ("x**4/4 - a*x**2/2", lambda a: [0.0] + ([-math.sqrt(a), math.sqrt(a)] if a > 0 else [])),
        ("x**3/3 - a*x**2/2", lambda a: [0.0, a]),
    ],
)
def test_curves_follow_the_critical_points(formula: str, roots: Callable[[float], list[float]]) -> None:
    found = diagram(formula, LINE)
    seen = {}
    for curve in found.curves:
        second = sympy.lambdify(sympy.symbols("x a"), sympy.diff(sympy.sympify(formula), "x", 2))
        a = [p[0] for p in curve.points]
        assert a == sorted(a)
        inner = [p for p in curve.points if abs(p[0]) > 1e-9]
        for value, x in inner:
            assert min(abs(x - r) for r in roots(value)) < 1e-9
            assert (second(x, value) > 0) == (curve.type == "minimum")
        seen[curve.type] = seen.get(curve.type, 0) + 1
        ends = [end for end in (curve.start, curve.end) if end != "range"]
        assert ends == [0]
    assert sum(seen.values()) == sum(len(roots(v)) for v in (-0.5, 0.5))


@pytest.mark.slow
def test_three_lines_that_cross_are_counted_up_to_their_point() -> None:
    """x^4 - 3 a x y + y^2: x = 0 and x = +-3 a / sqrt(8) meet at a = 0: verified, and not counted quite there."""
    found = diagram("x**4 - 3*a*x*y + y**2", ((-3.0, 3.0),) * 2)
    (b,) = found.bifurcations
    assert (b.kind, b.basis, b.before, b.after, b.a, b.room) == ("multiple", "germ", 3, 3, (0.0, 0.0), ())
    assert f"|da| ~ {math.sqrt(8) / 3:.4g} |dt|" in b.wording
    assert counted(found) == [(2, 1, 0), (2, 1, 0)]
    assert not found.complete
    assert 0.999 < found.covered < 1.0
    assert len(found.curves) == 6
    assert {c.end for c in found.curves if c.a[1] < 0} == {0}


def test_what_is_no_bifurcation_point_is_left_open() -> None:
    found = diagram("a*cos(x)", ((-7.0, 7.1),), max_boxes=60_000)  # for a = 0 every x is critical
    assert not found.complete
    assert found.bifurcations == ()
    assert len(found.open) >= 1
    assert all(o.a[0] <= 0.0 <= o.a[1] for o in found.open)
    assert [sum(c) for c in counted(found)] == [5, 5]
    cusp = diagram("x**4/4 - a*x", LINE)  # x = a^(1/3): degenerate at a = 0, and yet one point throughout
    assert kinds(cusp) == [("multiple", 1, 1)]
    assert counted(cusp) == [(1, 0, 0), (1, 0, 0)]
    none = diagram("x**6/6 - a**2*x**2/2 - x*a**5", ((-1.0, 1.1),))  # a point with another polygon
    assert not none.complete


def test_curves_that_leave_the_box() -> None:
    found = diagram("x**3/3 - a*x", ((-0.5, 1.0),), (-1.0, 0.5))
    (crossing,) = [s for s in found.spans if s.counts is None]
    assert crossing.a[0] <= 0.25 <= crossing.a[1]  # -sqrt(a) = -1/2
    assert crossing.a[1] - crossing.a[0] < 1e-6
    assert counted(found) == [(0, 0, 0), (1, 0, 1), (1, 0, 0)]
    assert "edge" in found.why
    assert [c.end for c in found.curves if c.type == "maximum"] == ["edge"]
    edge = diagram("x**4/4 - a*x**2/2", ((0.0, 1.5),))  # the axis of symmetry is the edge: nothing is claimed there
    assert not edge.complete
    assert all(s.counts is None for s in edge.spans if s.a[1] - s.a[0] > 1e-6)


def test_two_folds_whose_rooms_cover_all_that_is_between_them() -> None:
    """The count between them follows from that beside them; here it is compared with signs of the derivative."""
    formula = "a*cos(x) + a**3*x**2/40 - (a - 0.5)*x"
    found = diagram(formula, ((-7.0, 7.1),), (-1.0, 0.28))
    assert found.complete
    assert counted(found) == [(0, 0, 0), (1, 0, 1), (2, 0, 2)]
    for span in found.spans:
        a = 0.5 * sum(span.a)
        x = np.linspace(-7.0, 7.1, 2_000_001)
        signs = np.sign(-a * np.sin(x) + a**3 * x / 20 - (a - 0.5))
        assert (signs[1:] != signs[:-1]).sum() == sum((span.counts or {}).values())


def test_a_bifurcation_at_the_end_of_the_range() -> None:
    for span in ((0.0, 1.0), (-1.0, 0.0), (-1e-9, 1.0)):
        found = diagram("x**3/3 - a*x", LINE, span)
        assert counted(found)[-1] == ((1, 0, 1) if span[1] > 0 else (0, 0, 0))
        assert found.covered > 0.999


def test_signs_are_asked_all_over_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the walls, without the symmetry, without a fixed point: each is needed, and its lack is seen."""
    monkeypatch.setattr(events_module, "sign_along", lambda *_: 0)
    assert kinds(diagram("x**3/3 - a*x", LINE)) in ([], [("multiple", 0, 2)])
    monkeypatch.undo()
    monkeypatch.setattr(events_module, "reflections", lambda *_: ())
    assert kinds(diagram("x**4/4 - a*x**2/2", LINE)) == [("multiple", 1, 3)]
    monkeypatch.undo()
    # Nearly a pitchfork, off by x^3: a transcritical point at 0 and a fold beside it.
    found = diagram("x**4/4 + x**3/30 - a*x**2/2", LINE)
    assert kinds(found) == [("fold", 1, 3), ("transcritical", 2, 2)] or kinds(found) == [
        ("fold", 0, 2),
        ("transcritical", 2, 2),
    ]
    assert found.bifurcations[0].a[0] <= -(0.05**2) <= found.bifurcations[0].a[1]  # x^2 + x / 10 = a has one root
    assert counted(found) == [(1, 0, 0), (2, 0, 1), (2, 0, 1)]


def test_reflections() -> None:
    for formula, dim, i, expected in [
        ("x**4 - a*x**2", 1, 0, (0,)),
        ("x**4 - a*x**2 + x", 1, 0, ()),
        ("cos(x)*exp(a) + y*a", 2, 0, (0,)),
        ("x**4 - a*x*y + y**2", 2, 0, (0, 1)),
        ("sin(x)*tanh(y) + (x*y)**3 + a", 2, 1, (0, 1)),
        ("sin(x)*y + a", 2, 0, (0, 1)),
        ("sin(x)*y + x + a", 2, 0, ()),
        ("abs(x)**1.5 + a/x**2", 1, 0, (0,)),
        ("x**3*y + x*y**2 + a", 2, 0, ()),
    ]:
        surface = record(parse_expression(formula, dim, "a"), dim + 1)
        assert reflections(surface, (Fraction(0),) * dim, i) == expected, formula
    moved = record(parse_expression("(x - 1/2)**4 - a*(x - 1/2)**2", 1, "a"), 2)
    assert reflections(moved, (Fraction(1, 2),), 0) == (0,)
    assert reflections(moved, (Fraction(0),), 0) == ()


def test_derivatives_of_the_reduced_equation() -> None:
    """Against sympy, which solves the other equation for y."""
    x, y, a = sympy.symbols("x y a")
    formula = "x**3/3 - a*x + x*y + y**2*(1 + a/2) + x**2*y/3"
    f = sympy.sympify(formula)
    solution = sympy.solve(sympy.diff(f, y), y)[0]  # linear in y
    b = sympy.diff(f, x).subs(y, solution)
    place = (0.3, -0.2)
    here = float(solution.subs({x: place[0], a: place[1]}))
    field = Field(parse_expression(formula, 2, "a"), ((-1.0, 1.0),) * 3)
    point = np.array([place[0], here, place[1]])
    found = expand(field, 0, point, point)
    for p, q in itertools.product(range(4), range(4)):
        if 0 < p + q <= 3:
            exact = sympy.diff(b, x, p, a, q) if p and q else sympy.diff(b, x, p) if p else sympy.diff(b, a, q)
            value = float(exact.subs({x: place[0], a: place[1]})) / math.factorial(p) / math.factorial(q)
            assert found.middle((p, q)) == pytest.approx(value, rel=1e-9, abs=1e-12), (p, q)
    wide = expand(field, 0, point - 0.01, point + 0.01)
    assert all(wide.b[key][0] <= low and high <= wide.b[key][1] for key, (low, high) in found.b.items())


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 40))])
def test_random_families_against_exact_root_counts(seed: int) -> None:
    """Quartics and quintics with coefficients linear in a: the number of critical points by Sturm's theorem (sympy)."""
    rng = np.random.default_rng(seed)
    degree = int(rng.integers(3, 6))
    c = [[Fraction(int(v), 8) for v in rng.integers(-12, 13, 2)] for _ in range(degree + 1)]
    c[degree] = [Fraction(1, 2), Fraction(0)]
    terms = [f"({float(p)!r} + {float(q)!r}*a)*x**{k}" for k, (p, q) in enumerate(c) if k]
    found = diagram(" + ".join(terms), ((-3.0, 3.0),))
    x = sympy.symbols("x")
    for span in found.spans:
        if span.counts is None or span.a[1] - span.a[0] < 1e-9:
            continue
        for share in (0.001, 0.5, 0.999):
            a = Fraction(span.a[0]) + Fraction(share) * (Fraction(span.a[1]) - Fraction(span.a[0]))
            f = sum(sympy.Rational(p + q * a) * x**k for k, (p, q) in enumerate(c))
            slope = sympy.Poly(sympy.diff(f, x), x)
            assert slope.count_roots(-3, 3) == sum(span.counts.values()), (seed, float(a))
            second = sympy.diff(f, x, 2)
            kinds_here = [second.subs(x, r.evalf(30)) > 0 for r in slope.real_roots() if -3 <= r <= 3]
            assert span.counts["minimum"] == sum(map(bool, kinds_here))
    assert found.covered > 0.99
    assert all(b.kind == "fold" for b in found.bifurcations)


def test_budgets_and_words() -> None:
    found = diagram("x**4 - 3*a*x*y + y**2 + x**2", PLANE, max_boxes=100)
    assert not found.complete
    assert "budget" in found.why
    assert any(s.counts is None for s in found.spans)
    lines = describe_diagram(found)
    assert lines[-1].startswith("NOT COMPLETE: counted for")
    whole = describe_diagram(diagram("x**3/3 - a*x", LINE))
    assert whole[-1] == "COMPLETE: the critical points are proved for all a in [-1, 1] but the 1 value enclosed above."
    assert any("no critical point" in line for line in whole)
    shares: list[float] = []
    diagram("x**3/3 - a*x", LINE, progress=lambda share, phrase: shares.append(share))
    assert shares == sorted(shares)
    with pytest.raises(UserError, match="coordinates"):
        diagram("x + y + z + w + a", ((-1.0, 1.0),) * 4)


def test_ctrl_c_keeps_what_is_proved() -> None:
    calls = itertools.count()

    def stop(share: float, phrase: str) -> None:
        if next(calls) == 12:
            raise KeyboardInterrupt

    found = diagram("x**4/4 - a*x**2/2 + 0.01*x", LINE, progress=stop)
    assert found.why.startswith("interrupted")
    assert not found.complete
    known = [s for s in found.spans if s.counts is not None]
    whole = {s.a: s.counts for s in diagram("x**4/4 - a*x**2/2 + 0.01*x", LINE).spans}
    for span in known:
        assert span.counts in [c for a, c in whole.items() if a[0] <= span.a[0] and span.a[1] <= a[1]]


@pytest.mark.slow
def test_counts_are_those_of_the_enumerator() -> None:
    """Random families in the plane, at random values of the parameter: another branch and bound finds as many."""
    rng = np.random.default_rng(3)
    for _ in range(6):
        c = [float(v) for v in rng.integers(-8, 9, 8) / 4]
        formula = (
            f"x**4/4 + y**4/4 + {c[0]}*x**2 + {c[1]}*y**2 + {c[2]}*x*y + {c[3]}*x + {c[4]}*y"
            f" + a*({c[5]}*x*y + {c[6]}*x + {c[7]}*y**2)"
        )
        found = diagram(formula, ((-4.0, 4.1),) * 2)
        assert found.covered > 0.99, formula
        for a in rng.uniform(-1.0, 1.0, 4).tolist():
            (here,) = [s for s in found.spans if s.a[0] < a < s.a[1]]
            if here.counts is not None:
                one = certify(parse_expression(formula.replace("a*(", f"({a!r})*("), 2), ((-4.0, 4.1),) * 2)
                counts = one.counts()
                assert one.complete
                assert [here.counts[k] for k in ("minimum", "maximum", "saddle")] == [
                    counts[k] for k in ("minimum", "maximum", "saddle")
                ], (formula, a)


FILE = """
def f(x, a, more=0.0):
    return x[..., 0] ** 4 / 4 - a * x[..., 0] ** 2 / 2

def g(x, *, tilt=1.0):
    return x[..., 0] ** 3 / 3 - tilt * x[..., 0] + x[..., 1] ** 2

def plain(x):
    return x[..., 0] ** 2
"""


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(FILE)
    formula = ["classify-critical", "--expr", "x**3/3 - b*x", "--box", "-2,2", "--sweep", "b=-1:1"]
    code, out, _ = invoke(capsys, *formula, "--plot", "fold.png")
    assert code == 0
    assert "fold" in out
    assert Path("fold.png").stat().st_size > 10_000
    made = json.loads(invoke(capsys, *formula, "--json")[1])
    assert {"surface", "parameter", "range", "box", "complete", "why", "spans", "bifurcations", "curves", "open"} <= {
        *made
    }
    assert made["complete"] is True
    assert [s["counts"]["minimum"] for s in made["spans"]] == [0, 1]
    for name, sweep_text, kind, dim in (("f", "a=-1:1", "pitchfork", 1), ("g", "tilt=-1:1", "fold", 2)):
        words = ["classify-critical", "--fn", f"mine.py:{name}", "--box", "-2,2.1", "--sweep", sweep_text, "--json"]
        made = json.loads(invoke(capsys, *words)[1])
        assert ([b["kind"] for b in made["bifurcations"]], made["dim"]) == ([kind], dim)
    made = json.loads(
        invoke(capsys, "classify-critical", "--fn", "linear_net_l2", "--sweep", "l2=0.1:1.9", "--json")[1]
    )
    assert [(b["kind"], round(b["a"][0], 9)) for b in made["bifurcations"]] == [("pitchfork", 1.0)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--expr", "x**2 - a*x", "--sweep", "a=1:-1", "--box", "-1,1"], "not below"),
        (["--expr", "x**2 - a*x", "--sweep", "a:1:2", "--box", "-1,1"], "not a parameter with a range"),
        (["--expr", "x**2 - a*x", "--sweep", "a=0:nan", "--box", "-1,1"], "not a finite number"),
        (["--expr", "x**2 - a*x", "--sweep", "b=0:1", "--box", "-1,1"], "has no 'b'"),
        (["--expr", "x**2 - a*x", "--sweep", "x=0:1", "--box", "-1,1"], "meaning of its own"),
        (["--expr", "x**2 - a*x + c", "--sweep", "a=0:1", "--box", "-1,1"], "unknown name 'c'"),
        (["--expr", "x**2 - a*x", "--sweep", "a=0:1"], "no domain"),
        (["--expr", "a**2", "--sweep", "a=0:1", "--box", "-1,1"], "no variable"),
        (["--expr", "x**2 - a*x", "--sweep", "a=0:1", "--box", "-1,1", "--at", "0"], "--at"),
        (["--expr", "x**2 - a*x", "--sweep", "a=0:1", "--box", "-1,1", "--method", "numeric"], "--method"),
        (["--sweep", "a=0:1"], "needs a family"),
        (["--fn", "rosenbrock", "--sweep", "a=0:1"], "no number 'a'"),
        (["--fn", "mine.py:plain", "--sweep", "a=0:1", "--box", "-1,1"], "takes no 'a'"),
        (["--fn", "mine.py:g", "--sweep", "tild=0:1", "--box", "-1,1"], "did you mean tilt"),
        (["--expr", "x+y+z+w-a", "--sweep", "a=0:1", "--box", "-1,1"], "coordinates"),
    ],
)
def test_mistakes_cost_three_lines(
    options: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(FILE)
    code, _, err = invoke(capsys, "classify-critical", *options)
    assert code == 2
    assert words in err
    assert err.count("\n") <= 3
