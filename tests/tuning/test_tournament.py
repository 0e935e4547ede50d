"""A tournament: closed forms, budgets, interrupts, what it says against what its records say, what is refused."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_tools import invoke
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import optbench
from optbench import compare, records
from optbench.config import Composer
from optbench.errors import RecordError, UserError
from optbench.experiment import Stop
from optbench.experiment.plan import plan_sweep
from optbench.launch.sweep import Options, Silent, SweepWatcher, sweep
from optbench.metrics.pairs import verdicts
from optbench.protocol import around_name
from optbench.records.sweep_plan import NAME as PLAN
from optbench.records.sweep_plan import read_plans
from optbench.tuning.answer import answer_json, answer_lines, sentence, works_of
from optbench.tuning.budget import Budget, Rate, ladder, runs_of, seconds_of_run, size_of_runs, size_of_seconds
from optbench.tuning.course import curvature_along
from optbench.tuning.decided import NAME, Decided
from optbench.tuning.endings import ending
from optbench.tuning.runs import Made, Trial
from optbench.tuning.tournament import Found, Tournament, entrants_of, question_of
from optbench.tuning.tune import Tuned, spaces_of, tasks_of

RATES = "optimizer.lr=tag(log,interval(0.01,0.9))"
SPHERE = ["model=sphere", "trainer.steps=9", "trainer.start=random", "trainer.grad_tol=0", RATES]


def held(
    folder: Path, overrides: list[str], budget: str, stop: Stop | None = None, watch: Any = None, **more: Any
) -> Found:
    question = question_of(overrides, folder, Budget.read(budget))
    watching = watch or (lambda count, label: nullcontext(Silent()))
    return Tournament(question, stop or Stop(), watching, Options(least=2, recorded=50), {"jobs": 1}, **more).run()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return held(tmp_path_factory.mktemp("which"), [*SPHERE, "optimizer=gd,adam"], "90runs")


def test_gd_on_a_quadratic_goes_on_with_the_rate_nearest_to_one_half(found: Found) -> None:
    """x <- (1 - 2 lr) x, so that every rung ranks rates by |1 - 2 lr|, whatever its length."""
    (gd,) = (one for one in found.entrants if one.choices["optimizer"] == "gd")
    rates = [trial.point["optimizer.lr"] for trial in gd.rungs[0]]
    order = sorted(rates, key=lambda lr: abs(1 - 2 * lr))
    for number, rung in found.rungs.items():
        assert sorted(trial.point["optimizer.lr"] for trial in gd.rungs[number]) == sorted(order[: rung.settings])
    assert gd.best is not None
    assert gd.best.point == {"optimizer.lr": order[0]}
    assert found.final.tuned[0].name == "gd"


def test_every_planned_run_is_recorded_once_and_no_more_than_the_budget(found: Found) -> None:
    assert found.size is not None
    planned = runs_of(2, 9, found.size)
    runs = [run for path in found.question.folder.iterdir() if path.is_dir() for run in records.read([path]).runs()]
    assert found.runs == planned == len({run.run_id for run in runs}) == len(runs)
    assert 90 - len(found.final.tuned) < planned <= 90
    seeds = {False: set(), True: set()}  # type: dict[bool, set[int]]
    for run in runs:
        seeds[str(run.summary["sweep"]).startswith("report-")].add(int(run.summary["seed"]))
    assert seeds[False] <= {0, 1, 2}
    assert seeds[True] == set(found.final.task.report)


def test_the_sentence_says_what_the_records_say(found: Found) -> None:
    runs = sorted(records.read([found.question.folder / "report-9steps"]).runs(), key=lambda run: run.summary["seed"])
    values = {
        name: np.array([float(run.summary["final_loss"]) for run in runs if run.summary["optimizer"] == name])
        for name in ("gd", "adam")
    }
    n, gd, adam = len(values["gd"]), values["gd"], values["adam"]
    (said, against) = sentence(found).split("; ")
    match = re.fullmatch(r"sphere: gd, lr (\S+): final loss (\S+) \[(\S+), (\S+)\], n = (\d+)", said)
    assert match is not None
    assert float(match[2]) == pytest.approx(np.median(gd), rel=5e-3)
    assert int(match[5]) == n
    k = max(k for k in range(n // 2) if 1 - 2 * stats.binom.cdf(k, n, 0.5) >= 0.95)
    assert [float(match[3]), float(match[4])] == pytest.approx([np.sort(gd)[k], np.sort(gd)[n - 1 - k]], rel=5e-3)
    p = stats.wilcoxon(gd, adam).pvalue
    assert p < 0.05
    walsh = [(a + b) / 2 for a in gd - adam for b in gd - adam]
    assert against.startswith("better than adam by ")
    assert float(against.split()[4]) == pytest.approx(-np.median(walsh), rel=0.1)


def test_compare_of_the_folder_reports_what_the_tournament_reports(found: Found) -> None:
    """Short runs chose too; what compare reports of a finalist is its report, whatever a short run looked like."""
    groups = {group.label: group for group in compare(found.question.folder, group_by="optimizer").groups}
    assert set(groups) == {one.name for one in found.final.tuned}
    for one in found.final.tuned:
        assert groups[one.name].statistics["final_loss"].value == np.median(one.reported)
        assert groups[one.name].n == len(one.reported)
        seen = groups[one.name].tuned
        assert seen is not None
        assert "trainer.steps" not in {edge.key for edge in seen.edges}


def test_the_same_again_makes_no_run(found: Found) -> None:
    files = list(found.question.folder.rglob("*.parquet"))
    assert files
    before = {path: path.stat().st_mtime_ns for path in files}
    again = held(found.question.folder, [*SPHERE, "optimizer=gd,adam"], "90runs")
    assert before == {path: path.stat().st_mtime_ns for path in before}
    first, second = answer_json(again), answer_json(found)
    assert first.pop("seconds") >= second.pop("seconds")
    assert first == second


@pytest.mark.slow
def test_an_interrupt_costs_no_bit(tmp_path: Path) -> None:
    words = [*SPHERE, "optimizer=gd,momentum"]
    whole = answer_json(held(tmp_path / "whole", words, "40runs"))
    for sweeps in (0, 1, 3):  # of three rungs and a final
        stop, seen = Stop(), [0]

        def watch(count: int, label: str, stop: Stop = stop, seen: list[int] = seen, last: int = sweeps) -> Any:
            seen[0] += 1
            stop.requested = seen[0] > last
            return nullcontext(Silent())

        part = held(tmp_path / "parts", words, "40runs", stop, watch)
        assert part.final.stopped
        assert "interrupted before" in sentence(part)
    done = answer_json(held(tmp_path / "parts", words, "40runs"))
    for one in (whole, done):
        del one["folder"], one["seconds"]
    assert done == whole


@pytest.mark.slow
def test_a_contender_that_diverges_everywhere_is_out_with_its_reason(tmp_path: Path) -> None:
    """gd at a rate of 3 multiplies by -5 an update; adam's steps are bounded, whatever the rate."""
    words = ["model=sphere", "trainer.steps=900", "trainer.start=random", "optimizer.lr=interval(2.9,3)"]
    made = held(tmp_path, [*words, "optimizer=gd,adam"], "40runs")
    (gd,) = (one for one in made.entrants if one.name == "gd")
    assert gd.best is None
    assert list(gd.rungs) == [0]
    assert set(gd.endings.counts) == {"diverged"}
    assert [one.name for one in made.final.tuned] == ["adam"]
    text = "\n".join(answer_lines(made))
    assert "gd (out after 100 steps; no setting has a result):\n    all" in text
    assert "diverged" in text
    json.dumps(records.to_json(answer_json(made)))


# time ----------------------------------------------------------------------------------------------------------------


class Clock:
    """Seconds that pass by runs alone."""

    def __init__(self, a_run: float) -> None:
        self.now, self.a_run, self.runs = 0.0, a_run, 0

    def __call__(self) -> float:
        return self.now

    def watch(self, count: int, label: str) -> Any:
        clock = self

        class Watcher(SweepWatcher):
            done = 0

            def already(self, done: int) -> None:
                Watcher.done = done

        @contextmanager
        def watching() -> Iterator[SweepWatcher]:
            yield Watcher()
            clock.runs += count - Watcher.done
            clock.now += (count - Watcher.done) * clock.a_run

        return watching()


@pytest.mark.slow
@pytest.mark.parametrize(("budget", "a_run"), [(25, 1.0), (600, 10.0)])
def test_a_budget_of_time_is_kept_and_its_plan_is_followed(budget: int, a_run: float, tmp_path: Path) -> None:
    clock = Clock(a_run)
    words = [*SPHERE, "optimizer=gd,adam"]
    made = held(tmp_path, words, f"{budget}s", watch=clock.watch, clock=clock)
    assert 0.8 * budget <= clock.now <= 1.1 * budget
    assert made.final.tuned
    assert made.spent == clock.now
    assert made.runs == clock.runs
    assert answer_lines(made)
    slower = Clock(1000 * a_run)
    again = held(tmp_path, words, f"{budget}s", watch=slower.watch, clock=slower)
    assert slower.runs == 0
    assert answer_json(again) == answer_json(made)


@pytest.mark.slow
def test_a_budget_of_time_that_an_interrupt_divides(tmp_path: Path) -> None:
    clock, stop, words = Clock(1.0), Stop(), [*SPHERE, "optimizer=gd,adam"]

    def watch(count: int, label: str) -> Any:
        stop.requested = clock.now > 9
        return clock.watch(count, label)

    held(tmp_path, words, "40s", stop, watch, clock=clock)
    spent, second = clock.now, Clock(1.0)
    asked = json.loads((tmp_path / NAME).read_text())["asked"]
    assert Decided.read(tmp_path, asked, Budget(seconds=40.0)).spent == spent
    made = held(tmp_path, words, "40s", watch=second.watch, clock=second)
    assert made.final.tuned
    assert 0.8 * 40 <= spent + second.now <= 44


def test_a_time_that_is_too_short_ends_without_an_answer(tmp_path: Path) -> None:
    clock = Clock(10.0)
    made = held(tmp_path, [*SPHERE, "optimizer=gd,adam"], "5s", watch=clock.watch, clock=clock)
    assert not made.final.tuned
    assert "the budget ended before" in answer_lines(made)[0]
    assert clock.runs <= 2


@pytest.mark.slow
def test_an_edited_plan_is_refused(tmp_path: Path) -> None:
    held(tmp_path, [*SPHERE, "optimizer=gd,adam"], "20runs")
    file = tmp_path / NAME
    file.write_text(file.read_text().replace('"spent": ', '"spent": 1'))
    with pytest.raises(RecordError, match="changed after it was written"):
        held(tmp_path, [*SPHERE, "optimizer=gd,adam"], "20runs")


def test_a_folder_of_another_tournament_is_refused(tmp_path: Path) -> None:
    held(tmp_path, [*SPHERE, "optimizer=gd,adam"], "20runs")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for words, budget, message in [
        (
            [*SPHERE, "optimizer=gd,lion"],
            "20runs",
            r"another tournament: optimizer=gd,adam .* there, optimizer=gd,lion",
        ),
        ([*SPHERE, "optimizer=gd,adam"], "19runs", r"--budget 19runs: .* holds this tournament with --budget 20runs"),
        ([*SPHERE, "optimizer=gd,adam"], "10m", r"--budget 10m: .* holds this tournament with --budget 20runs"),
    ]:
        with pytest.raises(UserError, match=message):
            held(tmp_path, words, budget)
    assert before == {path: path.read_bytes() for path in before}


@pytest.mark.slow
@pytest.mark.parametrize("budgets", [(20, 23), (17, 60)])
def test_a_larger_budget_goes_on_with_what_there_is(budgets: tuple[int, ...], tmp_path: Path) -> None:
    """Nothing is run twice, no run is lost but reports of settings that are no longer the best, and the whole costs
    what the last budget says; the same again changes nothing."""
    words = [*SPHERE, "optimizer=gd,adam"]
    ids: set[str] = set()
    for budget in budgets:
        made = held(tmp_path, words, f"{budget}runs")
        runs = [run for path in tmp_path.iterdir() if path.is_dir() for run in records.read([path]).runs()]
        now = {run.run_id for run in runs}
        assert len(now) == len(runs) <= budget
        assert ids <= now
        assert (made.taken, made.runs) == (len(ids), len(now) - made.idle)
        idle = [run for run in runs if run.run_id not in _counted(made)]
        assert made.idle == len(idle)
        best = {one.name: one.best.point["optimizer.lr"] for one in made.entrants if one.best is not None}
        for run in idle:
            assert str(run.summary["sweep"]).startswith("report-")
            assert run.config["optimizer"]["lr"] != best[run.summary["optimizer"]]
        again = held(tmp_path, words, f"{budget}runs")
        assert {k: v for k, v in answer_json(again).items() if k != "seconds"} == {
            k: v for k, v in answer_json(made).items() if k != "seconds"}  # fmt: skip
        ids = now
    assert len(made.before) == len(budgets) - 1
    assert f"Goes on from --budget {budgets[-2]}runs" in "\n".join(answer_lines(made))
    values = [one.reported for one in made.final.reported_all()]
    told = [pair.p for pair in made.final.pairs()]
    assert told == [pair.p for pair in verdicts(values, anytime=True)]
    assert told > [pair.p for pair in verdicts(values)], "who looks twice has twice the chance"
    assert "Bets that hold though smaller budgets were looked at" in "\n".join(answer_lines(made))


def _counted(made: Found) -> set[str]:
    """The runs that a tournament speaks of, by what it says that each contender had."""
    found = set()
    for run in (run for path in made.question.folder.iterdir() if path.is_dir() for run in records.read([path]).runs()):
        (one,) = (one for one in made.entrants if one.choices["optimizer"] == run.summary["optimizer"])
        rate, seed = run.config["optimizer"]["lr"], run.summary["seed"]
        lengths = {rung.length: number for number, rung in made.rungs.items()}
        if str(run.summary["sweep"]).startswith("report-"):
            if one.reported and one.best is not None and one.best.point["optimizer.lr"] == rate:
                found |= {run.run_id} if seed in made.final.task.report else set()
            continue
        number = lengths[run.config["trainer"]["steps"]]
        if any(t.point["optimizer.lr"] == rate for t in one.rungs.get(number, [])) and seed < made.seeds[number]:
            found.add(run.run_id)
    return found


@pytest.mark.slow
def test_a_larger_budget_of_time_goes_on(tmp_path: Path) -> None:
    words, spent, runs = [*SPHERE, "optimizer=gd,adam"], 0.0, 0
    for budget in (6, 80):
        clock = Clock(1.0)
        made = held(tmp_path, words, f"{budget}s", watch=clock.watch, clock=clock)
        assert clock.now == clock.runs  # of what there was, nothing was run again
        spent, runs = spent + clock.now, runs + clock.runs
        assert 0.7 * budget <= spent <= 1.1 * budget
        assert made.spent == spent
        assert runs == made.runs + made.idle
    assert made.before == ("6s",)
    assert made.final.tuned


def test_what_contenders_try_in_a_rung_is_one_sweep(tmp_path: Path) -> None:
    counts: list[int] = []

    def watch(count: int, label: str) -> Any:
        counts.append(count)
        return nullcontext(Silent())

    made = held(tmp_path, [*SPHERE, "optimizer=gd,adam"], "20runs", watch=watch)
    assert len(counts) == len(made.rungs) + 1
    assert sum(counts) == made.runs
    for path in (path for path in tmp_path.iterdir() if path.is_dir()):  # of each the command that repeats it
        plans = read_plans(path / PLAN)
        assert sum(plan.count for plan in plans) == len(records.read([path]))
        assert all(Path(plan.options["--points"][0]).exists() for plan in plans)


# sizes ---------------------------------------------------------------------------------------------------------------


@given(st.integers(1, 3000), st.integers(2, 40), st.integers(1, 2000))
def test_a_size_has_at_most_the_budgets_runs(budget: int, contenders: int, whole: int) -> None:
    try:
        size = size_of_runs(budget, contenders, whole)
    except UserError:
        return
    assert runs_of(contenders, whole, size) <= budget
    rungs = ladder(contenders, whole, size)
    assert [rung.length for rung in rungs] == sorted({rung.length for rung in rungs})
    assert (rungs[0].contenders, rungs[-1].length, rungs[-1].share) == (contenders, whole, 1.0)
    assert all(a.contenders >= b.contenders and a.settings >= b.settings for a, b in itertools.pairwise(rungs))


@given(st.floats(0.1, 1e5), st.integers(2, 40), st.integers(1, 100), st.floats(1e-3, 10))
def test_a_size_fits_into_the_time_or_is_the_smallest(left: float, contenders: int, whole: int, a_run: float) -> None:
    size = size_of_seconds(left, contenders, whole, {whole: Rate(a_run)})
    cost = sum(size.tuning * rung.runs * rung.share for rung in ladder(contenders, whole, size))
    cost += min(size.finalists, contenders) * size.report
    assert cost * a_run <= left * (1 + 1e-9) or size.settings == 1


def test_the_start_of_a_run_costs_once_and_updates_in_proportion() -> None:
    rates = {3: Rate(2.0, 1.5), 27: Rate(5.0)}
    assert seconds_of_run(rates, 6) == 0.5 + 1.5 * 2
    assert seconds_of_run(rates, 54) == 10.0
    assert [Rate(9.0, 1.5).without_start(), Rate(2.0, 1.5).without_start(), Rate(9.0).without_start()] == [
        Rate(3.0, 1.5), Rate(2.0, 1.5), Rate(9.0)]  # fmt: skip


@pytest.mark.parametrize("text", ["", "10", "0s", "0runs", "-3s", "1e3s", "10 m", "5days", "1.5runs"])
def test_a_budget_that_is_none(text: str) -> None:
    with pytest.raises(UserError, match="expected a time or a number of runs"):
        Budget.read(text)


def test_budgets() -> None:
    assert [Budget.read(text) for text in ("200runs", "90s", "1.5h", "10m")] == [
        Budget(200), Budget(seconds=90.0), Budget(seconds=5400.0), Budget(seconds=600.0)]  # fmt: skip


# why -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("curve", "word"), [
    ([1 - i / 200 for i in range(100)], "still falling"),
    ([1 + i / 200 for i in range(100)], "rising"),
    ([1.0] * 100, "on a plateau"),
    ([1.0 + 0.5 * (-1) ** i - i * 1e-3 for i in range(100)], "on a plateau"),
    ([1.0, 0.5], "completed"),
])  # fmt: skip
def test_the_last_tenth_of_a_curve(curve: list[float], word: str) -> None:
    run = records.Run({"status": "completed"})
    assert ending(run, curve) == word


def test_the_curvature_of_a_sphere_is_two_everywhere(found: Found) -> None:
    for one in found.entrants:
        assert [(at.lambda_min, at.lambda_max) for at in one.curvature] == [(2.0, 2.0)] * len(one.curvature)
        assert [at.step for at in one.curvature] == [0, 4, 9]
        assert one.endings.gradient is not None
        first, _, last = one.endings.gradient
        assert last < first
    text = "\n".join(answer_lines(found))
    assert "\n    curvature 2 to 2, half way 2 to 2, at the end 2 to 2\n" in text


@pytest.mark.slow
def test_a_place_without_time_for_it_is_left_out(found: Found) -> None:
    """As long as the one before took, which is more than nothing."""
    task = found.final.task
    (planned,) = plan_sweep([*SPHERE[:4], "optimizer=gd", "seed=4"], out=task.folder)
    run = optbench.run(*SPHERE[:4], "optimizer=gd", "seed=4", out=task.folder)
    assert [at.step for at in curvature_along(Made(planned, run))] == [0, 4, 9]
    assert [at.step for at in curvature_along(Made(planned, run), lambda: 0.0)] == [0]


def test_the_curvature_along_a_run_is_what_the_loop_measures(tmp_path: Path) -> None:
    """Of a stacked or single network from its checkpoints, of a row from its recorded points."""
    network = ["model=mlp", "model.hidden=[16]", "data.image_size=8", "trainer.epochs=2", "scheduler=constant",
               "trainer.batch_size=300", "trainer.threads=1"]  # fmt: skip
    surface = ["model=rosenbrock", "trainer.steps=40", "trainer.start=random", "scheduler=constant"]
    for number, words in enumerate((network, surface)):
        made = held(tmp_path / str(number), [*words, "optimizer=momentum,adam"], "14runs")
        best = made.final.tuned[0]
        (one,) = (one for one in made.entrants if one.name == best.name)
        assert one.best is not None
        assert one.curvature
        rate = one.best.point["optimizer.lr"]
        rest = [f"{key}={value}" for key, value in one.best.point.items() if key != "optimizer.lr"]
        (run,) = sweep(*words, f"optimizer={one.choices['optimizer']}", f"optimizer.lr={rate}", *rest, "seed=3",
                       "trainer.curvature_every=1", out=tmp_path / f"loop{number}")  # fmt: skip
        curve = run.curve().set_index("step")
        for at in one.curvature:
            for name in ("lambda_min", "lambda_max"):
                assert getattr(at, name) == pytest.approx(curve[name][at.step], rel=2e-3, abs=1e-3)


def test_rates_that_work_reach_as_far_as_the_closed_form_says(found: Found) -> None:
    (gd,) = (one for one in found.entrants if one.choices["optimizer"] == "gd")
    at = works_of(found, gd)
    assert at is not None
    length = found.rungs[0].length
    good = [t.point["optimizer.lr"] for t in gd.rungs[0] if (1 - 2 * t.point["optimizer.lr"]) ** (2 * length) < 0.03]
    assert at.tried == len(gd.rungs[0])
    assert at.low <= min(good) <= max(good) <= at.high


# the command ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("words", "message"), [
    (["--budget", "10"], "--budget 10: expected"),
    (["--budget", "3runs"], "the smallest tournament of 6 has"),
    (["trainer.start=usual"], "every seed makes the same run here"),
    (["seeds=3"], "the seeds are divided here"),
    (["optimizer=gd"], "at least two contenders"),
    (["optimizer=gd,adamm"], "adamm"),
    (["model=sphere,rosenbrock"], "one problem"),
    (["loss=surface,cross_entropy"], "compared by accuracy"),
    (["--name", "a/b"], "--name a/b"),
])  # fmt: skip
def test_mistakes_of_a_tournament(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = [] if any(w.startswith("model=") for w in words) else ["model=sphere"]
    code, out, err = invoke(capsys, "which", *plain, "trainer.start=random", *words, "--out", tmp_path / "out")
    assert (code, out) == (2, "")
    assert message in err
    assert not (tmp_path / "out").exists()


def test_the_command_which(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["which", *SPHERE, "optimizer=gd,adam", "--budget", "25runs", "--out", tmp_path]
    code, out, _ = invoke(capsys, *words, "--dry-run", "--json")
    plan = json.loads(out)
    assert (code, plan["decided"]) == (0, True)
    assert not list(tmp_path.iterdir())
    code, out, _ = invoke(capsys, *words, "--json")
    made = json.loads(out, parse_constant=lambda word: pytest.fail(word))
    assert code == 0
    assert made["runs"] == plan["runs"] == len(records.read([tmp_path])) <= 25
    assert made["answer"].startswith("sphere: ")
    code, out, _ = invoke(capsys, *words, "--quiet")
    assert code == 0
    assert out.splitlines()[0] == made["answer"]


@pytest.mark.slow
@pytest.mark.parametrize("network", [False, True])
def test_the_usual_contenders_are_there_and_say_what_is_to_be_tuned(network: bool, tmp_path: Path) -> None:
    from optbench.tuning.tournament import ON_NETWORKS, ON_SURFACES, SCHEDULERS

    words = ["model=mlp", "data=digits"] if network else ["model=sphere", "trainer.start=random"]
    names = [one.choices for one in entrants_of(question_of(words, tmp_path, Budget(9)))]
    assert [one["optimizer"] for one in names] == [*(ON_NETWORKS * 2 if network else ON_SURFACES)]
    assert {one["scheduler"] for one in names} == set(SCHEDULERS if network else ("constant",))


@pytest.mark.slow
@pytest.mark.parametrize("words", [
    ["which", "optimizer=gd,adam", "--budget", "14runs"],
    ["tune", "optimizer=gd", "--trials", "2", "--tune-seeds", "1", "--report-seeds", "2"],
])  # fmt: skip
def test_a_callback_is_told_of_each_run_once(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "events.jsonl", tmp_path / "out"
    command = [words[0], *SPHERE, *words[1:], "--out", out, "--callback", f"jsonl:file={file}"]
    code, _, _ = invoke(capsys, *command, "--quiet")
    runs = {run.run_id for run in records.read([out]).runs()}
    events = [json.loads(line) for line in file.read_text().splitlines()]
    assert code == 0
    for kind in ("begin", "end"):
        told = [one["run_id"] for one in events if one["event"] == kind]
        assert sorted(told) == sorted(runs)
    code, _, err = invoke(capsys, *command[:-1], "nobody", "--quiet")
    assert (code, "there is no callback 'nobody'" in err) == (2, True)


@pytest.mark.slow
def test_what_is_around_an_optimizer_competes_and_is_in_its_name(tmp_path: Path) -> None:
    words = ["model=sphere", "trainer.start=random", "optimizer=gd,adam"]
    for wraps, names in [
        (
            "wrap=none,sam,[clip,lookahead]",
            ["gd", "adam", "gd+sam", "adam+sam", "gd+clip+lookahead", "adam+clip+lookahead"],
        ),
        ("wrap=sam", ["gd+sam", "adam+sam"]),
    ]:
        made = entrants_of(question_of([*words, wraps], tmp_path, Budget(90)))
        assert [one.name for one in made] == names
        (task,) = tasks_of([*words, wraps], tmp_path)
        assert {around_name(one.choices) for _, _, one in spaces_of(task).values()} == set(names)
        assert len({one.planned.run_id for one in made}) == len({one.slug for one in made}) == len(names)
    (task,) = tasks_of([*words[:2], "optimizer=adam"], tmp_path, against=["adam+sam"])
    assert [around_name(one.choices) for _, _, one in spaces_of(task).values()] == ["adam", "adam+sam"]


def test_a_run_that_fails_is_counted_once_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the pilot and in the first rung it is the same run; the command ends with the exit code of a sweep."""
    (tmp_path / "optimizer").mkdir()
    tuned = "# mine\n# tune: optimizer.lr=interval(0.1,0.2)  (mine)\n"
    text = f"{tuned}_target_: breaking.Breaking\n_partial_: true\nlr: 0.1\n"
    (tmp_path / "optimizer" / "breaking.yaml").write_text(text)
    (tmp_path / "breaking.py").write_text(
        "import torch\n\n\nclass Breaking(torch.optim.SGD):\n"
        "    def step(self, closure):\n        raise ArithmeticError('broken on purpose')\n"
    )
    words = ["model=sphere", "trainer.steps=3", "trainer.start=random", "optimizer=gd,breaking"]
    more = ["--config-dir", tmp_path, "--budget", "14runs", "--out", tmp_path / "out"]
    code, out, _ = invoke(capsys, "which", *words, *more, "--json")
    made = json.loads(out)
    (mine,) = (one for one in made["contenders"] if one["contender"] == "breaking")
    runs = records.read([tmp_path / "out"]).runs()
    assert code == 3
    assert made["failed"] == sum(run.status == "failed" for run in runs) > 0
    assert any("broken on purpose" in word for word in mine["endings"]["counts"])


def test_an_end_of_a_range_is_told_where_time_left_out_the_last_rung() -> None:
    """Of the longest runs that there were."""
    with Composer() as composer:
        space, _ = composer.space([RATES])
    trials = [Trial({"optimizer.lr": lr}, lr, lr, share) for lr, share in ((0.5, 1 / 9), (0.01, 1 / 3), (0.1, 1 / 3))]
    ((one, at),) = Tuned("gd", tuple(space), {}, True, -1, trials, trials[1]).edges()
    assert (one.key, at.best, at.side) == ("optimizer.lr", 0.01, "low")


@pytest.mark.slow
def test_a_network_is_judged_by_its_accuracy_under_several_losses(tmp_path: Path) -> None:
    words = ["model=mlp", "model.hidden=[16]", "data.image_size=8", "trainer.epochs=2", "optimizer=sgd",
             "scheduler=constant", "loss=cross_entropy,mse_softmax", "trainer.threads=1"]  # fmt: skip
    made = held(tmp_path, words, "20runs")
    assert made.final.metric == "best_val_accuracy"
    assert {one.name for one in made.entrants} == {"sgd under cross_entropy", "sgd under mse_softmax"}
    assert " %" in sentence(made)
