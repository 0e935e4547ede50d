"""Every optimizer tried: three problems, goes on to the bit, pickles its state, bytes of memory, milliseconds a step.

    python benchmarks/zoo.py                   # the zoo: what `pip install 'optbench[zoo]'` brings
    python benchmarks/zoo.py zoo/lion adamw    # some
    python benchmarks/zoo.py --rates           # the power of ten nearest to a default rate that serves
    python benchmarks/zoo.py --write           # and what was found into docs/zoo.json and the table of docs/zoo.md

Each has the settings of its YAML and is driven by the loop, as a run is. Where an optimizer is refused on a problem
before the start, or fails on it, the reason stands in its place. Known reasons stand in KNOWN; the command ends with
exit code 1 where another check fails, or where one that is known to fail does not. HeavyBall compiles its steps, for
minutes: here it is told not to, by TORCHDYNAMO_DISABLE=1.
"""

from __future__ import annotations

import argparse
import atexit
import collections
import contextlib
import functools
import io
import json
import math
import multiprocessing
import os
import pickle
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE, FOUND = ROOT / "docs" / "zoo.md", ROOT / "docs" / "zoo.json"
BEGIN, END = "<!-- the table is written by benchmarks/zoo.py -->", "<!-- end of the table -->"
PACKAGES = ("pytorch_optimizer", "schedulefree", "heavyball", "optimi", "prodigyopt", "prodigyplus", "lion_pytorch",
            "adopt", "came_pytorch", "adam_mini", "kron_torch", "timm.optim")  # fmt: skip


@dataclass(frozen=True)
class Problem:
    """One of the problems.

    Attributes:
        words: what it is.
        overrides: of a run.
        factor: by which the loss falls at least, from its start to its end.
        ends: losses at the start and at the end that are averaged; where the first loss is lower than that, it counts:
            what a step too long climbs is no height to fall from.
    """

    words: str
    overrides: tuple[str, ...]
    factor: float
    ends: int = 1


PROBLEMS: Mapping[str, Problem] = {
    "quadratic": Problem(
        "a quadratic in 10 dimensions of condition 100, 500 steps",
        ("model=ill_quadratic", "model.dim=10", "model.condition=100", "trainer.steps=500"), 2.0,
    ),
    "mlp": Problem(
        "the mlp on digits of 8 x 8, 120 steps of 32",
        ("model=mlp", "data.image_size=8", "data.channels=1", "trainer.steps=120"), 1.3, 8,
    ),
    "cnn": Problem(
        "the homework's CNN with batch norm, width 4, on digits, 24 steps of 32",
        ("model=hw3_cnn", "model.width=4", "trainer.steps=24"), 1.02, 6,
    ),
}  # fmt: skip
COMMON = ("scheduler=constant", "trainer.threads=1", "seed=0")
NETWORKS = ("mlp", "cnn")
"""Those whose runs go on from a checkpoint; one on a surface, which takes a moment, is made anew."""
CHECKS = (*PROBLEMS, "resume", "pickle")
_OF_TORCH = {"_warned_capturable_if_run_uncaptured", "foreach", "maximize"}
_STOPPED_AFTER, _STEPS = 7, 12
_DIVERGED = "diverged"

_FUSED = "it updates within the backward pass of a network, and a surface has none"
_DISTANCE = "its rate comes from an estimate of a distance that begins at 1e-6"
_UNRECTIFIED = "it begins without momentum's scale while its variance is not tractable, at a rate of 0.001"
_SMALL = "its steps are too small at first for so few of them"
_PICKLED = "its state holds an object, and a checkpoint is read as tensors and plain values alone"
_OBJECT = "an object of its own comes back in its state, and equals no other"
_SARA = "it trains only the weights that begin below 0.001 (threshold)"
_TWO_BATCHES = (
    "its rate is the change of the weights' norm over that of the gradient's, and between two batches the latter is "
    "noise: on the mlp it falls from 0.01 to 3e-5 within 6 updates (of the whole data it rises to 0.035 in 120, with a "
    "fall of 1.03). With both gradients on one batch it rises, and 600 updates make the loss fall 11-fold"
)
_NONE = "none of the rates that were tried serves"
KNOWN: Mapping[tuple[str, str], str] = {
    ("lion", "quadratic"): _SMALL,
    ("radam", "mlp"): _UNRECTIFIED,
    ("radam", "cnn"): _UNRECTIFIED,
    ("zoo/a2grad", "quadratic"): "its steps go by a smoothness of 10 (lips), and this quadratic has another",
    ("zoo/a2grad", "mlp"): "its steps go by a smoothness of 10 (lips)",
    ("zoo/adalomo", "quadratic"): _FUSED,
    ("zoo/lomo", "quadratic"): _FUSED,
    ("zoo/adalomo", "cnn"): "its factored moments do not fit filters of four dimensions",
    ("zoo/adashift", "resume"): _PICKLED,
    ("zoo/conda", "resume"): _PICKLED,
    ("zoo/conda", "pickle"): _OBJECT,
    ("zoo/asgd", "mlp"): _TWO_BATCHES,
    ("zoo/asgd", "cnn"): _TWO_BATCHES,
    ("zoo/dadaptadagrad", "mlp"): _DISTANCE,
    ("zoo/dadaptadagrad", "cnn"): _DISTANCE,
    ("zoo/dadaptadan", "quadratic"): _DISTANCE,
    ("zoo/dadaptadan", "mlp"): _DISTANCE,
    ("zoo/dadaptadan", "cnn"): _DISTANCE,
    ("zoo/dadaptlion", "mlp"): _DISTANCE,
    ("zoo/dadaptlion", "cnn"): _DISTANCE,
    ("zoo/dadaptsgd", "mlp"): _DISTANCE,
    ("zoo/dadaptsgd", "cnn"): _DISTANCE,
    ("zoo/gravity", "quadratic"): _NONE,
    ("zoo/kate", "quadratic"): _NONE,
    (
        "zoo/kate",
        "mlp",
    ): "its first steps raise the loss from 2.3 to 6, and 120 bring it back to 2; none of the rates serves",
    ("zoo/racs", "quadratic"): _NONE,
    ("zoo/ranger", "quadratic"): _NONE,
    ("zoo/sgdsai", "quadratic"): _NONE,
    ("zoo/splus", "quadratic"): _NONE,
    ("zoo/prodigyplus_prodigyplusschedulefree", "cnn"): _DISTANCE,
    ("zoo/sara", "quadratic"): _SARA,
    ("zoo/sara", "mlp"): _SARA,
    ("zoo/sara", "cnn"): _SARA,
    ("zoo/kron_torch_kron", "resume"): _PICKLED,
    ("zoo/kron_torch_kron", "pickle"): _OBJECT,
    ("zoo/scalableshampoo", "resume"): _PICKLED,
    ("zoo/scalableshampoo", "pickle"): _OBJECT,
    ("zoo/scion", "resume"): _PICKLED,
    ("zoo/scionlight", "resume"): _PICKLED,
    ("zoo/heavyball_adopt", "mlp"): _NONE,
    ("zoo/heavyball_adopt", "cnn"): "it diverges, as on the mlp",
    ("zoo/heavyball_adopt", "resume"): "the run diverges before it is stopped",
    ("zoo/fadam", "quadratic"): "it mixes float32 into the float64 of surfaces",
}
"""What is known to fail, by name and check: the reason."""


@dataclass
class Tried:
    """What was found of an optimizer.

    Attributes:
        name: of the choice.
        falls: problem -> factor by which the loss fell.
        failed: check -> why it does not hold; a problem that is refused before the start is one.
        seen: of its protocol, a sentence each.
        beside: attributes that a checkpoint has beside its `state_dict()`, settings that never change among them.
        memory: bytes that it keeps to bytes of the parameters.
        milliseconds: of a step on the mlp, without the passes.
    """

    name: str
    falls: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    beside: list[str] = field(default_factory=list)
    memory: float | None = None
    milliseconds: float | None = None


# one optimizer --------------------------------------------------------------------------------------------------------


class Watcher:
    """An observer that remembers losses and the state to go on from; asks to stop after an update."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.losses: list[float] = []
        self._step, self._stop_after = 0, stop_after
        self._last = b""
        self.checkpoint_due = False

    def row(self, row: Mapping[str, Any]) -> None:
        if "loss" in row:
            self.losses.append(float(row["loss"]))

    def step(self, step: int, total: int, row: Mapping[str, Any]) -> None:
        self._step = step

    def checkpoint(self, name: str, state: Mapping[str, Any]) -> None:
        import torch

        if name == "last":
            buffer = io.BytesIO()
            torch.save(dict(state), buffer)
            self._last = buffer.getvalue()

    @property
    def last(self) -> Any:
        """The state to go on from, read as a run reads it: tensors and plain values only."""
        import torch

        if not self._last:
            raise ValueError("it ended before there was a checkpoint")
        return torch.load(io.BytesIO(self._last), weights_only=True)

    @property
    def stop_requested(self) -> bool:
        return self._stop_after is not None and self._step >= self._stop_after


@functools.cache
def _composer() -> Any:
    """One for the whole process: to set Hydra up costs more than to compose."""
    from optbench.config import Composer

    composer = Composer()
    atexit.register(composer.__exit__)
    return composer.__enter__()


class _Silent:
    """A display that shows nothing."""

    def start(self, label: str, index: int, count: int) -> None: ...

    def loading(self, done: int, total: int) -> None: ...

    def note(self, words: str) -> None: ...

    def step(self, step: int, total: int, row: Mapping[str, Any]) -> None: ...

    def end(self, run: Any) -> None: ...


def composed(name: str, problem: str, **trainer: Any) -> dict[str, Any]:
    """The configuration of a run with an optimizer on a problem; `trainer`: settings in place of its own."""
    found: dict[str, Any] = _composer().compose([f"optimizer={name}", *PROBLEMS[problem].overrides, *COMMON]).config
    found["trainer"] |= trainer
    return found


def loop_of(config: Mapping[str, Any], watcher: Watcher) -> Any:
    """The loop of a run, as `experiment.execute` puts it together."""
    from optbench.config import build_scheduler
    from optbench.experiment.assemble import build_problem, optimizer_of, set_up
    from optbench.loop import Loop, total_steps
    from optbench.protocol import protocol_of
    from optbench.settings import trainer_from

    trainer = trainer_from(config)
    problem = build_problem(config, set_up(trainer, 1))
    optimizer = optimizer_of(config, problem)
    scheduler = build_scheduler(config, optimizer, total_steps(problem, trainer))
    return Loop(problem, optimizer, scheduler, trainer, watcher, protocol=protocol_of(config))


def fall(name: str, on: str, **settings: float) -> float:
    """By what factor the loss falls, with settings of the optimizer in place of its own. Raises what the run raises,
    and ValueError where it does not end as it should."""
    watcher, problem = Watcher(), PROBLEMS[on]
    config = composed(name, on)
    config["optimizer"] |= settings
    summary = loop_of(config, watcher).run()
    if summary.status not in ("completed", "converged"):
        raise ValueError(f"{summary.status}: {summary.reason}")
    return factor(watcher.losses, problem.ends)


def factor(losses: Sequence[float], ends: int) -> float:
    """By what factor losses fall, as Problem.ends says. Raises ValueError where they end in no number."""
    first, last = (sum(part) / len(part) for part in (losses[:ends], losses[-ends:]))
    if not math.isfinite(last):
        raise ValueError(f"the loss is {last}")
    first = min(first, losses[0])
    return first / last if last > 0.0 else math.inf


def rate(name: str, on: str) -> float | None:
    """The learning rate nearest to that of the YAML, by powers of ten, with which the loss falls as it should; None:
    none of them, or there is no rate."""
    config = composed(name, on)
    lr = config["optimizer"].get("lr")
    for factor in (1.0, 10.0, 0.1, 100.0, 0.01, 1000.0) if lr else ():
        with contextlib.suppress(Exception):  # optimizers are anyone's code
            if fall(name, on, lr=lr * factor) >= PROBLEMS[on].factor:
                return float(f"{lr * factor:.6g}")
    return None


def rates(name: str) -> tuple[str, float | None, float | None]:
    """Its name, and its rates on a surface and on a network."""
    return name, rate(name, "quadratic"), rate(name, "mlp")


def _same(a: Any, b: Any) -> bool:
    """Whether two states are equal, tensors to the bit."""
    import torch

    if isinstance(a, torch.Tensor) or isinstance(b, torch.Tensor):
        alike = isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) and a.dtype == b.dtype
        return alike and a.shape == b.shape and bool(torch.equal(torch.nan_to_num(a), torch.nan_to_num(b)))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple | collections.deque) and isinstance(b, list | tuple | collections.deque):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b) or a != a


def resumes(name: str, tried: Tried) -> None:
    """Checks that a run that was stopped goes on to the bit, in curve and weights, on each network where it runs.
    Raises what a run raises, and ValueError naming the problem where it is not the same."""
    for on in NETWORKS:
        if tried.failed.get(on, _DIVERGED).startswith(_DIVERGED) or on in tried.falls:  # else refused, or it breaks
            _resumes_on(on, name, tried)


def _resumes_on(on: str, name: str, tried: Tried) -> None:
    config = composed(name, on, steps=_STEPS)
    watchers = Watcher(), Watcher(_STOPPED_AFTER), Watcher()
    whole, stopped, again = (loop_of(config, watcher) for watcher in watchers)
    whole.run()
    stopped.run()
    state = watchers[1].last
    if on == "mlp":
        tried.beside = sorted(set(state.get("optimizer_held", {})) - _OF_TORCH)
        tried.seen = list(whole.driven.spoken.noted)
    again.restore(state)
    again.run()
    if watchers[1].losses + watchers[2].losses != watchers[0].losses:
        raise ValueError(f"{on}: the curve is another one")
    weights, others = whole.weights(), again.weights()
    if not _same(weights, others):
        raise ValueError(f"{on}: the weights are others")


def pickles(name: str) -> None:
    """Checks that the state of an optimizer after some steps is the same after pickle. Raises what that raises."""
    config = composed(name, "mlp", steps=3)
    loop = loop_of(config, Watcher())
    loop.run()
    state = loop.optimizer.state_dict()
    if not _same(state, pickle.loads(pickle.dumps(state))):
        raise ValueError("another state comes back")


def weigh(name: str, tried: Tried) -> None:
    """Measures memory and time of a step, as `optbench cost` does. Raises ValueError."""
    import statistics
    import tempfile

    from optbench.cost.measure import Measured, measure
    from optbench.experiment import Stop, plan_run

    overrides = [f"optimizer={name}", *PROBLEMS["mlp"].overrides, *COMMON]
    with tempfile.TemporaryDirectory() as folder:
        found = measure(30, plan_run(overrides, out=Path(folder)), Stop(), _Silent(), False, 1)
    if not isinstance(found, Measured):
        raise ValueError(str(found))
    tried.memory = (found.last_state_bytes + found.other_bytes) / found.parameter_bytes
    tried.milliseconds = 1000 * statistics.median(found.step)


def first_sentence(words: str) -> str:
    """Of an error's words, without the escapes by which some are bold on a terminal."""
    first = (re.sub(r"\x1b\[[0-9;]*m", "", words).strip().splitlines() or [""])[0]
    return first.partition(". ")[0]


def attempt(name: str, with_costs: bool = True) -> Tried:
    """All checks of an optimizer."""
    from optbench.errors import IncompatibleError

    tried = Tried(name)

    def check(which: str, of: Callable[[], object]) -> None:
        try:
            of()
        except IncompatibleError as error:
            tried.failed[which] = f"refused: {error.message}"
        except Exception as error:  # optimizers are anyone's code
            first = first_sentence(str(error))
            own = isinstance(error, ValueError) and bool(first)
            tried.failed[which] = first[:160] if own else f"{type(error).__name__}: {first[:160]}".removesuffix(": ")

    def falls(which: str, problem: Problem) -> None:
        tried.falls[which] = found = fall(name, which)
        if not found >= problem.factor:
            raise ValueError(f"the loss falls by a factor of {found:.3g}, and not of {problem.factor:g}")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for which, problem in PROBLEMS.items():
            check(which, lambda which=which, problem=problem: falls(which, problem))  # type: ignore[misc]
        check("resume", lambda: resumes(name, tried))
        check("pickle", lambda: pickles(name))
        if with_costs:
            check("cost", lambda: weigh(name, tried))
    return tried


# all of them ----------------------------------------------------------------------------------------------------------


def names_of(folder: str) -> list[str]:
    """Names of the optimizers in a folder of conf/optimizer/."""
    root = ROOT / "conf" / "optimizer"
    found = (path.relative_to(root).with_suffix("").as_posix() for path in (root / folder).glob("*.yaml"))
    return sorted(name for name in found if "/_" not in f"/{name}")


def each(do: Callable[[str], Any], names: Sequence[str], processes: int) -> Iterator[Any]:
    """What is done with each, in the order of the names."""
    if processes == 1:
        yield from map(do, names)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap(do, names)


def unexpected(tried: Tried) -> list[str]:
    """Sentences on checks that fail and are not known to, and on those that are and do not."""
    known = {check for name, check in KNOWN if name == tried.name}
    new = [f"{tried.name}: {check}: {why}" for check, why in tried.failed.items() if check not in known]
    return new + [
        f"{tried.name}: {check}: known to fail, and does not" for check in sorted(known - tried.failed.keys())
    ]


def in_a_line(tried: Tried) -> str:
    """What was found of one, for a terminal."""
    words = [f"{check} {tried.falls[check]:.3g}" for check in PROBLEMS if check in tried.falls]
    words += [] if tried.memory is None else [f"memory {tried.memory:.2f}", f"{tried.milliseconds:.2f} ms"]
    return "; ".join([f"{tried.name}: {', '.join(words)}", *(f"{k}: {v}" for k, v in tried.failed.items())])


def write(found: Mapping[str, Any]) -> None:
    """Writes what was found: all of it, and the table of the page."""
    FOUND.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    tail = rest.partition(END)[2]
    PAGE.write_text(f"{head}{BEGIN}\n\n{table(found)}\n{END}{tail}", encoding="utf-8")


def table(found: Mapping[str, Any]) -> str:
    """What was found as Markdown: a row each, and what fails with its reason."""
    rows = [Tried(name, **found[name]) for name in sorted(found)]
    lines = ["| optimizer | quadratic | mlp | cnn | resumes | pickles | memory | ms a step | kept beside the state |"]
    lines += ["|---|---|---|---|---|---|---|---|---|"]
    for one in rows:
        falls = [_factor(one, check) for check in PROBLEMS]
        holds = ["no" if check in one.failed else "yes" for check in ("resume", "pickle")]
        costs = ["" if number is None else f"{number:.2f}" for number in (one.memory, one.milliseconds)]
        beside = ", ".join(f"`{key}`" for key in one.beside)
        lines.append(f"| `{one.name}` | {' | '.join([*falls, *holds, *costs, beside])} |")
    lines += ["", "### What fails, and why", "", "| optimizer | check | reason |", "|---|---|---|"]
    for one in rows:
        for check, why in sorted(one.failed.items()):
            told = KNOWN.get((one.name, check), "")
            words = f"{told}: {why}" if told else why
            lines.append(
                f"| `{one.name}` | {check} | {words.replace('|', '/').replace('<', '&lt;').replace('*', '&#42;')} |"
            )
    return "\n".join(lines) + "\n"


def _factor(one: Tried, check: str) -> str:
    words = "" if check not in one.falls else f"{one.falls[check]:.2g}"
    return f"{words} **fails**".strip() if check in one.failed else words


def main() -> None:
    """Tries them and says what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="optimizers, as optimizer=NAME; none: the zoo")
    parser.add_argument("--processes", type=int, default=1, help="so many at a time; times are then of a busy machine")
    parser.add_argument("--rates", action="store_true", help="look for learning rates, and try nothing else")
    parser.add_argument("--write", action="store_true", help="write docs/zoo.json and the table of docs/zoo.md")
    given = parser.parse_args()
    os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    names = given.names or names_of("zoo")
    if given.rates:
        for name, surface, network in each(rates, names, given.processes):
            print(f'"{name.removeprefix("zoo/")}": ({surface}, {network}),', flush=True)
        return
    surprises: list[str] = []
    found = json.loads(FOUND.read_text(encoding="utf-8")) if FOUND.exists() else {}
    for tried in each(attempt, names, given.processes):
        print(in_a_line(tried), flush=True)
        surprises += unexpected(tried)
        found[tried.name] = {k: v for k, v in asdict(tried).items() if k != "name"}
    if given.write:
        write(found)
    for sentence in surprises:
        print(f"unexpected: {sentence}")
    sys.exit(1 if surprises else 0)


if __name__ == "__main__":
    main()
