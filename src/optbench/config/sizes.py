"""What data know of themselves, such as the number of class folders, set where a configuration leaves it open.

The YAML of a data set names a function for it (`# sizes: module.function`), which imports no torch. So whoever gives a
folder need not count what is in it, models see its sizes through the same references, and the run is the one that it
would be with the numbers typed. It hangs on what lies in a folder, so what it had a part in is not kept.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optbench.catalogue import sizes_of_data

if TYPE_CHECKING:
    from omegaconf import DictConfig


def named(config: DictConfig, config_dirs: Sequence[Path]) -> str | None:
    """The dotted name of the function that the data of a configuration have; None: they have none."""
    return sizes_of_data(str(config.hydra.runtime.choices.get("data")), config_dirs)


def settle(config: DictConfig, config_dirs: Sequence[Path]) -> bool:
    """Sets what the data know where it is null; gives whether they were asked. Raises what their function raises."""
    from omegaconf import OmegaConf

    if (function := named(config, config_dirs)) is None or config.get("data") is None:
        return False
    node: Any = OmegaConf.to_container(config.data, resolve=True)
    module, _, name = function.rpartition(".")
    find: Callable[[Mapping[str, Any]], Mapping[str, Any]] = getattr(importlib.import_module(module), name)
    for key, value in find(node).items():
        if key in node and node[key] is None:
            config.data[key] = value
    return True
