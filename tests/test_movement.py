import itertools

import factories
import numpy as np
import pytest
import torch
from torch import nn

import nnvis_widgets as nv
from nnvis_widgets.core.scope import ScopeError
from nnvis_widgets.core.states import Layout
from nnvis_widgets.experiments.movement import iter_movement


def flat(state, names):
    return torch.cat([state[name].double().reshape(-1) for name in names])


def table_of(result):
    return result.to_pandas().set_index("scopes")


def test_each_column_against_its_formula(model, walk, run, evaluator):
    table = table_of(nv.measure_movement(run, mid=2, layout=evaluator.layout))
    names = {
        "model": [name for name, _ in model.named_parameters()],
        "fc1": ["fc1.weight", "fc1.bias"],
        "conv1.weight": ["conv1.weight"],
    }
    for scope, tensors in names.items():
        way = [flat(state, tensors) for state in walk]
        delta = way[4] - way[0]
        rho = float((way[2] - way[0]) @ delta / delta.square().sum())
        expected = {
            "parameter_count": len(delta),
            "distance": float(delta.norm()),
            "relative_distance": float(delta.norm() / way[0].norm()),
            "rms": float(delta.square().mean().sqrt()),
            "arc_length": sum(float((b - a).norm()) for a, b in itertools.pairwise(way)),
            "cosine": float(way[0] @ way[4] / way[0].norm() / way[4].norm()),
            "rho": rho,
            "eta": float((way[2] - way[0] - rho * delta).norm() / delta.norm()),
        }
        expected["tortuosity"] = expected["arc_length"] / expected["distance"]
        for column, value in expected.items():
            assert table.loc[scope, column] == pytest.approx(value, rel=1e-9), (scope, column)


def test_rows_are_the_model_then_each_layer_and_its_tensors(run):
    result = nv.measure_movement(run)
    assert result.scopes[:4] == ["model", "conv1", "conv1.weight", "conv1.bias"]
    assert result.levels[:4] == ["model", "layer", "tensor", "tensor"]
    assert len(result.scopes) == 1 + 5 + 10
    assert result.checkpoints == 5
    assert np.isnan(result.rho).all()


def test_a_part_of_the_run(walk, run):
    result = nv.measure_movement(run, ["fc2", ("fc2.bias", 1)], start=1, mid=-3, end=3)
    assert result.checkpoints == 3
    assert result.distance[1] == pytest.approx(abs(float(walk[3]["fc2.bias"][1]) - float(walk[1]["fc2.bias"][1])), rel=1e-6)
    assert result.eta[1] == pytest.approx(0, abs=1e-7)  # one weight has no way off its line


def test_the_same_whether_recorded_or_in_memory(model, walk, run, tmp_path):
    with nv.Recorder(factories.loaded(model, walk[0]), tmp_path / "run") as recorder:
        for state in walk[1:]:
            recorder._model = factories.loaded(model, state)
            recorder.record()
    in_memory, on_disk = nv.measure_movement(run, mid=2), nv.measure_movement(nv.Run.open(tmp_path / "run"), mid=2)
    assert in_memory.to_pandas().equals(on_disk.to_pandas())


def test_a_tied_weight_travels_once():
    states = factories.states(factories.made(factories.Tied), 3)
    result = table_of(nv.measure_movement(nv.Run.from_states(states)))
    assert "decoder" not in result.index
    once = flat(states[2], ["embedding.weight", "mix.weight", "mix.bias"]) - flat(
        states[0], ["embedding.weight", "mix.weight", "mix.bias"]
    )
    assert result.loc["model", "distance"] == pytest.approx(float(once.norm()), rel=1e-12)


def test_what_did_not_move_has_distance_zero_and_no_ratios(walk):
    for state in walk:
        state["fc1.weight"] = walk[0]["fc1.weight"]
    result = table_of(nv.measure_movement(nv.Run.from_states(walk), mid=2))
    assert result.loc["fc1.weight", ["distance", "arc_length"]].tolist() == [0.0, 0.0]
    assert result.loc["fc1.weight", ["tortuosity", "rho", "eta"]].isna().all()


def test_integers_and_weights_at_the_root():
    class Root(nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.ones(5))
            self.table = nn.Parameter(torch.arange(3), requires_grad=False)

    model = Root()
    states = factories.states(model, 2)
    result = nv.measure_movement(nv.Run.from_states(states), layout=Layout.of(model))
    assert result.scopes == ["model", "gain"]


def test_progress_ends_with_the_table(run):
    shares, table = [], None

    steps = iter_movement(run)
    while table is None:
        try:
            shares.append(next(steps))
        except StopIteration as finished:
            table = finished.value
    assert table.scopes[0] == "model"
    assert shares == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": 5}, r"start: a checkpoint from 0 to 4, or from the end -1 to -5; received 5"),
        ({"mid": 9}, "mid: a checkpoint from 0 to 4"),
        ({"end": -6}, "end: a checkpoint from 0 to 4"),
        ({"start": 2, "end": 2}, "in the order of training, received 2 and 2 of 5"),
        ({"scopes": []}, "scopes: at least one"),
        ({"scopes": ["fcl"]}, "did you mean"),
    ],
)
def test_refused_when_it_is_called(run, options, message):
    with pytest.raises((ValueError, ScopeError), match=message):
        iter_movement(run, **options)


def test_a_run_of_one_checkpoint_has_not_moved(walk):
    with pytest.raises(ValueError, match="run: movement is measured between two checkpoints, and this run holds 1"):
        nv.measure_movement(nv.Run.from_states(walk[:1]))


@pytest.mark.parametrize("run", ["runs/lenet", 3, None, {"fc1.weight": 0}])
def test_what_is_no_run(run):
    with pytest.raises(TypeError, match=r"run: a Run, such as nv\.Run\.open\(folder\).*received"):
        nv.measure_movement(run)
