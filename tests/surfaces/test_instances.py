"""Instances of any surface: an isometry of it, with the truth moved along; identities of other runs stay."""

from __future__ import annotations

import itertools
from pathlib import Path

import members
import numpy as np
import pytest
import torch
from surface_tools import hessian, make, samples

import optbench
from optbench.critical.certified import certify
from optbench.errors import ConfigError, UserError
from optbench.experiment.plan import plan_run
from optbench.experiment.surface import build_field
from optbench.problem.instances import instance_of

ALL = members.surfaces()
CORNERS_UP_TO = 4


@pytest.mark.parametrize("name", ALL)
def test_truth_moves_along(name: str) -> None:
    surface = make(name)
    for number in (1, 2, 9):
        other = instance_of(surface, number)
        low, high = torch.tensor(other.domain, dtype=torch.float64).T
        y = samples(surface, 40, seed=number)
        corners = torch.tensor(list(itertools.product(*surface.domain[:CORNERS_UP_TO])), dtype=torch.float64)
        y = torch.cat([y, corners]) if surface.dim <= CORNERS_UP_TO else y
        x = torch.tensor([other.image(point) for point in y.tolist()], dtype=torch.float64)  # type: ignore[attr-defined]
        slack = 1e-9 * (high - low)
        assert ((x >= low - slack) & (x <= high + slack)).all(), "the domain does not hold the image of the domain"
        gaps = torch.cdist(x, x) - torch.cdist(y, y)
        assert float(gaps.abs().max()) < 1e-6 * float((high - low).max()), "distances change"
        # terms of Goldstein and Price's, of Beale's are 10^6 times the value
        scale = float(surface(y).abs().max())
        torch.testing.assert_close(other(x), surface(y), rtol=1e-9, atol=1e-10 * scale)
        assert (other.dim, other.label, other.minimum) == (surface.dim, surface.label, surface.minimum)
        for image, point in zip((other.start, *other.minimizers), (surface.start, *surface.minimizers), strict=True):
            assert all(a <= v <= b for v, (a, b) in zip(image, other.domain, strict=True))
            assert image == pytest.approx(other.image(point))  # type: ignore[attr-defined]
        if surface.minimum is not None:
            floor = surface.minimum - 1e-9 * max(1.0, abs(surface.minimum))
            assert float(other(samples(other, 4000, seed=3)).min()) >= floor
        assert torch.equal(other(x)[3], other(x[3])), "a row depends on the batch"


def test_instances_are_turned_differently_and_tell_nothing_by_their_middle() -> None:
    surface = make("rastrigin", 5)
    found = [instance_of(surface, number) for number in range(1, 40)]
    middles = np.array([np.mean(one.domain, axis=1) for one in found])
    best = np.array([one.minimizers[0] for one in found])
    half = np.array([np.diff(one.domain, axis=1)[:, 0] / 2 for one in found])
    off = np.abs(best - middles) / half
    assert off.mean() > 0.02
    assert np.abs(best).min() > 1e-4
    curvature = hessian(found[0], torch.tensor([0.3] * 5, dtype=torch.float64))
    assert float((curvature - torch.diag(curvature.diagonal())).abs().max()) > 1.0, "it lies along the axes still"
    assert instance_of(surface, 3).minimizers == found[2].minimizers
    schwefel = instance_of(make("schwefel", 3), 2)
    curvature = hessian(schwefel, torch.tensor(schwefel.start, dtype=torch.float64))
    assert float((curvature - torch.diag(curvature.diagonal())).abs().max()) == 0.0, "it must not be turned"


@pytest.mark.parametrize("name", ["himmelblau", "six_hump_camel"])
def test_critical_points_are_the_images(name: str) -> None:
    surface = make(name)
    other = instance_of(surface, 5)
    found = certify(other, other.domain)
    assert found.complete
    images = np.array([other.image(p.x) for p in certify(surface, ((-12.0, 12.0),) * 2).points])  # type: ignore[attr-defined]
    low, high = np.array(other.domain).T
    inside = images[((images >= low) & (images <= high)).all(axis=1)]
    places = np.array([point.x for point in found.points])
    assert len(places) == len(inside) >= 9 - 3 * (name == "six_hump_camel")
    nearest = np.linalg.norm(places[:, None] - inside[None], axis=-1)
    assert float(nearest.min(axis=1).max()) < 1e-10
    assert len(set(nearest.argmin(axis=1))) == len(inside)


def test_identities_stay_and_instances_have_their_own() -> None:
    plain = plan_run(["model=rastrigin"])
    assert plain.run_id == "a7ea3bd04209"  # before there were instances
    assert plan_run(["model=rastrigin", "model.instance=null"]).run_id == plain.run_id
    assert len({plan_run(["model=rastrigin", f"model.instance={n}"]).run_id for n in (1, 2, 3)} | {plain.run_id}) == 4
    field = build_field(plan_run(["model=bbob", "model.instance=4"]).config)
    assert field.surface.minimizers == members.make("model", "bbob", instance=4).minimizers  # its own instances


def test_a_surface_of_the_users_own_has_instances(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "bowls_of_mine.py").write_text(
        "from optbench.problem import AbstractSurface\n"
        "class Bowl(AbstractSurface):\n"
        "    def __init__(self):\n"
        "        super().__init__([(-1.0, 3.0)] * 2, [2.5, -0.5], [[0.5, 0.5]], 1.0)\n"
        "    def __call__(self, x):\n"
        "        return 1.0 + ((x - 0.5) ** 2).sum(-1)\n"
    )
    yaml = "# a bowl\ndefaults: [_surface]\n_target_: bowls_of_mine.Bowl\n"
    (tmp_path / "model" / "bowl.yaml").write_text(yaml)
    words = ("model=bowl", "optimizer=gd", "optimizer.lr=0.3")
    run = optbench.run(*words, "model.instance=2", config_dir=tmp_path, out=tmp_path / "runs")
    alone = optbench.run(*words, config_dir=tmp_path, out=tmp_path / "runs")
    for key in ("steps", "critical_type"):  # gradient descent does not see a rotation
        assert run.summary[key] == alone.summary[key]
    assert run.summary["final_loss"] == pytest.approx(1.0)
    assert run.summary["stopped_at"] != alone.summary["stopped_at"]


@pytest.mark.parametrize("number", ["0", "-1", "1.5", "true", "a"])
def test_no_such_instance(number: str) -> None:
    with pytest.raises(ConfigError, match=r"model.instance="):
        plan_run(["model=rastrigin", f"model.instance={number}"])


def test_a_network_has_none() -> None:
    with pytest.raises(ConfigError, match="no key 'instance'"):
        plan_run(["model=mlp", "data=digits", "model.instance=1"])
    with pytest.raises(UserError, match="instance=0"):
        instance_of(make("sphere"), 0)
