"""The images of homework 3: eleven kinds of food, in the folders that the course hands out."""

from __future__ import annotations

from pathlib import PurePosixPath

from optbench.data._labelled import LabelledPictures
from optbench.errors import DataError
from optbench.pictures import Files

CLASS_NAMES = (
    "Bread",
    "Dairy product",
    "Dessert",
    "Egg",
    "Fried food",
    "Meat",
    "Noodles/Pasta",
    "Rice",
    "Seafood",
    "Soup",
    "Vegetable/Fruit",
)
"""Names of the labels 0 to 10, in the order of Food-11."""


class Food11(LabelledPictures):
    """Food-11 as the homework lays it out: training and validation pictures with the label before the underscore of the
    file name ("3_100.jpg"), test pictures without labels ("0001.jpg").

    Args:
        root: folder or zip that holds training, validation and test (2022), or train, valid and test (2023).
        n_classes: 2 to 11; a label at or above it is an error.
        channels, image_size, on_bad: as of LabelledPictures.

    Raises:
        DataError: a value outside what is written above; from `load`: a missing or empty folder, unreadable images,
            file names without a valid label.

    Source: Singla, Yuan and Ebrahimi, "Food/non-food image classification and food categorization" (MADiMa 2016); NTU
    ML 2022 Spring, homework 3.
    """

    layout = (
        "data.root must hold training/ and validation/ (files like 3_100.jpg) and test/ (files like 0001.jpg), or be a "
        "zip of them; data=synthetic_food makes a stand-in"
    )

    def __init__(
        self,
        root: str = "data/food11",
        n_classes: int = 11,
        channels: int = 3,
        image_size: int = 128,
        on_bad: str = "error",
    ) -> None:
        super().__init__(root, n_classes, channels, image_size, on_bad)
        if not 2 <= n_classes <= len(CLASS_NAMES):
            raise DataError(f"n_classes={n_classes}: expected 2 to {len(CLASS_NAMES)} kinds of food")
        self.class_names = CLASS_NAMES[:n_classes]

    def has_labels(self, split: str, files: Files) -> bool:
        """Whether a split is not the homework's test split."""
        return split != "test"

    def label(self, name: str) -> int | str:
        """Label in a file name, 0 to n_classes - 1; or why there is none."""
        label, underscore, _ = PurePosixPath(name).name.partition("_")
        if not underscore or not (label.isascii() and label.isdecimal()):
            return "no label in the name; expected LABEL_NUMBER.jpg, for example 3_100.jpg"
        return int(label) if int(label) < self.n_classes else f"label {label}; expected 0 to {self.n_classes - 1}"
