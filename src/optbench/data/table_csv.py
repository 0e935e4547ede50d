"""A table of one's own: a CSV file with a heading, one column (or some) to be learnt from the others."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from optbench.data._arrays import TASKS, check_task
from optbench.data._tables import MOST_KINDS, Rows
from optbench.errors import DataError
from optbench.folders import place_of

_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})


class Table(Rows):
    """Rows of a CSV file.

    A column of words alone, of at most 20 kinds, is as many inputs, one for each kind in the order of the alphabet: 1
    in its rows, 0 elsewhere.

    Args:
        path: of the file, UTF-8 with a line of headings; relative to where the program was started.
        target: heading of what is to be learnt; of a regression also a list of them.
        task: classification or regression; null: classification where the target is text, or whole numbers of at most
            20 different ones.
        drop: headings of columns that are left out.
        weight: heading of a column of weights, one a row, none negative; null: all rows count alike.
        standardize: whether columns of numbers are measured in standard deviations from the mean of the training rows;
            in a regression the target is, too, so that a loss of 1 is what the mean alone would give.
        n_targets: null; the file says how many numbers a target has.
        validation_share: part of the rows (of each class) for validation, above 0.
        test_share: part for the test, 0 for no test split.
        split_seed: names the cut, which is the same for all seeds of runs.

    Raises:
        DataError: no such file or column; a value that is missing or no number, with its line; one class; a target that
            is the same in each row; too few rows.
    """

    def __init__(
        self,
        path: str,
        target: str | Sequence[str],
        task: str | None = None,
        drop: Sequence[str] = (),
        weight: str | None = None,
        standardize: bool = True,
        n_targets: int | None = None,
        validation_share: float = 0.2,
        test_share: float = 0.1,
        split_seed: int = 0,
    ) -> None:
        check_task(task)
        self._path = path
        columns = _read(place_of(path), path)
        wanted = [target] if isinstance(target, str) else list(target)
        _check_headings(columns, wanted, drop, weight, path)
        classes = task == TASKS[0] if task is not None else len(wanted) == 1 and _are_classes(columns[wanted[0]])
        if classes and len(wanted) > 1:
            raise DataError(
                f"target={wanted}: a classification has one column to be told", "task=regression has several"
            )
        if n_targets is not None and n_targets != (1 if classes else len(wanted)):
            raise DataError(f"n_targets={n_targets}: target names {len(wanted)}", "leave out n_targets")
        used = [name for name in columns if name not in {*wanted, *drop, *([weight] if weight else [])}]
        if not used:
            raise DataError(f"{path}: no column is left to learn {', '.join(wanted)} from")
        inputs = torch.stack([part for name in used for part in self._inputs_of(columns[name], name)], dim=1)
        names, targets = (
            self._classes(columns[wanted[0]], wanted[0]) if classes else ([], self._targets_of(columns, wanted))
        )
        weights = None if weight is None else self._weights_of(columns[weight], weight)
        lines = [f"line {number + 2}" for number in range(len(inputs))]
        super().__init__(
            path, inputs, targets, names, validation_share, test_share, split_seed, standardize, lines, weights
        )

    def _inputs_of(self, texts: Sequence[str], name: str) -> list[Tensor]:
        """A column of numbers as it is; one of words as a column a kind, 1 where it is that and else 0.

        Raises:
            DataError: words and numbers, or more than 20 kinds.
        """
        kinds = [text.strip() for text in texts]
        if any(_number(kind) is not None or kind.lower() in _MISSING for kind in kinds):
            return [self._numbers(texts, name)]
        ordered = sorted(set(kinds))
        if len(ordered) > MOST_KINDS:
            raise DataError(
                f"{self._path}: column {name!r} has {len(ordered)} different words; up to {MOST_KINDS} are inputs",
                f"leave out the column: data.drop=[{name}]",
            )
        place = torch.tensor([ordered.index(kind) for kind in kinds])
        return [(place == k).double() for k in range(len(ordered))]

    def _numbers(self, texts: Sequence[str], name: str, is_input: bool = True) -> Tensor:
        """A column as float64. Raises DataError naming the line of what is no number."""
        found = []
        hint = (
            f"mend it, or leave out the column: data.drop=[{name}]" if is_input else "mend it, or leave out that line"
        )
        for number, text in enumerate(texts, 2):
            value = _number(text)
            if value is None:
                what = "no value" if text.strip().lower() in _MISSING else f"{text[:40]!r}, which is no finite number,"
                raise DataError(f"{self._path}: column {name!r} has {what} in line {number}", hint)
            found.append(value)
        return torch.tensor(found, dtype=torch.float64)

    def _targets_of(self, columns: Mapping[str, Sequence[str]], wanted: Sequence[str]) -> Tensor:
        """Numbers to learn, (n,) or (n, k). Raises DataError for a column that is the same in each row."""
        found = [self._numbers(columns[name], name, is_input=False) for name in wanted]
        for name, column in zip(wanted, found, strict=True):
            if bool((column == column[0]).all()):
                raise DataError(f"{self._path}: column {name!r} is {columns[name][0]} in each row: nothing to learn")
        return found[0] if len(found) == 1 else torch.stack(found, dim=1)

    def _classes(self, texts: Sequence[str], name: str) -> tuple[list[str], Tensor]:
        """Names of the classes, in order, and the class of each row. Raises DataError."""
        kinds = [text.strip() for text in texts]
        for number, text in enumerate(kinds, 2):
            if text.lower() in _MISSING:
                raise DataError(f"{self._path}: column {name!r} has no value in line {number}", "leave out that line")
        numbers = {kind: _number(kind) for kind in set(kinds)}
        if len({value is None for value in numbers.values()}) > 1:
            odd = next(kind for kind in kinds if numbers[kind] is None)
            where = f"{odd[:40]!r} in line {kinds.index(odd) + 2}"
            raise DataError(f"{self._path}: column {name!r} has numbers and {where}",
                            "its classes are all names or all numbers")  # fmt: skip
        ordered = sorted(numbers, key=lambda kind: (numbers[kind] or 0.0, kind))
        if len(ordered) < 2:
            raise DataError(f"{self._path}: column {name!r} is {ordered[0]} in each row: one class, nothing to tell")
        place = {kind: k for k, kind in enumerate(ordered)}
        return ordered, torch.tensor([place[kind] for kind in kinds])

    def _weights_of(self, texts: Sequence[str], name: str) -> Tensor:
        weights = self._numbers(texts, name, is_input=False)
        if bool((weights < 0).any()) or not bool((weights > 0).any()):
            raise DataError(f"{self._path}: column {name!r} has negative weights, or zeros alone")
        return weights


def _read(place: Path, path: str) -> dict[str, list[str]]:
    """The columns of a file as texts, by heading. Raises DataError."""
    try:
        with place.open(encoding="utf-8-sig", newline="") as text:
            rows = [row for row in csv.reader(text, strict=True) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = getattr(error, "strerror", None) or "no text in UTF-8" if not isinstance(error, csv.Error) else str(error)
        raise DataError(f"data.path={path}: {why}", "a CSV file with a line of headings") from error
    if len(rows) < 2:
        raise DataError(f"data.path={path}: {'no rows below the headings' if rows else 'the file is empty'}",
                        "a line of headings, then a line an example")  # fmt: skip
    heading, *rows = [[cell.strip() for cell in rows[0]], *rows[1:]]
    twice = [name for name in heading if heading.count(name) > 1]
    if twice or "" in heading:
        raise DataError(f"data.path={path}: {f'two columns {twice[0]!r}' if twice else 'a column without a heading'}",
                        "each column has a heading of its own")  # fmt: skip
    for number, row in enumerate(rows, 2):
        if len(row) != len(heading):
            raise DataError(f"data.path={path}: line {number} has {len(row)} values, there are {len(heading)} headings")
    return {name: [row[k] for row in rows] for k, name in enumerate(heading)}


def _check_headings(
    columns: Mapping[str, object], wanted: Sequence[str], drop: Sequence[str], weight: str | None, path: str
) -> None:
    """Raises DataError for a column that is not there, or that is named for two purposes."""
    if not wanted:
        raise DataError("target=[]: expected a column to be learnt")
    named = {"target": wanted, "drop": drop, "weight": [weight] if weight else []}
    for key, names in named.items():
        for name in names:
            if name not in columns:
                shown = ", ".join(list(columns)[:12]) + (" ..." if len(columns) > 12 else "")
                raise DataError(f"data.{key}: {path} has no column {name!r}", f"it has {shown}")
    everything = [name for names in named.values() for name in names]
    twice = [name for name in everything if everything.count(name) > 1]
    if twice:
        raise DataError(f"column {twice[0]!r} is named twice in data.target, data.drop and data.weight")


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _are_classes(texts: Sequence[str]) -> bool:
    """Whether a column is of text, or of few whole numbers."""
    numbers = [_number(text) for text in texts if text.strip().lower() not in _MISSING]
    if not all(value is not None for value in numbers):
        return sum(value is None for value in numbers) > len(numbers) / 2 or len(set(texts)) <= MOST_KINDS
    return all(value is not None and value.is_integer() for value in numbers) and len(set(numbers)) <= MOST_KINDS
