"""The settings of many configurations, read fast: files that differ in numbers only are parsed once.

YAML costs a millisecond a file, and the thousands of configurations of a sweep are one text with other numbers in it.
So every line `key: number` is taken out, what is left is parsed once with a mark in each such place, and the marks that
come back as values say where the numbers belong. Where they do not all come back (a number inside a text, a key twice)
the file is parsed as it is.

Settings are the dotted keys, those below a group, under the names of today: the seed is none, so the runs of a
configuration share one mapping.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from optbench.errors import RecordError
from optbench.records.files import parse_config, read_text
from optbench.records.vocabulary import flatten, settings_as_now

# Numbers that YAML 1.1 and Python read alike: no octal, no underscore, and an exponent only after a point.
_LINE = re.compile(r"^( *[A-Za-z_]\w*: )(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+(?:e[+-][0-9]+)?)?)$", re.ASCII | re.MULTILINE)
_MARK = 7_310_958_246_000_000
_SIGN = str(_MARK)[:10]  # of every mark, as there are fewer than a million
_AT_MOST = 500

Settings = Mapping[str, Any]


class SettingsReader:
    """Reads the settings in config.yaml, dotted and under the names of today, and shares what is equal."""

    def __init__(self) -> None:
        self._templates: dict[tuple[str, ...], _Template | None] = {}
        self._of_text: dict[str, Settings] = {}

    def read(self, path: str) -> tuple[Settings, str | None]:
        """The settings in a file, and their text; None where JSON cannot hold them. Raises RecordError."""
        return self.of_config(read_text(path, "configuration"), path)

    def of_config(self, config: str, path: str) -> tuple[Settings, str | None]:
        """The same of a file's text."""
        template, numbers = self._template_of(config, path)
        if template is None:
            return self._shared(flatten(parse_config(config, path)))
        chosen = tuple(numbers[i] for i in template.dotted)
        found = template.known.get(chosen)
        if found is None:
            found = template.known[chosen] = self._shared(template.filled(numbers))
        return found

    def flat(self, config: str, path: str) -> Mapping[str, Any]:
        """The whole flat configuration of a file's text. Raises RecordError."""
        template, numbers = self._template_of(config, path)
        return flatten(parse_config(config, path)) if template is None else template.filled(numbers)

    def _template_of(self, config: str, path: str) -> tuple[_Template | None, list[str]]:
        pieces = _LINE.split(config)  # text, key, number, text, key, number, ... text
        numbers = pieces[2::3]
        del pieces[2::3]
        shape = tuple(pieces)
        if shape not in self._templates and len(self._templates) < _AT_MOST:
            self._templates[shape] = _template(pieces, path)
        return self._templates.get(shape), numbers

    def _shared(self, flat: Mapping[str, Any]) -> tuple[Settings, str | None]:
        settings = {key: value for key, value in settings_as_now(flat).items() if "." in key}
        try:
            text = json.dumps(settings)
        except (TypeError, ValueError):  # a date
            return settings, None
        found = self.of_text(text)
        return (found, text) if found == settings else (settings, None)  # NaN, keys that are no words

    def of_text(self, text: str) -> Settings:
        """The settings that a text of `read` stands for."""
        found = self._of_text.get(text)
        if found is None:
            found = self._of_text[text] = json.loads(text)
        return found


class _Template:
    """A flat configuration with marks in it, which number belongs to which setting, and the settings made so far."""

    def __init__(self, flat: Mapping[str, Any], places: Mapping[int, str]) -> None:
        self.flat = flat
        self.places = sorted(places.items())
        self.dotted = [i for i, key in self.places if "." in key]
        self.known: dict[tuple[str, ...], tuple[Settings, str | None]] = {}

    def filled(self, numbers: Sequence[str]) -> dict[str, Any]:
        """The flat configuration with these numbers in it."""
        flat = dict(self.flat)
        for i, key in self.places:
            flat[key] = float(numbers[i]) if "." in numbers[i] else int(numbers[i])
        return flat


def _template(pieces: Sequence[str], path: str) -> _Template | None:
    """The template of a text that was split; None where it is not sure that numbers are all that it leaves open."""
    count = len(pieces) // 2
    if any(_SIGN in piece for piece in pieces):
        return None
    marked = "".join(piece + (str(_MARK + i // 2) if i % 2 else "") for i, piece in enumerate(pieces))
    try:
        flat = flatten(parse_config(marked, path))
    except RecordError:
        return None  # its message would speak of the marks
    found = {value - _MARK: key for key, value in flat.items() if type(value) is int and 0 <= value - _MARK < count}
    if len(found) != count or str(flat).count(_SIGN) != count:  # a mark in a key or in a text too
        return None
    return _Template(flat, found)
