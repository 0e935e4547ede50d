"""Networks with batch normalisation from their checkpoints: what their outputs depend on, and their error surface.

Along a path of training, with L the loss of all training images and g its gradient at the weights w: the change of the
gradient is the largest |grad L(w - s g) - g| / |g| over steps s of a half to four times the rate. The internal
covariate shift of a layer is the relative change of its own gradient when only the layers below it make the update.

Source: Apple Book, sections 3.7.2 and 3.7.3; S. Santurkar et al., How Does Batch Normalization Help Optimization?,
arXiv:1805.11604, section 3.1 (steps) and definition 2.1 (shift; there absolute, here relative).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from applebook.measures._common import network, rate_of
from optbench import Rebuilt, Run
from optbench.metrics import Floats

BATCH, MOVED = 32, 0.01
STEPS = (0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Tested:
    """Trained networks in evaluation and in training mode.

    Attributes:
        batched, alone, training: outputs of the same images: in a batch and one by one in evaluation mode, and in the
            batch in training mode; (values,).
        moved: by mode, for each image whether its outputs move by more than MOVED, relative to their norm, when the
            rest of its batch is changed; (networks x images,).
        moving, exact, pairs: validation accuracy by network, with the mean and deviation from the moving averages, from
            all training images, and from test batches of two; (networks,).
    """

    batched: Floats
    alone: Floats
    training: Floats
    moved: dict[str, Floats]
    moving: Floats
    exact: Floats
    pairs: Floats


@dataclass(frozen=True)
class Path:
    """The error surface along training; one row a seed, one column a checkpoint.

    Attributes:
        epochs: of the checkpoints, (k,).
        changes, shifts: see the module; (n, k).
    """

    epochs: Floats
    changes: Floats
    shifts: Floats

    @property
    def change(self) -> Floats:
        """Geometric mean over the checkpoints, (n,)."""
        return _geometric(self.changes)

    @property
    def shift(self) -> Floats:
        """Geometric mean over the checkpoints, (n,)."""
        return _geometric(self.shifts)


def _geometric(values: Floats) -> Floats:
    found: Floats = np.exp(np.log(values).mean(axis=1))
    return found


# the test -------------------------------------------------------------------------------------------------------------


def test_time(runs: Sequence[Run]) -> Tested:
    """Networks with batch normalisation, of runs that kept their last weights."""
    outputs: dict[str, list[Tensor]] = {"batched": [], "alone": [], "training": []}
    moved: dict[str, list[Tensor]] = {"train": [], "eval": []}
    right: dict[str, list[float]] = {"moving": [], "exact": [], "pairs": []}
    with torch.no_grad():
        for i, run in enumerate(runs):
            built = network(run)
            if not i:  # all runs have the same images
                (images, labels), training = _inputs(built, "validation"), _inputs(built, "train")[0]
                images, training = images.double(), training.double()
            first, model = images[:BATCH], built.model.double()  # so that the difference that is left is not rounding
            outputs["batched"].append(model(first))
            outputs["alone"].append(torch.cat([model(image[None]) for image in first]))
            outputs["training"].append(_training(model)(first))
            orders = [
                torch.randperm(len(images), generator=torch.Generator().manual_seed(s)) for s in (2 * i, 2 * i + 1)
            ]
            for mode, each in (("train", _training(model)), ("eval", model)):
                one, other = (_in_order(each, images, order, BATCH) for order in orders)
                moved[mode].append((one - other).norm(dim=1) > MOVED * one.norm(dim=1))
            for name, found in (
                ("moving", model(images)),
                ("exact", _exact(model, training)(images)),
                ("pairs", _in_order(_training(model), images, orders[0], 2)),
            ):
                right[name].append(float((found.argmax(dim=1) == labels).double().mean()))
    return Tested(
        **{name: torch.cat(found).numpy().ravel() for name, found in outputs.items()},
        moved={mode: torch.cat(found).double().numpy() for mode, found in moved.items()},
        **{name: np.array(found) for name, found in right.items()},
    )


def _inputs(built: Rebuilt, split: str) -> tuple[Tensor, Tensor]:
    """Images (n, c, h, w), in [0, 1], and labels (n,)."""
    part = built.data.load(split)
    assert part.labels is not None
    return part.images / 255.0, part.labels


def _training(model: nn.Module) -> nn.Module:
    """A copy in training mode: its passes move the copy's averages, not the model's."""
    return copy.deepcopy(model).train()


def _in_order(model: nn.Module, images: Tensor, order: Tensor, size: int) -> Tensor:
    """Outputs (n, C) of images that pass in batches of a size in an order, in the images' own order.

    A last batch of one image joins the one before it, as in training.
    """
    parts = list(order.split(size))
    if len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    found = torch.cat([model(images[part]) for part in parts])
    return found[order.argsort()]


def _exact(model: nn.Module, images: Tensor) -> nn.Module:
    """A copy in evaluation mode, with the mean and deviation of these images in place of the moving averages."""
    found = _training(model)
    for module in found.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.momentum = 1.0  # the averages become those of the one batch that follows
    found(images)
    return found.eval()


# the error surface ----------------------------------------------------------------------------------------------------


def along_path(runs: Sequence[Run]) -> Path:
    """The path of runs that differ in their seed alone and kept their weights."""
    rows = []
    for run in runs:
        epochs = list(run.checkpoints())
        networks = [network(run, str(epoch)) for epoch in epochs]
        images = _inputs(networks[0], "train")
        rows.append([_at(built, *images, rate_of(run)) for built in networks])
    values = np.array(rows)
    return Path(np.array(epochs, dtype=np.float64), values[..., 0], values[..., 1])


def _at(built: Rebuilt, images: Tensor, labels: Tensor, rate: float) -> tuple[float, float]:
    """Change of the gradient along a step, and internal covariate shift (mean over layers), at a network's weights."""
    model = built.model.train()
    weights = {name: p.detach() for name, p in model.named_parameters()}

    def gradient(at: dict[str, Tensor], wanted: Sequence[str]) -> dict[str, Tensor]:
        at = {name: p.detach().requires_grad_(name in wanted) for name, p in at.items()}
        loss = built.loss(torch.func.functional_call(model, at, (images,)), labels).mean()
        return dict(zip(wanted, torch.autograd.grad(loss, [at[name] for name in wanted]), strict=True))

    names = list(weights)
    g = gradient(weights, names)
    whole = _flat(g)
    changes = [
        float(
            (_flat(gradient({n: p - s * rate * g[n] for n, p in weights.items()}, names)) - whole).norm() / whole.norm()
        )
        for s in STEPS
    ]
    shifts = []
    linear = [n for n in names if weights[n].dim() == 2]
    for layer in linear[1:]:
        below = set(names[: names.index(layer)])
        moved = gradient({n: p - rate * g[n] if n in below else p for n, p in weights.items()}, [layer])[layer]
        shifts.append(float((moved - g[layer]).norm() / g[layer].norm()))
    return max(changes), float(np.mean(shifts))


def _flat(gradient: dict[str, Tensor]) -> Tensor:
    return torch.cat([g.flatten() for g in gradient.values()])
