"""One flat row a run, and the selection of rows by what users type.

A row holds the run's summary under its column names and its configuration under dotted keys. Values are brought to one
form first, so that 1 and 1.0, a list in YAML and the same list in Parquet, and an absent key and a null are equal.
"""

from __future__ import annotations

import difflib
import fnmatch
import functools
import json
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from operator import ge, gt, le, lt
from typing import Any

from optbench.errors import UserError
from optbench.records import NOT_IDENTITY, RUN_COLUMNS, Run, flatten

PROBLEM_COLUMNS = ("model", "data", "loss_name", "data_fingerprint")
_OF_PROBLEM = ("model.", "data.", "loss.", "sources.model", "sources.data", "sources.loss")
PARTS = ("optimizer", "scheduler")
_NO_SETTING = ("choices.", "hydra.", "provenance.")
_FILTER = re.compile(r"\s*([\w.@/-]+?)\s*(!=|<=|>=|==|=|<|>|~)(.*)", re.DOTALL)
_ORDER: dict[str, Callable[[Any, Any], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge}


def canonical(value: Any) -> Any:
    """The value in one hashable form: whole floats as int, sequences as compact JSON text."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return json.dumps({str(k): canonical(v) for k, v in value.items()}, sort_keys=True)
    if isinstance(value, list | tuple):
        return json.dumps([canonical(v) for v in value])
    return value


@dataclass(frozen=True)
class Facts:
    """What is known of a run, or of runs that have it in common.

    Attributes:
        values: summary columns and dotted configuration keys, canonical; None is the same as absent.
    """

    values: Mapping[str, Any]

    @functools.cached_property
    def settings(self) -> Mapping[str, Any]:
        """The dotted configuration keys that affect the numbers."""
        return {k: v for k, v in self.values.items() if "." in k and k not in NOT_IDENTITY and v is not None}

    @functools.cached_property
    def problem_settings(self) -> Mapping[str, Any]:
        """The settings of model, data and loss."""
        return {k: v for k, v in self.settings.items() if k.startswith(_OF_PROBLEM)}

    @functools.cached_property
    def configuration(self) -> Mapping[str, Any]:
        """All other settings."""
        return {k: v for k, v in self.settings.items() if not k.startswith(_OF_PROBLEM)}

    @functools.cached_property
    def problem_key(self) -> Hashable:
        """What makes two runs runs on the same problem."""
        return (*map(self.values.get, PROBLEM_COLUMNS), *sorted(self.problem_settings.items()))

    @functools.cached_property
    def configuration_key(self) -> Hashable:
        """What makes two runs repetitions of each other, up to the seed."""
        return (*map(self.values.get, PARTS), *sorted(self.configuration.items()))


@dataclass(frozen=True)
class Row(Facts):
    """A run and everything known of it."""

    run: Run


def is_shown(key: str) -> bool:
    """Whether a row has a key of a summary or a configuration."""
    return not key.startswith(_NO_SETTING)


def read_row(run: Run) -> Row:
    """The row of a run. Raises RecordError where the folder's configuration cannot be read."""
    values = {k: canonical(v) for k, v in run.summary.items() if not isinstance(v, Mapping)}
    if run.path is not None:
        values.update((k, canonical(v)) for k, v in flatten(run.config).items() if "." in k)
        values["path"] = str(run.path)
    return Row({k: v for k, v in values.items() if is_shown(k)}, run)


def resolve_key(name: str, known: Sequence[str], what: str = "") -> str:
    """The known key that the user means: itself, or the only one that ends in ".name".

    Args:
        name: as typed.
        known: what there is.
        what: the keys are; by default columns and settings of runs.

    Raises:
        UserError: none or several; names close matches.
    """
    if name in known:
        return name
    endings = [key for key in known if key.endswith("." + name)]
    if len(endings) == 1:
        return endings[0]
    if endings:
        raise UserError(f"{name} may be any of {', '.join(sorted(endings))}", "give the whole key")
    ends = {key.rpartition(".")[2]: key for key in reversed(known)}
    close = difflib.get_close_matches(name, [*known, *ends], n=3)
    meant = dict.fromkeys(key if key in known else ends[key] for key in close)
    hint = f"did you mean {' or '.join(meant)}?" if meant else f"columns: {', '.join(known if what else RUN_COLUMNS)}"
    raise UserError(f"no {what} {name!r}" if what else f"no run has a column or setting {name!r}", hint)


def _parse(text: str) -> Any:
    """A filter's right side: number, true, false, null, or the text as it is."""
    words = {"true": True, "false": False, "null": None, "none": None, "": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return canonical(json.loads(text))
    except ValueError:
        pass
    try:
        return canonical(float(text))  # numbers that JSON does not know: .5, 1., inf
    except ValueError:
        return text


def _equal(value: Any, text: str) -> bool:
    if value == _parse(text) or str(value) == text:
        return True
    # "data=none": the name of a choice that reads like the word for nothing is covered by str(); lists are one value
    return "," in text and not text.startswith("[") and any(_equal(value, part.strip()) for part in text.split(","))


def predicate(filter_: str, known: Sequence[str]) -> tuple[str, Callable[[Any], bool]]:
    """The key of a filter, and its test of a value.

    Args:
        filter_: `key=value` (also `key=a,b` for either), `!=`, `<`, `<=`, `>`, `>=`, `~` with a pattern of * and ?.
            Keys are columns of a run or settings; the last part of a setting is enough where it is unique.
        known: the keys that there are.

    Raises:
        UserError: a filter that cannot be read, or an unknown key.
    """
    match = _FILTER.fullmatch(filter_)
    if match is None:
        raise UserError(
            f"filter {filter_!r}: expected key=value", "also !=, <, <=, >, >= and ~ (a pattern with * and ?)"
        )
    name, sign, text = match[1], match[2], match[3].strip()
    key = resolve_key(name, known)
    if sign == "~":
        return key, lambda value: value is not None and fnmatch.fnmatchcase(str(value), text)
    if sign in ("=", "=="):
        return key, lambda value: _equal(value, text)
    if sign == "!=":
        return key, lambda value: not _equal(value, text)
    bound = _parse(text)
    if isinstance(bound, bool) or not isinstance(bound, int | float):
        raise UserError(
            f"filter {filter_!r}: {text!r} is not a number", f"use {name}={text} or {name}~PATTERN for words"
        )
    return key, lambda value: isinstance(value, int | float) and _ORDER[sign](value, bound)
