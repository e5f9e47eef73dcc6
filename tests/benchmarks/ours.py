"""A fresh process that does one of our tasks a few times: `python -m benchmarks.ours file options`, one line of JSON.

Compile caches and the package's own cache are empty. Imports, data and model are loaded before the clock starts; building the
evaluator, tracing, planning and compiling are inside the first call.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.problem import ROOT

CHECKED = 3  # points of a call whose values are sent back for the cross-check
LIMIT = 1800  # seconds for a process; the longest task takes a few minutes


class Failed(Exception):
    """A process of a task that gave no answer; the text is the end of what it said."""


def launch(
    problem: Path, task: Any, *, calls: int = 2, threads: int = 0, workers: int = 0, samples: int = 0, picture: bool = False
):
    """Return what a fresh process measured: seconds of each call, values, memory; `{"skipped": why}` where the API lacks it."""
    ask = {"task": asdict(task), "calls": calls, "threads": threads, "workers": workers, "samples": samples, "picture": picture}
    with tempfile.TemporaryDirectory() as empty:
        caches = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton", "XDG_CACHE_HOME": "cache"}
        env = {**os.environ, **{name: str(Path(empty) / folder) for name, folder in caches.items()}}
        env["PYTHONPATH"] = os.pathsep.join([str(ROOT / "tests"), str(ROOT), env.get("PYTHONPATH", "")])
        command = [sys.executable, "-m", "benchmarks.ours", str(problem), json.dumps(ask)]
        try:
            done = subprocess.run(command, env=env, cwd=empty, capture_output=True, text=True, timeout=LIMIT)
        except subprocess.TimeoutExpired:
            raise Failed(f"no answer in {LIMIT} seconds") from None
    if done.returncode:
        raise Failed(done.stderr.strip()[-600:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def measure(path: str, ask: dict[str, Any]) -> dict[str, Any]:
    """Return the measurements of this process (see `launch`)."""
    import torch

    from benchmarks import tasks
    from benchmarks.problem import Problem

    if ask["threads"]:
        torch.set_num_threads(ask["threads"])
    problem = Problem.load(path)
    if ask["samples"]:
        problem = replace(problem, images=problem.images[: ask["samples"]], labels=problem.labels[: ask["samples"]])
    task = tasks.Task(**ask["task"])
    try:
        tasks.ready(task)
        model = problem.model()
        before = watch_memory()
        return {"calls": list(_calls(tasks, problem, model, task, ask)), **_memory(before)}
    except tasks.NotThere as missing:
        return {"skipped": str(missing)}


def _calls(tasks: Any, problem: Any, model: Any, task: Any, ask: dict[str, Any]):
    began = time.perf_counter()
    evaluator = tasks.evaluator(problem, model, task, ask["workers"])
    for number in range(ask["calls"]):
        if ask["picture"]:
            shown = next(drawn for drawn in tasks.pictures(problem, evaluator, task, number * tasks.SHIFT) if drawn)
            yield {"seconds": time.perf_counter() - began, "drawn": shown}
        else:
            answer = tasks.run(problem, evaluator, task, number * tasks.SHIFT)
            seconds = time.perf_counter() - began
            keep = sorted({round(k * (len(answer.loss) - 1) / (CHECKED - 1)) for k in range(CHECKED)})
            # the point before the last one, where the end itself is stored weights and would check no mixing
            keep = [max(k - 1, 0) if k == len(answer.loss) - 1 else k for k in keep]
            scope = list(answer.scope) if isinstance(answer.scope, tuple) else answer.scope
            yield {
                "seconds": seconds,
                "scope": scope,
                "rows": answer.rows[keep].tolist(),
                "loss": answer.loss[keep].tolist(),
                "correct": answer.correct[keep].tolist(),
                "how": answer.how,
            }
        began = time.perf_counter()


def watch_memory() -> int:
    """Return the bytes in use now, and let the kernel forget the peak so far (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return 0
    return _status("VmRSS")


def _memory(before: int) -> dict[str, Any]:
    """Return the peak of this process above `before` in MB, compilers that it starts left out; empty where unknown."""
    return {"peak_mb": (_status("VmHWM") - before) / 1e6} if before else {}


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], json.loads(sys.argv[2]))))
