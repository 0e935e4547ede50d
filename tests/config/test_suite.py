"""Suites: problems with keys of their own as one axis of a sweep; the suites keep their written rules."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from members import CONF
from surface_tools import samples

from optbench import build_problem, compose
from optbench.errors import ConfigError
from optbench.experiment.plan import plan_sweep
from optbench.experiment.surface import build_field
from optbench.settings import shown

SUITE = "experiment=suite/surfaces"
MEASURED = CONF.parent / "benchmarks" / "results" / "suite.md"


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


def suite_of(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((CONF / "experiment" / "suite" / f"{name}.yaml").read_text())["suite"]
    return found


def test_the_small_suite_has_the_targets_that_were_measured() -> None:
    """The rule again: the median of the fresh seeds, cut to four digits on the side that is easier to meet."""
    suite = suite_of("small")
    rows = [line.split("|")[1:-1] for line in MEASURED.read_text().splitlines() if line.startswith("| ")][1:]
    assert len(suite) == len(rows) == 12
    for problem, (model, data, target, _, values, _) in zip(suite, rows, strict=True):
        (key,) = problem.keys() & {"trainer.target_accuracy", "trainer.target_val_loss"}
        assert (model.strip(), data.strip()) == (problem["model"], problem["data"])
        accuracy = key == "trainer.target_accuracy"
        assert target.strip() == f"{'val_accuracy >=' if accuracy else 'val_loss <='} {problem[key]:g}"
        median = Decimal(sorted((value.strip() for value in values.split(",")), key=float)[2])
        unit = Decimal(1).scaleb(median.adjusted() - 3)
        cut = median.quantize(unit, rounding=ROUND_FLOOR if accuracy else ROUND_CEILING)
        assert Decimal(str(problem[key])) == cut
    assert all(one in suite for one in suite_of("quick"))


def test_the_small_suite_goes_on_past_its_targets() -> None:
    planned = plan_sweep(["experiment=suite/small", "optimizer=gd", "optimizer.lr=0.01", "seed=0"])
    assert len({item.run_id for item in planned}) == 12
    assert not any(item.config["trainer"]["stop_at_target"] for item in planned)


@pytest.mark.slow
def test_a_target_is_an_accuracy_where_one_example_is_at_most_half_a_percent() -> None:
    for problem in suite_of("small"):
        config = compose(*(f"{key}={shown(value)}" for key, value in problem.items()))
        targets = build_problem(config, torch.device("cpu")).validation.targets
        assert targets is not None
        accuracy = bool(config["data"]["n_classes"]) and len(targets) >= 200
        assert ("trainer.target_accuracy" in problem) == accuracy, problem
