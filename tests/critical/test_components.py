"""What hangs together: the few compared each with each, and the many that scipy compares, are told apart alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from optbench.critical.proofs import components as module
from optbench.critical.proofs.components import components, connected, pairs_within

POINTS = st.integers(1, 12).flatmap(
    lambda n: arrays(float, (n, 2), elements=st.floats(-4, 4).map(lambda v: round(4 * v) / 4))
)


@settings(max_examples=40)
@given(POINTS, st.sampled_from([0.0, 0.25, 1.0, 2.5]))
def test_few_and_many_have_the_same_pairs_and_labels(points: np.ndarray, reach: float) -> None:
    plain = [
        (i, j)
        for i in range(len(points))
        for j in range(i + 1, len(points))
        if all(abs(a - b) <= reach for a, b in zip(points[i], points[j], strict=True))
    ]
    label = list(range(len(points)))
    for _ in points:
        for i, j in plain:
            label[i] = label[j] = min(label[i], label[j])
    numbered = [sorted(set(label)).index(k) for k in label]
    for few in (module.FEW, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "FEW", few)
            pairs = pairs_within(points, reach)
            assert list(map(tuple, pairs.tolist())) == plain
            assert connected(len(points), pairs).tolist() == numbered


def test_boxes_closer_than_two_widths_share_a_label() -> None:
    low = np.array([[0.0], [0.1], [5.0], [0.2], [5.15], [9.0]])
    unit = np.ones(1)
    assert components(low, low + 0.1, unit).tolist() == [0, 0, 1, 0, 1, 2]
    assert components(low[:1], low[:1] + 0.1, unit).tolist() == [0]
    assert components(low[:0], low[:0], unit).tolist() == []
