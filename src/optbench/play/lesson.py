"""Lessons: a page to play with that says what to look at, and sets a challenge that it checks itself.

A lesson is data, one file in lessons/: what runs, a text and a challenge in each language, a solution and settings that
miss it. A challenge is conditions on what the page knows of a run from the recorded start: its losses, its way and its
settings. `tests/play/test_lessons.py` runs the solutions and what misses, so that no challenge is impossible or met as
the page opens.

    title, text, challenge.text, solution.text   in en and zh; text is a list of paragraphs
    section          of the book's chapter; lessons go in its order
    common, runs     overrides: those of all runs, and those of each (or of each few, with commas)
    challenge.run    the run that is meant, from 0; null: any, all conditions in the same one
    challenge.conditions, each one of
        {loss_below: v, within: n}                        at a step up to n
        {loss_below: v, at: end}                          where the run ends, and it has not diverged
        {distance_to: [x, y], below or above: r, within: n}
        {setting: name, at_most or at_least: v}           of the optimizer, or grad_noise
    solution         run and the settings to set in it
    misses           the same, of settings that do not meet the challenge
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from optbench.errors import UserError
from optbench.language import LANGUAGES, language

FOLDER = Path(__file__).with_name("lessons")
_FORMS = (
    {"loss_below", "within"},
    {"loss_below", "at"},
    {"distance_to", "below", "within"},
    {"distance_to", "above", "within"},
    {"setting", "at_most"},
    {"setting", "at_least"},
)


@dataclass(frozen=True)
class Lesson:
    """A lesson, see the module.

    Attributes:
        name: of the file.
        title: by language, as are `text` (paragraphs) and the `text` of challenge and solution.
        section: of the chapter.
        common: overrides of all runs.
        runs: overrides of each.
        text: what to look at.
        challenge: text, run and conditions.
        solution: text, run and settings.
        misses: run and settings of each.
    """

    name: str
    title: Mapping[str, str]
    section: str
    common: Sequence[str]
    runs: Sequence[Sequence[str]]
    text: Mapping[str, Sequence[str]]
    challenge: Mapping[str, Any]
    solution: Mapping[str, Any]
    misses: Sequence[Mapping[str, Any]]

    def said(self) -> dict[str, Any]:
        """What the page is given of it, in the language asked for."""
        now = language()
        return {
            "text": list(self.text[now]),
            "challenge": {**self.challenge, "text": self.challenge["text"][now]},
            "solution": {**self.solution, "text": self.solution["text"][now]},
        }


def read_lesson(path: Path) -> Lesson:
    """A lesson from its file.

    Raises:
        ValueError: a condition of no known form, or a text that is not in both languages.
        TypeError: a key that is missing or that there is not.
    """
    found = Lesson(path.stem, **yaml.safe_load(path.read_text(encoding="utf-8")))
    for condition in found.challenge["conditions"]:
        if set(condition) not in _FORMS or condition.get("at", "end") != "end":
            raise ValueError(f"{path.name}: no such condition: {condition}")
    for text in (found.title, found.text, found.challenge["text"], found.solution["text"]):
        if set(text) != set(LANGUAGES):
            raise ValueError(f"{path.name}: a text in {', '.join(text)}; expected {', '.join(LANGUAGES)}")
    return found


@functools.cache
def lessons() -> Mapping[str, Lesson]:
    """All lessons by name, in the order of the chapter."""
    found = map(read_lesson, FOLDER.glob("*.yaml"))
    return {one.name: one for one in sorted(found, key=lambda one: one.section)}


def lesson_lines() -> list[str]:
    """A line for each lesson: name, section of the chapter, title."""
    width = max(map(len, lessons()))
    return [f"{one.name:<{width}}  {one.section:<5}  {one.title[language()]}" for one in lessons().values()]


def lesson_of(names: Sequence[str]) -> Lesson:
    """The lesson that is named.

    Raises:
        UserError: there is none of that name, or more is given than a name.
    """
    name, *more = names
    if more:
        raise UserError(f"--lesson {name}: {more[0]} does not go with it, a lesson has its own settings")
    if (found := lessons().get(name)) is not None:
        return found
    close = difflib.get_close_matches(name, lessons(), n=1)
    meant = f"did you mean {close[0]}? " if close else ""
    raise UserError(f"no lesson {name}", f"{meant}lessons: {', '.join(lessons())}")
