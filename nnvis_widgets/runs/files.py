"""Reading states from files that ``torch.save`` wrote, without running what a pickle may hold.

May import: torch, core.states, core.pieces.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.pieces import Piece, cut
from ..core.states import State, StateError, plain_names


class RunError(ValueError):
    """A run that cannot be read, or that does not hold what was asked of it."""


def read_state(file: Path, key: str | None, mmap: bool = False) -> State:
    """Return the state_dict in a file: the entry `key`, the file itself, or its only entry that is one.

    With `mmap` tensors are read when they are used, where the file is of a kind that allows it.
    """
    try:
        mmap = mmap and zipfile.is_zipfile(file)  # those of torch before 1.6 are no archives
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=mmap)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise RunError(f"{file} cannot be read with torch.load(weights_only=True): {_reason(error)}") from error
    if key is not None:
        if not isinstance(content, Mapping) or key not in content:
            there = ", ".join(map(repr, content)) if isinstance(content, Mapping) else type(content).__name__
            raise RunError(f"key: {file} has no entry {key!r}; it holds {there}")
        return _state_of(content[key], file, repr(key))
    if isinstance(content, Mapping) and content and all(isinstance(value, Tensor) for value in content.values()):
        return plain_names(content)
    entries = content if isinstance(content, Mapping) else {}
    inside = [v for v in entries.values() if isinstance(v, Mapping) and v and all(isinstance(t, Tensor) for t in v.values())]
    if len(inside) != 1:
        there = ", ".join(map(repr, entries)) if entries else type(content).__name__
        raise RunError(f"{file} is no state_dict; it holds {there}. Name the entry with key=")
    return plain_names(inside[0])


def read_pieces(file: Path, key: str | None, wanted: Sequence[Piece]) -> list[Tensor]:
    """Return pieces of the tensors in a file, without reading the rest where the file is of a kind that allows it."""
    # copies: a tensor that is left in a mapped file changes, or crashes, with the file
    return [piece.clone() for piece in cut(read_state(file, key, mmap=True), wanted)]


def _reason(error: Exception) -> str:
    """Return the line of torch's message that says what is wrong, and what would work."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    found = re.search(r"Unsupported global: GLOBAL (\S+)", text)
    if found:
        return (
            f"Unsupported global: GLOBAL {found[1]}, an object that its pickle would make by running code. Save "
            "model.state_dict(), not the model itself, and only tensors and numbers beside it; where you trust the file, allow "
            f"that class before: torch.serialization.add_safe_globals([{found[1]}])"
        )
    lines = text.splitlines() or [type(error).__name__]
    return f"{lines[0]} ({type(error).__name__}). It is no file of torch.save, or is cut short. Save model.state_dict() again"


def _state_of(content: Any, file: Path, where: str) -> State:
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        raise StateError(f"{file}: {where} is no state_dict but a {type(content).__name__}")
    return plain_names(content)
