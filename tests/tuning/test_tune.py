"""Tuning: what is chosen and reported, against closed forms; which seeds see what; interrupts; what is refused."""

from __future__ import annotations

import itertools
import json
import math
import re
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import members
import numpy as np
import pytest
import yaml
from command_tools import invoke

import optbench
from optbench import records
from optbench.catalogue import first_comment, searched
from optbench.config import Composer
from optbench.errors import OptbenchError, UserError
from optbench.experiment import Stop, plan_sweep
from optbench.experiment.plan import Points
from optbench.launch.sweep import Options, Silent
from optbench.tuning import Result, Tuner, spaces_of, task_of, tuned_json, tuned_lines
from optbench.tuning.runs import Made, by_point

SPHERE = ["model=sphere", "optimizer=gd", "trainer.steps=3", "trainer.start=random", "trainer.grad_tol=0"]
RATES = "optimizer.lr=tag(log,interval(0.01,0.9))"


def tuned(folder: Path, overrides: list[str], stop: Stop | None = None, watch: Any = None, **options: Any) -> Result:
    task = task_of(overrides, folder, **options)
    watching = watch or (lambda count, label: nullcontext(Silent()))
    return Tuner(task, stop or Stop(), watching, Options(least=2), {"jobs": 1}).run()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return tuned(tmp_path_factory.mktemp("tune"), [*SPHERE, RATES], trials=8, report_seeds=7)


def starts(folder: Path) -> dict[int, float]:
    """|x_0|^2 by seed, from a run that makes no step: that of the first iterate of each."""
    losses = {}
    for run in records.read([folder]).runs():
        losses[int(run.summary["seed"])] = float(run.columns()["loss"][0])
    return losses


def test_the_setting_with_the_least_median_is_chosen_and_reported_on_other_seeds(found: Result, tmp_path: Path) -> None:
    """x <- (1 - 2 lr) x: after three steps the loss is |x_0|^2 (1 - 2 lr)^6, least for the rate nearest to 1/2."""
    (one,) = found.tuned
    rates = [trial.point["optimizer.lr"] for trial in one.trials]
    best = min(rates, key=lambda lr: abs(1 - 2 * lr))
    assert one.chosen is not None
    assert one.chosen.point == {"optimizer.lr": best}
    optbench.sweep(*SPHERE, "optimizer.lr=0.25", "seeds=10", out=tmp_path, name="starts", least=99)
    at = starts(tmp_path / "starts")
    assert sorted(at) == list(range(10))
    for trial in one.trials:
        factor = (1 - 2 * trial.point["optimizer.lr"]) ** 6
        assert trial.cost == pytest.approx(factor * np.median([at[seed] for seed in (0, 1, 2)]), rel=1e-9)
    assert one.reported == pytest.approx([(1 - 2 * best) ** 6 * at[seed] for seed in range(3, 10)], rel=1e-9)
    default = yaml.safe_load(Path("conf/optimizer/gd.yaml").read_text())["lr"]
    assert default == "${by_problem:0.001,0.1}"
    assert one.defaults == pytest.approx([(1 - 2 * 0.001) ** 6 * at[seed] for seed in range(3, 10)], rel=1e-9)
    estimate = found.estimate(one.reported)
    assert (estimate.value, estimate.n) == (np.median(one.reported), 7)


def test_runs_that_stop_at_their_target_are_chosen_by_the_steps_to_it(tmp_path: Path) -> None:
    """x <- (1 - 2 lr) x meets the target after ceil(log(target / |x_0|^2) / log((1 - 2 lr)^2)) steps, the soonest for
    the rate nearest to 1/2; what it ends at is the target for all, and least for any."""
    words = ["model=sphere", "optimizer=gd", "trainer.steps=60", "trainer.start=random", "trainer.target=1e-3", RATES]
    found = tuned(tmp_path / "near", words, trials=8, report_seeds=6)
    (one,) = found.tuned
    at = starts(tmp_path / "near")
    assert (found.metric, one.chosen and one.chosen.point) == (
        "steps_to_target",
        min((trial.point for trial in one.trials), key=lambda point: abs(1 - 2 * point["optimizer.lr"])),
    )
    for trial in one.trials:
        shrinks = math.log((1 - 2 * trial.point["optimizer.lr"]) ** 2)
        steps = [math.ceil(math.log(1e-3 / at[seed]) / shrinks) for seed in (0, 1, 2)]
        assert trial.value == np.median([step if step <= 60 else math.inf for step in steps])
    far = tuned(tmp_path / "far", [*words[:2], "trainer.steps=3", *words[3:4], "trainer.target=1e-30", RATES], trials=8)
    (missed,) = far.tuned
    assert missed.chosen is not None
    assert missed.chosen.point == one.chosen.point, "nobody met the target: chosen by what the runs ended at"
    assert "no contender met its target on half of the fresh seeds" in tuned_lines(far)[-1]
    assert not any("works" in line for line in tuned_lines(far)), "no rate does"


def test_a_setting_has_its_runs_however_its_number_is_typed() -> None:
    """1 is 1.0 in the configuration of a run."""
    points: list[dict[str, Any]] = [
        {"optimizer.lr": 1, "optimizer.betas": [0, 0.5], "optimizer.weight_decay": 0},
        {"optimizer.lr": 0.5, "optimizer.betas": [0.25, 0.5], "optimizer.weight_decay": 0.5},
    ]
    plan = plan_sweep(["model=sphere", "optimizer=adam", "seeds=2", "trainer.start=random"], points=Points(points))
    assert len(plan) == 4
    made = [Made(item, records.Run({"run_id": item.run_id})) for item in plan]
    for point, own in zip(points, by_point(made, points), strict=True):
        wanted = {item.run_id for item in plan if item.config["optimizer"]["lr"] == point["optimizer.lr"]}
        assert {run.run_id for run in own} == wanted
        assert len(own) == 2


def test_the_words_say_what_was_chosen_what_it_is_worth_and_what_flatters(found: Result) -> None:
    """Of x <- (1 - 2 lr) x; the expected best of one trial is the mean of all, of all trials their best."""
    (one,) = found.tuned
    assert one.chosen is not None
    value, start = float(np.median(one.reported)), one.start
    assert start is not None
    lines = tuned_lines(found)
    (said,) = (line for line in lines if line.startswith("sphere: gd, lr "))
    assert lines[-1] == said == tuned_json(found)["answer"]
    assert said.endswith(", n = 7")
    assert float(said.split("final loss ")[1].split()[0]) == pytest.approx(value, rel=5e-3)
    (plain,) = tuned_json(found)["contenders"]
    assert plain["optimism"] == pytest.approx(value - one.chosen.value, rel=1e-12)
    curve, costs = plain["best_of"], [min(trial.cost, start) for trial in one.trials]
    assert [curve[0]["expected"], curve[-1]["expected"]] == pytest.approx([np.mean(costs), min(costs)])
    good = [t.point["optimizer.lr"] for t in one.trials if t.cost <= one.chosen.cost + 0.05 * (start - one.chosen.cost)]
    at = plain["rates_that_work"]
    assert (at["low"], at["high"], at["good"], at["tried"]) == (min(good), max(good), len(good), 8)
    text = "\n".join(lines)
    for words in ("optimism ", "best of k settings: 1: ", f"works: {len(good)} of 8 tried"):
        assert words in text


def test_no_seed_chooses_and_reports(found: Result) -> None:
    seeds: dict[str, set[int]] = {}
    for folder in found.task.folder.iterdir():
        if folder.is_dir():
            runs = records.read([folder]).runs()
            seeds[folder.name.partition("-")[0]] = {int(run.summary["seed"]) for run in runs}
    assert seeds == {"tuning": {0, 1, 2}, "report": set(range(3, 10)), "defaults": set(range(3, 10))}


def test_the_same_again_makes_no_run(found: Result) -> None:
    files = [path for path in found.task.folder.rglob("*") if path.is_file() and path.suffix in (".parquet", ".json")]
    before = {path: path.stat().st_mtime_ns for path in files if path.name != "sweep.json"}
    again = tuned(found.task.folder, [*SPHERE, RATES], trials=8, report_seeds=7)
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert tuned_json(again) == tuned_json(found)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["quasirandom", "halving"])
def test_an_interrupt_costs_no_bit(method: str, tmp_path: Path) -> None:
    words = [*SPHERE, "optimizer=gd,momentum", RATES]
    words.remove("optimizer=gd")
    options = {"trials": 6, "report_seeds": 3, "method": method}
    whole = tuned(tmp_path / "whole", words, **options)
    for sweeps in range(1, 5):
        stop, seen = Stop(), [0]

        def watch(count: int, label: str, stop: Stop = stop, seen: list[int] = seen, last: int = sweeps) -> Any:
            seen[0] += 1
            stop.requested = seen[0] > last
            return nullcontext(Silent())

        part = tuned(tmp_path / "parts", words, stop, watch, **options)
        assert part.stopped
    done = tuned(tmp_path / "parts", words, **options)
    first, second = tuned_json(done), tuned_json(whole)
    assert first.pop("folder") != second.pop("folder")
    assert first == second


def test_halving_spends_a_part_of_the_steps_on_most_settings(tmp_path: Path) -> None:
    words = [*(word for word in SPHERE if "steps" not in word), "trainer.steps=27", RATES]
    result = tuned(tmp_path, words, trials=9, report_seeds=2, method="halving")
    (one,) = result.tuned
    assert [trial.share for trial in one.trials] == [*[1 / 9] * 9, *[1 / 3] * 3, 1.0]
    assert one.evaluations == 3 * (9 * 3 + 3 * 9 + 27)
    assert one.best_of() is None  # later settings knew of earlier ones
    assert "No best of k settings: --method halving" in "\n".join(tuned_lines(result))


def test_a_contender_that_never_has_a_result_is_said_so(tmp_path: Path) -> None:
    words = [*SPHERE, "optimizer.lr=tag(log,interval(1e10,1e12))", "trainer.steps=60"]
    words.remove("trainer.steps=3")
    result = tuned(tmp_path, words, trials=2, report_seeds=2)
    assert result.tuned[0].chosen is None
    assert "none of 2 settings has a result" in "\n".join(tuned_lines(result))
    json.dumps(records.to_json(tuned_json(result)))


def test_the_end_of_a_range_is_told_with_a_wider_one(tmp_path: Path) -> None:
    words = [*SPHERE, "optimizer.lr=tag(log,interval(0.001,0.01))"]
    lines = tuned_lines(tuned(tmp_path, words, trials=32, report_seeds=2))
    (line,) = [line for line in lines if "end of its range" in line]
    assert "upper end" in line
    own = line.partition("--space '")[2].rstrip("'")
    task = task_of([*words, "optimizer=adam,gd"], tmp_path, own=[own])
    with Composer() as composer:
        spaces = {name: space for name, (space, _, _) in spaces_of(task, composer).items()}
    ((wider,), (as_it_was,)) = spaces["gd"], spaces["adam"]
    assert (wider.low, wider.log) == (0.001, True)
    assert wider.high > 0.02
    assert as_it_was.override() == words[-1]


def test_beyond_an_end_that_the_setting_does_not_take_nothing_is_proposed(tmp_path: Path) -> None:
    """Less momentum is slower here: the best is the largest, next to 1, which is refused."""
    words = [word for word in SPHERE if not word.startswith("optimizer=")]
    words += ["optimizer=book_momentum", "optimizer.lr=0.001", "optimizer.momentum=interval(0.5,0.99)"]
    result = tuned(tmp_path, words, trials=32, report_seeds=2)
    (line,) = [line for line in tuned_lines(result) if "end of its range" in line]
    assert line.endswith("at the upper end of its range")
    (contender,) = tuned_json(result)["contenders"]
    assert [one["space"] for one in contender["edges"]] == [None]


@pytest.mark.parametrize(("own", "why"), [
    ("adam:optimizer.lr=interval(0.1,1)", "no contender is called adam"),
    ("gd", "expected NAME:KEY=INTERVAL"),
    ("gd:optimizer.lr=0.1", "it has one value"),
    ("gd:optimizer.eps=1e-8,1e-4", "gd has no optimizer.eps"),
])  # fmt: skip
def test_what_space_does_not_take(own: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=why):
        spaces_of(task_of([*SPHERE, RATES], tmp_path, own=[own]))


def test_lines_fit_and_name_the_ranges(found: Result) -> None:
    lines = tuned_lines(found)
    table = lines[2:4]
    assert max(map(len, table)) <= 80
    assert "seeds 0-2" in lines[0]
    assert "seeds 3-9" in lines[0]
    assert any(RATES in line and "as given" in line for line in lines)


# spaces --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def composer() -> Iterator[Composer]:
    with Composer() as made:
        yield made


@pytest.mark.parametrize("name", members.names("optimizer"))
def test_every_optimizer_says_what_is_to_be_tuned(name: str, composer: Composer) -> None:
    """On both kinds of problem, with its source, and with its own default in the range."""
    for model, network in (("sphere", False), ("mlp", True)):
        said = searched("optimizer", name, network)
        assert said
        assert all(one.source for one in said)
        space, fixed = composer.space([one.override for one in said])
        config = composer.compose([f"model={model}", f"optimizer={name}"]).config
        assert not fixed
        for one in space:
            default = config["optimizer"][one.key.removeprefix("optimizer.")]
            assert one.low <= default <= one.high, (name, model, one)


def test_every_optimizer_of_the_zoo_says_what_is_to_be_tuned(composer: Composer) -> None:
    """As the others, by its YAML alone: its package need not be there."""
    for name, network in itertools.product(members.zoo(), (False, True)):
        given, said = members.read("optimizer", name), searched("optimizer", name, network)
        assert said or "no rate to set" in first_comment(members.CONF / "optimizer" / f"{name}.yaml"), name
        assert all(one.source for one in said), name
        space, fixed = composer.space([one.override for one in said])
        assert not fixed, name
        for one in space:
            default = str(given[one.key.removeprefix("optimizer.")])
            if either := re.fullmatch(r"\$\{by_problem:([^,]+),([^,]+)\}", default):
                default = either[1 + network]
            assert one.low <= float(default) <= one.high, (name, network, one)


OWN = "# mine\n{line}\n_target_: torch.optim.SGD\n_partial_: true\nlr: 0.1\n"


@pytest.mark.parametrize(("line", "words"), [
    ("# tune: optimizer.lr = 3", "expected # tune: key="),
    ("# tune: optimizer.lr=0.1", "has one value"),
    ("# tune: optimizer.lr=interval(2,1)", "low < high"),
    ("# tune on a boat: optimizer.lr=interval(1,2)", "expected # tune"),
    ("# nothing", "nothing is said about what to tune"),
])  # fmt: skip
def test_a_space_of_ones_own_that_is_none(line: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "optimizer").mkdir()
    (tmp_path / "optimizer" / "mine.yaml").write_text(OWN.format(line=line))
    with pytest.raises(OptbenchError) as error:
        tuned(tmp_path / "out", ["model=sphere", "optimizer=mine"], config_dirs=[tmp_path])
    assert words in f"{error.value.message} {error.value.hint}"
    assert not (tmp_path / "out").exists()


def test_an_optimizer_of_ones_own_is_tuned_beside_ours(tmp_path: Path) -> None:
    (tmp_path / "optimizer").mkdir()
    text = OWN.format(line="# tune: optimizer.lr=tag(log,interval(1e-3,0.9))  (mine)")
    (tmp_path / "optimizer" / "mine.yaml").write_text(text)
    words = ["model=sphere", "optimizer=mine", "trainer.steps=3", "trainer.start=random"]
    result = tuned(tmp_path / "out", words, config_dirs=[tmp_path], against=["gd"], trials=4, report_seeds=2)
    assert {one.name for one in result.tuned} == {"mine", "gd"}
    assert all(len(one.trials) == 4 and len(one.reported) == 2 for one in result.tuned)


# the command ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("words", "message"), [
    (["--method", "magic"], "--method magic: expected"),
    (["trainer.start=usual"], "every seed makes the same run here"),
    (["seeds=3"], "the seeds are divided here"),
    (["seed=1"], "the seeds are divided here"),
    (["optimizer=adamm"], "adamm"),
    (["--name", "a/b"], "--name a/b"),
    (["optimizer.lr=interval(3,1)"], "low < high"),
    (["optimizer.lrr=interval(1,3)"], "lrr"),
])  # fmt: skip
def test_mistakes(words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = invoke(capsys, "tune", "model=sphere", "trainer.start=random", *words, "--out", tmp_path / "out")
    assert (code, out) == (2, "")
    assert message in err
    assert not (tmp_path / "out").exists()


def test_a_suite_is_tuned_problem_by_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    problems = "suite:\n  - {model: sphere, model.dim: 3}\n  - {model: rosenbrock, trainer.steps: 2}\n"
    sweep = "hydra:\n  sweeper:\n    params:\n      optimizer.lr: 1e-3,1e-2\n      seed: range(4)\n"
    file = tmp_path / "mine" / "experiment" / "two.yaml"
    file.write_text(f"# @package _global_\n# two\ntrainer:\n  start: random\n{problems}{sweep}")
    words = ["tune", "experiment=two", "--config-dir", tmp_path / "mine", "optimizer=gd", "--trials", "2"]
    words += ["--tune-seeds", "1", "--report-seeds", "2", "--out", tmp_path / "out", "--json"]
    code, out, _ = invoke(capsys, *words)
    found = json.loads(out)
    assert code == 0
    assert [one["problem"] for one in found] == ["sphere dim=3", "rosenbrock steps=2"]
    rates = {trial["setting"]["optimizer.lr"] for one in found for trial in one["contenders"][0]["trials"]}
    assert not rates & {1e-3, 1e-2}  # what is searched is what the YAML of gd says, not the experiment's own sweep
    runs = records.read([tmp_path / "out"]).runs()
    assert len(runs) == 2 * (2 * 1 + 2 * 2)
    assert {(run.summary["model"], run.summary["steps"]) for run in runs} >= {("rosenbrock", 2)}
    code, out, err = invoke(capsys, *words, "model=peaks")
    assert (code, out) == (2, "")
    assert "model is set by the suite and by an override" in err


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["tune", *SPHERE, RATES, "--trials", "4", "--report-seeds", "3", "--out", tmp_path]
    code, out, _ = invoke(capsys, *words, "--dry-run", "--json")
    plan = json.loads(out)
    assert (code, plan["runs"]) == (0, 4 * 3 + 2 * 3)
    assert not list(tmp_path.iterdir())
    code, out, _ = invoke(capsys, *words, "--json")
    found = json.loads(out, parse_constant=lambda word: pytest.fail(word))
    assert code == 0
    assert len(records.read([tmp_path])) == plan["runs"]
    assert found["contenders"][0]["chosen"]["value"] == min(t["value"] for t in found["contenders"][0]["trials"])
    assert len(found["contenders"][0]["reported"]["runs"]) == 3


@pytest.mark.slow
def test_a_network_is_tuned_by_its_accuracy(tmp_path: Path) -> None:
    words = ["model=mlp", "model.hidden=[16]", "data.image_size=8", "trainer.epochs=2", "optimizer=sgd",
             "trainer.threads=1", "optimizer.lr=tag(log,interval(1e-6,1))"]  # fmt: skip
    result = tuned(tmp_path, words, trials=4, tuning_seeds=2, report_seeds=2)
    (one,) = result.tuned
    assert (result.metric, result.direction) == ("best_val_accuracy", 1)
    assert one.chosen is not None
    assert one.chosen.value == max(trial.value for trial in one.trials)
    assert one.chosen.cost == -one.chosen.value
    assert all(0 <= value <= 1 and not math.isnan(value) for value in one.reported)


# what compare makes of it ---------------------------------------------------------------------------------------------


def test_compare_reports_a_tuning_on_the_seeds_that_chose_nothing(found: Result) -> None:
    (one,) = found.tuned
    plain = optbench.compare(found.task.folder)
    assert any("runs that chose a setting flatter it: gd lr=" in line for line in plain.warnings)
    (group,) = optbench.compare(found.task.folder, group_by="optimizer").groups
    assert set(group.rows.values("seed")) == set(found.task.report)
    assert group.statistics["final_loss"].value == np.median(one.reported)
    assert group.tuned is not None
    assert group.tuned.chosen == {"optimizer.lr": one.chosen.point["optimizer.lr"]}


def test_compare_of_the_report_alone_has_nothing_to_warn_of(found: Result) -> None:
    folder = found.task.folder / "report-gd"
    assert not any("flatter" in line for line in optbench.compare(folder).warnings)
    assert optbench.compare(folder, group_by="optimizer").groups[0].n == 7
    only = found.task.folder / "tuning-gd"  # nothing to report on but the tuning itself: each seed's others choose
    assert optbench.compare(only, group_by="optimizer").groups[0].n == 3


def test_compare_says_whom_a_tuning_did_not_report(tmp_path: Path) -> None:
    words = [*SPHERE, "optimizer.lr=tag(log,interval(1e-3,0.9))"]
    words[1] = "optimizer=gd,rmsprop"
    tuned(tmp_path, words, trials=4, report_seeds=2)
    for folder in (*tmp_path.glob("report-rmsprop*"), *tmp_path.glob("defaults-rmsprop*")):
        shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
    found = optbench.compare(tmp_path, group_by="optimizer")
    assert [group.label for group in found.groups] == ["gd"]
    (said,) = [line for line in found.warnings if "left out" in line]
    assert said == "sphere: left out: rmsprop: no run on other seeds (0..2 are the tuning's); --pool takes all runs"
    with pytest.raises(OptbenchError) as error:
        optbench.compare(tmp_path, group_by="optimizer", filters=["optimizer=rmsprop"], tune_seeds="0..2")
    assert error.value.message == "--tune-seeds: rmsprop has no run on other seeds"
