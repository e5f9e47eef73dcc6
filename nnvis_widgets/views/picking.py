"""Where a click into a picture in perspective meets what is drawn.

May import: numpy. ipyvolume tells which ball was clicked from ids that it draws out of sight; beside a shaded surface these are
not reliable, and of a surface it tells no place at all. So the place is computed from the camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Lens:
    """A camera in perspective.

    Attributes
    ----------
    position, target, up : ndarray, shape (3,)
    angle : float
        Vertical field of view in degrees.
    aspect : float
        Width of the picture to its height.
    """

    position: np.ndarray
    target: np.ndarray
    up: np.ndarray
    angle: float
    aspect: float

    @property
    def _axes(self) -> np.ndarray:
        """Right, up and forward of the camera, as rows."""
        forward = np.asarray(self.target, float) - self.position
        forward = forward / np.linalg.norm(forward)
        right = np.cross(forward, self.up)
        right = right / np.linalg.norm(right)
        return np.stack([right, np.cross(right, forward), forward])

    @property
    def _half(self) -> np.ndarray:
        """Half the width and half the height of the picture, at distance 1."""
        return np.tan(np.radians(self.angle) / 2) * np.array([self.aspect, 1.0])

    def ray(self, u: float, v: float) -> np.ndarray:
        """Return the direction, shape (3,), in which a place of the picture lies: u, v from -1 (left, bottom) to 1 (right, top)."""
        return np.array([*(np.array([u, v]) * self._half), 1.0]) @ self._axes

    def project(self, points: np.ndarray) -> np.ndarray:
        """Return u and v of points (N, 3) in the picture, shape (N, 2); NaN of what is behind the camera.

        Examples
        --------
        >>> lens = Lens(np.array([0.0, 0.0, 2.0]), np.zeros(3), np.array([0.0, 1.0, 0.0]), 90.0, 2.0)
        >>> lens.project(np.array([[1.0, 0.5, 1.0]]))
        array([[0.5, 0.5]])
        """
        seen = (np.asarray(points, float) - self.position) @ self._axes.T
        depth = np.where(seen[:, 2] > 0, seen[:, 2], np.nan)
        return seen[:, :2] / depth[:, None] / self._half


def first_hit(origin: np.ndarray, direction: np.ndarray, vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray | None:
    """Return the nearest point, shape (3,), at which a ray meets a surface, from either side; None if it passes by.

    Moeller and Trumbore (1997), for all triangles at once.

    Parameters
    ----------
    origin, direction : ndarray, shape (3,)
    vertices : ndarray, shape (N, 3)
    triangles : ndarray of int, shape (M, 3)

    Examples
    --------
    >>> corners = np.array([[0.0, 0.0, 0.0], [4.0, 0.0, 0.0], [0.0, 4.0, 2.0]])
    >>> first_hit(np.array([1.0, 1.0, 9.0]), np.array([0.0, 0.0, -3.0]), corners, np.array([[0, 1, 2]]))
    array([1. , 1. , 0.5])
    """
    if not len(triangles):
        return None
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    along, across = b - a, c - a
    normal = np.cross(direction, across)
    size = np.einsum("ij,ij->i", along, normal)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1.0 / size
        away = origin - a
        u = inverse * np.einsum("ij,ij->i", away, normal)
        turned = np.cross(away, along)
        v = inverse * (turned @ direction)
        distance = inverse * np.einsum("ij,ij->i", across, turned)
    slack = 1e-9  # a ray through an edge meets one of its two triangles
    met = np.isfinite(distance) & (distance > 0) & (u >= -slack) & (v >= -slack) & (u + v <= 1 + slack)
    return origin + direction * distance[met].min() if met.any() else None
