import factories
import numpy as np
import pytest
import torch
from torch import nn

from nnvis_widgets.core.scope import Scope, ScopeError, element_index, movable_layers
from nnvis_widgets.core.states import Layout


@pytest.fixture
def layout(model):
    return Layout.of(model)


class TestNames:
    @pytest.mark.parametrize(
        ("spec", "name", "level", "count"),
        [
            (None, "model", "model", 27 + 3 + 6 + 48 + 4 + 192 + 6 + 18 + 3),
            ("*", "model", "model", 307),
            ("fc1", "fc1", "layer", 198),
            ("conv1.*", "conv1.*", "layer", 30),
            ("conv1.weight", "conv1.weight", "tensor", 27),
            (("conv1.weight", (2, 0, 1, 2)), "conv1.weight[2, 0, 1, 2]", "element", 1),
            (("fc1.bias", 4), "fc1.bias[4]", "element", 1),
            (["fc1", "fc2"], "fc1 + fc2", "union", 219),
            (("fc1.weight", "fc1.bias"), "fc1.weight + fc1.bias", "union", 198),
            (["fc1", "fc1.weight", ("fc1.weight", (0, 0))], "fc1 + fc1.weight + fc1.weight[0, 0]", "union", 198),
            ([("fc1.bias", 3), ("fc1.bias", 1), ("fc1.bias", 3)], "fc1.bias[3] + fc1.bias[1] + fc1.bias[3]", "union", 2),
        ],
    )
    def test_each_spelling(self, layout, spec, name, level, count):
        scope = Scope.parse(spec, layout)
        assert (scope.name, scope.level, scope.count(layout)) == (name, level, count)

    def test_an_element_is_the_one_at_its_index(self, layout, model):
        state = model.state_dict()
        (value,) = Scope.parse(("fc1.weight", (5, 17)), layout).take(state)
        assert float(value) == float(state["fc1.weight"][5, 17])

    @pytest.mark.parametrize(
        "index", [(5, 17), [5, 17], np.array([5, 17]), torch.tensor([5, 17]), np.unravel_index(5 * 32 + 17, (6, 32))]
    )
    def test_an_index_may_be_any_row_of_whole_numbers(self, layout, index):
        assert Scope.parse(("fc1.weight", index), layout).name == "fc1.weight[5, 17]"

    def test_a_module_owns_its_own_parameters_and_a_star_takes_all_below(self):
        model = factories.made(lambda: factories.Deep(2))
        layout = Layout.of(model)
        assert Scope.parse("layers.*", layout).count(layout) == layout.count()
        assert Scope.parse("layers.0", layout).count(layout) == 24

    def test_a_tied_weight_goes_by_either_name(self):
        layout = Layout.of(factories.made(factories.Tied))
        assert Scope.parse("decoder.weight", layout).name == "embedding.weight"
        assert Scope.parse(("decoder.weight", (10, 4)), layout).name == "embedding.weight[10, 4]"

    def test_integer_parameters_are_left_out_of_the_model(self):
        model = torch.nn.Linear(5, 7)
        model.table = torch.nn.Parameter(torch.arange(3), requires_grad=False)
        layout = Layout.of(model)
        assert set(Scope.parse(None, layout).tensors) == {"weight", "bias"}
        with pytest.raises(ScopeError, match=r"'table' has type torch.int64, which cannot be interpolated"):
            Scope.parse("table", layout)

    @pytest.mark.parametrize(("flat", "shape"), [(11, (2, 3, 4)), (0, (5, 7)), (34, (5, 7)), (0, ())])
    def test_element_index_is_row_major(self, flat, shape):
        assert element_index(flat, shape) == tuple(int(i) for i in np.unravel_index(flat, shape))


class TestRefused:
    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ("fcl", r"no layer or parameter 'fcl'; did you mean .*'fc1'"),
            ("con1.weight", r"did you mean 'conv1.weight'"),
            ("cnov1.*", r"no layer or parameter 'cnov1\.\*'.*conv1"),
            ("bn1.running_mean", r"'bn1.running_mean' is a buffer; buffers follow the evaluator's BatchNorm policy"),
            ([], r"an empty list selects nothing; None selects the whole model"),
            (3, r"expected None, a name such as 'fc1'.*received 3"),
            (("fc1", (0, 0)), r"a single weight needs its tensor, one of 'fc1.weight', 'fc1.bias'; received the layer 'fc1'"),
            (
                ("fc1.weight", (6, 0)),
                r"'fc1.weight' has shape \(6, 32\), so its indices run from \(0, 0\) to \(5, 31\); received \(6, 0\)",
            ),
            (("fc1.weight", (-1, 0)), r"received \(-1, 0\)"),
            (("fc1.weight", (3,)), r"received \(3,\)"),
            (("fc1.weight", 3), r"received \(3,\)"),
            (("fc1.weight", (0.7, 1)), r"a tuple of whole numbers; received \(0.7, 1\)"),
            (("fc1.weight", None), r"a tuple of whole numbers; received None"),
            (("fc1.wieght", (0, 0)), r"did you mean .*'fc1.weight'"),
        ],
    )
    def test_says_what_would_work(self, layout, spec, message):
        with pytest.raises(ScopeError, match=message):
            Scope.parse(spec, layout)

    def test_a_container_names_the_spelling_that_takes_all_below(self):
        layout = Layout.of(factories.made(lambda: factories.Deep(3)))
        with pytest.raises(ScopeError, match=r"'layers' owns no parameters itself; 'layers\.\*' selects all 6 tensors"):
            Scope.parse("layers", layout)

    def test_a_layer_whose_weights_are_all_tied_names_the_owner(self):
        layout = Layout.of(factories.made(factories.Tied))
        for spec in ("decoder", "decoder.*"):
            with pytest.raises(ScopeError, match=r"all parameters of 'decoder' are tied to \['embedding.weight'\]"):
                Scope.parse(spec, layout)

    def test_a_scope_of_another_model(self, layout):
        other = Layout.of(factories.made(lambda: factories.Deep(2)))
        with pytest.raises(ScopeError, match="no layer or parameter"):
            Scope.parse(Scope.parse("layers.0", other), layout)
        with pytest.raises(ScopeError, match=r"'fc1.bias\[5\]' was made for another model; here 'fc1.bias' has shape \(2,\)"):
            Scope.parse(Scope.parse(("fc1.bias", 5), layout), Layout({"fc1.bias": torch.Size([2])}, {"fc1.bias": torch.float32}))


class Mixed(nn.Module):
    """A parameter at the root, a layer that owns integers too, one without weights, and one called as any other."""

    def __init__(self):
        super().__init__()
        self.cls = nn.Parameter(torch.zeros(1, 3))
        self.table = nn.Linear(3, 2)
        self.table.code = nn.Parameter(torch.arange(3), requires_grad=False)
        self.act = nn.ReLU()
        self.head = nn.Linear(2, 2)


def test_movable_layers_are_scopes_that_can_be_parsed():
    layout = Layout.of(Mixed())
    movable = movable_layers(layout)
    assert movable == {
        "cls": ("cls",),
        "table.weight": ("table.weight",),
        "table.bias": ("table.bias",),
        "head": ("head.weight", "head.bias"),
    }
    for name, tensors in movable.items():
        assert tuple(Scope.parse(name, layout).tensors) == tensors
