"""Formulas as users type them: what they mean, and what is refused without being run."""

from __future__ import annotations

import math
import re

import pytest
import torch

from optbench.critical.typed.expression import parse_expression
from optbench.errors import UserError


@pytest.mark.parametrize(
    ("text", "point", "expected"),
    [
        ("x**4 - 3*x*y + y**2", (1.5, -0.5), 1.5**4 + 2.25 + 0.25),
        ("-x**2", (3.0,), -9.0),
        ("2**-x / 4", (1.0,), 0.125),
        ("x - y - z", (1.0, 2.0, 3.0), -4.0),
        ("8/x/2", (2.0,), 2.0),
        ("+x + -y", (1.0, 2.0), -1.0),
        ("sin(x)*cos(y) + exp(z)", (0.1, 0.2, 0.3), math.sin(0.1) * math.cos(0.2) + math.exp(0.3)),
        ("tan(z)*w", (0.1, 0.2, 0.3, 0.4), math.tan(0.3) * 0.4),
        ("log(x) + sqrt(x) + abs(-x)", (2.0,), math.log(2) + math.sqrt(2) + 2),
        ("tanh(x) + sinh(x)", (0.7,), math.tanh(0.7) + math.sinh(0.7)),
        ("cosh(x) + atan(x)", (0.7,), math.cosh(0.7) + math.atan(0.7)),
        ("pi*x + e", (1.0,), math.pi + math.e),
        ("x**1.5 + x**(1/2) + x**-2", (4.0,), 8 + 2 + 1 / 16),
        ("x1 + 2*x2 + 3*x3", (1.0, 1.0, 1.0), 6.0),
        ("x0 + 2*x1", (1.0, 1.0), 3.0),
        ("1e-3*x + .5", (1.0,), 0.501),
        (" ( x )\t", (2.0,), 2.0),
        ("+".join(["x"] * 600), (1.0,), 600.0),
    ],
)  # fmt: skip
def test_formulas_mean_what_they_say(text: str, point: tuple[float, ...], expected: float) -> None:
    surface = parse_expression(text)
    assert surface.dim == len(point)
    x = torch.tensor([point, point], dtype=torch.float64)
    assert surface(x).tolist() == pytest.approx([expected] * 2, rel=1e-14)


def test_dimensions() -> None:
    assert parse_expression("y**2").dim == 2
    assert parse_expression("x**2", dim=3).dim == 3
    assert parse_expression("x7").dim == 7
    with pytest.raises(UserError, match="needs 3 coordinates, --dim gives 2"):
        parse_expression("z", dim=2)


def test_equal_parts_are_computed_once() -> None:
    surface = parse_expression("(x - 1)*(x - 1) + sin(x - 1)")
    assert [name for name, _, _ in surface.steps].count("-") == 1


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("2x", "invalid", "multiplication sign"),
        ("2(x)", "not a function call", "multiplication sign"),
        ("x^2", "not a power", r"x\*\*2"),
        ("sine(x)", "unknown function 'sine'", "did you mean sin"),
        ("x + xx", "unknown name 'xx'", "did you mean"),
        ("sin", "needs an argument", r"sin\(x\)"),
        ("sin(x, y)", "one argument", ""),
        ("sin(*x)", "one argument", ""),
        ("x1 + y", "mixes", "x1, x2"),
        ("x**101", "exponent 101", ""),
        ("x**y", "variable exponent", "exp"),
        ("(-2)**x", "variable exponent", "exp"),
        ("(-8)**0.5 + x", "not a finite real number", ""),
        ("log(-1)*x", "not a finite real number", ""),
        ("exp(1000)*x", "not a finite real number", ""),
        ("1e999*x", "not a finite real number", ""),
        ("9" * 400 + "*x", "not a finite real number|cannot be read", ""),
        ("x/0", "divides by 0", ""),
        ("3 + 4", "has no variable", ""),
        ("", "syntax", ""),
        ("x +", "syntax", ""),
        ("x; y", "syntax", ""),
        ("x if x else y", "not allowed", ""),
        ("x and y", "not allowed", ""),
        ("x < y", "not allowed", ""),
        ("x.real", "not allowed", ""),
        ("x[0]", "not allowed", ""),
        ("'a'*x", "not allowed", ""),
        ("True*x", "not allowed", ""),
        ("1j*x", "not allowed", ""),
        ("x // 2", "not allowed", ""),
        ("lambda x: x", "not allowed", ""),
        ("[x for x in y]", "not allowed", ""),
        ("(x := 1)", "not allowed", ""),
        ("__import__('os').system('true')", "not a function call|not allowed", ""),
        ("eval(x)", "unknown function 'eval'", ""),
        ("x" * 2001, "2001 characters", "file"),
        ("-" * 100 + "x", "nested", "file"),
        ("sin(" * 60 + "x" + ")" * 60, "nested", "file"),
        ("(" * 900 + "x" + ")" * 900, "nested|cannot be read|too many", ""),
    ],
)  # fmt: skip
def test_everything_else_is_refused(text: str, message: str, hint: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        parse_expression(text)
    assert re.search(hint, caught.value.hint)


def test_a_gradient_flows_through() -> None:
    x = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    (g,) = torch.autograd.grad(parse_expression("x**2*y + 2**y")(x), x)
    assert g.tolist() == pytest.approx([4.0, 1.0 + 4.0 * math.log(2.0)])
