"""Homework 3 beside the loop that its notebook writes: whole processes in turns, from JPEGs to a trained network.

    python benchmarks/homework.py             # 512 JPEGs of about 500 x 400, 3 epochs, each twice: about 5 minutes
    python benchmarks/homework.py --write     # and benchmarks/results/homework.md
    python benchmarks/homework.py --small     # a few tiny ones, to see that all this works

Ours is `optbench run experiment=hw3/sample`, without early stopping, with an empty cache: the start of Python,
decoding, training, an evaluation before the first epoch and after each, checkpoints and records. The notebook's is
benchmarks/homework_notebook.py. Both start from the same weights and see the same images in the same order, so the
losses of all updates can be compared. They are the same function in another order of summation (channels last,
pooling before ReLU), and Adam's first updates magnify what rounding leaves; with --rounding the notebook's loop also
trains an epoch in double precision, and both are compared with that. Ours is the farther one: torch sums the
statistics of batch norm in double precision where channels come first, and in single precision where they come last.
The JPEGs are read from the disk, not from the system's memory, each time.

The share of the matrix peak is that of our training steps (their own clock, without evaluations): floating-point
operations of forward and backward passes, counted by torch, over the rate of the fastest of many products of two
2048 x 2048 matrices, measured before and after each run in this process.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from homework_notebook import Classifier
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from optbench.experiment import plan_run
from optbench.experiment.assemble import build_problem
from optbench.experiment.provenance import processor
from optbench.launch.base import available_cores
from optbench.problem import NetworkProblem, stream

_NOTEBOOK = Path(__file__).with_name("homework_notebook.py")
_CLASSES = 11


@dataclass(frozen=True)
class Size:
    """What is trained on what."""

    train: int = 384
    validation: int = 128
    side: int = 450
    """About the longer side of the JPEGs, in pixels."""
    image_size: int = 128
    width: int = 64
    batch_size: int = 64
    epochs: int = 3
    matrix: int = 2048
    times: int = 2


SMALL = Size(train=26, validation=16, side=60, image_size=32, width=4, batch_size=8, epochs=2, matrix=64, times=1)


@dataclass
class Spent:
    """What one process took."""

    seconds: float
    cpu: float
    peak_gb: float
    losses: list[float]
    val_losses: list[float]
    training: float | None = None
    """Seconds of its updates alone, where it says so."""


@dataclass
class Found:
    """All that was measured; rates in floating-point operations a second."""

    size: Size
    flop: float
    jpeg_kb: float
    ours: list[Spent] = field(default_factory=list)
    notebook: list[Spent] = field(default_factory=list)
    double: Spent | None = None
    """The notebook's loop in double precision, one epoch."""
    peaks: list[float] = field(default_factory=list)

    def rate(self, spent: Sequence[Spent]) -> float:
        """Images trained on, a second of the whole process: the median."""
        return self.size.epochs * self.size.train / statistics.median(s.seconds for s in spent)

    @property
    def ratio(self) -> float:
        """Ours over the notebook's, of processes that ran side by side: the median of the pairs."""
        return statistics.median(n.seconds / o.seconds for n, o in zip(self.notebook, self.ours, strict=True))

    @property
    def share(self) -> float:
        """Of the matrix peak, in our updates."""
        seconds = statistics.median(s.training for s in self.ours if s.training is not None)
        return self.flop * self.size.epochs * self.size.train / seconds / max(self.peaks)


def differences(some: Spent, other: Spent) -> list[float]:
    """How far the losses of each update are from those of the other process, relative to them."""
    pairs = list(zip(some.losses, other.losses, strict=False))
    return [abs(a - b) / abs(b) for a, b in pairs]


def picture(number: int, side: int) -> Image.Image:
    """A made-up photograph: broad colours with a grain, about as hard to compress as one; the same for a number."""
    rng = np.random.default_rng([0, number])
    width, height = (int(rng.integers(s - side // 10, s + side // 10 + 1)) for s in (side, side * 4 // 5))
    coarse, fine = (Image.fromarray(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)).resize((width, height), rule)
                    for shape, rule in (((10, 12), Image.Resampling.BICUBIC),
                                        ((height // 3, width // 3), Image.Resampling.BILINEAR)))  # fmt: skip
    return Image.blend(coarse, fine, 0.25)


def write_pictures(root: Path, size: Size) -> list[Path]:
    """JPEGs in the homework's folders."""
    files = []
    for split, count, first in (("training", size.train, 0), ("validation", size.validation, size.train)):
        (root / split).mkdir(parents=True)
        for i in range(count):
            files.append(root / split / f"{i % _CLASSES}_{i // _CLASSES}.jpg")
            picture(first + i, size.side).save(files[-1], quality=90)
    return files


def overrides(root: Path, size: Size) -> list[str]:
    """Of our run: the sample code's settings."""
    return ["experiment=hw3/sample", "data=food11", f"data.root={root}", f"data.image_size={size.image_size}",
            f"model.width={size.width}", f"trainer.batch_size={size.batch_size}", f"trainer.epochs={size.epochs}",
            "trainer.patience=null"]  # fmt: skip


def start_of(words: Sequence[str], epochs: int) -> dict[str, Any]:
    """What our run starts from: its weights, and the order of its training images in each epoch."""
    planned = plan_run(words)
    problem = build_problem(planned.config, torch.device("cpu"))
    assert isinstance(problem, NetworkProblem)
    seed, n = planned.config["seed"], len(problem.train)
    orders = [torch.randperm(n, generator=stream(seed, "order", epoch)).tolist() for epoch in range(epochs)]
    weights = {name: value.contiguous() for name, value in problem.module.state_dict().items()}
    return {"model": weights, "orders": orders}


def flop_per_image(size: Size) -> float:
    """Floating-point operations of a forward and a backward pass, by torch's count."""
    model = Classifier(size.image_size, size.width)
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(2, 3, size.image_size, size.image_size)).sum().backward()
    return counter.get_total_flops() / 2


def matrix_rate(n: int, times: int = 12) -> float:
    """Floating-point operations a second of the fastest of `times` products of n x n matrices, on all cores."""
    a, b = torch.randn(n, n), torch.randn(n, n)
    seconds = []
    for _ in range(times + 1):
        began = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - began)
    return 2 * n**3 / min(seconds[1:])


def forget(files: Sequence[Path]) -> None:
    """Has the system drop these files from its memory, where it can be asked."""
    if hasattr(os, "posix_fadvise"):
        for path in files:
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def process(words: Sequence[str], place: Path, threads: int) -> tuple[float, float, float]:
    """Wall and CPU seconds and peak memory (GB) of a process that runs in `place`, with an empty cache."""
    place.mkdir()
    environment = {**os.environ, "OPTBENCH_CACHE": str(place / "cache"), "OMP_NUM_THREADS": str(threads)}
    began = time.perf_counter()
    with (place / "said.txt").open("w") as said:
        child = subprocess.Popen([sys.executable, *words], cwd=place, env=environment, stdout=said, stderr=said)
        _, code, used = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - began
    if code:
        raise SystemExit((place / "said.txt").read_text())
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024**2


def ours(words: Sequence[str], place: Path, threads: int) -> Spent:
    """Our run."""
    command = ["-m", "optbench", "run", *words, f"trainer.threads={threads}", "--out", str(place / "runs"), "--quiet"]
    spent = process(command, place, threads)
    (record,) = (place / "runs").glob("*/run.json")
    with record.with_name("metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    training = json.loads(record.read_text())["seconds"]
    losses = [float(row["loss"]) for row in rows[:-1]]  # the last row is of the weights at the end, on one more batch
    return Spent(*spent, losses, [float(row["val_loss"]) for row in rows if row["val_loss"]][1:], training)


def notebook(root: Path, start: Path, size: Size, place: Path, threads: int, dtype: str = "float32") -> Spent:
    """The notebook's loop."""
    numbers = (size.epochs, size.image_size, size.width, size.batch_size)
    words = [str(_NOTEBOOK), str(root), str(start), "report.json", dtype, *map(str, numbers)]
    spent = process(words, place, threads)
    report = json.loads((place / "report.json").read_text())
    return Spent(*spent, report["loss"], report["val_loss"])


def measure(size: Size, scratch: Path, threads: int, rounding: bool = False) -> Found:
    """Both, in turns: notebook's, ours, ours, notebook's ... so that a machine that slows down slows both."""
    files = write_pictures(scratch / "food", size)
    words = overrides(scratch / "food", size)
    torch.save(start_of(words, size.epochs), scratch / "start.pt")
    kb = statistics.mean(f.stat().st_size for f in files) / 1024
    found = Found(size, flop_per_image(size), kb, peaks=[matrix_rate(size.matrix)])
    for turn in range(2 * size.times):
        began = time.perf_counter()
        forget(files)
        place = scratch / f"turn-{turn}"
        if turn % 4 in (1, 2):
            found.ours.append(ours(words, place, threads))
        else:
            found.notebook.append(notebook(scratch / "food", scratch / "start.pt", size, place, threads))
        found.peaks.append(matrix_rate(size.matrix))
        print(f"turn {turn + 1}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    if rounding:
        once, place = replace(size, epochs=1), scratch / "double"
        found.double = notebook(scratch / "food", scratch / "start.pt", once, place, threads, "float64")
    return found


def losses_of(found: Found) -> list[str]:
    """How far the losses are apart, in words."""
    per_epoch = -(-found.size.train // found.size.batch_size)
    off = differences(found.ours[0], found.notebook[0])
    lines = [f"Relative difference of the losses: first update {off[0]:.1e}, largest of the first epoch "
             f"{max(off[:per_epoch]):.1e}, of all {len(off)} updates {max(off):.1e}."]  # fmt: skip
    if found.double is not None:
        ours, theirs = (max(differences(s, found.double)) for s in (found.ours[0], found.notebook[0]))
        lines.append(f"From the notebook's loop in double precision, largest of the first epoch: optbench {ours:.1e}, "
                     f"the notebook's {theirs:.1e}.")  # fmt: skip
    return lines


def report(found: Found) -> str:
    """What was found, as Markdown."""
    size = found.size
    lines = [
        f"{processor()}, {available_cores()} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}, "
        f"torch {torch.__version__}; {size.train} training and {size.validation} validation JPEGs of "
        f"{found.jpeg_kb:.0f} KB, {size.image_size} px, batches of {size.batch_size}, {size.epochs} epochs; whole "
        f"processes, cold cache, medians of {size.times}",
        "",
        "| | s | images/s | CPU, s | peak memory, GB |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {name} | {statistics.median(s.seconds for s in spent):.1f} | {found.rate(spent):.2f} "
            f"| {statistics.median(s.cpu for s in spent):.1f} | {max(s.peak_gb for s in spent):.1f} |"
            for name, spent in (("the notebook's loop", found.notebook), ("optbench", found.ours))
        ),
        "",
        f"optbench is {found.ratio:.2f} times as fast (pairs: "
        f"{', '.join(f'{n.seconds / o.seconds:.2f}' for n, o in zip(found.notebook, found.ours, strict=True))}). "
        f"Its updates run at {found.share:.0%} of the matrix peak ({max(found.peaks) / 1e9:.0f} GF/s; "
        f"{found.flop / 1e9:.3f} GFLOP an image).",
        "",
        *losses_of(found),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a few tiny pictures and one turn of each")
    parser.add_argument("--times", type=int, help="turns of each (2)")
    parser.add_argument(
        "--rounding", action="store_true", help="an epoch of the notebook's loop in double precision too"
    )
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/homework.md")
    given = parser.parse_args()
    size = SMALL if given.small else Size()
    size = replace(size, times=given.times or size.times)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["OPTBENCH_CACHE"] = str(Path(folder) / "cache")
        text = report(measure(size, Path(folder), available_cores(), given.rounding))
    print(text)
    if given.write:
        (Path(__file__).parent / "results" / "homework.md").write_text(text)


if __name__ == "__main__":
    main()
