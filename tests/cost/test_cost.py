"""What optimizers cost: bytes against closed forms, times as medians of what was measured, processes of their own."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_tools import invoke
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from optbench.cost import Measured, Row, cost_rows, csv_text, json_rows, markdown_text, plan_costs, rows, text_lines
from optbench.cost.measure import WARM_UP, Peak, measure, other_bytes, state_bytes
from optbench.errors import UserError
from optbench.experiment import Stop

SMALL = ("model=mlp", "model.hidden=[8]", "data.image_size=8", "data.channels=1", "trainer.threads=1")
WEIGHTS = 64 * 8 + 8 + 8 * 10 + 10
TENSORS = 4
MINE = {
    "kept.py": """
import torch

class Kept(torch.optim.Optimizer):
    '''SGD that keeps the last gradient, and one number more a weight outside its state.'''

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})
        self.extra = [torch.zeros_like(p, dtype=torch.float16) for g in self.param_groups for p in g["params"]]

    @torch.no_grad()
    def step(self, closure):
        with torch.enable_grad():
            loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["history"] = [p.grad.clone(), (p.grad.double(), None)]
                p -= group["lr"] * p.grad
        return loss
""",
    "optimizer/kept.yaml": "# mine\n_target_: kept.Kept\n_partial_: true\n",
    "broken.py": "class Broken:\n    def __init__(self, params, lr=0.1):\n        raise ValueError('no such thing')\n",
    "optimizer/broken.yaml": "# broken\n_target_: broken.Broken\n_partial_: true\n",
    "dying.py": "import os\n\ndef dying(params):\n    os.abort()\n",
    "optimizer/dying.yaml": "# dies\n_target_: dying.dying\n_partial_: true\n",
}


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    for name, text in MINE.items():
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_text(text)
    return tmp_path / "mine"


class Told:
    """Counts the updates that it is told of."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def loading(self, done: int, total: int) -> None: ...

    def step(self, step: int, total: int, row: Any) -> None:
        self.steps.append(step)


def measured(*overrides: str, repeats: int = 3, config_dirs: tuple[Path, ...] = ()) -> Measured:
    (planned,) = plan_costs([*SMALL, *overrides], config_dirs)
    found = measure(repeats, planned, Stop(), Told(), False, 1)  # type: ignore[arg-type]
    assert isinstance(found, Measured), found
    return found


# bytes ---------------------------------------------------------------------------------------------------------------

Make = Callable[[Any], torch.optim.Optimizer]


@pytest.mark.parametrize(
    ("make", "a_weight", "a_tensor"),
    [
        (lambda p: torch.optim.SGD(p, lr=0.1), 0, 0),
        (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), 1, 0),
        (torch.optim.Adam, 2, 1),
        (lambda p: torch.optim.AdamW(p, amsgrad=True), 3, 1),
        (torch.optim.Adagrad, 1, 1),
        (torch.optim.RMSprop, 1, 1),
        (torch.optim.Adadelta, 2, 1),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_state_of_torchs_optimizers(make: Make, a_weight: int, a_tensor: int, dtype: torch.dtype) -> None:
    """So many numbers a weight, and so many single-precision scalars (the count of steps) a tensor."""
    model = nn.Sequential(nn.Linear(7, 5), nn.Linear(5, 3)).to(dtype)
    parameters = list(model.parameters())
    optimizer = make(parameters)
    model(torch.ones(2, 7, dtype=dtype)).square().sum().backward()
    optimizer.step()
    weights = sum(p.numel() for p in parameters)
    size = torch.finfo(dtype).bits // 8
    scalar = torch.tensor(0.0, dtype=torch.get_default_dtype()).element_size()
    assert state_bytes(optimizer, parameters) == a_weight * weights * size + a_tensor * len(parameters) * scalar
    assert other_bytes(optimizer, parameters) == 0


def test_a_history_counts_and_grows_to_its_length() -> None:
    """L-BFGS with m pairs keeps 2 m n numbers, a direction and a gradient; the rest are single numbers."""
    n, m = 10_000, 3
    x = nn.Parameter(torch.linspace(0.5, 2.0, n))
    optimizer = torch.optim.LBFGS([x], lr=0.1, max_iter=1, history_size=m)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (x**4 + x**2).sum()
        loss.backward()
        return loss

    sizes = []
    for _ in range(6):
        optimizer.step(closure)
        sizes.append(state_bytes(optimizer, [x]))
    expected = [4 * n * (2 + 2 * min(k, m)) for k in range(6)]
    assert [size - size % (4 * n) for size in sizes] == expected
    assert all(size % (4 * n) < 200 for size in sizes)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=5), st.integers(0, 3))
def test_memory_that_is_shared_counts_once(lengths: list[int], depth: int) -> None:
    x = nn.Parameter(torch.zeros(3))
    x.grad = torch.ones(3)
    optimizer = torch.optim.SGD([x], lr=0.1)
    kept = [torch.zeros(n) for n in lengths]
    held: Any = [*kept, kept[0][:1], kept[0].view(-1), x, x.detach(), x.grad, None, "word", 3.0]
    for _ in range(depth):
        held = {"deeper": (held, [held])}
    optimizer.state[x]["held"] = held
    assert state_bytes(optimizer, [x]) == 4 * sum(lengths)


def test_tensors_outside_the_state_are_found() -> None:
    x = nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.SGD([x], lr=torch.tensor(0.1))
    inner = torch.optim.SGD([x], lr=0.1, momentum=0.9)
    x.sum().backward()
    inner.step()
    optimizer.base, optimizer.slow = inner, {"x": x.detach().clone()}  # type: ignore[attr-defined]
    assert state_bytes(optimizer, [x]) == 0
    assert other_bytes(optimizer, [x]) == 4 + 12 + 12  # the rate, the momentum within, the slow weights


def test_a_sparse_state_counts_indices_and_values() -> None:
    x = nn.Parameter(torch.zeros(100))
    optimizer = torch.optim.SGD([x], lr=0.1)
    optimizer.state[x]["m"] = torch.sparse_coo_tensor(
        torch.tensor([[3, 9]]), torch.ones(2), (100,), check_invariants=True
    )
    assert state_bytes(optimizer, [x]) == 2 * 8 + 2 * 4


def test_the_peak_is_the_most_that_there_was() -> None:
    weighed = Peak(torch.device("cpu"))
    held = torch.ones(16_000_000)
    del held
    found = weighed.bytes()
    if found is None:
        pytest.skip("this system does not say")
    assert 60e6 < found < 100e6


# one configuration ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [("sgd", 0), ("momentum", 4 * WEIGHTS), ("lion", 4 * WEIGHTS + 8 * TENSORS), ("adam", 8 * WEIGHTS + 4 * TENSORS),
     ("amsgrad", 12 * WEIGHTS + 4 * TENSORS), ("adagrad", 4 * WEIGHTS + 4 * TENSORS)],
)  # fmt: skip
def test_the_state_of_a_configuration(optimizer: str, expected: int) -> None:
    found = measured(f"optimizer={optimizer}", repeats=1)
    assert (found.parameters, found.parameter_bytes) == (WEIGHTS, 4 * WEIGHTS)
    assert (found.state_bytes, found.last_state_bytes, found.other_bytes) == (expected, expected, 0)


def test_an_optimizer_of_ones_own(mine: Path) -> None:
    found = measured("optimizer=kept", config_dirs=(mine,), repeats=4)
    assert (found.state_bytes, found.other_bytes) == (4 * WEIGHTS + 8 * WEIGHTS, 2 * WEIGHTS)
    assert len(found.batch) == len(found.passes) == len(found.step) == 4
    assert min(found.batch + found.passes + found.step) > 0.0
    assert found.evaluations == 1.0


def test_several_passes_are_no_part_of_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reading of the clock is a second: one before the batch, one after it, two a pass, one at the end."""
    readings = iter(range(10_000))
    monkeypatch.setattr("optbench.cost.measure._clock", lambda device: lambda: float(next(readings)))
    found = measured("optimizer=lbfgs", "optimizer.max_iter=2", "optimizer.line_search_fn=null", repeats=2)
    assert found.batch == (1.0, 1.0)
    for passes, step in zip(found.passes, found.step, strict=True):
        assert step == passes + 1  # 1 before each pass, and 1 after the last
    assert found.evaluations == sum(found.passes) / 2 > 1


def test_a_stop_ends_between_two_updates() -> None:
    (planned,) = plan_costs([*SMALL, "optimizer=sgd"])
    stop, told = Stop(), Told()
    stop.requested = True
    assert measure(3, planned, stop, told, False, 1) is None  # type: ignore[arg-type]
    assert told.steps == [1]


# tables --------------------------------------------------------------------------------------------------------------


def made(label: str, device: str = "cpu", n: int = 21, **changes: Any) -> Row:
    (planned,) = plan_costs([*SMALL, "optimizer=adam"])
    drawn = np.random.default_rng(len(label)).uniform(1e-4, 1e-2, (3, n)).tolist()
    facts = {"parameters": 1000, "parameter_bytes": 4000, "state_bytes": 8016, "last_state_bytes": 8016,
             "other_bytes": 0, "peak_bytes": 12_345_678, "batch_size": 32, "device": device, "threads": 1,
             "evaluations": 1.0}  # fmt: skip
    times = dict(zip(("batch", "passes", "step"), map(tuple, drawn), strict=True))
    return Row(label, planned, Measured(**(facts | times | changes)))


def test_the_numbers_are_medians_with_intervals() -> None:
    row = made("adam")
    assert row.measured is not None
    (facts,) = json_rows([row])
    step = [1e3 * s for s in row.measured.step]
    assert facts["step_ms"]["value"] == pytest.approx(statistics.median(step))
    ordered = sorted(step)  # n = 21: ranks 6 and 16 cover with 97.3 %
    assert [facts["step_ms"][k] for k in ("low", "high")] == pytest.approx([ordered[5], ordered[15]])
    update = [sum(parts) for parts in zip(row.measured.batch, row.measured.passes, row.measured.step, strict=True)]
    shares = [a / b for a, b in zip(row.measured.step, update, strict=True)]
    assert facts["step_share"]["value"] == pytest.approx(statistics.median(shares))
    assert facts["updates_per_second"]["value"] == pytest.approx(1 / statistics.median(update))
    assert facts["state_bytes_per_parameter"] == 8.016


def test_times_of_two_devices_stand_in_two_tables() -> None:
    lines = text_lines([made("adam"), made("lion", "NVIDIA X"), made("adamw b=8")])
    titles = [line for line in lines if line.startswith("mlp on digits")]
    assert [title.rpartition(", ")[2] for title in titles] == ["1 thread", "NVIDIA X"]
    assert max(map(len, lines)) <= 80
    assert any("max_memory_allocated" in line for line in lines)


def test_every_form_has_every_row() -> None:
    grown = made("lbfgs", last_state_bytes=16000, other_bytes=7000, evaluations=4.5, peak_bytes=None)
    failed = Row("muon|x", grown.planned, None, "ValueError: no\tsuch")
    found = [made("adam"), failed, grown]
    table = list(csv.DictReader(io.StringIO(csv_text(found))))
    assert [line["configuration"] for line in table] == ["adam", "muon|x", "lbfgs"]
    assert [line["status"] for line in table] == ["measured", "failed", "measured"]
    assert float(table[0]["step_ms"]) == json_rows(found)[0]["step_ms"]["value"]
    assert table[1]["step_ms_low"] == ""
    page = markdown_text(found)
    assert [line.split(" | ")[0] for line in page.splitlines()[4:7]] == ["| adam", r"| muon\|x", "| lbfgs"]
    assert "lbfgs: state is 0.016 MB after all updates; 0.007 MB of tensors lie outside optimizer.state; 4.5" in page


def test_nothing_measured_is_a_table_without_rules() -> None:
    failed = Row("muon", made("adam").planned, None, "why")
    assert text_lines([failed])[:1] == ["mlp on digits"]
    assert len(text_lines([failed])) == 7


# the command ---------------------------------------------------------------------------------------------------------


def test_a_surface_is_refused() -> None:
    with pytest.raises(UserError, match="model=sphere is a surface"):
        plan_costs(["model=sphere", "optimizer=adam,sgd"])


def test_labels_say_what_sets_rows_apart() -> None:
    plan = plan_costs([*SMALL, "optimizer=sgd,adam", "trainer.batch_size=8,16"])
    assert [rows._label(item) for item in plan] == [
        "sgd batch_size=8", "sgd batch_size=16", "adam batch_size=8", "adam batch_size=16",
    ]  # fmt: skip


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows measured in this process."""

    def alone(item: Any, repeats: int, stop: Stop, told: Any) -> Any:
        return measure(repeats, item, stop, Told(), False, 1)  # type: ignore[arg-type]

    monkeypatch.setattr(rows, "_alone", alone)


@pytest.mark.usefixtures("here")
def test_an_optimizer_that_fails_is_a_row_with_its_reason(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["cost", *SMALL, "optimizer=broken,momentum", "--repeats", "2", "--config-dir", mine]
    code, out, err = invoke(capsys, *words, "--json")
    assert code == 3
    found = json.loads(out)
    assert [row["status"] for row in found["rows"]] == ["failed", "measured"]
    assert found["rows"][1]["state_bytes"] == 4 * WEIGHTS
    assert found["header"]["warm_up"] == WARM_UP
    assert err == "failed: broken: optimizer: no such thing\n"


def test_two_forms_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(capsys, "cost", *SMALL, "--csv", "--md")[0] == 2


@pytest.mark.slow
def test_each_row_has_a_process_of_its_own(mine: Path) -> None:
    """One that dies takes nothing with it; the bytes are those of the same process."""
    told: list[tuple[str, int, int]] = []
    plan = plan_costs([*SMALL, "optimizer=adam,dying,kept"], (mine,))
    found = list(cost_rows(plan, 3, Stop(), lambda *words: told.append(words)))
    assert [row.label for row in found] == ["adam", "dying", "kept"]
    assert found[1].reason == "its process died: signal 6 (SIGABRT)"
    assert [row.measured and row.measured.state_bytes for row in found] == [
        8 * WEIGHTS + 4 * TENSORS, None, 12 * WEIGHTS,
    ]  # fmt: skip
    assert {label for label, _, _ in told} <= {"adam", "kept"}
