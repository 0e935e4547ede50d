"""The certified enumerator: every critical point of a surface in a box, by interval arithmetic, with proof.

    certify             all critical points, or what is not known and why: CriticalSet (`certify`)
    parse_expression    an objective from a formula as a user types it (`expression`)
    verify_arb          an independent second proof in Arb ball arithmetic (`verify`; needs python-flint)
    MissingRule         raised for an operation that intervals do not know; search numerically instead

From the ground up: `ends` (rounding), `functions` (elementary functions), `traced` and `operations` (the face shown to
torch code), `interval`, `jet`, `field`; `krawczyk` and `inertia` (what is proved in one box), `enumerate` (branch and
bound); `winding`, `extremum`, `clusters` (what is proved of regions that stay undecided), `wording`, `certify`.
"""

from __future__ import annotations

from optbench.critical.certified.certify import certify
from optbench.critical.certified.expression import Expression, parse_expression
from optbench.critical.certified.traced import MissingRule
from optbench.critical.certified.verify import Verification, verify_arb

__all__ = ["Expression", "MissingRule", "Verification", "certify", "parse_expression", "verify_arb"]
