"""A run that is over, as its recorder would be seen afterwards: for whoever watches recorders.

May import: core.states.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core.states import Layout, RunLike, check_run


class Finished:
    """What a `Recorder` has for those who watch it, of a run that nothing is added to.

    Parameters
    ----------
    run : Run
        At least one checkpoint.
    """

    recording = False
    stop_requested = False
    begun = True

    def __init__(self, run: RunLike):
        check_run(run)
        self.run: Any = run

    def __repr__(self) -> str:
        return repr(self.run)

    @property
    def layout(self) -> Layout:
        """Names and shapes of the parameters."""
        known = getattr(self.run, "layout", None)
        return Layout.of_state(self.run[0].state) if known is None else known

    def subscribe(self, _listener: Any) -> Callable[[], None]:
        """There is nothing to be told of."""
        return lambda: None
