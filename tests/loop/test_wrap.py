"""What can be put around an optimizer: each against its paper's lines written out here, and alike with nothing."""

from __future__ import annotations

import copy
import functools
import math
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import members
import pytest
import torch
from loop_tools import Watcher, constant, on_dots, on_field
from torch import Tensor, nn
from torch.optim import swa_utils

from optbench.disjoint import Together
from optbench.errors import IncompatibleError
from optbench.loop import Loop
from optbench.problem.roles import roles
from optbench.wrapper_base import AbstractWrapper
from optbench.wrappers.agc import Agc
from optbench.wrappers.cautious import Cautious
from optbench.wrappers.clip import Clip
from optbench.wrappers.ema import Ema
from optbench.wrappers.lookahead import Lookahead
from optbench.wrappers.sam import Sam
from optbench.wrappers.swa import Swa

NAMES = [name for name in members.names("wrap") if members.read("wrap", name).get("_target_")]
Optimizer = torch.optim.Optimizer
OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.2, momentum=0.5),
    "adam": lambda p: torch.optim.Adam(p, lr=0.05),
}
UPDATES = 12


def put(name: str, inner: Optimizer, **changes: Any) -> AbstractWrapper:
    """A wrapper with the keywords and the protocol of its YAML."""
    node = members.read("wrap", name)
    given = {k: v for k, v in node.items() if k not in ("_target_", "_partial_", "protocol", "given")}
    made: AbstractWrapper = members.target("wrap", name)(inner, **(given | changes))
    made.name, made.asked = name, node.get("protocol", {})
    return made


def normed() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.BatchNorm1d(5), nn.Dropout(0.3), nn.Linear(5, 2))


def plain() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.Tanh(), nn.Linear(5, 2))


Observed = tuple[Loop, Watcher]


def run(of: tuple[Any, Any], make: Callable[[Any], Optimizer], stop: int | None = None) -> Observed:
    """A loop, run to its end or to where it is stopped."""
    problem, trainer = of
    optimizer = make(list(problem.module.parameters()))
    watcher = Watcher(stop)
    loop = Loop(problem, optimizer, constant(optimizer), trainer, watcher)
    loop.run()
    return loop, watcher


def around(name: str, optimizer: str, **changes: Any) -> Callable[[Any], Optimizer]:
    return lambda p: put(name, OPTIMIZERS[optimizer](p), **changes)


def shown(watcher: Watcher) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in watcher.rows]


# against the papers ---------------------------------------------------------------------------------------------------
# Each generator trains a network by hand: given the network, its optimizer and a function that puts the gradient on the
# batch of the current update into place, it makes that update and yields the weights that are judged.

ByHand = Iterator[list[Tensor]]


def clip_by_hand(model: nn.Module, optimizer: Optimizer, gradient: Callable[[], None]) -> ByHand:
    while True:
        gradient()
        length = math.sqrt(sum(float(p.grad.double().square().sum()) for p in model.parameters()))
        for p in model.parameters():
            p.grad *= min(1.0, 0.3 / length)
        optimizer.step()
        yield list(model.parameters())


def value_by_hand(model: nn.Module, optimizer: Optimizer, gradient: Callable[[], None]) -> ByHand:
    while True:
        gradient()
        for p in model.parameters():
            p.grad = torch.where(p.grad.abs() > 0.02, 0.02 * p.grad.sign(), p.grad)
        optimizer.step()
        yield list(model.parameters())


def agc_by_hand(model: nn.Module, optimizer: Optimizer, gradient: Callable[[], None]) -> ByHand:
    """Row by row; the last layer is left alone."""
    *body, _, _ = model.parameters()
    while True:
        gradient()
        for p in body:
            for row, g in zip(*((p.detach(), p.grad) if p.ndim > 1 else (p.detach()[None], p.grad[None])), strict=True):
                bound = 0.05 * max(float(row.norm()), 1e-3)
                if g.norm() > bound:
                    g *= bound / g.norm()
        optimizer.step()
        yield list(model.parameters())


def lookahead_by_hand(model: nn.Module, optimizer: Optimizer, gradient: Callable[[], None]) -> ByHand:
    slow = [p.detach().clone() for p in model.parameters()]
    while True:
        for i in range(5):
            gradient()
            optimizer.step()
            if i == 4:
                slow = [s + 0.5 * (p.detach() - s) for s, p in zip(slow, model.parameters(), strict=True)]
                with torch.no_grad():
                    for p, s in zip(model.parameters(), slow, strict=True):
                        p.copy_(s)
            yield slow


def cautious_by_hand(model: nn.Module, optimizer: Optimizer, gradient: Callable[[], None]) -> ByHand:
    while True:
        gradient()
        before = [p.detach().clone() for p in model.parameters()]
        optimizer.step()
        with torch.no_grad():
            for p, old in zip(model.parameters(), before, strict=True):
                flat, was, g = p.view(-1), old.view(-1), p.grad.view(-1)
                agree = [i for i in range(len(flat)) if (was[i] - flat[i]) * g[i] > 0]
                for i in range(len(flat)):
                    flat[i] = was[i] + (flat[i] - was[i]) * len(flat) / len(agree) if i in agree else was[i]
        yield list(model.parameters())


def sam_by_hand(model: nn.Module, optimizer: Optimizer, gradient: Callable[[], None]) -> ByHand:
    while True:
        gradient()
        before = copy.deepcopy(model.state_dict())
        length = torch.cat([p.grad.flatten() for p in model.parameters()]).norm()
        model.load_state_dict(
            {name: before[name] + 0.05 * p.grad / length for name, p in model.named_parameters()}, strict=False
        )
        gradient()
        model.load_state_dict(before)
        optimizer.step()
        yield list(model.parameters())


def asam_by_hand(model: nn.Module, optimizer: Optimizer, gradient: Callable[[], None]) -> ByHand:
    while True:
        gradient()
        before = copy.deepcopy(model.state_dict())
        scaled = {name: (p.detach().abs() + 0.01) * p.grad for name, p in model.named_parameters()}
        length = torch.cat([t.flatten() for t in scaled.values()]).norm()
        up = {n: before[n] + 0.5 * (p.detach().abs() + 0.01) * scaled[n] / length for n, p in model.named_parameters()}
        model.load_state_dict(up, strict=False)
        gradient()
        model.load_state_dict(before)
        optimizer.step()
        yield list(model.parameters())


def ema_by_hand(model: nn.Module, optimizer: Optimizer, gradient: Callable[[], None]) -> ByHand:
    history: list[list[Tensor]] = []
    while True:
        gradient()
        optimizer.step()
        history.append([p.detach().double().clone() for p in model.parameters()])
        shares = [0.9 ** (len(history) - 1 - i) for i in range(len(history))]
        yield [sum(w * t for w, t in zip(shares, ts, strict=True)) / sum(shares) for ts in zip(*history, strict=True)]


def swa_by_hand(model: nn.Module, optimizer: Optimizer, gradient: Callable[[], None]) -> ByHand:
    """torch's own averaged model, from update 6 of 12 on, every other update, at a rate of its own."""
    mean = swa_utils.AveragedModel(model)
    for k in range(1, UPDATES + 1):
        gradient()
        usual = optimizer.param_groups[0]["lr"]
        optimizer.param_groups[0]["lr"] = 0.03 if k > 6 else usual
        optimizer.step()
        optimizer.param_groups[0]["lr"] = usual
        if k >= 6 and k % 2 == 0:
            mean.update_parameters(model)
        yield list((mean.module if k >= 6 else model).parameters())


CASES: dict[str, tuple[str, dict[str, Any], Callable[..., ByHand]]] = {
    "clip": ("clip", {"norm": 0.3}, clip_by_hand),
    "clip by value": ("clip", {"norm": None, "value": 0.02}, value_by_hand),
    "agc": ("agc", {"clipping": 0.05}, agc_by_hand),
    "lookahead": ("lookahead", {}, lookahead_by_hand),
    "cautious": ("cautious", {}, cautious_by_hand),
    "sam": ("sam", {}, sam_by_hand),
    "asam": ("sam", {"adaptive": True, "rho": 0.5}, asam_by_hand),
    "ema": ("ema", {"decay": 0.9}, ema_by_hand),
    "swa": ("swa", {"start": 0.5, "every": 2, "lr": 0.03, "steps": UPDATES}, swa_by_hand),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("case", CASES)
def test_the_weights_that_are_judged_are_those_of_a_loop_written_out(case: str, optimizer: str) -> None:
    name, settings, by_hand = CASES[case]
    of = on_dots(plain(), epochs=3)
    more = {"placed": roles(of[0].module)} if name == "agc" else {}
    loop, _ = run(of, around(name, optimizer, **settings, **more))
    assert loop.progress.step == UPDATES
    assert loop.progress.evals == UPDATES * (2 if name == "sam" else 1)

    model, step = plain(), 0
    batches, _ = on_dots(model, epochs=3)

    def gradient() -> None:
        model.zero_grad()
        batch = batches.batch(step)
        nn.functional.cross_entropy(model(batch.inputs), batch.targets).backward()

    lines = by_hand(model, OPTIMIZERS[optimizer](model.parameters()), gradient)
    for step in range(UPDATES):  # noqa: B007  gradient() looks at it
        judged = [t.detach().float().clone() for t in next(lines)]
    kept = loop.weights()["model"]
    for (key, _), expected in zip(model.named_parameters(), judged, strict=True):
        assert torch.allclose(kept[key], expected, rtol=2e-4, atol=2e-6), key
    unwrapped, _ = run(on_dots(plain(), epochs=3), OPTIMIZERS[optimizer])
    assert any(not torch.allclose(kept[k], t, rtol=1e-3) for k, t in unwrapped.weights()["model"].items())


def test_every_wrapper_has_a_loop_written_out() -> None:
    assert {name for name, _, _ in CASES.values()} == set(NAMES)


def test_the_average_on_a_bowl_is_the_closed_form() -> None:
    """Gradient descent on x^2 / 2: x_k = (1 - lr)^k, of which the average is a geometric sum."""
    problem, trainer = on_field(lambda x: (x * x).sum(-1) / 2, [1.0], steps=20)
    _, watcher = run((problem, trainer), lambda p: put("ema", torch.optim.SGD(p, lr=0.1), decay=0.8))
    x, d = 0.9, 0.8
    for k, row in enumerate(watcher.rows[1:], 1):
        closed = x * (x**k - d**k) / (x - d) / ((1 - d**k) / (1 - d))
        assert row["x0"] == pytest.approx(closed, rel=1e-12)
    assert watcher.rows[0]["x0"] == 1.0


# nothing changes where nothing should ---------------------------------------------------------------------------------

NEUTRAL: list[tuple[str, dict[str, Any]]] = [
    ("clip", {"norm": math.inf}),
    ("clip", {"norm": None, "value": math.inf}),
    ("agc", {"clipping": 1e30}),
    ("sam", {"rho": 0.0}),
    ("lookahead", {"alpha": 1.0, "k": 3}),
    ("swa", {"start": 1.0, "steps": UPDATES}),
    ("ema", {"decay": 1e-300}),
]


@pytest.mark.parametrize(("name", "settings"), NEUTRAL)
def test_with_a_neutral_setting_it_is_the_optimizer_to_the_bit(name: str, settings: dict[str, Any]) -> None:
    """Weights that are trained and judged, with batch norm and dropout; rows but for what was evaluated in between."""
    bare, without = run(on_dots(normed(), epochs=3), OPTIMIZERS["adam"])
    loop, found = run(on_dots(normed(), epochs=3), around(name, "adam", **settings))
    kept = loop.weights()
    trained = kept.get("trained", kept["model"])
    assert all(torch.equal(t, trained[key]) for key, t in bare.weights()["model"].items())
    assert all(torch.equal(p, kept["model"][key]) for key, p in bare.problem.module.named_parameters())
    for key in ("loss", "grad_norm", "lr"):
        assert [row.get(key) for row in found.rows] == [row.get(key) for row in without.rows]


def test_cautious_leaves_what_all_agrees_with_and_decay_where_it_is() -> None:
    """Plain descent never moves along its gradient; decoupled decay alone moves what has no gradient's consent."""
    bare, _ = run(on_dots(plain()), lambda p: torch.optim.SGD(p, lr=0.1))
    loop, _ = run(on_dots(plain()), lambda p: put("cautious", torch.optim.SGD(p, lr=0.1)))
    for a, b in zip(loop.problem.module.parameters(), bare.problem.module.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-7)
    x = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    for inner in (torch.optim.AdamW([x], lr=0.1, weight_decay=0.5, betas=(0.0, 0.999)),):
        optimizer = put("cautious", inner)
        x.grad = torch.tensor([3.0, 5.0], dtype=torch.float64)
        optimizer.step()
        assert x.tolist() == pytest.approx([0.95 - 0.1, -1.9 - 0.1], rel=1e-6)


def test_clip_is_the_trainers_own_where_both_are_there() -> None:
    by_trainer, first = run(on_dots(normed(), epochs=3, clip_norm=0.2), OPTIMIZERS["adam"])
    by_wrapper, second = run(on_dots(normed(), epochs=3), around("clip", "adam", norm=0.2))
    assert shown(first) == shown(second)
    theirs = by_wrapper.problem.module.state_dict()
    assert all(torch.equal(t, theirs[name]) for name, t in by_trainer.problem.module.state_dict().items())


def test_what_is_within_is_called_as_it_asks_to_be() -> None:
    """Plain descent by each kind of closure, once with nothing said and once declared: the same run around each."""

    class Ready(torch.optim.SGD):
        def step(self) -> None:  # type: ignore[override]
            super().step()

    class Loss(torch.optim.SGD):
        def step(self, loss: Tensor) -> None:  # type: ignore[override]
            assert not loss.requires_grad
            super().step()

    class Wants(torch.optim.SGD):
        def step(self, closure: Callable[[], Any]) -> None:  # type: ignore[override]
            with torch.no_grad():  # as some do, without switching gradients on again
                closure()
            super().step()

    def of(kind: Any) -> list[dict[str, Any]]:
        make = functools.partial(kind, lr=0.1, momentum=0.5)
        loop, watcher = run(on_dots(normed()), lambda p: put("lookahead", put("sam", put("agc", make(p)))))
        assert loop.progress.evals == 2 * loop.progress.step
        return shown(watcher)

    plain = of(torch.optim.SGD)
    assert of(Ready) == of(Loss) == of(Wants) == plain


# a run that stops and goes on -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*NAMES, "all"])
def test_a_run_that_was_stopped_goes_on_to_the_bit(name: str) -> None:
    """With batch norm and dropout; the state also through pickle, and however often it is looked at."""

    def make(parameters: Any) -> Optimizer:
        if name == "all":
            inner = Together([torch.optim.Adam(parameters[:1], lr=0.05), torch.optim.SGD(parameters[1:], lr=0.1)])
            return put("lookahead", put("sam", put("clip", put("cautious", inner))), k=4)
        return put(name, OPTIMIZERS["adam"](parameters), **({"steps": UPDATES} if name == "swa" else {}))

    whole, watcher = run(on_dots(normed(), epochs=3), make)
    seldom, _ = run(on_dots(normed(), epochs=3, eval_every=3), make)
    half, before = run(on_dots(normed(), epochs=3), make, stop=7)
    problem, trainer = on_dots(normed(), epochs=3)
    optimizer, after = make(list(problem.module.parameters())), Watcher()
    loop = Loop(problem, optimizer, constant(optimizer), trainer, after)
    loop.restore(before.state("last"))
    loop.run()
    assert shown(before) + shown(after) == shown(watcher)
    for key, weights in whole.weights().items():
        assert all(torch.equal(t, loop.weights()[key][n]) for n, t in weights.items())
        assert all(torch.equal(t, seldom.weights()[key][n]) for n, t in weights.items())
    again = pickle.loads(pickle.dumps(half.optimizer.state_dict()))
    assert again.keys() == {"inner", "memory"}
    assert isinstance(copy.deepcopy(half.optimizer), type(half.optimizer))


def test_a_pass_that_is_not_finite_leaves_the_whole_update_out() -> None:
    """SAM's second pass breaks off: weights, memories and batch norm stay, and the run goes on."""
    calls = 0

    class Breaks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = normed()

        def forward(self, x: Tensor) -> Tensor:
            nonlocal calls
            out: Tensor = self.body(x)
            if self.training:
                calls += 1
            return out * (math.nan if self.training and calls == 6 else 1.0)

    problem, trainer = on_dots(Breaks(), epochs=3, nan="skip")
    loop, _ = run((problem, trainer), around("sam", "adam"))
    assert loop.progress.left_out == 1
    assert all(bool(p.isfinite().all()) for p in problem.module.parameters())


# what does not go together --------------------------------------------------------------------------------------------


class Free(torch.optim.SGD):
    """Has weights of its own to be judged at."""

    def train(self) -> None: ...

    def eval(self) -> None: ...


class Fused(torch.optim.SGD):
    """Updates within its backward pass."""

    def fused_backward(self, loss: Tensor, lr: float) -> None: ...


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda p: put("sam", torch.optim.LBFGS(p)), "wrap=sam around LBFGS: both call the closure several times"),
        (lambda p: put("cautious", torch.optim.LBFGS(p)), "wrap=cautious around LBFGS: it looks at one gradient"),
        (lambda p: put("cautious", put("sam", OPTIMIZERS["sgd"](p))), "it looks at one gradient"),
        (lambda p: put("lookahead", Free(p, lr=0.1)), "wrap=lookahead around Free: both are judged at weights of"),
        (lambda p: put("ema", put("swa", OPTIMIZERS["sgd"](p))), "two averages have no meaning together"),
        (lambda p: put("clip", Fused(p, lr=0.1)), "wrap=clip around Fused: it updates within its backward pass"),
    ],
)
def test_what_cannot_be_around_what_is_within_is_refused(make: Any, why: str) -> None:
    with pytest.raises(IncompatibleError, match=why):
        run(on_dots(plain()), make)


def test_settings_outside_their_range_are_refused_by_the_classes_themselves() -> None:
    inner = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    for kind, settings in (
        (Clip, {"norm": 0.0}), (Clip, {"norm": None}), (Agc, {"clipping": 0.0}), (Lookahead, {"k": 0}),
        (Lookahead, {"alpha": 1.5}), (Sam, {"rho": -1.0}), (Ema, {"decay": 1.0}), (Swa, {"start": 2.0}),
        (Swa, {"lr": 0.0}), (Swa, {"every": 0}),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="expected"):
            kind(inner, **settings)
    with pytest.raises(ValueError, match="expected the state of Cautious"):
        Cautious(inner).load_state_dict(inner.state_dict())
