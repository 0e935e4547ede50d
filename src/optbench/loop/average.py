"""The exponential moving average of a network's weights, kept beside those that are trained on.

Weights of the latest updates count most: of two updates that follow one another, the earlier one counts `decay` times
as much. The weights before the first update do not count, as in Adam's means: after k updates the average is
sum_i decay^(k - i) w_i / sum_i decay^(k - i), so that a short run does not carry its random start along. What a network
keeps as floating-point buffers, such as batch norm's running statistics, is averaged in the same way.

Polyak & Juditsky, Acceleration of stochastic approximation by averaging (1992); the decay and its use in evaluation:
Tan & Le, EfficientNet (2019).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from optbench.moving_average import follow


class Average:
    """The average of the weights of a module.

    Args:
        module: that is trained; its weights are those of now until the first update.
        decay: in (0, 1).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._module, self._decay = module, decay
        self.count = 0
        """Updates that are averaged."""
        self._own = [t for t in (*module.parameters(), *module.buffers()) if t.is_floating_point()]
        self._means = [t.detach().clone() for t in self._own]

    def update(self) -> None:
        """Takes the weights after one more update into account."""
        self.count += 1
        follow(self._means, self._own, self._decay, self.count)

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """In it the module has the averages for weights; nothing is copied."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        for own, mean in zip(self._own, self._means, strict=True):
            own.data, mean.data = mean.data, own.data

    def state_dict(self) -> dict[str, Any]:
        """The module's state_dict with the averages."""
        with self.in_use():
            return self._module.state_dict()

    def restore(self, state: Mapping[str, Any], count: int) -> None:
        """Goes on from a state_dict() of so many updates."""
        with self.in_use():
            self._module.load_state_dict(state)
        self.count = count
