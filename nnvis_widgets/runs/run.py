"""Reading a training run: checkpoints that stay on disk until they are asked for.

May import: torch, numpy, core.states, core.pieces, store, runs.checkpoint, runs.files.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from .. import store
from ..core.distances import distances
from ..core.states import Layout, State, copied, plain_names, same_memory
from .checkpoint import Checkpoint, Pieces, Read, fill_epochs
from .files import RunError, read_pieces, read_state

INDEX = "run.json"


class Run(Sequence):
    """A recorded training run.

    Open one with `Run.open` (a `Recorder`'s folder), `Run.from_states` or `Run.from_checkpoints`.

    Attributes
    ----------
    epochs : ndarray, shape (T,)
    metrics : dict of str to ndarray, shape (T,)
        What was recorded beside the weights; NaN where a checkpoint has no such value.
    initial, mid, final : dict of str to Tensor
        The first state; the one nearest to half of the epochs (the earlier of two); the last.
    bookmarks : list of (int, str or None)
        Index and label of the checkpoints that ``recorder.bookmark()`` marked, in that order.

    Examples
    --------
    >>> import torch
    >>> import nnvis_widgets as nv
    >>> run = nv.Run.from_states([{"weight": torch.full((2, 3), value)} for value in (0.0, 0.8, 1.0)], epochs=[0, 5, 10])
    >>> run
    Run(3 states in memory: 3 checkpoints, epochs 0 to 10)
    >>> round(run.mid["weight"][0, 0].item(), 3), run[1].epoch
    (0.8, 5.0)
    """

    def __init__(
        self,
        checkpoints: Sequence[Checkpoint],
        source: str,
        parameters: Sequence[str] | None = None,
        bookmarks: Sequence[tuple[int, str | None]] = (),
    ):
        if not checkpoints:
            raise RunError(f"{source}: it holds no checkpoints")
        self._checkpoints = list(checkpoints)
        self.source = source
        self.epochs = np.array([c.epoch for c in self._checkpoints], dtype=float)
        names = dict.fromkeys(name for c in self._checkpoints for name in c.metrics)
        self.metrics = {name: np.array([c.metrics.get(name, np.nan) for c in self._checkpoints], dtype=float) for name in names}
        self.bookmarks = list(bookmarks)
        self._parameters = list(parameters) if parameters is not None else None

    @classmethod
    def open(cls, folder: str | os.PathLike) -> Run:
        """Return the run in a `Recorder`'s folder, with every checkpoint that was completed.

        Raises
        ------
        RunError
            No such folder, or no run in it.
        """
        folder = Path(folder)
        if not (folder / INDEX).is_file():
            there = sorted(path.parent.name for path in folder.glob(f"*/{INDEX}")) if folder.is_dir() else []
            hint = f"; there are runs in its folders {', '.join(there)}" if there else ""
            raise RunError(f"no run in {folder}: a Recorder writes {INDEX} there{hint}")
        index = store.read_json(folder / INDEX)
        aliases: dict[str, str] = index["aliases"]

        def reader(file: str) -> Read:
            def read() -> State:
                state = store.read_tensors(folder / file)
                return {**state, **{alias: state[name] for alias, name in aliases.items()}}

            return read

        def pieces(file: str) -> Pieces:
            tensors = store.TensorFile(folder / file)
            return lambda wanted: tensors.pieces([piece._replace(name=aliases.get(piece.name, piece.name)) for piece in wanted])

        entries = index["checkpoints"]
        epochs = fill_epochs([entry["epoch"] for entry in entries])
        checkpoints = [
            Checkpoint(i, epoch, entry["step"], _numbers(entry["metrics"]), reader(entry["file"]), pieces(entry["file"]))
            for i, (entry, epoch) in enumerate(zip(entries, epochs, strict=True))
        ]
        # an index of before there were bookmarks has none
        bookmarks = [(int(mark["checkpoint"]), mark["label"]) for mark in index.get("bookmarks", ())]
        return cls(checkpoints, str(folder), index["parameters"], bookmarks)

    @classmethod
    def from_states(
        cls,
        states: Sequence[State],
        epochs: Sequence[float] | None = None,
        metrics: Mapping[str, Sequence[float]] | None = None,
    ) -> Run:
        """Return a run of copies of ``state_dict()``s, in memory: what becomes of the given ones changes nothing.

        Parameters
        ----------
        states : sequence of state_dict
            In the order of training; at least one.
        epochs : sequence of float, optional
            Default: 0, 1, 2, ...
        metrics : dict of str to sequence of float, optional
        """
        states = [states] if isinstance(states, Mapping) else list(states)
        if not states:
            raise RunError("states: at least one state_dict, received none")
        named = [plain_names(state) if isinstance(state, Mapping) else state for state in states]
        layout = Layout.of_state(named[0])
        _refuse_live(states, layout)
        for number, state in enumerate(named[1:], 1):
            layout.check(state, f"states[{number}]")
        copies = [copied(state) for state in named]
        return cls(_listed([partial(dict, state) for state in copies], epochs, metrics), f"{len(named)} states in memory")

    @classmethod
    def from_checkpoints(
        cls, paths: str | os.PathLike | Sequence[str | os.PathLike], key: str | None = None, epochs: Sequence[float] | None = None
    ) -> Run:
        """Return a run of files written by ``torch.save``, read with ``weights_only=True`` when they are asked for.

        Parameters
        ----------
        paths : path or sequence of path
            In the order of training.
        key : str, optional
            Where in the file the state_dict is. Default: the file itself, or its only entry that is one.
        epochs : sequence of float, optional
        """
        files = [Path(path) for path in ([paths] if isinstance(paths, (str, os.PathLike)) else paths)]
        if not files:
            raise RunError("paths: at least one file, received none")
        for file in files:
            if not file.is_file():
                raise RunError(f"paths: no file {file}")
        pieces = [partial(read_pieces, file, key) for file in files]
        listed = _listed([partial(read_state, file, key) for file in files], epochs, None, pieces)
        return cls(listed, f"{len(files)} checkpoint files")

    def __len__(self) -> int:
        return len(self._checkpoints)

    def __getitem__(self, index):
        return self._checkpoints[index]

    def __iter__(self) -> Iterator[Checkpoint]:
        return iter(self._checkpoints)

    def __repr__(self) -> str:
        return f"Run({self.source}: {len(self)} checkpoints, epochs {self.epochs[0]:g} to {self.epochs[-1]:g})"

    @property
    def layout(self) -> Layout:
        """Names and shapes of the parameters, as far as they can be known without the model."""
        state = self._checkpoints[0].state
        known = None if self._parameters is None else [name for name in self._parameters if name in state]
        return Layout.of_state(state, known)

    @property
    def initial(self) -> dict[str, Tensor]:
        """The first state."""
        return self._checkpoints[0].state

    @property
    def mid(self) -> dict[str, Tensor]:
        """The state nearest to half of the epochs, see `mid_index`."""
        return self._checkpoints[self.mid_index].state

    @property
    def final(self) -> dict[str, Tensor]:
        """The last state."""
        return self._checkpoints[-1].state

    @property
    def mid_index(self) -> int:
        """Index of the checkpoint nearest to half of the epochs; the earlier of two, and never an end of the run."""
        self._needs_three()
        half = (self.epochs[0] + self.epochs[-1]) / 2
        return 1 + int(np.argmin(np.abs(self.epochs[1:-1] - half)))

    def mid_by_distance(self, share: float = 0.5) -> dict[str, Tensor]:
        """Return the state nearest to `share` of the length of the way that the weights have travelled.

        The length is summed between checkpoints, so it depends on how often they were recorded.
        """
        return self._checkpoints[self.index_by_distance(share)].state

    def index_by_distance(self, share: float = 0.5) -> int:
        """Return the index of `mid_by_distance`; never an end of the run."""
        if not 0 < share < 1:
            raise ValueError(f"share: between 0 and 1, received {share!r}")
        self._needs_three()
        names = list(self.layout.shapes)
        way = [0.0]
        before = self._checkpoints[0].state
        for checkpoint in self._checkpoints[1:]:
            state = checkpoint.state
            way.append(way[-1] + distances([before[n] for n in names], [state[n] for n in names])["distance"])
            before = state
        return 1 + int(np.argmin(np.abs(np.array(way[1:-1]) - share * way[-1])))

    def _needs_three(self) -> None:
        if len(self) < 3:
            raise RunError(f"mid: a checkpoint between the first and the last is needed, and this run holds {len(self)} in all")


def _listed(
    readers: Sequence[Read], epochs: Sequence[float] | None, metrics: Mapping[str, Sequence[float]] | None, pieces: Any = None
) -> list[Checkpoint]:
    count = len(readers)
    numbers = list(range(count)) if epochs is None else [float(e) for e in epochs]
    if len(numbers) != count or not all(b > a for a, b in itertools.pairwise(numbers)):
        raise RunError(f"epochs: {count} ascending numbers, one for each state; received {numbers}")
    for name, values in (metrics or {}).items():
        if len(values) != count:
            raise RunError(f"metrics: {name!r} has {len(values)} values for {count} states")
    rows = [{name: float(values[i]) for name, values in (metrics or {}).items()} for i in range(count)]
    parts = [None] * count if pieces is None else pieces
    return [Checkpoint(i, float(numbers[i]), None, rows[i], read, parts[i]) for i, read in enumerate(readers)]


def _refuse_live(states: Sequence[State], layout: Layout) -> None:
    """Refuse one model's living weights listed again and again: ``state_dict()`` does not copy."""
    for number, state in enumerate(states[1:], 1):
        pairs = [(a, b) for a, b in zip(plain_names(states[0]).values(), plain_names(state).values(), strict=False) if a.numel()]
        shared = all(same_memory(a) == same_memory(b) for a, b in pairs)
        if state is not states[0] and layout.shapes and shared:
            raise RunError(
                f"states: 0 and {number} are the same memory, so all are the weights of this moment. state_dict() does not copy: "
                "collect copy.deepcopy(model.state_dict()), or use a Recorder"
            )


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items()}
