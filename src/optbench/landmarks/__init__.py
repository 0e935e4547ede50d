"""Where runs stop: which critical point of the surface a last iterate belongs to, and how the surface curves there.

A loss that no longer falls does not say why. On a surface it can be said: the critical points are known (`critical`,
with proof where that can be), so the end of a run is at one of them, on the way to one, or nowhere. A place belongs to
a point by one rule, the same for the ends of recorded runs and for the maps of basins of attraction: round each point
is a disk; in a minimum's disk, at or below the lowest value on its edge, no method that only descends can leave. A
saddle has no such level, so a place belongs to it only when it is very near: whoever passes by is not there to stay.

In reading order:

    disks     the rule
    arrivals  the points of a surface, once; then each end: `stopped_at`, `critical_type`, `lambda_min`
    columns   the same as columns of records, for one run or the rows of a batch
    kept      the points of a surface as plain data, and back

What to trust: the type is certified where the list of points is (few coordinates, a budget of boxes), numerical where
Newton's method from the end had to find its point. What is at no critical point has none: nothing is guessed, and
outside the box nothing is known. A Hessian that cannot be computed costs the columns and never the record.
"""
