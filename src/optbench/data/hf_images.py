"""Pictures of a data set of Hugging Face's `datasets` from local disk."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optbench.data._arrays import check_task
from optbench.data._saved_sets import learnt, read
from optbench.data._tables import Rows
from optbench.errors import DataError
from optbench.images import check_size, decode
from optbench.pictures import UnreadableError
from optbench.problem import Split


class HuggingFaceImages(Rows):
    """Pictures of a data set that save_to_disk wrote, or of parquet or arrow files, brought to channels and image_size.

    The pictures lie in the data set; those of which it has the place or the address alone are neither read from
    elsewhere nor fetched. Splits are as of data=hf. A split is decoded when it is asked for.

    Args:
        path: a folder of save_to_disk, a folder of files, or a file; relative to where the program was started.
        inputs: column of the pictures, of type Image.
        target: column of what is to be learnt.
        task: classification or regression; null: as of data=hf.
        channels: 3 (RGB) or 1 (grey).
        image_size: side that pictures are resized to.
        validation_share, test_share, split_seed: as of data=hf.

    Raises:
        DataError: as of data=hf; a column that holds no pictures, or a picture that cannot be read, with its row.
    """

    def __init__(
        self,
        path: str,
        inputs: str = "image",
        target: str = "label",
        task: str | None = None,
        channels: int = 3,
        image_size: int = 32,
        validation_share: float = 0.2,
        test_share: float = 0.1,
        split_seed: int = 0,
    ) -> None:
        check_task(task)
        check_size(image_size, channels)
        saved = read(path)
        if not (isinstance(inputs, str) and isinstance(target, str)):
            raise DataError(f"inputs={inputs}, target={target}: expected a column of pictures and one to be learnt")
        saved.check({"inputs": [inputs], "target": [target]})
        if (kind := type(saved.features[inputs]).__name__) != "Image":
            hint = "data=hf reads numbers, words and arrays"
            raise DataError(f"data.path={path}: column {inputs!r} is of type {kind}, and no picture", hint)
        names, targets, unlabelled = learnt(saved, [target], task)
        self.channels, self.image_size = channels, image_size
        self._column, self._saved = inputs, saved
        rows = torch.arange(len(targets))
        super().__init__(path, rows, targets, names, validation_share, test_share, split_seed, False, saved.names,
                         sizes=saved.sizes, unlabelled=unlabelled)  # fmt: skip

    def load(self, split: str) -> Split:
        """The "train", "validation" or "test" split, uint8 (n, channels, image_size, image_size); DataError."""
        part = super().load(split)
        assert isinstance(part.inputs, Tensor)
        return replace(part, inputs=self._decoded(part.inputs.tolist()))

    def _decoded(self, rows: list[int]) -> Tensor:
        """Pictures by their place among all rows, decoded in threads (Pillow releases the interpreter lock)."""
        held = [(name, number) for name, one in self._saved.splits.items() for number in range(len(one))]
        columns = {name: self._saved.columns([self._column], name)[self._column] for name in {held[i][0] for i in rows}}
        pixels = np.empty((len(rows), self.channels, self.image_size, self.image_size), dtype=np.uint8)

        def fill(place: int) -> None:
            split, row = held[rows[place]]
            pixels[place] = self._picture(columns[split][row].as_py(), split, row)

        with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
            for _ in pool.map(fill, range(len(rows))):
                pass
        return torch.from_numpy(pixels)

    def _picture(self, cell: dict[str, Any] | None, split: str, row: int) -> NDArray[np.uint8]:
        """One picture, uint8 (channels, image_size, image_size). Raises DataError."""
        where = f"{self._saved.where(split)}: column {self._column!r}, row {row}"
        data, place = ((cell or {}).get(key) for key in ("bytes", "path"))
        if data is None and place:
            hint = "save_to_disk writes the pictures themselves; data=image_folder reads folders of pictures"
            raise DataError(f"{where}: the place of a picture ({str(place)[:60]}) and not the picture", hint)
        if data is None:
            raise DataError(f"{where}: no picture", "leave out such rows: filter(...), then save_to_disk")
        try:
            return decode(data, str(place or ""), self.image_size, self.channels)[0]
        except UnreadableError as error:
            raise DataError(f"{where}: cannot be read as an image ({error})") from None
