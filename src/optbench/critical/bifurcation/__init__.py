"""How the critical points of f(x, a) change as the parameter a does: curves of points, and where they meet, with proof.

Between two values of a at which something happens, each critical point moves along a smooth curve and keeps its type.
Branch and bound in (x, a) finds *tubes*: a box in x and an interval of a, in which there is exactly one critical point
for every a at once. Tubes that share a point are joined into curves. What is left lies round the bifurcations. There
all equations but one are solved for all coordinates but one, and the signs of a few derivatives of the equation that is
left prove what it is: a fold (two points are born), a transcritical point (two cross) or a pitchfork (one becomes
three). Others are examined in exact fractions, where their coordinates are simple.

    sweep.sweep(family, box, range)     Diagram

In reading order:

    diagram   the result as plain values: no torch
    describe  the result in words
    tubes     branch and bound in x and a
    curves    tubes joined
    edges     curves against the walls of the box
    reduced   one equation b(t, a) = 0 in place of many
    symmetry  reflections that a family keeps, seen in its program
    events    fold, transcritical, pitchfork: proved
    multiple  other points, verified exactly
    spans     how many points of each type between the events
    sweep     the whole diagram

What to trust: counts between events, and each event that has a name, are proved for every a of the stated range, not
for a grid of values. The value of a at an event is enclosed, or a fraction. What stays open is listed as such.

Sources: M. Golubitsky & D. G. Schaeffer, Singularities and Groups in Bifurcation Theory I, 1985 (recognition by
derivatives, Lyapunov-Schmidt reduction); A. Neumaier, 1990, for the tubes.
"""
