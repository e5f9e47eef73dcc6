"""Writing a training run: one line in the user's own loop, and nothing lost when the process is killed.

May import: torch, core.states, store, runs.run.
"""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import Tensor, nn

from .. import store
from ..core.states import Layout, StateError, digest, snapshot, unwrap
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

    Raises
    ------
    RunError
        The folder holds a run and `resume` is False, or it holds other files, or a run of another model.

    Examples
    --------
    >>> with Recorder(model, "runs/lenet") as recorder:              # doctest: +SKIP
    ...     for epoch in range(1, 16):
    ...         train_one_epoch()
    ...         recorder.record(epoch=epoch, test_loss=0.3)
    """

    def __init__(self, model: nn.Module, folder: str | os.PathLike, *, resume: bool = False):
        self._model = model
        self.folder = Path(folder)
        self._resume = resume
        self._layout = Layout.of(model)
        self._entries: list[dict[str, Any]] = []
        self._steps = 0
        self._last_digest = ""
        self._inside = False

    def __enter__(self) -> Recorder:
        exists = (self.folder / INDEX).is_file()
        if exists and not self._resume:
            raise RunError(
                f"folder: {self.folder} holds a run already, and nothing recorded is overwritten. "
                "Name another folder, or pass resume=True to continue that run"
            )
        if exists:
            self._continue()
        else:
            if self.folder.exists() and not self.folder.is_dir():
                raise RunError(f"folder: {self.folder} is a file; name an empty or a new folder")
            foreign = [path.name for path in self.folder.iterdir() if not _ours(path)] if self.folder.is_dir() else []
            if foreign:
                names = ", ".join(sorted(foreign)[:3])
                raise RunError(f"folder: {self.folder} holds other files ({names}); name an empty or a new folder")
        self._inside = True
        if not exists:
            self._write(epoch=0.0, metrics={})
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._inside = False

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
        self._write(epoch=number, metrics=_numbers(metrics))

    def step(self, **metrics: float) -> None:
        """Write a checkpoint within an epoch, after an optimiser step; its epoch is filled in when the epoch is recorded."""
        self._check_inside()
        checked = _numbers(metrics)
        self._write(epoch=None, metrics=checked, step=self._steps + 1)
        self._steps += 1

    @property
    def run(self) -> Run:
        """The run so far, opened from the folder."""
        return Run.open(self.folder)

    def _write(self, epoch: float | None, metrics: dict[str, float], step: int | None = None) -> None:
        state = snapshot(self._model)
        step = self._steps if step is None else step
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
            self._write_index(entries, aliases)
        except OSError as error:
            raise OSError(
                error.errno,
                f"checkpoint {len(entries) - 1} was not written ({error.strerror or error}); {self.folder} keeps the "
                f"{len(self._entries)} completed before it. Make room and call record again, or continue later with "
                "Recorder(..., resume=True)",
            ) from error
        self._entries, self._last_digest = entries, fingerprint

    def _write_index(self, entries: list[dict[str, Any]], aliases: dict[str, str]) -> None:
        content = {
            "parameters": [*self._layout.shapes, *self._layout.aliases],
            "aliases": aliases,
            "model": type(unwrap(self._model)).__name__,
            "checkpoints": entries,
        }
        store.write_json(self.folder / INDEX, content)

    def _continue(self) -> None:
        run = Run.open(self.folder)
        state = snapshot(self._model)
        try:
            self._layout.check(run.final, f"the last checkpoint in {self.folder}")
        except StateError as error:
            raise RunError(f"folder: {self.folder} holds a run of another model; name another folder ({error})") from error
        self._entries = store.read_json(self.folder / INDEX)["checkpoints"]
        self._steps = max(entry["step"] or 0 for entry in self._entries)
        self._last_digest = digest(run.final)
        if digest(state) != self._last_digest:
            warnings.warn(
                f"the model's weights are not those of the last checkpoint in {self.folder} (epoch {run.epochs[-1]:g}); to "
                "continue from there, first call model.load_state_dict(nv.Run.open(folder).final)",
                stacklevel=3,
            )

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
