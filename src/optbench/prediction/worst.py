"""What a recorded network is most wrong about, for the page of a comparison.

The network is built again and asked about its own validation data, where they lie now. Of pictures there are small
thumbnails, whatever the pictures are.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from optbench.errors import UserError
from optbench.experiment.rebuild import Rebuilt, rebuild
from optbench.pages import Example, Looked
from optbench.prediction.pictures import pictures
from optbench.prediction.scores import evaluation
from optbench.problem import Split, probabilities, read_split
from optbench.problem.losses import row_losses
from optbench.problem.network import collated_targets
from optbench.problem.ragged import Ragged
from optbench.problem.splits import is_pictures
from optbench.records import Run

_SPLIT = "validation"
_SIDES = (96, 64, 48, 32)
_MOST_BYTES = 12_000
_LONG = 60  # characters of a text that are shown


def looked_at(run: Run, checkpoint: str | None, config_dirs: Sequence[Path], most: int) -> Looked:
    """A network asked about its validation data.

    Args:
        run: of the network.
        checkpoint, config_dirs: see `rebuild`.
        most: examples to tell of.

    Raises:
        UserError, RecordError, DataError: it cannot be asked here, with the reason.
    """
    network = _network(run, checkpoint, config_dirs)
    inputs, targets, names = _examples(network)
    if targets is None:
        raise UserError("its validation data have no targets")
    if not isinstance(targets, Tensor | Ragged):
        raise UserError("its examples have several targets each")
    outputs = network.outputs(inputs, targets)
    targets = collated_targets(Split(inputs, targets, tuple(names)), network.collator)
    losses = row_losses(network.loss.cpu(), outputs, targets).double().numpy()
    drawn = _drawing(network, inputs)
    order = np.argsort(-np.where(np.isnan(losses), np.inf, losses), kind="stable")
    if not network.data.n_classes or targets.ndim > 1:
        told = _tokens if network.data.n_classes else _numbers
        worst = [
            Example(names[i], float(losses[i]), *told(network, outputs[i], targets[i]), None, drawn(i))
            for i in order[:most].tolist()
        ]
        return Looked(run.run_id, len(names), (), None, worst)
    classes = network.class_names
    said, shares = network.labels(outputs), probabilities(network.loss, outputs, len(classes)).numpy()
    counts = evaluation(_SPLIT, said, targets, classes).confusion
    guess, true = said.numpy(), targets.numpy()
    worst = [
        Example(names[i], float(losses[i]), classes[true[i]], classes[guess[i]], float(shares[i, guess[i]]), drawn(i))
        for i in order[(guess != true)[order]][:most].tolist()
    ]
    return Looked(run.run_id, len(names), classes, counts.tolist(), worst)


def thumbnails(
    run: Run, names: Collection[str], checkpoint: str | None, config_dirs: Sequence[Path]
) -> Mapping[str, bytes]:
    """PNG files of some of a run's validation images, by name. Raises as `looked_at`."""
    network = _network(run, checkpoint, config_dirs)
    inputs, _, known = _examples(network)
    drawn = _drawing(network, inputs)
    found = {name: drawn(i) for i, name in enumerate(known) if name in names}
    return {name: png for name, png in found.items() if png is not None}


def _network(run: Run, checkpoint: str | None, config_dirs: Sequence[Path]) -> Rebuilt:
    if run.path is None:
        raise UserError("a row of a table has no weights")
    return rebuild(run.path, checkpoint, config_dirs)


def _examples(network: Rebuilt) -> tuple[Any, Any, Sequence[str]]:
    """Inputs, targets (or None) and names of the validation data; files that are no pictures are left out."""
    if network.config["data"].get("image_size", 1) != 1 or is_pictures(network.data):
        found = pictures(network, split=_SPLIT).readable()
        return found.images, found.labels, found.names
    part = read_split(network.data, _SPLIT)
    return part.inputs, part.targets, part.names or tuple(map(str, range(len(part))))


def _drawing(network: Rebuilt, inputs: Any) -> Callable[[int], bytes | None]:
    """Thumbnails of the examples; None of what is no picture."""
    if not is_pictures(network.data):
        return lambda i: None
    return lambda i: thumbnail(inputs[i].numpy())


def thumbnail(image: NDArray[Any]) -> bytes:
    """A PNG of an image (channels, h, w), of bytes or of numbers, which are stretched to what can be seen: as large as
    fits into 12,000 bytes, at most 96 pixels a side."""
    from PIL import Image

    pixels = np.moveaxis(image, 0, -1)[..., : 3 if len(image) >= 3 else 1]
    if image.dtype != np.uint8:
        low, high = float(np.nanmin(pixels)), float(np.nanmax(pixels))
        pixels = (255.0 * (np.nan_to_num(pixels) - low) / ((high - low) or 1.0)).clip(0, 255).astype(np.uint8)
    whole = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else np.ascontiguousarray(pixels))
    for side in _SIDES:
        small, file = whole.copy(), io.BytesIO()
        small.thumbnail((side, side))
        small.save(file, "PNG", optimize=True)
        if file.tell() <= _MOST_BYTES:
            break
    return file.getvalue()


def _numbers(network: Rebuilt, output: Any, target: Any) -> tuple[str, str]:
    """What was wanted of an example and what was said, numbers."""
    wanted, found = (", ".join(f"{v:.4g}" for v in each.flatten().tolist()[:6]) for each in (target, output))
    return wanted, found


def _tokens(network: Rebuilt, output: Any, target: Any) -> tuple[str, str]:
    """The same of tokens, each of its own class."""
    names = network.class_names
    between = "" if all(len(name) == 1 for name in names) else " "
    texts = (between.join(names[k] for k in each.tolist()) for each in (target, output.argmax(dim=-1)))
    wanted, found = (text if len(text) <= _LONG else f"{text[:_LONG]}..." for text in texts)
    return wanted, found
