"""Files that are read once: what is composed of them is what Hydra composes, and an edited one is another file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hydra._internal.config_repository import ConfigRepository
from omegaconf import OmegaConf

from optbench.config import Composer, reading
from optbench.config.kept import Kept

OVERRIDES = [["model=mlp", "optimizer=lion"], ["experiment=book_optimizers"], ["optimizer=rmsprop", "trainer.steps=3"]]


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kept, "take", lambda *what: None)


def composed(folders: list[Path] | None = None, *more: str) -> list[str]:
    with Composer(folders or []) as composer:
        return [repr(composer.compose([*overrides, *more])) for overrides in OVERRIDES]


def test_it_is_what_hydra_composes_and_no_file_is_read_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    first = composed()
    with monkeypatch.context() as patch:
        patch.setattr(OmegaConf, "load", lambda file: pytest.fail(f"{file} was read again"))
        assert composed() == first
    with monkeypatch.context() as patch:
        patch.setattr(reading, "Reading", ConfigRepository)
        assert composed() == first


def test_a_file_of_the_same_name_size_and_age_elsewhere_is_another(tmp_path: Path) -> None:
    seen = []
    for folder, rate in (("a", "0.5"), ("b", "0.7"), ("a", "0.5"), ("a", "0.9")):
        file = tmp_path / folder / "optimizer" / "lion.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"# mine\n_target_: torch.optim.SGD\n_partial_: true\nlr: {rate}\n")
        os.utime(file, ns=(1, 1))
        with Composer([tmp_path / folder]) as composer:
            seen.append(composer.compose(["optimizer=lion"]).config["optimizer"]["lr"])
    assert seen == [0.5, 0.7, 0.5, 0.9]
