"""Tubes against the walls of the box in x: which critical points lie inside, for which parameters.

A tube found near a wall may reach over it. Its parameters are cut until on each piece the critical point is proved to
lie in the closed box or outside; what is left of the shortest pieces is where the curve crosses the wall.
"""

from __future__ import annotations

import numpy as np

from optbench.critical.arithmetic.ends import Array
from optbench.critical.bifurcation.tubes import Tubes, contract
from optbench.critical.points.found import Range
from optbench.critical.proofs.field import Field

SHORTEST = 2.0**-24  # of the parameter's range
MOST = 2000  # pieces; a curve that runs along a wall would be cut for ever


def inside_box(field: Field, tubes: Tubes) -> tuple[Tubes, list[Range]]:
    """The tubes, or their pieces, inside the box; and the parameters at which a curve may cross a wall."""
    d = field.dim - 1
    low, high, length = field.low[:d], field.high[:d], field.width[d]
    kept, open_ = [], []
    todo = tubes
    while len(todo):
        within = np.asarray(((todo.low >= low) & (todo.high <= high)).all(axis=1))
        outside = np.asarray(((todo.low > high) | (todo.high < low)).any(axis=1))
        kept.append(todo.rows(within))
        todo = todo.rows(~within & ~outside)
        middle = 0.5 * (todo.a_low + todo.a_high)
        short = (todo.a_high - todo.a_low <= SHORTEST * length) | (middle <= todo.a_low) | (middle >= todo.a_high)
        if len(todo) > MOST:
            short[:] = True
        open_ += list(zip(todo.a_low[short].tolist(), todo.a_high[short].tolist(), strict=True))
        todo = _halves(field, todo.rows(~short), middle[~short])
    return Tubes.joined(kept, d), open_


def _halves(field: Field, tubes: Tubes, middle: Array) -> Tubes:
    """Both halves of the parameters of each tube, with the point enclosed anew."""
    if not len(tubes):
        return tubes
    parts = []
    for a_low, a_high in ((tubes.a_low, middle), (middle, tubes.a_high)):
        k = contract(field, np.column_stack([tubes.low, a_low]), np.column_stack([tubes.high, a_high]))
        low, high = np.maximum(tubes.low, k.low), np.minimum(tubes.high, k.high)
        parts.append(Tubes(tubes.unique_low, tubes.unique_high, low, high, a_low, a_high))
    return Tubes.joined(parts, tubes.low.shape[1])
