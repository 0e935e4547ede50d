"""Where a run on a surface starts, and what its draws are seeded with."""

from __future__ import annotations

import zlib
from typing import Any

import members
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from optbench.errors import UserError
from optbench.problem import stream
from optbench.problem.streams import start_values, stream_seed
from optbench.settings import SurfaceTrainer

BOX = ((-5.0, 10.0), (0.0, 15.0))


def start(seed: int = 0, domain: Any = BOX, usual: Any = (1.0, 2.0), **settings: Any) -> list[float]:
    found: list[float] = start_values("Box", domain, usual, SurfaceTrainer(**settings), seed).tolist()
    return found


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(["start", "order", "noise"]), st.lists(st.integers(0, 10**6), max_size=2))
def test_a_stream_is_named_by_seed_purpose_and_position(seed: int, purpose: str, position: list[int]) -> None:
    name = np.random.SeedSequence(entropy=seed, spawn_key=(zlib.crc32(purpose.encode()), *position))
    expected = int(name.generate_state(1, np.uint64)[0]) % 2**63
    assert stream_seed(seed, purpose, *position) == expected == stream(seed, purpose, *position).initial_seed()


def test_seeds_of_recorded_runs_stay_what_they_were() -> None:
    """Runs that were recorded go on from these; in full, since a new NumPy could change them as well."""
    assert [stream_seed(*name) for name in ((0, "start"), (1, "start"), (0, "order", 3))] == [
        7963903186782422553, 7963128663437630247, 5249285400094997556,
    ]  # fmt: skip


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_a_random_start_lies_anywhere_in_the_box(seed: int) -> None:
    drawn = torch.rand(2, generator=stream(seed, "start"), dtype=torch.float64).tolist()
    assert start(seed, start="random") == [low + (high - low) * u for (low, high), u in zip(BOX, drawn, strict=True)]


def test_the_usual_start_is_the_surfaces_and_a_given_one_is_taken_up_to_the_edge() -> None:
    assert start() == [1.0, 2.0]
    for corner in ([-5, 0], [-5, 15], [10, 0], [10, 15]):
        assert start(start=corner) == corner
    assert start(start=[-99, 99], start_anywhere=True) == [-99.0, 99.0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([-5.01, 3], r"x0=-5.01 is outside the domain \[-5, 10\] of Box"),
        ([10.5, 3], "x0=10.5 is outside"),
        ([0, -0.5], r"x1=-0.5 is outside the domain \[0, 15\] of Box"),
        ([0, 15.5], "x1=15.5 is outside"),
        ([-6, 16], "x0=-6 is outside"),
        ([1], "trainer.start has 1 coordinates; Box has 2"),
        ([1, 2, 3], "trainer.start has 3 coordinates; Box has 2"),
    ],
)
def test_another_start_is_refused_by_its_first_wrong_coordinate(given: list[float], words: str) -> None:
    with pytest.raises(UserError, match=words):
        start(start=given)
    if "outside" not in words:
        with pytest.raises(UserError, match=words):
            start(start=given, start_anywhere=True)


@pytest.mark.parametrize("name", members.surfaces())
def test_every_surface_starts_within_its_domain(name: str) -> None:
    surface = members.make("model", name)
    assert start(domain=surface.domain, usual=surface.start, start=list(surface.start)) == list(surface.start)
