"""Parquet files as Hugging Face's `datasets` writes them, made by pyarrow alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

PICTURES = 60


def rows(place: Path, **columns: Any) -> Path:
    """A file of columns."""
    pq.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), place)
    return place


def png(shade: int) -> bytes:
    """A picture of 4 x 6 pixels in one grey."""
    file = BytesIO()
    Image.fromarray(np.full((6, 4, 3), shade, dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def pictures(place: Path, instead: Mapping[int, Any] | None = None) -> Path:
    """60 pictures whose grey is four times their row, cats and dogs in turn; `instead`: other cells by row."""
    cells = [{"bytes": png(4 * row), "path": None} for row in range(PICTURES)]
    for row, cell in (instead or {}).items():
        cells[row] = cell
    image = pa.array(cells, pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    features = {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pa.table({"image": image, "label": pa.array(np.arange(PICTURES) % 2)})
    pq.write_table(table.replace_schema_metadata(metadata), place)
    return place
