"""What can be proved of a box or a point: Krawczyk, signs of eigenvalues, edges, extrema, winding numbers."""
