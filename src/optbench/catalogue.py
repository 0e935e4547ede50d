"""What there is to choose from: group, name and one line, read from conf/ as text. No Hydra, no torch.

The first comment line of a YAML (after Hydra's own `# @package` header, where there is one) is its catalogue entry, and
the only place where that sentence is written. So is a comment line `# book: ...` for how the member differs from what
the book calls by its name. `# batch: full` says of an optimizer that it is descent on the whole data set. `# tune: ...`
is an override over whose values `tune` searches, with its source in brackets; `# tune on a surface: ...` there alone.
`# loss: NAME` in the YAML of a data set is the loss that networks on it have where nobody chooses one, `# sizes:
module.function` what says sizes that the YAML leaves null. `# zh: ...` is the entry in Chinese, for pages that are.
`# extra: NAME` says that the code of a member comes with an extra of the package. `# package: NAME (EXTRA)` says which
package the code of a member imports, and the extra that brings it.

Metrics are chosen by a setting, trainer.metrics, and so are no group of a configuration; they lie in conf/metric/ like
the others.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from optbench.errors import ConfigError
from optbench.paths import conf_folder
from optbench.settings import did_you_mean

GROUPS = ("model", "data", "augment", "collate", "loss", "optimizer", "wrap", "scheduler", "trainer", "experiment")
"""The open sets, one folder of conf/ each, in the order in which people choose."""
METRIC = "metric"
"""The open set of what trainer.metrics names: a setting, and so no part of a composition."""
CALLBACK = "callback"
"""The open set of what `--callback` names: no part of a run, and of no composition."""
LISTED = (*GROUPS, METRIC, CALLBACK)
"""All open sets."""


_BOOK, _BATCH, _ROOT, _LOSS, _SIZES = "# book: ", "# batch: ", "# root: ", "# loss: ", "# sizes: "
_CHINESE = "# zh: "
_EXTRA = "# extra: "
_PACKAGE = "# package: "


@dataclass(frozen=True)
class Entry:
    """One choice: `group=name`, what it is, whether it comes from the user's own folder, how it differs from the book's
    of that name, and the extra that it needs ("" where there is nothing to say)."""

    group: str
    name: str
    description: str
    own: bool = False
    book: str = ""
    extra: str = ""


def catalogue(group: str | None = None, config_dirs: Sequence[Path] = ()) -> list[Entry]:
    """All choices, or those of one group, sorted within groups. Raises ConfigError for an unknown group."""
    if group is not None and group not in LISTED:
        raise ConfigError(f"there is no group '{group}' (groups: {', '.join(LISTED)})", did_you_mean(group, LISTED))
    found: dict[tuple[str, str], Entry] = {}
    for folder in (conf_folder(), *config_dirs):
        if not folder.is_dir():
            raise ConfigError(f"--config-dir {folder}: no such folder")
        for name in [group] if group else LISTED:
            found |= {(e.group, e.name): e for e in _entries(folder, name)}
    return sorted(found.values(), key=lambda e: (LISTED.index(e.group), e.name))


def having(group: str, key: str) -> list[str]:
    """The choices of a group whose own YAML in the packaged conf/ has this key, those of an extra left out."""
    pattern = re.compile(rf"^{re.escape(key)}:", re.MULTILINE)
    files = (f for f in (conf_folder() / group).rglob("*.yaml") if group in GROUPS and not f.stem.startswith("_"))
    texts = ((f.stem, f.read_text("utf-8")) for f in files)
    return sorted(name for name, text in texts if pattern.search(text) and f"\n{_EXTRA}" not in text)


def surface_names(config_dirs: Sequence[Path] = ()) -> list[str]:
    """Names of the models that are surfaces: those whose YAML builds on a base that begins with _surface."""
    files = (f for folder in (conf_folder(), *config_dirs) for f in (folder / "model").rglob("*.yaml"))
    pattern = re.compile(r"^defaults:\s*\[?[\s-]*_surface", re.MULTILINE)
    return sorted({f.stem for f in files if not f.stem.startswith("_") and pattern.search(f.read_text("utf-8"))})


@dataclass(frozen=True)
class Metric:
    """What the YAML of a metric says of it.

    Attributes:
        name: of it.
        description: its catalogue line.
        direction: "max" or "min": which values are better.
    """

    name: str
    description: str
    direction: str


@functools.cache
def packaged_metrics() -> Mapping[str, Metric]:
    """The metrics of the packaged conf/, by name."""
    found = {}
    for path in sorted((conf_folder() / METRIC).glob("*.yaml")):
        direction = re.search(r"^direction: (max|min)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert direction is not None, f"{path}: no line direction: max, or min"
        found[path.stem] = Metric(path.stem, first_comment(path), direction[1])
    return MappingProxyType(found)


def metric_file(name: str, config_dirs: Sequence[Path] = ()) -> Path | None:
    """The YAML of a metric, of several folders that have it the last one's; None where there is none."""
    files = [folder / METRIC / f"{name}.yaml" for folder in (conf_folder(), *config_dirs)]
    return next((file for file in reversed(files) if file.is_file()), None)


def _entries(conf: Path, group: str) -> Iterator[Entry]:
    for path in (conf / group).rglob("*.yaml"):
        name = path.relative_to(conf / group).with_suffix("").as_posix()
        if not path.name.startswith("_"):
            remarks = _comment(path, _BOOK), _comment(path, _EXTRA)
            yield Entry(group, name, first_comment(path), conf != conf_folder(), *remarks)


def against_the_book(optimizer: str, target: str) -> str:
    """How an optimizer of the packaged conf/ differs from the book's of that name, in a line; "" where it does not.

    Args:
        optimizer: its name.
        target: what its configuration builds; of another class by that name nothing is known.
    """
    return _remark(_BOOK, "optimizer", optimizer, target)


def wants_whole_batch(optimizer: str, target: str) -> bool:
    """Whether an optimizer of the packaged conf/ is one of the whole data set; arguments as of `against_the_book`."""
    return _remark(_BATCH, "optimizer", optimizer, target) == "full"


def makes_its_root(data: str, target: str) -> bool:
    """Whether a data set of the packaged conf/ writes what lies in its root; arguments as of `against_the_book`."""
    return _remark(_ROOT, "data", data, target) == "made"


def loss_of_data(data: str, config_dirs: Sequence[Path] = ()) -> str | None:
    """The loss that the YAML of a data set asks for; None where it asks for none. Of several folders that have the data
    set the last one counts."""
    words = _comment(there, _LOSS).split() if (there := _file_of("data", data, config_dirs)) else []
    return words[0] if words else None


def sizes_of_data(data: str, config_dirs: Sequence[Path] = ()) -> str | None:
    """The dotted name of the function that knows sizes of a data set (`# sizes:`, see `config.sizes`); None: there is
    none. Of several folders that have the data set the last one counts."""
    return (_comment(there, _SIZES).strip() or None) if (there := _file_of("data", data, config_dirs)) else None


def described(group: str, name: str, language: str, config_dirs: Sequence[Path] = ()) -> str:
    """The catalogue entry of a choice in a language, en or zh: in English where it has none in Chinese, "" where there
    is no such choice. Of several folders that have it the last one counts."""
    if (there := _file_of(group, name, config_dirs)) is None:
        return ""
    return (_comment(there, _CHINESE) if language == "zh" else "") or first_comment(there)


def _file_of(group: str, name: str, config_dirs: Sequence[Path]) -> Path | None:
    """The YAML of a choice, the last one of several folders that have it."""
    files = [folder / group / f"{name}.yaml" for folder in (conf_folder(), *config_dirs)]
    return next((file for file in reversed(files) if file.is_file()), None)


def grown_by(axis: str, model: str, config_dirs: Sequence[Path] = ()) -> str | None:
    """The setting of a model that is its width or depth (`# width: model.KEY` in its YAML); None where none is. Of
    several folders that have the model the last one counts."""
    there = _file_of("model", model, config_dirs)
    words = _comment(there, f"# {axis}: ").split() if there else []
    return words[0] if words else None


def growing(axis: str, config_dirs: Sequence[Path] = ()) -> list[str]:
    """The models whose YAML names a setting that is their width or depth, in order."""
    folders = [folder / "model" for folder in (conf_folder(), *config_dirs)]
    names = {file.stem for folder in folders for file in folder.glob("[!_]*.yaml")}
    return sorted(name for name in names if grown_by(axis, name, config_dirs))


def extra_of(group: str, name: str, config_dirs: Sequence[Path] = ()) -> str:
    """The extra that brings the code of a choice; "" where it needs none. Of several folders the last one counts."""
    return _comment(there, _EXTRA) if (there := _file_of(group, name, config_dirs)) else ""


def package_of(group: str, name: str, config_dirs: Sequence[Path] = ()) -> tuple[str, str] | None:
    """The package that the code of a choice imports and the extra that brings it; None: none beside what is there
    anyway. Of several folders the last one counts."""
    there = _file_of(group, name, config_dirs)
    match = re.fullmatch(r"(\w+) \((\w+)\)", _comment(there, _PACKAGE)) if there else None
    return (match[1], match[2]) if match else None


@functools.lru_cache
def _remark(begins: str, group: str, name: str, target: str) -> str:
    path = conf_folder() / group / f"{name}.yaml"
    known = path.is_file() and f"_target_: {target}" in path.read_text(encoding="utf-8").splitlines()
    return _comment(path, begins) if known else ""


_TUNE = re.compile(r"# tune( on a (?P<where>surface|network))?: (?P<override>\S+)(\s+\((?P<source>.*)\))?\s*")


@dataclass(frozen=True)
class Searched:
    """What a YAML says is to be tuned: an override with an interval or with choices, and where that comes from."""

    override: str
    source: str

    @property
    def key(self) -> str:
        """What it sets."""
        return self.override.partition("=")[0]


def searched(group: str, name: str, network: bool, config_dirs: Sequence[Path] = ()) -> list[Searched]:
    """What the YAML of a choice says is to be tuned on a network, or on a surface. Raises ConfigError.

    Args:
        group, name: of the choice; of several folders that have it the last one counts.
        network: which of the two.
        config_dirs: the user's own conf folders.
    """
    there = _file_of(group, name, config_dirs)
    found = []
    for line in there.read_text(encoding="utf-8").splitlines() if there else ():
        if not line.startswith("# tune"):
            continue
        if (match := _TUNE.fullmatch(line)) is None:
            what = "expected # tune: key=tag(log,interval(low,high))  (source), or # tune on a surface: ..."
            raise ConfigError(f"{there}: {line}", what)
        if match["where"] in (None, "network" if network else "surface"):
            found.append(Searched(match["override"], match["source"] or ""))
    return found


def _comment(path: Path, begins: str) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((line.removeprefix(begins) for line in lines if line.startswith(begins)), "")


def first_comment(path: Path) -> str:
    """The first comment line that is not a Hydra header; empty when the file opens with something else."""
    with path.open(encoding="utf-8") as lines:
        for line in map(str.strip, lines):
            if line.startswith("#") and not line.lstrip("# ").startswith("@"):
                return line.lstrip("# ")
            if line and not line.startswith("#"):
                return ""
    return ""
