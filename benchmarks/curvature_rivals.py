"""Curvature of a network as others measure it: curvlinops with scipy's eigsh, and PyHessian.

Each takes the checkpoint as a `Point` and gives what it says of the ends of the spectrum as `Found`.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from optbench.curvature import FlatObjective

SEEDS = range(3)


@dataclass
class Point:
    """A checkpoint, as we see it and as the rivals do."""

    objective: FlatObjective
    model: nn.Module
    inputs: Tensor
    labels: Tensor


@dataclass
class Found:
    """What a method says of both ends of the spectrum, and what it cost."""

    products: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)


def curvlinops_eigsh(point: Point, tolerance: float) -> Found:
    """scipy's implicitly restarted Lanczos on curvlinops' operator, both ends at once."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    found = Found()
    for seed in SEEDS:
        began, count = time.process_time(), 0
        inner = curvlinops_operator(point).to_scipy()

        def product(vector: np.ndarray, inner: LinearOperator = inner) -> np.ndarray:
            nonlocal count
            count += 1
            return inner @ vector

        n = point.objective.n
        start = np.random.default_rng(seed).normal(size=n)
        operator = LinearOperator((n, n), matvec=product, dtype=np.float64)
        low, high = eigsh(operator, k=2, which="BE", tol=tolerance, v0=start, return_eigenvectors=False)
        found.seconds.append(time.process_time() - began)
        found.products.append(count)
        found.low.append(float(low))
        found.high.append(float(high))
    return found


def pyhessian_power(point: Point, tolerance: float, most: int) -> Found:
    """PyHessian's power iteration: the one eigenvalue of largest size."""
    found = Found()
    for seed in SEEDS:
        torch.manual_seed(seed)
        with double_precision(), counted() as count:
            began = time.process_time()
            (value,), _ = pyhessian_of(point).eigenvalues(maxIter=most, tol=tolerance, top_n=1)
            found.seconds.append(time.process_time() - began)
        found.products.append(count[0])
        found.high.append(float(value))
    return found


def installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def curvlinops_operator(point: Point) -> Any:
    from curvlinops import HessianLinearOperator

    parameters = [p for p in point.model.parameters() if p.requires_grad]
    data = [(point.inputs, point.labels)]
    return HessianLinearOperator(point.model, nn.CrossEntropyLoss(), parameters, data, check_deterministic=False)


def pyhessian_of(point: Point) -> Any:
    from pyhessian import hessian

    point.model.zero_grad()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its backward(create_graph=True)
        return hessian(point.model, nn.CrossEntropyLoss(), data=(point.inputs, point.labels), cuda=False)


@contextmanager
def double_precision() -> Iterator[None]:
    """PyHessian draws vectors of the default dtype."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def counted() -> Iterator[list[int]]:
    """Counts the products that PyHessian makes."""
    module: Any = import_module("pyhessian.hessian")  # its package has a class of this name
    original, count = module.hessian_vector_product, [0]

    def counting(*arguments: object) -> object:
        count[0] += 1
        return original(*arguments)

    module.hessian_vector_product = counting
    try:
        yield count
    finally:
        module.hessian_vector_product = original
