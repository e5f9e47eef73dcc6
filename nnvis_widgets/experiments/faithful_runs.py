"""What the faithfulness reports of several trainings have in common, checked and put together.

May import: results, numpy, scipy. Nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from ..results import SPACES, FaithfulnessAgreement, FaithfulnessReport

_ALIKE = {
    "split": "the split", "batchnorm": "the BatchNorm policy", "data": "the data", "loss": "the loss",
    "function": "what is compared", "unrelated": "the unrelated origin",
}  # fmt: skip


def compare_faithfulness(reports: Sequence[FaithfulnessReport], names: Sequence[str] | None = None) -> FaithfulnessAgreement:
    """Return what the faithfulness reports of several trainings agree on: means, spreads, and the best path in each space.

    One report says what holds for one training; how much of it is chance of the seed, only other seeds say. Two give a spread, five
    or more one to rely on.

    Parameters
    ----------
    reports : sequence of FaithfulnessReport
        At least two, complete, of different trainings, measured alike: the same samples, policy, paths, clocks and origins.
    names : sequence of str, optional
        What the runs are called. Default: "run 1", "run 2", ...

    Returns
    -------
    FaithfulnessAgreement
        ``print(agreement.sentence)``, ``agreement.to_pandas()``, ``agreement.best("kl")``.

    Raises
    ------
    ValueError
        Fewer than two, one that is not complete, two of one training, or reports that were not measured alike.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demos = [nv.load_demo("digits", epochs=4, seed=seed) for seed in (0, 1)]
    >>> reports = [nv.measure_faithfulness(demo.evaluator, demo.run, draws=100) for demo in demos]
    >>> nv.compare_faithfulness(reports, ["seed 0", "seed 1"])
    FaithfulnessAgreement(2 runs, 5 paths x 4 clocks; closest in log loss: ...)
    """
    reports = list(reports)
    if len(reports) < 2 or not all(isinstance(report, FaithfulnessReport) for report in reports):
        received = ", ".join(sorted({type(report).__name__ for report in reports})) or "none"
        raise ValueError(f"reports: at least two of measure_faithfulness, received {len(reports)} ({received})")
    called = [f"run {number}" for number in range(1, len(reports) + 1)] if names is None else [str(name) for name in names]
    if len(called) != len(reports) or len(set(called)) < len(called):
        raise ValueError(f"names: {len(reports)} different ones, one for each report; received {called}")
    _check_alike(reports, called)
    first = reports[0]
    common = {name: first.provenance[name] for name in first.provenance if all(name in report.provenance for report in reports)}
    rises = np.array([report.rises()[0] for report in reports]).reshape(len(reports), len(first.origins))
    return FaithfulnessAgreement(
        paths=first.paths,
        clocks=first.clocks,
        runs=called,
        distances={space: np.stack([report.distances(space)[0] for report in reports]) for space in SPACES},
        frechet=np.stack([report.frechet for report in reports]),
        **{
            name: np.array([getattr(report, name) for report in reports])
            for name in ("rho", "eta", "rho_by_distance", "eta_by_distance")
        },
        checkpoints=[len(report.checkpoints) for report in reports],
        origins=first.origins,
        rises=rises,
        critical=float(stats.t.ppf(0.975, len(reports) - 1)),
        n=first.n,
        provenance={
            **{name: value for name, value in common.items() if all(report.provenance[name] == value for report in reports)},
            "reports": [report.provenance for report in reports],
        },
    )


def _check_alike(reports: list[FaithfulnessReport], called: list[str]) -> None:
    first = reports[0]
    trained: dict[Any, str] = {}
    for name, report in zip(called, reports, strict=True):
        if report.fraction != 1.0:
            raise ValueError(f"reports: complete ones; that of {name!r} is {report.fraction:.0%} done")
        weights = report.provenance.get("background")
        if weights is not None and weights in trained:
            raise ValueError(
                f"reports: of different trainings; those of {trained[weights]!r} and {name!r} end in the same weights, bit for "
                "bit, and one training looked at twice says nothing of another"
            )
        trained[weights] = name
        for what in ("paths", "clocks", "origins", "n"):
            one, other = getattr(first, what), getattr(report, what)
            if one != other:
                raise ValueError(f"reports: measured alike; {called[0]!r} has {what} {one!r}, {name!r} has {other!r}")
        for key, what in _ALIKE.items():
            one, other = (each.provenance.get(key) or None for each in (first, report))
            if one != other:
                raise ValueError(f"reports: measured alike; {what} of {called[0]!r} is {one!r}, that of {name!r} {other!r}")
