"""The extreme eigenpairs of a symmetric matrix that is known only by its products with vectors.

May import: numpy, scipy.
"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import scipy.linalg

FLOOR = 1e-2  # of the largest eigenvalue: what is smaller is resolved as well as that would be


def extremes(
    size: int, *, seed: int = 0, tolerance: float = 1e-3, most: int = 100, basis: int = 48
) -> Generator[np.ndarray, np.ndarray, tuple[np.ndarray, bool, float]]:
    """Yield unit vectors, to be sent back multiplied by the matrix; return vectors (2, size), whether converged, and asymmetry.

    The first vector belongs to the algebraically largest eigenvalue, the second to the smallest. This is what
    ``scipy.sparse.linalg.eigsh(which="BE", k=2)`` finds, from a start vector of the seed, without calling back: whoever
    multiplies may stop between two products. The asymmetry is by how much the products differ from those of a symmetric matrix,
    as a share of the largest eigenvalue: rounding, or else a mistake of whoever multiplies.

    Parameters
    ----------
    size : int
        At least 2.
    tolerance : float
        Both residuals ``|Hv - lambda v|`` shall be below this share of ``|lambda|``, or of a hundredth of the largest
        ``|lambda|`` where that is more.
    most : int
        Products, at least 2.
    basis : int
        Vectors that are held, at least 4; the same number of floats times `size` is all the memory.

    Notes
    -----
    Lanczos iteration with full reorthogonalisation and thick restarts (Wu and Simon, 2000): where the basis is full, the half of
    the Ritz vectors that is nearest to either end is kept, with the last residual.
    """
    rng = np.random.default_rng([abs(seed), seed < 0])
    width = min(basis, size)
    vectors, matrix = np.empty((width, size)), np.zeros((width, width))
    following, filled = rng.standard_normal(size), 0
    expected, apart = np.zeros(0), 0.0
    for products in range(1, most + 1):
        vectors[filled] = following / np.linalg.norm(following)
        rest = np.array((yield vectors[filled]), dtype=float)
        filled += 1
        known = vectors[:filled]
        row = known @ rest
        rest -= row @ known
        again = known @ rest  # once is not orthogonal to the last digit, twice is
        rest -= again @ known
        row += again
        apart = max(apart, float(np.linalg.norm(row[:-1] - expected)))
        matrix[filled - 1, :filled] = matrix[:filled, filled - 1] = row
        beta = float(np.linalg.norm(rest))
        values, loadings = scipy.linalg.eigh(matrix[:filled, :filled])
        ends = np.array([filled - 1, 0])
        scale = np.abs(values).max()
        # an invariant subspace: all of the eigenvalues that the start vector has to do with are in it
        closed = filled == size or beta <= 1e-13 * scale
        wanted = tolerance * np.maximum(np.abs(values[ends]), FLOOR * scale)
        converged = filled > 1 and (closed or bool((beta * np.abs(loadings[-1, ends]) <= wanted).all()))
        if converged or products == most:
            break
        if closed:
            rest = rng.standard_normal(size)
            rest -= (known @ rest) @ known
            beta = 0.0
        following = rest
        expected = np.r_[np.zeros(filled - 1), beta]  # what the next product has in common with these vectors
        if filled == width:
            low = width // 4
            kept = np.r_[:low, width - low : width]
            filled = len(kept)
            vectors[:filled] = loadings[:, kept].T @ vectors
            matrix[:] = 0.0
            matrix[range(filled), range(filled)] = values[kept]
            expected = beta * loadings[-1, kept]
    found = loadings[:, ends].T @ vectors[: len(loadings)]
    return found / np.linalg.norm(found, axis=1, keepdims=True), converged, apart / scale if scale else apart
