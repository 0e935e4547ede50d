"""Where things are: optbench's own conf/, code that is installed, and code of the user's beside a conf folder."""

from __future__ import annotations

import importlib
import os
import site
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from optbench.errors import ConfigError


def conf_folder() -> Path:
    """The packaged conf/ of a wheel; in an editable install or a checkout, the repository's own."""
    here = Path(__file__).resolve()
    for conf in (here.parents[2] / "conf", here.parent / "conf"):
        if (conf / "config.yaml").is_file():
            return conf
    raise ConfigError("optbench's conf/ folder is missing", "reinstall optbench")


_ADDED: set[str] = set()
"""What `importable` has put on the module path."""


def importable(config_dirs: Sequence[Path]) -> None:
    """Puts the user's conf folders on the module path, so that the `.py` files in them can be named by `_target_`.

    They are appended, so that they hide nothing; the last one given comes first, as with YAML.
    Workers start with the module path of the driver: local ones by multiprocessing's own rule, those of Ray and Slurm
    by `launch.remote.Place`. So only code that plans runs has to call this.
    """
    places = [str(folder.resolve()) for folder in reversed(config_dirs)]
    new = [place for place in dict.fromkeys(places) if place in _ADDED or place not in sys.path]
    if new:
        others = [place for place in sys.path if place not in _ADDED]  # Python's own, in their order
        sys.path[:] = [*others, *new, *(p for p in sys.path if p in _ADDED and p not in new)]
        _ADDED.update(new)
        importlib.invalidate_caches()  # a file may have been written a moment ago


def is_installed(file: Path) -> bool:
    """Whether a source file is Python's, an installed package's or optbench's, and not the user's own."""
    whole = os.path.realpath(file)
    return whole.startswith(tuple(_NOT_OWN)) or any(part in _INSTALLED for part in Path(whole).parts)


_INSTALLED = ("site-packages", "dist-packages")


def _places() -> list[str]:
    paths = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    paths += [*site.getsitepackages(), site.getusersitepackages()]
    own = Path(__file__).resolve().parent
    return [os.path.join(os.path.realpath(str(path)), "") for path in (*paths, own) if path]


_NOT_OWN = _places()
