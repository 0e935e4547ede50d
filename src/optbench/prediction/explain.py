"""What a network looks at, and how it sees its images from inside: saliency maps, and features of a layer in a plane.

A saliency map is how strongly the output of the predicted class answers to each pixel: the largest size of the gradient
over the channels. A feature is what a layer puts out for an image; of maps of features the mean over the places is
taken. Two directions show most of them: the principal components, or t-SNE, which keeps neighbours together and says
nothing of distances.

Sources: Simonyan, Vedaldi and Zisserman, arXiv:1312.6034 (saliency); van der Maaten and Hinton, JMLR 9 (2008) 2579
(t-SNE).
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from optbench.errors import UserError
from optbench.experiment.rebuild import Rebuilt
from optbench.problem.network import convolves, to_inputs

if TYPE_CHECKING:
    from numpy.typing import NDArray

METHODS = ("pca", "tsne")
_TOGETHER = 64
_PERPLEXITY = 30.0


def saliency(member: Rebuilt, images: Tensor) -> Tensor:
    """How strongly the largest output answers to each pixel: images (n, c, h, w) to (n, h, w), not negative."""
    found = []
    for part in images.split(_TOGETHER):
        inputs = to_inputs(part, member.device, convolves(member.model)).requires_grad_()
        outputs = member.model(inputs)
        largest = outputs.amax(dim=-1).sum()  # images do not see each other: one gradient holds all
        (gradient,) = torch.autograd.grad(largest, inputs)
        found.append(gradient.abs().amax(dim=1).cpu())
    return torch.cat(found)


def layers(member: Rebuilt) -> list[str]:
    """Names of the modules that can be looked into, in order: those without parts of their own."""
    return [name for name, module in member.model.named_modules() if name and not list(module.children())]


def last_hidden(member: Rebuilt) -> str | None:
    """The name of the last linear layer, whose input is what the network has made of an image; None: there is none."""
    linear = [name for name, module in member.model.named_modules() if isinstance(module, nn.Linear) and name]
    return linear[-1] if linear else None


def features(member: Rebuilt, images: Tensor, layer: str | None = None) -> tuple[NDArray[np.float64], str]:
    """What a layer makes of images.

    Args:
        member: the network.
        images: (n, c, h, w), as its data set gives them.
        layer: one of `layers`, whose output is taken; None: the input of the last linear layer.

    Returns:
        Features (n, d), and what they are, for a title.

    Raises:
        UserError: no such layer.
    """
    known = dict(member.model.named_modules())
    head = last_hidden(member)
    if layer is None and head is None:
        raise UserError("the network has no linear layer", f"name one with --layer: {', '.join(layers(member))}")
    if layer is not None and layer not in layers(member):
        close = difflib.get_close_matches(layer, layers(member), n=3, cutoff=0.3)
        hint = f"such as {', '.join(close)}" if close else f"layers: {', '.join(layers(member))}"
        raise UserError(f"--layer {layer}: the network has no such layer", hint)
    kept: list[Tensor] = []
    if layer is None:
        handle = known[str(head)].register_forward_pre_hook(lambda module, given: kept.append(_flat(given[0])))
    else:
        handle = known[layer].register_forward_hook(lambda module, given, made: kept.append(_flat(made)))
    try:
        member.outputs(images)
    finally:
        handle.remove()
    what = f"input of {head}" if layer is None else f"output of {layer}"
    return torch.cat(kept).double().numpy(), what


def _flat(made: Tensor) -> Tensor:
    made = made.detach()
    return (made.mean(dim=(2, 3)) if made.ndim == 4 else made.flatten(1)).cpu()


def plane(found: NDArray[np.float64], method: str = "pca") -> tuple[NDArray[np.float64], str]:
    """Features (n, d) as points of a plane (n, 2), and what the plane is, for a title.

    Args:
        found: at least three images' features.
        method: pca or tsne; of the latter the start is the former, so that the same features give the same points.

    Raises:
        UserError: another method, or fewer images.
    """
    if method not in METHODS:
        raise UserError(f"--method {method}: expected {' or '.join(METHODS)}")
    n = len(found)
    if n < 3:
        raise UserError(f"{n} images: a plane needs at least three")
    centred = found - found.mean(axis=0)
    left, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    # the sign of a direction is arbitrary: its largest coordinate is made positive
    signs = np.sign(directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)])
    points = np.zeros((n, 2))
    points[:, : min(2, len(sizes))] = (left * sizes * np.where(signs == 0, 1.0, signs))[:, :2]
    if method == "pca":
        total = float((sizes**2).sum())
        share = float((sizes[:2] ** 2).sum()) / total if total > 0 else 1.0
        return points, f"two principal components, {100 * share:.0f} % of the variance"
    from sklearn.manifold import TSNE

    perplexity = min(_PERPLEXITY, (n - 1) / 3)
    start = points / (points[:, 0].std() or 1.0) * 1e-4
    made: NDArray[np.float64] = TSNE(init=start, perplexity=perplexity, random_state=0).fit_transform(centred)
    return np.asarray(made, dtype=float), f"t-SNE, perplexity {perplexity:.0f}"
