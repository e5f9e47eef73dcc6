"""Background work for widgets: one worker, the latest wins, progress, cancel, delivery on the event loop.

May import: the standard library only. Work is a generator of partial results. It is advanced in a worker thread, one step
at a time; between two steps it can be dropped. What it yields is handed over on the event loop's thread, at most about ten
times a second, so a user interface never waits and is never flooded. Without a running event loop (a script, a test) the
work is done in place.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

DELIVERY = 0.1  # seconds between two partial results that are shown
_END = object()


@dataclass(eq=False)
class Job:
    """One piece of work. `state` is "running", "done", "cancelled", "replaced" or "failed".

    Where `on_partial` returns False there was nothing to show, and the next partial result need not wait.
    """

    make: Callable[[], Iterator[Any]]
    on_partial: Callable[[Any], Any]
    on_done: Callable[[Any], None]
    on_error: Callable[[BaseException], None]
    on_cancel: Callable[[], None] = lambda: None
    state: str = "running"
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Time since it was submitted."""
        return time.monotonic() - self.started


@dataclass(frozen=True)
class Step:
    """Results that are best measured together.

    Attributes
    ----------
    keys : mapping of str to hashable
        What determines each result, by its name in the picture.
    make : callable
        Yields growing results by name, given the names of those that are not known yet.
    """

    keys: Mapping[str, Hashable]
    make: Callable[[Sequence[str]], Iterator[Mapping[str, Any]]]


def stepwise(steps: Sequence[Step], known: MutableMapping[Hashable, Any]) -> Iterator[tuple[dict[str, Any], float]]:
    """Yield what there is by name, and the fraction that is done, while the steps fill what is not `known` yet.

    What fails together is tried one by one, and what fails by itself does not take its neighbours with it: the first of these
    errors is raised at the end.
    """
    keys = {name: key for step in steps for name, key in step.keys.items()}
    done = {name: known[key] for name, key in keys.items() if key in known}
    waiting = [(step, names) for step in steps if (names := [name for name in step.keys if name not in done])]
    failures: list[Exception] = []
    total, finished = sum(len(names) for _, names in waiting), 0
    while waiting:
        step, names = waiting.pop(0)
        results: Mapping[str, Any] = {}
        try:
            for results in step.make(names):
                done.update(results)
                part = sum(getattr(result, "fraction", 0.0) for result in results.values())
                yield {name: done[name] for name in keys if name in done}, (finished + part) / total
        except Exception as error:
            if len(names) > 1:
                waiting[:0] = [(step, [name]) for name in names]
                continue
            failures.append(error)
        else:
            known.update({keys[name]: result for name, result in results.items()})
        finished += len(names)
    if failures:
        yield {name: done[name] for name in keys if name in done}, 1.0  # what was known before belongs into the picture, too
        raise failures[0]


class Worker:
    """Runs jobs one after another in a thread; submitting one cancels the one before.

    Attributes
    ----------
    job : Job or None
        The latest one.
    started : int
        How many jobs began to work.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._task: asyncio.Task | None = None
        self.job: Job | None = None
        self.started = 0

    @property
    def busy(self) -> bool:
        """Whether a job is running."""
        return self.job is not None and self.job.state == "running"

    @property
    def active(self) -> bool:
        """Whether the thread still has a step of some job in hand."""
        return self._task is not None and not self._task.done()

    def submit(self, job: Job) -> Job:
        """Run `job`, cancelling what runs; in place when there is no running event loop."""
        self.drop()
        before, self.job = self._task, job
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._task = None
            self._in_place(job)
        else:
            self._task = loop.create_task(self._drive(job, before))
        return job

    def cancel(self) -> None:
        """Stop the running job at its next step; what it has delivered stays."""
        if self.busy:
            assert self.job is not None
            self.job.state = "cancelled"
            self.job.on_cancel()

    def drop(self) -> None:
        """Stop the running job at its next step because something else is wanted; nothing more of it is delivered."""
        if self.job is not None and self.active and self.job.state in ("running", "cancelled"):
            self.job.state = "replaced"

    async def wait(self) -> None:
        """Return when the thread is at rest; an error in a job has been handed to its `on_error`."""
        while self.active:
            assert self._task is not None
            await _ended(self._task)

    def close(self) -> None:
        """Cancel the work and let the thread end."""
        self.drop()
        if self._pool is not None:
            self._pool.shutdown(wait=False)
            self._pool = None

    async def _drive(self, job: Job, before: asyncio.Task | None) -> None:
        loop = asyncio.get_running_loop()
        if before is not None and not before.done():
            await _ended(before)  # its last step ends first: one worker, never two
        if job.state != "running":
            return
        self._pool = self._pool or ThreadPoolExecutor(1, thread_name_prefix="nnvis")
        self.started += 1
        steps: Iterator[Any] | None = None
        last, shown, pending = _END, 0.0, False
        try:
            steps = await loop.run_in_executor(self._pool, job.make)
            while job.state == "running":
                item = await loop.run_in_executor(self._pool, next, steps, _END)
                if item is _END:
                    break
                last, pending = item, True
                if job.state == "running" and time.monotonic() - shown >= DELIVERY and job.on_partial(item) is not False:
                    shown, pending = time.monotonic(), False
            if job.state == "running":
                job.on_done(last)
                job.state = "done"
            elif pending and job.state == "cancelled":
                job.on_partial(last)
        except Exception as error:  # the widget shows it; there is nobody above to raise to
            if job.state == "running":
                if pending:  # what was measured before it failed
                    job.on_partial(last)
                job.state = "failed"
                job.on_error(error)
        except BaseException:  # the loop itself is ending
            self._interrupted(job)
            raise
        finally:
            close = getattr(steps, "close", None)
            if close is not None and self._pool is not None:
                await loop.run_in_executor(self._pool, close)

    def _in_place(self, job: Job) -> None:
        self.started += 1
        last, shown, pending = _END, 0.0, False
        try:
            for item in job.make():
                last, pending = item, True
                if job.state != "running":
                    return
                if time.monotonic() - shown >= DELIVERY:
                    job.on_partial(item)
                    shown, pending = time.monotonic(), False
        except Exception as error:
            if pending:
                job.on_partial(last)
            job.state = "failed"
            job.on_error(error)
            return
        except BaseException:
            self._interrupted(job)
            raise
        job.on_done(last)
        job.state = "done"

    def _interrupted(self, job: Job) -> None:
        """After Ctrl-C nothing may wait for this job, nor show it as running."""
        if job.state == "running":
            job.state = "cancelled"
            job.on_cancel()


async def _ended(task: asyncio.Task) -> None:
    """Return when a task has ended, also one of another thread's loop: JupyterLab may hand clicks to a subshell with its own.

    A task that ends does not wake the loop of another thread, so that one has to look.
    """
    if task.get_loop() is asyncio.get_running_loop():
        await asyncio.wait([task])
    while not task.done():
        await asyncio.sleep(0.02)


class Debounce:
    """Calls a function in the loop's next turn, then at most once more after the calls have paused.

    Ten quick moves make two calls, and what is set in one go makes one. Without a running event loop every call goes through.
    """

    def __init__(self, call: Callable[[], None], seconds: float = 0.15):
        self._call, self._seconds = call, seconds
        self._soon: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._again = False

    def __call__(self) -> None:
        """Ask for a call."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._call()
            return
        if self._soon is not None:
            return
        if self._timer is None:
            self._again = False
            self._soon = loop.call_soon(self._lead)
        else:
            self._timer.cancel()
            self._again = True
        self._timer = loop.call_later(self._seconds, self._fire)

    @property
    def waiting(self) -> bool:
        """Whether a call is still to come."""
        return self._soon is not None or (self._timer is not None and self._again)

    async def settled(self) -> None:
        """Return when no call is still to come."""
        while self.waiting:
            await asyncio.sleep(self._seconds / 5)

    def cancel(self) -> None:
        """Drop a call that is still to come."""
        for handle in (self._soon, self._timer):
            if handle is not None:
                handle.cancel()
        self._soon, self._timer, self._again = None, None, False

    def _lead(self) -> None:
        self._soon = None
        self._call()

    def _fire(self) -> None:
        self._timer = None
        if self._again:
            self._again = False
            self._call()
