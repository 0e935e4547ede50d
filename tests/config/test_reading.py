"""Files that are read once: what is composed of them is what Hydra composes, and an edited one is another file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hydra._internal.config_repository import ConfigRepository
from omegaconf import OmegaConf

from optbench.config import Composer, compose, reading
from optbench.config.kept import Kept

OVERRIDES = [["model=mlp", "optimizer=lion"], ["experiment=book_optimizers"], ["optimizer=rmsprop", "trainer.steps=3"]]


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kept, "take", lambda *what: None)
    monkeypatch.setattr(compose, "_COMPOSED", {})


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


def test_a_shape_is_composed_once_a_process_and_anew_where_the_tree_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "optimizer" / "lion.yaml"
    file.parent.mkdir()

    def rates(*rates: float) -> list[float]:
        found = []
        for rate in rates:
            with Composer([tmp_path]) as composer:
                found.append(composer.compose(["optimizer=lion", f"optimizer.lr={rate}"]).config["optimizer"]["lr"])
                found.append(composer.compose(["optimizer=lion"]).config["optimizer"]["lr"])
        return found

    file.write_text("# mine\n_target_: torch.optim.SGD\n_partial_: true\nlr: 0.5\n")
    assert rates(0.25) == [0.25, 0.5]
    with monkeypatch.context() as patch:
        patch.setattr(Composer, "_composed", lambda *given: pytest.fail("composed again"))
        assert rates(0.25, 0.125) == [0.25, 0.5, 0.125, 0.5]
    file.write_text("# mine\n_target_: torch.optim.SGD\n_partial_: true\nlr: 0.7\n")  # at once, of the same size
    assert rates(0.25) == [0.25, 0.7]
    file.write_text("# mine\n_target_: torch.optim.SGD\n_partial_: true\nlr: ${oc.decode:${oc.env:OPTBENCH_RATE}}\n")
    for rate in ("0.1", "0.2"):
        monkeypatch.setenv("OPTBENCH_RATE", rate)
        assert [float(found) for found in rates(0.25)] == [0.25, float(rate)]
    other = tmp_path / "other" / "optimizer" / "lion.yaml"  # of neither tree it can be told what is in it
    other.parent.mkdir(parents=True)
    other.write_text(file.read_text().replace("oc.decode:", "oc.decode:1").replace("SGD", "Adam"))
    with Composer([tmp_path / "other"]) as composer:
        assert composer.compose(["optimizer=lion"]).config["optimizer"]["_target_"] == "torch.optim.Adam"
