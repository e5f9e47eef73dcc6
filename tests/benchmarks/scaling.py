"""How cost grows: with points, samples, parameters, threads, workers; and what memory a surface takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import ours
from benchmarks.problem import plain_loop, random_problem
from benchmarks.tasks import RESNET, TASKS, Task
from benchmarks.truth import Truth

BY_NAME = {task.name: task for task in TASKS}
FC1, MODEL, SURFACE = BY_NAME["fc1 path"], BY_NAME["model path"], BY_NAME["surface"]
Row = list[Any]
Table = tuple[str, list[str], list[Row]]


def later(problem: Path, task: Task, **options: Any) -> float | str:
    """Return the seconds of a later call, or the line that says why there are none."""
    answer = ours.launch(problem, task, **options)
    return answer.get("skipped") or answer["calls"][-1]["seconds"]


def costs(file: Path, folder: Path, quick: bool) -> Iterator[Table]:
    """Yield a table for each way in which cost can grow; every number is a later call in a process of its own."""
    points = (11, 41) if quick else (11, 41, 161)
    small = replace(MODEL, points=11) if quick else MODEL
    yield (
        "Points (seconds of a later call)",
        ["path", *(f"{k} points" for k in points)],
        [[task.name, *(later(file, replace(task, points=k)) for k in points)] for task in (FC1, MODEL)],
    )
    samples = (2000, 8000) if quick else (1000, 2000, 4000, 8000)
    yield (
        "Samples",
        ["path", *(f"{n} samples" for n in samples)],
        [[f"{task.name}, {task.points} points", *(later(file, task, samples=n) for n in samples)] for task in (FC1, small)],
    )
    sizes = (125, 250, 500) if quick else (64, 125, 250, 500, 1000, 2000)
    yield (
        "Batch size",
        ["path", *(f"{n} samples a batch" for n in sizes), "auto"],
        [
            [
                f"{task.name}, {task.points} points",
                *(later(file, replace(task, options={"batch_size": n})) for n in sizes),
                _chosen(file, task),
            ]
            for task in (FC1, small)
        ],
    )
    yield "Compiler", ["path", "points are", "first call", "later call"], list(_compiled(file, small))
    yield "Parameters", ["model", "weights", "path", "seconds", "in forward passes"], list(_widths(folder, quick))
    yield (
        "Threads",
        ["path", "1 thread", "2 threads"],
        [[f"{task.name}, {task.points} points", *(later(file, task, threads=n) for n in (1, 2))] for task in (FC1, small)],
    )
    workers = (1, 2)
    yield (
        "Workers (processes, one thread each)",
        ["path", *(f"{n} workers" for n in workers)],
        [[f"{small.name}, {small.points} points", *(later(file, small, threads=1, workers=n) for n in workers)]],
    )


def _chosen(file: Path, task: Task) -> str:
    answer = ours.launch(file, task)
    return answer.get("skipped") or f"{answer['calls'][-1]['seconds']:.3g} ({answer['calls'][-1]['how']['batch_size']})"


def _compiled(file: Path, task: Task) -> Iterator[Row]:
    for words, compiling in (("recorded", False), ("recorded and compiled", True)):
        answer = ours.launch(file, replace(task, options={"compile": compiling}))
        calls = [answer.get("skipped")] * 2 if "skipped" in answer else [call["seconds"] for call in answer["calls"]]
        yield [f"{task.name}, {task.points} points", words, calls[0], calls[-1]]


def _widths(folder: Path, quick: bool) -> Iterator[Row]:
    for builder in ("LeNet", "LeNet x 2") if quick else ("LeNet", "LeNet x 2", "LeNet x 4"):
        problem = random_problem(builder, (1, 32, 32), 2000)
        file = problem.save(folder / "wide.pt")
        count = sum(p.numel() for p in problem.model().parameters())
        forward = _seconds(lambda p=problem: plain_loop(p.model(), *p.data, 250))
        for task in (FC1, replace(MODEL, points=11)):
            seconds = later(file, task)
            share = seconds / forward if isinstance(seconds, float) else ""
            yield [builder, count, f"{task.name}, {task.points} points, 2000 samples", seconds, share]


def memory(file: Path, quick: bool) -> Table:
    """Return the peak memory of surfaces above the loaded data and model, and the time to the first picture."""
    rows: list[Row] = []
    for resolution in (9, 17) if quick else (9, 17, 33):
        task = replace(SURFACE, points=resolution)
        full = ours.launch(file, task, calls=1)
        if "skipped" in full:
            return "Memory and first picture of a surface", ["surface", "result"], [[SURFACE.name, full["skipped"]]]
        first = ours.launch(file, task, calls=2, picture=True)["calls"]
        peak = full.get("peak_mb", "unknown")
        rows.append([f"{resolution} x {resolution}", peak, first[0]["seconds"], first[1]["seconds"], f"{first[1]['drawn']} points"])
    names = ["surface", "peak above data and model, MB", "first picture, first call", "later call", "it shows"]
    return "Memory and first picture of a surface (seconds)", names, rows


def resnet(folder: Path, quick: bool) -> Table:
    """Return a late layer's path of a ResNet-18 against a plain loop over the same points, with its error."""
    problem = random_problem("ResNet-18", (3, 32, 32), 64 if quick else 256)
    file = problem.save(folder / "resnet.pt")
    task = replace(RESNET, points=11) if quick else RESNET
    loop = min(_seconds(lambda b=b: plain_loop(problem.model(), *problem.data, b)) for b in (32, 64, 128))
    answer = ours.launch(file, task)
    truth = Truth(problem, 64)
    first, last = answer["calls"][0], answer["calls"][-1]
    # two points: a forward pass in float64 is slow here
    verdict = truth.check(task.scope, last["rows"][:2], last["loss"][:2], last["correct"][:2])
    row = [
        f"{task.name}, {task.points} points, {problem.about}",
        loop * task.points,
        first["seconds"],
        last["seconds"],
        loop * task.points / last["seconds"],
        task.later,
        verdict.error,
        verdict.plain,
        "yes" if verdict.holds else "NO",
    ]
    names = ["task", "plain loop", "first call", "later call", "ratio", "asked", "error", "plain float32's", "exact"]
    return "A larger model", names, [row]


def _seconds(work: Callable[[], Any]) -> float:
    work()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
