"""Data that a process reads once: the runs that a worker has one after the other are mostly on the same.

Kept are data sets of this package: what they are is their configuration and the fingerprint of their folder, and they
draw nothing from the random streams of a run. Anyone else's may do either differently, and is built for each run.
Images of folders lie decoded in a file that is mapped, so that the workers of a machine share their memory too.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from optbench.config import build
from optbench.experiment.sources import KEY

if TYPE_CHECKING:
    from optbench.experiment.plan import Planned

_OURS = "optbench.data."
_kept: dict[str, Any] = {}
_fingerprints: list[str | None] = []


@contextlib.contextmanager
def keeping_data(planned: Planned) -> Iterator[None]:
    """Within it the data of this run are those of the run before, if they are the same, and are kept for the next."""
    _fingerprints.append(planned.data_fingerprint)
    try:
        yield
    finally:
        _fingerprints.pop()


def built_data(config: Mapping[str, Any]) -> Any:
    """The data set of a configuration, None where it has none; see keeping_data. Raises what building it raises."""
    node = config["data"]
    if node.get("folds") is not None:
        from optbench.problem.folds import KEYS, divided  # imports torch

        return divided(_built(config, {k: v for k, v in node.items() if k not in KEYS}), node)
    return _built(config, node)


def _built(config: Mapping[str, Any], node: Mapping[str, Any]) -> Any:
    if not _fingerprints or not str(node.get("_target_")).startswith(_OURS):
        return build(node, "data")
    content = (config.get(KEY) or {}).get("data")  # of a file that a setting names
    key = json.dumps([node, _fingerprints[-1], content], sort_keys=True, default=str)
    if key not in _kept:
        _kept.clear()  # one at a time: they can be large
        data: Any = build(node, "data")
        data.load = functools.cache(data.load)
        _kept[key] = data
    return _kept[key]
