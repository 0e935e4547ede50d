"""What a GPU makes of homework 3's network: images a second, from a run of ours and from the plainest loop.

    python benchmarks/gpu.py                       # hw3_cnn at 128x128, batches of 64 and 256; below five minutes
    python benchmarks/gpu.py --write               # and benchmarks/results/gpu.md
    python benchmarks/gpu.py --device cpu --small  # seconds: that the script runs, nothing about speed

*Plain* is the loop that people write: the pictures are on the device already, every tensor is fp32 and channels first,
TF32 is off, and nothing is augmented, clipped, recorded or evaluated. *Plain, TF32* lets convolutions and products use
TF32, channels last, with cuDNN's search. The others are runs as `optbench run` makes them from the second epoch on, by
the clock: pictures gathered, mirrored and shifted on the device, losses, norms and accuracies recorded, checkpoints and
evaluations included. Each arm is measured once: look at ratios of a quarter and more.

Compiling is told apart: *cold* with an empty cache of torch's, *cached* once more in the same process. Of what did not
begin before --budget seconds it is said that it did not.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NOISE = Path(__file__).parent / "noise"
WANTED_FACTOR, WANTED_RATE = 1.5, 20_000.0
"""Ours as it is by default, as a multiple of plain; and images a second with bf16 and compiled passes."""
NO_GPU = 2

PLAIN, PLAIN_TF32, DEFAULT = "plain fp32", "plain, TF32 channels_last", "ours, default"
COMPILED, CACHED, GRAPHS = "ours, bf16 compiled", "ours, bf16 compiled again", "ours, bf16 compiled, graphs"
DETERMINISTIC = "ours, deterministic"
OURS: Mapping[str, tuple[str, ...]] = {
    DEFAULT: (),
    DETERMINISTIC: ("trainer.deterministic=true",),
    "ours, tf32": ("trainer.precision=tf32",),
    "ours, bf16": ("trainer.precision=bf16",),
    COMPILED: ("trainer.precision=bf16", "trainer.compile=true"),
    CACHED: ("trainer.precision=bf16", "trainer.compile=true"),
    GRAPHS: ("trainer.precision=bf16", "trainer.compile=graphs"),
}
"""Arms of ours, with what they override."""


@dataclass(frozen=True)
class Measured:
    """What an arm made.

    Attributes:
        rate: images a second.
        compile_seconds: before the first update; None where nothing is compiled.
    """

    rate: float
    compile_seconds: float | None = None


@dataclass(frozen=True)
class Setting:
    """What is trained.

    Attributes:
        device: cpu or cuda.
        size, width, images: side of the pictures, of the network, and how many there are.
        batches: sizes of a batch.
        epochs: of a run; the first is not counted.
    """

    device: str
    size: int = 128
    width: int = 64
    images: int = 8192
    batches: tuple[int, ...] = (64, 256)
    epochs: int = 5

    def overrides(self, batch: int) -> list[str]:
        """Of a run of ours."""
        return ["model=hw3_cnn", "data=noise", "augment=flip_crop", f"data.image_size={self.size}",
                f"data.n={self.images}", f"model.width={self.width}", f"trainer.batch_size={batch}",
                f"trainer.epochs={self.epochs}", f"trainer.device={self.device}"]  # fmt: skip


class Clock:
    """Who watches a run: when its first epoch ended, and when its last one did."""

    def __init__(self, first: int) -> None:
        self._first, self.began, self.ended = first, 0.0, 0.0

    def note(self, words: str) -> None: ...
    def start(self, label: str, index: int, count: int) -> None: ...
    def loading(self, done: int, total: int) -> None: ...
    def end(self, run: Any) -> None: ...

    def step(self, step: int, total: int, row: Mapping[str, Any]) -> None:
        if step == self._first:
            self.began = time.perf_counter()
        elif step == total:
            self.ended = time.perf_counter()


def ours(setting: Setting, batch: int, more: Sequence[str]) -> Measured:
    """A run of ours, in a folder that is thrown away."""
    from optbench.experiment import Stop, execute, plan_run

    with tempfile.TemporaryDirectory() as folder:
        planned = plan_run([*setting.overrides(batch), *more], (NOISE,), Path(folder))
        clock = Clock(setting.images // batch)
        run = execute(planned, Stop(), clock)
    if run.status != "completed":
        raise RuntimeError(f"{run.status}: {run.reason}")
    counted = setting.images * (setting.epochs - 1)
    return Measured(counted / (clock.ended - clock.began), run.summary["compile_seconds"])


def plain(setting: Setting, batch: int, tf32: bool) -> Measured:
    """The loop that people write, see above."""
    import torch
    from torch.nn.functional import cross_entropy

    from optbench.models.hw3_cnn import HW3CNN

    sys.path.insert(0, str(NOISE))
    from noise import Noise

    split = Noise(setting.size, setting.images).load("train")
    assert split.labels is not None
    images, labels = split.images.to(setting.device), split.labels.to(setting.device)
    form = torch.channels_last if tf32 else torch.contiguous_format
    with flags(tf32):
        model = HW3CNN(11, 3, setting.size, setting.width).to(setting.device, memory_format=form)
        optimizer = torch.optim.Adam(model.parameters())
        began = 0.0
        for epoch in range(setting.epochs):
            if epoch == 1:
                began = now(setting.device)
            order = torch.randperm(len(images), device=setting.device)
            for chosen in order.split(batch):
                inputs = (images[chosen].float() / 255).contiguous(memory_format=form)
                optimizer.zero_grad()
                cross_entropy(model(inputs), labels[chosen]).backward()
                optimizer.step()
        seconds = now(setting.device) - began
    return Measured(setting.images * (setting.epochs - 1) / seconds)


class flags:  # noqa: N801  used as a function
    """Within it, products and convolutions may use TF32 or may not, and cuDNN searches or does not."""

    def __init__(self, tf32: bool) -> None:
        self._wanted = (tf32, tf32, False, tf32)

    def __enter__(self) -> None:
        self._before = self._exchange(self._wanted)

    def __exit__(self, *_: object) -> None:
        self._exchange(self._before)

    @staticmethod
    def _exchange(values: tuple[bool, bool, bool, bool]) -> tuple[bool, bool, bool, bool]:
        from torch.backends import cuda, cudnn

        before = cuda.matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark
        cuda.matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark = values
        return before


def now(device: str) -> float:
    """The clock, once the device is done."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def measure(setting: Setting, budget: float) -> dict[tuple[str, int], Measured | str]:
    """Every arm at each size of batch; a text where it could not be measured. What matters most comes first."""
    found: dict[tuple[str, int], Measured | str] = {}
    began = time.perf_counter()
    for batch in setting.batches:
        arms: dict[str, Callable[[], Measured]] = {PLAIN: lambda b=batch: plain(setting, b, False)}  # type: ignore[misc]
        arms[PLAIN_TF32] = lambda b=batch: plain(setting, b, True)  # type: ignore[misc]
        for name, more in OURS.items():
            if name != GRAPHS or setting.device == "cuda":
                arms[name] = lambda b=batch, m=more: ours(setting, b, m)  # type: ignore[misc]
        for name, arm in arms.items():
            if time.perf_counter() - began > budget:
                found[name, batch] = "not begun: the budget was spent"
                continue
            try:
                found[name, batch] = arm()
            except Exception as error:  # one arm that breaks leaves the others
                found[name, batch] = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
            print(f"{batch:4d}  {name}: {told(found[name, batch])}", file=sys.stderr, flush=True)
    return found


def told(one: Measured | str) -> str:
    """A measurement in words."""
    if isinstance(one, str):
        return one
    compiling = "" if one.compile_seconds is None else f", compiled in {one.compile_seconds:.1f} s"
    return f"{one.rate:,.0f} images/s{compiling}"


def report(setting: Setting, found: Mapping[tuple[str, int], Measured | str]) -> str:
    """Tables and verdicts, as Markdown."""
    lines = [f"{where(setting)}; hw3_cnn of width {setting.width}, {setting.images} pictures of {setting.size}x"
             f"{setting.size}, epochs 2 to {setting.epochs}", ""]  # fmt: skip
    for batch in setting.batches:
        base = found.get((PLAIN, batch))
        lines += [f"| batch {batch} | images/s | of plain | compiled in, s |", "|---|---:|---:|---:|"]
        for (name, size), one in found.items():
            if size != batch:
                continue
            if isinstance(one, str):
                lines.append(f"| {name} | {one} | | |")
                continue
            factor = f"{one.rate / base.rate:.2f}" if isinstance(base, Measured) else ""
            spent = "" if one.compile_seconds is None else f"{one.compile_seconds:.1f}"
            lines.append(f"| {name} | {one.rate:,.0f} | {factor} | {spent} |")
        lines.append("")
    return "\n".join([*lines, *verdicts(setting, found)]) + "\n"


def verdicts(setting: Setting, found: Mapping[tuple[str, int], Measured | str]) -> list[str]:
    """What was wanted and what came, a line each; and the price of determinism and of compiling."""
    lines = []
    for batch in setting.batches:
        one = {name: value for (name, size), value in found.items() if size == batch and isinstance(value, Measured)}
        if PLAIN in one and DEFAULT in one:
            factor = one[DEFAULT].rate / one[PLAIN].rate
            lines.append(f"- batch {batch}: default {factor:.2f} times plain, {WANTED_FACTOR} wanted: "
                         f"{said(factor >= WANTED_FACTOR, setting)}")  # fmt: skip
        if DEFAULT in one and DETERMINISTIC in one:
            lines.append(
                f"- batch {batch}: deterministic {one[DETERMINISTIC].rate / one[DEFAULT].rate:.2f} times default"
            )
        if COMPILED in one and CACHED in one:
            lines.append(f"- batch {batch}: compiling took {one[COMPILED].compile_seconds:.1f} s cold, "
                         f"{one[CACHED].compile_seconds:.1f} s cached")  # fmt: skip
    rates = {key: v.rate for key, v in found.items() if key[0] in (COMPILED, GRAPHS) and isinstance(v, Measured)}
    if rates:
        (name, batch), rate = max(rates.items(), key=lambda item: item[1])
        lines.append(f"- {name}, batch {batch}: {rate:,.0f} images/s, {WANTED_RATE:,.0f} wanted: "
                     f"{said(rate >= WANTED_RATE, setting)}")  # fmt: skip
    return lines


def said(holds: bool, setting: Setting) -> str:
    """Whether it holds, where that can be said."""
    if setting.device != "cuda" or setting.size != 128:
        return "says nothing here"
    return "holds" if holds else "does not hold"


def where(setting: Setting) -> str:
    """Device and versions."""
    import torch

    from optbench.experiment.provenance import processor

    name = torch.cuda.get_device_name() if setting.device == "cuda" else f"{processor()}, load {os.getloadavg()[0]:.1f}"
    return f"{name}, Python {platform.python_version()}, torch {torch.__version__}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="a toy: 64 pictures of 32x32, to see that it runs")
    parser.add_argument("--budget", type=float, default=240.0, help="seconds after which no arm is begun")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/gpu.md")
    given = parser.parse_args()
    import torch

    if given.device == "cuda" and not torch.cuda.is_available():
        print("no NVIDIA GPU here, nothing was measured; --device cpu --small tries the script", file=sys.stderr)
        raise SystemExit(NO_GPU)
    small = {"size": 32, "width": 2, "images": 64, "batches": (16,), "epochs": 2} if given.small else {}
    setting = Setting(given.device, **small)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache  # cold
        text = report(setting, measure(setting, given.budget))
    print(text)
    if given.write:
        (Path(__file__).parent / "results" / "gpu.md").write_text(text)


if __name__ == "__main__":
    main()
