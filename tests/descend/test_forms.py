"""The operations of a traced program in Python's floats: what NumPy computes, where Python itself raises too."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optbench.descend import vector_math
from optbench.descend.forms import ARRAYS, FORMS, SAFE
from optbench.descend.program import Program
from optbench.descend.scalar import array_function_of, function_of, plain_program

ODD = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, 1e-320, 1e300, -1e300, 800.0, -800.0, math.inf, -math.inf, math.nan]
UNARY = {"neg": np.negative, "sqrt": np.sqrt, "abs": np.abs, "tan": np.tan, "tanh": np.tanh, "atan": np.arctan,
         "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "sin": np.sin, "cos": np.cos, "exp": np.exp,
         "sign": np.sign, "floor": np.floor}  # fmt: skip
BINARY = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "pow": np.power,
          "maximum": np.maximum, "minimum": np.minimum}  # fmt: skip


def computed(op: str, *values: float, as_kernel: bool = True) -> float:
    program = Program()
    inputs = [program.input(f"x[{i}]") for i in range(len(values))]
    plain = plain_program(program, [f"x[{i}]" for i in range(len(values))], [program.apply(op, *inputs)])
    if as_kernel:
        return function_of(plain)(*values)[0]
    (found,) = array_function_of(plain)(*(np.array([value, 1.0]) for value in values))
    return float(found[0])


def near(found: float, wanted: float) -> bool:
    if math.isinf(wanted) or math.isnan(wanted):
        return found == wanted or (found != found and wanted != wanted)
    return abs(found - wanted) <= 2 * math.ulp(wanted)


@pytest.mark.parametrize("as_kernel", [True, False])
@pytest.mark.parametrize("op", UNARY)
def test_of_one_number(op: str, as_kernel: bool) -> None:
    for x in ODD:
        if as_kernel and op in ("sin", "cos") and math.isfinite(x) and abs(x) > vector_math.FARTHEST:
            continue
        if op == "sign" and x != x:
            continue  # torch's sign of a NaN is 0
        with np.errstate(all="ignore"):
            wanted = float(UNARY[op](np.float64(x)))
        assert near(computed(op, x, as_kernel=as_kernel), wanted), (op, x)


@pytest.mark.parametrize("as_kernel", [True, False])
@pytest.mark.parametrize("op", BINARY)
def test_of_two_numbers(op: str, as_kernel: bool) -> None:
    for a, b in itertools.product(ODD, ODD):
        with np.errstate(all="ignore"):
            wanted = float(BINARY[op](np.float64(a), np.float64(b)))
        if (op in ("maximum", "minimum") and a == b) or (op, a, b) == ("pow", -math.inf, 0.5):
            continue  # either zero; NumPy takes the root, C has an infinity
        assert near(computed(op, a, b, as_kernel=as_kernel), wanted), (op, a, b)


def test_every_form_has_a_safe_one() -> None:
    assert SAFE.keys() == FORMS.keys() == ARRAYS.keys()


def test_choices_of_arrays_are_those_of_numbers() -> None:
    program = Program()
    a, b = program.input("x[0]"), program.input("x[1]")
    above, same = program.apply("gt", a, b), program.apply("eq", a, b)
    truths = [above, same, program.apply("not", above), program.apply("or", above, same),
              program.apply("and", program.apply("ne", a, b), program.apply("le", a, b))]  # fmt: skip
    results = [program.apply("where", truth, a, b) for truth in truths]
    plain = plain_program(program, ["x[0]", "x[1]"], results)
    pairs = np.array(list(itertools.product(ODD, ODD)))
    mine = np.stack(array_function_of(plain)(*pairs.T), axis=1)
    its = np.array([function_of(plain)(*pair) for pair in pairs.tolist()])
    np.testing.assert_array_equal(mine, its)


@given(a=st.floats(allow_nan=False, allow_infinity=False), b=st.floats(allow_nan=False, allow_infinity=False),
       c=st.floats(allow_nan=False, allow_infinity=False))  # fmt: skip
def test_a_fused_product_rounds_once(a: float, b: float, c: float) -> None:
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    if abs(exact) < Fraction(2) ** 1023:
        for fma in (vector_math._library_fma(), vector_math._exact_fma):
            found = Fraction(fma(a, b, c))
            assert abs(found - exact) <= Fraction(math.ulp(float(found))) / 2
            assert found == Fraction(exact.numerator / exact.denominator) or not exact
