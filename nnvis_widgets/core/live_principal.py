"""The principal plane of a training that is not over: one row of a Gram matrix more for each checkpoint.

May import: torch, numpy, core.principal, core.scope, core.states.

Kept are the differences ``d_t = theta_t - theta_0`` (taken in float64, stored as float32) and ``B = D D'``, accumulated in
float64. Checkpoint T costs T dot products. Anchored at the latest checkpoint l the same matrix is
``B_ij - B_il - B_lj + B_ll``, and the components come from it as in `core.principal`: nothing is read again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .principal import components
from .scope import Scope
from .states import Layout, State

BUDGET = 256 * 2**20  # bytes of differences that are kept; those beyond are read from the run again
MOST = 200  # checkpoints in the picture: their dot products are the cost of the next one


@dataclass(frozen=True)
class LiveFrame:
    """Checkpoints in the plane of their first two principal components.

    Attributes
    ----------
    keys : tuple of int
        Which checkpoints, as `LivePrincipal.append` was told.
    xy : ndarray, shape (T, 2)
        In Euclidean distances, the latest checkpoint at (0, 0). The frame is turned to stay near the one before.
    off_plane : ndarray, shape (T,)
        Share of the distance from the latest checkpoint that lies outside of the plane.
    explained : ndarray, shape (2,)
        Shares of the variance of these checkpoints.
    random_walk : ndarray, shape (2,)
        What as many steps of a random walk would show on average, see `random_walk_shares`.
    """

    keys: tuple[int, ...]
    xy: np.ndarray
    off_plane: np.ndarray
    explained: np.ndarray
    random_walk: np.ndarray


class LivePrincipal:
    """Principal components of the checkpoints so far, one checkpoint after another.

    Parameters
    ----------
    start : State
        The first checkpoint, number 0.
    layout : Layout
    read : callable
        Returns the state of an earlier checkpoint by its number, for those that are not in memory.
    budget : int
        Bytes of differences to keep; what does not fit is read again for each new checkpoint.
    most : int
        When there are so many checkpoints every second one is left out, from now on too; the latest always counts.

    Attributes
    ----------
    keys : list of int
        The checkpoints that count, the latest last.
    stride : int
        Of how many checkpoints one is kept.
    """

    def __init__(self, start: State, layout: Layout, read: Callable[[int], State], *, budget: int = BUDGET, most: int = MOST):
        if most < 4:
            raise ValueError(f"most: at least 4 checkpoints, received {most}")
        self._names = list(Scope.parse(None, layout).tensors)
        self._start = [_flat(start[name]) for name in self._names]
        self._read = read
        self._size = sum(part.numel() for part in self._start)
        self._room, self._most = budget // (4 * max(1, self._size)), most
        self.keys, self.stride = [0], 1
        self._rows: list[np.ndarray | None] = [np.zeros(0, np.float32)]
        self._gram = np.zeros((1, 1))
        self._last: LiveFrame | None = None

    def append(self, key: int, state: State) -> bool:
        """Add checkpoint number `key`; False, and nothing is added, where it is not finite.

        A checkpoint that is added again takes the place of the latest.
        """
        if key < self.keys[-1] or key == 0:
            raise ValueError(f"key: at least {max(1, self.keys[-1])}, the latest checkpoint's number; received {key}")
        row = self._difference(state)
        square = _dot(row, row)
        if not np.isfinite(square):
            return False
        # the latest one always counts, and one that was only the latest goes when the next comes
        if key == self.keys[-1] or self.keys[-1] % self.stride:
            self._keep(range(len(self.keys) - 1))
        if len(self.keys) >= self._most:
            self.stride *= 2
            self._keep([place for place, old in enumerate(self.keys) if old % self.stride == 0])
        dots = [0.0, *(_dot(self._row(place), row) for place in range(1, len(self.keys)))]
        self._gram = np.block([[self._gram, np.array(dots)[:, None]], [np.array(dots)[None], np.array([[square]])]])
        self.keys.append(key)
        self._rows.append(row)
        if sum(kept is not None for kept in self._rows[1:]) > max(1, self._room):
            self._rows[-2] = None  # those that came first stay in memory
        return True

    def frame(self) -> LiveFrame | None:
        """Return the checkpoints in their principal plane, or None while there are fewer than two that differ."""
        count = len(self.keys)
        anchored = self._gram - self._gram[:, -1:] - self._gram[-1:] + self._gram[-1, -1]
        if count < 2:
            return None
        variances, loadings = components(anchored, min(count - 1, self._size))
        total = variances.sum()
        if not total > 0:
            return None
        top, found = np.zeros((count, 2)), min(2, len(variances))
        positive = [k for k in range(found) if variances[k] > 1e-12 * total]
        top[:, positive] = anchored @ loadings[:, positive] / np.sqrt(variances[positive])
        explained = np.zeros(2)
        explained[:found] = variances[:found] / total
        square = np.maximum(np.diag(anchored), 0.0)
        rest = np.sqrt(np.maximum(square - (top**2).sum(1), 0.0))
        off = np.divide(rest, np.sqrt(square), out=np.zeros(count), where=square > 0)
        frame = LiveFrame(tuple(self.keys), self._steady(top), off, explained, random_walk_shares(count)[:2])
        self._last = frame
        return frame

    def _steady(self, xy: np.ndarray) -> np.ndarray:
        """Turn (and mirror) new coordinates to lie as near as possible to those of the last frame: 2 x 2 Procrustes."""
        if self._last is None:
            return xy if len(xy) and xy[0, 0] <= 0 else -xy  # a training runs from left to right
        places = {key: place for place, key in enumerate(self._last.keys)}
        shared = [place for place, key in enumerate(self.keys) if key in places]
        new, old = xy[shared], self._last.xy[[places[self.keys[place]] for place in shared]]
        left, _, right = np.linalg.svd((new - new.mean(0)).T @ (old - old.mean(0)))
        return xy @ (left @ right)

    def _keep(self, wanted) -> None:
        wanted = list(wanted)
        self.keys = [self.keys[place] for place in wanted]
        self._rows = [self._rows[place] for place in wanted]
        self._gram = self._gram[np.ix_(wanted, wanted)]

    def _row(self, place: int) -> np.ndarray:
        row = self._rows[place]
        return self._difference(self._read(self.keys[place])) if row is None else row

    def _difference(self, state: State) -> np.ndarray:
        row, at = np.empty(self._size, np.float32), 0
        with np.errstate(over="ignore", invalid="ignore"):
            for name, start in zip(self._names, self._start, strict=True):
                part = _flat(state[name])
                # the difference first, in float64, then rounded to what is kept
                np.subtract(part.numpy(), start.numpy(), out=row[at : at + len(part)], dtype=np.float64, casting="unsafe")
                at += len(part)
        return row


def random_walk_shares(count: int) -> np.ndarray:
    """Return the shares of variance, largest first, that `count` positions of a random walk have on average.

    In many dimensions the centred Gram matrix of a walk with independent steps is the pseudo-inverse of the Laplacian of a
    path, so share k is ``1 / (4 sin^2(pi k / 2T))`` over their sum ``(T^2 - 1) / 6``; for large T this is 6 / (pi k)^2
    (Antognini and Sohl-Dickstein, 2018). Few checkpoints are explained well by any two components: three, wholly.

    Returns
    -------
    ndarray, shape (max(2, count - 1),)
    """
    shares = np.zeros(max(2, count - 1))
    k = np.arange(1, count)
    shares[: count - 1] = 1.5 / np.sin(np.pi * k / (2 * count)) ** 2 / (count**2 - 1)
    return shares


def _dot(one: np.ndarray, other: np.ndarray) -> float:
    # not BLAS: its threads would wait for those of the training longer than the sum takes
    return float(np.einsum("i,i->", one, other, dtype=np.float64))


def _flat(tensor: Tensor) -> Tensor:
    """Return a tensor as a vector of real numbers of a type that numpy knows."""
    tensor = tensor.detach().cpu()
    tensor = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).reshape(-1)
