"""The thesis's statements on the demo: recorded trainings and their studies, taken from the user's cache or measured now.

May import: anything of ours. Studies are stored by content: the recorded run (its own key covers data, settings and seed), what was
measured of it, and the version of this package.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ... import __version__
from ...core.states import digest
from ...results import Result, ResultSet, Statements, load
from ...store import StoreError
from ..images import SCHEDULES, cache_folder, check_names
from ..recorded import Demo, load_demo
from .chapter import STATEMENTS, Statement
from .deciding import Evidence, judged
from .studying import Beforehand, Settings, Told, beforehand, key_of, studied

RECIPE = 1  # one more where the same settings would give other studies
PRELIMINARY = {
    "digits": Beforehand(320, 320, seeds=2, halvings=1, size_epochs=10),
    "mnist": Beforehand(20_000, 5000),
    "fashion-mnist": Beforehand(20_000, 5000),
}
# of the digits as much as a minute allows
SETTINGS = {"digits": Settings(weights=20, conv_weights=5, resolution=13), "mnist": Settings(), "fashion-mnist": Settings()}
ARMS = {"decayed": "step", "constant": "constant"}  # what a training calls the schedule of a run
MNIST_ROOT = "NNVIS_MNIST"  # the environment variable that names the folder of torchvision's data sets


@dataclass(frozen=True, eq=False)
class Thesis:
    """The statements of the thesis's sixth chapter, and the studies that decide on them.

    Attributes
    ----------
    data : str
    statements : Statements
    evidence : list of Evidence
        One for each run, named "schedule seed"; the preliminary experiments are named "schedule preliminary".
    """

    data: str
    statements: Statements
    evidence: list[Evidence]

    def __repr__(self) -> str:
        return f"Thesis({self.data}: {', '.join(one.name for one in self.evidence)})\n{self.statements!r}"

    def studies(self, schedule: str = "step", seed: int = 0) -> dict[str, Any]:
        """Return the studies of one run by name: "training", "path/fc1/linear", "layers", "scan/fc1", "surface/pca", ..."""
        return self._named(f"{schedule} {seed}")

    def preliminary(self) -> dict[str, Any]:
        """Return the preliminary experiments: "epochs" and "training-size"; empty where they were not made."""
        found: dict[str, Any] = {}
        for one in self.evidence:
            for name, study in one.studies.items():
                if name.startswith(("epochs/", "training-size")):
                    found[name.partition("/")[0]] = study
        return found

    def _named(self, name: str) -> dict[str, Any]:
        for one in self.evidence:
            if one.name == name:
                return dict(one.studies)
        raise KeyError(f"schedule, seed: one of {', '.join(one.name for one in self.evidence)}; received {name!r}")


def load_thesis(
    data: str = "auto",
    *,
    seeds: Sequence[int] = (0,),
    schedules: Sequence[str] = SCHEDULES,
    preliminary: bool = True,
    settings: Settings | None = None,
    root: str | os.PathLike | None = None,
    cache: str | os.PathLike | None = None,
    device: str = "auto",
    again: bool = False,
    statements: Sequence[Statement] = STATEMENTS,
    progress: Callable[[str, float], Any] | None = None,
) -> Thesis:
    """Return the thesis's statements with our numbers and verdicts, from stored studies or measured now.

    Parameters
    ----------
    data : {"auto", "digits", "mnist", "fashion-mnist"}
        "auto": MNIST where `root`, or the environment variable NNVIS_MNIST, names a folder that holds it; else the digits.
    seeds : sequence of int
        One training each, with every schedule.
    schedules : sequence of {"step", "constant"}
    preliminary : bool
        Also the preliminary experiments: several short trainings.
    settings : Settings, optional
        How much is measured. Default: of the digits less than of MNIST.
    root, cache, device : optional
        As for `load_demo`.
    again : bool
        Measure, and train what is preliminary, whether it is stored or not. Recorded trainings are kept.
    statements : sequence of Statement
    progress : callable, optional
        Called with what is being done and the share of it that is done.

    Returns
    -------
    Thesis
        ``.statements``, ``.statements["first-layer"]``, ``.studies("step", 0)``.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> thesis = nv.load_thesis("digits")  # doctest: +SKIP
    >>> thesis.statements["meets-training"]  # doctest: +SKIP
    Statements(1 statements, 1 claims x 4 runs: 1 holds; n = 450)
    >>> thesis.studies("constant", 0)["layers"].to_pandas()  # doctest: +SKIP

    About a minute the first time; ``nv.load_thesis("mnist", root="data", seeds=(0, 1, 2, 3, 4))`` about an hour. What the latter
    says is stored:

    >>> from nnvis_widgets.demo import thesis
    >>> thesis.on_mnist().statements["meets-training"].verdict("meets-training")
    'holds'
    """
    data, root = _found(data, root)
    check_names(data=data)
    wanted = [(_schedule(schedule), _seed(seed)) for schedule in schedules for seed in seeds]
    if not wanted or len(set(wanted)) < len(wanted):
        raise ValueError(f"seeds, schedules: at least one of each, and none twice; received {list(seeds)} and {list(schedules)}")
    home = Path(cache) if cache is not None else cache_folder()
    settings = settings or SETTINGS[data]
    tell = progress or _quiet
    source: dict[str, Any] = {"root": root, "cache": cache, "device": device}
    evidence = []
    for schedule, seed in wanted:
        told = _telling(f"{schedule} {seed}", tell)
        demo = load_demo(data, seed=seed, schedule=schedule, progress=_epochs(told), **source)
        place = _place(home, f"{data}-{schedule}-{seed}", key_of(settings), demo)
        studies = _stored(place, again, partial(studied, demo.evaluator, demo.run, settings, told))
        evidence.append(Evidence(f"{schedule} {seed}", schedule, studies))
    if preliminary:
        sizes = PRELIMINARY[data]
        place = _place(home, f"{data}-preliminary", key_of(sizes), demo, run=False)
        trainings = home / "thesis" / "trainings"
        made = partial(beforehand, data, sizes, _telling("preliminary", tell), trainings=trainings, **source)
        evidence += _by_arm(_stored(place, again, made), schedules)
    evidence.sort(key=lambda one: list(schedules).index(one.group))  # the runs of a schedule side by side
    versions = {"nnvis_widgets": __version__, "torch": torch.__version__}
    about = {
        "data": data, "seeds": list(seeds), "schedules": list(schedules), "settings": key_of(settings), "versions": versions,
    }  # fmt: skip
    return Thesis(data, judged(evidence, statements, **about), evidence)


def _found(data: str, root: Any) -> tuple[str, Any]:
    """Return the data set that "auto" stands for, and where it is."""
    if data != "auto":
        return data, root if root is not None or data != "mnist" else os.environ.get(MNIST_ROOT)
    root = root if root is not None else os.environ.get(MNIST_ROOT)
    if root is not None and (Path(root) / "MNIST").is_dir():
        return "mnist", root
    return "digits", None


def _schedule(schedule: Any) -> str:
    check_names(schedule=schedule)
    return schedule


def _seed(seed: Any) -> int:
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise ValueError(f"seeds: whole numbers such as (0, 1, 2), received {seed!r}")
    return seed


def _by_arm(found: dict[str, Any], schedules: Sequence[str]) -> list[Evidence]:
    """Return the preliminary experiments, each arm with the runs of its schedule."""
    evidence = []
    for arm, schedule in ARMS.items():
        if schedule in schedules and arm in found["epochs"].arms:
            studies = {f"epochs/{arm}": found["epochs"]}
            # sizes of the training set are tried with the schedule of the thesis only
            studies |= {"training-size": found["training-size"]} if schedule == "step" else {}
            evidence.append(Evidence(f"{schedule} preliminary", schedule, studies))
    return evidence


def _quiet(what: str, share: float) -> None:
    pass


def _telling(name: str, tell: Told) -> Told:
    return lambda what, share: tell(f"{name}: {what}", share)


def _epochs(tell: Told) -> Callable[[int, int], Any]:
    return lambda epoch, epochs: tell("training", epoch / epochs)


def _place(home: Path, name: str, settings: dict[str, Any], demo: Demo, run: bool = True) -> Path:
    """Return the file of some studies, by what they were made from: images, recorded weights, settings and version."""
    content = [digest({"images": images, "labels": labels}) for images, labels in (demo.train, demo.test)]
    content += [digest(demo.run[at].state) for at in range(len(demo.run))] if run else []
    plan = {"settings": settings, "content": content, "recipe": RECIPE, "versions": [__version__, torch.__version__]}
    key = hashlib.blake2b(json.dumps(plan, sort_keys=True).encode(), digest_size=8).hexdigest()
    return home / "thesis" / f"{name}-{key}.safetensors"


def _stored(place: Path, again: bool, measure: Callable[[], dict[str, Result]]) -> dict[str, Any]:
    """Return the studies of a file, or measure and store them; a file that has been damaged since is replaced."""
    if place.is_file() and not again:
        try:
            found = load(place)
            if isinstance(found, ResultSet):
                return dict(found.results)
        except (StoreError, OSError, ValueError, KeyError):
            pass
    results = measure()
    place.parent.mkdir(parents=True, exist_ok=True)
    ResultSet(results).save(place)
    return dict(results)
