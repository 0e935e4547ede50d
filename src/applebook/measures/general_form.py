"""Claim 12: theta <- theta - (eta_t / sigma_t) m_t against independent implementations, and against what it is not.

The references are torch.optim where it has the method and NumPy where the book's formula is its own. Rivals are the
form with a neighbour's part: if that agreed as well, agreement would mean nothing.

Source: Apple Book, section 3.5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from applebook.evidence import Evidence
from applebook.measures._common import gradients, panels, points, problem_of
from applebook.study import Findings, Study
from optbench import Run, build_optimizer, recorded_field
from optbench.metrics import Floats
from optbench.plot import PALETTE

Reference = Callable[[int, Floats, dict[str, Floats], dict[str, Any]], Floats]
"""(t, gradient, memory, keywords of the optimizer) -> movement; keeps what it needs in the memory."""

PARTS = {
    "gd": ("gradient descent", "g", "1"),
    "momentum": ("momentum", "sum of momentum^(t-i) g_i", "1"),
    "adagrad": ("AdaGrad, as published", "g", "root mean square of all g, under eta / sqrt(t + 1)"),
    "rmsprop": ("RMSProp, book", "g", "recent root mean square of g, from |g_0|"),
    "adam": ("Adam, book", "weighted mean of g", "recent root mean square of g, from |g_0|"),
    "torch_rmsprop": ("RMSProp, torch", "g", "recent root mean square of g, from 0"),
    "torch_adam": ("Adam, torch", "weighted mean of g", "recent root mean square of g, from 0, under eta_t"),
    "network": ("momentum, on a network", "sum of momentum^(t-i) g_i", "1"),
}

_EQUAL = 1e-17
"""Where no deviation at all is drawn."""


def measure(study: Study) -> Findings:
    """The evidence for claim 12; see conf/experiment/book/general_form.yaml."""
    evidence = {
        "gd": _same(study, "book_gd", "gd", "momentum"),
        "momentum": _same(study, "book_momentum", "momentum", "gd"),
        "adagrad": _scheduled_adagrad(study),
        "rmsprop": _against_numpy(study, "book_rmsprop", _rmsprop, _adagrad),
        "adam": _against_numpy(study, "book_adam", _adam, _rmsprop),
        "torch_rmsprop": _torch(study, "rmsprop"),
        "torch_adam": _torch(study, "adam"),
        "network": _network(study),
        "covers_lbfgs": _covers_lbfgs(study),
        "covers_muon": _covers_muon(study),
    }
    rows = [
        {"optimizer": title, "m": m, "sigma": sigma, "deviation": evidence[name].estimate.value}
        for name, (title, m, sigma) in PARTS.items()
    ]
    return Findings(evidence, {"deviations": _draw(study, evidence)}, {"parts": rows})


def _paths(study: Study, arm: str = "main", **values: Any) -> Floats:
    """Points of all runs with these values, (runs, steps + 1, 2)."""
    return np.array([points(curve) for curve in study.curves(arm, **values)])


def _stepped(study: Study, arm: str, optimizer: str) -> Floats:
    """The paths of an arm's runs, walked anew by the optimizer object itself: rows of a batch use a rule instead."""
    paths = []
    for run in study.runs(arm, optimizer=optimizer):
        problem = problem_of(run)
        made = build_optimizer(run.config, problem.module)
        path = [problem.coordinates()]
        for step in range(run.config["trainer"]["steps"]):
            made.zero_grad()
            problem.objective(problem.batch(step)).backward()
            made.step()
            path.append(problem.coordinates())
        paths.append(path)
    return np.array(paths)


def _same(study: Study, form: str, reference: str, rival: str) -> Evidence:
    walked = _stepped(study, "main", reference)
    return Evidence("agreement", _paths(study, optimizer=form), walked, rival=_paths(study, optimizer=rival))


def _scheduled_adagrad(study: Study) -> Evidence:
    """The rival is the book's AdaGrad without the schedule."""
    form, rival = _paths(study, "scheduled"), _paths(study, optimizer="book_adagrad")
    return Evidence("agreement", form, _stepped(study, "main", "adagrad"), rival=rival)


# the book's formulas once more, in NumPy ------------------------------------------------------------------------------


def _scaled(m: Floats, square: Floats, node: dict[str, Any]) -> Floats:
    found: Floats = -node["lr"] * m / np.sqrt(square)
    return found


def _adagrad(t: int, g: Floats, memory: dict[str, Floats], node: dict[str, Any]) -> Floats:
    memory["mean"] = (t * memory["mean"] + g**2) / (t + 1) if t else g**2
    return _scaled(g, memory["mean"], node)


def _rmsprop(t: int, g: Floats, memory: dict[str, Floats], node: dict[str, Any]) -> Floats:
    memory["square"] = node["alpha"] * memory["square"] + (1 - node["alpha"]) * g**2 if t else g**2
    return _scaled(g, memory["square"], node)


def _adam(t: int, g: Floats, memory: dict[str, Floats], node: dict[str, Any]) -> Floats:
    memory["m"] = node["beta1"] * (memory["m"] if t else 0.0) + (1 - node["beta1"]) * g
    memory["square"] = node["alpha"] * memory["square"] + (1 - node["alpha"]) * g**2 if t else g**2
    return _scaled(memory["m"], memory["square"], node)


def _walk(run: Run, start: Floats, steps: int, reference: Reference) -> Floats:
    objective = recorded_field(run).objective
    memory: dict[str, Floats] = {}
    path = [start]
    for t in range(steps):
        x = torch.tensor(path[-1], requires_grad=True)
        (g,) = torch.autograd.grad(objective(x), x)
        moved = reference(t, g.numpy().astype(np.float64), memory, run.config["optimizer"])
        path.append(np.add(path[-1], moved))
    return np.array(path)


def _against_numpy(study: Study, name: str, reference: Reference, rival: Reference) -> Evidence:
    paths, runs = _paths(study, optimizer=name), study.runs(optimizer=name)
    walked = [
        [_walk(run, path[0], len(path) - 1, each) for run, path in zip(runs, paths, strict=True)]
        for each in (reference, rival)
    ]
    return Evidence("agreement", paths, walked[0], rival=walked[1])


# torch's RMSProp and Adam from the gradients at their points ----------------------------------------------------------


def _torch(study: Study, name: str) -> Evidence:
    """Movements; the rivals start sigma at |g_0| (RMSProp), and leave eta_t constant (Adam)."""
    sides: tuple[list[Floats], ...] = ([], [], [])
    for run, path in zip(study.runs("torch", optimizer=name), _stepped(study, "torch", name), strict=True):
        node, g = run.config["optimizer"], gradients(run, path)[:-1]
        beta1, beta2 = node.get("betas", (0.0, node.get("alpha")))
        t = np.arange(1, len(g) + 1)[:, None]
        m, sigma = _mean(g, beta1), np.sqrt(_mean(g**2, beta2))
        eta = node["lr"] * (np.sqrt(1 - beta2**t) / (1 - beta1**t) if name == "adam" else np.ones_like(t))
        other = -node["lr"] * m / (sigma if name == "adam" else np.sqrt(_mean(g**2, beta2) + beta2**t * g[0] ** 2))
        for side, values in zip(sides, (np.diff(path, axis=0), -eta / sigma * m, other), strict=True):
            side.append(values)
    moved, form, rival = map(np.array, sides)
    return Evidence("agreement", moved, form, rival=rival)


def _mean(g: Floats, beta: float) -> Floats:
    """(1 - beta) sum_i beta^(t-i) g_i, (steps, dim): weights from 0, without correction."""
    k, i = np.indices((len(g), len(g)))
    found: Floats = (1 - beta) * np.where(i <= k, float(beta) ** np.clip(k - i, 0, None), 0.0) @ g
    return found


# a network, and what the form is not ----------------------------------------------------------------------------------


def _weights(study: Study, optimizer: str, steps: int) -> tuple[list[Floats], list[Floats], list[Floats]]:
    """Trains the recorded run's network anew in double precision: weights before and after, and the first gradients.

    Muon is given every matrix, of the first and the last layer too: what it does to one is asked, not which it takes.
    """
    run = study.runs("network", optimizer=optimizer)[0]
    problem = problem_of(run)
    module = problem.module.double()
    made = build_optimizer({**run.config, "optimizer": {**run.config["optimizer"], "groups": None}}, module)
    parameters = list(module.parameters())
    before = [p.detach().clone().numpy() for p in parameters]
    first: list[Floats] = []
    for step in range(steps):
        batch = problem.batch(step)
        made.zero_grad()
        problem.objective(replace(batch, inputs=batch.inputs.double())).backward()
        if not first:
            first = [p.grad.clone().numpy() for p in parameters if p.grad is not None]
        made.step()
    return before, [p.detach().numpy() for p in parameters], first


def _flat(arrays: Sequence[Floats]) -> Floats:
    return np.concatenate([a.ravel() for a in arrays])


def _network(study: Study) -> Evidence:
    """Changes of the weights; the rival is plain descent."""
    changes = []
    for name in ("book_momentum", "momentum", "book_gd"):
        before, after, _ = _weights(study, name, 20)
        changes.append(_flat(after) - _flat(before))
    return Evidence("agreement", changes[0], changes[1], rival=changes[2])


def _downhill(moved: Floats, g: Floats) -> Evidence:
    """Where a coordinate moved: whether against its gradient's sign. The control is the opposite."""
    there = (moved != 0) & (g != 0)
    down = (moved * g < 0)[there]
    return Evidence("share", down, ~down)


def _covers_lbfgs(study: Study) -> Evidence:
    moved, seen = [], []
    for run, curve in study.with_curves("lbfgs"):
        path = points(curve)
        moved.append(np.diff(path, axis=0))
        seen.append(gradients(run, path)[:-1])
    return _downhill(_flat(moved), _flat(seen))


def _covers_muon(study: Study) -> Evidence:
    before, after, first = _weights(study, "muon", 1)
    moved = [b - a for a, b, g in zip(before, after, first, strict=True) if g.ndim == 2]
    return _downhill(_flat(moved), _flat([g for g in first if g.ndim == 2]))


def _draw(study: Study, evidence: dict[str, Evidence]) -> Figure:
    """The surfaces' agreements; their values are (runs, steps, 2), paths with the start and movements without."""
    figure, (ax,) = panels(8.5, 3.6)
    runs = len(study.runs(optimizer="book_gd"))
    for colour, name in zip(PALETTE, [name for name in PARTS if name != "network"], strict=True):
        found = evidence[name]
        assert found.rival is not None
        for line, other in (("-", found.right), ("--", found.rival)):
            gap = np.abs(found.left - other).reshape(runs, -1, 2).max(axis=(0, 2)) / np.abs(found.right).max()
            label = PARTS[name][0] if line == "-" else None
            ax.semilogy(np.maximum(gap, _EQUAL), line, color=colour, linewidth=1.1, label=label)
    ax.set(xlabel="update", ylabel="relative deviation", ylim=(_EQUAL / 10, 10))
    ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
