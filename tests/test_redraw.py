import copy
import random

import factories
import numpy as np
import pytest
import torch
from torch import nn

from nnvis_widgets.core.redraw import Redraw, RedrawError
from nnvis_widgets.core.states import Layout
from nnvis_widgets.core.units import blocks_of, units_of


class Zoo(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.conv = nn.Conv2d(1, 2, 3)
        self.recurrent = nn.LSTM(4, 4)
        self.norm = nn.BatchNorm1d(3)
        self.layer_norm = nn.LayerNorm(3)
        self.attention = nn.MultiheadAttention(4, 2)
        self.embedding = nn.Embedding(4, 3, padding_idx=0)
        self.slope = nn.PReLU()


class Own(nn.Module):
    """A module with an initialiser in the hands of its author."""

    def __init__(self, draw=lambda shape: torch.randn(shape)):
        super().__init__()
        self.weight, self.draw = nn.Parameter(torch.ones(5, 5)), draw

    def reset_parameters(self):
        with torch.no_grad():
            self.weight.copy_(self.draw(self.weight.shape))


class Bare(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))


def redraw(model, initializer=None, seed=0):
    return Redraw(model, Layout.of(model), initializer, seed)


DRAWS = {
    "rand": torch.rand,
    "randn": torch.randn,
    "randint": lambda shape: torch.randint(9, shape).float(),
    "randint from": lambda shape: torch.randint(3, 9, shape).float(),
    "randperm": lambda shape: torch.randperm(25).reshape(shape).float(),
    "randn_like": lambda shape: torch.randn_like(torch.ones(shape)),
    "rand_like": lambda shape: torch.rand_like(torch.ones(shape)),
    "normal": lambda shape: torch.normal(0.0, 1.0, shape),
    "normal of tensors": lambda shape: torch.normal(torch.zeros(shape), torch.ones(shape)),
    "bernoulli": lambda shape: torch.bernoulli(torch.full(shape, 0.5)) + torch.randn(shape),
    "orthogonal": lambda shape: nn.init.orthogonal_(torch.empty(shape)),
    "sparse": lambda shape: nn.init.sparse_(torch.empty(shape), 0.3),
    "truncated": lambda shape: nn.init.trunc_normal_(torch.empty(shape)),
    "distribution": lambda shape: torch.distributions.Gamma(1.0, 1.0).sample(shape),
}


class TestDraws:
    def test_come_from_the_modules_own_initialiser(self):
        model = factories.made(Zoo)
        drawn = redraw(model).draw([n for n, _ in model.named_parameters()])
        bound = 1 / 3**0.5  # torch's for a linear layer of three inputs
        assert 0.5 * bound < drawn["linear.weight"].abs().max() <= bound
        assert torch.equal(drawn["norm.weight"], torch.ones(3))
        assert torch.equal(drawn["embedding.weight"][0], torch.zeros(3))
        assert torch.equal(drawn["attention.in_proj_bias"], torch.zeros(12))
        assert torch.equal(drawn["slope.weight"], torch.full((1,), 0.25))

    def test_have_the_distribution_that_they_have_in_training(self):
        from scipy import stats

        module = factories.made(lambda: nn.Linear(50, 80))
        drawn = redraw(nn.Sequential(module)).draw(["0.weight"])["0.weight"]
        assert stats.ks_2samp(drawn.numpy().ravel(), module.weight.detach().numpy().ravel()).pvalue > 1e-3
        assert not torch.equal(drawn, module.weight)

    def test_are_those_of_a_seed_and_a_number_whichever_others_are_asked_for(self):
        model = factories.made(Zoo)
        one = redraw(model).draw(["linear.weight"], 3)["linear.weight"]
        assert torch.equal(one, redraw(model).draw(["conv.weight", "linear.bias", "linear.weight"], 3)["linear.weight"])
        assert not torch.equal(one, redraw(model).draw(["linear.weight"], 4)["linear.weight"])
        assert not torch.equal(one, redraw(model, seed=1).draw(["linear.weight"], 3)["linear.weight"])

    @pytest.mark.parametrize("name", DRAWS)
    def test_leave_the_global_generators_where_they_are(self, name):
        model = Own(DRAWS[name])
        before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
        made = redraw(model)
        assert made.problem(["weight"]) == ""
        assert not torch.equal(made.draw(["weight"], 0)["weight"], made.draw(["weight"], 1)["weight"])
        assert torch.equal(before[0], torch.get_rng_state())
        assert before[1:] == (random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002

    def test_leave_the_model_and_its_gradients_as_they_are(self):
        model = factories.made(Zoo)
        model.linear(torch.ones(2, 3)).sum().backward()
        before, gradient = copy.deepcopy(model.state_dict()), model.linear.weight.grad.clone()
        redraw(model).draw([n for n, _ in model.named_parameters()])
        assert factories.same(model.state_dict(), before)
        assert torch.equal(model.linear.weight.grad, gradient)
        assert model.linear.weight.requires_grad

    def test_a_callback_fills_a_copy_from_the_private_generator_whatever_it_draws_with(self):
        def mine(module, generator):
            nn.init.normal_(module.weight, 5.0, 0.1, generator=generator)
            nn.init.normal_(module.bias)

        before = torch.get_rng_state()
        made = redraw(factories.made(Zoo), mine)
        drawn = made.draw(["linear.weight", "linear.bias"])
        assert drawn["linear.weight"].mean() == pytest.approx(5.0, abs=0.2)
        assert made.problem(["linear.weight", "linear.bias"]) == ""
        assert torch.equal(before, torch.get_rng_state())


class TestProblems:
    def test_a_module_without_an_initialiser_is_no_gaussian(self):
        assert "a Bare has no reset_parameters" in redraw(Bare()).problem(["weight"])
        assert "give initializer=" in redraw(Bare()).problem(["weight"])
        with pytest.raises(RedrawError):
            redraw(Bare()).draw(["weight"])
        assert redraw(Bare(), lambda module, generator: module.weight.uniform_(generator=generator)).problem(["weight"]) == ""

    def test_one_that_leaves_a_weight_out_is_told(self):
        normed = nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))
        why = redraw(nn.Sequential(normed)).problem(["0.parametrizations.weight.original0"])
        assert "does not draw its 'parametrizations.weight.original0'" in why
        assert "initializer of a Bare does not draw its 'weight'" in redraw(Bare(), lambda *_: None).problem(["weight"])

    def test_one_that_draws_from_numpy_is_told(self):
        state = np.random.get_state()  # noqa: NPY002
        why = redraw(Own(lambda shape: torch.tensor(np.random.rand(*shape)))).problem(["weight"])  # noqa: NPY002
        np.random.set_state(state)  # noqa: NPY002
        assert "draws from another generator than torch's" in why

    def test_one_that_fails_is_told(self):
        assert "initialising a Own failed (ZeroDivisionError" in redraw(Own(lambda shape: 1 / 0)).problem(["weight"])
        with pytest.raises(TypeError, match="initializer: a function"):
            redraw(Bare(), "normal")


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1, self.conv2, self.bn2 = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 3, 3)
        self.body = nn.Sequential(Block(), Block())
        self.head = nn.Linear(3, 2, bias=False)


class TestUnits:
    def names(self, model, unit="module", part="all", layers=None):
        return {scope.name: list(scope.tensors) for scope in units_of(model, Layout.of(model), unit, part, layers)}

    def test_a_residual_block_is_one_with_its_norms(self):
        model = Residual()
        assert blocks_of(model) == ["stem", "body.0", "body.1", "head"]
        assert len(self.names(model, "block")["body.0"]) == 8
        assert list(self.names(model)) == [
            "stem",
            *(f"body.{i}.{m}" for i in (0, 1) for m in ("conv1", "bn1", "conv2", "bn2")),
            "head",
        ]
        assert list(self.names(model, "tensor"))[:3] == ["stem.weight", "stem.bias", "body.0.conv1.weight"]

    def test_lists_are_looked_into_and_what_they_repeat_is_not(self):
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        assert blocks_of(nn.Sequential(nn.Linear(8, 8), nn.TransformerEncoder(layer, 2))) == ["0", "1.layers.0", "1.layers.1"]
        pair = [nn.Sequential(nn.Linear(2, 2), nn.ReLU()) for _ in range(2)]
        assert blocks_of(nn.Sequential(*pair, nn.Linear(2, 2))) == ["0", "1", "2"]
        assert blocks_of(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))) == ["0", "2"]

    def test_parts_are_told_by_name_and_layers_without_one_left_out(self):
        assert "head" not in self.names(Residual(), part="biases")
        assert self.names(Residual(), part="biases")["stem"] == ["stem.bias"]
        assert self.names(Residual(), part="weights")["stem"] == ["stem.weight"]
        assert all("bias" in n for n in self.names(Zoo(), part="biases")["recurrent"])

    def test_some_by_name_a_list_among_them_as_one(self):
        model = Residual()
        assert list(self.names(model, layers=["head", ["body.0.conv1", "body.0.bn1"]])) == ["head", "body.0.conv1 + body.0.bn1"]
        assert list(self.names(model, "block", layers=["body.1"])) == ["body.1"]

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"unit": "filter"}, "unit: one of 'module', 'block', 'tensor'; received 'filter'"),
            ({"part": "bias"}, "part: one of 'all', 'weights', 'biases'; received 'bias'"),
            ({"layers": ["haed"]}, "layers: .*'head'"),
            ({"layers": "head"}, "layers: a list of names"),
            ({"layers": []}, "layers: a list of names"),
            ({"layers": ["head"], "part": "biases"}, "part: none of the layers has biases"),
        ],
    )
    def test_what_it_cannot_take_is_refused(self, given, words):
        with pytest.raises(ValueError, match=words):
            self.names(Residual(), **given)
