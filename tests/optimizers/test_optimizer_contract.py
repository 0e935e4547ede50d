"""What torch asks of its own optimizers, asked of ours: states, groups, tensor rates, hooks, odd gradients.

The questions are those of torch's test_optim; the optimizers are those of conf/optimizer that are written here, a few
that a user might write on the public base, and, so that the questions themselves are held, torch's SGD and Adam.
"""

from __future__ import annotations

import copy
import io
import pickle
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any

import members
import pytest
import torch
from torch import Tensor
from torch.optim import Optimizer

from optbench.optimizer_base import AbstractOptimizer, AbstractPureOptimizer, moved


class SignDescent(AbstractPureOptimizer):
    """No memory at all."""

    memories = ()

    def __init__(self, params: Any, lr: float = 0.01) -> None:
        super().__init__(params, {"lr": lr})

    @staticmethod
    def pure(
        x: Tensor, gradient: Tensor, memory: Mapping[str, Tensor], hyper: Mapping[str, Any], t: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return moved(x, gradient.sign(), hyper["lr"]), {}


class Coupled(AbstractPureOptimizer):
    """Momentum with a bias correction, coupled decay, and a choice of direction."""

    memories = ("m",)
    decay = "coupled"

    def __init__(self, params: Any, lr: float = 0.01, weight_decay: float = 0.1, maximize: bool = False) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "maximize": maximize})

    @staticmethod
    def pure(
        x: Tensor, gradient: Tensor, memory: Mapping[str, Tensor], hyper: Mapping[str, Any], t: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        m = 0.9 * memory["m"] + 0.1 * gradient
        return moved(x, m / (1.0 - 0.9 ** (t + 1)), hyper["lr"]), {"m": m}


Make = Callable[..., Optimizer]


def example_of_contributing() -> Make:
    """The optimizer that CONTRIBUTING.md shows, as a reader would copy it: nothing but what the block imports."""
    text = (members.CONF.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    blocks = [block.partition("```")[0] for block in text.split("```python\n")[1:]]
    (block,) = [block for block in blocks if "AbstractPureOptimizer" in block]
    module = sys.modules["example_of_contributing"] = types.ModuleType("example_of_contributing")
    exec(block, vars(module))
    (made,) = [value for value in vars(module).values() if getattr(value, "__module__", None) == module.__name__]
    return made  # type: ignore[no-any-return]


OWN = members.own("optimizer")
MAKERS: dict[str, Make] = {
    **{name: lambda params, _name=name, **changes: members.make("optimizer", _name, params, **changes) for name in OWN},
    "sign_descent": SignDescent,
    "coupled": Coupled,
    "example": example_of_contributing(),
    "torch_sgd": lambda params, lr=0.01, **k: torch.optim.SGD(params, lr=lr, momentum=0.9, **k),
    "torch_adam": lambda params, lr=0.01, **k: torch.optim.Adam(params, lr=lr, foreach=False, **k),
}
STEPPED = [name for name in MAKERS if members.takes_groups(MAKERS[name])]
KINDS = {name: type(MAKERS[name]([torch.zeros(1)])) for name in MAKERS}
BASED = [name for name in MAKERS if issubclass(KINDS[name], AbstractOptimizer)]
PURE = [name for name in MAKERS if issubclass(KINDS[name], AbstractPureOptimizer)]


def weights(dtype: torch.dtype = torch.float64, seed: int = 0) -> list[Tensor]:
    """A vector, a matrix, a scalar, a convolution kernel in channels-last layout, and nothing."""
    drawn = torch.Generator().manual_seed(seed)
    shapes = [(5,), (4, 3), (), (2, 3, 2, 2), (0,)]
    found = [torch.randn(s, generator=drawn, dtype=dtype) for s in shapes]
    found[3] = found[3].to(memory_format=torch.channels_last)
    return [w.requires_grad_() for w in found]


def objective(params: list[Tensor]) -> Tensor:
    return sum(((w * (1.0 + torch.arange(w.numel(), dtype=w.dtype).reshape(w.shape))) ** 2).sum() for w in params)  # type: ignore[return-value]


def descend(optimizer: Optimizer, params: list[Tensor], steps: int = 3) -> None:
    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = objective(params)
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)  # type: ignore[arg-type]


def bits(params: list[Tensor]) -> list[bytes]:
    return [w.detach().contiguous().numpy().tobytes() for w in params]


def through_file(state: Any) -> Any:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


# states


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("how", ["state_dict", "file", "pickle", "deepcopy"])
def test_a_state_goes_on_to_the_bit(name: str, how: str) -> None:
    params = weights()
    optimizer = MAKERS[name](params)
    descend(optimizer, params)
    if how in ("state_dict", "file"):
        twin = [w.detach().clone().requires_grad_() for w in params]
        other, state = MAKERS[name](twin), optimizer.state_dict()
        other.load_state_dict(through_file(optimizer.state_dict()) if how == "file" else copy.deepcopy(state))
    elif how == "pickle":
        other, twin = pickle.loads(pickle.dumps((optimizer, params)))
    else:
        other, twin = copy.deepcopy((optimizer, params))
    descend(optimizer, params)
    descend(other, twin)
    assert bits(params) == bits(twin)


@pytest.mark.parametrize("name", STEPPED)
def test_state_tensors_keep_their_storage(name: str) -> None:
    params = weights()
    optimizer = MAKERS[name](params)
    descend(optimizer, params, 1)
    held = {(id(p), key): v for p, s in optimizer.state.items() for key, v in s.items() if isinstance(v, Tensor)}
    places = {which: v.data_ptr() for which, v in held.items()}
    descend(optimizer, params, 2)
    assert all(optimizer.state[p][key].data_ptr() == places[id(p), key] for p in params for key in optimizer.state[p]
               if (id(p), key) in places)  # fmt: skip


@pytest.mark.parametrize("name", STEPPED)
def test_older_states_are_taken(name: str) -> None:
    """A step that is a plain number, and groups that lack every option but the learning rate."""
    params = weights()
    optimizer = MAKERS[name](params)
    descend(optimizer, params)
    state = copy.deepcopy(optimizer.state_dict())
    for own in state["state"].values():
        if "step" in own:
            own["step"] = int(own["step"])
    if name in BASED:
        state["param_groups"] = [{key: g[key] for key in ("params", "lr")} for g in state["param_groups"]]
    twin = [w.detach().clone().requires_grad_() for w in params]
    other = MAKERS[name](twin)
    other.load_state_dict(state)
    descend(optimizer, params)
    descend(other, twin)
    for mine, right in zip(twin, params, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-14, atol=0.0)


@pytest.mark.parametrize("name", STEPPED)
def test_an_empty_entry_of_the_state_is_a_parameter_not_met_yet(name: str) -> None:
    params = weights()
    optimizer = MAKERS[name](params)
    state = optimizer.state_dict()
    state["state"] = {0: {}}
    optimizer.load_state_dict(state)
    twin = weights()
    descend(optimizer, params)
    descend(MAKERS[name](twin), twin)
    assert bits(params) == bits(twin)


# groups and options


@pytest.mark.parametrize("name", STEPPED)
def test_a_group_is_one_group(name: str) -> None:
    """Whatever kinds of parameters it holds: its learning rate moves, or stops, all of them."""
    first, second = weights(), weights(seed=1)
    optimizer = MAKERS[name]([{"params": first}, {"params": second, "lr": 0.0}])
    assert [len(g["params"]) for g in optimizer.param_groups] == [5, 5]
    before = bits(second)
    descend(optimizer, [*first, *second], 1)
    assert bits(second) == before
    assert all(a != b for a, b in zip(bits(first[:4]), bits(weights()[:4]), strict=True))
    optimizer.param_groups[0]["lr"] = 0.0
    before = bits(first)
    descend(optimizer, [*first, *second], 1)
    assert bits(first) == before


@pytest.mark.parametrize("name", STEPPED)
def test_a_group_added_later_has_the_defaults_of_then(name: str) -> None:
    params, late = weights(), weights(seed=1)
    optimizer = MAKERS[name](params)
    optimizer.defaults["lr"] = 0.0
    optimizer.add_param_group({"params": late})
    assert [g["lr"] for g in optimizer.param_groups][1:] == [0.0]
    before = bits(late)
    descend(optimizer, [*params, *late], 1)
    assert bits(late) == before
    with pytest.raises(ValueError, match="more than one"):
        optimizer.add_param_group({"params": late[:1]})


@pytest.mark.parametrize("name", STEPPED)
def test_a_rate_may_be_a_tensor(name: str) -> None:
    params, twin = weights(), weights()
    descend(MAKERS[name](params, lr=torch.tensor(0.01, dtype=torch.float64)), params)
    descend(MAKERS[name](twin, lr=0.01), twin)
    for mine, right in zip(params, twin, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", MAKERS)
def test_names_of_parameters_are_kept(name: str) -> None:
    layer = torch.nn.Linear(2, 3)
    assert MAKERS[name](layer.named_parameters()).param_groups[0]["param_names"] == ["weight", "bias"]


@pytest.mark.parametrize("name", STEPPED)
def test_torchs_schedulers_drive_every_group(name: str) -> None:
    first, second = weights(), weights(seed=1)
    optimizer = MAKERS[name]([{"params": first}, {"params": second, "lr": 0.5}], lr=0.1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, [lambda k: 0.5**k, lambda k: 1.0 / (k + 1)])
    descend(optimizer, [*first, *second], 1)
    scheduler.step()
    assert [g["lr"] for g in optimizer.param_groups] == [0.05, 0.25]
    if {"momentum", "betas"} & set(optimizer.defaults):
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=[1.0, 2.0], total_steps=10)
        for _ in range(3):
            descend(optimizer, [*first, *second], 1)
            cycle.step()
        assert optimizer.param_groups[1]["lr"] == pytest.approx(2 * optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize("name", MAKERS)
def test_hooks_fire_once_a_step(name: str) -> None:
    params = weights()
    optimizer, fired = MAKERS[name](params), []
    optimizer.register_step_pre_hook(lambda *a: fired.append("before"))
    optimizer.register_step_post_hook(lambda *a: fired.append("after"))
    descend(optimizer, params, 2)
    assert fired == ["before", "after"] * 2
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        descend(optimizer, params, 1)
    assert [e.key for e in seen.key_averages() if e.key.startswith("Optimizer.step#")] == [
        f"Optimizer.step#{type(optimizer).__name__}.step"
    ]


# gradients


@pytest.mark.parametrize("name", STEPPED)
def test_a_refused_gradient_leaves_everything_where_it_was(name: str) -> None:
    params = [torch.ones(3, requires_grad=True) for _ in range(3)]
    optimizer = MAKERS[name](params)
    for p in params:
        p.grad = torch.ones(3)
    params[2].grad = torch.sparse_coo_tensor([[0]], [1.0], (3,), check_invariants=False)
    before = bits(params)
    try:
        optimizer.step()
    except RuntimeError as error:
        assert "sparse" in str(error)  # noqa: PT017  torch's SGD takes it
    else:
        assert name == "torch_sgd"
        return
    if name in BASED:
        assert not optimizer.state  # torch's Adam and its kin begin the states of a group before they look
    assert bits(params) == before


@pytest.mark.parametrize("name", [name for name in MAKERS if name in STEPPED or name in OWN])
def test_complex_parameters_are_pairs_of_real_ones(name: str) -> None:
    drawn = torch.randn(4, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    one = drawn.clone().requires_grad_()
    two = torch.view_as_real(drawn.clone()).flatten().requires_grad_()
    scale = torch.linspace(0.5, 2.0, 8, dtype=torch.float64)

    def run(x: Tensor, real: Callable[[Tensor], Tensor]) -> Tensor:
        optimizer = MAKERS[name]([x], lr=0.05)

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = (scale * (real(x) - 1.0) ** 2).sum()
            loss.backward()
            return loss

        for _ in range(4):
            optimizer.step(closure)  # type: ignore[arg-type]
        return real(x.detach())

    found = run(one, lambda x: torch.view_as_real(x).flatten())
    torch.testing.assert_close(found, run(two, lambda x: x), rtol=1e-12, atol=1e-14)


def test_muon_refuses_complex_matrices_before_anything_moves() -> None:
    params = [torch.ones(2, requires_grad=True), torch.ones(2, 2, dtype=torch.complex64, requires_grad=True)]
    optimizer = MAKERS["muon"](params)
    for p in params:
        p.grad = torch.ones_like(p)
    with pytest.raises(RuntimeError, match="complex"):
        optimizer.step()
    assert params[0].tolist() == [1.0, 1.0]


def test_lbfgs_takes_sparse_gradients_as_torchs_does() -> None:
    def run(make: Make) -> Tensor:
        x = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64, requires_grad=True)
        optimizer = make([x], lr=0.5)

        def closure() -> Tensor:
            x.grad = torch.sparse_coo_tensor([[0, 2]], 2 * x.detach()[[0, 2]], (3,), check_invariants=False)
            return (x.detach()[[0, 2]] ** 2).sum()

        for _ in range(3):
            optimizer.step(closure)  # type: ignore[arg-type]
        return x.detach()

    assert torch.equal(run(lambda p, lr: members.make("optimizer", "lbfgs", p, lr=lr, line_search_fn=None)),
                       run(lambda p, lr: torch.optim.LBFGS(p, lr=lr, max_iter=4, history_size=10)))  # fmt: skip


@pytest.mark.parametrize("name", STEPPED)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_moves(name: str, dtype: torch.dtype) -> None:
    params = weights(dtype)
    before = bits([w.float() for w in params[:4]])
    descend(MAKERS[name](params, lr=0.05), params, 2)
    assert all(w.dtype == dtype and w.isfinite().all() for w in params)
    assert all(a != b for a, b in zip(bits([w.float() for w in params[:4]]), before, strict=True))


# the base


@pytest.mark.parametrize("decay", ["coupled", "decoupled"])
def test_decay_and_maximize_are_those_of_torch(decay: str) -> None:
    kind = type("Plain", (SignDescent,), {
        "decay": decay,
        "__init__": lambda self, params, **options: AbstractPureOptimizer.__init__(self, params, options),
        "pure": staticmethod(lambda x, gradient, memory, hyper, t: (moved(x, gradient, hyper["lr"]), {})),
    })  # fmt: skip
    params, twin = weights(), weights()
    ours = kind(params, lr=0.01, weight_decay=0.3, maximize=True)
    if decay == "coupled":
        right = twin
        theirs = torch.optim.SGD(right, lr=0.01, weight_decay=0.3, maximize=True, foreach=False)
        descend(theirs, right)
    else:
        right = twin
        for _ in range(3):
            gradient = torch.autograd.grad(objective(right), right)
            with torch.no_grad():
                for w, g in zip(right, gradient, strict=True):
                    w.mul_(1 - 0.01 * 0.3).add_(g, alpha=0.01)
    descend(ours, params)
    for mine, other in zip(params, right, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", PURE)
def test_maximize_is_descent_on_the_negative(name: str) -> None:
    params, twin = weights(), weights()
    ours, right = MAKERS[name](params), MAKERS[name](twin)
    ours.param_groups[0]["maximize"] = True
    for _ in range(3):
        for optimizer, own, sign in ((ours, params, 1.0), (right, twin, -1.0)):
            optimizer.zero_grad()
            (sign * objective(own)).backward()
            optimizer.step()
    assert bits(params) == bits(twin)


@pytest.mark.parametrize("name", PURE)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_as_one_vector_is_one_by_one(name: str, dtype: torch.dtype) -> None:
    """With two kinds of parameters, in other layouts, some without a gradient at first, and through a state."""
    params, twin = ([*weights(dtype), *weights(torch.complex64)] for _ in range(2))
    ours, right = MAKERS[name](params), MAKERS[name](twin)
    ours.param_groups[0]["foreach"] = True
    for k in range(4):
        for optimizer, own in ((ours, params), (right, twin)):
            for i, w in enumerate(own):
                scale = torch.arange(1.0, w.numel() + 1).reshape(w.shape)
                w.grad = None if k == 0 and i % 2 else (2 * scale * w.detach()).to(w.dtype)
            optimizer.step()
        ours.load_state_dict(copy.deepcopy(ours.state_dict()))
    rounding = 1e-13 if dtype == torch.float64 else 1e-5
    for mine, other in zip(params, twin, strict=True):
        tolerance = rounding if mine.dtype == dtype else 1e-5
        torch.testing.assert_close(mine, other, rtol=tolerance, atol=tolerance)
    for mine, other in zip(ours.state.values(), right.state.values(), strict=True):
        assert {k: v.shape for k, v in mine.items()} == {k: v.shape for k, v in other.items()}
        assert mine["step"] == other["step"]


def test_an_update_of_another_shape_is_refused() -> None:
    kind = type("Wrong", (SignDescent,), {"pure": staticmethod(lambda x, gradient, memory, hyper, t: (x.sum(), {}))})
    x = torch.ones(3, requires_grad=True)
    x.grad = torch.ones(3)
    with pytest.raises(RuntimeError, match=r"gave \(\) for \(3,\)"):
        kind([x]).step()
    assert x.tolist() == [1.0] * 3


@pytest.mark.parametrize("options", [{"lr": -1.0}, {"lr": float("nan")}, {"weight_decay": -0.1}])
def test_numbers_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected at least 0"):
        Coupled([torch.zeros(1)], **options)


def test_the_example_of_contributing_is_torchs_momentum() -> None:
    params, twin = weights(), weights()
    descend(MAKERS["example"](params, lr=0.001), params)
    descend(torch.optim.SGD(twin, lr=0.001, momentum=0.9), twin)
    for mine, right in zip(params, twin, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-12, atol=1e-15)


def test_a_rule_without_an_update_is_refused_when_it_is_made() -> None:
    class Empty(AbstractPureOptimizer):
        memories = ()

        def __init__(self, params: Any) -> None:
            super().__init__(params, {"lr": 0.1})

    with pytest.raises(TypeError, match=r"abstract method '?pure"):
        Empty([torch.zeros(1, requires_grad=True)])  # type: ignore[abstract]


@pytest.mark.parametrize("name", PURE)
def test_updates_are_counted_however_many_there_were(name: str) -> None:
    """Also beyond what single precision counts, and whatever the precision of the parameters."""
    x = torch.ones(2, dtype=torch.bfloat16, requires_grad=True)
    optimizer = MAKERS[name]([x])
    for made in (0, 2**24, 2**53):
        if made:
            optimizer.state[x]["step"].fill_(made)
        x.grad = torch.ones_like(x)
        optimizer.step()
        assert int(optimizer.state[x]["step"]) == made + 1


@pytest.mark.parametrize("name", [name for name in OWN if name in BASED])
def test_what_is_left_out_is_what_conf_says(name: str) -> None:
    """Whoever builds the class and whoever takes the member by name get the same numbers, but for the rate."""
    found, said = members.left_out("optimizer", name)
    assert found == said


def test_the_rates_that_are_left_out_are_those_of_the_papers() -> None:
    point = [torch.zeros(1, requires_grad=True)]
    assert members.target("optimizer", "lion")(point).defaults["lr"] == 1e-4
    matrix = [torch.zeros(1, 1, requires_grad=True)]
    assert members.target("optimizer", "muon")(matrix).defaults["lr"] == torch.optim.Muon(matrix).defaults["lr"]
