"""What a network looks at, and its images as a layer sees them, against gradients and projections made otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from command_tools import command
from PIL import Image
from sklearn.decomposition import PCA

import optbench
from optbench.errors import UserError
from optbench.experiment.rebuild import Rebuilt, rebuild
from optbench.prediction.explain import features, layers, plane, saliency


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPTBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        done = optbench.run("model=mlp", "model.hidden=[12,5]", "trainer.epochs=1", "trainer.threads=1",
                            "data.image_size=8", out=tmp_path_factory.mktemp("runs"))  # fmt: skip
        assert done.path is not None
        yield done.path


@pytest.fixture(scope="module")
def member(run: Path) -> Rebuilt:
    return rebuild(run)


def test_a_saliency_map_is_how_the_output_answers_to_each_pixel(member: Rebuilt) -> None:
    images = member.data.load("test").images[:3]
    found = saliency(member, images)
    assert found.shape == (3, 8, 8)
    h = 1e-3
    for i, row, column in ((0, 3, 4), (2, 5, 2)):  # by central differences, pixel by pixel
        inputs = (images[i : i + 1].float() / 255).double()
        model = member.model.double()
        largest = int(model(inputs).argmax())
        slopes = []
        for channel in range(inputs.shape[1]):
            up, down = inputs.clone(), inputs.clone()
            up[0, channel, row, column] += h
            down[0, channel, row, column] -= h
            with torch.no_grad():
                slopes.append(abs(float(model(up)[0, largest] - model(down)[0, largest])) / (2 * h))
        member.model.float()
        assert float(found[i, row, column]) == pytest.approx(max(slopes), rel=1e-3, abs=1e-6)


def test_features_are_what_the_layer_makes(member: Rebuilt) -> None:
    images = member.data.load("test").images[:7]
    names = layers(member)
    linear = [name for name in names if isinstance(member.model.get_submodule(name), torch.nn.Linear)]
    before, what = features(member, images)
    assert before.shape == (7, 5)
    assert what == f"input of {linear[-1]}"
    outputs, what = features(member, images, linear[-1])
    assert what == f"output of {linear[-1]}"
    assert np.allclose(outputs, member.outputs(images).numpy())
    head = member.model.get_submodule(linear[-1])
    again = before @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    assert np.allclose(again, outputs, atol=1e-5)
    with pytest.raises(UserError, match="--layer head: the network has no such layer"):
        features(member, images, "head")


def test_the_plane_is_that_of_the_principal_components() -> None:
    found = np.random.default_rng(0).normal(size=(30, 6)) * [5, 3, 1, 1, 0.5, 0.1]
    points, how = plane(found)
    reference = PCA(n_components=2).fit(found)
    other = reference.transform(found)
    for k in range(2):
        sign = np.sign(points[:, k] @ other[:, k])
        assert np.allclose(points[:, k], sign * other[:, k])
    assert f"{100 * reference.explained_variance_ratio_.sum():.0f} %" in how
    assert np.array_equal(plane(found)[0], points)
    assert np.allclose(plane(-found)[0], -points)
    assert plane(np.ones((4, 1)))[0].tolist() == [[0.0, 0.0]] * 4  # nothing to see, and no failure
    with pytest.raises(UserError, match="at least three"):
        plane(found[:2])


def test_neighbours_stay_together() -> None:
    rng = np.random.default_rng(1)
    found = np.concatenate([rng.normal(size=(15, 20)) + 12 * k for k in range(3)])
    points, how = plane(found, "tsne")
    centres = np.stack([points[15 * k : 15 * k + 15].mean(axis=0) for k in range(3)])
    nearest = np.linalg.norm(points[:, None] - centres, axis=-1).argmin(axis=1)
    assert nearest.tolist() == [k for k in range(3) for _ in range(15)]
    assert how.startswith("t-SNE")


def test_the_command_draws_both(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    maps, points = tmp_path / "s.png", tmp_path / "f.png"
    assert command("explain", run, "--saliency", maps, "--features", points, "--images", "3") == 0
    assert "359 validation images as the input of" in capsys.readouterr().out
    for file in (maps, points):
        with Image.open(file) as drawn:
            assert min(drawn.size) > 300
    assert command("explain", run, "--layers") == 0
    assert capsys.readouterr().out.split()[-1] in layers(rebuild(run))
    assert command("explain", run, "--method", "umap") == 2
    assert "expected pca or tsne" in capsys.readouterr().err
