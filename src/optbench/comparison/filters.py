"""Which runs take part: the selection of rows by what users type, and what to say where none is left."""

from __future__ import annotations

import difflib
import fnmatch
import json
import re
from collections.abc import Callable, Sequence
from operator import ge, gt, le, lt
from pathlib import Path
from typing import Any

from optbench.errors import UserError
from optbench.records import RUN_COLUMNS, RunTable, Unreadable
from optbench.records.columns import canonical

_FILTER = re.compile(r"\s*([\w.@/-]+?)\s*(!=|<=|>=|==|=|<|>|~)(.*)", re.DOTALL)
_ORDER: dict[str, Callable[[Any, Any], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge}


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
    close = difflib.get_close_matches(name, [*known, *ends], n=6)  # a key may be close in whole and by its end
    meant = list(dict.fromkeys(key if key in known else ends[key] for key in close))[:3]
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


def select(table: RunTable, filters: Sequence[str]) -> RunTable:
    """The runs that pass every filter, see `predicate`.

    Raises:
        UserError: a filter that cannot be read, an unknown key, or no run left.
    """
    if not filters:
        return table
    known = table.known
    for filter_ in filters:
        key, test = predicate(filter_, known)
        passed = table.take(table.where(key, test))
        if not len(passed):
            values = sorted({str(value) for value in table.different(key)})
            offer = f"{key} is {', '.join(values[:8])}{' ...' if len(values) > 8 else ''}"
            raise UserError(f"no run is left after filter {filter_!r} ({len(table)} before it)", offer)
        table = passed
    return table


def nothing(paths: Sequence[Path | str], unreadable: Sequence[Unreadable]) -> UserError:
    """What to tell who gave paths without a single run."""
    if unreadable:
        more = f" (and {len(unreadable) - 1} more like it)" if len(unreadable) > 1 else ""
        return UserError(f"no run can be read: {unreadable[0].why}{more}", "run it again, or give other folders")
    names = ", ".join(map(str, paths[:3])) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
    return UserError(f"no runs under {names}", "`optbench run` and `optbench sweep` make some")
