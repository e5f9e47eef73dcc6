"""Tables in Markdown, and the words around them: what RESULTS.md and the screen show."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

import nnvis_widgets as nv
from benchmarks.limits import arithmetic
from benchmarks.peers import Peer
from benchmarks.ratios import Race, Row

KINDS = {"layer": "fc1 path", "model": "model path", "weight": "one weight", "surface": "surface"}


def number(value: Any) -> str:
    """Return a number with three digits that count; words stay as they are."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if not math.isfinite(value):
        return str(value)
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.2g}" if abs(value) < 0.1 else f"{value:.3g}"


def spread(values: Sequence[float]) -> str:
    """Return minimum and median of the rounds; one number for one round."""
    if not values:
        return "-"
    return number(values[0]) if len(values) == 1 else f"{number(min(values))} / {number(median(values))}"


def markdown(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table."""
    lines = [list(names), ["---"] * len(names), *([number(cell).replace("|", "/") for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def ratios(rows: Sequence[Row]) -> str:
    """Return the main table: ratios to the fastest peer, beside what is asked for."""
    names = ["task", "points", "first call", "asked", "later calls", "asked", "aim", "first, peers at best", "later, peers at best"]
    body = []
    for row in rows:
        task = row.task
        if row.skipped:
            body.append([task.name, task.total, f"skipped: {row.skipped}", *[""] * 6])
            continue
        cells = [_met(row.ratios(0), task.first), f"{task.first:g}", _met(row.ratios(-1), task.later), f"{task.later:g}", task.aim]
        body.append([task.name, task.total, *cells, spread(row.ratios(0, "best")), spread(row.ratios(-1, "best"))])
    return markdown(names, body)


def _met(values: list[float], asked: float) -> str:
    return f"**{spread(values)}**" if values and min(values) >= asked else spread(values)


def seconds(rows: Sequence[Row], limits: dict[str, Any]) -> str:
    """Return the seconds behind the ratios, beside the limits, and how far the values are from float64."""
    names = [
        "task", "fastest peer, default", "fastest peer, best", "ours, first", "ours, later", "later, in forward passes",
        "arithmetic alone", "error", "plain float32's", "exact", "settings",
    ]  # fmt: skip
    forward = min(limits.get("forwards", {}).values(), default=math.nan)
    body = []
    for row in rows:
        if row.skipped:
            continue
        later = row.times(-1)
        least: Any = "-"
        if limits:
            least = arithmetic(limits["flops"], row.task.kind, row.task.scope, row.task.total) / limits["rate"]
        verdict = row.verdict
        how = f"{'compiled' if row.how.get('compiled') else 'eager'}, batch {row.how.get('batch_size')}"
        times = [spread(row.times(0)), spread(later), min(later) / forward, least]
        exact = [verdict.error, verdict.plain, "yes" if verdict.holds else "NO", how]
        body.append([row.task.name, _fastest(row.default), _fastest(row.best), *times, *exact])
    return markdown(names, body)


def _fastest(measured: list[tuple[float, str]]) -> str:
    return f"{spread([s for s, _ in measured])} {min(measured)[1]}" if measured else "-"


def survey(race: Race) -> str:
    """Return what every peer takes a point, at its default and at every other batch size, and whether its values are right."""
    rows = []
    for kind, timings in race.survey.items():
        for peer in race.peers:
            mine = {t.batch: t for t in timings.values() if t.peer == peer.name}
            if not mine:
                continue
            default = mine.get(peer.default)
            fastest = min(mine.values(), key=lambda t: median(t.seconds))
            words = f"{spread(default.seconds)} ({peer.default or 'all data'})" if default else "failed"
            best = f"{spread(fastest.seconds)} ({fastest.batch or 'all data'})" if peer.batches else "no batch size"
            wrong = max(t.error for t in mine.values())
            claimed = max(t.claimed for t in mine.values())
            note = f"WRONG at its documented points ({claimed:.1g}), right at those it visits" if claimed > 1e-5 else ""
            rows.append([KINDS[kind], peer.name, words, best, f"{wrong:.1e}", note if wrong <= 1e-5 else "WRONG"])
    return markdown(["what", "peer", "default (batch)", "best (batch)", "relative error", "values"], rows)


def limit(limits: dict[str, Any]) -> str:
    """Return the limits of the machine."""
    if not limits:
        return "not measured\n"
    lines = [["product of two 1024 x 1024 float32 matrices", f"{limits['rate'] / 1e9:.0f} GFLOP/s"]]
    lines.append(["arithmetic of one forward pass at that rate", f"{limits['flops']['model'] / limits['rate']:.3f} s"])
    for prefix in ("eager", "compiled"):
        settings = {k: v for k, v in limits["forwards"].items() if k.startswith(prefix)}
        if settings:
            best = min(settings, key=settings.__getitem__)
            lines.append([f"one forward pass, {best} (best of {len(settings)})", f"{settings[best]:.3f} s"])
        else:
            lines.append([f"one forward pass, {prefix}", "could not be had"])
    return markdown(["limit", "value"], lines)


def machine() -> str:
    """Return the processor, memory and versions, as a line."""
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30 if hasattr(os, "sysconf") else math.nan
    versions = (
        f"nnvis_widgets {nv.__version__}, torch {torch.__version__}, numpy {np.__version__}, Python {platform.python_version()}"
    )
    name = names[0] if names else platform.processor() or platform.machine()
    return (
        f"{name}, {torch.get_num_threads()} threads of {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}. {versions}. "
        f"Matrix products: {'MKL' if torch.backends.mkl.is_available() else 'no MKL'}."
    )


def load() -> str:
    """Return the load of the machine, with a warning where others ran beside us."""
    if not hasattr(os, "getloadavg"):
        return "unknown"
    recent, average, _ = os.getloadavg()
    # our own processes keep every core busy, and no more than that
    busy = " (**busy: others ran beside this, so do not trust the numbers**)" if average > 1.25 * (os.cpu_count() or 1) else ""
    return f"{recent:.1f} over one minute, {average:.1f} over five{busy}"


def peers(running: Sequence[Peer], versions: dict[str, str], problems: Sequence[str]) -> str:
    """Return a list of the peers that ran, how they are called, and of what went wrong."""
    lines = [f"- {peer.name} {versions.get(peer.name, '')}: {peer.note}." for peer in running]
    return "\n".join([*lines, *(f"- {line}" for line in problems)] or ["- none ran"]) + "\n"
