"""Interval rules for surfaces of logits, every classification loss: enclosures against autograd, proofs end to end."""

from __future__ import annotations

import json
from typing import Any

import members
import numpy as np
import pytest
import torch
from certified_tools import range_of
from command_tools import invoke

from optbench.critical.certified import certify
from optbench.critical.numeric.calculus import Field as FloatField
from optbench.critical.programs.scalar import MissingRule
from optbench.critical.proofs.field import Field
from optbench.critical.second_proof.verify import verify_arb
from optbench.problem import Objective, surface_objective

LOSSES = [
    ("cross_entropy", {}),
    ("label_smoothing", {}),
    ("mse_softmax", {}),
    ("focal", {}),
    ("focal", {"gamma": 0.0}),
    ("focal", {"gamma": 0.5, "alpha": [2.0, 1.0, 0.5]}),
    ("focal", {"gamma": 5.0}),
]


def logits(third: float, loss: str, **changes: Any) -> tuple[Objective, tuple[tuple[float, float], ...]]:
    """softmax_logits under a loss of conf."""
    surface = members.make("model", "softmax_logits", third=third)
    keywords = {k: v for k, v in members.keywords("loss", loss).items() if "${" not in str(v)}
    return surface_objective(surface, members.target("loss", loss)(**{**keywords, **changes})), surface.domain


@pytest.mark.parametrize("third", [0.0, -1000.0])
@pytest.mark.parametrize(("loss", "changes"), LOSSES)
def test_enclosures_hold_autograd(loss: str, changes: dict[str, Any], third: float) -> None:
    objective, box = logits(third, loss, **changes)
    field, reference = Field(objective, box), FloatField(objective, box)
    rng = np.random.default_rng(11)
    x = field.low + rng.random((200, 2)) * field.width
    width = 10.0 ** rng.uniform(-6, np.log10(0.3), (200, 1)) * field.width
    found = field.enclose(x - width * rng.random(x.shape), x + width * rng.random(x.shape), 2)
    thin, truth = field.at(x, 2), reference.native(reference.jet(x))
    for ranges, at, exact in (
        (found.value, thin.value, truth.value),
        (found.grad, thin.grad, truth.grad),
        (found.hess, thin.hess, truth.hess),
    ):
        slack = 10 * (at[1] - at[0]) + 1e-14 * np.abs(exact).max()  # autograd rounds, too
        assert (ranges[0] <= exact + slack).all()
        assert (exact - slack <= ranges[1]).all()
        assert (at[1] - at[0] <= 1e-9 * (1.0 + np.abs(exact).max())).all()


@pytest.mark.parametrize(("loss", "changes"), LOSSES)
def test_no_loss_has_a_critical_point_on_the_logits(loss: str, changes: dict[str, Any]) -> None:
    """Each falls as the label's logit grows; label smoothing has its minimum outside, at the third logit's height."""
    found = certify(*logits(-1000.0, loss, **changes))
    assert (found.complete, found.points, found.winding_number) == (True, (), 0)


def test_smoothed_labels_are_attained_within_reach() -> None:
    """At p = (1 - 2s/3, s/3, s/3) the gradient p - smoothed label vanishes: y1 = log(p1 / p2), y2 = 0 over y3 = 0."""
    found = certify(*logits(0.0, "label_smoothing", label_smoothing=0.3))
    (point,) = found.points
    assert (found.complete, point.type) == (True, "minimum")
    assert point.x == pytest.approx((np.log(0.8 / 0.1), 0.0), abs=1e-12)


def test_focal_loss_and_weight_decay_meet_where_the_gradient_says() -> None:
    """A minimum that is no closed form: the second proof in ball arithmetic and plain Newton find the same one."""
    focal, box = logits(0.0, "focal", gamma=2.0)

    def decayed(x: Any) -> Any:
        return focal(x) + 0.01 * (x * x).sum(dim=-1)

    found = certify(decayed, box)
    assert (found.complete, found.counts()["minimum"], len(found.points)) == (True, 1, 1)
    x = torch.tensor(found.points[0].x, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(decayed(x), x)
    assert gradient.abs().max() < 1e-15
    pytest.importorskip("flint")
    near = ((1.0, 2.0), (-1.0, 0.0))
    assert verify_arb(decayed, certify(decayed, near)).agrees


def test_the_sum_of_exponentials_and_what_is_masked() -> None:
    def surface(x: Any) -> Any:
        label = torch.tensor([[1]])
        rows = torch.stack([x[..., 0], 2.0 * x[..., 1], x[..., 0] * x[..., 1]], dim=-1)
        others = rows.scatter(-1, label.expand(*rows.shape[:-1], 1), -torch.inf).logsumexp(dim=-1)
        chosen = rows.gather(-1, label.expand(*rows.shape[:-1], 1)).squeeze(-1)
        return others + 3.0 * torch.logsumexp(rows, dim=-1) - chosen

    rng = np.random.default_rng(12)
    x = rng.uniform(-30, 30, (100, 2))
    truth = surface(torch.from_numpy(x)).numpy()
    for width in (0.0, 1e-3, 0.5):
        found = range_of(surface, x - width, x + width)
        slack = 1e-14 * (1 + np.abs(truth)) * (width == 0.0)
        assert (found.low <= truth + slack).all()
        assert (truth - slack <= found.high).all()


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: x.gather(-1, x.argmax(-1, keepdim=True)).sum(dim=-1), "an order that depends on x"),
        (lambda x: x.gather(-1, x.max(-1, keepdim=True).indices).sum(dim=-1), "an order that depends on x"),
        (lambda x: x[x > 0].sum() + x[..., 0], "mask"),
        (lambda x: x.logsumexp(dim=0).sum() + x[..., 0], "other points"),
        (lambda x: x.logsumexp(dim=(-1, -2)) + x[..., 0], "more than one axis"),
        (lambda x: torch.nn.functional.cross_entropy(
            x, torch.zeros(len(x), dtype=torch.long), torch.ones(2).double(), reduction="none"), "class weights"),
    ],
)  # fmt: skip
def test_what_has_no_rule_is_named(function: Any, words: str) -> None:
    with pytest.raises(MissingRule, match=words):
        Field(function, ((-1.0, 1.0),) * 2)


def test_the_command_proves_focal_loss(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = invoke(capsys, "classify-critical", "--fn", "softmax_logits", "loss=focal", "--json")
    found = json.loads(out)
    assert (code, found["method"], found["complete"]) == (0, "certified", True)
