"""From studies to claims: what the numbers of a run say, each with its interval and the bound that it is held against.

May import: core, results, numpy, scipy. Studies come by name, as `studying` measures them; no function here measures anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from ...core.resampling import Z95, wilson
from ...results import Claim, FaithfulnessReport, LayerStudy, PathResult, Trajectory
from ...results.patterns import SHAPES
from .intervals import median_interval, percent, quotient, tau

Studies = Mapping[str, Any]
NAN = float("nan")
POINTS = "points"
SMALL = 0.01  # of the loss: what no longer counts as better
THESIS_EPOCHS, THESIS_TEST_SHARE = 15, 0.8
STABLE = 0.2  # points of accuracy
SAME = 0.75  # of an error: from here on a spread is taken to show it; 100 repeats know it to about a seventh
SHARE = 10.0  # per cent of a gain: from here on it is held to be a reason
READ = 0.05  # points: the changes of accuracy along a weight's path that are read as effects
TURNS_FROM = 0.625  # rho from which the quadratic path turns round on [-0.5, 1.5]
SPACES = {"log_loss": "|log loss|", "weights": "weights", "kl": "predictions (KL)"}
FIRST_TWO = ("fc1", "conv1")


def of_kind(studies: Studies, prefix: str) -> list[Any]:
    """Return the studies whose names begin with a prefix, such as "scan/"."""
    return [study for name, study in studies.items() if name.startswith(prefix)]


def accuracy(studies: Studies) -> list[Claim]:
    """About 98 %: at least 97.5."""
    run: PathResult = studies["training"]
    value = float(run.metrics["accuracy"][-1])
    return [Claim("accuracy on the test images", *percent(value, *wilson(value, run.n)), bound=97.5, unit="%")]


def last_epochs(studies: Studies) -> list[Claim]:
    """What the last three epochs of the recorded training still brought."""
    run: PathResult = studies["training"]
    at = max(len(run.loss) - 4, 0)
    gain, half = float(run.loss[at] - run.loss[-1]), Z95 * float(run.diff_se[at])
    return [Claim("fall of the test loss in the last three epochs", gain, gain - half, gain + half, bound=SMALL, above=False)]


def more_epochs(studies: Studies) -> list[Claim]:
    """Is the loss after fifteen epochs as low as it gets in longer trainings, and does the learning rate still allow more?"""
    arm, study = next((name.removeprefix("epochs/"), study) for name, study in studies.items() if name.startswith("epochs/"))
    a = study.arms.index(arm)
    at = int(np.argmin(np.abs(study.epochs - THESIS_EPOCHS)))
    # the last epoch is no more than a minimum at the end above it, however much there was to come
    excess, high = (float(study.excess[a, at]), float(study.excess_high[a, at])) if at < len(study.epochs) - 1 else (NAN, NAN)
    enough = np.flatnonzero(study.epochs == study.chosen[a])
    left = float(study.rate_left[a, enough[0]]) if len(enough) else NAN
    return [
        Claim(
            f"validation loss after {THESIS_EPOCHS} of {study.epochs[-1]} epochs, above the lowest",
            excess, excess, high, bound=SMALL, above=False,
        ),
        Claim("learning rate in the first epoch that is enough, of its first value", left, left, left, bound=0.1),
    ]  # fmt: skip


def training_size(studies: Studies) -> list[Claim]:
    """How much of what more training images bring at equal epochs is left where the number of steps is equal too."""
    study = studies["training-size"]
    if len(study.arms) < 2:
        return [Claim("share that is left at equal steps", NAN, NAN, NAN, bound=0.8)]
    ends = zip(study.mean, study.low, study.high, strict=True)
    falls = [(float(m[0] - m[-1]), float(low[0] - high[-1]), float(high[0] - low[-1])) for m, low, high in ends]
    what = f"fall of the loss from {study.sizes[0]} to {study.sizes[-1]} images at equal steps, over that at equal epochs"
    return [Claim(what, *quotient(falls[1], falls[0]), bound=0.8)]


def test_size(studies: Studies) -> list[Claim]:
    """How far means of random subsets of 80 % spread, and whether that is how far they are from the truth."""
    study = studies["test-size"]
    at = int(np.argmin(np.abs(study.sizes - THESIS_TEST_SHARE * study.population)))
    observed, error, df = float(study.observed["accuracy"][at]), float(study.error["accuracy"][at]), study.repeats - 1
    low, high = (math.sqrt(df / stats.chi2.ppf(q, df)) for q in (0.975, 0.025))
    half, ratio = Z95 * observed * 100, observed / error if error else NAN
    subsets = f"random subsets of {study.sizes[at]} of {study.population} test images, {study.repeats} repeats"
    return [
        Claim(f"± 1.96 SD of the accuracy in {subsets}", half, half * low, half * high, bound=STABLE, above=False, unit=POINTS),
        Claim("that spread over the error of so many images about the population", ratio, ratio * low, ratio * high, bound=SAME),
    ]


def layer_order(studies: Studies) -> list[Claim]:
    """Is the rise of the loss largest where fc1 is put back, and next where conv1 is; and so with the accuracy?"""
    study: LayerStudy = studies["layers"]
    rises, lows, highs = study.loss_rise, study.loss_rise_low, study.loss_rise_high
    claims, behind = [], list(range(len(study.layers)))
    for layer in FIRST_TWO:
        at = study.layers.index(layer)
        behind.remove(at)
        others = (rises[behind].max(), highs[behind].max(), lows[behind].max())
        gap = (float(one[at] - most) for one, most in zip((rises, lows, highs), others, strict=True))
        names = ", ".join(study.layers[other] for other in behind)
        claims.append(Claim(f"rise of the loss from resetting {layer}, minus the largest from {names}", *gap, bound=0.0))
    ranks = (-study.criticality).argsort().argsort() + 1
    for place, layer in enumerate(FIRST_TWO, start=1):
        at = study.layers.index(layer)
        ends = float(study.rank_low[at]), float(study.rank_high[at])
        claims.append(
            Claim(f"rank of {layer} by the drop of the accuracy", float(ranks[at]), *ends, bound=place + 0.5, above=False)
        )
    return claims


def harmful_layers(studies: Studies) -> list[Claim]:
    """Criticality of fc1 and conv1: 1 is all that was learnt."""
    study: LayerStudy = studies["layers"]
    rows = [(layer, study.layers.index(layer)) for layer in FIRST_TWO]
    return [
        Claim(
            f"criticality of {layer}",
            *(float(x[at]) for x in (study.criticality, study.low, study.high)),
            bound=study.critical_above,
        )
        for layer, at in rows
    ]


def harmless_layers(studies: Studies) -> list[Claim]:
    """Drop of the accuracy where one of the other layers is put back."""
    study: LayerStudy = studies["layers"]
    rows = [(layer, at) for at, layer in enumerate(study.layers) if layer not in FIRST_TWO]
    drops = (study.accuracy_drop, study.accuracy_drop_low, study.accuracy_drop_high)
    return [
        Claim(
            f"drop of the accuracy without {layer}",
            *(100 * float(x[at]) for x in drops),
            bound=100 * study.margin,
            above=False,
            unit=POINTS,
        )
        for layer, at in rows
    ]


def meeting(studies: Studies) -> list[Claim]:
    """The loss of the quadratic path at alpha 1/2 and of the checkpoint that it is drawn through."""
    report: FaithfulnessReport = studies["faithfulness"]
    gap = abs(math.log(studies["path/model/quadratic"].at(0.5)) - math.log(float(studies["training"].loss[report.mid])))
    return [Claim("|log L(quadratic, 1/2) - log L(mid checkpoint)|", gap, gap, gap, bound=SMALL, above=False)]


def quadratic_nearer(studies: Studies) -> list[Claim]:
    """By how much the linear path is farther from the held-out checkpoints than the quadratic one, in three spaces."""
    report: FaithfulnessReport = studies["faithfulness"]
    gains = {name: report.difference(("linear", "epochs"), ("quadratic", "epochs"), space) for space, name in SPACES.items()}
    what = "linear minus quadratic path: distance to the training in"
    return [Claim(f"{what} {name}", *gain, bound=0.0) for name, gain in gains.items()]


def bend_helps(studies: Studies) -> list[Claim]:
    """How much of what the quadratic path gains goes with its bend; and by how much the line is farther when it is re-timed."""
    report: FaithfulnessReport = studies["faithfulness"]
    quadratic, claims = ("quadratic", "epochs"), []
    for space, name in SPACES.items():
        bend = report.difference(("speed-only", "epochs"), quadratic, space)
        share = percent(*quotient(bend, report.difference(("linear", "epochs"), quadratic, space)))
        claims.append(Claim(f"of the gain over the line in {name}, what goes with the bend", *share, bound=SHARE, unit="%"))
    retimed = report.difference(("linear", "arc length"), quadratic, "log_loss")
    return [*claims, Claim("re-timed line minus quadratic path: distance to the training in |log loss|", *retimed, bound=0.0)]


def running_away(studies: Studies) -> list[Claim]:
    """The loss of the quadratic path outside of [0, 1] over that of the linear one."""
    linear, quadratic = (studies[f"path/model/{kind}"] for kind in ("linear", "quadratic"))
    claims = []
    for alpha in (-0.5, 1.5):
        (at,), (bt,) = (np.flatnonzero(np.isclose(path.alphas, alpha)) for path in (linear, quadratic))
        log = math.log10(quadratic.loss[bt] / linear.loss[at])
        # as if independent; on the same samples the error of the ratio is smaller
        se = math.hypot(quadratic.loss_se[bt] / quadratic.loss[bt], linear.loss_se[at] / linear.loss[at]) / math.log(10)
        claims.append(
            Claim(f"log10 of the loss at alpha {alpha:g}, quadratic over linear", log, log - Z95 * se, log + Z95 * se, bound=0.0)
        )
    return claims


def distance_and_effect(studies: Studies) -> list[Claim]:
    """Do weights of one layer that moved farther change the loss more?"""
    scans = of_kind(studies, "scan/")
    inside = [(scan.alphas >= 0) & (scan.alphas <= 1) for scan in scans]
    pairs = [(scan.distance, np.ptp(scan.linear[:, part], axis=1)) for scan, part in zip(scans, inside, strict=True)]
    return [Claim("Kendall's tau of distance and range of the loss on [0, 1], within layers", *tau(pairs), bound=0.0)]


def five_patterns(studies: Studies) -> list[Claim]:
    """The share of randomly chosen weights whose two curves make one of the five patterns, and how many of these are seen."""
    names = [name for scan in of_kind(studies, "scan/") for name in scan.pattern if name not in ("not-moved", "no-effect", "")]
    seen = float(len(set(names) & set(SHAPES)))
    return [
        _share("weights whose two curves make one of the five patterns", [name in SHAPES for name in names], bound=0.9),
        Claim("patterns of the five that are seen", seen, seen, seen, bound=4.5),
    ]


def bump_rule(studies: Studies) -> list[Claim]:
    """Weights with a bump: has the linear curve turned up before alpha 1? Weights with one minimum: does it still fall there?"""
    bump, single = [], []
    for scan in of_kind(studies, "scan/"):
        turning = ~scan.mirrored & np.isfinite(scan.u_star) & (scan.rho >= TURNS_FROM)
        for sequence, lowest in zip(np.array(scan.sequence)[turning], scan.u_star[turning], strict=True):
            if "mMm" in sequence:
                bump.append(bool(lowest < 1))
            elif sequence == "m":
                single.append(bool(lowest >= 1))
    return [
        _share("of the weights with a bump, those whose linear curve rises before alpha 1", bump, bound=0.9),
        _share("of those with one minimum, those whose linear curve still falls at alpha 1", single, bound=0.9),
    ]


def small_changes(studies: Studies) -> list[Claim]:
    """What change of the accuracy can be told, from one value or from samples that are classified otherwise; and is there one?"""
    run: PathResult = studies["training"]
    low, high = wilson(float(run.metrics["accuracy"][-1]), run.n)
    single, paired = 50 * (high - low), 100 * 6 / run.n  # 6 of 6 changed samples on one side: exact sign test, p = 0.03
    largest = []
    for path in (path for path in of_kind(studies, "weight/") if path.kind == "linear"):
        inside = path.metrics["accuracy"][(path.alphas >= 0) & (path.alphas <= 1)]
        largest.append(100 * float(np.abs(inside - inside[-1]).max()))
    middle = float(np.median(largest)), *median_interval(largest)
    return [
        Claim("largest change on the linear path in [0, 1], median of the most moved weights", *middle, bound=paired, unit=POINTS),
        Claim("half the 95 % interval of one accuracy", single, single, single, bound=READ, above=False, unit=POINTS),
        Claim("smallest change that a paired test can establish", paired, paired, paired, bound=READ, above=False, unit=POINTS),
    ]


def oscillation(studies: Studies) -> list[Claim]:
    """Do weights whose quadratic curve has more extrema turn back more often while the network is trained?"""
    layers = [name.removeprefix("scan/") for name in studies if name.startswith("scan/")]
    extrema = [np.array([len(sequence) for sequence in studies[f"scan/{layer}"].sequence], dtype=float) for layer in layers]
    turns = [studies[f"course/{layer}"].turns.astype(float) for layer in layers]
    found = tau(list(zip(extrema, turns, strict=True)))
    what = "Kendall's tau of extrema of the quadratic curve and turns during training"
    return [Claim(what, *found, bound=0.0), Claim(what, *found, bound=0.5)]


def planes(studies: Studies) -> list[Claim]:
    """The share of the checkpoints' squared distance that random planes show, and of the variance in the principal plane."""
    shares = [100 * float((1 - one.off_plane[:-1] ** 2).mean()) for one in of_kind(studies, "trajectory/random")]
    mean = float(np.mean(shares))
    half = float(stats.t.ppf(0.975, len(shares) - 1) * np.std(shares, ddof=1) / math.sqrt(len(shares))) if len(shares) > 1 else NAN
    principal: Trajectory = studies["trajectory/pca"]
    explained = NAN if principal.explained is None else 100 * float(principal.explained.sum())
    return [
        Claim(
            "of the squared distance of the checkpoints in random planes",
            mean,
            max(mean - half, 0.0),
            mean + half,
            bound=5.0,
            above=False,
            unit="%",
        ),
        Claim("of the variance of the training in its principal plane", explained, explained, explained, bound=90.0, unit="%"),
    ]


def _share(what: str, hits: Sequence[bool], bound: float) -> Claim:
    if not hits:
        return Claim(what, NAN, NAN, NAN, bound=100 * bound, unit="%")
    value = float(np.mean(hits))
    return Claim(what, *percent(value, *wilson(value, len(hits))), bound=100 * bound, unit="%")
