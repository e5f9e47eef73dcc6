"""What is measured of one recorded training, and of the preliminary experiments, so that the thesis's statements can be judged.

May import: core, experiments, runs, results, and the rest of the demo. Everything comes from the package's public experiments;
what would make the files large without being looked at again (losses of single samples, resamples) is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ...core.directions import random_plane
from ...core.evaluator import Evaluator
from ...core.family import LinearPath, QuadraticPath
from ...core.principal import pca_plane
from ...core.states import RunLike
from ...experiments.choosing import Pool, moved_by
from ...experiments.course import measure_weight_course
from ...experiments.faithfulness import iter_faithfulness
from ...experiments.layers import iter_layers
from ...experiments.parameters import iter_parameters
from ...experiments.paths import iter_paths
from ...experiments.preliminary import iter_preliminary_epochs
from ...experiments.sample_size import iter_preliminary_test_size
from ...experiments.surfaces import iter_surface
from ...experiments.training import iter_training
from ...experiments.training_size import iter_preliminary_training_size
from ...results import ParameterScan, PathResult, Result
from ..training import load_demo_training
from .judging import THESIS_TEST_SHARE

Told = Callable[[str, float], Any]
CLOCKS = ("epochs", "arc length")
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, THESIS_TEST_SHARE, 0.9, 1.0)


@dataclass(frozen=True)
class Settings:
    """How much is measured; part of what a stored study is found by.

    Attributes
    ----------
    model_points, layer_points : int
        Of the paths of the model on [-0.5, 1.5] and of the layers on [0, 1].
    weights, conv_weights : int
        Drawn at random from each linear layer for the patterns, and from each of the others.
    most_moved : int
        Weights of each layer of `shown` whose paths are measured with their accuracy.
    shown : tuple of str
    scan_samples, surface_samples : int
        At most so many of the test images.
    resolution, random_planes : int
    """

    model_points: int = 41
    layer_points: int = 21
    weights: int = 96
    conv_weights: int = 12
    most_moved: int = 12
    shown: tuple[str, ...] = ("fc1", "fc3")
    scan_samples: int = 2000
    surface_samples: int = 1000
    resolution: int = 17
    random_planes: int = 5


@dataclass(frozen=True)
class Beforehand:
    """The size of the preliminary trainings.

    Attributes
    ----------
    samples, epochs : int
        Training images, and epochs, of the trainings that go on for longer.
    size_samples, size_epochs : int
        The largest of the subsets, and epochs of the trainings on them.
    seeds, subsets, halvings : int
        Independent trainings; random subsets of each size; how often the images are halved.
    """

    samples: int
    size_samples: int
    epochs: int = 20
    size_epochs: int = 15
    seeds: int = 3
    subsets: int = 2
    halvings: int = 3


def key_of(settings: Settings | Beforehand) -> dict[str, Any]:
    """Return the settings as JSON can hold them."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(settings).items()}


def studied(evaluator: Evaluator, run: RunLike, settings: Settings, tell: Told) -> dict[str, Result]:
    """Return the studies of one recorded training, by name.

    Parameters
    ----------
    evaluator : Evaluator
    run : Run
    settings : Settings
    tell : callable
        Called with what is being measured and the share of it that is done.
    """
    mid = int(np.argmin(np.abs(np.asarray(run.epochs, dtype=float) - (run.epochs[0] + run.epochs[-1]) / 2)))
    ends = run[0].state, run[mid].state, run[len(run) - 1].state
    layers = list(evaluator.layout.layers)
    both = [LinearPath(ends[0], ends[2]), QuadraticPath(*ends)]
    few = min(settings.scan_samples, evaluator.n)
    found: dict[str, Result] = {"training": _slim(_last(iter_training(evaluator, run), "the recorded training", tell))}
    wide = np.linspace(-0.5, 1.5, settings.model_points)
    found |= _paths(iter_paths(evaluator, both, [None], wide), "path", "paths of the model", tell)
    narrow = np.linspace(0.0, 1.0, settings.layer_points)
    found |= _paths(iter_paths(evaluator, both, layers, narrow), "path", "paths of the layers", tell)
    found["layers"] = _last(iter_layers(evaluator, run), "layers put back", tell)
    found["faithfulness"] = _last(iter_faithfulness(evaluator, run, mid=mid, clocks=CLOCKS, origins=()), "faithfulness", tell)
    sizes = np.unique(np.round(evaluator.n * np.array(SHARES)).astype(int))
    found["test-size"] = _last(
        iter_preliminary_test_size(evaluator, state=ends[2], sizes=sizes[sizes > 1].tolist()), "test images", tell
    )
    for layer in layers:
        linear = len(evaluator.layout.shapes[evaluator.layout.layers[layer][0]]) <= 2
        count = settings.weights if linear else settings.conv_weights
        steps = iter_parameters(evaluator, run, layer, count=count, choose="random", mid=mid, samples=few)
        scan: ParameterScan = _last(steps, f"weights of {layer}", tell)
        found[f"scan/{layer}"] = replace(scan, resampled=None)
        found[f"course/{layer}"] = measure_weight_course(run, scan.index)
    moved = moved_by(ends[0], ends[2])
    chosen = [index for layer in settings.shown for index in Pool(layer, evaluator.layout).largest(settings.most_moved, moved)]
    found |= _paths(iter_paths(evaluator, both, chosen, wide), "weight", "weights that moved most", tell)
    return found | _surfaces(evaluator, run, settings, tell)


def _surfaces(evaluator: Evaluator, run: RunLike, settings: Settings, tell: Told) -> dict[str, Result]:
    found: dict[str, Result] = {}
    final = run[len(run) - 1].state
    planes = {"pca": pca_plane(run, model=evaluator.model)}
    planes |= {f"random {seed}": random_plane(final, seed=seed, model=evaluator.model) for seed in range(settings.random_planes)}
    for name, plane in planes.items():
        found[f"trajectory/{name}"] = plane.project(run)
    some = min(settings.surface_samples, evaluator.n)
    for name in ("pca", "random 0"):
        steps = iter_surface(evaluator, planes[name], resolution=settings.resolution, samples=some)
        found[f"surface/{name}"] = _last(steps, f"surface on the {name} plane", tell).with_trajectory(found[f"trajectory/{name}"])
    return found


def beforehand(data: str, sizes: Beforehand, tell: Told, *, trainings: Any, **source: Any) -> dict[str, Result]:
    """Return the preliminary experiments on the demo's training images, by name.

    Parameters
    ----------
    data : str
    sizes : Beforehand
    tell : callable
    trainings : path
        Keeps finished trainings, see `preliminary_epochs`.
    **source
        root, cache, device of `load_demo_training`.
    """
    demo = load_demo_training(data, samples=sizes.samples, **source)
    steps: Iterator[Any] = iter_preliminary_epochs(
        demo.train, demo.evaluators, demo.data, epochs=sizes.epochs, seeds=sizes.seeds, folder=trainings
    )
    epochs = _last(steps, "trainings: epochs", tell)
    demo = load_demo_training(data, samples=sizes.size_samples, **source)
    parts = sorted(sizes.size_samples // 2**k for k in range(sizes.halvings + 1))
    steps = iter_preliminary_training_size(
        demo.train, demo.evaluators, demo.data, epochs=sizes.size_epochs, sizes=parts, subsets=sizes.subsets, seeds=sizes.seeds,
        folder=trainings,
    )  # fmt: skip
    return {"epochs": epochs, "training-size": _last(steps, "trainings: sizes", tell)}


def _last(results: Iterator[Any], what: str, tell: Told) -> Any:
    for result in results:
        tell(what, result.fraction)
    return result


def _paths(results: Iterator[Any], prefix: str, what: str, tell: Told) -> dict[str, Result]:
    for found in results:
        tell(what, min(path.fraction for path in found.values()))
    return {f"{prefix}/{scope}/{kind}": _slim(path) for (scope, kind), path in found.items()}


def _slim(path: PathResult) -> PathResult:
    return replace(path, sample_losses=None)
