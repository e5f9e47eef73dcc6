"""The plane of a run's principal components, from checkpoints that do not fit into memory together.

May import: torch, numpy, scipy, core.states, core.pieces, core.scope, core.plane, core.directions.

With D the rows ``theta_t - center``, what is accumulated is their Gram matrix ``B = D D'`` (T, T), block by block of columns.
The principal components of the checkpoints are in it: with ``H = I - 11'/T`` and ``H B H = U diag(lambda) U'`` the shares of
the variance are ``lambda / sum(lambda)``, and direction k is ``D' u_k / sqrt(lambda_k)``, which a second reading makes.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.linalg
import torch
from torch import Tensor, nn

from .directions import covering
from .pieces import Piece, read_pieces
from .plane import Plane, PlaneError
from .scope import Scope
from .states import Layout, RunLike, State, StateError, check_run, plain_names, unwrap

BLOCK_BYTES = 128 * 2**20  # of float64 differences: all checkpoints, some columns
FLAT = 1e-12  # share of the variance below which a second component is rounding


def pca_plane(run: RunLike, *, center: str | State = "final", model: nn.Module | None = None) -> Plane:
    """Return the plane of the first two principal components of a run's checkpoints, through its final state.

    The components are those of ordinary (centred) principal component analysis, so ``explained`` are shares of the variance
    of the checkpoints. The plane is moved to go through `center`: the trained model lies exactly on it.

    Parameters
    ----------
    run : Run
        At least three checkpoints. They are read twice, some columns at a time; about 128 MB are held whatever their size.
    center : "final" or State
        What lies at (0, 0).
    model : Module, optional
        Tells parameters from buffers where names do not, and which parameters are frozen: these are left out.

    Returns
    -------
    Plane
        Of kind "pca". The directions have length 1, so coordinates are Euclidean distances; the entry of largest size is
        positive. ``explained`` (2,), the whole ``spectrum``, and ``random_walk``, what a random walk would show: two
        components explain 76 % of it, so such a share is weak evidence.

    Raises
    ------
    ValueError
        Fewer than three checkpoints, or all on one line; NaN in a checkpoint.

    Notes
    -----
    Trajectories on principal axes: Li et al. (2018). A long random walk has shares 6 / (pi k)^2 and draws cosines: Antognini
    and Sohl-Dickstein (2018).

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> plane = nv.pca_plane(demo.run, model=demo.model)
    >>> plane
    Plane(pca: 81194 weights move, cosine ..., explains ...% + ...%)
    >>> plane.explained.shape, plane.spectrum.shape
    ((2,), (4,))
    """
    steps = iter_pca_plane(run, center=center, model=model)
    while True:
        try:
            next(steps)
        except StopIteration as finished:
            return finished.value


def iter_pca_plane(run: RunLike, *, center: str | State = "final", model: nn.Module | None = None) -> Generator[float, None, Plane]:
    """Yield the share of the reading that is done; the generator's return value is the `Plane` of `pca_plane`."""
    # not itself a generator function: bad input is refused when it is called, not at the first step
    check_run(run)
    if len(run) < 3:
        raise PlaneError(f"run: principal components of a plane need at least three checkpoints, and this run holds {len(run)}")
    if isinstance(center, Mapping):
        state: State = plain_names(center)
    elif isinstance(center, str) and center == "final":
        state = run[len(run) - 1].state
    else:
        what = repr(center) if isinstance(center, (str, int, float)) else f"a {type(center).__name__}"
        raise ValueError(f"center: 'final' or a state, such as run.final; received {what}")
    layout = getattr(run, "layout", None) if model is None else Layout.of(model)
    layout = layout or Layout.of_state(state)
    frozen = set() if model is None else {name for name, p in unwrap(model).named_parameters() if not p.requires_grad}
    names = [name for name in Scope.parse(None, layout).tensors if name not in frozen]
    if not names:
        raise PlaneError("model: all of its parameters are frozen (requires_grad is False); leave model out")
    return _plane(run, layout, layout.check(state, "center"), names)


def _plane(run: RunLike, layout: Layout, center: State, names: list[str]) -> Generator[float, None, Plane]:
    blocks = _Blocks(run, center, names)
    gram = np.zeros((len(run), len(run)))
    for share, _, block in blocks:
        gram += block @ block.T  # numpy computes half of it and mirrors it
        yield share / 2
    diverged = np.flatnonzero(~np.isfinite(np.diag(gram)))
    if len(diverged):
        # where the centre has diverged, the distances of all checkpoints to it have
        whole = any(not torch.isfinite(center[name]).all() for name in names)
        which = "the centre (the last checkpoint, if none was given)" if whole else f"checkpoint {diverged[0]} of the run"
        raise StateError(
            f"{which} holds NaN or infinity, or is too far away to be squared; take a run of the "
            "checkpoints before: nv.Run.from_states([checkpoint.state for checkpoint in run[:k]])"
        )
    variances, loadings = components(gram, blocks.columns)
    total = variances.sum()
    if not total > 0 or len(variances) < 2 or variances[1] <= FLAT * total:
        what = "all checkpoints are equal" if not total > 0 else "all checkpoints lie on one line"
        raise PlaneError(f"run: {what}, so they span no plane; take nv.random_plane, or record more of the training")
    weights = loadings[:, :2] / np.sqrt(variances[:2])
    directions = [{name: _like(center[name]) for name in names} for _ in range(2)]
    largest = np.zeros(2)
    for share, pieces, block in blocks:
        values = weights.T @ block
        at = np.abs(values).argmax(1)
        found = values[[0, 1], at]
        largest = np.where(np.abs(found) > np.abs(largest), found, largest)
        for direction, row in zip(directions, values, strict=True):
            blocks.scatter(direction, pieces, torch.from_numpy(row))
        yield 0.5 + share / 2
    signs = np.sign(largest)
    for direction, sign in zip(directions, signs, strict=True):
        for tensor in direction.values():
            tensor.mul_(float(sign))
    scores = gram @ weights * signs
    spectrum = variances / total
    return Plane(
        center,
        directions,
        kind="pca",
        layout=layout,
        extent=covering(scores),
        explained=spectrum[:2],
        spectrum=spectrum,
        scores=scores,
        about={"checkpoints": len(run)},
    )


def components(gram: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the variances, times T, of the centred rows behind a Gram matrix, largest first, and the loadings (T, .)."""
    centred = gram - gram.mean(0) - gram.mean(1)[:, None] + gram.mean()
    values, vectors = scipy.linalg.eigh((centred + centred.T) / 2)
    count = min(len(gram) - 1, columns)
    vectors = vectors[:, ::-1][:, :count]
    # rounding leaves a trace of the constant vector in them, and the rows that they will be multiplied with are not centred
    return np.maximum(values[::-1][:count], 0.0), vectors - vectors.mean(0)


class _Blocks:
    """A run's differences to its centre, in blocks of columns: (share read, the pieces of tensors, float64 (T, columns))."""

    def __init__(self, run: RunLike, center: State, names: Sequence[str]):
        self._run, self._center = run, center
        self._room = max(2, BLOCK_BYTES // (8 * len(run)))
        self._lists = list(self._cut(names))
        self.columns = sum(map(self._width, self._lists))

    def __iter__(self) -> Iterator[tuple[float, list[Piece], np.ndarray]]:
        whole = np.empty(len(self._run) * min(self.columns, self._room))
        done = 0
        for pieces in self._lists:
            width = self._width(pieces)
            block = whole[: len(self._run) * width].reshape(-1, width)
            centre = [_array(self._center[p.name].detach().reshape(-1)[p.start : p.stop].cpu()).astype(float) for p in pieces]
            for row in range(len(self._run)):
                self._fill(block[row], row, pieces, centre)
            done += width
            yield done / self.columns, pieces, block

    def _fill(self, into: np.ndarray, row: int, pieces: list[Piece], centre: list[np.ndarray]) -> None:
        # the difference first, in float64: products of the weights themselves would lose it in their last digits; numpy's,
        # since threads would wait for each other longer than the subtraction of a piece takes
        try:
            read = read_pieces(self._run[row], pieces)
        except StateError as error:
            raise StateError(f"checkpoint {row} of the run is of another model than its center: {error}") from error
        at = 0
        for values, zero in zip(read, centre, strict=True):
            np.subtract(_array(values), zero, out=into[at : at + len(zero)])
            at += len(zero)

    def scatter(self, direction: dict[str, Tensor], pieces: list[Piece], row: Tensor) -> None:
        """Write a block's columns of a direction to their places."""
        at = 0
        for name, _, start, stop in pieces:
            target = _real(direction[name].view(-1)[start:stop])
            target.copy_(row[at : at + len(target)])
            at += len(target)

    def _cut(self, names: Sequence[str]) -> Iterator[list[Piece]]:
        pieces: list[Piece] = []
        room = self._room
        for name in names:
            shape, scale = self._center[name].shape, 2 if self._center[name].is_complex() else 1
            start, size = 0, self._center[name].numel()
            while start < size:
                stop = min(size, start + room // scale)
                pieces.append(Piece(name, shape, start, stop))
                room -= (stop - start) * scale
                start = stop
                if room < 2:
                    yield pieces
                    pieces, room = [], self._room
        if pieces:
            yield pieces

    def _width(self, pieces: list[Piece]) -> int:
        return sum((p.stop - p.start) * (2 if self._center[p.name].is_complex() else 1) for p in pieces)


def _real(vector: Tensor) -> Tensor:
    """Return a vector with complex numbers as two real ones, in the same memory."""
    return torch.view_as_real(vector).view(-1) if vector.is_complex() else vector


def _array(vector: Tensor) -> np.ndarray:
    """Return a vector as an array of a type that numpy knows."""
    return _real(vector.float() if vector.dtype == torch.bfloat16 else vector).numpy()


def _like(tensor: Tensor) -> Any:
    return torch.zeros(tensor.shape, dtype=torch.promote_types(tensor.dtype, torch.float32))
