"""178 wines of three growers, thirteen chemical measurements each; they come with scikit-learn."""

from __future__ import annotations

from optbench.data._tables import Rows, scikit_learns
from optbench.errors import DataError


class Wine(Rows):
    """x: alcohol, malic acid, ash ... proline, in standard deviations; y: which of three growers of one region.

    Args:
        n_classes: 3.
        validation_share: part of each class for validation, above 0.
        test_share: part for the test, 0 for no test split.
        split_seed: names the cut, which is the same for all seeds of runs.

    Raises:
        DataError: another value than what is written above.

    Source: M. Forina et al., PARVUS; UCI repository, Wine (1991); scikit-learn's load_wine.
    """

    def __init__(
        self, n_classes: int = 3, validation_share: float = 0.2, test_share: float = 0.1, split_seed: int = 0
    ) -> None:
        if n_classes != 3:
            raise DataError(f"n_classes={n_classes}: the wines are of 3 growers")
        inputs, labels, class_names = scikit_learns("wine_data.csv")
        super().__init__("wine", inputs, labels, class_names, validation_share, test_share, split_seed, True)
