"""Writing a training run: one line in the user's own loop, and nothing lost when the process is killed.

May import: torch, core.states, store, runs.run, runs.listening. Whoever wants to watch subscribes; nothing here draws.
"""

from __future__ import annotations

import math
import os
import re
import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import Tensor, nn

from .. import store
from ..core.states import Layout, StateError, digest, snapshot, unwrap
from .listening import Listener, Listeners, Notice
from .run import INDEX, Run, RunError


class Recorder:
    """Records a model's weights and buffers while the user's own loop trains it.

    Every checkpoint is a safetensors file, written beside its place and renamed; the index is written after it. Killed at
    any moment, the folder opens with every checkpoint that was completed.

    Parameters
    ----------
    model : torch.nn.Module
        Read at each record, never written.
    folder : path
        Made if needed. One that holds something else is refused.
    resume : bool
        Continue the run that the folder holds. Its last weights are ``nv.Run.open(folder).final``.

    Attributes
    ----------
    folder : Path
    layout : Layout
        What the model's tensors are.
    stop_requested : bool
        Whether `request_stop` was called since the with block was entered. Nothing stops by itself: a loop reads it.

    Raises
    ------
    RunError
        The folder holds a run and `resume` is False, or it holds other files, or a run of another model.

    Examples
    --------
    >>> import tempfile, torch
    >>> import nnvis_widgets as nv
    >>> model, folder = torch.nn.Linear(4, 2), tempfile.TemporaryDirectory()
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> with nv.Recorder(model, f"{folder.name}/run") as recorder:
    ...     for epoch in range(1, 4):
    ...         loss = model(torch.ones(8, 4)).square().mean()
    ...         loss.backward()
    ...         optimizer.step()
    ...         recorder.record(epoch=epoch, train_loss=loss.item())
    ...         if recorder.stop_requested:
    ...             break
    >>> recorder.run
    Run(...: 4 checkpoints, epochs 0 to 3)
    >>> folder.cleanup()
    """

    def __init__(self, model: nn.Module, folder: str | os.PathLike, *, resume: bool = False):
        self._model = model
        self.folder = Path(folder)
        self._resume = resume
        self.layout = Layout.of(model)
        self.stop_requested = False
        self._entries: list[dict[str, Any]] = []
        self._bookmarks: list[dict[str, Any]] = []
        self._steps = 0
        self._last_digest = ""
        self._second_names: dict[str, str] = {}
        self._inside = False
        self._listeners = Listeners()
        self._writing = threading.RLock()  # a bookmark may come from another thread than the training's

    def __repr__(self) -> str:
        state = "recording" if self._inside else "not recording"
        asked = ", asked to stop" if self.stop_requested else ""
        return f"Recorder({type(self._model).__name__} into {self.folder}: {len(self._entries)} checkpoints, {state}{asked})"

    def __enter__(self) -> Recorder:
        exists = (self.folder / INDEX).is_file()
        if exists and not self._resume:
            raise RunError(
                f"folder: {self.folder} holds a run already, and nothing recorded is overwritten. "
                "Name another folder, or pass resume=True to continue that run"
            )
        if exists:
            state = self._continue()
        else:
            if self.folder.exists() and not self.folder.is_dir():
                raise RunError(f"folder: {self.folder} is a file; name an empty or a new folder")
            foreign = [path.name for path in self.folder.iterdir() if not _ours(path)] if self.folder.is_dir() else []
            if foreign:
                names = ", ".join(sorted(foreign)[:3])
                raise RunError(f"folder: {self.folder} holds other files ({names}); name an empty or a new folder")
        self._inside, self.stop_requested = True, False
        if not exists:
            state = self._write(epoch=0.0, metrics={})
        self._tell("start", state)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._inside = False
        self._tell("end")

    def record(self, epoch: float | None = None, **metrics: float) -> None:
        """Write a checkpoint of the model as it is now.

        Parameters
        ----------
        epoch : float, optional
            Default: one more than the last. Must be greater than the last recorded one.
        **metrics : float
            Numbers to keep beside it, such as ``test_loss=0.31``.

        Raises
        ------
        RunError
            The epoch does not ascend, or a metric is no number.
        OSError
            The disk is full or gone. The run keeps every checkpoint completed before; `record` can be called again.
        """
        self._check_inside()
        last = max((entry["epoch"] for entry in self._entries if entry["epoch"] is not None), default=0.0)
        try:
            number = last + 1.0 if epoch is None else float(epoch)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number) or number <= last:
            initial = "; epoch 0 is the initial weights; count from 1 or leave epoch out" if number == 0 else ""
            raise RunError(f"epoch: a number greater than the last one recorded ({last:g}), received {epoch!r}{initial}")
        self._tell("checkpoint", self._write(epoch=number, metrics=_numbers(metrics)))

    def step(self, **metrics: float) -> None:
        """Write a checkpoint within an epoch, after an optimiser step; its epoch is filled in when the epoch is recorded."""
        self._check_inside()
        checked = _numbers(metrics)
        state = self._write(epoch=None, metrics=checked, step=self._steps + 1)
        self._steps += 1
        self._tell("checkpoint", state)

    def bookmark(self, label: str | None = None) -> None:
        """Mark the last checkpoint, under a label if there is one: see ``Run.bookmarks``. May be called from any thread.

        Raises
        ------
        RunError
            Outside of the with block.
        OSError
            The disk is full or gone.
        """
        self._check_inside()
        if not (label is None or isinstance(label, str)):
            raise RunError(f"label: a text or None, received {type(label).__name__} {label!r}"[:300])
        with self._writing:
            mark = {"checkpoint": len(self._entries) - 1, "label": label}
            if mark in self._bookmarks:
                return
            self._write_index(self._entries, self._second_names, [*self._bookmarks, mark])
            self._bookmarks.append(mark)
        self._tell("bookmark")

    def request_stop(self) -> None:
        """Ask the loop to end: it finds `stop_requested` true. May be called from any thread."""
        self.stop_requested = True

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with a `Notice` of everything that is written from now on, and return a function that ends this.

        It is called in the thread of the training, after the files are complete. One that raises is dropped with a warning; the
        training never notices.
        """
        return self._listeners.add(listener)

    @property
    def recording(self) -> bool:
        """Whether the with block has been entered and not left."""
        return self._inside

    @property
    def begun(self) -> bool:
        """Whether the folder holds a checkpoint."""
        return (self.folder / INDEX).is_file()

    @property
    def run(self) -> Run:
        """The run so far, opened from the folder."""
        return Run.open(self.folder)

    def _tell(self, kind: str, state: dict[str, Tensor] | None = None) -> None:
        if self._listeners:
            entry = self._entries[-1]
            self._listeners.tell(Notice(kind, len(self._entries) - 1, entry["epoch"], _numbers(entry["metrics"]), state))

    def _write(self, epoch: float | None, metrics: dict[str, float], step: int | None = None) -> dict[str, Tensor]:
        with self._writing:
            return self._write_checkpoint(epoch, metrics, self._steps if step is None else step)

    def _write_checkpoint(self, epoch: float | None, metrics: dict[str, float], step: int) -> dict[str, Tensor]:
        state = snapshot(self._model)
        fingerprint = digest(state)
        entries = list(self._entries)
        unchanged = bool(entries) and epoch is not None and entries[-1]["epoch"] is None and fingerprint == self._last_digest
        if unchanged:  # the epoch ends where its last step was recorded: one checkpoint is both
            entries[-1] = {**entries[-1], "epoch": epoch, "metrics": {**entries[-1]["metrics"], **_plain(metrics)}}
        else:
            file = f"checkpoint-{len(entries):06d}.safetensors"
            entries.append({"file": file, "epoch": epoch, "step": step, "metrics": _plain(metrics)})
        try:
            aliases = _aliases(state)
            if not unchanged:
                own = {name: tensor for name, tensor in state.items() if name not in aliases}
                store.write_tensors(self.folder / file, own)
            self._write_index(entries, aliases, self._bookmarks)
        except OSError as error:
            raise OSError(
                error.errno,
                f"checkpoint {len(entries) - 1} was not written ({error.strerror or error}); {self.folder} keeps the "
                f"{len(self._entries)} completed before it. Make room and call record again, or continue later with "
                "Recorder(..., resume=True)",
            ) from error
        self._entries, self._last_digest, self._second_names = entries, fingerprint, aliases
        return state

    def _write_index(self, entries: list[dict[str, Any]], aliases: dict[str, str], bookmarks: list[dict[str, Any]]) -> None:
        content = {
            "parameters": [*self.layout.shapes, *self.layout.aliases],
            "aliases": aliases,
            "model": type(unwrap(self._model)).__name__,
            "checkpoints": entries,
            "bookmarks": bookmarks,
        }
        store.write_json(self.folder / INDEX, content)

    def _continue(self) -> dict[str, Tensor]:
        run = Run.open(self.folder)
        state = snapshot(self._model)
        try:
            self.layout.check(run.final, f"the last checkpoint in {self.folder}")
        except StateError as error:
            raise RunError(f"folder: {self.folder} holds a run of another model; name another folder ({error})") from error
        index = store.read_json(self.folder / INDEX)
        self._entries, self._bookmarks = index["checkpoints"], index.get("bookmarks", [])
        self._second_names = index["aliases"]
        self._steps = max(entry["step"] or 0 for entry in self._entries)
        last = run.final
        self._last_digest = digest(last)
        if digest(state) != self._last_digest:
            warnings.warn(
                f"the model's weights are not those of the last checkpoint in {self.folder} (epoch {run.epochs[-1]:g}); to "
                "continue from there, first call model.load_state_dict(nv.Run.open(folder).final)",
                stacklevel=3,
            )
        return last

    def _check_inside(self) -> None:
        if not self._inside:
            raise RunError("recorder: use it in a with block: with nv.Recorder(model, folder) as recorder: ...")


def _aliases(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Second names of tensors that a snapshot holds twice: tied weights, a module registered under two names."""
    first: dict[int, str] = {}
    return {name: first[id(tensor)] for name, tensor in state.items() if first.setdefault(id(tensor), name) != name}


def _ours(path: Path) -> bool:
    """What a recorder that was killed before its first index leaves behind."""
    return re.fullmatch(rf"checkpoint-\d{{6,}}\.safetensors|\.(checkpoint-.*|{re.escape(INDEX)}\..*)\.part", path.name) is not None


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    numbers = {}
    for name, value in metrics.items():
        try:
            numbers[name] = float(value)
        except (TypeError, ValueError):
            raise RunError(f"metrics: {name} must be one number, received {type(value).__name__} {value!r}"[:300]) from None
    return numbers


def _plain(metrics: Mapping[str, float]) -> dict[str, float | str]:
    """JSON has no NaN and no infinity; their names are read back by float()."""
    return {name: value if math.isfinite(value) else str(value) for name, value in metrics.items()}
