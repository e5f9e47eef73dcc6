"""What every explorer shares: settings as traits, background work, a cache by content, progress, errors, snapshots.

May import: jobs, results, views, ipywidgets. A trait is either RESTYLE (the view changes what it has) or RECOMPUTE (a job is
submitted unless the answer is known). There is no third kind.
"""

from __future__ import annotations

import difflib
import html
import traceback
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import ipywidgets as widgets

from ..jobs import Debounce, Job, Worker
from ..results import Result, ResultSet
from ..views.static import picture, static_bundle
from ..views.theme import style_sheet


class Explorer(widgets.VBox):
    """Base of the explorers. A subclass says which traits recompute, what the steps of the work are, and how to draw.

    Attributes
    ----------
    results : dict of str to Result
        What the picture shows.
    """

    RECOMPUTE: ClassVar[tuple[str, ...]] = ()
    RESTYLE: ClassVar[tuple[str, ...]] = ()

    results: dict[str, Result]

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
        self._make_status()
        super().__init__()
        self.add_class("nnvis")
        with self.together():
            for name in sorted(settings, key=known.index):  # the scope first: it brings its own alpha range
                setattr(self, name, settings[name])
        self.observe(lambda _change: self._recompute(), list(self.RECOMPUTE))
        self.observe(lambda change: self._restyle(change.name), list(self.RESTYLE))

    # ---- what a subclass gives

    def _steps(self) -> Sequence[tuple[str, Hashable, Callable[[], Iterator[Result]]]]:
        """Return name, cache key and maker of partial results for everything that the picture needs."""
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
        while self._schedule.waiting or self._worker.busy:
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

    def restore(self, settings: dict[str, Any]) -> None:
        """Set what `snapshot` returned; unknown names are refused before anything changes."""
        for name in settings:
            if name not in (*self.RECOMPUTE, *self.RESTYLE):
                raise TypeError(f"{type(self).__name__} has no setting {name!r}")
        with self.together():
            for name in (*self.RECOMPUTE, *self.RESTYLE):
                if name in settings:
                    setattr(self, name, settings[name])

    def close(self) -> None:
        """Cancel the work, end its thread and remove the widget."""
        self._schedule.cancel()
        self._worker.close()
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

    def _recompute(self) -> None:
        if self._together:
            self._wanted = True
            return
        try:
            known = [(name, self._cache.get(key)) for name, key, _ in self._steps()]
        except Exception as error:
            self._fail(error)
            return
        if all(result is not None for _, result in known):
            self._schedule.cancel()
            self._worker.drop()
            self.results = {name: result for name, result in known if result is not None}
            self._succeed()
        else:
            self._worker.drop()
            self._stale()
            self._schedule()

    def _submit(self) -> None:
        try:
            steps = list(self._steps())
        except Exception as error:
            self._fail(error)
            return
        missing = [step for step in steps if step[1] not in self._cache]
        kept = {name: self._cache[key] for name, key, _ in steps if key in self._cache}
        self.results = dict(kept)
        if not missing:
            self._succeed()
            return
        self._worker.drop()
        self._progress.value, self._progress.layout.visibility = 0.0, "visible"
        self._cancel_button.disabled = False
        self._progress_text.value = "starting ..."
        self._say_error(None)
        order = [name for name, _, _ in steps]

        def work() -> Iterator[tuple[dict[str, Result], float]]:
            done = dict(kept)
            for number, (name, key, make) in enumerate(missing):
                result = None
                for result in make():
                    done[name] = result
                    yield {n: done[n] for n in order if n in done}, (number + getattr(result, "fraction", 0.0)) / len(missing)
                if result is not None:
                    self._cache[key] = result

        self._worker.submit(
            Job(
                work,
                on_partial=self._partial,
                on_done=lambda _last: self._succeed(),
                on_error=self._fail,
                on_cancel=self._cancelled,
            )
        )

    def _partial(self, delivered: tuple[dict[str, Result], float]) -> None:
        self.results, fraction = delivered
        self._progress.value = fraction
        job = self._worker.job
        if job is not None and 0 < fraction < 1 and job.state == "running":
            left = job.seconds * (1 - fraction) / fraction
            self._progress_text.value = f"{fraction:.0%}, about {left:.0f} s left" if left >= 1 else f"{fraction:.0%}"
        self._draw()

    def _succeed(self) -> None:
        steps = self._steps()
        self.results = {name: self._cache[key] for name, key, _ in steps if key in self._cache}
        self._say_error(None)
        self._idle("")
        self._draw()
        self._update_picture()

    def _cancelled(self) -> None:
        self._idle("cancelled: the curves show what was measured, with its n")

    def _fail(self, error: BaseException) -> None:
        self._idle("")
        self._say_error(error)

    def _idle(self, text: str) -> None:
        self._progress.layout.visibility = "hidden"
        self._cancel_button.disabled = True
        self._progress_text.value = text

    # ---- status

    def _make_status(self) -> None:
        self._progress = widgets.FloatProgress(min=0.0, max=1.0, layout=widgets.Layout(width="120px", visibility="hidden"))
        self._progress_text = widgets.HTML().add_class("nnvis-small").add_class("nnvis-progress-text")
        self._cancel_button = widgets.Button(description="Cancel", icon="stop", disabled=True, layout=widgets.Layout(width="90px"))
        self._cancel_button.add_class("nnvis-cancel")
        self._cancel_button.on_click(lambda _button: self.cancel())
        self._error = widgets.HTML().add_class("nnvis-error")
        self._style = style_sheet()
        self.status = widgets.HBox(
            [self._progress_text, self._progress, self._cancel_button],
            layout=widgets.Layout(align_items="center", min_height="34px"),
        )

    def _say_error(self, error: BaseException | None) -> None:
        if error is None:
            self._error.value = ""
            return
        trace = html.escape("".join(traceback.format_exception(error)))
        self._error.value = (
            f"<b>{type(error).__name__}:</b> {html.escape(str(error))}"
            f"<details><summary>details</summary><pre style='white-space:pre-wrap'>{trace}</pre></details>"
        )

    # ---- a picture for where widgets cannot run

    def _ipython_display_(self) -> None:
        """Display the widget and, beside it, a static picture that only a saved notebook without a kernel shows."""
        from IPython.display import display

        png = picture(self.results) if not self._worker.busy else None
        display(dict(super()._repr_mimebundle_()), raw=True)
        handle = display(static_bundle(png), raw=True, display_id=True)
        self._display_id = handle.display_id if handle is not None and png is None else None

    def _update_picture(self) -> None:
        """Put the first complete picture into the notebook of an explorer that was displayed before it was there."""
        if self._display_id is None:
            return
        from IPython.display import update_display

        display_id, self._display_id = self._display_id, None
        update_display(static_bundle(picture(self.results)), raw=True, display_id=display_id)
