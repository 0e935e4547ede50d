"""A claim of the book as data: what it says, what is run, and what must come out for it to be true.

A claim is the `claim` node of an overlay in conf/experiment/book/. The rest of the overlay is an ordinary experiment,
so that `optbench sweep +experiment=book/momentum` runs it by hand. The predictions stand in that file, written down
before anything runs: a quantity, the side of a threshold on which the claim puts it. Read as text: no Hydra, no torch.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from optbench import conf_folder, did_you_mean
from optbench.errors import ConfigError
from optbench.language import LANGUAGES

DIRECTIONS = ("above", "below")
Text = Mapping[str, str]
"""The same sentence by language."""


@dataclass(frozen=True)
class Prediction:
    """A measurable statement: `quantity` lies above (or below) `threshold`.

    Attributes:
        quick: whether the runs of --quick can judge it; not where they lack what it rests on, as a wide network.
    """

    id: str
    quantity: Text
    direction: str
    threshold: float
    quick: bool = True


@dataclass(frozen=True)
class Arm:
    """One sweep of a claim: overrides on top of its overlay.

    Attributes:
        name: "main" is the overlay as it stands.
        sweep: overrides, as after `optbench sweep`.
        quick: overrides that replace those of the same key under --quick.
        curves: how many rows of a batch keep their curve.
        alone: whether its overrides stand by themselves, not on top of the overlay: a network beside a claim's surface.
    """

    name: str
    sweep: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    curves: int = 64
    alone: bool = False

    def overrides(self, quick: bool) -> list[str]:
        """Its overrides, each key once; seeds=n and seed=... are the same key."""
        chosen: dict[str, str] = {}
        for text in (*self.sweep, *(self.quick if quick else ())):
            key = text.partition("=")[0]
            chosen["seed" if key == "seeds" else key] = text
        return list(chosen.values())


@dataclass(frozen=True)
class Claim:
    """A claim of chapter 3.

    Attributes:
        id: name of the overlay; number: its place in the chapter; section: of the book.
        title, says: the claim in a few words, and as the book makes it.
        setup: what is run.
        note: where the book's wording is too strong or leaves something open; empty texts if nowhere.
        predictions: what must come out.
        arms: the sweeps; none for a claim that is measured without runs.
        measure: the module that measures, see Study.
        figures, tables: captions by name.
    """

    id: str
    number: int
    section: Text
    title: Text
    says: Text
    setup: Text
    note: Text
    predictions: tuple[Prediction, ...]
    arms: tuple[Arm, ...]
    measure: str
    figures: Mapping[str, Text]
    tables: Mapping[str, Text]

    @property
    def experiment(self) -> str:
        """The override that chooses its overlay."""
        return f"experiment=book/{self.id}"

    def command(self, arm: Arm) -> str:
        """The command that runs one of its arms by hand."""
        overlay = [] if arm.alone else [f"+{self.experiment}"]
        return " ".join(["optbench sweep", *overlay, *map(shlex.quote, arm.sweep)])


def load_claims(config_dirs: Sequence[Path] = ()) -> list[Claim]:
    """Every claim of conf/experiment/book/ and of the folders laid over it, by number. Raises ConfigError."""
    files: dict[str, Path] = {}
    for conf in (conf_folder(), *config_dirs):
        files |= {path.stem: path for path in sorted((conf / "experiment" / "book").glob("*.yaml"))}
    return sorted((read_claim(path) for path in files.values()), key=lambda c: c.number)


def choose(claims: Sequence[Claim], wanted: Sequence[str | int]) -> list[Claim]:
    """The claims named by id or by number; all of them when none is named. Raises ConfigError for an unknown one."""
    by_name = {c.id: c for c in claims} | {str(c.number): c for c in claims}
    words = [str(word) for word in wanted]
    for word in words:
        if word not in by_name:
            known = ", ".join(c.id for c in claims)
            raise ConfigError(f"there is no claim '{word}' (claims: {known})", did_you_mean(word, by_name))
    return [c for c in claims if not words or {c.id, str(c.number)} & set(words)]


def read_claim(path: Path) -> Claim:
    """The claim in an overlay. Raises ConfigError that says what is missing."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
        return _claim(path.stem, tree["claim"])
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: no readable claim ({type(error).__name__}: {' '.join(str(error).split())})",
                          "see CONTRIBUTING.md, Add a claim") from error  # fmt: skip


def _claim(name: str, node: Mapping[str, Any]) -> Claim:
    known = set(Claim.__dataclass_fields__) - {"id"}
    if foreign := set(node) - known:
        raise ValueError(f"unknown keys {', '.join(sorted(foreign))}")
    predictions = tuple(
        Prediction(
            str(p["id"]), _text(p["quantity"]), str(p["direction"]), float(p["threshold"]), bool(p.get("quick", True))
        )
        for p in node["predictions"]
    )
    for p in predictions:
        if p.direction not in DIRECTIONS:
            raise ValueError(f"{p.id}: direction is {p.direction}, expected {' or '.join(DIRECTIONS)}")
    arms = tuple(_arm(str(name), settings) for name, settings in (node.get("arms") or {}).items())
    section, title, says, setup = (_text(node[key]) for key in ("section", "title", "says", "setup"))
    note = _text(node["note"]) if node.get("note") else dict.fromkeys(LANGUAGES, "")
    figures, tables = ({k: _text(v) for k, v in (node.get(key) or {}).items()} for key in ("figures", "tables"))
    return Claim(
        name, int(node["number"]), section, title, says, setup, note, predictions, arms, str(node["measure"]), figures,
        tables,
    )  # fmt: skip


def _arm(name: str, node: Mapping[str, Any]) -> Arm:
    if foreign := set(node) - set(Arm.__dataclass_fields__):
        raise ValueError(f"arm {name}: unknown keys {', '.join(sorted(map(str, foreign)))}")
    sweep, quick = (tuple(map(str, node.get(key, ()))) for key in ("sweep", "quick"))
    return Arm(name, sweep, quick, int(node.get("curves", 64)), bool(node.get("alone", False)))


_WIDE = "\u3000-\u303f\uff00-\uffef"  # full-width punctuation
STRAY = re.compile(rf"(?<=[{_WIDE}]) +| +(?=[{_WIDE}])|(?<=[\u3400-\u9fff”]) +(?=[\u3400-\u9fff“])")
"""YAML folds a line break into a space, which Chinese has neither between characters nor beside full-width marks."""


def _text(node: Mapping[str, Any]) -> Text:
    joined = {language: " ".join(str(node[language]).split()) for language in LANGUAGES}
    return joined | {"zh": STRAY.sub("", joined["zh"])}
