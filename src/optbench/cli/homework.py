"""evaluate and predict: a trained network put to use, the last two steps of the homework."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optbench.cli.common import ConfigDir, Json, Lang, Quiet, check_figure, paths, print_json, print_lines

if TYPE_CHECKING:
    from optbench.experiment.rebuild import Evaluation

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.", show_default=False)]
Checkpoint = Annotated[
    str | None,
    typer.Option(
        "--checkpoint",
        help="best (on validation), last, or an epoch kept by trainer.keep_every.",
        metavar="best|last|N",
        show_default="OPTBENCH_CHECKPOINT, or best",
    ),
]


def evaluate(
    run: RunFolder,
    split: Annotated[str, typer.Option("--split", help="train, validation or test.")] = "validation",
    checkpoint: Checkpoint = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw the confusion matrix into this file.", show_default=False)
    ] = None,
    lang: Lang = None,
    config_dir: ConfigDir = None,
    as_json: Json = False,
) -> None:
    """Compute accuracy, accuracy by class and confusion matrix of a trained network.

    Examples:

      optbench evaluate outputs/runs/hw3_cnn-adam-constant-s0-0123456789ab

      optbench evaluate RUN --split test --plot confusion.png
    """
    from optbench.experiment.rebuild import evaluate as evaluate_run
    from optbench.experiment.rebuild import rebuild

    check_figure(plot)
    rebuilt = rebuild(run, checkpoint, paths(config_dir))
    found = evaluate_run(rebuilt, split)
    if as_json:
        print_json(
            {
                "run": run,
                "checkpoint": rebuilt.checkpoint,
                "split": found.split,
                "n": found.n,
                "loss": found.loss,
                "accuracy": found.accuracy,
                "class_names": found.class_names,
                "class_accuracy": found.class_accuracy,
                "confusion": found.confusion.tolist(),
            }
        )
    else:
        print_lines(_evaluation_lines(found, rebuilt.checkpoint))
    if plot is not None:
        from optbench.plot import confusion, save

        save(confusion(found.confusion, found.class_names), plot)
        typer.echo(f"figure    {plot}", err=as_json)


def _evaluation_lines(found: Evaluation, checkpoint: str) -> list[str]:
    lines = [
        f"accuracy  {found.accuracy:.4f} on {found.n} {found.split} images (checkpoint {checkpoint})",
        f"loss      {found.loss:.4g}",
        "",
    ]
    width = max(len(n) for n in found.class_names)
    cell = max(4, len(str(found.confusion.max())) + 1)
    header = "".join(f"{i:>{cell}}" for i in range(len(found.class_names)))
    lines.append(f"{'':<{width + 4}}{'accuracy':>9}  predicted:{header[max(0, cell - 2) :]}")
    for i, (name, share) in enumerate(zip(found.class_names, found.class_accuracy, strict=True)):
        shown = "-" if share is None else f"{share:.3f}"
        counts = "".join(f"{v if v else '.':>{cell}}" for v in found.confusion[i])
        lines.append(f"{i:>3} {name:<{width}}{shown:>9}  {'':>10}{counts[max(0, cell - 2) :]}")
    return lines


def predict(
    run: RunFolder,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Folder of images; default: the data set's test split.", show_default=False),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")] = Path("submission.csv"),
    checkpoint: Checkpoint = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
    config_dir: ConfigDir = None,
    quiet: Quiet = False,
) -> None:
    """Classify images and write the homework's submission file: four-digit Id, Category, in file order.

    Examples:

      optbench predict RUN --data data/food11/test -o submission.csv
    """
    from optbench.cli.progress import counter
    from optbench.errors import OutputError
    from optbench.experiment.rebuild import predict as predict_run
    from optbench.experiment.rebuild import rebuild, submission
    from optbench.records import check_place, write_bytes

    if output.exists() and not overwrite:
        raise OutputError(f"{output} already exists", "choose another name with -o, or add --overwrite")
    check_place(output)
    rebuilt = rebuild(run, checkpoint, paths(config_dir))
    with counter("reading images", quiet) as progress:
        found = predict_run(rebuilt, data, progress)
    write_bytes(output, submission(found).encode())
    typer.echo(f"{len(found)} predictions in {output} (checkpoint {rebuilt.checkpoint})")
