import copy
import datetime

import factories
import numpy as np
import pytest
import torch
from torch import nn

import nnvis_widgets as nv
from nnvis_widgets.core.states import StateError
from nnvis_widgets.runs.run import RunError


class TestFromStates:
    def test_holds_the_states(self, walk):
        run = nv.Run.from_states(walk, epochs=[0, 1, 2, 4, 8], metrics={"loss": [5, 4, 3, 2, 1]})
        assert len(run) == 5
        assert all(factories.same(checkpoint.state, state) for checkpoint, state in zip(run, walk, strict=True))
        assert run.epochs.tolist() == [0, 1, 2, 4, 8]
        assert run.metrics["loss"].tolist() == [5, 4, 3, 2, 1]
        assert run[-1].epoch == 8
        assert [checkpoint.index for checkpoint in run[1:3]] == [1, 2]

    def test_training_on_does_not_change_it(self, model):
        start = copy.deepcopy(model.state_dict())
        run = nv.Run.from_states([start, {name: tensor + 1 for name, tensor in start.items()}, model.state_dict()])
        before = run[2].digest
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(5)
        start["fc1.bias"].fill_(9)
        assert torch.equal(run.final["fc1.bias"] + 5, model.fc1.bias)
        assert not torch.equal(run.initial["fc1.bias"], start["fc1.bias"])
        assert nv.Run.from_states([run.final])[0].digest == before

    def test_tied_weights_stay_one_tensor(self):
        net = factories.made(factories.Tied)
        run = nv.Run.from_states(factories.states(net, 2))
        assert run.final["decoder.weight"] is run.final["embedding.weight"]
        assert run.layout.aliases == {"decoder.weight": "embedding.weight"}

    def test_of_wrapped_models_takes_their_prefixes_off(self, walk):
        run = nv.Run.from_states([{f"module.{name}": tensor for name, tensor in state.items()} for state in walk])
        assert set(run.initial) == set(walk[0])

    def test_initial_mid_and_final(self, walk):
        run = nv.Run.from_states(walk, epochs=[0, 1, 2, 4, 8])
        assert factories.same(run.initial, walk[0])
        assert factories.same(run.mid, walk[3])
        assert factories.same(run.final, walk[4])

    @pytest.mark.parametrize(
        ("epochs", "mid"),
        [([0, 1, 2, 3, 4], 2), ([0, 1, 3, 3.5, 4], 1), ([0, 2, 4, 6, 8], 2), ([0, 90, 95, 99, 100], 1), ([0, 1, 2, 3, 100], 3)],
    )
    def test_mid_is_nearest_to_half_of_the_epochs_the_earlier_of_two_and_no_end(self, walk, epochs, mid):
        assert nv.Run.from_states(walk, epochs=epochs).mid_index == mid

    @pytest.mark.parametrize(("share", "index"), [(0.05, 1), (0.25, 1), (0.4, 2), (0.5, 3), (0.99, 3)])
    def test_mid_by_distance_goes_by_the_length_of_the_way(self, share, index):
        states = [{"w": torch.tensor([v], dtype=torch.float64)} for v in (0.0, 2.0, 4.0, 3.0, 8.0)]  # lengths 0 2 4 5 10
        run = nv.Run.from_states(states)
        assert run.index_by_distance(share) == index
        assert torch.equal(run.mid_by_distance(share)["w"], states[index]["w"])

    def test_the_repr(self, run):
        assert repr(run) == "Run(5 states in memory: 5 checkpoints, epochs 0 to 4)"
        assert repr(run[2]) == "Checkpoint(2, epoch 2)"


class TestRefused:
    def test_a_living_state_dict_listed_again_and_again(self, model):
        states = []
        for _ in range(3):
            with torch.no_grad():
                model.fc1.weight.add_(1)
            states.append(model.state_dict())
        with pytest.raises(RunError, match=r"0 and 1 are the same memory.*copy\.deepcopy\(model\.state_dict\(\)\)"):
            nv.Run.from_states(states)

    def test_one_state_listed_twice_on_purpose_is_fine(self, walk):
        assert len(nv.Run.from_states([walk[0], walk[0]])) == 2

    @pytest.mark.parametrize(
        ("states", "options", "message"),
        [
            ([], {}, "at least one state_dict, received none"),
            ([{"w": torch.zeros(3)}, {"w": torch.zeros(2)}], {}, r"states\[1\]: 'w' has shape \(2,\)"),
            ([{"w": torch.zeros(3)}, {"v": torch.zeros(3)}], {}, r"states\[1\] does not fit the model: missing 'w'; unknown 'v'"),
            ([nn.Linear(1, 1)], {}, "received a Linear"),
            ([{"w": torch.zeros(3)}] * 2, {"epochs": [1]}, "2 ascending numbers"),
            ([{"w": torch.zeros(3)}] * 2, {"epochs": [1, 1]}, "2 ascending numbers"),
            ([{"w": torch.zeros(3)}] * 2, {"epochs": [0, np.nan]}, "2 ascending numbers"),
            ([{"w": torch.zeros(3)}] * 2, {"metrics": {"loss": [1]}}, "'loss' has 1 values for 2 states"),
        ],
    )
    def test_states_that_are_no_run(self, states, options, message):
        with pytest.raises((RunError, StateError), match=message):
            nv.Run.from_states(states, **options)

    def test_a_mid_where_there_is_none(self, walk):
        run = nv.Run.from_states(walk[:2])
        for ask in (lambda: run.mid, lambda: run.mid_by_distance()):
            with pytest.raises(RunError, match="between the first and the last is needed, and this run holds 2"):
                ask()

    @pytest.mark.parametrize("share", [0, 1, -1, 2])
    def test_a_share_outside_of_the_way(self, run, share):
        with pytest.raises(ValueError, match="share: between 0 and 1"):
            run.mid_by_distance(share)


class TestOpen:
    def test_where_there_is_none_names_the_runs_nearby(self, model, tmp_path):
        with pytest.raises(RunError, match=r"no run in .*nowhere: a Recorder writes run.json there$"):
            nv.Run.open(tmp_path / "nowhere")
        for name in ("b", "a"):
            with nv.Recorder(model, tmp_path / name):
                pass
        with pytest.raises(RunError, match="there are runs in its folders a, b"):
            nv.Run.open(tmp_path)

    def test_reads_no_weights_until_they_are_asked_for(self, model, tmp_path):
        with nv.Recorder(model, tmp_path / "run") as recorder:
            recorder.record(loss=3)
        (tmp_path / "run" / "checkpoint-000001.safetensors").unlink()
        run = nv.Run.open(tmp_path / "run")
        assert run.metrics["loss"][1] == 3
        assert factories.same(run.initial, dict(model.state_dict()))
        with pytest.raises(ValueError, match=r"checkpoint-000001.safetensors cannot be read as a checkpoint"):
            run.final


class TestFromCheckpoints:
    @pytest.fixture
    def save(self, tmp_path):
        def save(content, name):
            torch.save(content, tmp_path / name)
            return tmp_path / name

        return save

    def test_state_dicts(self, walk, save):
        run = nv.Run.from_checkpoints([save(state, f"{i}.pt") for i, state in enumerate(walk)], epochs=[0, 1, 2, 4, 8])
        assert all(factories.same(checkpoint.state, state) for checkpoint, state in zip(run, walk, strict=True))
        assert run.mid_index == 3

    def test_the_only_state_dict_inside_a_larger_file(self, walk, save):
        optimizer = {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1}]}
        content = {"epoch": 3, "state_dict": {f"module.{n}": t for n, t in walk[0].items()}, "optimizer": optimizer}
        run = nv.Run.from_checkpoints([save(content, "a.pt")])
        assert factories.same(run.initial, walk[0])

    def test_by_its_key_when_there_are_two(self, walk, save):
        file = save({"model": walk[0], "ema": walk[1]}, "a.pt")
        assert factories.same(nv.Run.from_checkpoints([file], key="ema").initial, walk[1])
        with pytest.raises(RunError, match=r"is no state_dict; it holds 'model', 'ema'. Name the entry with key="):
            nv.Run.from_checkpoints([file]).initial
        with pytest.raises(RunError, match=r"no entry 'mean'; it holds 'model', 'ema'"):
            nv.Run.from_checkpoints([file], key="mean").initial

    def test_whole_models_are_not_unpickled(self, model, save, tmp_path):
        with pytest.raises(RunError, match=r"cannot be read with torch.load\(weights_only=True\).*Save model.state_dict\(\)"):
            nv.Run.from_checkpoints([save(model, "a.pt")]).initial
        (tmp_path / "b.pt").write_bytes(b"no checkpoint")
        with pytest.raises(RunError, match=r"cannot be read with torch.load"):
            nv.Run.from_checkpoints([tmp_path / "b.pt"]).initial
        with pytest.raises(RunError, match="is no state_dict; it holds int"):
            nv.Run.from_checkpoints([save(3, "c.pt")]).initial

    def test_an_object_that_would_run_code_is_named_with_what_works(self, walk, save, tmp_path):
        file = save({"model": walk[0], "when": datetime.datetime(2026, 1, 1)}, "a.pt")
        with pytest.raises(RunError, match=r"Unsupported global: GLOBAL datetime\.datetime,.*Save model\.state_dict") as refused:
            nv.Run.from_checkpoints([file]).initial
        assert "\x1b" not in str(refused.value)
        assert "add_safe_globals([datetime.datetime])" in str(refused.value)
        (tmp_path / "b.pt").write_text("hello")
        with pytest.raises(RunError, match=r"It is no file of torch\.save, or is cut short"):
            nv.Run.from_checkpoints([tmp_path / "b.pt"]).initial

    def test_a_single_path_is_a_run_of_one(self, walk, save):
        file = save(walk[0], "a.pt")
        for path in (file, str(file)):
            run = nv.Run.from_checkpoints(path)
            assert len(run) == 1
            assert factories.same(run.initial, walk[0])

    def test_no_files(self, tmp_path):
        with pytest.raises(RunError, match="at least one file, received none"):
            nv.Run.from_checkpoints([])
        with pytest.raises(RunError, match=r"no file .*a\.pt"):
            nv.Run.from_checkpoints([tmp_path / "a.pt"])


def test_the_digest_of_a_checkpoint_is_that_of_its_weights(walk):
    run = nv.Run.from_states([walk[0], walk[1], copy.deepcopy(walk[0])])
    assert run[0].digest == run[2].digest != run[1].digest
