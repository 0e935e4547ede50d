"""Trained networks put to use: images to classes, a submission file, accuracy where labels are known.

    pictures     the images of a folder or a split in natural order, labelled where their names or folders say so
    ensemble     one network or several on them: probabilities, votes, test-time augmentation
    broken       what is answered about files that are no pictures
    cross        cross-validated runs: predictions of images that a network did not train on, greedy selection
    scores       predictions held against labels
    explain      what a network looks at, and how a layer sees its images
    files        predictions as the homework's submission, and probabilities as a table

What is asked of them are recorded runs, built again by `experiment.rebuild`.
"""

from optbench.prediction.broken import filled
from optbench.prediction.ensemble import Ensemble, Views, ensemble
from optbench.prediction.files import numbered, predict, probability_table, submission
from optbench.prediction.pictures import Pictures, natural
from optbench.prediction.scores import Evaluation, evaluate, evaluation

__all__ = [
    "Ensemble",
    "Evaluation",
    "Pictures",
    "Views",
    "ensemble",
    "evaluate",
    "evaluation",
    "filled",
    "natural",
    "numbered",
    "predict",
    "probability_table",
    "submission",
]
