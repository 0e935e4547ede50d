"""Every critical point of a surface in a box, with proof: branch and bound, and what is proved of the parts it leaves.

The box is cut in two, again and again. A piece is dropped when the gradient is proved not to vanish in it, kept when it
is proved to hold exactly one critical point, and cut further otherwise. When every piece is dropped or kept, the list
is complete, and that is a theorem: `COMPLETE`. What is still open at the smallest size (degenerate points, kinks,
valleys) is gathered into regions, about which weaker things are proved: that a minimum lies in it, an index, signs of
some eigenvalues. A region whose point can be named exactly (`germs`) is settled; the rest is reported as undecided,
with the reason. A surface that is a sum of functions of different coordinates is searched term by term.

    certify(objective, box)     CriticalSet

In reading order:

    propagate    constraint propagation: a box shrinks, or is empty, by the gradient's equations
    enumerate    branch and bound, a level of boxes at a time
    distinct     which enclosures are of the same point
    clusters     what is proved of the boxes that stay undecided
    zoom         a closer look at small regions, as boxes of their own
    wording      regions in words: what is proved, what is not, and why
    germ_points  exact points as results, for the regions they settle
    product      sums of functions that share no coordinate
    certify      all of it: the public entry

What to trust: `complete` means that the box, taken as closed, holds exactly the listed points of the programmed
function. It rests on `programs`, `arithmetic` and `proofs`, and on nothing that is measured; order of cutting, sizes
and time limits decide how much is found, never whether it is true. `second_proof` repeats it independently.

Sources: R. B. Kearfott, Rigorous Global Search: Continuous Problems, 1996; F. Benhamou et al., ICLP 1999, and X.-H. Vu
et al., J. Global Optimization 45 (2009) 499 (propagation).
"""

from __future__ import annotations

from optbench.critical.certified.certify import DEPTH, MAX_BOXES, certify

__all__ = ["DEPTH", "MAX_BOXES", "certify"]
