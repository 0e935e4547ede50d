"""What curvature of a network costs: Hessian-vector products in gradients, extreme eigenvalues in products and error.

    python benchmarks/curvature.py            # about 6 minutes of one core, 5 GB (PyHessian's graph of all images)
    python benchmarks/curvature.py --quick    # products on a quarter of the images: about 4 minutes, 2 GB
    python benchmarks/curvature.py --write    # and benchmarks/results/curvature.md

Everything is measured in one process on one thread, at the checkpoint of a short training of the homework's CNN on
scikit-learn's digits, in float64 and evaluation mode, on the same images for everyone. Times are CPU time in units of
the gradient of the same loss, medians of interleaved rounds. Eigenvalues are compared with those of the dense Hessian.
The rivals are curvlinops with scipy's eigsh, and PyHessian; a row says so where one is not installed:

    pip install curvlinops-for-pytorch PyHessian
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from curvature_rivals import (
    SEEDS,
    Found,
    Point,
    curvlinops_eigsh,
    curvlinops_operator,
    installed,
    pyhessian_of,
    pyhessian_power,
)
from torch import Tensor

import optbench
from optbench.curvature import network_objective
from optbench.curvature.hvp import HessianOperator, random_unit
from optbench.curvature.inspect import WORTH_KEEPING
from optbench.curvature.lanczos import ends
from optbench.curvature.spectrum import full_hessian
from optbench.experiment.provenance import processor
from optbench.experiment.rebuild import Rebuilt, rebuild
from optbench.launch.base import available_cores

MEMORY = 4e9  # bytes that kept intermediates may take
COST_WIDTH, EXACT_WIDTH = 4, 1  # of the CNN: about 20,000 and 1,400 weights
NOT_INSTALLED = "not installed"


def trained(width: int, epochs: int, folder: Path) -> Rebuilt:
    """A CNN trained for some epochs, from its checkpoint."""
    words = [f"model.width={width}", f"trainer.epochs={epochs}", "trainer.threads=1", "scheduler=constant"]
    run = optbench.run("model=hw3_cnn", "data=digits", "optimizer=adam", *words, out=folder)
    assert run.path is not None
    return rebuild(run.path, "last")


def point_of(network: Rebuilt, share: float) -> Point:
    """The mean training loss at a checkpoint, float64, in evaluation mode, and the images that it is over."""
    split = network.data.load("train")
    assert split.labels is not None
    count = max(1, round(share * len(split)))
    split = type(split)(split.images[:count], split.labels[:count], split.names[:count])
    objective = network_objective(network.model, network.loss, split, dtype=torch.float64)
    model = network.model.double().eval()
    return Point(objective, model, split.images.double() / 255.0, split.labels)


def cpu(work: Callable[[], object]) -> float:
    """CPU seconds of a call."""
    began = time.process_time()
    work()
    return time.process_time() - began


# products -----------------------------------------------------------------------------------------------------------


def products(point: Point, v: Tensor) -> Iterator[tuple[str, Callable[[], Tensor] | None, float]]:
    """Each way to a Hessian-vector product, ready to be called, and the CPU seconds of making it ready."""
    kept, fresh = HessianOperator(point.objective, MEMORY), HessianOperator(point.objective)
    ready = cpu(kept.linearize)
    share = kept.kept_parts / len(point.objective.parts)
    yield f"optbench, linearized once ({kept.kept_bytes / 1e6:,.0f} MB kept)", lambda: kept(v), ready
    assert share == 1.0
    yield "optbench, double backward", lambda: fresh(v), 0.0
    if installed("curvlinops-for-pytorch"):
        operator = curvlinops_operator(point)
        yield "curvlinops", lambda: operator @ v, 0.0
    else:
        yield "curvlinops", None, 0.0
    if installed("PyHessian"):
        began = time.process_time()
        rival = pyhessian_of(point)
        ready = time.process_time() - began
        pieces = list(v.split([p.numel() for p in rival.params]))
        shaped = [piece.view_as(p) for piece, p in zip(pieces, rival.params, strict=True)]
        from pyhessian.utils import hessian_vector_product

        yield (
            "PyHessian, graph kept",
            lambda: torch.cat([h.reshape(-1) for h in hessian_vector_product(rival.gradsH, rival.params, shaped)]),
            ready,
        )
    else:
        yield "PyHessian, graph kept", None, 0.0


def cost_rows(point: Point, rounds: int) -> list[str]:
    """A product of each kind in gradients."""
    v = random_unit(point.objective.n, 0, 0, torch.float64, torch.device("cpu"))
    ways = list(products(point, v))
    seconds: dict[str, list[float]] = {name: [] for name, work, _ in ways if work is not None}
    gradients, wanted = [], None
    for name, work, _ in ways:
        if work is not None:  # also the first, slower call
            found = work()
            wanted = found if wanted is None else wanted
            assert float((found - wanted).norm()) <= 1e-9 * float(wanted.norm()), name
    for _ in range(rounds):
        gradients.append(cpu(point.objective.gradient))
        for name, work, _ in ways:
            if work is not None:
                seconds[name].append(cpu(work))
    gradient = statistics.median(gradients)
    rows = ["| product | gradients | made ready, gradients |", "|---|---|---|"]
    for name, work, ready in ways:
        if work is None:
            rows.append(f"| {name} | {NOT_INSTALLED} | |")
            continue
        median = statistics.median(t / g for t, g in zip(seconds[name], gradients, strict=True))
        rows.append(f"| {name} | {median:.2f} | {ready / gradient:.1f} |" if ready else f"| {name} | {median:.2f} | |")
    return [f"A gradient takes {1e3 * gradient:.0f} ms.", "", *rows]


# eigenvalues --------------------------------------------------------------------------------------------------------


def ours(point: Point, steps: int) -> Found:
    """Lanczos with full reorthogonalisation, a start a seed."""
    found = Found()
    for seed in SEEDS:
        began = time.process_time()
        operator = HessianOperator(point.objective, MEMORY)
        if steps * point.objective.part_bytes > WORTH_KEEPING:  # as classify-critical does
            operator.linearize()
        seen = ends(operator, operator.n, steps, 1, seed=seed)
        found.seconds.append(time.process_time() - began)
        found.products.append(operator.products)
        found.low.append(seen.low.value)
        found.high.append(seen.high.value)
    return found


def ends_rows(point: Point) -> list[str]:
    """Products, gradients and errors of every method."""
    began = time.process_time()
    spectrum = np.linalg.eigvalsh(full_hessian(HessianOperator(point.objective, MEMORY)))
    dense = time.process_time() - began
    gradient = statistics.median(cpu(point.objective.gradient) for _ in range(9))
    low, high = float(spectrum[0]), float(spectrum[-1])
    rows = [
        f"Dense Hessian, {len(spectrum):,} products: {dense / gradient:,.0f} gradients of {1e3 * gradient:.0f} ms; "
        f"lambda_min = {low:.6g}, lambda_max = {high:.6g}.",
        "",
        "| method | products | gradients | error of lambda_min | error of lambda_max |",
        "|---|---|---|---|---|",
    ]
    lanczos = [(f"optbench, {k} Lanczos steps", "", lambda k=k: ours(point, k)) for k in (10, 20, 30, 50)]
    scipy = [
        (f"curvlinops + eigsh, tol={tol:g}", "curvlinops-for-pytorch", lambda tol=tol: curvlinops_eigsh(point, tol))
        for tol in (1e-3, 0.0)
    ]
    power = [
        (f"PyHessian, tol={tol:g}, at most {most}", "PyHessian", lambda t=tol, m=most: pyhessian_power(point, t, m))
        for tol, most in ((1e-3, 100), (1e-6, 300))
    ]
    for name, package, measure in lanczos + scipy + power:
        if package and not installed(package):
            rows.append(f"| {name} | {NOT_INSTALLED} | | | |")
            continue
        found = measure()
        cells = [f"{statistics.median(found.products):.0f}", f"{statistics.median(found.seconds) / gradient:.0f}"]
        cells.append(error(found.low, low) if found.low else "does not look for it")
        rows.append(f"| {name} | {' | '.join([*cells, error(found.high, high)])} |")
    return rows


def error(found: list[float], exact: float) -> str:
    """Median and largest relative error."""
    errors = [abs(value - exact) / abs(exact) for value in found]
    return f"{statistics.median(errors):.0e} (worst {max(errors):.0e})"


def report(share: float, small_share: float, rounds: int) -> str:
    """Both tables, as Markdown; the shares are of the training images, for products and for eigenvalues."""
    names = {"torch": "torch", "scipy": "scipy", "curvlinops": "curvlinops-for-pytorch", "PyHessian": "PyHessian"}
    seen = ", ".join(f"{name} {version(p) if installed(p) else NOT_INSTALLED}" for name, p in names.items())
    with tempfile.TemporaryDirectory() as folder:
        large = point_of(trained(COST_WIDTH, 3, Path(folder) / "large"), share)
        small = point_of(trained(EXACT_WIDTH, 5, Path(folder) / "small"), small_share)
        costs, found = cost_rows(large, rounds), ends_rows(small)
    load = os.getloadavg()[0]
    busy = " Other jobs were running: read ratios as good to about 25 %." if load > 1.5 else ""
    lines = [
        "# Curvature of a network",
        "",
        f"{processor()}, {available_cores()} cores, one thread used, load {load:.1f}; Python "
        f"{platform.python_version()}, {seen}. float64, evaluation mode, digits; CPU time, medians. Made by "
        f"benchmarks/curvature.py.{busy}",
        "",
        f"## A Hessian-vector product: HW3 CNN of width {COST_WIDTH}, {large.objective.n:,} weights, "
        f"{large.objective.examples:,} images, {rounds} rounds",
        "",
        *costs,
        "",
        f"## Both ends of the spectrum: HW3 CNN of width {EXACT_WIDTH}, {small.objective.n:,} weights, "
        f"{small.objective.examples:,} images, {len(SEEDS)} random starts",
        "",
        *found,
        "",
        "Errors are relative, medians over the starts. Gradients count all that a method does: making its operator "
        "ready, products, orthogonalisation.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer images and rounds")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/curvature.md")
    given = parser.parse_args()
    torch.set_num_threads(1)
    text = report(0.25, 0.1, 3) if given.quick else report(1.0, 0.1, 5)
    print(text)
    if given.write:
        (Path(__file__).parent / "results" / "curvature.md").write_text(text)


if __name__ == "__main__":
    main()
