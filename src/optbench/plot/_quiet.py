"""matplotlib, imported before anything of it is used: where its folder in HOME cannot be written, it uses a temporary
one, and says so in two lines that a user of optbench can do nothing with."""

from __future__ import annotations

import logging

_log = logging.getLogger("matplotlib")
_before = _log.level
_log.setLevel(logging.ERROR)
try:
    import matplotlib as mpl

    mpl.get_configdir()  # both are asked for once, and remembered
    mpl.get_cachedir()
finally:
    _log.setLevel(_before)
