"""Pieces of a checkpoint's tensors: what is read where a run does not fit into memory.

May import: torch, core.states.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .states import State, StateError, plain_names


class Piece(NamedTuple):
    """Some neighbouring elements of one tensor: `start` to `stop`, row by row, of the tensor `name` of this shape."""

    name: str
    shape: torch.Size
    start: int
    stop: int


def read_pieces(checkpoint: Any, wanted: Sequence[Piece]) -> list[Tensor]:
    """Return pieces of a checkpoint's tensors as vectors on the CPU; of its file nothing else is read, where it can do that."""
    if hasattr(checkpoint, "pieces"):
        return checkpoint.pieces(wanted)
    return cut(plain_names(checkpoint.state), wanted)


def cut(state: State, wanted: Sequence[Piece]) -> list[Tensor]:
    """Return pieces of a state's tensors as vectors on the CPU.

    Raises
    ------
    StateError
        A tensor is missing, or has another shape.
    """
    pieces = []
    for name, shape, start, stop in wanted:
        if name not in state or state[name].shape != shape:
            there = f"{tuple(state[name].shape)}" if name in state else "missing"
            raise StateError(f"{name!r}: shape {tuple(shape)} was asked for, and in this checkpoint it is {there}")
        pieces.append(state[name].detach().reshape(-1)[start:stop].cpu())
    return pieces
