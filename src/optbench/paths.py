"""Where optbench's own conf/ lies: inside the installed package, else at the top of the source tree."""

from __future__ import annotations

from pathlib import Path

from optbench.errors import ConfigError


def conf_folder() -> Path:
    """The packaged conf/ of a wheel; in an editable install or a checkout, the repository's own."""
    here = Path(__file__).resolve()
    for conf in (here.parents[2] / "conf", here.parent / "conf"):
        if (conf / "config.yaml").is_file():
            return conf
    raise ConfigError("optbench's conf/ folder is missing", "reinstall optbench")
