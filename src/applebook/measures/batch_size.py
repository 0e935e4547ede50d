"""Claim 4: what the batch size does to the noise of an update, to its time, and to where training ends.

At fixed weights the mean of B of N gradients, drawn without replacement, has the variance s^2 / B (N - B) / (N - 1),
where s^2 is the variance of one image's gradient. Noise of standard deviation sigma in the gradient makes descent with
rate eta a motion at temperature T = eta sigma^2 / 2, which leaves a well at Kramers' rate. Where the gradient of the
whole is zero those of its parts need not be: a saddle of a finite sum holds the full batch, and not a batch of 1.

Source: Apple Book, section 3.2.1; sampling: Cochran, Sampling Techniques (1977), theorem 2.2; H. A. Kramers, Physica 7
(1940) 284.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from applebook.evidence import Evidence
from applebook.measures._common import network, panels, problem_of
from applebook.study import Findings, Study
from optbench import Run, build_optimizer, evaluate, stream
from optbench.metrics import Floats
from optbench.plot import PALETTE

DRAWN = (8, 16, 32, 64, 128, 256, 512)
DRAWS = 500
ROUNDS, UPDATES = 60, 2
"""Updates are timed in rounds, some of each batch size in turn: what else the machine does then meets all sizes."""
ONE, SMALL, LARGE = 1, 8, 128
NOISE = 1.5
BARRIER, WELL, TOP = 5 / 12, 3.0, 2.0
"""two_well's shallow well: height of the barrier, curvature at the bottom, and at the barrier (downwards)."""
SAMPLES = np.array([[1.5, 0.5], [-1.5, -0.5], [1.5, -0.5], [-1.5, 0.5]])
"""The finite sum: one point w is to lie near samples, with the loss 1 - exp(-|w - sample|^2 / 2) of each. Between the
two groups, at 0, the gradients of opposite samples cancel, and the mean of the Hessians has one negative eigenvalue."""
SUM_RATE, SUM_UPDATES, SUM_RUNS = 0.3, 300, 40
BESIDE = (0.2, 1.6)


@dataclass(frozen=True)
class Group:
    """The runs of one batch size; arrays are one value a seed.

    Attributes:
        size: images in a batch.
        updates: made by each run.
        train, validation: accuracy at the end.
    """

    size: int
    updates: int
    train: Floats
    validation: Floats


@dataclass(frozen=True)
class Sampling:
    """Gradients of batches at fixed weights.

    Attributes:
        images: in the training set.
        variance: of one image's gradient, summed over coordinates.
        measured: of the mean of a batch of each size of DRAWN, (sizes,).
        cosine: of each draw's gradient with that of all images, by size; of batches of 1 each image's, (images,).
    """

    images: int
    variance: float
    measured: Floats
    cosine: dict[int, Floats]

    def expected(self, size: Floats) -> Floats:
        """Variance of the mean of so many images' gradients."""
        return self.variance / size * (self.images - size) / (self.images - 1)


def measure(study: Study) -> Findings:
    """The evidence for claim 4; see conf/experiment/book/batch_size.yaml."""
    sampling = _sampling(study.runs(trainer__batch_size=LARGE)[0])
    n = sampling.images
    sizes = {size: _group(study.runs(trainer__batch_size=size), n) for size in (8, 32, 128, "full")}
    longer, one = _group(study.runs("updates"), n), _group(study.runs("one"), n)
    small, full = sizes[SMALL], sizes["full"]
    times = _times(study.runs()[0], [ONE, *(g.size for g in sizes.values())])
    drawn = np.array(DRAWN, dtype=np.float64)
    wells = _wells(study)
    evidence = {
        "variance": Evidence(
            "agreement",
            drawn * sampling.measured,
            drawn * sampling.expected(drawn),
            rival=drawn * sampling.measured[0],
        ),
        "steadier": Evidence("mean difference", sampling.cosine[LARGE], sampling.cosine[SMALL]),
        "one_noisier": Evidence("mean difference", sampling.cosine[SMALL], sampling.cosine[ONE]),
        "update_time": Evidence("ratio", times[LARGE] / LARGE, times[SMALL] / SMALL),
        "update_time_full": Evidence("ratio", times[n] / n, times[SMALL] / SMALL),
        "epoch_time": Evidence("ratio", _epoch(times, n, n), _epoch(times, SMALL, n)),
        "leaves_shallow": Evidence("share difference", wells[NOISE], wells[0.0]),
        "leaves_saddle": Evidence("share difference", *(_leaves_saddle(batch) for batch in (ONE, None))),
        "trains_better": Evidence("mean difference", small.train, full.train),
        "tests_better": Evidence("mean difference", small.validation, full.validation),
        "tests_better_updates": Evidence("mean difference", small.validation, longer.validation),
        "one_trains_better": Evidence("mean difference", one.train, full.train),
        "one_tests_better": Evidence("mean difference", one.validation, full.validation),
    }
    groups = [one, *sizes.values(), longer]
    steps = study.runs("wells")[0].config["trainer"]["steps"]
    figures = {"noise": _draw(sampling, times, wells, steps), "paths": _draw_paths()}
    return Findings(evidence, figures, {"sizes": _table(groups, sampling, times)})


def _sampling(run: Run) -> Sampling:
    """Gradients of every training image at the weights that a run ended with, and of batches drawn from them."""
    built = network(run)
    split = built.data.load("train")
    assert split.labels is not None
    weights = {name: p.detach() for name, p in built.model.named_parameters()}

    def loss(at: dict[str, torch.Tensor], image: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        outputs = torch.func.functional_call(built.model, at, (image[None],))
        value: torch.Tensor = built.loss(outputs, label[None])
        return value.sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(weights, split.images / 255.0, split.labels)
    gradients = torch.cat([g.flatten(1) for g in each.values()], dim=1)
    n, whole = len(gradients), gradients.mean(dim=0)
    measured, cosine = [], {}
    for size in DRAWN:
        generator = stream(0, "batches", size)
        chosen = torch.stack([torch.randperm(n, generator=generator)[:size] for _ in range(DRAWS)])
        means = torch.zeros(DRAWS, n).scatter_(1, chosen, 1.0 / size) @ gradients
        measured.append(float((means - whole).square().sum(dim=1).mean()))
        cosine[size] = np.asarray(torch.cosine_similarity(means, whole[None]).numpy(), dtype=np.float64)
    cosine[ONE] = np.asarray(torch.cosine_similarity(gradients, whole[None]).numpy(), dtype=np.float64)
    variance = float((gradients - whole).square().sum(dim=1).mean())
    return Sampling(n, variance, np.array(measured), cosine)


def _times(run: Run, sizes: Sequence[int]) -> dict[int, Floats]:
    """Seconds of an update of a run's network with batches of each size, one value a round: (ROUNDS,) by size.

    On as many threads as the run itself had: waking a second one costs more than it gives in a network this small.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(run.provenance["threads"])
    try:
        return _timed(run, sizes)
    finally:
        torch.set_num_threads(before)


def _timed(run: Run, sizes: Sequence[int]) -> dict[int, Floats]:
    problems = {}
    for size in sizes:
        problem = problem_of(run, batch_size=size)
        problems[size] = (problem, build_optimizer(run.config, problem.module))
    seconds: dict[int, list[float]] = {size: [] for size in sizes}
    for k in range(ROUNDS + 1):
        for size, (problem, optimizer) in problems.items():
            began = time.perf_counter()
            for i in range(UPDATES):
                optimizer.zero_grad()
                problem.objective(problem.batch(k * UPDATES + i)).backward()
                optimizer.step()
            seconds[size].append((time.perf_counter() - began) / UPDATES)
    return {size: np.array(found[1:]) for size, found in seconds.items()}  # the first round warms up


def _group(runs: Sequence[Run], images: int) -> Group:
    size = runs[0].config["trainer"]["batch_size"]
    built = [network(run) for run in runs]
    return Group(
        images if size == "full" else int(size),
        int(runs[0].summary["steps"]),
        np.array([evaluate(b, "train").accuracy for b in built]),
        np.array([evaluate(b, "validation").accuracy for b in built]),
    )


def _epoch(times: dict[int, Floats], size: int, images: int) -> Floats:
    """Seconds of an epoch with batches of a size, (ROUNDS,)."""
    return times[size] * math.ceil(images / size)


def _wells(study: Study) -> dict[float, list[bool]]:
    """Which runs end beyond the barrier, by noise."""
    found: dict[float, list[bool]] = {}
    for run, curve in study.with_curves("wells"):
        noise = float(run.config["trainer"]["grad_noise"])
        found.setdefault(noise, []).append(bool(curve["x0"].iloc[-1] < 0))
    return found


def _descent(start: Sequence[float], batch: int | None, run: int = 0) -> Floats:
    """Points (updates + 1, 2) of descent on the finite sum with batches of a size, None for all samples."""
    generator, path = stream(run, "finite sum"), [np.array(start, dtype=np.float64)]
    for _ in range(SUM_UPDATES):
        size = len(SAMPLES) if batch is None else batch
        away = path[-1] - SAMPLES[torch.randperm(len(SAMPLES), generator=generator)[:size].numpy()]
        each = np.exp(-np.square(away).sum(axis=1) / 2)[:, None] * away
        path.append(path[-1] - SUM_RATE * np.array([math.fsum(column) for column in each.T]) / size)
    return np.array(path)


def _leaves_saddle(batch: int | None) -> list[bool]:
    """Which runs from the saddle of the finite sum end half-way to a minimum, or beyond."""
    return [bool(abs(_descent((0.0, 0.0), batch, run)[-1, 0]) > SAMPLES[0, 0] / 2) for run in range(SUM_RUNS)]


def _table(groups: Sequence[Group], sampling: Sampling, times: dict[int, Floats]) -> list[dict[str, Any]]:
    rows = []
    for group in groups:
        cosine = sampling.cosine.get(group.size)
        rows.append(
            {
                "batch": group.size,
                "updates": group.updates,
                "cosine with the full gradient": 1.0 if cosine is None else float(cosine.mean()),
                "ms an update": 1e3 * float(np.median(times[group.size])),
                "s an epoch": float(np.median(_epoch(times, group.size, sampling.images))),
                "training accuracy": float(group.train.mean()),
                "validation accuracy": float(group.validation.mean()),
            }
        )
    return rows


def _draw(sampling: Sampling, times: dict[int, Floats], wells: dict[float, list[bool]], steps: int) -> Figure:
    figure, (left, middle, right) = panels(9.6, 3.2, 3)
    size = np.geomspace(DRAWN[0], DRAWN[-1], 50)
    left.loglog(size, sampling.expected(size), color="0.6", linewidth=1.0)
    left.loglog(DRAWN, sampling.measured, "o", color=PALETTE[0], markersize=4)
    left.set(xlabel="batch size", ylabel="variance of the gradient")
    _draw_times(middle, times, sampling.images)
    _draw_wells(right, wells, steps)
    return figure


def _draw_times(ax: Axes, times: dict[int, Floats], images: int) -> None:
    size = sorted(times)
    for label, colour, seconds in (
        ("an update", PALETTE[0], [np.median(times[b]) for b in size]),
        ("an epoch", PALETTE[1], [np.median(_epoch(times, b, images)) for b in size]),
    ):
        ax.loglog(
            size,
            np.array(seconds) / seconds[size.index(SMALL)],
            "o-",
            color=colour,
            markersize=4,
            linewidth=1.2,
            label=label,
        )
    ax.set(xlabel="batch size", ylabel="time, relative to batch 8")
    ax.legend(frameon=False, fontsize=8)


def _draw_wells(ax: Axes, wells: dict[float, list[bool]], steps: int) -> None:
    rate = 0.1
    sigma = np.linspace(0.3, max(wells), 100)
    kramers = math.sqrt(WELL * TOP) / (2 * math.pi) * np.exp(-BARRIER / (rate * sigma**2 / 2))
    ax.plot(sigma, 1 - np.exp(-kramers * rate * steps), color="0.6", linewidth=1.0, label="Kramers' rate")
    ax.plot(list(wells), [np.mean(v) for v in wells.values()], "o", color=PALETTE[2], markersize=4, label="measured")
    ax.set(xlabel="noise in the gradient", ylabel="share that leaves")
    ax.legend(frameon=False, fontsize=8)


def _draw_paths() -> Figure:
    """The steady path and the noisy one on the finite sum, from beside the saddle and from the saddle itself."""
    figure, both = panels(8.4, 3.8, 2, grid=False, sharey=True)
    x, y = np.meshgrid(np.linspace(-2.4, 2.4, 161), np.linspace(-1.6, 2.0, 121))
    away = np.stack([x, y], axis=-1)[..., None, :] - SAMPLES
    height = 1 - np.exp(-np.square(away).sum(axis=-1) / 2).mean(axis=-1)
    for ax, batch, title in zip(both, (None, ONE), ("all samples", "one sample an update"), strict=True):
        ax.contour(x, y, height, 18, colors="0.75", linewidths=0.6)
        ax.plot(*SAMPLES.T, "+", color="0.3", markersize=8, label="samples")
        for colour, start, label in (
            (PALETTE[0], BESIDE, "beside the saddle"),
            (PALETTE[1], (0.0, 0.0), "on the saddle"),
        ):
            path = _descent(start, batch)
            ax.plot(*path.T, ".-", color=colour, linewidth=0.7, markersize=2.5, alpha=0.8, label=label)
            ax.plot(*path[0], "o", color=colour, markersize=6)
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("w0")
    both[0].set_ylabel("w1")
    both[0].legend(fontsize=8)
    return figure
