"""What every explorer shares: settings as traits, background work, a cache by content, progress, errors, snapshots.

May import: jobs, results, views, ipywidgets. A trait is either RESTYLE (the view changes what it has) or RECOMPUTE (a job is
submitted unless the answer is known). There is no third kind.
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import ipywidgets as widgets

from ..jobs import Debounce, Job, Step, Worker, stepwise
from ..results import Result, ResultSet
from ..views.static import static_bundle
from .keeping import Keeping, settings_of
from .naming import OneLine
from .status import Status


class Explorer(Keeping, OneLine, widgets.VBox):
    """Base of the explorers. A subclass says which traits recompute, what the steps of the work are, and how to draw.

    Attributes
    ----------
    results : dict of str to Result
        What the picture shows.
    """

    RECOMPUTE: ClassVar[tuple[str, ...]] = ()
    RESTYLE: ClassVar[tuple[str, ...]] = ()

    results: dict[str, Result]
    _closed = False

    def __init__(self, **settings: Any):
        self.results = {}
        self._cache: dict[Hashable, Result] = {}
        self._worker = Worker()
        self._schedule = Debounce(self._submit)
        self._together = 0
        self._wanted = False
        self._display_id: str | None = None
        known = (*self.RECOMPUTE, *self.RESTYLE)
        for name in settings:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=2)
                raise TypeError(
                    f"{type(self).__name__} has no setting {name!r}"
                    + (f"; did you mean {' or '.join(close)}?" if close else f"; settings: {', '.join(known)}")
                )
        self.status = Status(self.cancel)
        super().__init__()
        self.add_class("nnvis")
        with self.together():
            self._assign(settings)
        self.observe(lambda _change: self._recompute(), list(self.RECOMPUTE))
        self.observe(lambda change: self._restyle(change.name), list(self.RESTYLE))

    # ---- what a subclass gives

    def _steps(self) -> Sequence[Step]:
        """Return everything that the picture needs, in the order in which it is measured."""
        raise NotImplementedError

    def _draw(self) -> None:
        """Draw `results` with the present settings."""
        raise NotImplementedError

    def _restyle(self, name: str) -> None:
        self._draw()

    def _stale(self) -> None:
        """Show that what is drawn belongs to earlier settings."""

    # ---- what a user calls

    def compute(self) -> None:
        """Measure what the settings ask for and is not known yet, now; an earlier computation is cancelled."""
        self._schedule.cancel()
        self._submit()

    def cancel(self) -> None:
        """Stop the running computation; what has been measured stays in the picture with its n."""
        self._schedule.cancel()
        self._worker.cancel()

    async def done(self) -> None:
        """Return when nothing is being computed and nothing is waiting to be."""
        while self._schedule.waiting or self._worker.active:
            await self._schedule.settled()
            await self._worker.wait()

    def save_result(self, path: Any) -> None:
        """Write what the picture shows to one file; `nnvis_widgets.load` and `from_result` read it."""
        if not self.results:
            raise ValueError("there is no result yet: call compute() first, or wait with await explorer.done()")
        ResultSet(dict(self.results)).save(path)

    def snapshot(self) -> dict[str, Any]:
        """Return the settings as a dictionary that `restore` takes."""
        return {name: getattr(self, name) for name in (*self.RECOMPUTE, *self.RESTYLE)}

    def restore(self, settings: Any) -> None:
        """Set what `snapshot` returned, also after a trip through JSON; all of it or, when a part is refused, nothing."""
        settings = settings_of(settings, self, (*self.RECOMPUTE, *self.RESTYLE))
        before = self.snapshot()
        with self.together():
            try:
                self._assign(settings)
            except Exception:
                self._assign(before)
                raise

    def _assign(self, settings: Mapping[str, Any]) -> None:
        for name in (*self.RECOMPUTE, *self.RESTYLE):  # the scope first: it brings its own alpha range
            if name in settings:
                setattr(self, name, settings[name])

    def made(self, run: str = "run") -> list[str]:
        """Return the line that makes it again from an `evaluator` and a run under this name, or from a saved result."""
        name, defaults, settings = type(self).__name__, self.traits(), self.snapshot()
        changed = {key: value for key, value in settings.items() if value != defaults[key].default_value}
        if not self._sources(run):
            told = {key: value for key, value in changed.items() if key in self.RESTYLE}
            lines = [f'explorer = nv.{name}.from_result(nv.load("what save_result wrote"))']
            return [*lines, f"explorer.restore({told!r})"] if told else lines
        return [f"nv.{name}({', '.join([*self._sources(run), *(f'{key}={value!r}' for key, value in changed.items())])})"]

    def _sources(self, run: str) -> list[str]:
        """Return the arguments that it is made of, in code; none of a saved result."""
        return [] if getattr(self, "study", None) is None else ["evaluator", run]

    def close(self) -> None:
        """Cancel the work, end its thread, and remove the widget with everything in it; it does not compute again."""
        if self._closed:
            return
        self._closed = True
        if hasattr(self, "_worker"):  # construction got as far as having something to close
            self._schedule.cancel()
            self._worker.close()
            self.unobserve_all()
            parts = list(parts_of(self, {id(self)}))
            for part in parts:
                part.unobserve_all()
                part.close()
            self._cache.clear()
        super().close()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Set several settings at once: one computation follows instead of one for each."""
        self._together += 1
        try:
            yield
        finally:
            self._together -= 1
            if not self._together and self._wanted:
                self._wanted = False
                self._recompute()

    # ---- work

    def _recompute_when_live(self) -> None:
        """Begin at once where an event loop can carry the work; a script calls `compute`."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        self._recompute()

    def _recompute(self) -> None:
        if self._together:
            self._wanted = True
            return
        if self._closed:
            return
        try:
            steps = list(self._steps())
        except Exception as error:
            self._schedule.cancel()
            self._fail(error)
            return
        self._worker.drop()
        if all(key in self._cache for step in steps for key in step.keys.values()):
            self._schedule.cancel()
            self._succeed(steps)
        else:
            self._stale()
            self._schedule()

    def _submit(self) -> None:
        if self._closed:
            return
        try:
            steps = list(self._steps())
        except Exception as error:
            self._fail(error)
            return
        self._worker.drop()
        if all(key in self._cache for step in steps for key in step.keys.values()):
            self._succeed(steps)
            return
        self.status.begin()

        def succeed(_last: Any) -> None:
            self._succeed(steps)

        self._worker.submit(Job(lambda: stepwise(steps, self._cache), self._partial, succeed, self._fail, self._cancelled))

    def _partial(self, delivered: tuple[dict[str, Result], float]) -> bool:
        self.results, fraction = delivered
        job = self._worker.job
        if job is not None and job.state == "running":
            self.status.advance(fraction, job.seconds)
        self._draw()
        return bool(self.results)

    def _succeed(self, steps: Sequence[Step]) -> None:
        if steps:  # a saved result has none, and stays
            self.results = {name: self._cache[key] for step in steps for name, key in step.keys.items()}
        self.status.say(None)
        self.status.idle()
        self._draw()
        self._update_picture()

    def _cancelled(self) -> None:
        self.status.idle("cancelled: the picture shows what was measured, with its n")

    def _fail(self, error: BaseException) -> None:
        self._worker.drop()
        self.status.idle()
        self.status.say(error)

    # ---- a picture for where widgets cannot run

    def _ipython_display_(self) -> None:
        """Display the widget and, beside it, a static picture that only a saved notebook without a kernel shows."""
        from IPython.display import display

        png = self.still() if not self._worker.busy else None
        display(dict(super()._repr_mimebundle_()), raw=True)
        handle = display(static_bundle(png), raw=True, display_id=True)
        self._display_id = handle.display_id if handle is not None and png is None else None

    def _update_picture(self) -> None:
        """Put the first complete picture into the notebook of an explorer that was displayed before it was there."""
        if self._display_id is None:
            return
        from IPython.display import update_display

        display_id, self._display_id = self._display_id, None
        update_display(static_bundle(self.still()), raw=True, display_id=display_id)


def parts_of(widget: widgets.Widget, seen: set[int]) -> Iterator[widgets.Widget]:
    """Yield every widget that hangs on this one: children, figures, marks, scales, axes, layouts, styles, and its `unshown`."""
    values = [getattr(widget, name) for name in widget.keys]
    for value in [*values, getattr(widget, "unshown", ())]:
        for one in value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(one, widgets.Widget) and id(one) not in seen:
                seen.add(id(one))
                yield from parts_of(one, seen)
                yield one
