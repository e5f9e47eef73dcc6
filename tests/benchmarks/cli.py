"""The command: which tasks, how thoroughly, and where the tables go."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import ours, peers, scaling, table, tasks
from benchmarks.problem import ROOT, SAMPLES, thesis
from benchmarks.ratios import Race

RESULTS = Path(__file__).with_name("RESULTS.md")
QUICK_SAMPLES = 2000
PARTS = ("ratios", "limits", "resnet", "memory", "scaling")
HOW = """\
Times are seconds of wall clock; where there are several rounds, minimum / median of them. In each round the peers and we run one
after the other, and a ratio compares what was measured in one round. **Bold**: the smallest ratio reaches what is asked.

- *First call*: a fresh process with empty compile caches, from building the evaluator to the answer; imports and loading the data
  are left out, for us and for the peers. *Later calls*: the third call in that process, on a grid that is shifted each time.
- Peers: {points} points of a line and 4 of a plane are measured after a warm-up, and scaled to the number of points. A peer runs
  the whole model at every point whatever moves, so its fc1 path stands for every layer. Default: its own batch size. Best: the
  fastest of its default and {batches}.
- We return loss, accuracy and their standard errors; of the peers only nnvis returns more than the loss.
- *Error*: the largest difference to a naive float64 evaluation at three points of the first and three of the last call, in units of
  1e-6 of the value + 1e-8; beside it what a plain float32 loop is off. *Exact*: at most 1, or at most twice plain float32's, with
  equal counts of correct answers except for ties.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for and print it; with `--write` put it into RESULTS.md."""
    options = parse(arguments)
    began, load = time.time(), table.load()
    with tempfile.TemporaryDirectory() as home:
        pieces = report(options, Path(home))
    minutes = (time.time() - began) / 60
    ran = f"It ran for {minutes:.0f} minutes. Load of the machine before: {load}; after: {table.load()}."
    text = "\n".join(["# Benchmarks", "", f"{time.strftime('%Y-%m-%d')}, {table.machine()}", ran, *pieces]).rstrip() + "\n"
    print(text)
    if options.write:
        RESULTS.write_text(text, encoding="utf-8")
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round, fewer points and settings: does it all run?")
    parser.add_argument("--task", action="append", metavar="WORDS", help="only tasks whose name has these words; can be repeated")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part; can be repeated; default: all")
    parser.add_argument("--rounds", type=int, default=0, help="rounds of peers and us; default 3, with --quick 1")
    parser.add_argument("--samples", type=int, default=0, help=f"images; default {SAMPLES}, with --quick {QUICK_SAMPLES}")
    parser.add_argument("--no-peers", action="store_true", help="only what we do")
    parser.add_argument("--write", action="store_true", help="write RESULTS.md")
    options = parser.parse_args(arguments)
    options.part = options.part or (["ratios"] if options.task else list(PARTS))
    options.samples = options.samples or (QUICK_SAMPLES if options.quick else SAMPLES)
    options.rounds = options.rounds or (1 if options.quick else 3)
    return options


def report(options: argparse.Namespace, home: Path) -> list[str]:
    """Return the pieces of the report; a part that fails leaves a line that says so."""
    say("loading the data and the recorded run")
    problem = thesis(options.samples, lambda epoch, epochs: say(f"training the run, once: epoch {epoch} of {epochs}"))
    shared = tasks.directions(problem)
    problem = replace(problem, directions=shared) if shared else problem
    file = problem.save(home / "problem.pt")
    pieces = [f"{problem.builder}, {problem.about}.{' A quick run: fewer points and one round.' if options.quick else ''}", ""]
    limits = limits_of(file, options.quick) if {"limits", "ratios"} & set(options.part) else {}
    if "ratios" in options.part:
        pieces += race(options, problem, file, limits)
    if "limits" in options.part:
        pieces += ["## Limits", "", table.limit(limits)]
    for part, build in (
        ("resnet", lambda: [scaling.resnet(home, options.quick)]),
        ("memory", lambda: [scaling.memory(file, options.quick)]),
        ("scaling", lambda: scaling.costs(file, home, options.quick)),
    ):
        if part in options.part:
            pieces += section(part, build)
    return pieces


def race(options: argparse.Namespace, problem: Any, file: Path, limits: dict[str, Any]) -> list[str]:
    """Return the sections of the ratios."""
    running, problems = ([], ["left out: --no-peers"]) if options.no_peers else peers.start(file)
    points = 3 if options.quick else 5
    contest = Race(problem, file, running, points, say, peers.BATCHES[1:3] if options.quick else peers.BATCHES)
    wanted = [t for t in tasks.TASKS if not options.task or any(words in t.name for words in options.task)]
    rows = []
    try:
        for task in wanted:
            rows.append(contest.run(task.smaller() if options.quick else task, options.rounds, 2 if options.quick else 3))
    except KeyboardInterrupt:
        problems.append("interrupted: what is missing was not measured")
        options.part = [part for part in options.part if part == "limits"]  # which are there already
    finally:
        for peer in running:
            peer.close()
    how = HOW.format(points=points, batches=", ".join(map(str, contest.batches))).replace(
        "the third call", "the second call" if options.quick else "the third call"
    )
    return [
        how,
        *("## Ratios to the fastest peer at its default", "", table.ratios(rows)),
        *("## Seconds", "", table.seconds(rows, limits)),
        *("## Peers, seconds a point", "", table.survey(contest)),
        table.peers(running, peers.versions(peers.folder()), [*problems, *contest.failures]),
    ]


def section(name: str, build: Any) -> list[str]:
    """Return the tables of a part under their titles, those that were done before it failed included."""
    pieces: list[str] = []
    try:
        for title, names, rows in build():
            say(title)
            pieces += [f"## {title}", "", table.markdown(names, rows)]
    except ours.Failed as error:
        pieces += [f"## {name}", "", f"failed: {str(error).splitlines()[-1]}", ""]
    except KeyboardInterrupt:
        pieces += [f"## {name}", "", "interrupted", ""]
    return pieces


def limits_of(file: Path, quick: bool) -> dict[str, Any]:
    """Return the limits of the machine, measured in a process of its own; empty where that fails."""
    say("limits: matrix products and forward passes")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "benchmarks.limits", str(file), *(["quick"] if quick else [])]
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    if done.returncode:
        say(f"limits failed: {done.stderr.strip().splitlines()[-1]}")
        return {}
    return json.loads(done.stdout.strip().splitlines()[-1])


def say(words: str) -> None:
    """Print what is being done, apart from the tables."""
    print(words, file=sys.stderr, flush=True)
