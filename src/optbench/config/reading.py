"""YAML files read once: what Hydra composes a configuration of, kept from one composition to the next.

Hydra reads some twenty files for each composition, most of them its own; that was a third of the time. A sweep over 40
surfaces and 20 optimizers composes 800 times, and a loop of `optbench.run` as often as it goes round. Here each file is
read when it is first asked for, and again only when it is another by its time, size and inode.
"""

from __future__ import annotations

import copy
import os
from typing import Any

from hydra._internal.config_repository import ConfigRepository
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource

_Stamp = tuple[Any, ...]
_read: dict[tuple[str, str, str], tuple[_Stamp, ConfigResult]] = {}
"""By provider, place and name of the file: what it was when it was read, and what was in it; of this process."""


class Reading(ConfigRepository):
    """Hydra's repository; what it gives is the caller's own, who may change it."""

    def load_config(self, config_path: str) -> ConfigResult | None:
        """The file of this name, without its ending, from the first place that has one; None where none has."""
        source = self._find_object_source(config_path=config_path, object_type=ObjectType.CONFIG)
        stamp = None if source is None else _stamp(source, config_path)
        if source is None or stamp is None:
            return super().load_config(config_path)
        key = source.provider, source.path, config_path
        before, found = _read.get(key, (None, None))
        if found is None or before != stamp:
            found = super().load_config(config_path)
            if found is None:  # it went away meanwhile
                return None
            _read[key] = stamp, found
        return copy.deepcopy(found)

    def __deepcopy__(self, memo: dict[int, Any]) -> Reading:
        """One whose places may be set anew: Hydra makes it for each composition."""
        made = copy.copy(self)
        made.sources = list(self.sources)
        return made


def _stamp(source: ConfigSource, config_path: str) -> _Stamp | None:
    """What tells whether a file is still what was read; None where nothing does (a class that may be another one)."""
    if source.scheme() == "pkg" and source.provider == "hydra":  # installed with Hydra: what it was, as its modules are
        return ()
    if source.scheme() != "file":
        return None
    try:
        found = os.stat(os.path.join(source.path, source._normalize_file_name(config_path)))
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
