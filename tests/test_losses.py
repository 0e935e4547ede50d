"""Losses: closed forms, limits, gradients by finite differences, and what large logits do."""

from __future__ import annotations

from typing import Any

import members
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from optbench.errors import IncompatibleError
from optbench.losses.binary_cross_entropy import BinaryCrossEntropy
from optbench.losses.class_number import ClassNumber
from optbench.losses.focal import Focal
from optbench.losses.mse_softmax import MseSoftmax


def build(name: str, **changes: Any) -> nn.Module:
    """The member with its YAML's keywords; an interpolation, which needs a whole config, takes the default."""
    plain = {k: v for k, v in members.keywords("loss", name).items() if "${" not in str(v)}
    return members.target("loss", name)(**{**plain, **changes})


ALL = [name for name in members.names("loss") if getattr(build(name), "takes_label", True)]
CLASSES = 4


def rows(loss: nn.Module, n: int = 6, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    """Outputs as wide as the loss wants them, and labels."""
    rng = np.random.default_rng(5)
    width = getattr(loss, "n_outputs", CLASSES)
    outputs = torch.tensor(scale * rng.normal(size=(n, width)), requires_grad=True)
    return outputs, torch.tensor(rng.integers(0, CLASSES, size=n))


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("name", ALL)
def test_one_finite_value_a_row_that_is_never_negative(name: str) -> None:
    loss = build(name)
    outputs, target = rows(loss)
    values = loss(outputs, target)
    assert values.shape == (6,)
    assert values.dtype == outputs.dtype
    assert (values >= 0).all()
    alone = torch.cat([loss(outputs[i : i + 1], target[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(values, alone, rtol=1e-14, atol=0.0)


@pytest.mark.parametrize("name", ALL)
def test_gradient_agrees_with_finite_differences(name: str) -> None:
    loss = build(name)
    outputs, target = rows(loss)
    assert torch.autograd.gradcheck(lambda x: loss(x, target), (outputs,), eps=1e-6, atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_outputs_give_finite_values_and_gradients(name: str, dtype: torch.dtype) -> None:
    loss = build(name)
    width = getattr(loss, "n_outputs", CLASSES)
    outputs = torch.full((2 * width, width), -1e3, dtype=dtype)
    outputs[torch.arange(width), torch.arange(width)] = 1e3  # one output of each row up, then all of them down
    outputs.requires_grad_()
    for label in range(CLASSES):
        values = loss(outputs, torch.full((2 * width,), label))
        (gradient,) = torch.autograd.grad(values.sum(), outputs)
        assert values.isfinite().all()
        assert gradient.isfinite().all()


def test_cross_entropy_is_minus_log_softmax() -> None:
    outputs, target = rows(nn.Module())
    p = softmax(outputs.detach().numpy())
    expected = -np.log(p[np.arange(6), target.numpy()])
    np.testing.assert_allclose(build("cross_entropy")(outputs, target).detach(), expected, rtol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_label_smoothing_mixes_the_label_with_the_uniform_distribution(smoothing: float) -> None:
    outputs, target = rows(nn.Module())
    wanted = (1 - smoothing) * np.eye(CLASSES)[target.numpy()] + smoothing / CLASSES
    expected = -(wanted * np.log(softmax(outputs.detach().numpy()))).sum(axis=1)
    values = build("label_smoothing", label_smoothing=smoothing)(outputs, target)
    np.testing.assert_allclose(values.detach(), expected, rtol=1e-12)


def test_mse_softmax_is_the_squared_distance_to_the_one_hot_label() -> None:
    outputs, target = rows(nn.Module())
    gap = softmax(outputs.detach().numpy()) - np.eye(CLASSES)[target.numpy()]
    np.testing.assert_allclose(MseSoftmax()(outputs, target).detach(), (gap**2).sum(axis=1), rtol=1e-12)


def test_mse_softmax_is_flat_where_cross_entropy_has_a_slope() -> None:
    """The book's argument: all the probability on the wrong class, label 0 against class 1."""
    outputs = torch.tensor([[-10.0, 10.0]], dtype=torch.float64, requires_grad=True)
    label = torch.tensor([0])
    (flat,) = torch.autograd.grad(MseSoftmax()(outputs, label).sum(), outputs)
    (steep,) = torch.autograd.grad(build("cross_entropy")(outputs, label).sum(), outputs)
    p = 1.0 / (1.0 + np.exp(20.0))  # with two classes e = 2 (1 - p)^2, so de/dz_0 = -4 (1 - p)^2 p
    assert flat[0, 0].item() == pytest.approx(-4.0 * (1 - p) ** 2 * p, rel=1e-6)
    assert abs(flat[0, 0].item()) < 1e-8
    assert steep[0, 0].item() == pytest.approx(-1.0, rel=1e-8)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_focal_is_its_formula(gamma: float) -> None:
    outputs, target = rows(nn.Module())
    p = softmax(outputs.detach().numpy())[np.arange(6), target.numpy()]
    np.testing.assert_allclose(Focal(gamma)(outputs, target).detach(), -((1 - p) ** gamma) * np.log(p), rtol=1e-10)


def test_focal_without_focus_is_cross_entropy() -> None:
    outputs, target = rows(nn.Module())
    torch.testing.assert_close(Focal(0.0)(outputs, target), cross_entropy(outputs, target, reduction="none"))


def test_focal_weighs_classes_by_alpha() -> None:
    outputs, target = rows(nn.Module())
    alpha = [0.5, 1.0, 2.0, 4.0]
    expected = torch.tensor(alpha, dtype=torch.float64)[target] * Focal(2.0)(outputs, target)
    torch.testing.assert_close(Focal(2.0, alpha)(outputs, target), expected)


def test_focal_gradient_is_finite_where_the_power_has_no_slope() -> None:
    """(1 - p)^0.5 has an infinite slope at p = 1."""
    outputs = torch.tensor([[50.0, -50.0, -60.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(Focal(0.5)(outputs, torch.tensor([0])).sum(), outputs)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("bad", [{"gamma": -1.0}, {"gamma": float("nan")}, {"alpha": [1.0, 0.0]}])
def test_focal_refuses_bad_values(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Invalid"):
        Focal(**bad)


def test_focal_refuses_the_wrong_width() -> None:
    with pytest.raises(IncompatibleError, match="one output"):
        Focal()(torch.zeros(2, 1), torch.zeros(2, dtype=torch.long))
    with pytest.raises(IncompatibleError, match="2 weights; the model has 3"):
        Focal(2.0, [1.0, 1.0])(torch.zeros(2, 3), torch.zeros(2, dtype=torch.long))


def test_class_number_is_the_squared_distance_to_the_number() -> None:
    outputs = torch.tensor([[2.5], [-1.0], [3.0]])
    assert ClassNumber()(outputs, torch.tensor([2, 1, 3])).tolist() == [0.25, 4.0, 0.0]


def test_class_number_predicts_the_nearest_class() -> None:
    outputs = torch.tensor([[-3.0], [0.4], [0.6], [3.2], [1e9], [float("-inf")], [float("nan")]])
    assert ClassNumber(n_classes=4).predict(outputs).tolist() == [0, 0, 1, 3, 3, 0, 0]
    assert ClassNumber().predict(outputs[:5]).tolist() == [0, 0, 1, 3, 10**9]
    assert ClassNumber().predict(outputs).dtype == torch.int64


@pytest.mark.parametrize("shape", [(3, 2), (3, 10), (3,), (3, 1, 1)])
def test_class_number_refuses_more_than_one_output(shape: tuple[int, ...]) -> None:
    for act in (lambda x: ClassNumber()(x, torch.zeros(3, dtype=torch.long)), ClassNumber().predict):
        with pytest.raises(IncompatibleError, match="1 output") as caught:
            act(torch.zeros(shape))
        assert "n_outputs" in caught.value.hint


@pytest.mark.parametrize("n_classes", [1, -2])
def test_class_number_refuses_fewer_than_two_classes(n_classes: int) -> None:
    with pytest.raises(ValueError, match="n_classes"):
        ClassNumber(n_classes)


@pytest.mark.parametrize(("data", "n_classes"), [("none", 0), ("digits", 10)])
def test_class_number_asks_the_model_for_one_output(data: str, n_classes: int) -> None:
    """Choosing the loss sets the root's n_outputs, and the loss learns how many classes the data has."""
    with initialize_config_dir(str(members.CONF), version_base=None):
        config = compose(overrides=["+loss=class_number", f"+data={data}"])
    assert config.n_outputs == ClassNumber.n_outputs == 1
    assert ClassNumber(config.loss.n_classes).n_classes == n_classes


@pytest.mark.parametrize("name", members.own("loss"))
def test_what_is_left_out_is_what_conf_says(name: str) -> None:
    found, said = members.left_out("loss", name)
    assert found == said
    assert name != "focal" or found == {"gamma": 2.0}


def test_focal_takes_two_classes() -> None:
    """The paper's own case: with one logit z more than the other, p = sigmoid(z)."""
    z, gamma = torch.linspace(-4, 4, 9, dtype=torch.float64), 2.0
    found = Focal(gamma)(torch.stack([torch.zeros_like(z), z], dim=-1), torch.ones(9, dtype=torch.long))
    p = z.sigmoid()
    torch.testing.assert_close(found, -((1 - p) ** gamma) * p.log(), rtol=1e-12, atol=1e-15)


def test_binary_cross_entropy_is_the_mean_of_each_class_by_itself() -> None:
    outputs, target = rows(nn.Module())
    s, wanted = 1.0 / (1.0 + np.exp(-outputs.detach().numpy())), np.eye(CLASSES)[target.numpy()]
    expected = -(wanted * np.log(s) + (1 - wanted) * np.log(1 - s)).mean(axis=1)
    np.testing.assert_allclose(BinaryCrossEntropy()(outputs, target).detach(), expected, rtol=1e-12)
    with pytest.raises(IncompatibleError, match="one output"):
        BinaryCrossEntropy()(torch.zeros(2, 1), torch.zeros(2, dtype=torch.long))


def mixed(name: str, outputs: Tensor, one: Tensor, other: Tensor, share: float) -> Tensor:
    """The loss of images that show two classes, as `NetworkProblem.objective` has it; (n,)."""
    loss = build(name)
    values: Tensor = share * loss(outputs, one) + (1 - share) * loss(outputs, other)
    return values


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_a_soft_label_is_what_the_formulas_make_of_a_distribution_of_classes(share: float) -> None:
    """Cross-entropies with a mixed distribution y, focal loss as its mean over y; each from its own formula."""
    outputs, one = rows(nn.Module())
    other = (one + 1) % CLASSES
    logits, eye = outputs.detach(), torch.eye(CLASSES, dtype=torch.float64)
    y = share * eye[one] + (1 - share) * eye[other]
    p, s = torch.softmax(logits, -1), torch.sigmoid(logits)
    smooth = 0.9 * y + 0.1 / CLASSES
    expected = {
        "cross_entropy": cross_entropy(logits, y, reduction="none"),
        "label_smoothing": -(smooth * p.log()).sum(-1),
        "focal": -(y * (1 - p) ** 2 * p.log()).sum(-1),
        "binary_cross_entropy": -(y * s.log() + (1 - y) * (1 - s).log()).mean(-1),
    }
    for name, values in expected.items():
        torch.testing.assert_close(mixed(name, logits, one, other, share), values, rtol=1e-12, atol=1e-14)


def test_of_the_squared_error_a_soft_label_has_the_gradient_of_the_mixed_distribution() -> None:
    """Its value is higher by the constant share (1 - share) |a - b|^2 = 2 share (1 - share)."""
    outputs, one = rows(nn.Module())
    other, share = (one + 1) % CLASSES, 0.3
    eye = torch.eye(CLASSES, dtype=torch.float64)
    apart = (torch.softmax(outputs, -1) - share * eye[one] - (1 - share) * eye[other]).square().sum(-1)
    found = mixed("mse_softmax", outputs, one, other, share)
    torch.testing.assert_close(found, apart + 2 * share * (1 - share), rtol=1e-12, atol=0.0)
    ours, theirs = (torch.autograd.grad(values.sum(), outputs)[0] for values in (found, apart))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)
