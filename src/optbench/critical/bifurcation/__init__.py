"""Certified bifurcation diagrams: the critical points of f(x, a) as curves over one parameter, and where they meet.

    sweep       the whole diagram of a family in a box (`sweep`): Diagram (`diagram`, plain values)

From the ground up: `tubes` (branch and bound in x and a), `curves` (tubes joined), `edges` (the walls of the box),
`reduced` (one equation in place of many), `symmetry`, `events` (fold, transcritical, pitchfork: proved),
`multiple` (other points, verified exactly), `sweep`; `describe` (words).
"""
