"""Claim 16: homework 3 from folders of images to submission.csv.

Source: Hung-yi Lee, Machine Learning 2022, homework 3; Apple Book, homework 3.
"""

from __future__ import annotations

import csv
import io

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from applebook.evidence import Evidence
from applebook.measures._common import column, confusion_of, network, panels
from applebook.study import Findings, Study
from optbench import Run, predict, submission, write_bytes
from optbench.metrics import Floats
from optbench.plot import PALETTE

AUGMENTS = {"none": "no augmentation", "flip_crop": "flips and crops"}


def measure(study: Study) -> Findings:
    """The evidence for claim 16; see conf/experiment/book/homework3.yaml. Writes submission.csv into the folder."""
    runs = {name: study.runs(augment=name) for name in AUGMENTS}
    counts = np.sum([confusion_of(run) for run in runs["flip_crop"]], axis=0)
    accuracy = {name: column(members, "val_accuracy") for name, members in runs.items()}
    evidence = {
        "learns": Evidence("share", *_right(counts)),
        "augmentation": Evidence("mean difference", accuracy["flip_crop"], accuracy["none"]),
        **_submission(study, runs["flip_crop"][0]),
    }
    return Findings(evidence, {"learning": _draw(study)})


def _right(counts: np.ndarray) -> tuple[Floats, Floats]:
    """For each picture whether its class is right; and the same with the true classes dealt out anew."""
    true, predicted = (np.repeat(side.ravel(), counts.ravel()) for side in np.indices(counts.shape))
    shuffled = np.random.default_rng(0).permutation(true)
    return (true == predicted).astype(float), (shuffled == predicted).astype(float)


def _submission(study: Study, run: Run) -> dict[str, Evidence]:
    """submission.csv as `optbench predict` writes it, read back as a stranger would."""
    text = submission(predict(network(run, "best"), None))
    write_bytes(study.folder / "submission.csv", text.encode())
    rows = list(csv.DictReader(io.StringIO((study.folder / "submission.csv").read_text(encoding="utf-8"))))
    again = predict(network(run, "best"), None)
    ids = np.array([float(row["Id"]) for row in rows])
    numbers = np.array([float(name.partition(".")[0]) for name, _ in again])
    category = np.array([int(row["Category"]) for row in rows])
    predicted = np.array([label for _, label in again])
    return {
        "submission": Evidence("agreement", ids, numbers, rival=numbers[::-1]),
        "again": Evidence("share", category == predicted, category == np.roll(predicted, 1)),
    }


def _draw(study: Study) -> Figure:
    figure, axes = panels(8.5, 3.4, 2, sharey=True)
    for ax, (name, title) in zip(axes, AUGMENTS.items(), strict=True):
        for number, (run, curve) in enumerate(study.with_curves(augment=name)):
            at = curve["val_accuracy"].notna()
            epoch = curve["epoch"][at]
            color = PALETTE[number % len(PALETTE)]
            ax.plot(epoch, 100 * curve["train_accuracy"][at], color=color, alpha=0.35)
            ax.plot(epoch, 100 * curve["val_accuracy"][at], color=color, label=f"seed {run.summary['seed']}")
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("epoch")
    left = axes[0]
    left.set_ylabel("accuracy, %")
    seeds, labels = left.get_legend_handles_labels()
    kinds = [Line2D([], [], color="0.2"), Line2D([], [], color="0.2", alpha=0.35)]
    left.legend([*kinds, *seeds], ["validation", "training (pale)", *labels], fontsize=8)
    return figure
