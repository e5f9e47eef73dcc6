"""How many samples does a difference between two models take? A pilot tells.

May import: core, results, numpy, scipy. Both models are measured in one pass over the pilot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy import stats

from ..core.evaluator import Evaluator
from ..core.resampling import bootstrap_weights
from ..core.states import State
from ..results import SamplesNeeded
from ..results.sample_size import NONE_AT_ALL
from .asking import positive, share, whole
from .shared import answer
from .single_values import WEIGHED, Pass, Values, moments

_DRAWS = 1000


def iter_samples_needed(
    source: Any,
    states: Sequence[State] | None = None,
    *,
    delta: float | None = None,
    quantity: str = "loss",
    pilot: int = 500,
    confidence: float = 0.95,
    power: float = 0.8,
    seed: int = 0,
) -> Iterator[SamplesNeeded]:
    """Yield partial results of `samples_needed`: batch by batch of the pilot."""
    delta = None if delta is None else positive("delta", delta)
    confidence, power = share("confidence", confidence), share("power", power)
    pilot, seed = whole("pilot", pilot, 2), whole("seed", seed, 0)
    options = {"delta": delta, "quantity": quantity, "confidence": confidence, "power": power, "seed": seed}
    if isinstance(source, Evaluator):
        if quantity not in source.quantities:
            raise ValueError(f"quantity: one of {', '.join(map(repr, source.quantities))}; received {quantity!r}")
        if not isinstance(states, Sequence) or len(states) != 2:
            raise ValueError("states: with an evaluator, the two states (state_dict()s) whose difference is to be resolved")
        pass_ = Pass(source, list(states), min(pilot, source.n))
        return _needed(pass_.results(), options, float(source.n), pass_.provenance)
    if states is not None:
        raise ValueError("states: only with an evaluator; losses are those of two models already")
    rows = np.asarray(source, dtype=float)
    if rows.ndim != 2 or rows.shape[0] != 2 or rows.shape[1] < 2 or not np.isfinite(rows).all():
        raise ValueError(
            f"source: an evaluator, or finite losses of two models on the same samples, shape (2, n); received shape {rows.shape}"
        )
    return _needed(iter([({quantity: rows}, None, 1.0)]), options, float("nan"), dict)


def samples_needed(
    source: Any,
    states: Sequence[State] | None = None,
    *,
    delta: float | None = None,
    quantity: str = "loss",
    pilot: int = 500,
    confidence: float = 0.95,
    power: float = 0.8,
    seed: int = 0,
) -> SamplesNeeded:
    """Return how many samples a difference between two models takes, paired and unpaired, from a pilot.

    Paired, both models are measured on the same samples: n = (z s / delta)^2 with s the standard deviation of the differences of
    single samples makes an interval of +- delta. Unpaired, s^2 is the sum of the variances of both.

    Parameters
    ----------
    source : Evaluator, or array_like of shape (2, n)
        What measures the pilot; or the values of n samples for both models.
    states : two mappings of str to Tensor, optional
        With an evaluator: the models.
    delta : float, optional
        The difference to be resolved. Default: that of the pilot.
    quantity : str
        "loss", or a metric.
    pilot : int
        Samples of the pilot, with an evaluator: its first batches that hold so many.
    confidence : float
        Of the interval; z = 1.96 for 0.95.
    power : float
        Probability with which a true difference of delta is to be found, for ``paired_power`` and ``unpaired_power``.
    seed : int
        Of the bootstrap over the pilot.

    Returns
    -------
    SamplesNeeded

    Examples
    --------
    >>> import numpy as np
    >>> import nnvis_widgets as nv
    >>> both = np.array([[0.0, 1.0, 2.0, 3.0], [0.5, 1.0, 2.5, 3.0]])
    >>> needed = nv.samples_needed(both, delta=0.1)
    >>> round(needed.paired), round(needed.unpaired)
    (32, 1184)
    """
    return answer(
        iter_samples_needed(
            source, states, delta=delta, quantity=quantity, pilot=pilot, confidence=confidence, power=power, seed=seed
        )
    )


def _needed(passes: Values, options: dict[str, Any], available: float, about: Any) -> Iterator[SamplesNeeded]:
    provenance: dict[str, Any] | None = None
    for values, weights, fraction in passes:
        first, second = values[options["quantity"]]
        if len(first) < 2:
            continue
        if weights is not None and options["quantity"] == "loss":
            # what each sample adds to the weighted means: their differences have the error of the means' difference
            first, second = (m + weights * (v - m) / weights.mean() for v in (first, second) for m in [moments(v, weights)[0]])
        provenance = about() if provenance is None else provenance
        yield _needed_of(first, second, options, available, fraction, provenance, [] if weights is None else [WEIGHED])


def _needed_of(
    first: np.ndarray, second: np.ndarray, options: dict[str, Any], available: float, fraction: float, provenance: dict[str, Any],
    notes: list[str],
) -> SamplesNeeded:  # fmt: skip
    notes, n = list(notes), len(first)
    difference = second - first
    observed, sd = float(difference.mean()), float(difference.std(ddof=1))
    sds = float(first.std(ddof=1)), float(second.std(ddof=1))
    delta = abs(observed) if options["delta"] is None else options["delta"]
    z = float(stats.norm.ppf((1 + options["confidence"]) / 2))
    with_power = z + float(stats.norm.ppf(options["power"]))
    # the error is that of a mean of n, for which n - 1 stands in small pilots
    error = sd / np.sqrt(n)
    paired, unpaired, low, high = (np.nan,) * 4
    if not np.isfinite([*first, *second]).all():
        notes.append("The values are not all finite: a model has diverged, and no number of samples resolves that.")
    elif sd == 0:
        notes.append(f"All {n} samples of the pilot differ by as much, which tells nothing of the spread: take a larger pilot.")
    elif delta > 0:
        paired, unpaired = (z * sd / delta) ** 2, z**2 * (sds[0] ** 2 + sds[1] ** 2) / delta**2
        low, high = _interval((difference - observed) ** 2, (z / delta) ** 2, options)
        if options["delta"] is None and abs(observed) < z * error:
            notes.append(NONE_AT_ALL)
    correlation = np.corrcoef(first, second)[0, 1] if min(sds) > 0 else np.nan
    scale = (with_power / z) ** 2
    needed = SamplesNeeded(
        quantity=options["quantity"],
        difference=observed,
        difference_se=float(error),
        delta=float(delta),
        delta_is="observed" if options["delta"] is None else "given",
        paired=float(paired),
        paired_low=float(low),
        paired_high=float(high),
        unpaired=float(unpaired),
        paired_power=float(paired * scale),
        unpaired_power=float(unpaired * scale),
        sd_paired=sd,
        sd_first=sds[0],
        sd_second=sds[1],
        correlation=float(correlation),
        confidence=options["confidence"],
        power=options["power"],
        available=available,
        n=n,
        notes=notes,
        fraction=fraction,
        provenance=provenance,
    )
    return needed if options["delta"] is None or not np.isfinite(paired) else needed.with_delta(needed.delta)


def _interval(squares: np.ndarray, scale: float, options: dict[str, Any]) -> tuple[float, float]:
    """Return the bootstrap interval of a mean of squares times `scale`, on the scale of its logarithm."""
    n = len(squares)
    draws = (bootstrap_weights(n, _DRAWS, options["seed"]) @ squares) * n / (n - 1)
    tail = (1 - options["confidence"]) / 2
    with np.errstate(divide="ignore"):
        low, high = np.exp(np.quantile(np.log(draws), [tail, 1 - tail]))
    return float(low * scale), float(high * scale)
