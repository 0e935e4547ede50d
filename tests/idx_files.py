"""Files in the format of MNIST, as their authors write them: a header of sizes, big-endian, then bytes.

Source: Y. LeCun, C. Cortes, C. Burges, The MNIST database, "File formats for the MNIST database".
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
NAMES = {"train": "train", "test": "t10k"}


def drawn(n: int, seed: int) -> tuple[Bytes, Bytes]:
    """Images (n, 28, 28), and labels (n,) that go through the ten digits."""
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (n, 28, 28), dtype=np.uint8), (np.arange(n) % 10).astype(np.uint8)


def write_part(root: Path, part: str, images: Bytes, labels: Bytes, name: str = "MNIST") -> None:
    """The two files of the train or test part, below the folder that torchvision calls root."""
    raw = root / name / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
        header = struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape)
        (raw / f"{NAMES[part]}-{kind}-ubyte").write_bytes(header + array.tobytes())


def write(root: Path, n: int = 200, n_test: int = 50) -> Path:
    """A whole small data set; gives the folder."""
    write_part(root, "train", *drawn(n, 0))
    write_part(root, "test", *drawn(n_test, 1))
    return root
