import copy

import factories
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from nnvis_widgets.core.states import Layout, StateError, digest, distances, plain_names, snapshot, unwrap


class TestLayout:
    def test_tells_parameters_running_statistics_and_other_buffers_apart(self, model):
        layout = Layout.of(model)
        assert list(layout.shapes) == [name for name, _ in model.named_parameters()]
        assert layout.statistics == {"bn1.running_mean": "mean", "bn1.running_var": "var"}
        assert set(layout.buffers) == {name for name, _ in model.named_buffers()}
        assert layout.count() == sum(p.numel() for p in model.parameters())

    def test_counts_a_tied_weight_once(self):
        layout = Layout.of(factories.made(factories.Tied))
        assert layout.aliases == {"decoder.weight": "embedding.weight"}
        assert layout.count() == 11 * 5 + 5 * 5 + 5

    def test_of_a_bare_state_finds_tied_weights_by_their_memory(self):
        model = factories.made(factories.Tied)
        assert Layout.of_state(copy.deepcopy(model.state_dict())).aliases == {"decoder.weight": "embedding.weight"}

    def test_of_a_bare_state_leaves_running_statistics_and_integers_out(self, model):
        layout = Layout.of_state(model.state_dict())
        assert list(layout.shapes) == list(Layout.of(model).shapes)

    def test_a_module_under_two_names_is_one_layer(self):
        inner = nn.Linear(5, 5)
        model = nn.ModuleDict({"one": inner, "two": inner})
        layout = Layout.of(model)
        assert list(layout.layers) == ["one"]
        assert layout.count() == 30

    def test_layer_norm_has_no_running_statistics(self):
        assert Layout.of(nn.Sequential(nn.Linear(5, 7), nn.LayerNorm(7))).statistics == {}

    def test_weight_norm_belongs_to_the_module_that_it_normalises(self):
        model = nn.Sequential(parametrizations.weight_norm(nn.Linear(5, 7)))
        layout = Layout.of(model)
        assert list(layout.layers) == ["0"]
        assert set(layout.layers["0"]) == {
            "0.bias",
            "0.parametrizations.weight.original0",
            "0.parametrizations.weight.original1",
        }

    def test_refuses_a_lazy_parameter(self):
        with pytest.raises(StateError, match=r"'weight' is a lazy parameter.*run the model once"):
            Layout.of(nn.LazyLinear(3))


class TestCheck:
    def test_names_what_is_missing_and_what_is_unknown(self, model):
        state = dict(model.state_dict())
        state["fc9.weight"] = state.pop("fc1.weight")
        with pytest.raises(StateError, match=r"state 2 does not fit the model: missing 'fc1.weight'; unknown 'fc9.weight'"):
            Layout.of(model).check(state, "state 2")

    def test_names_the_tensor_whose_shape_differs(self, model):
        state = dict(model.state_dict())
        state["fc2.weight"] = torch.zeros(6, 3)
        with pytest.raises(StateError, match=r"'fc2.weight' has shape \(6, 3\), the model's has \(3, 6\)"):
            Layout.of(model).check(state, "start")

    def test_refuses_a_model_in_place_of_its_state(self, model):
        with pytest.raises(StateError, match=r"model\.state_dict\(\); received a ConvNet"):
            Layout.of(model).check(model, "start")

    def test_refuses_two_values_for_one_tied_weight(self):
        model = factories.made(factories.Tied)
        state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        Layout.of(model).check(state, "start")
        state["decoder.weight"] += 1
        with pytest.raises(StateError, match=r"'embedding.weight' and 'decoder.weight' are one tied weight"):
            Layout.of(model).check(state, "start")

    def test_accepts_a_state_that_names_a_tied_weight_once(self):
        model = factories.made(factories.Tied)
        state = dict(model.state_dict())
        weight = state.pop("embedding.weight")
        assert torch.equal(Layout.of(model).check(state, "start")["embedding.weight"], weight)

    @pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod."])
    def test_strips_the_prefixes_of_wrappers(self, model, prefix):
        state = {prefix + name: tensor for name, tensor in model.state_dict().items()}
        assert factories.same(Layout.of(model).check(state, "start"), dict(model.state_dict()))

    def test_a_model_whose_only_child_is_called_module_keeps_its_names(self):
        class Wrapper(nn.Module):
            def __init__(self):
                super().__init__()
                self.module = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7))

        model = Wrapper()
        layout, state = Layout.of(model), snapshot(model)
        assert set(state) == set(model.state_dict())
        assert set(layout.buffers) == {name for name, _ in model.named_buffers()}
        for given in (state, plain_names(state), {f"module.{name}": t for name, t in state.items()}):
            assert set(layout.check(given, "start")) == set(model.state_dict())


class TestSnapshot:
    def test_is_a_copy_that_later_training_does_not_move(self, model):
        before = copy.deepcopy(dict(model.state_dict()))
        state = snapshot(model)
        with torch.no_grad():
            model.fc1.weight.add_(1)
        assert factories.same(state, before)

    def test_keeps_a_tied_weight_in_one_tensor(self):
        state = snapshot(factories.made(factories.Tied))
        assert state["decoder.weight"] is state["embedding.weight"]

    def test_refuses_weights_without_values(self):
        with pytest.raises(StateError, match="'weight' is on the meta device"):
            snapshot(nn.Linear(5, 7, device="meta"))

    def test_of_wrapped_models_has_the_names_of_the_model(self, model):
        for wrapped in (nn.DataParallel(model), torch.compile(model), torch.compile(nn.DataParallel(model))):
            assert unwrap(wrapped) is model
            assert factories.same(snapshot(wrapped), dict(model.state_dict()))


class TestDigest:
    def test_sees_every_bit_and_every_name(self):
        state = {"a": torch.zeros(5, 7), "b": torch.arange(3)}
        digests = {
            digest(state),
            digest({**state, "a": torch.full((5, 7), -0.0)}),
            digest({**state, "a": torch.zeros(7, 5)}),
            digest({**state, "a": torch.zeros(5, 7, dtype=torch.float64)}),
            digest({"c": state["a"], "b": state["b"]}),
        }
        assert len(digests) == 5

    def test_is_that_of_the_values_not_of_their_order_in_memory_or_in_the_state(self):
        a = torch.arange(35.0).reshape(5, 7)
        assert digest({"a": a, "b": a}) == digest({"b": a, "a": a.T.contiguous().T})

    def test_takes_every_type(self):
        kinds = [torch.bfloat16, torch.float16, torch.complex64, torch.bool, torch.int64, torch.uint8]
        assert len({digest({"a": torch.ones(2, dtype=kind)}) for kind in kinds}) == len(kinds)
        digest({"empty": torch.zeros(0, 3), "scalar": torch.tensor(1.0), "conjugate": torch.ones(2, dtype=torch.complex64).conj()})


class TestDistances:
    def test_three_four_five(self):
        start, end = [torch.tensor([1.0, 0.0]), torch.tensor([[0.0]])], [torch.tensor([4.0, 0.0]), torch.tensor([[4.0]])]
        moved = distances(start, end)
        assert moved["distance"] == 5.0
        assert moved["relative_distance"] == 5.0
        assert moved["rms"] == pytest.approx(5 / 3**0.5, rel=1e-15)
        assert moved["cosine"] == pytest.approx(1 / 2**0.5, rel=1e-15)

    def test_rho_and_eta_split_a_mid_state_into_timing_and_excursion(self):
        rng = torch.Generator().manual_seed(3)
        start, delta = (torch.randn(5, 7, generator=rng, dtype=torch.float64) for _ in range(2))
        off = torch.randn(5, 7, generator=rng, dtype=torch.float64)
        off -= (off * delta).sum() / delta.square().sum() * delta
        mid = start + 0.3 * delta + off
        moved = distances([start], [start + delta], [mid])
        assert moved["rho"] == pytest.approx(0.3, rel=1e-12)
        assert moved["eta"] == pytest.approx(float(off.norm() / delta.norm()), rel=1e-12)

    def test_what_is_undefined_is_nan(self):
        zero = torch.zeros(5)
        moved = distances([zero], [zero], [zero])
        assert moved["distance"] == 0.0
        assert all(np.isnan(moved[name]) for name in ("relative_distance", "cosine", "rho", "eta"))

    def test_a_cosine_never_leaves_its_range(self):
        rng = torch.Generator().manual_seed(0)
        for _ in range(50):
            v = torch.randn(7, generator=rng)
            assert -1.0 <= distances([v], [-3 * v])["cosine"] <= distances([v], [3 * v])["cosine"] <= 1.0

    def test_of_complex_and_of_half_precision_weights(self):
        assert distances([torch.tensor([0j])], [torch.tensor([3 + 4j])])["distance"] == 5.0
        assert distances([torch.zeros(4, dtype=torch.bfloat16)], [torch.ones(4, dtype=torch.bfloat16)])["distance"] == 2.0
