"""Lessons: no challenge is impossible, none is met as the page opens, and the page judges as Python does.

Here a challenge is judged a second time, on runs of the same traced programs in Python's own floats.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from browser import Page
from command_tools import command

from optbench.descend.scalar import Walk
from optbench.errors import UserError
from optbench.experiment import Planned
from optbench.experiment.traced import traced
from optbench.language import choose
from optbench.play.build import plan_lesson, prepared, sliders
from optbench.play.lesson import FOLDER, Lesson, lesson_of, lessons, read_lesson

CHAPTER = {"saddle", "momentum", "adagrad", "rmsprop", "adam", "schedules", "batch-size"}
Settings = Mapping[str, float]


LONG = {"adagrad", "batch-size"}


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in sorted(lessons())],
)
def taught(request: pytest.FixtureRequest) -> tuple[Lesson, list[Planned]]:
    lesson = lessons()[request.param]
    return lesson, plan_lesson(lesson, None)


def met(lesson: Lesson, plan: list[Planned], run: int | None = None, settings: Settings | None = None) -> bool:
    """Whether the challenge is met with settings in one run, the others as recorded."""
    which = lesson.challenge["run"]
    return any(
        all(_holds(condition, item, settings or {} if r == run else {}) for condition in lesson.challenge["conditions"])
        for r, item in enumerate(plan)
        if which in (None, r)
    )


def _holds(condition: Mapping[str, Any], item: Planned, settings: Settings) -> bool:
    trainer = {key: settings.get(key, value) for key, value in item.config["trainer"].items()}
    optimizer = {**item.config["optimizer"], **{k: v for k, v in settings.items() if k not in trainer}}
    if "setting" in condition:
        value = {**trainer, **optimizer}[condition["setting"]]
        return condition.get("at_least", -math.inf) <= value <= condition.get("at_most", math.inf)  # type: ignore[no-any-return]
    this = traced({**item.config, "optimizer": optimizer, "trainer": trainer})
    assert this is not None
    walk = Walk(this.step, this.numbers, this.trainer, this.start)
    rows = list(walk.rows())
    if "at" in condition:
        assert walk.ended is not None
        return walk.ended[0] != "diverged" and rows[-1]["loss"] < condition["loss_below"]
    rows = rows[: condition["within"] + 1]
    if "loss_below" in condition:
        return min(row["loss"] for row in rows) < condition["loss_below"]  # type: ignore[no-any-return]
    far = [math.dist((row["x0"], row["x1"]), condition["distance_to"]) for row in rows]
    return max(far) > condition["above"] if "above" in condition else min(far) < condition["below"]  # type: ignore[no-any-return]


def nearest(slider: Mapping[str, Any], value: float) -> float:
    """The setting of the slider's place, one of a thousand, that is nearest."""
    low, high = slider["low"], slider["high"]
    place = round(1000 * (math.log10(1 - value if slider["rest"] else value) - low) / (high - low))
    assert 0 <= place <= 1000
    found = 10 ** (low + (high - low) * place / 1000)
    return float(f"{1 - found:.6g}") if slider["rest"] else float(f"{found:.3g}")


def test_a_challenge_is_neither_met_at_the_start_nor_impossible(taught: tuple[Lesson, list[Planned]]) -> None:
    """Its solution meets it, also in the nearest places of the sliders; what the lesson says misses it does."""
    lesson, plan = taught
    assert not met(lesson, plan)
    solution = lesson.solution
    assert met(lesson, plan, solution["run"], solution["set"])
    item = plan[solution["run"]]
    there = {one["name"]: one for one in sliders(prepared(item)[0], item.config["optimizer"])}
    placed = {name: nearest(there[name], value) for name, value in solution["set"].items()}
    assert met(lesson, plan, solution["run"], placed)
    assert lesson.misses
    for miss in lesson.misses:
        assert miss["set"] != solution["set"] or miss["run"] != solution["run"]
        assert not met(lesson, plan, miss["run"], miss["set"]), miss


def test_the_runs_of_a_lesson_share_surface_start_and_length(taught: tuple[Lesson, list[Planned]]) -> None:
    _, plan = taught
    assert len(plan) >= 2
    for part in ("model", "loss", "trainer"):
        shared = [{key: v for key, v in item.config[part].items() if key != "grad_noise"} for item in plan]
        assert all(one == shared[0] for one in shared), part
    labels = {(item.choices["optimizer"], *item.swept.values()) for item in plan}
    assert len(labels) == len(plan)


def test_lessons_are_the_chapters(capsys: pytest.CaptureFixture[str]) -> None:
    assert lessons().keys() == CHAPTER
    assert command("play", "--lesson", "--lang", "zh") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(lessons())
    assert all(lesson.title["zh"] in line for lesson, line in zip(lessons().values(), lines, strict=True))
    choose(None)
    for names, words in ((["adma"], "no lesson adma"), (["adam", "x=1"], "own settings")):
        with pytest.raises(UserError, match=words):
            lesson_of(names)
    assert command("play", "--lesson", "adam", "--config-dir", ".") == 2


def test_a_file_that_is_no_lesson_is_refused(tmp_path: Path) -> None:
    told = yaml.safe_load((FOLDER / "saddle.yaml").read_text(encoding="utf-8"))
    path = tmp_path / "mine.yaml"

    def refused(error: type[Exception], words: str) -> None:
        path.write_text(json.dumps(told))
        with pytest.raises(error, match=words):
            read_lesson(path)

    del told["title"]["zh"]
    refused(ValueError, "a text in en")
    told["title"]["zh"] = "鞍点"
    told["challenge"]["conditions"][0] = {"loss_below": 1.0}
    refused(ValueError, "no such condition")
    told["place"] = 3
    refused(TypeError, "place")


# in a browser ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("name", "language"), [*((name, "en") for name in sorted(lessons())), ("schedules", "zh")])
def test_a_page_judges_its_challenge_as_python_does(tab: Page, tmp_path: Path, name: str, language: str) -> None:
    lesson, page = lessons()[name], tmp_path / "lesson.html"
    asked = ("--lesson", name, "--lang", language, "--budget", "2", "-q")
    assert command("play", *asked, "-o", page, "--records", tmp_path / "records") == 0
    choose(None)
    tab.view(width=390, phone=True)

    def challenge(run: int | None = None, settings: Settings | None = None, start: str = "") -> str:
        parts = [f"{run}.{key}={value}" for key, value in (settings or {}).items()]
        tab.call("Page.navigate", url="about:blank")
        tab.open(page.as_uri() + "#" + "&".join([*parts, *([f"s={start}"] if start else [])]))
        tab.until("document.documentElement.dataset.ready === 'yes'")
        return str(tab.js("document.documentElement.dataset.challenge"))

    assert challenge() == "open"
    assert tab.js("document.documentElement.dataset.verified.split('/').every((v, _, all) => v === all[0])")
    assert tab.js("document.getElementById('challenge').textContent") == lesson.challenge["text"][language]
    assert tab.js("document.documentElement.scrollWidth") <= 390
    for miss in lesson.misses:
        assert challenge(miss["run"], miss["set"]) == "open", miss
    solution = lesson.solution
    assert challenge(solution["run"], solution["set"]) == "met"
    assert challenge(solution["run"], solution["set"], start="0.5,0.5") == "open"  # another start is no answer
    assert challenge() == "open"
    tab.js("document.getElementById('solve').click()")
    tab.until("document.documentElement.dataset.challenge === 'met'")
    assert tab.js("[...document.querySelectorAll('#conditions li')].every((e) => e.textContent.startsWith('✓'))")
    assert tab.errors == []
