"""A convolutional network on signals."""

from __future__ import annotations

from torch import Tensor, nn

from optbench.errors import UserError
from optbench.models._checks import check_count


class CNN1D(nn.Module):
    """Three convolutions of stride 2 (kernels 5, 3, 3) with ReLU, then a linear layer: 5,210 parameters as given.

    Args:
        n_outputs: number of outputs.
        length: numbers of a signal, at least 5.
        width: channels of each convolution.

    Shape: float (b, length), or (b, 1, length) -> (b, n_outputs).

    Raises:
        UserError: a size that is no whole number or too small, or an input of another shape.

    Source: S. Greydanus and D. Kobak, arXiv:2011.14439, the CNN of Table 1 (`ConvBase` in the repository).
    """

    def __init__(self, n_outputs: int = 10, length: int = 40, width: int = 25) -> None:
        super().__init__()
        check_count("n_outputs", n_outputs)
        check_count("width", width)
        self.length = check_count("length", length, least=5)
        left = self.length
        for kernel in (5, 3, 3):
            left = (left + 2 - kernel) // 2 + 1
        self.layers = nn.Sequential(
            nn.Conv1d(1, width, 5, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv1d(width, width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv1d(width, width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(left * width, n_outputs),
        )

    def forward(self, signals: Tensor) -> Tensor:
        """Outputs: (b, length) or (b, 1, length) -> (b, n_outputs)."""
        if signals.shape[1:] not in ((self.length,), (1, self.length)) or not signals.is_floating_point():
            came = f"{signals.dtype} {tuple(signals.shape)}"
            raise UserError(f"the network was built for signals (b, {self.length}); got {came}", "set model.length")
        outputs: Tensor = self.layers(signals.reshape(-1, 1, self.length))
        return outputs
