"""Convolutions and poolings of every row, with the examples last: (rows, channels, height, width, b).

What a window sees at one of its places is a slice of the input, copied as runs of b numbers; all of them side by side
are a matrix for each row, and a convolution is one batched matrix product. A grouped convolution, which torch has for
the same thing, takes 1.4 times as long at small sizes, and the gradient of its weights is a copy more
(benchmarks/results/stacked.md). A signal is a picture of height 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
POOLINGS = (nn.MaxPool1d, nn.MaxPool2d)


@dataclass(frozen=True)
class Windows:
    """Where a layer looks.

    Attributes:
        kernel, stride, padding: of height and width.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]

    @property
    def places(self) -> int:
        """Numbers of a channel that a window sees."""
        return self.kernel[0] * self.kernel[1]

    def made(self, shape: Sequence[int]) -> tuple[int, int]:
        """(height, width) of what is made of (..., height, width)."""
        sides = zip(shape[-2:], self.kernel, self.stride, self.padding, strict=True)
        high, wide = ((side + 2 * p - k) // s + 1 for side, k, s, p in sides)
        return high, wide

    def padded(self, x: Tensor, value: float) -> Tensor:
        """(rows, channels, h, w, b) with its border."""
        (top, left) = self.padding
        return pad(x, (0, 0, left, left, top, top), value=value) if top or left else x

    def bare(self, x: Tensor) -> Tensor:
        """The same without its border."""
        (top, left) = self.padding
        return x[:, :, top : x.shape[2] - top, left : x.shape[3] - left]

    def parts(self, padded: Tensor, made: tuple[int, int]) -> Iterator[Tensor]:
        """What the windows see at each of their places, views (rows, channels, *made, b)."""
        (down, right), (high, wide) = self.stride, made
        for i, j in product(*map(range, self.kernel)):
            yield padded[:, :, i : i + down * (high - 1) + 1 : down, j : j + right * (wide - 1) + 1 : right]


def windows_of(layer: nn.Module) -> Windows | None:
    """The windows of a convolution or a pooling; None where it is of another kind than those here."""
    kernel, stride, padding = (_sides(layer, getattr(layer, key)) for key in ("kernel_size", "stride", "padding"))
    plain = kernel and stride and padding and _sides(layer, layer.dilation) in ((1, 1), (0, 1))
    if isinstance(layer, CONVOLUTIONS):
        plain = plain and layer.groups == 1 and layer.padding_mode == "zeros"
    elif isinstance(layer, POOLINGS):
        plain = plain and not layer.ceil_mode and not layer.return_indices
    if not plain:
        return None
    high, down = (1, 1) if isinstance(layer, nn.Conv1d | nn.MaxPool1d) else (kernel[0], stride[0])
    return Windows((high, kernel[1]), (down, stride[1]), (padding[0], padding[1]))


def _sides(layer: nn.Module, value: Any) -> tuple[int, int]:
    """An option as of height and width, () where it is a word; 0 is the height's of what has none."""
    if isinstance(value, str):
        return ()  # type: ignore[return-value]
    given = (value,) if isinstance(value, int) else tuple(value)
    if isinstance(layer, nn.Conv1d | nn.MaxPool1d):
        return 0, given[0]
    return (given[0], given[-1])


def pictures(x: Tensor, shape: Sequence[int]) -> Tensor:
    """(rows, features, b) as (rows, channels, height, width, b), of examples (channels, [height,] width)."""
    channels, *sides = shape
    return x.reshape(len(x), channels, *([1] if len(sides) == 1 else []), *sides, x.shape[2])


def numbers(x: Tensor) -> Tensor:
    """(rows, channels, height, width, b) as (rows, features, b)."""
    return x.reshape(len(x), -1, x.shape[-1])


def seen(windows: Windows, x: Tensor) -> Tensor:
    """What each window sees: (rows, channels, h, w, b) to (rows, channels times places, number of windows times b)."""
    made, padded = windows.made(x.shape[2:4]), windows.padded(x, 0.0)
    found = x.new_empty(*x.shape[:2], windows.places, *made, x.shape[4])
    for i, part in enumerate(windows.parts(padded, made)):
        found[:, :, i].copy_(part)
    return found.view(len(x), x.shape[1] * windows.places, -1)


class Convolution(torch.autograd.Function):
    """A convolution of every row: x (rows, channels, h, w, b), weight (rows, out, ...) to (rows, out, h', w', b).

    As those of `chain`'s linear layers, its weights' gradients go straight to their place.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        windows: Windows,
        of_weight: Tensor,
        of_bias: Tensor | None,
    ) -> Tensor:
        columns = seen(windows, x)
        ctx.save_for_backward(columns, weight)
        ctx.windows, ctx.shape, ctx.places = windows, x.shape, (of_weight, of_bias)
        return _product(columns, weight, bias, windows, x.shape)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        columns, weight = ctx.saved_tensors
        (of_weight, of_bias), windows = ctx.places, ctx.windows
        slope = slope.reshape(len(slope), slope.shape[1], -1)
        torch.bmm(slope, columns.mT, out=of_weight.view(*of_weight.shape[:2], -1))
        if of_bias is not None:
            torch.sum(slope, dim=2, out=of_bias)
        back = (
            _put_back(torch.bmm(weight.flatten(2).mT, slope), windows, ctx.shape) if ctx.needs_input_grad[0] else None
        )
        return back, None, None, None, None, None


def convolved(windows: Windows, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The same without a graph."""
    return _product(seen(windows, x), weight, bias, windows, x.shape)


def _product(columns: Tensor, weight: Tensor, bias: Tensor | None, windows: Windows, shape: Sequence[int]) -> Tensor:
    flat = weight.flatten(2)
    made = torch.bmm(flat, columns) if bias is None else torch.baddbmm(bias[:, :, None], flat, columns)
    return made.view(*made.shape[:2], *windows.made(shape[2:4]), shape[4])


def _put_back(slopes: Tensor, windows: Windows, shape: Sequence[int]) -> Tensor:
    """What `seen` was of, from slopes of what it made: those of a number that several windows see are added."""
    made, (top, left) = windows.made(shape[2:4]), windows.padding
    whole = slopes.new_zeros(*shape[:2], shape[2] + 2 * top, shape[3] + 2 * left, shape[4])
    of_places = slopes.view(*shape[:2], windows.places, *made, shape[4])
    for i, part in enumerate(windows.parts(whole, made)):
        part.add_(of_places[:, :, i])
    return windows.bare(whole)


class Largest(torch.autograd.Function):
    """Maximum pooling of every row, (rows, channels, h, w, b) to (rows, channels, h', w', b).

    Of equal numbers the first has the slope, as in torch's own.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, windows: Windows) -> Tensor:
        made, which = windows.made(x.shape[2:4]), None
        for i, part in enumerate(windows.parts(windows.padded(x, -torch.inf), made)):
            if which is None:
                best, which = part.clone(), torch.zeros(part.shape, dtype=torch.uint8, device=x.device)
                continue
            larger = (part > best) | part.isnan()
            best = torch.where(larger, part, best)
            which.masked_fill_(larger, i)
        assert which is not None
        ctx.save_for_backward(which)
        ctx.windows, ctx.shape = windows, x.shape
        return best

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, None]:
        (which,) = ctx.saved_tensors
        windows, shape = ctx.windows, ctx.shape
        (top, left) = windows.padding
        whole = slope.new_zeros(*shape[:2], shape[2] + 2 * top, shape[3] + 2 * left, shape[4])
        for i, part in enumerate(windows.parts(whole, windows.made(shape[2:4]))):
            part.add_(slope * (which == i))
        return windows.bare(whole), None
