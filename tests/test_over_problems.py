"""Figures over runs, targets and problems: what is drawn equals direct counting, and each figure stands by itself."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from command_tools import invoke
from made_runs import make_run
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy import stats

from optbench.comparison import compare
from optbench.comparison.figures import ONE_SETTING, OWN_TARGET, Drop, distributions, profiles, ranking, searches
from optbench.comparison.targets import aim
from optbench.errors import UserError
from optbench.plot import (
    PALETTE,
    band_curves,
    best_of_figure,
    ecdf_figure,
    entitle,
    loss_curves,
    profile_figure,
    ranks_figure,
    resize,
    save,
    translate,
)  # fmt: skip
from optbench.plot.style import natural, notes_of, parse_size
from optbench.records import read_run

Curves = dict[str, dict[str, Sequence[Sequence[float]]]]
CURVES: Curves = {  # losses by step of each seed, on two problems
    "bowl": {
        "a": [[9, 0.5, 0.05], [9, 2, 0.5, 0.05], [9, 2, 2, 2]],
        "b": [[9, 8, 7, 0.9], [9, 8, 7, 6, 0.5]],
        "c": [[9, 9], [9, 9], [9, 9]],
    },
    "valley": {
        "a": [[4, 3, 2, 1, 0.1]],
        "b": [[4, 0.05], [4, 3, 0.9], [4, 4, 4]],
        "c": [[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]],
    },
}
LEVELS = (1.0, 0.1)


def runs(folder: Path, curves: Curves = CURVES) -> Path:
    """Runs whose curves have these losses, a row a step, two evaluations each."""
    for dim, (problem, own) in enumerate(curves.items(), 2):
        for name, of_seeds in own.items():
            for seed, losses in enumerate(of_seeds):
                lines = [{"step": i, "evals": 2 * i, "loss": loss} for i, loss in enumerate(losses)]
                changes = {"seed": seed, "optimizer._target_": f"torch.optim.{name}", "model.dim": dim}
                make_run(folder / f"{problem}-{name}-{seed}", changes, lines, optimizer=name, model=problem,
                         final_loss=losses[-1], steps=len(losses) - 1)  # fmt: skip
    return folder


def share(name: str, cost: float) -> float:
    """Of a configuration, by counting: mean over problems of the share of pairs that were reached by a cost."""
    shares = []
    for own in CURVES.values():
        pairs = [
            any(loss <= level and 2 * step <= cost for step, loss in enumerate(losses))
            for losses in own[name]
            for level in LEVELS
        ]
        shares.append(sum(pairs) / len(pairs))
    return sum(shares) / len(shares)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return runs(tmp_path / "runs")


def overlaps(figure: Figure) -> bool:
    """Whether two of the parts of a figure that are no marks in the axes lie on one another."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    parts = [ax.get_tightbbox(renderer) for ax in figure.axes]
    parts += [legend.get_window_extent(renderer) for legend in figure.legends]
    parts += [text.get_window_extent(renderer) for text in figure.texts if text.get_text()]
    return any(one.overlaps(other) for i, one in enumerate(parts) for other in parts[:i])


def test_the_lines_of_an_ecdf_are_what_counting_gives(made: Path) -> None:
    data = distributions(compare([made]), aim("evals", "1,0.1", None))
    assert {line.label: line.end for line in data.lines} == {"a": 8, "b": 8, "c": 26}
    assert data.runs == (1, 3)
    (ax,) = ecdf_figure(data).axes
    lines = {line.get_color(): line for line in ax.lines if line.get_drawstyle() == "steps-post"}
    for colour, name in zip(PALETTE, "abc", strict=False):
        x, y = (np.asarray(part, dtype=float) for part in lines[colour].get_data())
        assert x[-1] == {"a": 8, "b": 8, "c": 26}[name]
        for cost in np.unique(x[x > x[0]]):
            assert y[x <= cost][-1] == pytest.approx(100 * share(name, cost))
    assert list(lines) == [PALETTE[2], PALETTE[1], PALETTE[0]]  # a ends highest: drawn last


def test_a_configuration_that_is_not_everywhere_is_named_and_keeps_its_colour_free(made: Path) -> None:
    for path in made.glob("valley-a-*"):
        (path / "metrics.csv").unlink()
    data = distributions(compare([made]), aim("evals", "1,0.1", None))
    assert [line.label for line in data.lines] == ["b", "c"]
    figure = ecdf_figure(data)
    assert "left out, without a recorded curve: a" in notes_of(figure.get_supxlabel())
    assert {line.get_color() for line in figure.axes[0].lines} == set(PALETTE[1:3])


def test_a_figure_of_no_configuration_with_curves_is_refused(made: Path) -> None:
    for path in made.glob("valley-*"):
        (path / "metrics.csv").unlink()
    with pytest.raises(UserError, match="no configuration has a curve"):
        distributions(compare([made]), aim("evals", "1,0.1", None))


@pytest.mark.parametrize("size", [None, "3.4x2.5in", "8.5 x 7 cm"])
def test_an_ecdf_says_what_it_shows_and_nothing_hides_anything(made: Path, tmp_path: Path, size: str | None) -> None:
    data = distributions(compare([made]), aim("evals", "1,0.1", None))

    def draw() -> Figure:
        figure = ecdf_figure(data)
        if size:
            resize(figure, *parse_size(size))
        entitle(figure, "Runtimes of three")
        return figure

    figure = draw()
    assert not overlaps(figure)
    first, second = (save(draw(), tmp_path / f"{name}.svg", "en").read_bytes() for name in "ab")
    assert first == second
    label = figure.axes[0].get_ylabel()
    assert " ".join(label.split()) == "pairs of run and target reached, %"
    for line in ("evaluations", *label.splitlines(), "the longest run ended", "Runtimes of three"):
        assert f"<!-- {line} -->".encode() in first
    notes = notes_of(figure.get_supxlabel())
    assert notes[0].startswith("1 to 3 runs of a configuration on a problem; a target that was missed is never")
    assert notes[1] == "bowl, valley: targets: loss 1, 0.1"


def test_letters_of_a_pdf_are_true_type(made: Path, tmp_path: Path) -> None:
    figure = ecdf_figure(distributions(compare([made]), aim("evals", "1,0.1", None)))
    written = save(figure, tmp_path / "a.pdf", "en").read_bytes()
    assert b"/FontFile2" in written
    assert b"/Type3" not in written


def test_sizes_as_they_are_typed() -> None:
    assert parse_size("3.4x2.5in") == (3.4, 2.5)
    assert parse_size("16X9 cm") == pytest.approx((16 / 2.54, 9 / 2.54))
    for wrong in ("3x4", "x4in", "1x1in", "900x4in", "3.4x-2in", "infxinfin"):
        with pytest.raises(UserError, match="--size"):
            parse_size(wrong)


def test_names_are_sorted_as_numbers() -> None:
    names = ["lr=0.1", "lr=1e-05", "lr=0.02", "lr=3", "lr=10", "adam", "sgd"]
    assert sorted(names, key=natural) == ["adam", "lr=1e-05", "lr=0.02", "lr=0.1", "lr=3", "lr=10", "sgd"]
    assert math.isclose(natural("lr=1e-05")[1][1], 1e-5)


def test_the_command_draws_and_refuses(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "e.svg"
    asked = ("plot", str(made), "--figure", "ecdf", "--target", "1,0.1", "-o", str(place))
    assert invoke(capsys, *asked)[:2] == (0, f"{place}\n")
    first = place.read_bytes()
    assert invoke(capsys, *asked)[0] == 0
    assert place.read_bytes() == first
    for wrong, why in (
        (("--figure", "pie"), "--figure pie: expected one of"),
        (("--figure", "ecdf", "--bands"), "choose one figure"),
        (("--cost", "evals"), "--cost says something of --figure alone"),
        (("--size", "big"), "--size big"),
    ):
        ended, _, err = invoke(capsys, "plot", str(made), "-o", str(place), *wrong)
        assert ended == 2
        assert why in err


# profiles, ranks, the best of k ---------------------------------------------------------------------------------------

TIMES: dict[str, dict[str, Sequence[int | None]]] = {  # steps to the target of each seed; None: a run of 40 that missed
    "bowl": {"a": [2, 3, 4], "b": [6, 6, 6], "c": [30, None, 12]},
    "valley": {"a": [9, 9, 10], "b": [3, 3, 2], "c": [None, None, 3]},
    "ridge": {"a": [5, 5, 5], "b": [None, None, 4], "c": [5, 5, 6]},
}


def timed(folder: Path) -> Path:
    """Runs that fall from 9 to 0.5 at the given step; a miss stays at 9."""
    curves = {
        problem: {name: [[9.0] * (t or 40) + [0.5 if t else 9.0] for t in of_seeds] for name, of_seeds in own.items()}
        for problem, own in TIMES.items()
    }
    return runs(folder / "timed", curves)


def median_times() -> dict[str, list[float]]:
    """Of each configuration, in evaluations, a problem a number."""
    return {
        name: [float(np.median([2.0 * t if t else math.inf for t in own[name]])) for own in TIMES.values()]
        for name in "abc"
    }


def drawn_lines(figure: Figure, names: str = "abc") -> dict[str, tuple[list[float], list[float]]]:
    """The data of the first line of each colour, by the name that the colour is of."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for line in figure.axes[0].lines:
        if line.get_color() in PALETTE[: len(names)]:
            x, y = (np.asarray(part, dtype=float).tolist() for part in line.get_data())
            found.setdefault(names[PALETTE.index(str(line.get_color()))], (x, y))
    return found


def test_the_lines_of_a_profile_are_its_definition(tmp_path: Path) -> None:
    data = profiles(compare([timed(tmp_path)]), aim("evals", "1", None))
    times = median_times()
    best = [min(times[name][p] for name in "abc") for p in range(3)]
    lines = drawn_lines(profile_figure(data))
    assert set(lines) == set("abc")
    for name, (x, y) in lines.items():
        for tau in [1.0, 1.5, 1.6667, 2.0, 3.0, 3.5, 8.0]:
            share = sum(t <= tau * least for t, least in zip(times[name], best, strict=True)) / 3
            at = [value for place, value in zip(x, y, strict=True) if place <= tau]
            assert at[-1] == pytest.approx(100 * share), (name, tau)


def test_a_profile_without_curves_is_of_the_targets_that_the_runs_had(tmp_path: Path) -> None:
    for dim, problem in enumerate(("bowl", "valley"), 2):
        for name, steps in (("a", 10), ("b", 20 // (dim - 1) ** 2)):
            changes = {"optimizer._target_": f"torch.optim.{name}", "model.dim": dim}
            path = make_run(tmp_path / f"{problem}{name}", changes, optimizer=name, model=problem, target=0.1,
                            steps_to_target=steps, steps=steps)  # fmt: skip
            (path / "metrics.csv").unlink()
    data = profiles(compare([tmp_path]), aim("steps", "0.1", None))
    assert {line.label: line.ratios.tolist() for line in data.lines} == {"a": [1.0, 2.0], "b": [1.0, 2.0]}
    assert {words for _, words in data.targets} == {OWN_TARGET}


def test_ranks_are_those_of_scipy_and_bars_join_what_is_near(tmp_path: Path) -> None:
    found = compare([timed(tmp_path)])
    data = ranking(found)
    finals = {name: [np.median([0.5 if t else 9.0 for t in own[name]]) for own in TIMES.values()] for name in "abc"}
    expected = stats.rankdata(np.array([finals[name] for name in "abc"]), axis=0).mean(axis=1)
    assert dict(zip(data.labels, data.ranks.tolist(), strict=True)) == pytest.approx(
        dict(zip("abc", expected, strict=True))
    )
    assert list(data.ranks) == sorted(data.ranks)
    q = stats.studentized_range.ppf(0.95, 3, math.inf) / math.sqrt(2)
    assert data.difference == pytest.approx(q * math.sqrt(3 * 4 / (6 * 3)))
    joined = {pair for members in data.cliques for pair in itertools.combinations(members, 2)}
    near = {(i, j) for i, j in itertools.combinations(range(3), 2) if data.ranks[j] - data.ranks[i] <= data.difference}
    assert joined == near
    figure = ranks_figure(data)
    dots = {line.get_xdata()[0] for line in figure.axes[0].lines if line.get_marker() == "o"}  # type: ignore[index]
    assert dots == set(data.ranks.tolist())


def swept(folder: Path, values: dict[str, Sequence[float]], sweep: str | None = None) -> Path:
    """Runs of settings of each optimizer, one seed each, that end with these losses."""
    for name, own in values.items():
        for i, loss in enumerate(own):
            changes = {"optimizer._target_": f"torch.optim.{name}", "optimizer.lr": 0.001 * (i + 1)}
            lost = {"status": "diverged", "final_loss": None} if math.isinf(loss) else {"final_loss": loss}
            make_run(folder / f"{sweep}-{name}-{i}", changes, optimizer=name, sweep=sweep, **lost)
    return folder


@pytest.mark.filterwarnings("error")
def test_a_search_without_any_result_draws_nothing(tmp_path: Path) -> None:
    data = searches(compare([swept(tmp_path, {"a": [math.inf, math.inf], "b": [math.inf, math.inf, math.inf]})]))
    assert best_of_figure(data).axes


def test_the_best_of_k_is_the_mean_over_all_sets_of_k(tmp_path: Path) -> None:
    values = {"a": [3.0, 1.0, 0.25, 9.0], "b": [2.0, math.inf, 4.0, 0.5, 0.75], "c": [1.0]}
    data = searches(compare([swept(tmp_path, values)]))
    assert data.left_out == (Drop(ONE_SETTING, ("c",)),)
    lines = drawn_lines(best_of_figure(data))
    assert set(lines) == {"a", "b"}
    for name, (ks, drawn) in lines.items():
        for k, mean in zip(map(round, ks), drawn, strict=True):
            sets = [min(one) for one in itertools.combinations(values[name], k)]
            expected = sum(sets) / len(sets)
            assert mean == pytest.approx(expected) or (math.isnan(mean) and math.isinf(expected))


def test_of_a_tuning_its_reports_do_not_count(tmp_path: Path) -> None:
    swept(tmp_path, {"a": [3.0, 1.0, 2.0]}, "tuning-a")
    make_run(tmp_path / "report", {"optimizer._target_": "torch.optim.a", "optimizer.lr": 0.002, "seed": 7},
             optimizer="a", sweep="report-a", final_loss=99.0)  # fmt: skip
    data = searches(compare([tmp_path]))
    assert data.tuning
    assert data.runs == (1, 1)
    assert sorted(data.lines[0].values.tolist()) == [1.0, 2.0, 3.0]
    assert "by the tuning seeds" in best_of_figure(data).get_supxlabel()


def test_settings_of_a_search_that_learned_are_refused(tmp_path: Path) -> None:
    for steps in (10, 20):
        make_run(tmp_path / f"r{steps}", {"trainer.steps": steps}, sweep="tuning-adam")
    with pytest.raises(UserError, match="later settings knew of earlier ones"):
        searches(compare([tmp_path]))


@pytest.mark.parametrize("size", ["7.5x4.2in", "3.4x2.5in"])
@pytest.mark.parametrize("kind", ["profile", "ranks", "best-of"])
def test_each_figure_stands_by_itself(tmp_path: Path, kind: str, size: str) -> None:
    words = {
        "best-of": ["settings tried, k", "final loss", "mean of the best of k", "median of the best of k"],
        "ranks": ["ranked by: final loss", "average ranks over 3 problems by the median of 3 runs, 1 the best"],
        "profile": ["time / least time of the problem", "problems solved so fast, %"],
    }[kind]
    place = swept(tmp_path / "runs", {"a": [3.0, 1.0, 2.0], "b": [2.0, 0.1]}) if kind == "best-of" else timed(tmp_path)
    found = compare([place])

    def draw() -> Figure:
        if kind == "best-of":
            figure = best_of_figure(searches(found))
        elif kind == "ranks":
            figure = ranks_figure(ranking(found))
        else:
            figure = profile_figure(profiles(found, aim("evals", "1", None)))
        resize(figure, *parse_size(size))
        entitle(figure, "A title of it")
        return figure

    figure = draw()
    assert not overlaps(figure)
    first, second = (save(draw(), tmp_path / f"{name}.svg", "en").read_bytes() for name in "ab")
    assert first == second
    texts = [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]
    said = [" ".join(text.split()) for text in texts] + notes_of(figure.get_supxlabel())
    assert [word for word in ["A title of it", *words] if word not in said] == []


@pytest.mark.parametrize("narrow", [False, True])
def test_every_note_below_a_figure_is_translated_by_itself(
    tmp_path: Path, narrow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(translate, "chinese_font", lambda: "DejaVu Sans")
    for figure in (
        ranks_figure(ranking(compare([timed(tmp_path)]))),
        profile_figure(profiles(compare([timed(tmp_path)]), aim("evals", "1", "80evals"))),
    ):
        if narrow:
            resize(figure, 3.4, 2.5)
        before = notes_of(figure.get_supxlabel())
        with translate.translated(figure, "zh"):
            lines = figure.get_supxlabel().splitlines()
            assert [line for line in lines if not re.search("[\u4e00-\u9fff]", line)] == []
        assert len(lines) >= len(before)
        assert notes_of(figure.get_supxlabel()) == before


def test_what_many_problems_have_alike_is_translated_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translate, "chinese_font", lambda: "DejaVu Sans")
    place = runs(tmp_path, {f"{name}{i}": CURVES[name] for i in range(3) for name in ("bowl", "valley")})
    figure = ecdf_figure(distributions(compare([place]), aim("evals", "1", None)))
    with translate.translated(figure, "zh"):
        (line,) = [line for line in figure.get_supxlabel().splitlines() if "目标为" in line]
    assert line.startswith("6 个问题：目标为")


@pytest.mark.parametrize("kind", ["profile", "ranks"])
def test_one_problem_is_no_figure_over_problems(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    place = runs(tmp_path, {"bowl": CURVES["bowl"]})
    ended, _, err = invoke(capsys, "plot", str(place), "--figure", kind, *(["--target", "1"] * (kind == "profile")))
    assert ended == 2
    assert f"--figure {kind}: it is over several problems" in err


def test_curves_have_their_legend_in_the_order_of_numbers_and_the_best_on_top(tmp_path: Path) -> None:
    rates = {"1": 9.0, "10": 0.1, "0.02": math.nan, "3": 2.0}
    made = [
        read_run(make_run(tmp_path / rate, {"optimizer.lr": float(rate)}, [{"step": i, "loss": v} for i, v in
                                                                            enumerate([10.0, last])]))
        for rate, last in rates.items()
    ]  # fmt: skip
    for draw in (loss_curves, band_curves):
        figure = draw(made, [f"lr={rate}" for rate in rates])
        names = [text.get_text() for text in figure.legends[0].get_texts()]
        assert names == ["lr=0.02", "lr=1", "lr=3", "lr=10"]
    ends = [line.get_ydata()[-1] for line in loss_curves(made).axes[0].lines]  # type: ignore[index]
    assert math.isnan(ends[0])
    assert ends[1:] == [9.0, 2.0, 0.1]


def test_what_is_tuned_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for problem, name, rate, seed in itertools.product(("bowl", "valley"), "ab", (0.1, 0.2), (0, 1)):
        changes = {"seed": seed, "optimizer._target_": f"torch.optim.{name}", "optimizer.lr": rate,
                   "model.dim": len(problem)}  # fmt: skip
        make_run(tmp_path / f"{problem}{name}{rate}{seed}", changes, optimizer=name, model=problem,
                 final_loss=rate + seed + (name == "a"))  # fmt: skip
    place = tmp_path / "ranks.svg"
    asked = ("plot", str(tmp_path), "--figure", "ranks", "--group-by", "optimizer", "-o", str(place), "--lang", "en")
    assert invoke(capsys, *asked)[0] == 0
    said = place.read_text("utf-8")
    assert "each at its best setting, chosen on other seeds than those shown" in said
    assert "average ranks over 2 problems by the median of 2 runs, 1 the best" in said
