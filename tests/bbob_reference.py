"""Values of COCO's own package at fixed points, and how the file of them is made: `python tests/bbob_reference.py`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FILE = Path(__file__).parent / "data" / "bbob_values.json"
DIMS = (2, 3, 5, 10, 20, 40)
INSTANCES = range(1, 16)
GOLDEN = 0.6180339887498949


def points(dim: int) -> NDArray[np.float64]:
    """Two points (2, dim): one in [-5, 5], one in [-6.5, 6.5], where penalties begin."""
    turns = np.arange(1, 2 * dim + 1).reshape(2, dim) * GOLDEN % 1.0
    return np.array([[10.0], [13.0]]) * (turns - 0.5)


def problems(dim: int, instance: int) -> Iterator[tuple[int, Any]]:
    """Number and object of each of COCO's problems of a dimension and an instance. Needs `cocoex`."""
    import cocoex

    suite = cocoex.Suite("bbob", f"instances: {instance}", f"dimensions: {dim} instance_indices: 1")
    for problem in suite:
        yield problem.id_function, problem


def _write() -> None:
    import cocoex

    values = {
        str(dim): [[[problem(x) for x in points(dim)] for _, problem in problems(dim, i)] for i in INSTANCES]
        for dim in DIMS
    }
    made = f"coco-experiment {cocoex.__version__}, suite bbob, by tests/bbob_reference.py"
    FILE.write_text(json.dumps({"made": made, "order": "dim, instance 1 to 15, f1 to f24, point", "values": values}))


if __name__ == "__main__":
    _write()
