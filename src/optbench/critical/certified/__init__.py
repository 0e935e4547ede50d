"""The certified enumerator: every critical point of a surface in a box, by interval arithmetic, with proof.

    certify             all critical points, or what is not known and why: CriticalSet (`certify`)
    verify_arb          an independent second proof in Arb ball arithmetic (`verify`, `agreement`; needs python-flint)
    Trail               what became of every box that was examined (`boxes`)
    MissingRule         raised for an operation that intervals do not know; search numerically instead

From the ground up: `ends` (rounding), `functions` (elementary functions), `arithmetic` (what one provides) and its
kinds `interval`, `jet`, `arb`, `exact`, `recorded`; `operations`, `activations`, `reductions`, `shapes`, `logits`,
`traced` and `program` (how torch code becomes a program), `field`; `gradient_program` and `propagate` (what its
equations leave of a box); `krawczyk` and `inertia` (what is proved in one box), `boxes` and `enumerate` (branch and
bound); `separable`, `distinct` and `product` (sums of functions that share no coordinate); `edge` (on which side of an
edge a point lies); `winding`, `extremum`, `clusters` (what is proved of regions that stay undecided), `zoom`;
`elementary_series`, `power_series` (Taylor coefficients, exact or enclosed), `local_algebra`, `roots`, `branches`,
`germs`, `germ_points` (degenerate points verified in fractions); `faithful`, `steady` (is the surface its program, and
a function at all?), `wording`, `certify`; `certificate` (as a file for `optbench.check_proof`).
"""

from __future__ import annotations

from optbench.critical.certified.arithmetic import MissingRule
from optbench.critical.certified.boxes import Trail
from optbench.critical.certified.certify import DEPTH, MAX_BOXES, certify
from optbench.critical.certified.verify import Verification, verify_arb

__all__ = ["DEPTH", "MAX_BOXES", "MissingRule", "Trail", "Verification", "certify", "verify_arb"]
