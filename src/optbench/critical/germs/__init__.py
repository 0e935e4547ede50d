"""Degenerate points that can be named: known exactly, though no interval can tell their Hessian from a singular one.

At a degenerate critical point some eigenvalue of the Hessian is 0. Intervals never show that a number is 0, so branch
and bound leaves a crowd of small boxes round such a point. Often its coordinates are simple: 0, 1/3, 0.1 as a float.
There the surface's program is run on power series with fractions, and everything about the point is algebra: the
gradient is exactly 0 or it is not; the local algebra has a dimension, the multiplicity, which says how many ordinary
points a small change of f could make of it; a quadratic form on that algebra gives the index; Newton's polygon gives
the branches of {f = f(p)} and with them minimum, maximum or saddle. And the algebra gives a room in which no other
point is critical: if it covers the crowd of boxes, nothing is left open.

In reading order:

    local_algebra  multiplicity, index and a room of its own, by elimination in fractions
    roots          real roots of polynomials: Sturm's theorem, bisection
    branches       half-branches of a plane curve at a point: Newton's polygon and Puiseux's series
    germ           the point itself: found in a region, verified, classified

What to trust: everything here is exact arithmetic on the program's own constants; there is no tolerance. Out of reach,
and left as they are: irrational coordinates or Taylor coefficients (exp at 1), kinks, points that are not isolated,
more than four coordinates, and what takes more digits or a higher degree than a fixed limit.

Sources: V. I. Arnold, S. M. Gusein-Zade & A. N. Varchenko, Singularities of Differentiable Maps I, 1985 (the names A,
D, E); D. Eisenbud & H. Levine, Annals of Mathematics 106 (1977) 19, and G. N. Khimshiashvili, 1977 (the index).
"""
