"""Whatever is called, the user's model, random states, flags and data loader are afterwards what they were before.

For generators this holds between any two partial results as well: nothing is borrowed across a yield.
"""

import os
import random
import subprocess
import sys
import textwrap

import factories
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import nnvis_widgets as nv
from nnvis_widgets.core import evaluator as module
from nnvis_widgets.core import principal
from nnvis_widgets.experiments.movement import iter_movement


class World:
    """A user in the middle of a training: gradients, mixed flags, a shuffling loader with a generator of its own."""

    def __init__(self, tmp_path):
        self.folder = tmp_path
        self.model = factories.made(factories.ConvNet)
        self.states = factories.states(self.model, 4)
        self.model.load_state_dict(self.states[-1])
        self.model.train()
        self.model.conv2.eval()
        self.model.fc1.weight.requires_grad_(False)
        x, y = factories.images()
        torch.nn.functional.cross_entropy(self.model.eval()(x), y).backward()
        self.model.train()
        self.model.conv2.eval()
        self.generator = torch.Generator().manual_seed(7)
        self.loader = DataLoader(TensorDataset(x, y), batch_size=9, shuffle=True, generator=self.generator)
        self.before = self.look()  # before anything of ours has touched it
        self.run = nv.Run.from_states(self.states)
        self.longer = nv.Run.from_states(factories.states(self.model, 6))
        self.evaluator = nv.Evaluator(self.model, self.loader, device="cpu", batch_size=16)
        self.path = nv.QuadraticPath(self.states[0], self.states[1], self.states[3])
        self.result = nv.measure_path(self.evaluator, self.path, [0.0, 0.5, 1.0])
        self.recorder = nv.Recorder(self.model, tmp_path / "recorded")

    def look(self):
        """Everything that is not ours, as one comparable value."""
        model, tensors = self.model, dict(self.model.named_parameters()) | dict(self.model.named_buffers())
        tensors |= {f"grad {name}": p.grad for name, p in model.named_parameters() if p.grad is not None}
        tensors |= {f"state {i} {name}": t for i, state in enumerate(self.states) for name, t in state.items()}
        tensors |= {f"data {i}": t for i, t in enumerate(self.loader.dataset.tensors)}
        numpy_state = np.random.get_state()  # noqa: NPY002
        return {
            "bits": {name: (t.data_ptr(), t.dtype, t.detach().numpy().tobytes()) for name, t in tensors.items()},
            "requires_grad": {name: p.requires_grad for name, p in model.named_parameters()},
            "training": {name: m.training for name, m in model.named_modules()},
            "momentum": model.bn1.momentum,
            "hooks": [len(m._forward_pre_hooks) + len(m._forward_hooks) for m in model.modules()],
            "torch": torch.get_rng_state().numpy().tobytes(),
            "loader": self.generator.get_state().numpy().tobytes(),
            "python": random.getstate(),
            "numpy": (numpy_state[0], numpy_state[1].tobytes(), *numpy_state[2:]),
            "grad mode": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
            "threads": torch.get_num_threads(),
            "dtype": torch.get_default_dtype(),
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "errors": np.geterr(),
            "folder": os.getcwd(),
        }


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "HEARTBEAT", -1.0)  # as many partial results as there can be
    monkeypatch.setattr(principal, "BLOCK_BYTES", 8 * 4 * 100)  # a hundred columns of four checkpoints
    return World(tmp_path)


def record(world):
    with world.recorder as recorder:
        recorder.step(loss=1.0)
        recorder.record(epoch=1, loss=1.0)


def open_run(world):
    run = nv.Run.from_states(world.states)
    return run.initial, run.mid, run.final, run.mid_by_distance(), run.layout, run[1].digest


def save_and_load(world):
    world.result.save(world.folder / "result")
    nv.load(world.folder / "result").to_pandas()


def draw(world):
    from matplotlib.figure import Figure

    world.result.plot(Figure().add_subplot())


def planes(world):
    for center in (world.model, world.states[1]):
        nv.random_plane(center, normalize="layer", ignore_1d=False).coordinates(world.states[0])
    nv.Plane(world.model, nv.random_plane(world.states[0]).directions).state_at(1, 1)
    plane = nv.three_point_plane(*world.states[:3], model=world.model)
    plane.off_plane(plane.state_at(0.1, -0.2))
    nv.pca_plane(world.run, model=world.model).project(world.run).to_pandas()
    assert plane.digest == nv.three_point_plane(*world.states[:3], model=world.model).digest


def surface(world):
    from matplotlib.figure import Figure

    plane = nv.pca_plane(world.run)
    result = nv.measure_surface(world.evaluator, plane, resolution=(3, 5)).with_trajectory(plane.project(world.run))
    result.save(world.folder / "surface")
    nv.load(world.folder / "surface").plot(Figure().add_subplot())


def surfaces(world):
    plane = nv.random_plane(world.model)
    known = nv.measure_surface(world.evaluator, plane, resolution=(3, 5), samples=20)
    finer = nv.measure_surface(world.evaluator, plane, resolution=(5, 9), samples=20, known=known)
    assert finer.provenance["reused"] == 15
    nv.measure_surface(world.evaluator, plane, resolution=3, batchnorm="batch")


def inspections(world):
    from matplotlib.figure import Figure

    plane = nv.random_plane(world.model)
    here = nv.inspect_point(world.evaluator, plane, 0.5, -1)
    there = nv.inspect_state(world.evaluator, world.states[1], samples=57)
    world.evaluator.inputs(here.interesting(there, 5))
    here.plot(Figure().add_subplot())
    here.save(world.folder / "inspection")
    nv.load(world.folder / "inspection").to_pandas()


def differentiate(world):
    for state in (None, world.states[0]):
        curvature = world.evaluator.differentiate(state, scope=["conv1", "fc1"], samples=20)
        curvature.product(curvature.gradient())


def film(world):
    plane = nv.random_plane(world.model)
    result = nv.measure_surface(world.evaluator, plane, resolution=3).with_trajectory(plane.project(world.run))
    nv.surface_figure(result).canvas.draw()
    nv.surface_figure_3d(result).canvas.draw()
    nv.animate_trajectory(result, world.folder / "film.gif", seconds=0.2, dpi=40)


def policies(world):
    for policy in ("final", "interpolate", "recalibrate", "batch"):
        evaluator = nv.Evaluator(world.model, world.loader, device="cpu", batchnorm=policy, calibration=world.loader)
        nv.measure_path(evaluator, world.path, [0.0, 0.3, 1.0])


def failures(world):
    for act in (
        lambda: nv.measure_path(world.evaluator, world.path, [np.nan]),
        lambda: nv.measure_path(world.evaluator, world.path, scope="fcl"),
        lambda: nv.measure_surface(world.evaluator, nv.random_plane(world.model), x=[1, 0]),
        lambda: nv.random_plane(world.model, normalize="filters"),
        lambda: nv.pca_plane(nv.Run.from_states(world.states[:2])),
        lambda: nv.hessian_plane(world.evaluator, {n: t * float("nan") for n, t in world.states[0].items()}),
        lambda: nv.Evaluator(world.model, world.loader, device="cpu", loss=lambda o, t: o[:3]),
        lambda: nv.Evaluator(world.model, world.loader, device="cpu", forward=lambda m, b: 1 / 0),
        lambda: nv.Evaluator(world.model, world.loader, device="cpu", forward=lambda m, b: (m(b[0]) + torch.randn(()), b[1])),
    ):
        with pytest.raises((ValueError, ZeroDivisionError)):
            act()


def training(*, subset, epochs, seed):
    yield from enumerate(factories.states(factories.made(factories.ConvNet), epochs, seed=seed), 1)


def preliminaries(world):
    options = {"epochs": 2, "seeds": 2, "folder": world.folder / "trainings"}
    for study in (
        nv.preliminary_epochs(training, world.evaluator, world.loader, **options),
        nv.preliminary_training_size(training, world.evaluator, world.loader, sizes=[20, 57], subsets=2, **options),
        nv.preliminary_test_size(world.evaluator, state=world.states[1], repeats=5),
        nv.samples_needed(world.evaluator, world.states[:2]),
    ):
        study.to_pandas()
        study.explain()


CALLS = {
    "Evaluator": lambda w: nv.Evaluator(w.model, w.loader, device="cpu", calibration=w.loader),
    "Evaluator with grad": lambda w: nv.Evaluator(w.model, w.loader, device="cpu", grad=True).measure(),
    "measure": lambda w: w.evaluator.measure(),
    "measure of a state": lambda w: w.evaluator.measure(w.states[1]),
    "observe": lambda w: w.evaluator.observe(),
    "differentiate": differentiate,
    "hessian_plane": lambda w: nv.hessian_plane(w.evaluator, w.states[1], max_products=6),
    "measure_path": lambda w: nv.measure_path(w.evaluator, w.path, np.linspace(-0.5, 1.5, 5)),
    "measure_path of a weight": lambda w: nv.measure_path(w.evaluator, w.path, scope=("fc1.weight", (5, 17))),
    "measure_training": lambda w: nv.measure_training(w.evaluator, w.run),
    "measure_faithfulness": lambda w: nv.measure_faithfulness(w.evaluator, w.longer, draws=5).sentence,
    "compare_faithfulness": lambda w: (
        nv.compare_faithfulness(
            [
                nv.measure_faithfulness(w.evaluator, run, draws=5)
                for run in (w.longer, nv.Run.from_states(factories.states(w.model, 6, 3)))
            ]
        ).sentence
    ),
    "measure_movement": lambda w: nv.measure_movement(w.run, mid=1),
    "measure_weight_course": lambda w: nv.measure_weight_course(w.run, [("fc1.weight", (5, 17))]).to_pandas(),
    "planes": planes,
    "measure_surface": surface,
    "measure_surface after another": surfaces,
    "inspect": inspections,
    "measure_parameters": lambda w: nv.measure_parameters(w.evaluator, w.run, "conv1.weight", count=3).relabelled(plateau=0.1),
    "measure_pairwise_resets": lambda w: nv.measure_pairwise_resets(
        w.evaluator, w.run, ["conv1", "fc2"], kind="rerandomise", draws=2
    ),
    "measure_joint_reset": lambda w: nv.measure_joint_reset(w.evaluator, w.run, ["conv1", "fc2"], kind="rerandomise", draws=2),
    "constant": lambda w: w.evaluator.constant(),
    "surface_figure and animate_trajectory": film,
    "preliminary experiments": preliminaries,
    "policies": policies,
    "state_at": lambda w: [w.path.state_at(alpha) for alpha in (0.0, 0.3, 0.5, 1.2)],
    "Recorder": record,
    "Run": open_run,
    "save and load": save_and_load,
    "plot": draw,
    "failures": failures,
}
GENERATORS = {
    "iter_path": lambda w: nv.iter_path(w.evaluator, w.path, np.linspace(0, 1, 4)),
    "iter_path of a layer": lambda w: nv.iter_path(w.evaluator, w.path, np.linspace(0, 1, 4), scope="fc1", background=w.states[1]),
    "iter_paths": lambda w: nv.iter_paths(w.evaluator, w.path, ["conv1", "fc2"], [0.0, 1.0]),
    "iter_training": lambda w: nv.iter_training(w.evaluator, w.run),
    "iter_faithfulness": lambda w: nv.iter_faithfulness(w.evaluator, w.longer, draws=5, clocks=["epochs"], origins=["noise"]),
    "iter_movement": lambda w: iter_movement(w.run, mid=1),
    "iter_weight_course": lambda w: nv.iter_weight_course(w.run, [("fc1.weight", (5, 17))]),
    "iter_surface": lambda w: nv.iter_surface(w.evaluator, nv.random_plane(w.model), resolution=3),
    "iter_surface after another": lambda w: nv.iter_surface(
        w.evaluator, plane := nv.random_plane(w.model), resolution=5, known=nv.measure_surface(w.evaluator, plane, resolution=3)
    ),
    "iter_line": lambda w: nv.iter_line(w.evaluator, nv.random_plane(w.model), (0, 0), (1, -1), points=5),
    "observe_at": lambda w: w.evaluator.observe_at(
        w.evaluator.family(None, w.states[:2], w.states[3]), (0.5, 0.5), policy="recalibrate"
    ),
    "iter_surface of a layer": lambda w: nv.iter_surface(
        w.evaluator, nv.random_plane(w.states[0]), x=[1, 2], y=[0, 1], scope="fc1"
    ),
    "iter_parameters": lambda w: nv.iter_parameters(w.evaluator, w.run, "fc1", count=2, choose="effect"),
    "iter_layers": lambda w: nv.iter_layers(w.evaluator, w.run, kind="rerandomise", draws=2, layers=["conv1", "fc2"]),
    "iter_layer_history": lambda w: nv.iter_layer_history(w.evaluator, w.run, layers=["conv1", "fc2"]),
    "iter_pca_plane": lambda w: nv.iter_pca_plane(w.run),
    "iter_hessian_plane": lambda w: nv.iter_hessian_plane(w.evaluator, max_products=6),
    "iter_preliminary_epochs": lambda w: nv.iter_preliminary_epochs(training, w.evaluator, w.loader, epochs=2, seeds=2),
    "iter_preliminary_training_size": lambda w: nv.iter_preliminary_training_size(
        training, w.evaluator, w.loader, epochs=2, sizes=[20, 57], subsets=1, seeds=1
    ),
    "iter_preliminary_test_size": lambda w: nv.iter_preliminary_test_size(w.evaluator),
    "iter_samples_needed": lambda w: nv.iter_samples_needed(w.evaluator, w.states[:2]),
    "iter_project": lambda w: nv.random_plane(w.model).iter_project(w.run),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_call_leaves_the_world_as_it_was(world, call):
    CALLS[call](world)
    assert world.look() == world.before


@pytest.mark.parametrize("call", GENERATORS)
def test_so_does_a_generator_between_any_two_of_its_results(world, call):
    before = world.before
    generator = GENERATORS[call](world)
    assert world.look() == before
    count = 0
    for _ in generator:
        assert world.look() == before
        count += 1
    assert count >= 3
    assert world.look() == before


@pytest.mark.parametrize("call", GENERATORS)
def test_and_one_that_is_closed_early(world, call):
    before = world.before
    generator = GENERATORS[call](world)
    next(generator)
    generator.close()
    assert world.look() == before


def test_the_user_may_train_draw_and_switch_modes_between_two_results(world):
    expected = nv.measure_path(world.evaluator, world.path, [0.0, 0.5, 1.0])
    generator = nv.iter_path(world.evaluator, world.path, [0.0, 0.5, 1.0])
    for result in generator:
        torch.rand(3)
        torch.manual_seed(result.n)
        with torch.no_grad():
            for parameter in world.model.parameters():
                parameter.add_(1)
        world.model.train(not world.model.training)
        next(iter(world.loader))
    assert np.array_equal(result.loss, expected.loss)


def test_and_train_on_while_a_plane_is_sought_through_the_live_weights(world):
    expected = nv.hessian_plane(world.evaluator, max_products=6)
    steps = nv.iter_hessian_plane(world.evaluator, world.model.state_dict(), max_products=6)
    while True:
        try:
            next(steps)
        except StopIteration as finished:
            plane = finished.value
            break
        with torch.no_grad():
            for tensor in (*world.model.parameters(), world.model.bn1.running_var):
                tensor.add_(1)
    assert plane.digest == expected.digest


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_the_users_grad_mode_changes_no_number(world, mode):
    expected = nv.measure_path(world.evaluator, world.path, [0.0, 0.5, 1.0]).loss
    with mode():
        evaluator = nv.Evaluator(world.model, world.loader, device="cpu", batch_size=16)
        assert np.array_equal(nv.measure_path(evaluator, world.path, [0.0, 0.5, 1.0]).loss, expected)


@pytest.mark.slow
def test_the_core_needs_no_widget_package():
    script = """
        import sys
        BLOCKED = {"ipywidgets", "traitlets", "bqplot", "bqplot_image_gl", "ipyvolume"}
        BLOCKED |= {"anywidget", "IPython", "matplotlib", "tqdm"}

        class Block:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in BLOCKED:
                    raise ModuleNotFoundError(f"blocked: {name}", name=name)

        sys.meta_path.insert(0, Block())
        import logging, random
        import numpy, torch

        def look():
            own = random.getstate(), logging.root.handlers[:], logging.root.level
            return torch.get_rng_state().tolist(), numpy.random.get_state()[1].tolist(), *own

        before = look()
        import nnvis_widgets as nv
        nv.Recorder, nv.Run, nv.Evaluator, nv.LinearPath, nv.PathResult, nv.load
        nv.measure_path, nv.measure_training, nv.measure_movement, nv.measure_surface
        nv.random_plane, nv.pca_plane, nv.three_point_plane, nv.hessian_plane, nv.Plane
        import nnvis_widgets.store, nnvis_widgets.results
        assert look() == before
        model = torch.nn.Linear(5, 3)
        states = [{k: v.clone() * f for k, v in model.state_dict().items()} for f in (0.0, 1.0)]
        data = torch.randn(20, 5), torch.randint(0, 3, (20,))
        result = nv.measure_path(nv.Evaluator(model, data, device="cpu"), nv.LinearPath(*states))
        assert abs(result.loss[0] - numpy.log(3)) < 1e-6
        assert not BLOCKED & {name.partition(".")[0] for name in sys.modules}
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == done.stderr == ""
