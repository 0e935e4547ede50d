"""Budgets of the searches for critical points: wherever one ends, what has been found stands and what is open is said.

No test looks at a clock: a budget ends after so many questions whether there is any left.
"""

from __future__ import annotations

import json
import mmap
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from certified_tools import TABLE, differences, objective_of
from command_tools import invoke

from optbench.critical import critical_points, find_critical
from optbench.critical.budget import Budget, Spent, machine_memory, resident
from optbench.critical.certified import certify
from optbench.critical.points.describe import conclusion
from optbench.critical.proofs.boxes import Trail
from optbench.critical.proofs.field import Field
from optbench.critical.second_proof.verify import verify_arb
from optbench.critical.typed.expression import parse_expression

HOUR = 3600.0


class Patience:
    """Ends after so many questions."""

    def __init__(self, questions: int) -> None:
        self.left = questions

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


def after(questions: int) -> Budget:
    return Budget(HOUR, asked_to_stop=Patience(questions))


def truth(name: str) -> tuple[dict[str, Any], list[list[float]]]:
    (entry,) = (e for e in TABLE if e["name"] == name)
    return entry, [p["x"] for p in entry["points"]]


@pytest.mark.parametrize("name", ["himmelblau", "three_hump_camel", "rosenbrock_3d"])
def test_wherever_a_proof_is_interrupted_no_point_is_lost_or_invented(name: str) -> None:
    objective, box = objective_of(name)
    entry, points = truth(name)
    ended = 0
    for questions in (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144):
        trail = Trail()
        found = certify(objective, box, budget=after(questions), trail=trail)
        assert all("proved" in p.basis for p in found.points)
        extra = [d for d in differences(entry, found) if not d.startswith("0 certified")]
        assert extra == []
        for x in points:
            listed = any(np.allclose(p.x, x, atol=1e-8) for p in found.points)
            regions = [np.array(c.box) for c in found.clusters]
            assert listed or any(((r[:, 0] <= x) & (x <= r[:, 1])).all() for r in regions), x
        assert found.complete or "interrupted" in found.why or found.points
        ended += "interrupted" in found.why
        low, high = trail.cells().get("undecided", (np.empty((0, len(box))),) * 2)
        volume = float(np.prod((high - low) / (np.array(box)[:, 1] - np.array(box)[:, 0]), axis=1).sum())
        assert (volume > 0) == ("interrupted" in found.why)
    assert ended >= 3
    assert certify(objective, box, budget=after(10**6)).complete


@pytest.mark.parametrize("questions", [0, 1, 4, 16, 40, 80, 160, 320])
def test_wherever_a_numerical_search_ends_there_is_an_answer(questions: int) -> None:
    surface = parse_expression("x**4 - 3*x*y + y**2 + abs(x - 0.4)", 2)
    found = find_critical(surface, ((-2.0, 2.0), (-2.0, 2.0)), budget=after(questions))
    notes = " ".join(found.notes)
    assert questions > 40 or "interrupted" in notes
    assert not found.complete
    assert all(p.grad_norm != p.grad_norm or p.grad_norm < 1e-6 for p in found.points)
    if questions == 0:
        assert "stopped in round 1: the search was interrupted" in notes


def test_the_second_proof_says_how_far_it_came() -> None:
    pytest.importorskip("flint")
    objective, box = objective_of("himmelblau")
    proof = verify_arb(objective, certify(objective, box), budget=after(100))
    assert not proof.agrees
    assert "interrupted after 100 boxes; so far" in proof.why
    assert "% of the box" in proof.why


@pytest.mark.parametrize("method", ["certified", "numeric"])
def test_memory_is_a_budget_too(method: str) -> None:
    objective, box = objective_of("himmelblau")
    found = critical_points(objective, box, method=method, budget=Budget(HOUR, memory=10_000_000))
    assert "the memory of 0.01 GB is full" in found.why + " ".join(found.notes)
    assert not found.complete


def test_memory_is_measured() -> None:
    before = resident()
    with mmap.mmap(-1, 240_000_000) as pages:  # not the allocator's, which may have freed memory at hand
        for _ in range(240):
            pages.write(bytes(1_000_000))
        assert 200e6 < resident() - before < 300e6
    assert resident() < machine_memory(1.0)
    with pytest.raises(Spent, match="budget of 0 s"):
        Budget(0.0).poll()


def test_many_coordinates_are_taken_in_small_pieces() -> None:
    """Each evaluation holds few enough Hessians; the budget is asked between two of them."""
    sizes: list[int] = []
    dim = 49

    def surface(x: Any) -> Any:
        if isinstance(x, torch.Tensor):
            sizes.append(len(x))
        return ((x - 0.5) ** 2).sum(dim=-1)

    found = find_critical(surface, ((-1.0, 1.0),) * dim, budget=after(80))
    assert [p.type for p in found.points] == ["minimum"]
    assert max(n for n in sizes if n not in (512, 1024)) * dim**2 <= 2**18


def test_the_command_prints_what_it_has_when_it_is_interrupted(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "slow.py"
    file.write_text(
        "import os, signal, torch\n"
        "calls = 0\n"
        "def f(x):\n"
        "    global calls\n"
        "    if isinstance(x, torch.Tensor):\n"
        "        calls += 1\n"
        "        if calls == 60:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "    return torch.lgamma(x[..., 0] + 2.1) + (x[..., 1] - 0.5) ** 2\n"
    )
    words = ("classify-critical", "--fn", f"{file}:f", "--box", "-1,1.5")
    code, out, _ = invoke(capsys, *words, "--json")
    document = json.loads(out)
    assert code == 130
    assert not document["complete"]
    assert "interrupted" in " ".join(document["notes"])


def test_boxes_and_memory_are_options(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("classify-critical", "--fn", "goldstein_price")
    code, out, _ = invoke(capsys, *words, "--max-boxes", "300")
    assert (code, "the budget of 300 boxes is spent" in out) == (0, True)
    code, out, _ = invoke(capsys, *words, "--max-memory", "0.02")
    assert (code, "the memory of 0.02 GB is full" in out) == (0, True)
    code, _, err = invoke(capsys, *words, "--max-boxes", "300", "--method", "numeric")
    assert (code, "cuts no boxes" in err) == (2, True)


def test_progress_tells_the_volume_settled() -> None:
    objective, box = objective_of("himmelblau")
    seen: list[tuple[float, str]] = []
    found = certify(objective, box, progress=lambda share, words: seen.append((share, words)))
    assert all(f"{100 * share:.4g} % of the volume settled" in words for share, words in seen)
    assert seen[-1][0] == pytest.approx(1.0)
    assert conclusion(found).startswith("COMPLETE")


def test_the_command_prints_what_is_proved_when_it_is_interrupted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, calls = Field._enclose, []

    def interrupted(self: Field, low: Any, high: Any, order: int) -> Any:
        calls.append(order)
        if len(calls) == 60:
            signal.raise_signal(signal.SIGINT)
        return plain(self, low, high, order)

    monkeypatch.setattr(Field, "_enclose", interrupted)
    code, out, _ = invoke(capsys, "classify-critical", "--fn", "goldstein_price")
    assert code == 130
    assert "NOT COMPLETE" in out
    assert "the search was interrupted" in out


class Impatient(Budget):
    """Spent after some questions, and after some more where the found is described."""

    def __init__(self, questions: int, more: int) -> None:
        super().__init__(HOUR, asked_to_stop=Patience(questions))
        self.more = more

    def sort_out(self) -> None:
        super().sort_out()
        self.asked_to_stop = Patience(self.more)


@pytest.mark.parametrize("name", ["ackley_6d", "valley", "linear_net", "quartic_bowl"])
@pytest.mark.parametrize("more", [0, 4, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 30))])
def test_a_spent_budget_is_an_answer_and_not_an_error(name: str, more: int) -> None:
    objective, box = objective_of(name)
    for questions in (0, 5, 40):
        found = certify(objective, box, budget=Impatient(questions, more))
        assert found.complete or found.why
