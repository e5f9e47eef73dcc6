"""Background work: the latest wins, partial results on the loop's thread, cancelling, errors, quick moves."""

import asyncio
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from nnvis_widgets.jobs import DELIVERY, Debounce, Job, Step, Worker, stepwise


class Seen:
    """Collects what a job delivers, and on which thread."""

    def __init__(self):
        self.partial, self.done, self.errors, self.cancelled, self.threads = [], [], [], 0, set()

    def job(self, make):
        return Job(make, self._partial, self.done.append, self.errors.append, self._cancel)

    def _partial(self, item):
        self.partial.append(item)
        self.threads.add(threading.current_thread())

    def _cancel(self):
        self.cancelled += 1


def counting(stop, pause=0.0, seen=None):
    def make():
        for number in range(stop):
            if pause:
                time.sleep(pause)
            if seen is not None:
                seen.append((number, threading.current_thread()))
            yield number

    return make


def test_without_a_loop_the_work_is_done_in_place():
    seen, worker = Seen(), Worker()
    job = worker.submit(seen.job(counting(3, 1.1 * DELIVERY)))
    assert (seen.partial, seen.done, job.state) == ([0, 1, 2], [2], "done")
    seen = Seen()
    worker.submit(seen.job(counting(3)))
    assert (seen.partial, seen.done) == ([0], [2])


def broken():
    yield 1
    yield 2
    raise ValueError("no such layer")


def test_in_place_errors_are_delivered_not_raised_after_what_was_done():
    seen, worker = Seen(), Worker()
    assert worker.submit(seen.job(broken)).state == "failed"
    assert seen.partial == [1, 2]
    assert str(seen.errors[0]) == "no such layer"


def test_in_a_loop_what_was_done_is_delivered_before_the_error_too():
    async def main():
        seen, worker = Seen(), Worker()
        job = worker.submit(seen.job(broken))
        await worker.wait()
        worker.close()
        return seen, job

    seen, job = asyncio.run(main())
    assert (seen.partial, job.state) == ([1, 2], "failed")
    assert str(seen.errors[0]) == "no such layer"


def test_steps_run_in_one_thread_and_deliver_on_the_loops_thread():
    async def main():
        ran, seen, worker = [], Seen(), Worker()
        worker.submit(seen.job(counting(4, 0.12, ran)))
        await worker.wait()
        worker.close()
        return ran, seen

    ran, seen = asyncio.run(main())
    assert {thread for _, thread in ran} != {threading.main_thread()}
    assert len({thread for _, thread in ran}) == 1
    assert seen.threads == {threading.main_thread()}
    assert seen.done == [3]


def test_the_first_result_that_can_be_shown_does_not_wait_for_one_that_could_not():
    async def work():
        shown, ended = [], []
        worker = Worker()
        job = Job(counting(3), lambda item: item > 0 and not shown.append(item), ended.append, ended.append)
        worker.submit(job)
        await worker.wait()
        worker.close()
        return shown, ended

    assert asyncio.run(work()) == ([1], [2])


def test_partial_results_are_thinned_and_the_last_one_always_arrives():
    async def main():
        seen, worker = Seen(), Worker()
        worker.submit(seen.job(counting(200, 0.002)))
        await worker.wait()
        seconds = worker.job.seconds
        worker.close()
        return seen, seconds

    seen, seconds = asyncio.run(main())
    assert seen.done == [199]
    assert 1 <= len(seen.partial) <= seconds / DELIVERY + 2


def test_the_latest_job_wins_and_nothing_more_of_the_older_is_delivered():
    async def main():
        first, second, worker = Seen(), Seen(), Worker()
        worker.submit(first.job(counting(1000, 0.01)))
        await asyncio.sleep(0.15)
        before = len(first.partial)
        job = worker.submit(second.job(counting(3, 0.01)))
        await worker.wait()
        worker.close()
        return first, before, second, job

    first, before, second, job = asyncio.run(main())
    assert before >= 1
    assert len(first.partial) == before
    assert first.done == first.errors == []
    assert second.done == [2]
    assert job.state == "done"


def test_a_cell_and_a_click_come_from_two_threads_with_a_loop_each():
    """The loop of the cell ends the older job, and does not wake the loop of the click, where nothing else happens."""
    worker, older, newer, begun = Worker(), Seen(), Seen(), threading.Event()

    def slow():
        begun.set()
        time.sleep(0.3)
        yield "old"
        yield "older"

    async def cell():
        worker.submit(older.job(slow))
        await asyncio.sleep(1.0)  # a kernel's loop does not end with the cell

    async def click():
        worker.submit(newer.job(lambda: iter(["new"])))
        await worker.wait()

    threads = [threading.Thread(target=asyncio.run, args=(act(),), daemon=True) for act in (cell, click)]
    threads[0].start()
    begun.wait()
    threads[1].start()
    threads[1].join(10)
    assert not threads[1].is_alive()
    assert (older.done, newer.done) == ([], ["new"])
    threads[0].join()
    worker.close()


def test_cancel_stops_at_the_next_step_and_delivers_what_was_measured_last():
    closed = threading.Event()

    def make():
        try:
            yield from counting(1000, 0.02)()
        finally:
            closed.set()

    async def main():
        seen, worker = Seen(), Worker()
        job = worker.submit(seen.job(make))
        await asyncio.sleep(0.15)
        worker.cancel()
        await worker.wait()
        worker.close()
        return seen, job

    seen, job = asyncio.run(main())
    assert job.state == "cancelled"
    assert seen.cancelled == 1
    assert closed.is_set()
    assert seen.done == []
    assert 0 < seen.partial[-1] < 100


def test_the_loop_answers_while_a_job_works():
    async def main():
        seen, worker = Seen(), Worker()
        worker.submit(seen.job(counting(10, 0.05)))
        ticks = 0
        while worker.busy:
            await asyncio.sleep(0.005)
            ticks += 1
        worker.close()
        return ticks

    assert asyncio.run(main()) > 15


def test_ten_quick_moves_make_two_calls():
    async def main():
        calls = []
        later = Debounce(lambda: calls.append(time.monotonic()), 1.0)
        for _ in range(10):
            later()
            await asyncio.sleep(0.001)
        await later.settled()
        return calls

    assert len(asyncio.run(main())) == 2


def test_what_is_set_in_one_go_makes_one_call():
    async def main():
        calls = []
        later = Debounce(lambda: calls.append(1), 0.02)
        for _ in range(3):
            later()
        await later.settled()
        await asyncio.sleep(0.06)
        return calls

    assert asyncio.run(main()) == [1]


def test_a_cancelled_debounce_does_not_call():
    async def main():
        calls = []
        later = Debounce(lambda: calls.append(1), 0.02)
        later()
        later.cancel()
        await asyncio.sleep(0.06)
        return calls

    assert asyncio.run(main()) == []


@pytest.mark.parametrize("submitted", [1, 2])
def test_started_counts_the_jobs_that_began_to_work(submitted):
    worker = Worker()
    for _ in range(submitted):
        worker.submit(Seen().job(counting(2)))
    assert worker.started == submitted


def growing(asked, *, fails=()):
    """A maker of results that grow in two steps, and refuses some names whoever else is asked for with them."""

    def make(names):
        asked.append(list(names))
        if set(names) & set(fails):
            raise ValueError(f"{sorted(set(names) & set(fails))[0]} is refused")
        for fraction in (0.5, 1.0):
            yield {name: SimpleNamespace(name=name, fraction=fraction) for name in names}

    return make


def test_steps_measure_together_what_is_not_known_and_remember_it():
    asked, known = [], {("k", "a"): SimpleNamespace(name="a", fraction=1.0)}
    steps = [Step({name: ("k", name) for name in some}, growing(asked)) for some in ("abc", "d")]
    seen = list(stepwise(steps, known))
    assert asked == [["b", "c"], ["d"]]
    assert [list(done) for done, _ in seen] == [list("abc"), list("abc"), list("abcd"), list("abcd")]
    np.testing.assert_allclose([fraction for _, fraction in seen], [1 / 3, 2 / 3, 5 / 6, 1])
    assert [known["k", name].fraction for name in "abcd"] == [1.0] * 4
    assert list(stepwise(steps, known)) == []


def test_what_fails_together_is_tried_one_by_one_and_the_error_comes_last():
    asked, known, seen = [], {}, []

    def run():
        seen.extend((list(done), fraction) for done, fraction in stepwise(steps, known))

    steps = [Step({n: n for n in "abc"}, growing(asked, fails="b")), Step({"d": "d"}, growing(asked))]
    with pytest.raises(ValueError, match="b is refused"):
        run()
    assert asked == [["a", "b", "c"], ["a"], ["b"], ["c"], ["d"]]
    assert seen[-1] == (["a", "c", "d"], 1.0)
    assert sorted(known) == ["a", "c", "d"]
    # again, what fails is all that is left to do: what is known is delivered before the error
    seen.clear()
    with pytest.raises(ValueError, match="b is refused"):
        run()
    assert seen == [(["a", "c", "d"], 1.0)]


def test_what_was_stopped_halfway_is_not_taken_for_known():
    known = {}
    running = stepwise([Step({"a": "a"}, growing([]))], known)
    next(running)
    running.close()
    assert known == {}
