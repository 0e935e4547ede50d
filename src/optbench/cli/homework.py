"""evaluate and predict: trained networks put to use, the last two steps of the homework."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from optbench.cli.common import ConfigDir, Json, Lang, Quiet, check_figure, paths, print_json, print_lines

if TYPE_CHECKING:
    from optbench.experiment.rebuild import Rebuilt
    from optbench.prediction import Ensemble, Evaluation, Pictures

Runs = Annotated[
    list[Path],
    typer.Argument(
        metavar="RUN...", help="Run folders; of several the networks are asked together.", show_default=False
    ),
]
Checkpoint = Annotated[
    str | None,
    typer.Option(
        "--checkpoint",
        help="best (on validation), last, or an epoch kept by trainer.keep_every.",
        metavar="best|last|N",
        show_default="OPTBENCH_CHECKPOINT, or best",
    ),
]
Checkpoints = Annotated[
    str | None,
    typer.Option(
        "--checkpoint",
        help="best (on validation), last, or an epoch that trainer.keep_every kept; of several all are asked.",
        metavar="best|last|N,...",
        show_default="OPTBENCH_CHECKPOINT, or best",
    ),
]
Vote = Annotated[bool, typer.Option("--vote", help="Of several runs: the class with most votes, not the mean.")]
Greedy = Annotated[
    bool, typer.Option("--greedy", help="Of several runs only those that improve the ensemble on held-out images.")
]
Tta = Annotated[bool, typer.Option("--tta", help="Test-time augmentation: also look at views as in training.")]
TtaViews = Annotated[int, typer.Option("--tta-views", help="Augmented views of each image.", min=1)]
TtaWeight = Annotated[
    float, typer.Option("--tta-weight", help="Weight of the image as it is; the views share the rest.", min=0, max=1)
]


def evaluate(
    run: Runs,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Where the data lie now, or a folder of labelled images.", show_default=False),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option("--split", help="train, validation or test.", show_default="validation"),
    ] = None,
    checkpoint: Checkpoints = None,
    vote: Vote = False,
    greedy: Greedy = False,
    tta: Tta = False,
    tta_views: TtaViews = 5,
    tta_weight: TtaWeight = 0.5,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw the confusion matrix into this file.", show_default=False)
    ] = None,
    errors: Annotated[
        Path | None, typer.Option("--errors", help="Draw the images that it is most wrong about.", show_default=False)
    ] = None,
    lang: Lang = None,
    config_dir: ConfigDir = None,
    as_json: Json = False,
) -> None:
    """Compute accuracy, accuracy by class and confusion matrix of a trained network, or of several together.

    Labelled images are a folder a class, or files such as 3_100.jpg with the label first. Of a sweep over folds
    (data.folds=5) it is how right each network is on the images that it did not train on. Of tables, signals and text
    it is the loss and the figures that there are of such targets: RMSE, MAE and R2 of numbers, the first two also in
    the units of the target where it is learnt in standard deviations.

    Examples:

      optbench evaluate outputs/runs/hw3_cnn-adam-constant-s0-0123456789ab

      optbench evaluate RUN --split test --plot confusion.png --errors worst.png

      optbench evaluate RUN --data where/the/data/lie/now

      optbench evaluate outputs/sweeps/folds --greedy
    """
    check_figure(plot)
    check_figure(errors)
    question = _Question(run, checkpoint, paths(config_dir), vote, greedy, (tta_views, tta_weight) if tta else None)
    if _evaluate_examples(question, split, {"--data": data, "--plot": plot, "--errors": errors}, as_json):
        return
    if question.is_out_of_fold(data, split):
        _evaluate_out_of_fold(question, plot, errors, as_json)
        return
    asked = question.ensemble()
    given = asked.pictures(data, split, usual="validation")
    found = [one.readable() for one in given]
    labels = _labels_of(found[0])
    probabilities, predicted = asked.combined(asked.each(found))
    scored = _scored(asked, found[0].what, predicted, labels, found[0].images if not tta else None)
    _report(scored, run, ",".join(dict.fromkeys(m.checkpoint for m in asked.members)), _by_whom(asked), plot, as_json)
    if errors is not None:
        from optbench.plot import save, worst_pictures

        images, true, shares = found[0].images.numpy(), labels.numpy(), probabilities.numpy()
        names = scored.class_names, found[0].names
        save(worst_pictures(images, true, predicted.numpy(), shares, *names), errors)
        typer.echo(f"figure    {errors}", err=as_json)


def _evaluate_examples(question: _Question, split: str | None, given: dict[str, Any], as_json: bool) -> bool:
    """Of a run on data that are no pictures: its figures; gives whether it is one."""
    network = question.examples(given)
    if network is None:
        return False
    from optbench.prediction.examples import figures

    found = figures(network, split or "validation")
    if as_json:
        own = {"split": found.split, "n": found.n, "loss": found.loss, **found.figures}
        own |= {f"{name}_in_units": values for name, values in found.in_units.items()}
        print_json({"run": question.runs[0], "checkpoint": network.checkpoint, **own})
        return True
    where = f"on {found.n} {found.split} examples (checkpoint {network.checkpoint})"
    lines = [f"{'loss':<12}{found.loss:.4g} {where}"]
    for name, value in found.figures.items():
        measured = ", ".join(f"{one:.4g}" for one in found.in_units.get(name, ()))
        units = f" standard deviations; {measured} in the units of the target" if measured else ""
        lines.append(f"{name:<12}{value:.4g}{units}")
    print_lines(lines)
    return True


def _labels_of(found: Pictures) -> Any:
    from optbench.errors import UserError

    if found.labels is None:
        raise UserError(f"the {found.what} have no labels to compare with", "use optbench predict")
    return found.labels


def _report(
    scored: Evaluation, runs: list[Path], checkpoint: str, by_whom: str, plot: Path | None, as_json: bool
) -> None:
    if as_json:
        print_json(_evaluation_json(scored, runs, checkpoint, by_whom))
    else:
        print_lines(_evaluation_lines(scored, by_whom))
    if plot is not None:
        from optbench.plot import confusion, save

        save(confusion(scored.confusion, scored.class_names), plot)
        typer.echo(f"figure    {plot}", err=as_json)


class _Question(NamedTuple):
    """Which networks are asked, and how; attributes as the options have them, `views` count and weight."""

    runs: list[Path]
    checkpoint: str | None
    config_dirs: list[Path]
    vote: bool
    greedy: bool
    views: tuple[int, float] | None

    def is_out_of_fold(self, data: Path | None, split: str | None) -> bool:
        """Whether nothing else was said of runs on folds than to evaluate them."""
        from optbench.prediction import are_folds

        folders = self.folders()
        return data is None and split is None and are_folds(folders)

    def folders(self) -> list[Path]:
        """The runs, after what can be seen of mistakes without torch."""
        from optbench.prediction import run_folders
        from optbench.records import check_own_run, read_run
        from optbench.records.chosen import chosen

        for one in self.checkpoint.split(",") if self.checkpoint else [None]:
            chosen(one, others=True)
        folders = run_folders(self.runs)
        for folder in folders:
            check_own_run(read_run(folder))
        return folders

    def examples(self, given: dict[str, Any]) -> Rebuilt | None:
        """The network of a run on data that are no pictures, where options for pictures (by what was given of each)
        are refused; None where the runs are on pictures."""
        from optbench.records import read_run

        folders = self.folders()
        if read_run(folders[0]).config["data"].get("image_size", 1) != 1:
            return None
        from optbench.prediction.examples import of_examples

        options = {**given, "--vote": self.vote, "--greedy": self.greedy, "--tta": self.views}
        return of_examples(folders, self.checkpoint, self.config_dirs, [key for key, value in options.items() if value])

    def ensemble(self) -> Ensemble:
        """The networks; with --greedy those that were chosen, which is said on standard error."""
        folders = self.folders()
        from optbench.prediction import Views, ensemble, ensemble_of

        views = None if self.views is None else Views(*self.views)
        if not self.greedy:
            return ensemble(folders, self.checkpoint, self.config_dirs, self.vote, views)
        from optbench.prediction.cross import selected

        chosen = selected(folders, self.checkpoint, self.config_dirs)
        print_lines(chosen.lines, err=True)
        return ensemble_of(chosen.members, self.config_dirs, self.vote, views, chosen.weights)


def _evaluate_out_of_fold(question: _Question, plot: Path | None, errors: Path | None, as_json: bool) -> None:
    """Of runs on all folds: how right the networks are on the images that they did not train on."""
    import torch

    from optbench.errors import UserError
    from optbench.prediction import evaluation
    from optbench.prediction.cross import average, cross_validated, selected_out_of_fold

    if question.views or question.vote or errors:
        raise UserError("predictions out of fold are of the images as they are, one after the other",
                        "--vote, --tta and --errors want --split or --data")  # fmt: skip
    found = cross_validated(question.folders(), question.checkpoint, question.config_dirs)
    weights = None
    if question.greedy:
        weights, selection = selected_out_of_fold(found)
        print_lines(selection.lines, err=True)
    predicted = torch.from_numpy(average(found, weights).argmax(axis=-1))
    labels = torch.from_numpy(found[0].labels)
    scored = evaluation("images out of fold", predicted, labels, found[0].class_names)
    which = list(dict.fromkeys(found[i].checkpoint for i in weights or range(len(found))))
    settings = len({one.runs for one in found})
    several = f"; mean of {len(weights or found)} {'configurations' if settings == len(found) else 'candidates'}"
    words = f"checkpoint{'s' * (len(which) > 1)} {', '.join(which)}; {len(found[0].runs)} folds"
    _report(scored, question.runs, ",".join(which), words + several * (len(found) > 1), plot, as_json)


def _scored(asked: Ensemble, what: str, predicted: Any, labels: Any, images: Any) -> Evaluation:
    """Predictions held against labels; with the loss where one network looked at these images alone."""
    from optbench.prediction import evaluation

    loss = None
    if len(asked.members) == 1 and images is not None:
        member = asked.members[0]
        loss = float(member.loss.cpu()(member.outputs(images), labels).mean())
    return evaluation(what, predicted, labels, asked.class_names, loss)


def _by_whom(asked: Ensemble) -> str:
    """Whose answers they are: which checkpoint, how many networks, how they are put together."""
    which = dict.fromkeys(member.checkpoint for member in asked.members)
    words = [f"checkpoint{'s' * (len(which) > 1)} {', '.join(which)}"]
    if decays := dict.fromkeys(f"{member.decay:g}" for member in asked.members if member.decay is not None):
        words.append(f"weights averaged (trainer.ema={', '.join(decays)})")
    if len(asked.members) > 1:
        words.append(f"{len(asked.members)} networks, {'votes' if asked.vote else 'mean of probabilities'}")
    if asked.views is not None:
        weight = asked.views.weight
        words.append(f"{weight:g} x the image + {1 - weight:g} x the mean of {asked.views.count} augmented views")
    return "; ".join(words)


def _evaluation_json(found: Evaluation, runs: list[Path], checkpoint: str, by_whom: str) -> dict[str, Any]:
    return {
        "run": runs[0] if len(runs) == 1 else runs,
        "checkpoint": checkpoint,
        "by": by_whom,
        "split": found.split.removesuffix(" images"),
        "n": found.n,
        "loss": found.loss,
        "accuracy": found.accuracy,
        "interval": [found.interval.low, found.interval.high],
        "class_names": found.class_names,
        "class_accuracy": found.class_accuracy,
        "confusion": found.confusion.tolist(),
    }


def _evaluation_lines(found: Evaluation, by_whom: str) -> list[str]:
    span = f"[{found.interval.low:.4f}, {found.interval.high:.4f}]"
    lines = [
        f"accuracy  {found.accuracy:.4f} {span} on {found.n} {found.split} ({by_whom})",
        *([f"loss      {found.loss:.4g}"] if found.loss is not None else []),
        "",
    ]
    width = max(len(n) for n in found.class_names)
    cell = max(4, len(str(found.confusion.max())) + 1)
    header = "".join(f"{i:>{cell}}" for i in range(len(found.class_names)))
    lines.append(f"{'':<{width + 4}}{'accuracy':>9}  predicted:")
    lines.append(f"{'':<{width + 4}}{'':>9}{header}")
    for i, (name, share) in enumerate(zip(found.class_names, found.class_accuracy, strict=True)):
        shown = "-" if share is None else f"{share:.3f}"
        counts = "".join(f"{v if v else '.':>{cell}}" for v in found.confusion[i])
        lines.append(f"{i:>3} {name:<{width}}{shown:>9}{counts}")
    return lines


def predict(
    run: Runs,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Folder of images; default: the data set's test split.", show_default=False),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")] = Path("submission.csv"),
    proba: Annotated[
        Path | None,
        typer.Option(
            "--proba",
            help="Also write the probability of each class, a column each.",
            show_default=False,
        ),
    ] = None,
    checkpoint: Checkpoints = None,
    vote: Vote = False,
    greedy: Greedy = False,
    tta: Tta = False,
    tta_views: TtaViews = 5,
    tta_weight: TtaWeight = 0.5,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
    config_dir: ConfigDir = None,
    quiet: Quiet = False,
) -> None:
    """Classify images and write the homework's submission file: four-digit Id, Category, in natural order of names.

    The Id is the number that names the file (0001.jpg has 0001). Of several runs the probabilities are averaged, or
    they vote. With --tta views of each image count too, by the augmentation of the training: half, as in the homework.
    Where folders or names say the labels, accuracy and confusion matrix are printed. Of tables, signals and text the
    file has a line an example of the test split: its name, what is predicted, and what is true; --proba has a column a
    class, and of text a line a position.

    Examples:

      optbench predict RUN --data data/food11/test -o submission.csv

      optbench predict RUN1 RUN2 RUN3 --vote --tta --proba probabilities.csv
    """
    from optbench.cli.progress import counter
    from optbench.records import write_bytes

    _check_new([output, *([proba] if proba is not None else [])], overwrite)
    question = _Question(run, checkpoint, paths(config_dir), vote, greedy, (tta_views, tta_weight) if tta else None)
    if _predict_examples(question, {"--data": data}, output, proba):
        return
    asked = question.ensemble()
    from optbench.prediction import filled, numbered, probability_table, submission

    with counter("reading images", quiet) as progress:
        found = asked.pictures(data, progress=progress)
    names = found[0].names
    ids, notes = numbered(names)
    probabilities, predicted, said = filled(asked, found[0], *asked.combined(asked.each(found)))
    print_lines([f"note: {note}" for note in (*notes, said) if note], err=True)
    write_bytes(output, submission(list(zip(names, predicted.tolist(), strict=True))).encode())
    typer.echo(f"{len(names)} predictions in {output} ({_by_whom(asked)})")
    if proba is not None:
        write_bytes(proba, probability_table(names, ids, probabilities, asked.class_names).encode())
        typer.echo(f"probabilities in {proba}")
    if found[0].labels is not None:
        known = found[0].is_readable
        scored = _scored(asked, found[0].what, predicted[known], found[0].labels[known], None)
        print_lines(["", *_evaluation_lines(scored, _by_whom(asked))])


def _check_new(files: list[Path], overwrite: bool) -> None:
    """Raises OutputError for files that are there, unless they may be replaced, and for places that cannot be."""
    from optbench.errors import OutputError
    from optbench.records import check_place

    for file in files:
        if file.exists() and not overwrite:
            raise OutputError(f"{file} already exists", "choose another name with -o or --proba, or add --overwrite")
        check_place(file)


def _predict_examples(question: _Question, given: dict[str, Any], output: Path, proba: Path | None) -> bool:
    """Of a run on data that are no pictures: writes its predictions on the test split, and the probabilities where a
    file is named for them; gives whether it is one."""
    if proba is not None:
        _check_has_classes(question)
    network = question.examples(given)
    if network is None:
        return False
    from optbench.prediction.examples import answers, probability_table, table
    from optbench.records import write_bytes

    found = answers(network, "test")
    shares = None if proba is None else probability_table(found)  # what has none is refused before a file is written
    write_bytes(output, table(found).encode())
    units = ", in the units of the target" if network.data.units() is not None else ""
    typer.echo(f"{len(found.part)} predictions in {output} (checkpoint {network.checkpoint}{units})")
    if proba is not None and shares is not None:
        write_bytes(proba, shares.encode())
        typer.echo(f"probabilities in {proba}")
    return True


def _check_has_classes(question: _Question) -> None:
    """Raises UserError where the configuration says that a run is a regression; no torch."""
    from optbench.experiment.rebuild import NO_PROBABILITIES, check_n_classes
    from optbench.records import read_run

    for folder in question.folders():
        config = read_run(folder).config
        if config["data"].get("_target_"):  # else a surface, which is refused for what it is
            check_n_classes(config, config["data"].get("n_classes"), NO_PROBABILITIES)
