"""Data sets of Hugging Face's `datasets` on local disk, as Arrow columns by split.

A folder of save_to_disk is mapped into memory; files are read by the loaders that `datasets` has for them, into memory
and with its cache in a folder that is removed again. Nothing of a data set is executed, and nothing is fetched: the
library is offline while it reads, columns of pictures stay bytes, and a picture that is an address is refused.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optbench.data._arrays import TASKS, Lists, numbers_of, targets_of
from optbench.data._tables import MOST_KINDS, SPLITS
from optbench.errors import DataError
from optbench.folders import is_junk, place_of
from optbench.problem import Ragged
from optbench.problem.trees import joined as all_rows

_CALLED = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
"""What the splits may be called there."""
_LOADERS = {".parquet": "parquet", ".arrow": "arrow", ".json": "json", ".jsonl": "json", ".csv": "csv", ".tsv": "csv"}
_SAVED = ("dataset_dict.json", "state.json")
"""Files by which a folder of save_to_disk is known: of several splits, of one."""
_SHOWN = 12


@dataclass(frozen=True)
class SavedSet:
    """A data set of Hugging Face's.

    Attributes:
        path: as the user gave it.
        splits: datasets.Dataset by "train", "validation" and "test", as far as they are there, "train" always.
        whole: whether it came in one piece without splits, which then stands as "train".
    """

    path: str
    splits: Mapping[str, Any]
    whole: bool

    @property
    def features(self) -> Mapping[str, Any]:
        """What the columns of the training rows are, by name."""
        return dict(self.splits["train"].features)

    @property
    def sizes(self) -> dict[str, int] | None:
        """Rows of each split; None: it has none."""
        return None if self.whole else {name: len(split) for name, split in self.splits.items()}

    @property
    def names(self) -> list[str]:
        """Of the rows, in order: what they are in Python, such as train[7]."""
        return [f"{name}[{row}]" for name, split in self.splits.items() for row in range(len(split))]

    def where(self, split: str) -> str:
        """Begins messages."""
        return f"data.path={self.path}" + ("" if self.whole else f", {split}")

    def check(self, named: Mapping[str, Sequence[str]], optional: str = "target") -> None:
        """Checks that columns are there and of the same features in each split.

        Args:
            named: columns by the setting that names them.
            optional: of these a test split may lack.

        Raises:
            DataError: naming the setting and the column.
        """
        for key, names in named.items():
            for name in names:
                for split, rows in self.splits.items():
                    if name in rows.features:
                        if rows.features[name] != self.features[name]:
                            what = f"{rows.features[name]} and not {self.features[name]}, as in train"
                            raise DataError(f"{self.where(split)}: column {name!r} is {what}")
                    elif not (split == "test" and key == optional):
                        there = list(rows.features)
                        shown = ", ".join(there[:_SHOWN]) + (" ..." if len(there) > _SHOWN else "")
                        raise DataError(
                            f"data.{key}: {self.where(split).removeprefix('data.path=')} has no column {name!r}",
                            f"it has {shown or 'none'}",
                        )

    def columns(self, names: Sequence[str], split: str) -> Mapping[str, Any]:
        """Columns of a split as pyarrow.Array, without Arrow's extension types."""
        import pyarrow as pa

        rows = self.splits[split]
        table = rows.select_columns([name for name in names if name in rows.features]).with_format("arrow")[:]
        found = {}
        for name in table.column_names:
            column = table.column(name).combine_chunks()
            column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
            found[name] = column.storage if isinstance(column, pa.ExtensionArray) else column
        return found


def read(path: str) -> SavedSet:
    """The data set that lies at a path.

    Args:
        path: a folder of save_to_disk, a folder of files, or a file; relative to where the program was started.

    Raises:
        DataError: nothing there, or no data set, or a broken one; no rows to train on.
    """
    place = place_of(path)
    if not place.exists():
        hint = ("nothing is fetched: datasets.load_dataset(NAME).save_to_disk(FOLDER) where there is a network, "
                "then data.path=FOLDER")  # fmt: skip
        raise DataError(f"data.path={path}: no such file or folder", hint)
    try:
        with _offline() as datasets:
            found = _loaded(datasets, place)
    except DataError as error:
        raise DataError(f"data.path={path}: {error.message}", error.hint) from None
    except Exception as error:  # its loaders let pandas', pyarrow's and any other error of a broken file through
        raise DataError(f"data.path={path}: cannot be read: {_why(error)}") from error
    whole = not isinstance(found, dict)
    splits = {"train": found} if whole else _known(found, path)
    for name, rows in splits.items():
        if not len(rows):
            raise DataError(f"data.path={path}: no rows{'' if whole else f' in split {name!r}'}")
    return SavedSet(path, splits, whole)


@contextlib.contextmanager
def _offline() -> Iterator[Any]:
    """The library, which within it fetches nothing and draws no progress bars; as it was thereafter."""
    import datasets
    import huggingface_hub.constants as hub

    quiet = datasets.are_progress_bars_disabled()
    before = datasets.config.HF_HUB_OFFLINE, hub.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = hub.HF_HUB_OFFLINE = True
    datasets.disable_progress_bars()
    try:
        yield datasets
    finally:
        datasets.config.HF_HUB_OFFLINE, hub.HF_HUB_OFFLINE = before
        if not quiet:
            datasets.enable_progress_bars()


def _loaded(datasets: Any, place: Path) -> Any:
    """A Dataset, or a dict of them. Raises DataError, and what the library's loaders raise."""
    if place.is_dir() and any((place / name).is_file() for name in _SAVED):
        _check_not_empty(place)
        return datasets.load_from_disk(str(place))
    loader = _LOADERS.get(place.suffix.lower())
    if not place.is_dir() and loader is None:
        hint = f"a folder of save_to_disk, or a file that ends in {' '.join(_LOADERS)}"
        raise DataError("no data set of Hugging Face's", hint)
    with tempfile.TemporaryDirectory(prefix="optbench-hf-") as folder:
        # links, since the library takes brackets and stars in a path for patterns
        links = Path(folder, "data").with_suffix("" if place.is_dir() else place.suffix.lower())
        _link(place.resolve(), links)
        options = {"cache_dir": str(Path(folder, "cache")), "keep_in_memory": True}
        if place.suffix.lower() == ".tsv":
            options["sep"] = "\t"
        try:
            if loader is None or place.is_dir():
                return datasets.load_dataset(str(links), **options)
            return datasets.load_dataset(loader, data_files=str(links), split="train", **options)
        except FileNotFoundError as error:  # of a folder; the library's words are of the links
            hint = f"a folder of save_to_disk, or files that end in {' '.join(_LOADERS)}"
            raise DataError("no data set of Hugging Face's in this folder", hint) from error


def _link(place: Path, link: Path) -> None:
    """A link to a file, or a folder of links to the files of a folder."""
    if not place.is_dir():
        os.symlink(place, link)
        return
    link.mkdir()
    for entry in sorted(place.iterdir()):
        if not is_junk(entry.name):
            _link(entry, link / entry.name)


def _check_not_empty(place: Path) -> None:
    """Raises DataError for a part of a saved folder without rows, which the library writes and cannot read."""
    for state in (place / "state.json", *sorted(place.glob("*/state.json"))):
        if state.is_file() and not json.loads(state.read_text(encoding="utf-8")).get("_data_files"):
            raise DataError("no rows" if state.parent == place else f"no rows in split {state.parent.name!r}")


def _known(found: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Those that are trained, validated or tested on, by our names. Raises DataError without one to train on."""
    splits = {}
    for name in SPLITS:
        there = [called for called in _CALLED[name] if called in found]
        if len(there) > 1:
            raise DataError(f"data.path={path}: splits {' and '.join(map(repr, there))}: which one is for {name}?")
        if there:
            splits[name] = found[there[0]]
    if "train" not in splits:
        raise DataError(f"data.path={path}: no split 'train'", f"it has {', '.join(map(str, found)) or 'none'}")
    return splits


def _why(error: BaseException) -> str:
    """The words of the error that another one was raised from, on a line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())[:160] or (
        "it is empty" if isinstance(error, StopIteration) else type(error).__name__
    )


def array_of(values: Any, where: str, name: str) -> NDArray[Any]:
    """A column as an array (n, ...): numbers, switches or text, in lists of one length each.

    Args:
        values: pyarrow.Array, as `SavedSet.columns` gives it.
        where: begins messages.
        name: of the column.

    Raises:
        DataError: a missing value, with its row; lists of other lengths; values that are none of these.
    """
    flat, shape = _flat(values, where, name, ())
    return flat.reshape(len(values), *shape)


def _flat(values: Any, where: str, name: str, shape: tuple[int, ...]) -> tuple[NDArray[Any], tuple[int, ...]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = values.type
    if values.null_count:
        row = int(np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False))[0]) // (int(np.prod(shape)) or 1)
        raise DataError(f"{where}: column {name!r} has no value in row {row}", f"mend it, or data.drop=[{name}]")
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        lengths = sorted(pc.unique(pc.list_value_length(values)).to_pylist())
        if len(lengths) > 1:
            several = f"{lengths[0]} and of {lengths[-1]}"
            raise DataError(
                f"{where}: column {name!r} has lists of {several} values; expected one length",
                f"pad or cut them; data.inputs={name} alone may have several, under collate=pad",
            )
        return _flat(values.flatten(), where, name, (*shape, *lengths))
    if pa.types.is_dictionary(kind):
        return _flat(values.dictionary_decode(), where, name, shape)
    if pa.types.is_decimal(kind):
        return values.cast(pa.float64()).to_numpy(zero_copy_only=False), shape
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return values.to_numpy(zero_copy_only=False), shape
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return np.asarray(values.to_pylist(), dtype=object), shape
    raise DataError(f"{where}: column {name!r} holds {str(kind).split('<')[0]}; expected numbers, arrays or words",
                    f"leave it out: data.drop=[{name}]")  # fmt: skip


def joined_lists(saved: SavedSet, name: str, labelled: Sequence[str] = SPLITS) -> NDArray[Any] | Lists:
    """As `joined`; of a column of lists that differ in length the rows. Raises DataError as `joined` does."""
    import pyarrow as pa
    import pyarrow.compute as pc

    _check_kind(saved, name)
    splits = [split for split in saved.splits if split in labelled]
    columns = [saved.columns([name], split)[name] for split in splits]
    kind = columns[0].type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or any(column.null_count for column in columns):
        return joined(saved, name, labelled)
    lengths = [np.asarray(pc.list_value_length(column)).astype(np.int64) for column in columns]
    if len(np.unique(np.concatenate(lengths))) == 1:
        return joined(saved, name, labelled)
    parts = []
    for split, column, own in zip(splits, columns, lengths, strict=True):
        flat = column.flatten()
        if flat.null_count:
            at = int(np.flatnonzero(flat.is_null().to_numpy(zero_copy_only=False))[0])
            row = int(np.searchsorted(np.cumsum(own), at, side="right"))
            raise DataError(f"{saved.where(split)}: column {name!r} has no value in row {row}", "mend it")
        found, shape = _flat(flat, saved.where(split), name, ())
        rows = Lists(found.reshape(-1, *shape), own)
        parts.append(rows.values if found.dtype == object else
                     numbers_of(rows.values, saved.where(split), name, rows))  # fmt: skip
    return Lists(np.concatenate(parts), np.concatenate(lengths))


def joined(saved: SavedSet, name: str, labelled: Sequence[str] = SPLITS) -> NDArray[Any]:
    """A column over some splits, one below the other: finite numbers as of `numbers_of`, or text as objects.

    Raises:
        DataError: as of `array_of` and `numbers_of`; lists of another length in another split.
    """
    _check_kind(saved, name)
    parts = []
    for split in (one for one in saved.splits if one in labelled):
        found = array_of(saved.columns([name], split)[name], saved.where(split), name)
        parts.append(found if found.dtype == object else numbers_of(found, saved.where(split), name))
        if parts[-1].shape[1:] != parts[0].shape[1:]:
            shapes = f"{parts[-1].shape[1:]} in {split} and {parts[0].shape[1:]} in train"
            raise DataError(f"data.path={saved.path}: column {name!r} is of shape {shapes}")
    return np.concatenate(parts)


_READ = ("Value", "ClassLabel", "List", "LargeList", "Sequence", "Array2D", "Array3D", "Array4D", "Array5D")
"""Features that are numbers or words; others may lie there as text all the same."""


def _check_kind(saved: SavedSet, name: str) -> None:
    """Raises DataError for a column of pictures, of sounds, or of values of several types."""
    kind = type(saved.features[name]).__name__
    if kind not in _READ:
        says = {"Image": "data=hf_images reads pictures", "Json": "it has values of several types"}
        hint = says.get(kind, "columns of numbers, words and arrays are read")
        raise DataError(f"data.path={saved.path}: column {name!r} is of type {kind}",
                        f"{hint}; data.drop=[{name}] leaves it out")  # fmt: skip


def learnt(saved: SavedSet, wanted: Sequence[str], task: str | None) -> tuple[list[str], Tensor | Ragged, list[str]]:
    """Names of the classes, the targets of all rows, and the splits that have none.

    Text, switches, a ClassLabel and whole numbers of at most 20 kinds are classes, unless the task says otherwise. A
    test split has no targets where the column is not there, holds nothing, or -1 for every class.

    Args:
        saved: the data set.
        wanted: columns to be learnt, more than one of a regression alone.
        task: classification, regression, or None.

    Raises:
        DataError: as of `targets_of` and `joined`; a row without a class, or with one that has no name.
    """
    if not wanted:
        raise DataError("target=[]: expected a column to be learnt")
    if len(wanted) > 1 and task == TASKS[0]:
        raise DataError(f"target={list(wanted)}: a classification has one column to be told",
                        "task=regression has several")  # fmt: skip
    without = ["test"] if "test" in saved.splits and any(_holds_nothing(saved, name) for name in wanted) else []
    labelled = [name for name in saved.splits if name not in without]
    where, name = f"data.path={saved.path}", wanted[0]
    targets: Tensor | Ragged
    if len(wanted) > 1:
        several: Any = [targets_of(joined(saved, one, labelled), where, one, TASKS[1])[1] for one in wanted]
        names, targets = list[str](), torch.stack(several, dim=1)
    elif (called := classes_of(saved, name)) is not None:
        if task == TASKS[1]:
            raise DataError(
                f"task=regression: column {name!r} of {saved.path} is a ClassLabel, whose numbers are names"
            )
        names, targets = called, torch.from_numpy(_class_numbers(saved, name, called, labelled))
    else:
        values = joined_lists(saved, name, labelled)
        if isinstance(values, Lists):
            if values.values.dtype == object:
                values = Lists(values.values.astype(str), values.lengths)
        elif values.dtype == object:
            values = values.astype(str)
        elif task is None and values.ndim == 1 and values.dtype.kind == "i" and len(np.unique(values)) > MOST_KINDS:
            task = TASKS[1]
        names, targets = targets_of(values, where, name, task)
    if without:
        shape = (len(saved.splits["test"]), *(targets.values if isinstance(targets, Ragged) else targets).shape[1:])
        nothing = torch.zeros(shape, dtype=targets.dtype)
        targets = all_rows([targets, Ragged.of(nothing[:, None]) if isinstance(targets, Ragged) else nothing])
    return names, targets, without


def classes_of(saved: SavedSet, name: str) -> list[str] | None:
    """The names of a column that is a ClassLabel; None: it is none."""
    feature = saved.features[name]
    return list(feature.names) if type(feature).__name__ == "ClassLabel" else None


def _holds_nothing(saved: SavedSet, name: str) -> bool:
    """Whether the test split has a column of that name in which there is nothing, or none at all."""
    if name not in saved.splits["test"].features:
        return True
    values = saved.columns([name], "test")[name]
    unknown = classes_of(saved, name) is not None and not values.null_count and bool((np.asarray(values) == -1).all())
    return unknown or values.null_count == len(values)


def _class_numbers(saved: SavedSet, name: str, names: Sequence[str], labelled: Sequence[str]) -> NDArray[np.int64]:
    """The classes of the rows of some splits, (n,). Raises DataError for a row that has none, or a single class."""
    for split in labelled:
        numbers = array_of(saved.columns([name], split)[name], saved.where(split), name)
        if len(wrong := np.flatnonzero((numbers < 0) | (numbers >= len(names)))):
            row = int(wrong[0])
            raise DataError(f"{saved.where(split)}: column {name!r} has {numbers[row]} in row {row}, which is no class",
                            "leave out such rows: filter(...), then save_to_disk")  # fmt: skip
        if split == "train" and len(kinds := np.unique(numbers)) < 2:
            kind = names[kinds[0]]
            raise DataError(f"{saved.where(split)}: column {name!r} is {kind} in each row: one class, nothing to tell")
    return joined(saved, name, labelled)
