"""Claim 4: what the batch size does to the noise of an update, to its time, and to where training ends.

At fixed weights the mean of B of N gradients, drawn without replacement, has the variance s^2 / B (N - B) / (N - 1),
where s^2 is the variance of one image's gradient. Noise of standard deviation sigma in the gradient makes descent with
rate eta a motion at temperature T = eta sigma^2 / 2, which leaves a well at Kramers' rate.

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
SMALL, LARGE = 8, 128
NOISE = 1.5
BARRIER, WELL, TOP = 5 / 12, 3.0, 2.0
"""two_well's shallow well: height of the barrier, curvature at the bottom, and at the barrier (downwards)."""


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
        cosine: of each draw's gradient with that of all images, by size.
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
    longer = _group(study.runs("updates"), n)
    small, full = sizes[SMALL], sizes["full"]
    times = _times(study.runs()[0], [g.size for g in sizes.values()])
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
        "update_time": Evidence("ratio", times[LARGE] / LARGE, times[SMALL] / SMALL),
        "update_time_full": Evidence("ratio", times[n] / n, times[SMALL] / SMALL),
        "epoch_time": Evidence("ratio", _epoch(times, n, n), _epoch(times, SMALL, n)),
        "leaves_shallow": Evidence("share difference", wells[NOISE], wells[0.0]),
        "trains_better": Evidence("mean difference", small.train, full.train),
        "tests_better": Evidence("mean difference", small.validation, full.validation),
        "tests_better_updates": Evidence("mean difference", small.validation, longer.validation),
    }
    groups = [*sizes.values(), longer]
    steps = study.runs("wells")[0].config["trainer"]["steps"]
    return Findings(
        evidence, {"noise": _draw(sampling, times, wells, steps)}, {"sizes": _table(groups, sampling, times)}
    )


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
    variance = float((gradients - whole).square().sum(dim=1).mean())
    return Sampling(n, variance, np.array(measured), cosine)


def _times(run: Run, sizes: Sequence[int]) -> dict[int, Floats]:
    """Seconds of an update of a run's network with batches of each size, one value a round: (ROUNDS,) by size."""
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
    size = list(times)
    for label, colour, seconds in (
        ("an update", PALETTE[0], [np.median(times[b]) for b in size]),
        ("an epoch", PALETTE[1], [np.median(_epoch(times, b, images)) for b in size]),
    ):
        ax.loglog(size, np.array(seconds) / seconds[0], "o-", color=colour, markersize=4, linewidth=1.2, label=label)
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
