"""Convolutions and poolings with the examples last are torch's own, values and slopes."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from optbench.stacked.windows import Convolution, Largest, convolved, numbers, pictures, windows_of

Side = st.integers(1, 3)


@st.composite
def layers(draw: Any) -> tuple[nn.Module, tuple[int, ...]]:
    """A layer, and the shape of an example that it takes."""
    flat, pools = draw(st.booleans()), draw(st.booleans())
    kernel, stride = draw(st.tuples(Side, Side)), draw(st.tuples(Side, Side))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    sides = draw(st.tuples(st.integers(3, 6), st.integers(3, 6)))
    options: dict[str, Any] = {"kernel_size": kernel, "stride": stride, "padding": padding}
    if flat:
        options, sides = {key: value[1] for key, value in options.items()}, sides[1:]
    if pools:
        return (nn.MaxPool1d if flat else nn.MaxPool2d)(**options), (2, *sides)
    kind: Any = nn.Conv1d if flat else nn.Conv2d
    return kind(2, 3, bias=draw(st.booleans()), **options), (2, *sides)


def alone(layer: Any, weight: Tensor | None, bias: Tensor | None, x: Tensor) -> Tensor:
    """Of one row: (features, b) to (features, b), by torch's own layer."""
    x = x.mT.reshape(layer.shape)
    made = layer(x) if weight is None else layer._conv_forward(x, weight, bias)
    flat: Tensor = made.flatten(1).mT
    return flat


@settings(max_examples=30, deadline=None)
@given(layers(), st.integers(0, 1000), st.booleans())
def test_windows(drawn: tuple[Any, tuple[int, ...]], seed: int, ties: bool) -> None:
    layer, shape = drawn
    layer.shape = (-1, *shape)
    rows, b, generator = 3, 4, torch.Generator().manual_seed(seed)
    x = torch.randn(rows, torch.Size(shape).numel(), b, generator=generator, dtype=torch.float64)
    x = x.mul(2).round() if ties else x  # of equal numbers the first is the largest
    given = {n: torch.randn(rows, *p.shape, generator=generator, dtype=x.dtype) for n, p in layer.named_parameters()}
    leaves = [leaf.requires_grad_() for leaf in (x, *given.values())]
    wanted = torch.stack([alone(layer, *(given[n][i] if n in given else None for n in ("weight", "bias")), x[i])
                          for i in range(rows)])  # fmt: skip
    toward = torch.randn(wanted.shape, generator=generator, dtype=x.dtype)
    slopes = torch.autograd.grad((wanted * toward).sum(), leaves)

    windows = windows_of(layer)
    assert windows is not None
    places = {name: torch.full_like(value, torch.nan) for name, value in given.items()}
    if given:
        made = Convolution.apply(pictures(x, shape), given["weight"], given.get("bias"), windows, places["weight"],
                                 places.get("bias"))  # fmt: skip
        plain = convolved(windows, pictures(x, shape), given["weight"], given.get("bias"))
        assert torch.equal(plain, made)
    else:
        made = Largest.apply(pictures(x, shape), windows)
    torch.testing.assert_close(numbers(made), wanted)
    (back,) = torch.autograd.grad((numbers(made) * toward).sum(), [x])
    for mine, theirs in zip((back, *places.values()), slopes, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_other_windows_do_not_stack() -> None:
    others = (nn.Conv2d(2, 4, 3, groups=2), nn.Conv1d(1, 1, 3, dilation=2), nn.Conv1d(1, 1, 3, padding="same"),
              nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), nn.MaxPool2d(2, ceil_mode=True),
              nn.MaxPool2d(2, dilation=(2, 1)))  # fmt: skip
    assert [windows_of(layer) for layer in others] == [None] * len(others)
