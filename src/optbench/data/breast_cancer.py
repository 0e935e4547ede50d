"""569 tumours, thirty measurements of their cells each, malignant or benign; they come with scikit-learn."""

from __future__ import annotations

from optbench.data._tables import Rows, scikit_learns
from optbench.errors import DataError


class BreastCancer(Rows):
    """x: mean, error and worst of ten features of cell nuclei, in standard deviations; y: malignant (0) or benign (1).

    Args:
        n_classes: 2.
        validation_share: part of each class for validation, above 0.
        test_share: part for the test, 0 for no test split.
        split_seed: names the cut, which is the same for all seeds of runs.

    Raises:
        DataError: another value than what is written above.

    Source: W. N. Street, W. H. Wolberg and O. L. Mangasarian, Nuclear feature extraction for breast tumor diagnosis
    (1993); scikit-learn's load_breast_cancer.
    """

    def __init__(
        self, n_classes: int = 2, validation_share: float = 0.2, test_share: float = 0.1, split_seed: int = 0
    ) -> None:
        if n_classes != 2:
            raise DataError(f"n_classes={n_classes}: tumours are of 2 kinds")
        inputs, labels, class_names = scikit_learns("breast_cancer.csv")
        super().__init__("breast_cancer", inputs, labels, class_names, validation_share, test_share, split_seed, True)
