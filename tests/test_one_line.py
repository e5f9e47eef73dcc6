"""What a user sees when a name stands alone in a cell or a log: one line, without tensors, HTML or addresses."""

import pytest
import torch
from test_path_explorer import small_model

import nnvis_widgets as nv
from nnvis_widgets.demo.recorded import Demo


@pytest.fixture(scope="module")
def world():
    model = small_model()
    data = torch.randn(60, 7), torch.arange(60) % 3
    states = [{name: tensor + step for name, tensor in model.state_dict().items()} for step in range(5)]
    return nv.Evaluator(model, data, device="cpu", batch_size=16), nv.Run.from_states(states)


def test_an_evaluator_says_what_is_measured_on_what_and_how(world, evaluator):
    assert repr(world[0]) == "Evaluator(Sequential on test: n = 60, loss, accuracy; cpu, batches of 16, no BatchNorm)"
    assert repr(evaluator).startswith("Evaluator(ConvNet on test: n = 57, loss, accuracy; cpu, batches of 16, ")
    assert evaluator.batchnorm_policy() in repr(evaluator)
    assert "no BatchNorm" not in repr(evaluator)


def test_a_demo_says_the_shapes_of_its_images_and_how_it_was_trained(world, tmp_path):
    evaluator, run = world
    images = torch.zeros(9, 1, 32, 32), torch.zeros(9)
    settings = {"data": "digits", "epochs": 3, "schedule": "step", "optimizer": "sgd", "seed": 7}
    demo = Demo(evaluator.model, run, evaluator, images, tuple(part[:4] for part in images), settings)
    assert repr(demo) == (
        "Demo(Sequential on digits: train (9, 1, 32, 32), test (4, 1, 32, 32), epochs 3, schedule step, optimizer sgd, seed 7)"
    )
    training = nv.load_demo_training("digits", cache=tmp_path, device="cpu")
    assert repr(training).startswith("DemoTraining(LeNet on images (1047, 1, 32, 32): lr 0.1, momentum 0.5")
    assert repr(training).endswith("; evaluators train n = 300, validation n = 300, test n = 450)")


def test_a_path_says_where_its_checkpoints_lie(world):
    states = [checkpoint.state for checkpoint in world[1]]
    tensors = len(states[0])
    assert repr(nv.LinearPath(states[0], states[4])) == f"LinearPath(2 checkpoints at alpha 0, 1; {tensors} tensors move)"
    assert "QuadraticPath(3 checkpoints at alpha 0, 0.4, 1;" in repr(nv.QuadraticPath(states[0], states[2], states[4], 0.4))


def test_a_recorder_says_how_far_it_is(world, tmp_path):
    recorder = nv.Recorder(world[0].model, tmp_path / "run")
    assert repr(recorder) == f"Recorder(Sequential into {tmp_path / 'run'}: 0 checkpoints, not recording)"
    monitor = nv.TrainingMonitor(recorder)
    with recorder:
        recorder.record()
        recorder.request_stop()
        assert repr(recorder).endswith(": 2 checkpoints, recording, asked to stop)")
        assert repr(monitor) == f"TrainingMonitor({recorder!r})"
    monitor.close()


def test_explorers_say_their_settings_and_their_runs_and_nothing_of_their_children(world):
    evaluator, run = world
    made = {
        nv.PathExplorer(evaluator, run, scope="0.bias"): "PathExplorer(view='path', scope='0.bias', kind='both', split='test'; ",
        nv.LayerMap(evaluator, run): "LayerMap(view='layers', kind='reinit', unit='module', split='test'; run: 5 checkpoints)",
        nv.ParameterExplorer(evaluator, run): "ParameterExplorer(scope=None, choose='distance', split='test'; run: 5 checkpoints)",
        nv.SurfaceExplorer(evaluator, {"a": run, "b": run}): (
            "SurfaceExplorer(run='a', plane_kind='three-point', split='test'; a: 5 checkpoints, b: 5 checkpoints)"
        ),
        nv.PreliminaryStudy(evaluator, run=run): "PreliminaryStudy(tab='test size'; run: 5 checkpoints)",
        nv.TrainingMonitor(run): f"TrainingMonitor({run!r})",
        nv.Workbench(evaluator, run, tab="Layers"): "Workbench(tab='Layers', scope=None, kind='both', split='test', compare=None; ",
    }
    for widget, words in made.items():
        said = repr(widget)
        assert said.startswith(words)
        assert len(said) < 200
        assert not any(sign in said for sign in ("<", "\n", "children"))
        widget.close()
        assert repr(widget).startswith(type(widget).__name__)


def test_an_explorer_of_a_file_says_so(world):
    saved = nv.measure_layers(*world)
    assert repr(nv.LayerMap.from_result(saved)).endswith("; a saved result)")
