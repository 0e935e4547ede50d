"""The members of conf/, found by being there: what the contract tests run over."""

from __future__ import annotations

import copy
import functools
import importlib
import importlib.util
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from optbench.catalogue import package_of
from optbench.config.groups import KEYS

TESTS = Path(__file__).parent
ROOT = TESTS.parent
CONF = ROOT / "conf"
_LARGE = 3.0  # million parameters


def names(group: str) -> list[str]:
    """Choices of a group, those in folders of it too, without the bases (leading underscore).

    Without those of an extra: their packages are not installed where the tests run. `zoo()` are those; others, whose
    own package may or may not be there, count where it is.
    """
    return [name for name in _all(group) if not _needs_extra(group, name) and not _lacks_package(group, name)]


def listed(group: str) -> list[str]:
    """Choices of a group that `list` shows unasked, whether their packages are here or not."""
    return [name for name in _all(group) if not _needs_extra(group, name)]


def zoo() -> list[str]:
    """The optimizers that the extra zoo brings."""
    return [name for name in _all("optimizer") if _needs_extra("optimizer", name)]


def _all(group: str) -> list[str]:
    files = (p.relative_to(CONF / group) for p in (CONF / group).rglob("*.yaml"))
    return sorted(p.with_suffix("").as_posix() for p in files if not p.stem.startswith("_"))


def _needs_extra(group: str, name: str) -> bool:
    return "\n# extra: " in (CONF / group / f"{name}.yaml").read_text(encoding="utf-8")


def _lacks_package(group: str, name: str) -> bool:
    package = package_of(group, name)
    return package is not None and importlib.util.find_spec(package[0]) is None


def read(group: str, name: str) -> dict[str, Any]:
    """The YAML of one member, as it stands."""
    return copy.deepcopy(_read(group, name))


@functools.cache
def _read(group: str, name: str) -> dict[str, Any]:
    found = OmegaConf.to_container(OmegaConf.load(CONF / group / f"{name}.yaml"), resolve=False)
    assert isinstance(found, dict)
    return found


def target(group: str, name: str) -> Any:
    """The object that `_target_` names."""
    module, _, attribute = read(group, name)["_target_"].rpartition(".")
    if module.startswith(("torchvision", "timm")):
        import optbench.vision  # noqa: F401  declares the operators that a CPU build of torch lacks
    return getattr(importlib.import_module(module), attribute)


def keywords(group: str, name: str) -> dict[str, Any]:
    """The constructor's keywords in the YAML: as on a surface; other interpolations as they stand."""
    of_building = ("defaults", "_target_", "_partial_", *(KEYS if group == "optimizer" else ()))
    raw = {k: v for k, v in read(group, name).items() if k not in of_building}
    return {k: _on_a_surface(v) for k, v in raw.items()}


def _on_a_surface(value: Any) -> Any:
    match = re.fullmatch(r"\$\{by_problem:([^,]+),[^,]+\}", value) if isinstance(value, str) else None
    return yaml.safe_load(match[1]) if match else value


def make(group: str, name: str, *args: Any, **changes: Any) -> Any:
    """The member built with its YAML's keywords, changed by `changes`."""
    return target(group, name)(*args, **{**keywords(group, name), **changes})


def left_out(group: str, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The numbers that a member's target takes where they are left out, but for the rate, and those of conf."""
    parameters = inspect.signature(target(group, name)).parameters
    said = {key: value for key, value in keywords(group, name).items() if not isinstance(value, str)}
    found = {key: p.default for key, p in parameters.items() if isinstance(p.default, float | int | tuple)}
    kept = found.keys() & said.keys() - {"lr"}
    plain = {key: tuple(value) if isinstance(value, list) else value for key, value in said.items()}
    return {key: found[key] for key in kept}, {key: plain[key] for key in kept}


def own(group: str) -> list[str]:
    """Names in a group that are built by this package's own code."""
    return [name for name in names(group) if str(read(group, name)["_target_"]).startswith("optbench.")]


def takes_groups(optimizer: Any) -> bool:
    """Whether an optimizer, by name or as a callable of parameters, has several parameter groups; one that searches
    along a line (L-BFGS) has one for all."""
    import torch

    build = functools.partial(make, "optimizer", optimizer) if isinstance(optimizer, str) else optimizer
    try:
        build([{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)]}])
    except ValueError as error:
        assert "parameter" in str(error)  # noqa: PT017
        return False
    return True


def surfaces() -> list[str]:
    """Names in conf/model that are surfaces."""
    return [n for n in names("model") if "_surface" in str(read("model", n).get("defaults", ""))]


def networks() -> list[str]:
    """Names in conf/model that are networks on images."""
    return [n for n in names("model") if "_network" in str(read("model", n).get("defaults", ""))]


def millions(network: str) -> float | None:
    """Its parameters in millions, as its catalogue entry says; None where it does not."""
    said = re.search(r"([\d.]+) M parameters", (CONF / "model" / f"{network}.yaml").read_text(encoding="utf-8"))
    return float(said[1]) if said else None


def network_cases() -> list[Any]:
    """The networks as cases of a test; the large ones of other packages are slow."""
    large = {
        n
        for n in networks()
        if (millions(n) or 0.0) > _LARGE and not read("model", n)["_target_"].startswith("optbench.")
    }
    return [pytest.param(n, marks=pytest.mark.slow if n in large else ()) for n in networks()]
