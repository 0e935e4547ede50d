"""Degenerate points with simple coordinates, verified in fractions: multiplicity, index, branches, kind."""
