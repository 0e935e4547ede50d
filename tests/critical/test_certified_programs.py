"""Programs that mean one thing on tensors: on intervals they mean the same, or they are refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from command_tools import command, invoke
from torch import Tensor
from torch.nn import functional

from optbench.critical import critical_points
from optbench.critical.certified import certify
from optbench.critical.programs import operations
from optbench.critical.programs.program import record
from optbench.critical.programs.scalar import MissingRule
from optbench.critical.typed.function import check_function, load_function
from optbench.critical.typed.parse import parse_function
from optbench.errors import UserError

SQUARE = ((-2.0, 2.0),) * 2
CENTRE = torch.tensor([0.3, -0.2], dtype=torch.float64)
Function = Callable[[Tensor], Tensor]


def fourth_order_norm(x: Tensor) -> Tensor:
    distance = torch.linalg.vector_norm(x - CENTRE, ord=4, dim=-1)
    return distance**4 - 0.5 * x[..., 0] - 0.25 * x[..., 1]


def alias(x: Tensor) -> Tensor:
    a = x[..., 0] ** 2
    b = a
    b += x[..., 1] ** 2
    return a * a - a + 0.1 * x[..., 0] + 0.03 * x[..., 1]


def view(x: Tensor) -> Tensor:
    x = x.clone()
    first = x[..., 0]
    first -= 1
    return x[..., 0] ** 2 + x[..., 1] ** 2


def whole(x: Tensor) -> Tensor:
    y = x * 1.0
    first = y[..., 0]
    y -= 1
    return (y**2).sum(-1) + first**2


def functional_in_place(x: Tensor) -> Tensor:
    y = x[..., 0] * 1.0
    torch.exp_(y)
    return (y - 2) ** 2 + x[..., 1] ** 2


REFUSED: dict[str, Function] = {
    "norm of order 4": fourth_order_norm,
    "x in single precision": lambda x: (x.float() ** 2).sum(-1).double(),
    "softmax in single precision": lambda x: functional.softmax(x, -1, dtype=torch.float32)[..., 0] + (x**2).sum(-1),
    "a random function": lambda x: ((x - torch.rand(2)) ** 2).sum(-1),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_intervals_cannot_follow_is_searched_numerically(name: str) -> None:
    with pytest.raises(MissingRule):
        certify(REFUSED[name], SQUARE)


def test_the_fourth_order_norm_has_its_own_minimum() -> None:
    # 4 (x - a)^3 = (0.5, 0.25)
    (found,) = critical_points(fourth_order_norm, ((0.5, 2.0), (-0.1, 2.0))).points
    assert found.x == pytest.approx([0.3 + 0.125 ** (1 / 3), -0.2 + 0.0625 ** (1 / 3)], rel=1e-9)


def accumulated(x: Tensor) -> Tensor:
    total = x[..., 0] ** 2
    total += (x[..., 1] - 1) ** 2
    total *= 3.0
    total -= x[..., 0]
    total /= 2.0
    total **= 1
    return total


def copied(x: Tensor) -> Tensor:
    y = x.clone()
    y -= 1
    return (y**2).sum(-1) + (x**2).sum(-1)


@pytest.mark.parametrize(("function", "minimum"), [
    (accumulated, (1 / 6, 1.0)), (copied, (0.5, 0.5)), (view, (1.0, 0.0)), (whole, (1.0, 1.0)),
    (functional_in_place, (math.log(2.0), 0.0)),
])  # fmt: skip
def test_operations_in_place_on_a_value_of_ones_own(function: Function, minimum: tuple[float, float]) -> None:
    found = certify(function, SQUARE)
    assert found.complete
    assert found.points[0].x == pytest.approx(minimum, abs=1e-12)


def test_a_constant_in_single_precision_is_the_number_that_it_holds() -> None:
    found = certify(lambda x: ((x - x.new_tensor([0.1, 0.2], dtype=torch.float32)) ** 2).sum(-1), SQUARE)
    assert found.complete
    assert found.points[0].x == pytest.approx(torch.tensor([0.1, 0.2], dtype=torch.float32).tolist(), abs=1e-15)


def test_an_alias_changed_in_place_is_changed_under_both_names() -> None:
    # f = a^2 - a + 0.1 x + 0.03 y with a = x^2 + y^2
    def plain(x: Tensor) -> Tensor:
        a = x[..., 0] ** 2 + x[..., 1] ** 2
        return a * a - a + 0.1 * x[..., 0] + 0.03 * x[..., 1]

    assert record(alias, 2).to_json() == record(plain, 2).to_json()


def test_a_rule_that_is_wrong_is_noticed_before_anything_is_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    norm = operations.LOWERINGS["linalg_vector_norm"]

    def forgetful(x: object, ord: object = 2, dim: object = None) -> object:
        return norm(x, 2, dim)

    monkeypatch.setitem(operations.LOWERINGS, "linalg_vector_norm", forgetful)
    with pytest.raises(MissingRule, match="values on intervals are not those on tensors"):
        certify(fourth_order_norm, SQUARE)


@pytest.mark.parametrize("function", [
    lambda x: torch.log(-1 - x[..., 0] ** 2) + x[..., 1],
    lambda x: (x**2).sum(-1) + float("inf"),
])  # fmt: skip
def test_a_function_that_is_finite_nowhere_has_no_certificate(function: Function) -> None:
    with pytest.raises(UserError, match="not finite anywhere"):
        certify(function, SQUARE)


def test_boxes_that_no_number_divides_are_left_undecided() -> None:
    def wells(x: Tensor) -> Tensor:
        y = (x - 1e16) / 2
        return ((y**2 - 1) ** 2).sum(-1)

    found = certify(wells, ((1e16 - 6, 1e16 + 6),), max_boxes=5000)
    assert not found.complete
    assert found.boxes < 5000


# functions from files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("function", "said"), [
    (lambda x: (x**2).sum(-1) / x.shape[0], "mixes the points of a batch"),
    (lambda x: ((x - x.mean(0)) ** 2).sum(-1), "mixes the points of a batch"),
    (lambda x: ((x - torch.rand(2)) ** 2).sum(-1), "is random"),
    (lambda x: torch.cdist(x.reshape(-1, 1, 2), x.new_zeros(1, 1, 2)).reshape(x.shape[:-1]), "differentiated twice"),
])  # fmt: skip
def test_a_function_of_each_point_alone(function: Function, said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_function(function, 2)


FILE = """
import torch
from beside import two
print("loading")
def one(x):
    print("called")
    return (x[..., 0] - two()) ** 2
def far(x):
    if (x > 1.5).any():
        raise RuntimeError("too far")
    return (x ** 2).sum(-1)
def careful(x):
    assert isinstance(x, torch.Tensor) and type(x) is torch.Tensor
    return (x ** 2).sum(-1)
def deciding(x):
    return (x ** 2).sum(-1) if x.sum() > -1e9 else x[..., 0]
def slope(x):
    return x[..., 0] ** 3 + x[..., 1]
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "beside.py").write_text("def two():\n    return 2.0\n")
    (tmp_path / "mine.py").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    return "mine.py"


def ask(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    return invoke(capsys, "classify-critical", "--quiet", *words)


def test_a_file_may_import_its_neighbour_print_and_take_one_coordinate(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = ask(capsys, "--fn", f"{file}:one", "--box", "-3,3", "--csv")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].startswith("surface,type,verdict,x0,value")
    assert [line.split(",")[1:4] for line in lines[1:]] == [["minimum", "minimum", "2.0"]]
    assert "loading" in err
    assert "called" in err


def test_no_point_is_a_header(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = ask(capsys, "--fn", f"{file}:slope", "--box", "-2,2", "--csv")
    columns = (
        "surface,type,verdict,x0,x1,value,grad_norm,lambda0,lambda1,morse_index,index,basis,radius,on_boundary,inside"
    )
    assert out == columns + "\n"


def test_what_a_function_raises_is_said_in_a_line(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = ask(capsys, "--fn", f"{file}:far", "--box", "-2,2")
    assert code == 2
    assert "far fails" in err
    assert "RuntimeError: too far" in err
    code, out, _ = ask(capsys, "--fn", f"{file}:careful", "--box", "-2,2")
    assert code == 0
    assert "searched numerically" not in out
    code, out, _ = ask(capsys, "--fn", f"{file}:deciding", "--box", "-2,2")
    assert code == 0
    assert "searched numerically" in out
    spec = parse_function(f"{file}:far")
    assert spec is not None
    with pytest.raises(UserError, match="too far"):
        load_function(spec)(torch.full((1, 2), 3.0))


@pytest.mark.parametrize(("words", "said"), [
    (("--fn", ""), "--fn is empty"),
    (("--expr", " "), "--expr is empty"),
    (("--expr", "x**2", "--box", "-1,1", "--dim", "0"), "--dim"),
    (("--fn", "rosenbrock", "--dim", "100000"), "100000 coordinates"),
    (("--run", "x", "--dim", "3"), "--dim"),
    (("--run", "x", "--method", "numeric"), "--method"),
    (("--run", "x", "--share", "nan"), "--share"),
    (("--run", "x", "--products", "0"), "--products"),
    (("--checkpoint", "5"), "--checkpoint"),
    (("--share", "0.5"), "--share"),
])  # fmt: skip
def test_options_that_do_not_apply_are_refused(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = ask(capsys, *words)
    assert code == 2
    assert said in err
    assert len(err.splitlines()) <= 3


@pytest.mark.parametrize(("expression", "box"), [
    ("1e308*x + 1e308*y", "-4,4"), ("x**2 + y**2", "10000000000000000,10000000000000008"),
])  # fmt: skip
def test_a_figure_without_levels(expression: str, box: str, tmp_path: Path) -> None:
    figure = tmp_path / "a.png"
    assert command("classify-critical", "--quiet", "--expr", expression, "--box", box, "--plot", figure) == 0
    assert figure.stat().st_size > 1000
