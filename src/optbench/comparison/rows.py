"""One flat row a run, and the selection of rows by what users type.

A row holds the run's summary under its column names and its configuration under dotted keys. Values are brought to one
form first, so that 1 and 1.0, a list in YAML and the same list in Parquet, and an absent key and a null are equal.
"""

from __future__ import annotations

import difflib
import fnmatch
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import ge, gt, le, lt
from typing import Any

from optbench.errors import RecordError, UserError
from optbench.records import NOT_IDENTITY, RUN_COLUMNS, Run, Unreadable, flatten

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
class Row:
    """A run and everything known of it.

    Attributes:
        run: the run.
        values: summary columns and dotted configuration keys, canonical; None is the same as absent.
    """

    run: Run
    values: Mapping[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        """The dotted configuration keys that affect the numbers."""
        return {k: v for k, v in self.values.items() if "." in k and k not in NOT_IDENTITY and v is not None}


def read_row(run: Run) -> Row:
    """The row of a run. Raises RecordError where the folder's configuration cannot be read."""
    values = {k: canonical(v) for k, v in run.summary.items() if not isinstance(v, Mapping)}
    if run.path is not None:
        values.update((k, canonical(v)) for k, v in flatten(run.config).items() if "." in k)
        values["path"] = str(run.path)
    return Row(run, {k: v for k, v in values.items() if not k.startswith(_NO_SETTING)})


def read_rows(runs: Iterable[Run]) -> tuple[list[Row], list[Unreadable]]:
    """The rows of the runs, and the folders whose configuration cannot be read."""
    rows, bad = [], []
    for run in runs:
        try:
            rows.append(read_row(run))
        except RecordError as error:
            assert run.path is not None  # only folders have a file to fail on
            bad.append(Unreadable(run.path, error.message))
    return rows, bad


def known_keys(rows: Iterable[Row]) -> list[str]:
    """Every key that a filter or a grouping may name: the documented columns and what the rows have."""
    return list(dict.fromkeys([*RUN_COLUMNS, *(key for row in rows for key in row.values)]))


def resolve_key(name: str, known: Sequence[str]) -> str:
    """The known key that the user means: itself, or the only one that ends in ".name".

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
    hint = f"did you mean {' or '.join(meant)}?" if meant else f"columns: {', '.join(RUN_COLUMNS)}"
    raise UserError(f"no run has a column or setting {name!r}", hint)


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


def _predicate(filter_: str, known: Sequence[str]) -> Callable[[Row], bool]:
    match = _FILTER.fullmatch(filter_)
    if match is None:
        raise UserError(
            f"filter {filter_!r}: expected key=value", "also !=, <, <=, >, >= and ~ (a pattern with * and ?)"
        )
    name, sign, text = match[1], match[2], match[3].strip()
    key = resolve_key(name, known)
    if sign == "~":
        return lambda row: row.values.get(key) is not None and fnmatch.fnmatchcase(str(row.values[key]), text)
    if sign in ("=", "=="):
        return lambda row: _equal(row.values.get(key), text)
    if sign == "!=":
        return lambda row: not _equal(row.values.get(key), text)
    bound = _parse(text)
    if isinstance(bound, bool) or not isinstance(bound, int | float):
        raise UserError(
            f"filter {filter_!r}: {text!r} is not a number", f"use {name}={text} or {name}~PATTERN for words"
        )

    def ordered(row: Row) -> bool:
        value = row.values.get(key)
        return isinstance(value, int | float) and _ORDER[sign](value, bound)

    return ordered


def select(rows: Sequence[Row], filters: Sequence[str]) -> list[Row]:
    """The rows that pass every filter.

    Args:
        rows: what to choose from.
        filters: `key=value` (also `key=a,b` for either), `!=`, `<`, `<=`, `>`, `>=`, `~` with a pattern of * and ?.
            Keys are columns of a run or settings; the last part of a setting is enough where it is unique.

    Raises:
        UserError: a filter that cannot be read, an unknown key, or no row left.
    """
    known = known_keys(rows)
    left = list(rows)
    for filter_ in filters:
        test = _predicate(filter_, known)
        passed = [row for row in left if test(row)]
        if not passed:
            raise UserError(
                f"no run is left after filter {filter_!r} ({len(left)} before it)", _offer(filter_, left, known)
            )
        left = passed
    return left


def _offer(filter_: str, rows: Sequence[Row], known: Sequence[str]) -> str:
    match = _FILTER.fullmatch(filter_)
    assert match is not None
    key = resolve_key(match[1], known)
    values = sorted({str(row.values.get(key)) for row in rows})
    return f"{key} is {', '.join(values[:8])}{' ...' if len(values) > 8 else ''}"
