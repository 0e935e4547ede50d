"""YAML files of other tools: plain data alone; what stands for a Python object is the name of what it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from optbench.errors import RecordError
from optbench.foreign.tables import content, decoded
from optbench.records.files import check_yaml

_MOST = 1 << 20


class _Plain(yaml.SafeLoader):
    """Builds nothing: a tuple is a list, any other Python object is the name of what it was."""


def _named(loader: _Plain, suffix: str, node: yaml.Node) -> Any:
    if suffix == "tuple" and isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    kind, _, name = suffix.partition(":")
    return name or (str(node.value) if isinstance(node, yaml.ScalarNode) else kind)


_Plain.add_multi_constructor("tag:yaml.org,2002:python/", _named)


def mapping(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; empty where the file is. Raises RecordError."""
    text = decoded(content(path, _MOST), path)
    try:
        check_yaml(text, path)
        found = yaml.load(text, Loader=_Plain)
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise RecordError(f"{path}: {' '.join(str(error).split())[:200]}") from error
    if found is not None and not isinstance(found, dict):
        raise RecordError(f"{path}: expected a mapping")
    return {str(key): value for key, value in (found or {}).items()}
