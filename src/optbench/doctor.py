"""Whether this machine is fit to run optbench: what is installed, what works, where things are."""

from __future__ import annotations

import importlib
import os
import platform
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from optbench.experiment.provenance import package_version, processor
from optbench.paths import conf_folder

PACKAGES = (
    "optbench",
    "torch",
    "torchvision",
    "hydra-core",
    "omegaconf",
    "numpy",
    "pandas",
    "pyarrow",
    "typer",
    "rich",
)


@dataclass(frozen=True)
class Fact:
    """One line of the doctor.

    Attributes:
        what: was looked at.
        value: was found.
        ok: whether optbench can work with it.
        whole: whether all of it works; a part that does not is named in the value.
    """

    what: str
    value: str
    ok: bool = True
    whole: bool = True

    @property
    def word(self) -> str:
        """ok, part or BAD."""
        return "BAD" if not self.ok else "ok" if self.whole else "part"


def examine(outputs: Path = Path("outputs")) -> list[Fact]:
    """Checks everything that a run needs, by using it."""
    versions = [Fact(name, found or "not installed", bool(found)) for name, found in _versions()]
    return [
        Fact("python", f"{platform.python_version()} on {platform.platform()}"),
        *versions,
        _torch(),
        _torchvision(),
        _conf(),
        _writable(outputs),
    ]


def _versions() -> Iterator[tuple[str, str | None]]:
    return ((name, package_version(name)) for name in PACKAGES)


def _torch() -> Fact:
    try:
        import torch

        gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA device"
        cores = os.cpu_count() or 1
        return Fact("device", f"{processor()}, {cores} cores, {torch.get_num_threads()} torch threads; {gpu}")
    except Exception as error:  # whatever breaks the import is what the doctor is asked about
        return Fact("device", f"torch does not import: {error}", ok=False)


def _torchvision() -> Fact:
    try:
        from optbench.vision import declared_operators, without_compiler  # must come before anything of torchvision

        with without_compiler():
            importlib.import_module("torchvision.transforms.v2")
        if declared_operators:
            words = "transforms, data sets and models work; its compiled operators do not load beside this torch"
            return Fact("torchvision state", f"{words} (declared {', '.join(declared_operators)})", whole=False)
        return Fact("torchvision state", "compiled operators load")
    except Exception as error:  # as above
        return Fact("torchvision state", f"does not import: {error}", ok=False)


def _conf() -> Fact:
    conf = conf_folder()
    return Fact("conf", f"{conf} ({sum(1 for _ in conf.rglob('*.yaml'))} files)")


def _writable(outputs: Path) -> Fact:
    place = outputs if outputs.exists() else Path()
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        return Fact("outputs", f"{outputs.absolute()}: cannot be written ({error.strerror})", ok=False)
    return Fact("outputs", f"{outputs.absolute()}: can be written")
