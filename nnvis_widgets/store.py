"""Arrays and JSON on disk: safetensors files and JSON indices, versioned, written atomically, never pickled.

May import: the standard library, numpy, safetensors (and torch inside the functions that move tensors).
"""

from __future__ import annotations

import errno
import json
import os
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

FORMAT = 1
_HEADER = "nnvis_widgets"
_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


class StoreError(ValueError):
    """A file that this package cannot read: not its own, of a newer format, or cut short."""


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path` that takes its place only when the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.parent / f".{path.name}.{uuid.uuid4().hex}.part"
    try:
        part.touch(exist_ok=False)
        mode = part.stat().st_mode
        yield part
        part.chmod(mode)  # that of the user's other files; safetensors would leave one that only its owner can read
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _write(path: Path, write: Callable[[Path], None]) -> None:
    from safetensors import SafetensorError

    try:
        with _beside(path) as part:
            write(part)
    except SafetensorError as error:
        # safetensors reports a full disk as an error of its own, with the system's number in the text
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        code = int(number.group(1))
        raise OSError(code, os.strerror(code) if code in errno.errorcode else str(error), str(path)) from error


def write_json(path: str | os.PathLike, content: Mapping[str, Any]) -> None:
    """Write a JSON file that is either the whole new content or the old file, whenever the process dies."""
    text = json.dumps({"format": FORMAT, **content}, indent=1)

    def write(part: Path) -> None:
        part.write_text(text, encoding="utf-8")

    _write(Path(path), write)


def read_json(path: str | os.PathLike) -> dict[str, Any]:
    """Return the content of a JSON file written by `write_json`.

    Raises
    ------
    StoreError
        The file is not JSON of this package, or of a newer format than this version reads.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise StoreError(f"{path} is not a JSON file of nnvis_widgets: {error}") from error
    _check_format(content, path)
    return content


def write_arrays(path: str | os.PathLike, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
    """Write numpy arrays and a JSON-compatible description into one safetensors file, atomically."""
    from safetensors.numpy import save_file

    header = {_HEADER: json.dumps({"format": FORMAT, **about})}
    # safetensors stores the buffer as it lies in memory: a strided or Fortran array would come back scrambled
    whole = {name: np.array(array, order="C", copy=True) for name, array in arrays.items()}
    _write(Path(path), lambda part: save_file(whole, part, metadata=header))


def read_arrays(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays and the description of a file written by `write_arrays`.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    StoreError
        The file is not one of this package, is cut short, or has a newer format.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        raise StoreError(f"{path} is not a complete safetensors file: {error}") from error
    if _HEADER not in metadata:
        raise StoreError(f"{path} is a safetensors file, but not a result saved by nnvis_widgets")
    about = json.loads(metadata[_HEADER])
    _check_format(about, path)
    return arrays, about


def write_tensors(path: str | os.PathLike, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write named CPU tensors that share no memory into one safetensors file, atomically."""
    from safetensors.torch import save_file

    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    _write(Path(path), lambda part: save_file(whole, part))


def read_tensors(path: str | os.PathLike) -> dict[str, torch.Tensor]:
    """Return the tensors of a file written by `write_tensors`, on the CPU.

    Raises
    ------
    StoreError
        The file is missing or cut short.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise StoreError(f"{path} cannot be read as a checkpoint: {error}") from error


class TensorFile:
    """Reads pieces of the tensors in a file written by `write_tensors`, and nothing else of it.

    Pieces are read, not mapped: pages of a mapped file count as this process's memory for as long as the map is open, and a
    run has hundreds of files.

    Parameters
    ----------
    path : path
        Opened for the time of each call only.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self._header: dict[str, Any] | None = None
        self._start = 0

    def pieces(self, wanted: Sequence[tuple[str, Sequence[int], int, int]]) -> list[torch.Tensor]:
        """Return the elements start to stop, row by row, of each tensor asked for as (name, shape, start, stop).

        Raises
        ------
        StoreError
            The file is missing or cut short, or the tensor is not in it, or has another shape.
        """
        try:
            with open(self.path, "rb", buffering=0) as file:
                if self._header is None:
                    size = int.from_bytes(file.read(8), "little")
                    self._header, self._start = json.loads(file.read(size)), 8 + size
                return [self._piece(file, *piece) for piece in wanted]
        except (OSError, ValueError) as error:
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"{self.path} cannot be read as a checkpoint: {error}") from error

    def _piece(self, file: Any, name: str, shape: Sequence[int], start: int, stop: int) -> torch.Tensor:
        import torch

        entry = (self._header or {}).get(name)
        if entry is None or tuple(entry["shape"]) != tuple(shape):
            there = "is not there" if entry is None else f"has shape {tuple(entry['shape'])}"
            raise StoreError(f"{self.path}: {name!r} of shape {tuple(shape)} was asked for, and {there}")
        if entry["dtype"] not in _DTYPES:
            return read_tensors(self.path)[name].reshape(-1)[start:stop]
        piece = torch.empty(stop - start, dtype=getattr(torch, _DTYPES[entry["dtype"]]))
        buffer = memoryview(piece.view(torch.uint8).numpy().data if len(piece) else b"")
        file.seek(self._start + entry["data_offsets"][0] + start * piece.element_size())
        done = 0
        while done < len(buffer):  # one read may bring less than was asked for
            count = file.readinto(buffer[done:])
            if not count:
                raise StoreError(f"{self.path} cannot be read as a checkpoint: it is cut short within {name!r}")
            done += count
        return piece


def _check_format(content: Any, path: str | os.PathLike) -> None:
    if not isinstance(content, dict) or "format" not in content:
        raise StoreError(f"{path} was not written by nnvis_widgets: it names no format")
    if content["format"] > FORMAT:
        raise StoreError(f"{path} has format {content['format']}; this version reads up to {FORMAT}: upgrade nnvis_widgets")
