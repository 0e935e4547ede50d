"""From overrides to the page: the runs are planned, recorded by the portable engine, and the page is made of them."""

from __future__ import annotations

import html
import importlib.metadata
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optbench.catalogue import described
from optbench.descend.javascript import library
from optbench.descend.portable import portable_program
from optbench.errors import UserError
from optbench.experiment import Planned, plan_sweep
from optbench.experiment.programs import shelved
from optbench.language import Phrases, language
from optbench.pages.embed import embedded, filled, policy
from optbench.play.lesson import Lesson
from optbench.play.program import Emitted, bits, emitted, keywords
from optbench.records import Run, flatten
from optbench.settings import RANGES, SurfaceTrainer, trainer_from

if TYPE_CHECKING:
    from optbench.play.surface import Ground

MOST_RUNS = 8
"""As many as there are colours that readers tell apart."""
MOST_STEPS = 20_000
"""The page keeps every step of every run."""
STEPS = 500
"""Of each run, unless trainer.steps says otherwise."""
DECADES = 3.0
"""A slider reaches so many powers of ten to either side."""

_FOLDER = Path(__file__).parent
WORDS = _FOLDER / "phrases.zh.yaml"
_REFUSED = {
    "trainer.engine": "the page runs the portable engine alone",
    "trainer.record_every": "the page is held to every step",
    "seeds": "give them as seed=0,1,2, of runs with trainer.grad_noise",
}


@dataclass(frozen=True)
class Played:
    """A recorded run that the page repeats.

    Attributes:
        planned: the run.
        run: its record.
        step: its program.
        formula: its update, see `formula`.
    """

    planned: Planned
    run: Run
    step: Emitted
    formula: Sequence[Mapping[str, Any]]


def plan_play(overrides: Sequence[str], config_dirs: Sequence[Path], records: Path | None) -> list[Planned]:
    """The runs that the page repeats, one for each combination. No torch here.

    Raises:
        UserError: what does not go together in one page.
        ConfigError: an override that does not fit.
    """
    keys = [text.lstrip("+~").partition("=")[0] for text in overrides]
    for key in keys:
        if key in _REFUSED:
            raise UserError(f"{key} does not apply here: {_REFUSED[key]}")
    more = [] if "trainer.steps" in keys else [f"trainer.steps={STEPS}"]
    plan = plan_sweep([*overrides, *more, "trainer.engine=portable"], config_dirs, records)
    first = plan[0].config
    if len(plan) > MOST_RUNS:
        raise UserError(f"{len(plan)} runs: at most {MOST_RUNS} race in one page", "give fewer values")
    for item in plan:
        if any(item.config[part] != first[part] for part in ("model", "loss")):
            raise UserError("several surfaces: expected one", "make a page for each")
        if any(_start_of(item.config) != _start_of(first) for item in plan):
            raise UserError("several starts: expected one", "drag the start in the page")
        trainer = trainer_from(item.config)
        if not isinstance(trainer, SurfaceTrainer):
            raise UserError(f"{item.choices['model']} is a network, not a surface", "see optbench list model")
        if trainer.steps > MOST_STEPS:
            raise UserError(f"trainer.steps={trainer.steps}: a page keeps every step, {MOST_STEPS} at most")
    return list(plan)


def _start_of(config: Mapping[str, Any]) -> tuple[Any, ...]:
    """What says where a run begins; of a surface's own start and of a given one it is that alone."""
    start = config["trainer"].get("start")
    return (start, config["seed"] if start == "random" else None)


def plan_lesson(lesson: Lesson, records: Path | None) -> list[Planned]:
    """The runs that the page of a lesson repeats."""
    return [item for own in lesson.runs for item in plan_play([*lesson.common, *own], [], records)]


def prepared(planned: Planned) -> tuple[Emitted, list[dict[str, Any]]]:
    """The program of a run, and its formula.

    Raises:
        IncompatibleError: it cannot be traced, with the reason.
        UserError: more than two coordinates.
    """
    from optbench.play.formula import formula
    from optbench.play.surface import traced_update

    found, trainer = shelved(planned.config), trainer_from(planned.config)
    assert found is not None
    assert isinstance(trainer, SurfaceTrainer)
    if (dim := len(found.program["domain"])) > 2:
        hint = "add model.dim=2" if "dim" in planned.config["model"] else "choose a surface of two coordinates"
        raise UserError(f"{planned.choices['model']} has {dim} coordinates; a page shows one or two", hint)
    return emitted(found, trainer, planned.config["seed"]), formula(*traced_update(planned.config))


def make_page(
    played: Sequence[Played],
    overrides: Sequence[str],
    command: Sequence[str],
    budget: float,
    config_dirs: Sequence[Path] = (),
    lesson: Lesson | None = None,
) -> str:
    """The page.

    Args:
        played: the runs.
        overrides: as they were given.
        command: that makes the page again.
        budget: seconds to search for critical points.
        config_dirs: folders laid over conf/.
        lesson: whose page it is.
    """
    from optbench.play.surface import ground_of

    ground = ground_of(played[0].planned.config, budget)
    field = portable_program(ground.field)
    programs = [plain for one in played for plain in one.step.programs.values()]
    functions = replace(played[0].step, programs={"field": field}).text()
    emitted_text = "\n".join([
        '"use strict";',
        library(field, *programs),
        f"const PROGRAMS = {{ ...{functions}, runs: [{', '.join(one.step.text() for one in played)}] }};",
        "",
    ])  # fmt: skip
    read = {name: (_FOLDER / f"{name}").read_text(encoding="utf-8") for name in ("engine.js", "page.js", "page.css")}
    data = {
        "words": words(),
        "version": importlib.metadata.version("optbench"),
        "command": shlex.join(command),
        "surface": _surface(played[0].planned, ground, config_dirs),
        "points": {"conclusion": _conclusion(ground), "radius": ground.radius, "list": ground.points},
        "runs": [_run(one, _chosen(one.planned, overrides, lesson)) for one in played],
        "lesson": None if lesson is None else lesson.said(),
    }
    scripts = {"engine": read["engine.js"], "programs": emitted_text, "page": read["page.js"]}
    parts = {
        "lang": _LANGUAGE[language()],
        "title": html.escape(_title(played) if lesson is None else lesson.title[language()]),
        "policy": policy(list(scripts.values()), read["page.css"], workers=True),
        "data": embedded(data),
        "css": read["page.css"],
        **scripts,
    }
    return filled((_FOLDER / "page.html").read_text(encoding="utf-8"), parts)


_LANGUAGE = {"en": "en", "zh": "zh-CN"}


def words() -> Mapping[str, str]:
    """The page's phrases in the language asked for; none in English."""
    return Phrases(WORDS).known if language() == "zh" else {}


def said(text: str, *values: object) -> str:
    """A phrase in the language asked for, with values in its {}."""
    return words().get(text, text).format(*values)


def _title(played: Sequence[Played]) -> str:
    names = list(dict.fromkeys(one.planned.choices["optimizer"] for one in played))
    return said("{} on {}", ", ".join(names), played[0].planned.choices["model"])


def _surface(planned: Planned, ground: Ground, config_dirs: Sequence[Path]) -> dict[str, Any]:
    name = planned.choices["model"]
    about = described("model", name, language(), config_dirs)
    return {"name": name, "about": about, "domain": ground.domain, "minimum": ground.minimum}


def _conclusion(ground: Ground) -> str:
    """Whether the critical points are proved to be all; in English with what was counted."""
    if language() == "en":
        return ground.conclusion
    done = said("COMPLETE: proved that this is all in the picture.")
    return done if ground.complete else said("NOT COMPLETE: {}", ground.conclusion.partition("NOT COMPLETE: ")[2])


def _run(one: Played, chosen: str) -> dict[str, Any]:
    run, config, planned = one.run, one.planned.config, one.planned
    curve = run.columns()
    names = [f"x{i}" for i in range(one.step.spec["dim"])]
    path = [value for place in zip(*(curve[name] for name in names), strict=True) for value in place]
    noise = one.step.spec["noise"]
    others = [
        f"{k.rpartition('.')[2]}={f'{v:g}' if isinstance(v, float) else v}"
        for k, v in planned.swept.items()
        if k != "optimizer"
    ]
    return {
        "id": run.run_id,
        "label": " ".join([planned.choices["optimizer"], *others]),
        "spec": one.step.spec,
        "keywords": keywords(config["optimizer"]) | ({noise["key"]: noise["scale"]} if noise else {}),
        "path": bits(path),
        "sliders": sliders(one.step, config["optimizer"]),
        "formula": list(one.formula),
        "chosen": chosen,
    }


def _chosen(planned: Planned, overrides: Sequence[str], lesson: Lesson | None) -> str:
    """How the learning rate was chosen, in a sentence."""
    rate = f"{planned.config['optimizer']['lr']:g}"
    if lesson is not None:
        return said("learning rate {}: given by the lesson", rate)
    if any(text.lstrip("+").startswith("optimizer.lr=") for text in overrides):
        return said("learning rate {}: given on the command line", rate)
    name = planned.choices["optimizer"]
    return said("learning rate {}: the default of optimizer={} on surfaces, not tuned for this one", rate, name)


def sliders(step: Emitted, node: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The numbers of an optimizer that its program looks at, and the size of its noise, each with the powers of
    ten that its slider goes through: of the number, or of what is left to 1 where it is a share near 1."""
    used = {payload for plain in step.programs.values() for op, _, payload in plain["code"] if op == "input"}
    forms = {tuple(form[1:]) for name, form in step.spec["hyper"].items() if name in used and form[0] != "const"}
    found = []
    for key, value in flatten(keywords(node)).items():
        for place, number in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if (key, place) not in forms or not isinstance(number, float) or not number > 0.0:
                continue
            name = key if place is None else f"{key}.{place}"
            bounded = number >= 0.4 and not _may_be(f"optimizer.{key}", value, place, 2.0)
            rest = key != "lr" and number < 1.0 and (bounded or number >= 0.8)
            low, high = (-5.0, 0.0) if rest else (math.log10(number) - DECADES, math.log10(number) + DECADES)
            found.append({"name": name, "key": key, "place": place, "rest": rest, "low": low, "high": high})
    if noise := step.spec["noise"]:
        middle = math.log10(noise["scale"])
        found.append({"name": noise["key"], "key": noise["key"], "place": None, "rest": False,
                      "low": middle - DECADES, "high": middle + DECADES})  # fmt: skip
    return found


def _may_be(key: str, value: Any, place: int | None, number: float) -> bool:
    """Whether a setting may have another number in that place."""
    if key not in RANGES:
        return True
    other = number if place is None else [number if i == place else v for i, v in enumerate(value)]
    return RANGES[key][0](other)
