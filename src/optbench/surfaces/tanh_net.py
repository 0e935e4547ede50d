"""A neuron with a tanh before the lecture's two-weight network: the smallest network with a poor minimum."""

from __future__ import annotations

from torch import Tensor

from optbench.problem import AbstractSurface

EXAMPLES = ((0.25, 2.0), (1.0, -1.0), (2.0, 2.0))
L2 = 0.02


class TanhNet(AbstractSurface):
    """f(w1, w2) = 1/3 sum_i (y_i - w2 tanh(w1 x_i))^2 + 0.02 (w1^2 + w2^2): two neurons in a chain, the first a tanh.

    The three examples (1/4, 2), (1, -1), (2, 2) cannot all be met. A slow slope through the outer two is the global
    minimum, a step that all three share a poorer one (2.4767 against 2.3326), with a saddle between them. tanh is odd,
    so (-w1, -w2) is the same network and every point has its mirror image, with a saddle at the origin between them,
    of value 3 = mean y^2 and eigenvalues 0.04 -+ 2 mean(x y) = 0.04 -+ 7/3 along (1, 1) and (1, -1). There are 4 minima
    and 3 saddles, no others, by the certified search; minimizers to full precision by Newton's method in 40 digits.

    Source: ours, after the two-weight network of Hung-yi Lee, Machine Learning 2021, "When gradient is small", with the
    activation put back; the start lies close to the way into the saddle at the origin.
    """

    def __init__(self) -> None:
        a, b = 0.37382131339055896, 1.8336610587230462
        super().__init__([(-5.0, 5.0), (-3.0, 3.0)], [-1.0, 1.58], [[a, b], [-a, -b]], 2.332579692872921)

    def __call__(self, x: Tensor) -> Tensor:
        w1, w2 = x.unbind(-1)
        total = L2 * (w1 * w1 + w2 * w2)
        for example, label in EXAMPLES:
            error = label - w2 * (example * w1).tanh()
            total = total + error * error / len(EXAMPLES)
        return total
