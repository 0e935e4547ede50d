"""Claim 8: AdaGrad's scale is the root mean square of all past gradients: what it remembers, and the bursts it allows.

sigma_t^2 = (g_0^2 + ... + g_t^2) / (t + 1) falls like 1 / t along an axis at rest. Plain descent with rate eta / sigma
is unstable once eta lambda / sigma exceeds 2: whatever is left on that axis grows until its gradients lift sigma again.

Source: Apple Book, sections 3.3.1 and 3.4; J. Duchi, E. Hazan & Y. Singer, JMLR 12 (2011) 2121.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from applebook.evidence import Evidence
from applebook.measures._common import (
    all_mean_square,
    by_rate,
    gradients,
    panels,
    points,
    rate_of,
    recent_mean_square,
    where,
)
from applebook.study import Findings, Study
from optbench import Run, stream
from optbench.metrics import Floats
from optbench.plot import PALETTE

FLOOR, _STEEP = 2.0, 200.0
_QUIET, _FOR, _BURST = 0.01, 50, 0.1
"""A burst: the distance across stayed within _QUIET for _FOR updates and exceeds _BURST later."""
_END = 300
_ALPHA = 0.9


def measure(study: Study) -> Findings:
    """The evidence for claim 8; see conf/experiment/book/adagrad.yaml."""
    across = {arm: _across(study, arm) for arm in ("main", "noise", "decay", "published")}
    when = {arm: [_burst(path) for path in paths] for arm, paths in across.items()}
    bursts = {arm: [step > 0 for step in steps] for arm, steps in when.items()}
    restless = [[bool(path[-_END:].max() > _BURST) for path in across[arm]] for arm in ("noise", "decay")]
    evidence = {
        "closed_form": _closed_form(study),
        "remembers": Evidence("ratio", *(_memory(study, name) for name in ("book_adagrad", "book_rmsprop"))),
        "bursts": Evidence("share", bursts["main"], bursts["published"]),
        "bursts_with_noise": Evidence("share", bursts["noise"], bursts["published"]),
        "decay_helps": Evidence("share difference", bursts["noise"], bursts["decay"]),
        "decay_cures": Evidence("share", bursts["decay"], bursts["noise"]),
        "decay_ends_calm": Evidence("share difference", *restless),
        "bursts_as_published": Evidence("share", bursts["published"], bursts["noise"]),
    }
    return Findings(evidence, {"burst": _draw(study, int(np.argmax(when["noise"])))}, {"counts": _rows(study, bursts)})


def _across(study: Study, arm: str) -> list[Floats]:
    return [np.abs(curve["x1"].to_numpy() - FLOOR) for curve in study.curves(arm)]


def _burst(distance: Floats) -> int:
    """Step of the first burst; 0 for none."""
    quiet = np.convolve(distance <= _QUIET, np.ones(_FOR), "valid") >= _FOR
    began = int(quiet.argmax()) + _FOR
    later = distance[began:] > _BURST
    return began + int(later.argmax()) if quiet.any() and later.any() else 0


def _closed_form(study: Study) -> Evidence:
    """A run without noise; if the claim were wrong, the recent gradients would do, as in RMSProp."""
    run, curve = where(study)
    x = points(curve)
    g, rate = gradients(run, x)[:-1], rate_of(run)
    expected, rival = (
        -rate * _divided(g, sigma) for sigma in map(np.sqrt, (all_mean_square(g), recent_mean_square(g, _ALPHA)))
    )
    return Evidence("agreement", np.diff(x, axis=0), expected, rival)


def _divided(g: Floats, sigma: Floats) -> Floats:
    found: Floats = np.divide(g, sigma, out=np.zeros_like(g), where=sigma > 0)
    return found


def _memory(study: Study, optimizer: str) -> Floats:
    """Last sigma across the valley from the start on the wall over that from the start near the floor, one a seed."""
    ends: dict[bool, list[float]] = {True: [], False: []}
    for run, curve in study.with_curves("starts", optimizer=optimizer):
        x = points(curve)
        g = _noisy_gradients(run, x)[:-1]
        alpha = run.config["optimizer"].get("alpha")
        squares = all_mean_square(g) if alpha is None else recent_mean_square(g, alpha)
        ends[abs(x[0, 1] - FLOOR) > 1].append(float(np.sqrt(squares[-1, 1])))
    found: Floats = np.array(ends[True]) / np.array(ends[False])
    return found


def _noisy_gradients(run: Run, x: Floats) -> Floats:
    """The gradients that the run saw, noise included: the draw of update k comes from (seed, "noise", k)."""
    draws = [
        torch.randn(x.shape[1], generator=stream(run.config["seed"], "noise", k), dtype=torch.float64).numpy()
        for k in range(len(x))
    ]
    found: Floats = gradients(run, x) + run.config["trainer"]["grad_noise"] * np.array(draws)
    return found


def _rows(study: Study, bursts: dict[str, list[bool]]) -> list[dict[str, Any]]:
    titles = {"main": "no noise", "noise": "noise", "decay": "noise, decay", "published": "noise, as published"}
    rows = []
    for arm, title in titles.items():
        burst = {run.run_id: found for run, found in zip(study.runs(arm), bursts[arm], strict=True)}
        for rate, runs in by_rate(study.runs(arm)).items():
            found = sum(burst[run.run_id] for run in runs)
            rows.append({"AdaGrad": title, "learning rate": rate, "runs": len(runs), "with a burst": found})
    return rows


def _draw(study: Study, which: int) -> Figure:
    """One run under noise beside its twins."""
    chosen = study.runs("noise")[which]
    rate, seed = rate_of(chosen), chosen.config["seed"]
    figure, (left, right) = panels(8.0, 3.6, 2)
    shown = {"published": "as published, rate 1", "noise": f"constant rate {rate:g}", "decay": "the same, decayed"}
    for colour, (arm, label) in zip((PALETTE[2], PALETTE[1], PALETTE[0]), shown.items(), strict=True):
        run, curve = where(study, arm, seed=seed, optimizer__lr=1.0 if arm == "published" else rate)
        x = points(curve)
        g = _noisy_gradients(run, x)[:-1, 1:]
        sigma = np.sqrt(np.cumsum(g**2, axis=0) if arm == "published" else all_mean_square(g))
        left.semilogy(np.abs(x[:, 1] - FLOOR), color=colour, linewidth=0.9, label=label)
        right.semilogy(sigma, color=colour, linewidth=1.3, label=label)
    left.axhline(_BURST, color="0.3", linestyle="--", linewidth=0.9)
    right.axhline(rate * _STEEP / 2, color="0.3", linestyle="--", linewidth=0.9)
    left.set(xlabel="update", ylabel="distance across the valley", ylim=(1e-7, 20))
    right.set(xlabel="update", ylabel="sigma of that axis")
    low, high = np.log10(right.get_ylim())
    right.set_ylim(10 ** np.floor(low), 10 ** np.ceil(high))
    left.legend(fontsize=8)
    return figure
