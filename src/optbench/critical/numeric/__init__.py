"""The numerical search for critical points, which can miss some and says so; and one point, looked at closely.

Newton's method for grad f = 0 runs from thousands of places at once: the cells of a grid in which every component of
the gradient changes sign, and a set that fills the space between. What converges is sorted into distinct points;
whether the sign of an eigenvalue can be believed is asked of Newton's own convergence theory (the Kantorovich ratio),
not of a threshold on the eigenvalue. What the second derivatives leave open is judged by other means: the index of the
gradient round the point, f along the flat directions once the sure ones are taken out, and lower points on small
spheres. A cell that goes on changing sign with no point in it is a kink. In one and two dimensions the sum of all
indices must be the winding number of the gradient along the edge: a check of the list that does not know how it was
found.

In reading order:

    calculus    value, gradient and Hessian of a batch of points, in units that make every tolerance scale-free
    newton      Newton's steps to critical points of every kind, and which signs can be trusted
    winding     how often the gradient turns round along a curve: the check of a list, and the index of one point
    splitting   f along the directions in which the Hessian says nothing
    degenerate  what a degenerate point is, by index, splitting and witnesses
    groups      from converged seeds to distinct points and to continua
    cells       cells that change sign: seeds, and kinks
    report      what was found as points and clusters, with words
    find        the whole search: `find_critical`
    taylor      one point: what Taylor's formula predicts round it, and what is measured: `inspect_point`

What to trust: a listed nondegenerate point is one, to rounding. The list is never called complete. "not a minimum"
rests on a lower point that was seen; "minimum" of a degenerate point on growth that was measured; both are numerical.

Sources: C. M. Frye et al., Neural Computation 33 (2021) 1469 (why |grad|^2 is not minimised); D. Gromoll & W. Meyer,
Topology 8 (1969) 361 (splitting); the theorem of Poincare and Hopf (indices); L. V. Kantorovich (Newton's method).
"""
