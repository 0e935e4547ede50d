"""What is proved of a checkpoint: series of intervals against exact arithmetic, torch's autograd and mpmath."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from hard_numbers import FINITE, TINY, beyond
from torch import Tensor, nn

from optbench.critical.arithmetic import ends
from optbench.curvature import network_objective, prepare, series, windows
from optbench.curvature.describe import describe_network
from optbench.curvature.enclosure import enclose_part
from optbench.curvature.objective import FlatObjective
from optbench.curvature.proof import Proof, interval, prove
from optbench.curvature.series import Series
from optbench.curvature.verdict import Figures, decide
from optbench.losses.class_number import ClassNumber
from optbench.losses.focal import Focal
from optbench.losses.mse_softmax import MseSoftmax
from optbench.models.hw3_cnn import HW3CNN
from optbench.models.hw3_residual import HW3Residual
from optbench.models.logistic import Logistic
from optbench.models.mlp import MLP
from optbench.problem import Split

INF = math.inf
ENTROPY = nn.CrossEntropyLoss(reduction="none")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def split(size: int, channels: int = 1, classes: int = 10, count: int = 8, seed: int = 0) -> Split:
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randint(0, 256, (count, channels, size, size), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, classes, (count,), generator=generator)
    return Split(pictures, labels, tuple(map(str, range(count))))


def shaken(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model with statistics and weights that are not the first ones."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean = 0.3 * torch.randn(module.num_features, generator=generator)
            module.running_var = 0.5 + torch.rand(module.num_features, generator=generator)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.1 * torch.randn(p.shape, generator=generator)
    return model


def unit(n: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    v = torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (v / v.norm()).to(dtype)


def along(objective: FlatObjective, v: Tensor) -> list[float]:
    """Value and derivatives along v by autograd."""
    t = torch.zeros((), dtype=objective.weights.dtype, requires_grad=True)
    value = sum((part(objective.weights + t * v) for part in objective.parts), torch.zeros(()))
    (first,) = torch.autograd.grad(value, t, create_graph=True)
    second = torch.autograd.grad(first, t)[0] if first.requires_grad else torch.zeros(())
    return [float(x.detach()) for x in (value, first, second)]


def enclosed(objective: FlatObjective, v: Tensor) -> list[tuple[float, float]]:
    total: Series | None = None
    for part in objective.parts:
        found, _ = enclose_part(part, objective.weights, v, 2)
        total = found if total is None else series.plus(total, found)
    assert total is not None
    return [(0.0, 0.0) if p is None else (-float(p[0, 0]), float(p[1, 0])) for p in total.parts]


# networks


NETWORKS: dict[str, tuple[Callable[[], nn.Module], nn.Module, int, int]] = {
    "tanh": (lambda: MLP(10, 1, 6, (7, 5), "tanh"), ENTROPY, 6, 1),
    "relu": (lambda: MLP(10, 1, 6, (7, 5), "relu"), ENTROPY, 6, 1),
    "relu batch": (
        lambda: MLP(10, 1, 6, (9,), "relu", "batch"),
        nn.CrossEntropyLoss(reduction="none", label_smoothing=0.1),
        6,
        1,
    ),
    "focal": (lambda: MLP(10, 1, 6, (6,), "tanh"), Focal(), 6, 1),
    "focal weighted": (lambda: MLP(10, 1, 6, (6,), "tanh"), Focal(0.5, [1.0 + 0.1 * k for k in range(10)]), 6, 1),
    "mse": (lambda: MLP(10, 1, 6, (6,), "tanh"), MseSoftmax(), 6, 1),
    "number": (lambda: MLP(1, 1, 6, (6,), "tanh"), ClassNumber(10), 6, 1),
    "logistic": (lambda: Logistic(10, 3, 5), ENTROPY, 5, 3),
    "cnn": (lambda: HW3CNN(10, 3, 32, 1), ENTROPY, 32, 3),
    "residual": (lambda: HW3Residual(10, 3, 8, 2), ENTROPY, 8, 3),
    "weighted": (
        lambda: MLP(10, 1, 6, (6,), "tanh"),
        nn.CrossEntropyLoss(weight=torch.linspace(0.5, 2.0, 10).double(), reduction="none"),
        6,
        1,
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_enclosures_hold_autograd_and_are_thin(name: str) -> None:
    make, loss, size, channels = NETWORKS[name]
    torch.manual_seed(3)
    objective = network_objective(shaken(make()), loss, split(size, channels), chunk=5)
    v = unit(objective.n)
    for (low, high), exact in zip(enclosed(objective, v), along(objective, v), strict=True):
        slack = 1e-14 * (1 + abs(exact))  # autograd rounds, too
        assert low - slack <= exact <= high + slack
        assert high - low <= 1e-9 * (1 + abs(exact))


def test_enclosures_hold_forty_digits() -> None:
    """A small network written down once more in mpmath, with its Taylor series in t."""
    torch.manual_seed(5)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3)).double()
    data = split(2, classes=3, count=4)
    objective = network_objective(model, ENTROPY, data, dtype=torch.float64)
    v = unit(objective.n)
    w, d = (list(map(mpmath.mpf, x.tolist())) for x in (objective.weights, v))
    inputs = (data.images.reshape(4, 4).double() / 255.0).tolist()
    assert data.labels is not None
    labels = data.labels.tolist()

    def phi(t: Any) -> Any:
        p = [a + t * b for a, b in zip(w, d, strict=True)]
        total = mpmath.mpf(0)
        for x, label in zip(inputs, labels, strict=True):
            hidden = [mpmath.tanh(sum(p[4 * i + j] * x[j] for j in range(4)) + p[12 + i]) for i in range(3)]
            logits = [sum(p[15 + 3 * i + j] * hidden[j] for j in range(3)) + p[24 + i] for i in range(3)]
            total += mpmath.log(sum(mpmath.exp(z) for z in logits)) - logits[label]
        return total / 4

    with mpmath.workdps(40):
        value, first, second = mpmath.taylor(phi, 0, 2)
        for (low, high), exact in zip(enclosed(objective, v), (value, first, 2 * second), strict=True):
            assert mpmath.mpf(low) <= exact <= mpmath.mpf(high)
            assert high - low < 1e-12


def test_single_precision_networks_are_enclosed_as_functions_of_real_numbers() -> None:
    torch.manual_seed(6)
    model = shaken(MLP(10, 1, 6, (7,), "tanh"))
    single = network_objective(model, ENTROPY, split(6), dtype=torch.float32)
    v = unit(single.n, dtype=torch.float32)
    for (low, high), exact in zip(enclosed(single, v), along(single, v), strict=True):
        assert high - low < 1e-12
        assert abs(exact - low) < 1e-5


def test_a_convex_loss_is_never_proved_to_have_no_minimum() -> None:
    """Softmax regression has v'Hv >= 0 in every direction; a weight that does nothing has 0."""
    objective = network_objective(shaken(Logistic(4, 1, 3)), ENTROPY, split(3, classes=4))
    flat = torch.zeros(objective.n, dtype=torch.float64)
    flat[-4:] = 0.5  # all biases by the same: the softmax does not see it
    for v in (*(unit(objective.n, seed) for seed in range(6)), flat):
        proof = prove(objective, v, 0.1, None)
        assert not proof.not_a_minimum
        assert proof.curvature is not None
        assert proof.curvature[1] >= 0
        assert "v'Hv lies in" in proof.why


class Linear2(nn.Module):
    """Two linear layers of one unit each, without biases: y = b a x."""

    def __init__(self, a: float, b: float) -> None:
        super().__init__()
        self.a, self.b = (nn.Parameter(torch.tensor([[w]], dtype=torch.float64)) for w in (a, b))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.a @ self.b


def one(number: int) -> Split:
    """One picture of one white pixel: x = 1."""
    return Split(torch.full((1, 1, 1, 1), 255, dtype=torch.uint8), torch.tensor([number]), ("a",))


def test_the_linear_network_at_0_is_proved_to_be_a_saddle() -> None:
    """L = (a b - 2)^2: H = [[0, -4], [-4, 0]] at 0, v'Hv = -4 along (1, 1), +4 along (1, -1), L = 1 at a = b = 1."""
    objective = network_objective(Linear2(0.0, 0.0), ClassNumber(), one(2))
    down = torch.tensor([1.0, 1.0], dtype=torch.float64) / math.sqrt(2)
    up = torch.tensor([1.0, -1.0], dtype=torch.float64) / math.sqrt(2)
    proof = prove(objective, down, math.sqrt(2), up)
    assert (proof.not_a_minimum, proof.indefinite, proof.falls, proof.why) == (True, True, True, "")
    for found, truth in ((proof.loss, 4), (proof.slope, 0), (proof.curvature, -4), (proof.upward, 4), (proof.lower, 1)):
        assert found is not None
        assert found[0] - 1e-14 <= truth <= found[1] + 1e-14
        assert found[1] - found[0] < 1e-13
    at_minimum = network_objective(Linear2(1.0, 2.0), ClassNumber(), one(2))
    for v in (down, up, unit(2)):
        assert not prove(at_minimum, v, 0.1, None).not_a_minimum


def test_an_inspection_proves_what_it_can_and_says_so() -> None:
    picture = prepare(network_objective(Linear2(0.0, 0.0), ClassNumber(), one(2))).look()
    assert (picture.verdict.kind, picture.verdict.basis) == ("saddle", "proved")
    assert "negative curvature proved: v'Hv in [-4" in picture.verdict.wording
    text = "\n".join(describe_network(picture))
    assert "no local minimum, by interval arithmetic" in text
    assert "the Hessian is indefinite" in text
    told = picture.to_json()
    assert told["basis"] == "proved"
    assert (told["proof"]["not_a_minimum"], told["proof"]["indefinite"], told["proof"]["lower_point"]) == (True,) * 3
    assert told["proof"]["curvature"][1] < 0 < told["proof"]["upward"][0]
    well = prepare(network_objective(Linear2(1.0, 2.0), ClassNumber(), one(2))).look()
    assert (well.proof, well.to_json()["proof"]) == (None, None)
    assert well.verdict.basis != "proved"


def test_the_rules_say_proved_only_of_what_is() -> None:
    base: dict[str, Any] = {"gain": 1e-9, "fall": 1e-9, "hess_grad": 0.5, "low": -0.1, "high": 2.0, "noise": 1e-6}
    base |= {"lower_bound": -0.11, "upper_bound": 2.1}
    down = Proof(curvature=(-0.11, -0.09))
    both = Proof(curvature=(-0.11, -0.09), upward=(1.9, 2.1))
    wide = Proof(curvature=(-0.11, 0.01), why="v'Hv lies in ...")
    assert decide(Figures(**base, proof=both)).basis == "proved"
    assert decide(Figures(**base, proof=down)).basis == "shown"
    assert "proved" in decide(Figures(**base, proof=down)).wording
    assert decide(Figures(**base, proof=wide)).basis == "shown"
    assert "proved" not in decide(Figures(**base, proof=wide)).wording
    flat = {**base, "high": 0.0, "upper_bound": 1.0}
    assert (decide(Figures(**flat, proof=down)).kind, decide(Figures(**flat, proof=down)).basis) == (
        "not a minimum",
        "proved",
    )
    assert decide(Figures(**{**base, "low": 0.1, "lower_bound": 0.1})).basis == "probable"


# what cannot be proved


def reason(model: nn.Module, size: int = 4, loss: nn.Module = ENTROPY) -> str:
    objective = network_objective(model.double(), loss, split(size, classes=3, count=3))
    proof = prove(objective, unit(objective.n), 0.1, None)
    assert not proof.not_a_minimum
    assert proof.why
    return proof.why


class Applied(nn.Module):
    """A linear layer with a function of its own after it."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.linear, self.function = nn.Linear(16, 3), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.linear(x.flatten(1)))


def changed_in_place(x: Tensor) -> Tensor:
    y = x[:, :2]
    y.mul_(2.0)
    return x


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (nn.GELU(), "gelu in GELU"),
        (nn.Hardtanh(), "hardtanh in Hardtanh"),
        (nn.Softplus(), "softplus in Softplus"),
        (lambda x: x * (x > 0), "gt in Applied"),
        (lambda x: x.gather(1, x.argsort(1)), "sort in Applied"),
        (lambda x: x + x.max(), "max in Applied"),
        (changed_in_place, "mul_, in place, in Applied"),
        (lambda x: torch.zeros_like(x).copy_(x), "copy_, in place, in Applied"),
        (lambda x: x.double().view(torch.int64).double(), "a view of the bits in Applied"),
    ],
)
def test_what_has_no_rule_is_refused_by_the_name_of_its_layer(function: Callable[[Tensor], Tensor], words: str) -> None:
    why = reason(Applied(function))
    assert words in why
    assert "no interval rule" in why


class MeanEntropy(nn.Module):
    """The mean over the batch, for each of its rows."""

    def forward(self, outputs: Tensor, target: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs, target).expand(len(target))


@pytest.mark.parametrize("loss", ["ignored", "mean"])
def test_a_loss_that_leaves_out_labels_or_reduces_is_refused(loss: str) -> None:
    label = int(split(4, classes=3, count=3).labels[0])
    made = MeanEntropy() if loss == "mean" else nn.CrossEntropyLoss(reduction="none", ignore_index=label)
    assert "nll_loss with a reduction, ignored labels or positions" in reason(Applied(lambda x: x), loss=made)


def test_what_changes_nothing_needs_no_rule() -> None:
    """Dropout in evaluation mode, a ReLU in place on a tensor of its own: the same enclosures."""
    torch.manual_seed(7)
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)]
    plain = nn.Sequential(*layers).double()
    other = nn.Sequential(layers[0], layers[1], nn.ReLU(inplace=True), nn.Dropout(), layers[3]).double()
    data = split(4, classes=3)
    found = [enclosed(network_objective(m, ENTROPY, data), unit(163)) for m in (plain, other)]
    assert found[0] == found[1]


class Kink(nn.Module):
    """relu(w x + b) on a black pixel and a white one, w - b = 0: at the kink where b is 0, too."""

    def __init__(self, w: float, b: float) -> None:
        super().__init__()
        self.w, self.b = (nn.Parameter(torch.tensor([v], dtype=torch.float64)) for v in (w, b))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x.flatten(1) * self.w + self.b)


def test_at_a_kink_nothing_is_proved() -> None:
    objective = network_objective(Kink(0.5, -0.5), ClassNumber(), one(2))
    proof = prove(objective, unit(2), 0.1, None)
    assert not proof.not_a_minimum
    assert "1 numbers may lie at a kink, or are unbounded (relu in Kink)" in proof.why
    inside = network_objective(Kink(0.5, -0.6), ClassNumber(), one(2))
    for low, high in enclosed(inside, unit(2))[1:]:
        assert -1e-300 < low <= 0 <= high < 1e-300, "a unit that is off has no slope at all"


def test_a_unit_that_sees_nothing_is_no_kink() -> None:
    """A black picture through layers without biases: every number is 0, whatever the weights are."""
    torch.manual_seed(8)
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3)
    )
    black = Split(torch.zeros((2, 1, 4, 4), dtype=torch.uint8), torch.tensor([0, 1]), ("a", "b"))
    objective = network_objective(model.double(), ENTROPY, black)
    v = unit(objective.n)
    for (low, high), exact in zip(enclosed(objective, v), along(objective, v), strict=True):
        assert low - 1e-15 <= exact <= high + 1e-15
        assert high - low < 1e-13


@pytest.mark.parametrize("padding", [0, 1])
def test_between_equal_patches_a_maximum_has_no_kink(padding: int) -> None:
    """A grey wall with one white pixel: nearly all windows of the pools see equal numbers, which change alike."""
    torch.manual_seed(9)
    model = nn.Sequential(
        *(nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.MaxPool2d(3, 2, padding), nn.ReLU()),
        *(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), nn.LazyLinear(3)),
    )
    wall = torch.full((2, 1, 14, 14), 77, dtype=torch.uint8)
    wall[1, 0, 5, 6] = 255
    model(wall.float())
    objective = network_objective(shaken(model).double(), ENTROPY, Split(wall, torch.tensor([0, 1]), ("a", "b")))
    v = unit(objective.n)
    for (low, high), exact in zip(enclosed(objective, v), along(objective, v), strict=True):
        assert low - 1e-14 <= exact <= high + 1e-14
        assert high - low < 1e-11


class Branches(nn.Module):
    """Two convolutions of the same picture, joined by an operation on their elements."""

    def __init__(self, join: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.one, self.other, self.join = nn.Conv2d(1, 2, 3), nn.Conv2d(1, 2, 3), join

    def forward(self, x: Tensor) -> Tensor:
        return self.join(self.one(x), self.other(x))


@pytest.mark.parametrize("join", [torch.add, torch.sub, torch.mul], ids=lambda f: f.__name__)
def test_sums_and_products_of_equal_patches_are_equal(join: Callable[[Tensor, Tensor], Tensor]) -> None:
    torch.manual_seed(9)
    model = nn.Sequential(Branches(join), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 3)).double()
    wall = torch.full((2, 1, 8, 8), 77, dtype=torch.uint8)
    objective = network_objective(model, ENTROPY, Split(wall, torch.tensor([0, 1]), ("a", "b")))
    v = unit(objective.n)
    for (low, high), exact in zip(enclosed(objective, v), along(objective, v), strict=True):
        assert low - 1e-14 <= exact <= high + 1e-14
        assert high - low < 1e-11


def test_what_looks_alike_by_chance_is_not_taken_for_equal() -> None:
    """Two channels' weights with equal sums on the picture: equal values, other slopes, and a kink between them."""

    class Chance(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.tensor([1.0, 1.0], dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            both = (x.flatten(1) * self.w).reshape(1, 1, 1, 2)
            return torch.nn.functional.max_pool2d(both, (1, 2)).flatten(1)

    objective = network_objective(Chance(), ClassNumber(), one(2))
    proof = prove(objective, unit(2), None, None)
    assert "max_pool2d_with_indices" in proof.why
    assert not proof.not_a_minimum


def test_the_budget_and_the_memory_hold() -> None:
    objective = network_objective(shaken(MLP(10, 1, 6, (7,), "tanh")), ENTROPY, split(6, count=200))
    assert "--budget" in prove(objective, unit(objective.n), None, None, seconds=0.0).why
    assert "one example would take about" in prove(objective, unit(objective.n), None, None, memory=1000.0).why
    assert objective.finer is not None
    pieces = objective.finer(64)
    assert len(pieces) == 4
    total = sum(float(part(objective.weights)) for part in pieces)
    assert total == pytest.approx(objective.value(), rel=1e-14)


@pytest.mark.parametrize(
    ("ends_", "text"),
    [
        ((-4.000000000001, -3.999999999999), "[-4.000000000001, -3.999999999999]"),
        ((-0.5, 0.25), "[-0.5, 0.25]"),
        ((0.0, 1e-300), "[0, 1e-300]"),
        ((-INF, 1.0), "an unbounded interval"),
        ((2.0, 2.0), "[2, 2]"),
    ],
)
def test_printed_intervals(ends_: tuple[float, float], text: str) -> None:
    assert interval(ends_) == text


def test_printed_intervals_hold_the_interval() -> None:
    rng = np.random.default_rng(9)
    for _ in range(300):
        low = rng.normal() * 10.0 ** rng.integers(-8, 8)
        high = low + abs(rng.normal()) * 10.0 ** rng.integers(-15, 0) * abs(low)
        a, b = map(float, interval((low, high)).strip("[]").split(", "))
        assert a <= low <= high <= b
        assert b - a <= 12 * (high - low) + 1e-14 * abs(low)


# series


def fractions(values: Any) -> Any:
    return np.vectorize(lambda x: Fraction(float(x)), otypes=[object])(values)


@pytest.mark.parametrize("hard", [False, True])
def test_sums_of_products_hold_the_exact_ones(hard: bool) -> None:
    rng = np.random.default_rng(51)
    pool = np.array([x for x in FINITE if abs(x) < 1e150])
    for n, k, m in ((3, 1, 2), (4, 7, 3), (2, 40, 2)):
        for width in (0.0, 1e-9, 0.3):
            a, b = (rng.choice(pool, s) if hard else rng.normal(size=s) for s in ((n, k), (k, m)))
            a_high, b_high = a + width * np.abs(a), b + width * np.abs(b)
            found = series.inner(np.matmul, k)(ends.between(a, a_high), ends.between(b, b_high))
            for _ in range(3):
                x, y = (np.where(rng.random(p.shape) < 0.5, p, q) for p, q in ((a, a_high), (b, b_high)))
                exact = fractions(x) @ fractions(y)
                for i in range(n):
                    for j in range(m):
                        assert not beyond(exact[i, j], -found[0, i, j], found[1, i, j])
            if not width and not hard:
                assert (found[0] + found[1] <= 8 * (k + 4) * 2.0**-52 * (np.abs(a) @ np.abs(b))).all()


def test_sums_of_the_smallest_products_hold_the_exact_ones() -> None:
    rng = np.random.default_rng(52)
    for scale in (TINY, 1e-160):
        a = rng.integers(-9, 10, (6, 5)) * scale
        b = rng.choice([0.3, 0.7, 1e-160, 1e8], (5, 4))
        found = series.inner(np.matmul, 5)(ends.between(a, a), ends.between(b, b))
        exact = fractions(a) @ fractions(b)
        for i in range(6):
            for j in range(4):
                assert not beyond(exact[i, j], -found[0, i, j], found[1, i, j])


def test_what_is_exactly_0_stays_so() -> None:
    a, b = np.array([[0.0, 0.0], [1.0, 0.0], [1e-200, 0.0]]), np.array([[2.0], [0.0]])
    found = series.inner(np.matmul, 2)(ends.between(a, a), ends.between(b, b))
    assert (found[:, 0] == 0).all()
    assert (found[:, 1] != 0).all()
    tiny = series.inner(np.matmul, 2)(ends.between(a, a), ends.between(b * 1e-200, b * 1e-200))
    assert (found[:, 0] == 0).all()
    assert tiny[1, 2] > 0, "2e-400 is not 0"
    unknown = ends.between(np.array([[-INF, 0.0]]), np.array([[INF, 0.0]]))
    assert np.isposinf(series.inner(np.matmul, 2)(unknown, ends.between(b, b))).all()


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups"),
    [(1, 0, 1, 1), (2, 1, 1, 1), ((1, 2), (2, 0), 1, 2), (1, 2, 2, 1), (1, 1, 1, 4)],
)
def test_convolutions_are_those_of_torch(stride: Any, padding: Any, dilation: Any, groups: int) -> None:
    rng = np.random.default_rng(53)
    x, w = rng.normal(size=(2, 4, 9, 8)), rng.normal(size=(4, 4 // groups, 3, 2))
    pair = [(v, v) if isinstance(v, int) else v for v in (stride, padding, dilation)]
    found = windows.convolution(*pair, groups)(x, w)
    truth = torch.nn.functional.conv2d(
        torch.from_numpy(x), torch.from_numpy(w), None, stride, padding, dilation, groups
    ).numpy()
    assert np.abs(found - truth).max() < 1e-13


def test_the_greatest_of_series() -> None:
    def rows(*parts: list[tuple[float, float]]) -> Series:
        return Series(tuple(ends.between(*(np.array(side) for side in zip(*part, strict=True))) for part in parts))

    clear = series.greatest(rows([(0.0, 1.0), (2.0, 3.0)], [(5.0, 5.0), (7.0, 8.0)], [(1.0, 1.0), (-1.0, 2.0)]))
    assert [p is not None and (-p[0], p[1]) for p in clear.parts] == [(2.0, 3.0), (7.0, 8.0), (-1.0, 2.0)]
    open_ = series.greatest(
        rows([(0.0, 2.5), (2.0, 3.0), (0.0, 1.0)], [(5.0, 5.0), (7.0, 8.0), (99.0, 99.0)], [(0.0, 0.0)] * 3)
    )
    assert [p is not None and (-p[0], p[1]) for p in open_.parts] == [(2.0, 3.0), (5.0, 8.0), (-INF, INF)]
    same = series.greatest(
        rows(
            [(2.0, 2.0), (2.0, 2.0), (0.0, 1.0)],
            [(5.0, 5.0), (5.0, 5.0), (9.0, 9.0)],
            [(1.0, 1.0), (1.0, 1.0), (0.0, 0.0)],
        )
    )
    assert [p is not None and (-p[0], p[1]) for p in same.parts] == [(2.0, 2.0), (5.0, 5.0), (1.0, 1.0)]
    crossing = series.greatest(rows([(2.0, 2.0), (2.0, 2.0)], [(5.0, 5.0), (6.0, 6.0)], [(1.0, 1.0)] * 2))
    assert np.isposinf(crossing.parts[2]).all(), "two functions that cross"


def test_totals_hold_the_exact_sums() -> None:
    rng = np.random.default_rng(54)
    low = rng.normal(size=(3, 50, 2)) * 10.0 ** rng.integers(-12, 13, (3, 50, 2))
    low[:, 25:] = -low[:, :25] * (1 + 1e-15)  # cancels
    high = low + rng.choice([0.0, 1e-3], low.shape) * np.abs(low)
    found = series.total(Series((ends.between(low, high), None)), (1,))
    assert found.parts[1] is None
    for i in range(3):
        for j in range(2):
            for side in (low, high):
                exact = sum((Fraction(v) for v in side[i, :, j].tolist()), Fraction(0))
                assert not beyond(exact, -found.value[0, i, j], found.value[1, i, j])


def test_softmax_and_its_logarithm_hold_forty_digits() -> None:
    rng = np.random.default_rng(55)
    for spread in (1.0, 50.0, 900.0):
        x, d = rng.normal(size=(1, 4)) * spread, rng.normal(size=(1, 4))
        a = series.line(x, d, 2)
        found = (series.softmax(a, 1), series.log_sum_exp(a, 1))
        with mpmath.workdps(60):
            z, s = (list(map(mpmath.mpf, v[0].tolist())) for v in (x, d))
            for k in range(4):

                def share(t: Any, k: int = k, z: Any = z, s: Any = s) -> Any:
                    top = max(z)
                    e = [mpmath.exp(u + t * v - top) for u, v in zip(z, s, strict=True)]
                    return e[k] / sum(e)

                for part, order in zip(found[0].parts, range(3), strict=True):
                    assert part is not None
                    exact = mpmath.taylor(share, 0, 2)[order] * (2 if order == 2 else 1)
                    slack = mpmath.mpf(10) ** -30
                    assert mpmath.mpf(-part[0, 0, k]) - slack <= exact <= mpmath.mpf(part[1, 0, k]) + slack
            value = max(z) + mpmath.log(sum(mpmath.exp(u - max(z)) for u in z))
            assert mpmath.mpf(-found[1].value[0, 0, 0]) <= value <= mpmath.mpf(found[1].value[1, 0, 0])


def test_the_chain_and_product_rules_are_leibnizs() -> None:
    """sin(a) b and (a b)^3 for polynomials a, b in t, against torch."""
    t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    a, b = 0.4 + 1.5 * t - 0.7 * t * t, -1.2 + 0.3 * t + 2.0 * t * t

    def lined(x: float, d: float, dd: float) -> Series:
        return Series(tuple(ends.between(np.array([v]), np.array([v])) for v in (x, d, dd)))

    left, right = lined(0.4, 1.5, -1.4), lined(-1.2, 0.3, 4.0)
    from optbench.critical.arithmetic.functions import RULES, power_rule

    for truth, found in (
        (torch.sin(a) * b, series.times(series.through(left, RULES["sin"]), right)),
        ((a * b) ** 3, series.through(series.times(left, right), power_rule(3))),
        (a - b, series.plus(left, series.negative(right))),
    ):
        (first,) = torch.autograd.grad(truth, t, create_graph=True)
        (second,) = torch.autograd.grad(first, t, retain_graph=True)
        for part, exact in zip(found.parts, (truth, first, second), strict=True):
            assert part is not None
            assert -part[0, 0] - 1e-14 <= float(exact.detach()) <= part[1, 0] + 1e-14
            assert part[0, 0] + part[1, 0] < 1e-13
