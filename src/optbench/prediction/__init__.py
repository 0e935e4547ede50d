"""Trained networks put to use: images to classes, a submission file, accuracy where labels are known.

    runs         which runs are meant, and the order of names
    pictures     the images of a folder or a split in natural order, labelled where their names or folders say so
    together     one network or several on them: probabilities, votes, test-time augmentation
    broken       what is answered about files that are no pictures
    cross        cross-validated runs: predictions of images that a network did not train on, greedy selection
    scores       predictions held against labels
    examples     networks on tables, signals and text: figures of a split, predictions as a table
    worst        what a network is most wrong about, for the page of a comparison
    explain      what a network looks at, and how a layer sees its images
    files        predictions as the homework's submission, and probabilities as a table

What is asked of them are recorded runs, built again by `experiment.rebuild`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optbench.prediction.broken import filled
    from optbench.prediction.files import numbered, predict, probability_table, submission
    from optbench.prediction.pictures import Pictures
    from optbench.prediction.runs import are_folds, natural, run_folders
    from optbench.prediction.scores import Evaluation, evaluate, evaluation
    from optbench.prediction.together import Ensemble, Views, ensemble, ensemble_of

_HOME = {
    "Ensemble": "together",
    "Evaluation": "scores",
    "Pictures": "pictures",
    "Views": "together",
    "are_folds": "runs",
    "ensemble": "together",
    "ensemble_of": "together",
    "evaluate": "scores",
    "evaluation": "scores",
    "filled": "broken",
    "natural": "runs",
    "numbered": "files",
    "predict": "files",
    "probability_table": "files",
    "run_folders": "runs",
    "submission": "files",
}

__all__ = [
    "Ensemble",
    "Evaluation",
    "Pictures",
    "Views",
    "are_folds",
    "ensemble",
    "ensemble_of",
    "evaluate",
    "evaluation",
    "filled",
    "natural",
    "numbered",
    "predict",
    "probability_table",
    "run_folders",
    "submission",
]


def __getattr__(name: str) -> Any:  # all but `runs` needs torch
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
