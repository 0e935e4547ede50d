"""Suites: problems with keys of their own as one axis of a sweep; the suite of surfaces keeps its written rule."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from surface_tools import samples

from optbench.errors import ConfigError
from optbench.experiment.plan import plan_sweep
from optbench.experiment.surface import build_field

SUITE = "experiment=suite/surfaces"


def test_targets_are_those_of_the_rule() -> None:
    planned = plan_sweep([SUITE, "optimizer=gd", "optimizer.lr=0.01", "seed=0"])
    assert len(planned) == 32
    for item in planned:
        surface = build_field(item.config).surface
        gap = 0.01 * (float(surface(samples(surface, 1000)).median()) - surface.minimum)
        target = item.config["trainer"]["target"] - surface.minimum
        assert target == pytest.approx(gap, abs=0.51 * 10.0 ** (math.floor(math.log10(gap)) - 2)), item.swept
        assert surface.dim == 5
    assert len({(item.choices["model"], item.swept.get("model.function")) for item in planned}) == 16


def test_a_suite_is_an_axis_of_problems(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    file = tmp_path / "experiment" / "mine.yaml"
    head = "# @package _global_\n# mine\n"
    problems = "suite:\n  - {model: bbob, model.function: 3}\n  - {model: sphere, model.dim: 4, trainer.target: 0.5}\n"
    file.write_text(head + problems + "hydra:\n  sweeper:\n    params:\n      optimizer: gd,adam\n")
    planned = plan_sweep(["experiment=mine", "seeds=2"], config_dirs=[tmp_path])
    assert len(planned) == 2 * 2 * 2
    assert {item.choices["model"] for item in planned} == {"bbob", "sphere"}
    swept = [dict(item.swept) for item in planned if item.choices["model"] == "sphere"]
    assert all("model.function" not in one and one["model.dim"] == 4 for one in swept)
    again = plan_sweep(["experiment=mine", "seeds=2"], config_dirs=[tmp_path])  # as it is kept
    assert [item.run_id for item in again] == [item.run_id for item in planned]
    with pytest.raises(ConfigError, match="model is set by the suite"):
        plan_sweep(["experiment=mine", "model=sphere"], config_dirs=[tmp_path])
    for wrong in ("suite: 3\n", "suite: [a]\n", "suite: [{}]\n"):
        file.write_text(head + wrong)
        with pytest.raises(ConfigError, match="suite: expected a list of problems"):
            plan_sweep(["experiment=mine"], config_dirs=[tmp_path])
