"""Lines and planes through weights, against closed forms, numpy and torch's own recomputed batch norm."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from command_tools import invoke
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from optbench.curvature.objective import cut
from optbench.errors import UserError
from optbench.problem import Split, stream
from optbench.records import read_run
from optbench.slices import NetworkLoss, barrier, survey, walk
from optbench.slices.directions import principal, random_direction, through
from optbench.slices.objective import Reading
from optbench.slices.plane import axes, shadow
from optbench.slices.runs import check_alike
from optbench.statistics.numbers import number

SQUARES = nn.MSELoss(reduction="none")
NETWORK = ("run", "model=mlp", "model.hidden=[4]", "data.image_size=8", "data.channels=1", "trainer.batch_size=full",
           "trainer.epochs=3", "trainer.keep_every=1")  # fmt: skip
SURFACE = ("run", "model=two_well", "trainer.steps=50")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def quadratic(dim: int = 3, n: int = 7) -> tuple[NetworkLoss, np.ndarray, np.ndarray, np.ndarray]:
    """A linear model under the weighted squared error, and what makes its loss: inputs with a one, targets, weights."""
    x, y, mass = drawn(n, dim), drawn(n, seed=1), drawn(n, seed=2).square()
    split = Split(x, y, tuple(map(str, range(n))), mass)
    loss = NetworkLoss(nn.Linear(dim, 1), SQUARES, {"train": split}, batch=3, dtype=torch.float64)
    return loss, np.c_[x.numpy(), np.ones(n)], y.numpy(), mass.numpy()


def test_the_plane_of_a_linear_model_is_the_known_quadratic() -> None:
    """L(w) = sum m (x w - y)^2 / sum m, on a plane that is neither orthogonal nor of unit length."""
    loss, x, y, mass = quadratic()
    origin, u, v = drawn(4, seed=3), drawn(4, seed=4), 3.0 * drawn(4, seed=5)
    along, up = np.linspace(-2, 1, 5), np.linspace(0, 4, 3)
    z = survey(loss, origin, (u, v), along, up, "train")
    for j, b in enumerate(up):
        for i, a in enumerate(along):
            w = (origin + a * u + b * v).numpy()
            assert z[j, i] == pytest.approx((mass * (x @ w - y) ** 2).sum() / mass.sum(), rel=1e-13)


@given(st.lists(st.floats(-9, 9), min_size=2, max_size=9), st.floats(-5, 5), st.floats(-5, 5))
def test_a_barrier_is_the_most_above_the_chord_and_knows_no_slope(
    losses: list[float], lift: float, slope: float
) -> None:
    alphas, values = np.linspace(0, 1, len(losses)), np.array(losses)
    height, at = barrier(alphas, values)
    above = [v - ((1 - a) * values[0] + a * values[-1]) for a, v in zip(alphas, values, strict=True)]
    assert height == max(0.0, *above)
    assert at in alphas
    tilted = barrier(alphas, values + lift + slope * alphas)
    assert tilted.height == pytest.approx(height, abs=1e-12)


def test_barriers_of_known_curves() -> None:
    """A double well has one of 1 halfway; a convex loss has none; what is not finite has no number."""

    def well(w: Tensor) -> dict[str, Reading]:
        return {"f": Reading(float((w[0] ** 2 - 1) ** 2 + w[1] ** 2), None)}

    told: list[tuple[int, int]] = []
    line = walk(well, torch.tensor([-1.0, 0]), torch.tensor([1.0, 0]), 5, ("a", "b"), (), lambda *of: told.append(of))
    assert line.barriers == {"f": (1.0, 0.5)}
    assert (line.distance, line.accuracies, told[-1], len(told)) == (2.0, {}, (5, 5), 5)
    loss, *_ = quadratic()
    assert walk(loss, drawn(4), drawn(4, seed=9), 9, ("a", "b")).barriers["train"].height == 0.0
    assert math.isnan(barrier(np.array([0, 0.5, 1]), np.array([1.0, np.nan, 1.0])).height)
    assert barrier(np.array([0, 0.5, 1]), np.array([1.0, np.inf, 1.0])) == (math.inf, 0.5)


def test_filters_of_a_random_direction_are_as_long_as_the_networks() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 5)).double()
    layout = tuple((name, p.shape) for name, p in model.named_parameters())
    weights = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    made = [random_direction(weights, layout, stream(seed, "direction", 0)) for seed in (0, 1, 0)]
    assert torch.equal(made[0], made[2])
    assert not torch.equal(made[0], made[1])
    for name, piece in cut(made[0], layout).items():
        own = cut(weights, layout)[name]
        if own.ndim > 1:
            assert torch.allclose(piece.flatten(1).norm(dim=1), own.flatten(1).norm(dim=1), rtol=1e-12)
        else:
            assert not piece.any()  # biases, and what scales a normalisation
    with pytest.raises(UserError, match="no filter"):
        random_direction(torch.ones(2), (("bias", torch.Size([2])),), stream(0, "direction", 0))


def test_a_plane_goes_through_its_three_points() -> None:
    points = tuple(drawn(6, seed=seed) for seed in range(3))
    u, v = through(points)  # type: ignore[arg-type]
    gram = torch.stack([u, v]) @ torch.stack([u, v]).T
    assert torch.allclose(gram, torch.eye(2, dtype=torch.float64), atol=1e-12)
    for point in points:
        assert shadow("", points[0], (u, v), [(0, point)], points[0]).share == pytest.approx(1.0) or point is points[0]
    with pytest.raises(UserError, match="on one line"):
        through((points[0], points[1], 2 * points[1] - points[0]))
    with pytest.raises(UserError, match="on one line"):
        through((points[0], points[0], points[1]))


def test_the_share_of_a_path_is_what_numpy_projects() -> None:
    """Against least squares, for directions of any angle and length; 1 in the plane, 0 across it."""
    origin, pivot = drawn(9, seed=1), drawn(9, seed=2)
    u, v = drawn(9, seed=3), 0.1 * drawn(9, seed=4)
    path = [drawn(9, seed=5 + i) for i in range(4)]
    basis = torch.stack([u, v], dim=1).numpy()
    found = shadow("run", origin, (u, v), enumerate(path), pivot)
    for place, point in zip(found.places, path, strict=True):
        assert np.allclose(place, np.linalg.lstsq(basis, (point - origin).numpy(), rcond=None)[0])
    moves = torch.stack(path).numpy() - pivot.numpy()
    inside = moves @ basis @ np.linalg.pinv(basis)
    assert found.share == pytest.approx((inside**2).sum() / (moves**2).sum())
    within = [pivot + a * u - v for a in (1.0, 2.0)]
    assert shadow("", origin, (u, v), enumerate(within), pivot).share == pytest.approx(1.0)
    across = torch.from_numpy(np.linalg.svd(basis)[0][:, 5])
    assert shadow("", origin, (u, v), [(0, pivot + across)], pivot).share == pytest.approx(0.0, abs=1e-12)
    assert math.isnan(shadow("", origin, (u, v), [(0, pivot)], pivot).share)


def test_principal_directions_are_numpys() -> None:
    moves = drawn(5, 30)
    wanted = np.linalg.svd(moves.numpy())[2][:2]
    for mine, theirs in zip(principal(moves), wanted, strict=True):
        assert abs(float(mine @ torch.from_numpy(theirs))) == pytest.approx(1.0)
    with pytest.raises(UserError, match="span no plane"):
        principal(torch.stack([drawn(30), 2 * drawn(30)]))


def test_a_grid_shows_every_point_and_is_a_square() -> None:
    for points, least in (([(0.0, 0.0)], 1.0), ([(0.0, 0.0), (3.0, -1.0)], 1.0), ([(5.0, 5.0), (9.0, 6.0)], 0.0)):
        x, y = axes(points, 5, least)
        assert np.ptp(x) == pytest.approx(np.ptp(y))
        assert all(x[0] <= a <= x[-1] and y[0] <= b <= y[-1] for a, b in points)
        assert x[0] <= -least <= least <= x[-1]


def test_batch_norm_is_that_of_the_weights_that_are_looked_at() -> None:
    """The same as torch's update_bn on the same batches; and with the right statistics the weights before a
    normalisation may be ten times as large."""
    model = nn.Sequential(
        nn.Linear(3, 4), nn.BatchNorm1d(4, eps=1e-12), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 2)
    ).double()
    x, y = drawn(12, 3), torch.arange(12) % 2
    split = Split(x, y, tuple(map(str, range(12))))
    loss = NetworkLoss(model, nn.CrossEntropyLoss(reduction="none"), {"train": split}, batch=6)
    assert loss.normed
    weights = drawn(len(loss.weights), seed=3)
    nn.utils.vector_to_parameters(weights, model.parameters())
    model[3].p = 0.0  # torch's leaves dropout on meanwhile
    update_bn([x[:6], x[6:]], model)
    outputs = model.eval()(x)
    reading = loss(weights)["train"]
    assert reading.loss == pytest.approx(nn.functional.cross_entropy(outputs, y).item(), rel=1e-12)
    assert reading.accuracy == (outputs.argmax(1) == y).double().mean().item()
    larger = weights.clone()
    larger[:16] *= 10.0  # the first layer, weights and biases
    assert loss(larger)["train"].loss == pytest.approx(reading.loss, rel=1e-9)


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0.01, 9)), min_size=2, max_size=9))
def test_the_accuracy_of_examples_with_weights_is_their_share_of_the_weight(examples: list[tuple[int, float]]) -> None:
    labels, mass = torch.tensor([k for k, _ in examples]), torch.tensor([m for _, m in examples], dtype=torch.float64)
    split = Split(drawn(len(labels), 4), labels, tuple(map(str, range(len(labels)))), mass)
    model = nn.Linear(4, 3).double()
    loss = NetworkLoss(model, nn.CrossEntropyLoss(reduction="none"), {"train": split}, batch=2, dtype=torch.float64)
    right = model(split.inputs).argmax(-1) == labels
    found = loss(loss.weights)["train"].accuracy
    assert found == pytest.approx(float(mass[right].sum() / mass.sum()), rel=1e-12)


def test_networks_that_differ_are_named_by_the_first_weights_that_do() -> None:
    class Built(NamedTuple):
        model: nn.Module

    small, large, deep = Built(nn.Linear(2, 3)), Built(nn.Linear(2, 4)), Built(nn.Sequential(nn.Linear(2, 3)))
    check_alike([small, small], "ab")  # type: ignore[list-item]
    with pytest.raises(UserError, match="a and b are different networks: weight 3x2 against weight 4x2"):
        check_alike([small, large], "ab")  # type: ignore[list-item]
    with pytest.raises(UserError, match=r"weight 3x2 against 0\.weight 3x2"):
        check_alike([small, small, deep], "abc")  # type: ignore[list-item]
    longer = Built(nn.ModuleList([nn.Linear(2, 3), nn.Linear(3, 1)]))
    with pytest.raises(UserError, match=r"nothing against 1\.weight 1x3"):
        check_alike([Built(nn.ModuleList([nn.Linear(2, 3)])), longer], "ab")  # type: ignore[list-item]


@pytest.mark.slow
def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    for seed in range(3):
        assert invoke(capsys, *NETWORK, f"seed={seed}", "--out", f"n{seed}")[0] == 0
        assert invoke(capsys, *SURFACE, f"trainer.start=[{seed - 0.5},0.1]", "--out", f"s{seed}")[0] == 0
    ended, out, err = invoke(capsys, "plot", "n0", "n1", "--interpolate", "--points", "5", "-o", "line.pdf")
    assert (ended, out.splitlines()[-1]) == (0, "line.pdf")
    assert "batch norm" not in err
    assert out.count("barrier") == 2
    recorded = [read_run(next(Path(f"n{seed}").iterdir())).summary for seed in (0, 1)]
    losses, rates = ([number(one[key]) for one in recorded] for key in ("best_val_loss", "best_val_accuracy"))
    assert f"validation: loss {losses[0]} and {losses[1]} at the ends" in out
    assert f"accuracy {100 * float(rates[0]):.1f} % and {100 * float(rates[1]):.1f} %" in out
    for words in (("n0", "--plane", "random"), ("n0", "n1", "n2", "--plane", "checkpoints"), ("n0", "--plane", "pca")):
        ended, out, _ = invoke(capsys, "plot", *words, "--points", "3", "-o", "plane.png")
        assert ended == 0
        assert out.count("the plane explains") == words.index("--plane")
    ended, out, _ = invoke(capsys, "plot", "s0", "s1", "--interpolate", "-o", "f.png")
    assert (ended, out.count("barrier")) == (0, 1)
    for words, why in (
        (("n0", "--interpolate"), "a line is between two runs; these are 1"),
        (("n0", "s0", "--interpolate"), "of several problems"),
        (("n0", "n1", "--plane", "checkpoints"), "is of 3 runs; these are 2"),
        (("s0", "--plane", "random"), "--plane is of networks"),
        (("n0", "--plane", "round"), "expected random, checkpoints, pca"),
        (("n0", "--plane", "random", "--points", "1"), "expected 3 to 401"),
        (("n0", "--points", "9"), "--points says something of --interpolate or --plane alone"),
    ):
        ended, out, err = invoke(capsys, "plot", *words, "-o", "none.png")
        assert (ended, out, why in err) == (2, "", True), err
    assert not Path("none.png").exists()
