"""More coordinates: what is searched with proof unasked, and what is said where a proof is not finished."""

from __future__ import annotations

from certified_tools import objective_of

from optbench.critical import critical_points


def test_a_proof_is_tried_in_five_coordinates() -> None:
    found = critical_points(*objective_of("rosenbrock_5d"))
    assert (found.method, found.complete, found.counts()["minimum"], found.counts()["saddle"]) == (
        "certified",
        True,
        2,
        1,
    )


def test_a_proof_without_end_is_returned_as_it_is() -> None:
    """Nothing takes its place; a note says what else there is, unless a proof was asked for by name."""
    objective, box = objective_of("griewank_6d")
    found = critical_points(objective, box, seconds=0.2)
    assert (found.method, found.complete) == ("certified", False)
    assert any("--method numeric" in note for note in found.notes)
    assert not any(
        "--method" in note for note in critical_points(objective, box, method="certified", seconds=0.2).notes
    )
