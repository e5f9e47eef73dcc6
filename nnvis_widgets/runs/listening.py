"""Who is told what a recorder writes.

May import: the standard library, core.states. A listener is any callable; what goes wrong in it never reaches the training.
"""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..core.states import State


@dataclass(frozen=True)
class Notice:
    """What has just happened to a recorder.

    Attributes
    ----------
    kind : {"start", "checkpoint", "bookmark", "end"}
        The with block was entered; a checkpoint was written; the last one was bookmarked; the with block was left.
    index : int
        Of the last checkpoint. When an epoch ends where its last step was recorded, both notices have the same index.
    epoch : float or None
        None: a step within an epoch that is not finished.
    metrics : dict of str to float
        Everything that is kept beside that checkpoint.
    state : dict of str to Tensor, or None
        The weights as they were written, of "start" and "checkpoint". A copy that may be kept, and must not be changed.
    """

    kind: str
    index: int
    epoch: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    state: State | None = None


Listener = Callable[[Notice], object]


class Listeners:
    """Calls every listener in turn; one that raises is dropped with a warning."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def add(self, listener: Listener) -> Callable[[], None]:
        """Return a function that removes the listener again, at any time and any number of times."""
        if not callable(listener):
            raise TypeError(f"listener: a callable that takes a Notice, received {type(listener).__name__} {listener!r}"[:300])
        # an entry of its own for each subscription: the same callable may be added twice
        entry: Listener = lambda notice: listener(notice)  # noqa: E731 (a name would not say more)
        self._listeners.append(entry)

        def remove() -> None:
            if entry in self._listeners:
                self._listeners.remove(entry)

        return remove

    def __bool__(self) -> bool:
        return bool(self._listeners)

    def tell(self, notice: Notice) -> None:
        """Call every listener with a notice."""
        for listener in list(self._listeners):
            try:
                listener(notice)
            except Exception as error:
                if listener in self._listeners:
                    self._listeners.remove(listener)
                trace = "".join(traceback.format_exception(error)[-3:])
                with warnings.catch_warnings():
                    # where warnings are errors this one would end the training that it is to keep alive
                    warnings.simplefilter("always")
                    text = f"recorder: a listener failed and is called no more; the recording goes on.\n{trace}"
                    warnings.warn(text, stacklevel=4)
