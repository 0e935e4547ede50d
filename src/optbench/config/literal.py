"""Values that are texts, written so that Hydra's grammar reads them letter by letter.

A path may hold whatever a file system takes: brackets, commas, an equals sign, an apostrophe, Chinese characters; most
of them mean something in Hydra's grammar, or nothing. So the value of a key that is a path is put between quotes
before Hydra sees it, unless it says by its form that it is meant as Hydra has it: `null`, a text between quotes,
several values of a sweep. Only `${...}` stays what it is everywhere in a configuration, a reference to another setting.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from optbench.catalogue import GROUPS

_PATHS = frozenset(("root", "path", "dir", "file", "folder", "paths", "files", "folders", "unlabelled"))
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_FUNCTION = re.compile(r"(?:choice|shuffle|sort|tag)\(.*\)", re.DOTALL)
_KEY = re.compile(r"[+]*[A-Za-z_][\w./@:-]*")
_NUMBER = re.compile(r"[\d.,eE+-]+|true|false")
_HARMLESS = re.compile(r"[^'\"\\$`!]*")


def is_path(key: str) -> bool:
    """Whether the value of a dotted key is a path, which its last word says: `root`, `dir`, `file`, `own_file` ..."""
    return key.rpartition(".")[2].rpartition("_")[2] in _PATHS


def quoted(text: str) -> str:
    """A text between single quotes, as Hydra's grammar reads it."""
    inside = re.sub(r"(\\*)('|\Z)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), text)
    return f"'{inside}'"


def with_paths_quoted(override: str, sweep: bool = False) -> str:
    """The override as Hydra takes it: where its key is a path, with the value between quotes.

    Args:
        override: as typed; one that is no path, or that Hydra reads as it is meant, stays as it is.
        sweep: whether commas separate values, and choice(...), glob(...) are functions, as they are in a sweep.
    """
    key, equals, value = override.partition("=")
    if not equals or not value or key.startswith("~") or not is_path(key):
        return override
    if _NUMBER.fullmatch(value) and not key.lstrip("+").startswith(("data.", "hydra.", "trainer.")):
        return override  # a square root, perhaps
    if value == "null" or _QUOTED.fullmatch(value) or (key.endswith("s") and value.startswith("[")):
        return override
    if not sweep:
        return f"{key}={quoted(value)}"
    if _FUNCTION.fullmatch(value):
        return override
    parts = [p if p == "null" or _QUOTED.fullmatch(p) else quoted(p) for p in _between_commas(value)]
    return f"{key}={','.join(parts)}"


def corrected(override: str) -> str | None:
    """The override with its value as a text between quotes, and quoted for a shell; None where its value is no text."""
    key, equals, value = override.partition("=")
    if not equals or not value.isprintable() or not _KEY.fullmatch(key) or key.lstrip("+") in GROUPS:
        return None
    if _HARMLESS.fullmatch(value):
        return f"\"{key}='{value}'\""
    return shlex.quote(f"{key}={quoted(value)}")


def _between_commas(text: str) -> Iterator[str]:
    """The parts of a text between the commas that stand outside of quotes."""
    part, at = "", 0
    while at < len(text):
        opened = _QUOTED.match(text, at) if not part else None
        if opened is not None:
            part, at = opened[0], opened.end()
        elif text[at] == ",":
            yield part
            part, at = "", at + 1
        else:
            part, at = part + text[at], at + 1
    yield part
