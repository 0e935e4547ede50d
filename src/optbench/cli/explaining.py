"""explain: what a trained network looks at, and how it sees its images from inside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from optbench.cli.common import ConfigDir, Lang, check_figure, paths, print_lines
from optbench.cli.homework import Checkpoint

if TYPE_CHECKING:
    from optbench.experiment.rebuild import Rebuilt
    from optbench.prediction import Pictures


def explain(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.", show_default=False)],
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Where the data lie now, or a folder of images.", show_default=False),
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="train, validation or test.", show_default="validation")
    ] = None,
    checkpoint: Checkpoint = None,
    layer: Annotated[
        str | None,
        typer.Option("--layer", help="Whose output is shown.", show_default="the input of the last linear layer"),
    ] = None,
    list_layers: Annotated[bool, typer.Option("--layers", help="Print the names of the layers and end.")] = False,
    method: Annotated[str, typer.Option("--method", help="pca or tsne.")] = "pca",
    images: Annotated[int, typer.Option("--images", help="Images with a saliency map.", min=1, max=60)] = 12,
    saliency_file: Annotated[Path, typer.Option("--saliency", help="The figure of what the network looks at.")] = Path(
        "saliency.png"
    ),
    features_file: Annotated[
        Path, typer.Option("--features", help="The figure of the images as the layer sees them.")
    ] = Path("features.png"),
    lang: Lang = None,
    config_dir: ConfigDir = None,
) -> None:
    """Draw what a network looks at (saliency), and its images as a layer sees them (PCA or t-SNE).

    A saliency map shows how strongly the largest output answers to each pixel. Features of a layer are shown in a
    plane, one point an image, coloured by its class; of maps the mean over the places is taken.

    Examples:

      optbench explain RUN --layers

      optbench explain RUN --layer cnn.7 --method tsne --features middle.png
    """
    from optbench.errors import UserError

    check_figure(saliency_file)
    check_figure(features_file)
    from optbench.experiment.rebuild import rebuild
    from optbench.prediction.explain import METHODS, layers  # imports torch

    if method not in METHODS:
        raise UserError(f"--method {method}: expected {' or '.join(METHODS)}")
    member = rebuild(run, checkpoint, paths(config_dir))
    if list_layers:
        print_lines(layers(member))
        return

    _draw(member, _Asked(data, split, layer, method, images), saliency_file, features_file)


class _Asked(NamedTuple):
    """Of which images, and how, the figures are."""

    data: Path | None
    split: str | None
    layer: str | None
    method: str
    images: int


def _draw(member: Rebuilt, asked: _Asked, saliency_file: Path, features_file: Path) -> None:
    """Draws both figures and says what they show."""
    from optbench.experiment.rebuild import check_classes
    from optbench.plot import features_figure, saliency_figure, save
    from optbench.prediction import Ensemble
    from optbench.prediction.explain import features, plane, saliency

    check_classes(member)
    network = Ensemble((member,))
    (given,) = network.pictures(asked.data, asked.split, usual="validation")
    found = given.readable()
    inside, what = features(member, found.images, asked.layer)
    points, how = plane(inside, asked.method)
    probabilities, predicted = (part.numpy() for part in network.combined(network.each([found])))
    true = None if found.labels is None else found.labels.numpy()
    chosen = _chosen(found, asked.images)
    few, names = found.images[chosen], [found.names[i] for i in chosen]
    maps, own = saliency(member, few).numpy(), None if true is None else true[chosen]
    classes = member.class_names
    shown = saliency_figure(few.numpy(), maps, own, predicted[chosen], probabilities[chosen], classes, names)
    save(shown, saliency_file)
    title = f"{len(found)} {found.what} as the {what} (checkpoint {member.checkpoint})"
    save(features_figure(points, true, predicted, classes, f"{title}\n{how}"), features_file)
    print_lines([f"{title}: {how}", f"figure    {saliency_file}", f"figure    {features_file}"])


def _chosen(found: Pictures, most: int) -> list[int]:
    """The places of images to look at: of each class in turn, or the first ones."""
    if found.labels is None:
        return list(range(min(most, len(found))))
    labels, seen = found.labels.tolist(), dict.fromkeys(found.labels.tolist(), 0)
    turns = []
    for place, label in enumerate(labels):
        turns.append((seen[label], label, place))
        seen[label] += 1
    return [place for _, _, place in sorted(turns)[:most]]
