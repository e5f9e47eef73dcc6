"""How faithful paths are to the training that they are drawn for: against held-out checkpoints, in three spaces.

May import: core, results, numpy, torch. All points of all paths and all checkpoints are rows of one family, observed in one pass.
"""

from __future__ import annotations

import numbers
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ..core.answers import KINDS
from ..core.clocks import Travel, travel
from ..core.evaluator import Evaluator
from ..core.family import check_states
from ..core.scope import Scope
from ..core.states import RunLike, State, check_run
from ..core.sweeping import SERIAL
from ..core.tally import Sweep
from ..results import FaithfulnessReport
from .faithful_ledger import Ledger
from .faithful_paths import CLOCKS, ORIGINS, PATHS, origin, plan
from .shared import answer, check_evaluator

HEARTBEAT = 0.2  # seconds between two partial results, about
MOST = 24  # checkpoints that are held out, where it is not said which
CONTROL_ALPHAS = np.linspace(0.0, 1.0, 21)


def iter_faithfulness(
    evaluator: Evaluator,
    run: RunLike,
    *,
    mid: int | None = None,
    mid_at: float = 0.5,
    checkpoints: Sequence[int] | None = None,
    clocks: Sequence[str] = CLOCKS,
    times: Mapping[str, Sequence[float]] | None = None,
    origins: Sequence[str] = ORIGINS,
    unrelated: State | None = None,
    samples: int | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Iterator[FaithfulnessReport]:
    """Yield partial results of `measure_faithfulness`: the numbers change after each batch of samples, the fraction before."""
    # not itself a generator function: bad input is refused when it is called, not at the first step
    check_evaluator(evaluator)
    count = len(check_run(run))
    if count < 5:
        raise ValueError(
            f"run: the ends and the knots of two paths are no test of these, so at least five checkpoints are needed, and this run "
            f"holds {count}; record more of them, such as one an epoch"
        )
    own = {name: _clock(name, stood, count) for name, stood in (times or {}).items()}
    for name, chosen, known in (("clocks", clocks, CLOCKS), ("origins", origins, ORIGINS)):
        if isinstance(chosen, str) or any(one not in known for one in chosen):
            own_clock = "; a clock of your own is times={'name': [one number for each checkpoint]}" if name == "clocks" else ""
            raise ValueError(f"{name}: a list of some of {', '.join(map(repr, known))}; received {chosen!r}{own_clock}")
    if unrelated is not None:
        if "unrelated" not in origins:
            raise ValueError(f"unrelated: weights for the origin 'unrelated', which is not among the origins {list(origins)!r}")
        unrelated = check_states(evaluator.layout, [evaluator.layout.check(unrelated, "unrelated")], "unrelated")[0]
    if not list(clocks):
        raise ValueError(f"clocks: at least one of {', '.join(map(repr, CLOCKS))}")
    if not (isinstance(mid_at, numbers.Real) and 0 < mid_at < 1):
        raise ValueError(f"mid_at: between 0 and 1, received {mid_at!r}")
    if not (isinstance(draws, int) and draws >= 2):
        raise ValueError(f"draws: a whole number of at least 2 resamples, received {draws!r}")
    middle = _half(run.epochs) if mid is None else _inner("mid", mid, count)
    held = None if checkpoints is None else sorted({_inner("checkpoints", index, count) for index in checkpoints} - {middle})
    if held is not None and not held:
        raise ValueError(f"checkpoints: at least one that is no knot; the mid knot is {middle}, received {checkpoints!r}")
    covered = evaluator.covered(samples)
    starts = dict.fromkeys(origins) | ({} if unrelated is None else {"unrelated": unrelated})
    return _reports(evaluator, run, middle, float(mid_at), held, list(clocks), own, starts, samples, covered, draws, seed)


def measure_faithfulness(
    evaluator: Evaluator,
    run: RunLike,
    *,
    mid: int | None = None,
    mid_at: float = 0.5,
    checkpoints: Sequence[int] | None = None,
    clocks: Sequence[str] = CLOCKS,
    times: Mapping[str, Sequence[float]] | None = None,
    origins: Sequence[str] = ORIGINS,
    unrelated: State | None = None,
    samples: int | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> FaithfulnessReport:
    """Return how far the linear and the quadratic path, and their controls, are from the recorded training.

    A path through checkpoints meets them by construction, so it is compared with those that are no knots. Where a checkpoint
    belongs on a path is told by a clock; a path that is right with one clock and wrong with another has the right shape and the
    wrong timing.

    Parameters
    ----------
    evaluator : Evaluator
        Paths and checkpoints are measured under one BatchNorm policy, the evaluator's. Outputs are looked at in this thread,
        whatever the evaluator's executor; "executor" in the provenance says so.
    run : Run
        At least five checkpoints.
    mid : int, optional
        Index of the mid checkpoint. Default: the one nearest to half of the epochs.
    mid_at : float
        Where on a path it is drawn on the clock of epochs (Nemcova, 2021: 0.5); on another clock it is where the clock has it.
    checkpoints : sequence of int, optional
        Which are held out; knots among them are left out. Default: all that are no knots, at most 24 spread over the run. They
        are in memory together.
    clocks : sequence of {"epochs", "arc length", "progress", "free"}
        Share of the epochs; of the way between the recorded checkpoints; of the straight way from start to end, made ascending;
        the ascending places on each path that are nearest to the checkpoints in weight space.
    times : dict of str to sequence of float, (T,), optional
        Clocks of yours beside these: where each stood at every checkpoint of the run, such as the optimiser steps, or the learning
        rate added up. Never descending; counted from the first to the last checkpoint.
    origins : sequence of {"unrelated", "noise", "zero"}
        Other starts from which straight lines to the trained weights are drawn: where the loss falls from these as it does from
        the true start, that it falls says little about the training. Empty: none.
    unrelated : mapping of str to Tensor, optional
        The origin "unrelated": initial weights of another training, such as ``other_run.initial`` of another seed. Default: the
        entries of each tensor of this run's own initial weights, in another order.
    samples : int, optional
        Measure on the first batches that hold at least so many of the evaluator's samples. Default: all.
    draws : int
        Bootstrap resamples of the samples; the same for all paths, so that differences are paired.
    seed : int
        Of the resamples and of the random origins.

    Returns
    -------
    FaithfulnessReport
        ``print(report.sentence)``, ``report.to_pandas()``.

    Raises
    ------
    ValueError
        Too few checkpoints, an unknown clock or origin, NaN in a checkpoint, a run that did not move.

    Notes
    -----
    Controls: "linear" with the clock of arc length is re-timed; "speed-only" has the quadratic path's timing on the straight
    line; "piecewise-linear" has its knots without its bend; "quadratic by distance" has its mid knot at half of the way.

    The intervals are the basic bootstrap's. Where single losses have heavy tails they are too narrow: those of a regression with
    squared errors and n = 300 held the truth in 70 to 97 % of 91 test sets. There, a narrow miss decides nothing.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> report = nv.measure_faithfulness(demo.evaluator, demo.run, draws=100)
    >>> report
    FaithfulnessReport(5 paths x 4 clocks, ... held-out checkpoints; |log loss| ... to ...; n = 450, one run, test)
    """
    return answer(
        iter_faithfulness(
            evaluator, run, mid=mid, mid_at=mid_at, checkpoints=checkpoints, clocks=clocks, times=times, origins=origins,
            unrelated=unrelated, samples=samples, draws=draws, seed=seed,
        )
    )  # fmt: skip


def _reports(
    evaluator: Evaluator, run: RunLike, mid: int, mid_at: float, held: list[int] | None, clocks: list[str],
    own: dict[str, np.ndarray], starts: dict[str, State | None], samples: int | None, covered: int, draws: int, seed: int,
) -> Iterator[FaithfulnessReport]:  # fmt: skip
    count, layout = len(run), evaluator.layout
    clocks = [*clocks, *own]
    scope = Scope.parse(None, layout)
    reading = travel(run, layout, scope)
    while True:
        try:
            share = next(reading)
        except StopIteration as finished:
            travelled: Travel = finished.value
            break
        yield FaithfulnessReport.blank(list(PATHS), clocks, mid, 0.05 * share)
    if not (np.isfinite(travelled.distance) and np.isfinite(travelled.clocks["arc length"]).all()):
        for index in range(count):
            check_states(layout, [run[index].state], "checkpoint", [index])
    travelled.clocks.update(own)
    if not travelled.distance > 0:
        raise ValueError("run: its last weights are its first, bit for bit, so there is no path; take a run that has moved")
    by_way = 1 + int(np.argmin(np.abs(travelled.clocks["arc length"][1:-1] - 0.5)))
    free = [k for k in range(1, count - 1) if k not in (mid, by_way)]
    if held is None:
        held = [free[round(k)] for k in np.linspace(0, len(free) - 1, min(MOST, len(free)))]
    held = [index for index in held if index != by_way]
    if not held:
        raise ValueError(f"checkpoints: at least one that is no knot; {by_way} is the knot at half of the way")
    indices = sorted({0, mid, by_way, count - 1, *held})
    states = check_states(layout, [run[index].state for index in indices], "checkpoint", indices)
    given = starts.get("unrelated")
    if given is not None and all(torch.equal(given[name], states[0][name]) for name in layout.shapes):
        raise ValueError("unrelated: the initial weights of another training, received those of this run")
    sources = [origin(kind, states[0], layout, seed) if state is None else state for kind, state in starts.items()]
    anchors = [*states, *sources]
    planned = plan(
        layout, scope, anchors, indices, held, (mid, by_way), mid_at, travelled, clocks, list(starts), CONTROL_ALPHAS
    )  # fmt: skip
    family = evaluator.family(None, anchors, states[-1])
    ledger = Ledger(planned, draws, seed)
    about: dict[str, Any] = {
        "paths": planned.paths, "clocks": planned.clocks, "checkpoints": np.array(held), "epochs": np.asarray(run.epochs)[held],
        "alphas": planned.alphas, "knots": planned.knots, "weights": planned.weights, "frechet": planned.frechet,
        "times": np.stack([travelled.clocks[clock][held] if clock in travelled.clocks else planned.alphas[1, c]
                           for c, clock in enumerate(clocks)]),
        "mid": mid, "mid_by_distance": by_way, "rho": float(travelled.progress[mid]), "eta": float(travelled.eta[mid]),
        "rho_by_distance": float(travelled.progress[by_way]), "eta_by_distance": float(travelled.eta[by_way]),
        "origins": planned.origins, "control_alphas": CONTROL_ALPHAS if planned.origins else np.zeros(0),
    }  # fmt: skip
    policy = evaluator.policy(scope)
    n, done, last = 0, 0, time.monotonic()
    provenance: dict[str, Any] = {}
    total = len(planned.rows) * covered
    report = FaithfulnessReport.blank(list(PATHS), clocks, mid, 0.05)
    for answers in evaluator.answers(family, planned.rows, policy=policy, samples=samples):
        if answers is not None:
            ledger.note(answers)
            done += answers.n
        fraction = 0.05 + 0.95 * done / total
        if answers is not None and answers.last:
            n += answers.n
            ledger.enter(answers)
            sweep = Sweep({}, n, fraction, answers.number + 1, SERIAL)
            provenance = provenance or evaluator.provenance(family, sweep, policy=policy)
            provenance = evaluator.updated(provenance, sweep) | {"compiled": False, "engine": answers.engine}
            report = FaithfulnessReport(
                **ledger.found(), **about, n=n, fraction=1.0 if n == covered else fraction,
                provenance={**provenance, "function": KINDS[ledger.kind], "draws": draws, "bootstrap_seed": seed,
                            "unrelated": "given" if given is not None else "permuted" if "unrelated" in starts else ""},
            )  # fmt: skip
        elif time.monotonic() - last < HEARTBEAT:
            continue
        else:
            report = replace(report, fraction=fraction)
        yield report
        last = time.monotonic()


def _clock(name: str, stood: Any, count: int) -> np.ndarray:
    """Return where a clock of the user's stood, from 0 to 1."""
    values = np.asarray(stood, dtype=float)
    if name in CLOCKS:
        raise ValueError(f"times: other names than {', '.join(map(repr, CLOCKS))}, which are clocks already; received {name!r}")
    if values.shape != (count,) or not np.isfinite(values).all() or (np.diff(values) < 0).any() or not values[-1] > values[0]:
        raise ValueError(
            f"times: {name!r} has to say of each of the {count} checkpoints where the clock stood, finite, never descending, and "
            f"later at the end than at the start; received {np.array2string(values, threshold=8)} of shape {values.shape}"
        )
    return (values - values[0]) / (values[-1] - values[0])


def _half(epochs: Any) -> int:
    """Return the index of the checkpoint nearest to half of the epochs, the earlier of two."""
    epochs = np.asarray(epochs, dtype=float)
    return 1 + int(np.argmin(np.abs(epochs[1:-1] - (epochs[0] + epochs[-1]) / 2)))


def _inner(name: str, index: Any, count: int) -> int:
    if not isinstance(index, (int, np.integer)) or isinstance(index, bool) or not -count <= index < count:
        raise ValueError(f"{name}: a checkpoint from 1 to {count - 2}, received {index!r}")
    found = int(index) % count
    if not 0 < found < count - 1:
        raise ValueError(f"{name}: a checkpoint between the first and the last, from 1 to {count - 2}; received {index!r}")
    return found
