"""Signs and enclosures of the eigenvalues of interval matrices.

With V the eigenvectors of the centre, M = V^T H V is nearly diagonal. M lies between diag(c - r) and diag(c + r), where
r sums the other entries of each row (Gershgorin), so the k-th smallest c - r and c + r enclose the k-th eigenvalue of
M. By Sylvester's law the signs are those of H although V is not exactly orthogonal; by Ostrowski's theorem the
eigenvalues of H are those of M divided by a number in [1 - delta, 1 + delta] with delta = |V^T V - I| (R. A. Horn &
C. R. Johnson, Matrix Analysis, 2012, theorems 4.5.8 and 4.5.9).
"""

from __future__ import annotations

import numpy as np

from optbench.critical.arithmetic.ends import STEP, TINY, Array, center_radius, gamma


def eigenvalue_ranges(hess: Array) -> tuple[Array, Array]:
    """Enclosures of the eigenvalues, ascending, of every symmetric matrix in hess: (2, n, d, d) -> two of (n, d).

    Infinite where an entry is.
    """
    with np.errstate(all="ignore"):
        h, h_radius = center_radius(hess[0], hess[1])
        d = h.shape[-1]
        g, more = gamma(d), 1.0 + 8.0 * gamma(d)
        unknown = np.asarray(~np.isfinite(h_radius).all(axis=(1, 2)))
        # A common power of two: the eigenvalues of tiny and huge matrices neither underflow nor overflow on the way.
        size = 2.0 ** np.floor(np.log2(np.clip(np.abs(h).max(axis=(1, 2), keepdims=True), 2.0**-1000, 2.0**1000)))
        h, h_radius = h / size, h_radius / size + TINY
        v = np.linalg.eigh(np.where(unknown[:, None, None], np.eye(d), h))[1]
        vt, a, at = v.transpose(0, 2, 1), np.abs(v), np.abs(v).transpose(0, 2, 1)
        m = vt @ h @ v
        error = (at @ (h_radius + 4.0 * g * np.abs(h)) @ a) * more
        diagonal = np.einsum("nii->ni", m).copy()
        np.einsum("nii->ni", m)[:] = 0.0
        radius = ((np.abs(m) + error).sum(axis=2) * more + STEP * np.abs(diagonal)) * more + TINY
        delta = (np.abs(vt @ v - np.eye(d)) + g * (at @ a)).sum(axis=2).max(axis=1)[:, None] * more
        low, high = np.sort(diagonal - radius, axis=1), np.sort(diagonal + radius, axis=1)
        stretch = 4.0 * STEP + delta * (1.0 + 4.0 * delta)
        low = (low - stretch * np.abs(low)) * size[:, 0]
        high = (high + stretch * np.abs(high)) * size[:, 0]
    low[unknown], high[unknown] = -np.inf, np.inf
    return low, high
