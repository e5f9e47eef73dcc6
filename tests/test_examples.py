"""The examples in the docstrings are run: those of public names in an empty namespace, as a reader pastes them."""

import doctest
import importlib
import inspect
from pathlib import Path

import pytest

import nnvis_widgets as nv

ROOT = Path(nv.__file__).parent
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
FINDER = doctest.DocTestFinder(exclude_empty=True)

SLOW = ("compare_faithfulness", "compare_layer_studies", "measure_faithfulness")  # they train twice, or resample

# what a reader of the documentation begins with
EXPLAINED = [
    name for name in nv.__all__ if name.startswith(("measure_", "compare_", "preliminary_", "samples_")) and "figure" not in name
] + ["random_plane", "pca_plane", "three_point_plane", "hessian_plane", "inspect_point", "inspect_state"] + [
    "Evaluator", "Recorder", "Run", "PathExplorer", "LayerMap", "SurfaceExplorer", "ParameterExplorer", "TrainingMonitor",
    "Workbench", "PreliminaryStudy", "LinearPath", "QuadraticPath", "LagrangePath", "Plane", "load_demo", "load_demo_training"
]  # fmt: skip


def failures(tests):
    """Return what went wrong in words, empty when all is well, and how many lines were run."""
    said: list[str] = []
    count = 0
    for test in tests:
        runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
        count += runner.run(test, out=said.append).attempted
    return "".join(said), count


def examples_of(found, **more):
    return [test for test in FINDER.find(found, **more) if test.examples]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Demos are trained once for all examples, in a cache that is not the user's."""
    folder = tmp_path_factory.getbasetemp() / "examples"
    for module in ("nnvis_widgets.demo.recorded", "nnvis_widgets.demo.training"):
        monkeypatch.setattr(f"{module}.cache_folder", lambda: folder)


def public():
    return [name for name in nv.__all__ if ">>>" in (inspect.getsource(getattr(nv, name)) if callable(getattr(nv, name)) else "")]


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in public()])
def test_an_example_runs_as_it_is_pasted(name):
    said, count = failures(examples_of(getattr(nv, name), name=name, globs={}))
    assert not said, said
    assert count


@pytest.mark.parametrize("name", EXPLAINED)
def test_what_one_begins_with_has_an_example(name):
    assert ">>>" in (inspect.getdoc(getattr(nv, name)) or "")


def test_the_examples_inside_the_package_run():
    ours = {id(getattr(nv, name)) for name in public()}
    total = 0
    for file in sorted(ROOT.rglob("*.py")):
        if ">>>" not in file.read_text() or "notebooks" in file.parts:
            continue
        module = importlib.import_module(".".join(("nnvis_widgets", *file.relative_to(ROOT).with_suffix("").parts)))
        names = {name for name, part in vars(module).items() if id(part) in ours}
        inner = [test for test in examples_of(module) if test.name.removeprefix(f"{module.__name__}.").split(".")[0] not in names]
        said, count = failures(inner)
        assert not said, said
        total += count
    assert total > 50


def test_a_wrong_example_would_be_found():
    """The finder, the flags and the reporting, on an example whose answer is not what it says."""
    wrong = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, None)
    said, count = failures([wrong])
    assert "Expected:" in said
    assert count == 1
