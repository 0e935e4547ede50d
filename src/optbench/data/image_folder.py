"""Your own images: a folder a class, as torchvision's ImageFolder reads them."""

from __future__ import annotations

from optbench.data._labelled import LabelledPictures
from optbench.data._sizes import FOLDERS, class_folders
from optbench.errors import DataError
from optbench.pictures import Files
from optbench.problem import Split


class ImageFolder(LabelledPictures):
    """Images below root/train/CLASS, root/validation/CLASS (or root/val/CLASS) and root/test.

    Classes are the folders of root/train in alphabetical order. The test split has labels if its images lie in class
    folders, none if they lie in root/test itself.

    Args:
        root: folder or zip that holds the splits.
        n_classes: number of class folders, checked against what is there; None: as many as there are.
        channels, image_size, on_bad: as of LabelledPictures.

    Raises:
        DataError: a missing folder, another number of classes, unreadable images, images outside a class folder.
    """

    layout = FOLDERS

    def __init__(
        self,
        root: str = "data/images",
        n_classes: int | None = None,
        channels: int = 3,
        image_size: int = 64,
        on_bad: str = "error",
    ) -> None:
        super().__init__(root, n_classes or 0, channels, image_size, on_bad)
        try:
            self.class_names = class_folders(self.splits, n_classes)
        except DataError as error:
            raise DataError(error.message, error.hint or self.layout) from None
        self.n_classes = len(self.class_names)

    def has_labels(self, split: str, files: Files) -> bool:
        """Whether the pictures lie in folders, or have to."""
        return split != "test" or any("/" in name for name in files.names)

    def load(self, split: str) -> Split:
        """As LabelledPictures; no class may be without training pictures."""
        found = super().load(split)
        if split == "train" and 0 in (counts := self.accounts[split]["classes"]):
            first = self.splits.where("train") / self.class_names[counts.index(0)]
            raise DataError(f"{first}: no images in this class folder", "add some, or remove the folder")
        return found

    def label(self, name: str) -> int | str:
        """Place of the image's first folder among the classes; or why there is none."""
        first, slash, _ = name.partition("/")
        if not slash:
            return "an image outside the class folders"
        if first not in self.class_names:
            return f"class {first!r} is not among the folders of {self.splits.where('train')}"
        return self.class_names.index(first)
