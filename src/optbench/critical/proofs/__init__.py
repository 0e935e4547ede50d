"""What can be proved of one box, one point or one region: the theorems on which a certified search is built.

Each file holds one theorem and the arithmetic that checks its premise; none searches. The premise is checked with
ranges that are rounded outward (`arithmetic`), so where a function here says yes, it is so, and where it says no,
nothing is known. The first question is always whether a box holds a zero of the gradient: Krawczyk's operator maps the
box into itself and there is exactly one, or out of itself and there is none. The second is what the point is: signs of
the eigenvalues of every Hessian that the box allows. Where these fail (the Hessian is singular, f has a kink) the
values of f round a region still prove a minimum in it, and the turns of the gradient along its edge an index.

In reading order:

    field       an objective on a box: boxes in, ranges of f, gradient and Hessian out
    boxes       boxes in bulk: where to cut them, and the trail of what became of each
    krawczyk    exactly one critical point, or none; narrowing an enclosure to rounding
    inertia     signs and enclosures of the eigenvalues of an interval matrix
    extremum    higher all round a region than inside: a minimum, with no derivative
    winding     how often the gradient turns along the edge of a rectangle, exactly
    edge        inside the box, outside, or on its edge: in fractions where an enclosure cannot tell
    components  which boxes are connected
    continuum   a curve of critical points, or a valley that slopes a little: steers the search, proves nothing
    faithful    is the program the surface? tried at points of the box before anything is proved

What to trust: all but `continuum`, as its opening says, and `faithful`, which can refuse but cannot prove.

Sources: A. Neumaier, Interval Methods for Systems of Equations, 1990, theorem 5.1.8 (existence and uniqueness); R. A.
Horn & C. R. Johnson, Matrix Analysis, 2012, theorems 4.5.8 and 4.5.9 (Sylvester, Ostrowski); N. J. Higham, Accuracy and
Stability of Numerical Algorithms, 2002, section 3.5 (errors of sums of products).
"""
