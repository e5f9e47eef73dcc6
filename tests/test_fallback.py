"""Models that cannot be recorded: the numbers stay right, the reason is said, and modules before the scope run once a batch."""

import collections
from dataclasses import dataclass

import factories
import numpy as np
import pytest
import torch
import zoo
from torch import nn
from torch.nn import functional as F

import nnvis_widgets as nv

pytestmark = pytest.mark.usefixtures("unhurried")
ROWS = np.array([[0.6, -0.2, 0.6], [0.0, 0.5, 0.5], [0.0, 0.0, 1.0], [0.1, 0.7, 0.2]])


def measured(model, engine="auto", scopes=(None, "a", "b", "fc"), data=None, **options):
    """Return an evaluator and the means of loss and accuracy at each scope and row."""
    states = factories.states(model, 3)
    options = {"device": "cpu", "batch_size": 9, **options}
    evaluator = nv.Evaluator(model, factories.images(23) if data is None else data, engine=engine, **options)
    means = []
    for scope in scopes:
        *_, last = evaluator.sweep(evaluator.family(scope, states, states[2]), ROWS)
        means.append([tally.mean for tally in last.tallies.values()])
    return evaluator, np.array(means)


class Net(nn.Module):
    """Three linear layers; `twist` is what a subclass does between the first and the second."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.fc = nn.Linear(35, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.relu = nn.ReLU()

    def twist(self, x):
        return x

    def forward(self, x):
        x = self.twist(self.relu(self.a(x.flatten(1))))
        return self.fc(torch.tanh(self.b(x)))


class Asking(Net):
    def twist(self, x):
        return x if x.sum() > 20 else -x


class Items(Net):
    def twist(self, x):
        return x / x.abs().max().item()


class Listed(Net):
    def twist(self, x):
        return x + max(x[0].tolist())


class Numpy(Net):
    def twist(self, x):
        return x + torch.from_numpy(np.tanh(x.numpy()))


class Asarray(Net):
    def twist(self, x):
        return x * float(np.asarray(x).mean())


class Rounded(Net):
    """Takes its weight through numpy."""

    def twist(self, x):
        return x @ torch.from_numpy(self.b.weight.detach().numpy().round(2))


class Sampling(Net):
    """Random, but with a generator of its own that starts anew at each call."""

    def twist(self, x):
        return x + torch.rand(x.shape[1:], generator=torch.Generator().manual_seed(1))


class Choosing(Net):
    """Selects as many rows as there are positive ones."""

    def twist(self, x):
        return x + x[x[:, 0] > 0].sum(0)


READS = "it reads the value"
REFUSED = {
    Asking: READS, Items: READS, Listed: READS, Numpy: READS, Asarray: READS, Rounded: READS, Sampling: "random numbers",
    Choosing: "how many are selected",
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_a_model_that_cannot_be_recorded_is_called_and_says_why(kind):
    model = factories.made(kind)
    evaluator, means = measured(model)
    assert np.array_equal(means, measured(model, "plain")[1])
    assert REFUSED[kind] in evaluator.fallback
    assert evaluator._recordings.used()["program"] == "modules"
    assert np.ptp(means, axis=2)[:, 0].min() > 1e-5


class Hidden(Net):
    """Reads values in a way that nothing of torch's sees, so they become constants of the recording."""

    def __init__(self, what):
        super().__init__()
        self.what = what

    def twist(self, x):
        tensor = x if self.what == "samples" else self.a.weight.detach()
        values = np.frombuffer(bytes(tensor.contiguous().untyped_storage()), dtype=np.float32)
        return x + float(np.abs(values).max())


@pytest.mark.slow
@pytest.mark.parametrize("what", ["samples", "weights"])
@pytest.mark.parametrize("batch_size", [1, 23])
def test_values_that_became_constants_are_found_out(what, batch_size):
    model = factories.made(lambda: Hidden(what))
    # the largest value of a batch does not care about their order, and the background of the first scope holds the weights
    evaluator, means = measured(model, scopes=("fc", None), batch_size=batch_size)
    # a sample that the constant hardly matters to passes: the next one does not
    assert means == pytest.approx(measured(model, "plain", scopes=("fc", None), batch_size=batch_size)[1], rel=2e-4)
    assert "other values of 'loss'" in evaluator.fallback


@dataclass
class Wrapped:
    image: torch.Tensor
    label: torch.Tensor


def test_batches_that_are_objects():
    model = factories.made(Net)
    data = [Wrapped(x, t) for x, t in zip(*factories.images(23), strict=True)]
    loader = torch.utils.data.DataLoader(
        data, collate_fn=lambda parts: Wrapped(torch.stack([p.image for p in parts]), torch.stack([p.label for p in parts]))
    )
    options = {"data": loader, "forward": lambda net, batch: (net(batch.image), batch.label)}
    evaluator, means = measured(model, **options)
    assert np.array_equal(means, measured(model, "plain", **options)[1])
    assert "objects that torch does not open" in evaluator.fallback


class Counted(Net):
    """Counts its calls in a buffer and in python, which changes nothing of what it gives."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.seen = 0

    def twist(self, x):
        self.seen += 1
        self.calls += 1
        return x


def test_a_model_that_counts_its_calls_is_recorded():
    model = factories.made(Counted)
    evaluator, means = measured(model)
    assert means == pytest.approx(measured(model, "plain")[1], rel=2e-6)
    assert evaluator.fallback == ""
    assert (model.seen, int(model.calls)) == (0, 0)


def test_a_model_that_differentiates_inside_is_called_plainly():
    class Inner(Net):
        def twist(self, x):
            x = x.detach().requires_grad_()
            return torch.autograd.grad(x.pow(2).sum(), x)[0]

    model = factories.made(Inner)
    evaluator, means = measured(model, grad=True, scopes=("fc",))
    assert np.isfinite(means).all()
    assert "differentiates" in evaluator.fallback
    assert evaluator._recordings.used()["program"] == "plain"


def test_a_loss_that_looks_at_values():
    def loss(output, target):
        rows = F.cross_entropy(output, target, reduction="none")
        return rows if rows.max() < 1.5 else rows.clamp(max=1.5)

    model = factories.made(Net)
    evaluator, means = measured(model, loss=loss)
    assert np.array_equal(means, measured(model, "plain", loss=loss)[1])
    assert READS in evaluator.fallback


class TestModules:
    """Asking cannot be recorded; what its modules are called for is counted."""

    @staticmethod
    def counted(model, scope, engine, policy="auto", **options):
        calls = collections.Counter()

        def forward(net, batch):
            def count(module, name):
                # a hook would be seen, and its module would not be spared
                original = type(module).forward
                return lambda *args: (calls.update([name]), original(module, *args))[1]

            for name in ("a", "relu", "b", "fc"):
                module = getattr(net, name)
                if "forward" not in module.__dict__:
                    module.__dict__["forward"] = count(module, name)
            return net(batch[0]), batch[1]

        states = factories.states(model, 3)
        evaluator = nv.Evaluator(
            model, factories.images(23), device="cpu", batch_size=9, engine=engine, forward=forward, batchnorm=policy, **options
        )
        calls.clear()
        *_, last = evaluator.sweep(evaluator.family(scope, states, states[2]), ROWS)
        return evaluator, last.tallies["loss"].mean, calls

    def test_modules_before_the_scope_run_once_a_batch(self):
        model = factories.made(Asking)
        evaluator, loss, calls = self.counted(model, "fc", "modules")
        batches, points = 3, len(ROWS)
        # the first batch also runs once plainly, to be compared with
        assert calls == {"a": batches + 1, "relu": batches + 1, "b": batches + 1, "fc": batches * points + 1}
        assert np.array_equal(loss, self.counted(model, "fc", "plain")[1])
        assert evaluator._recordings.used()["program"] == "modules"

    def test_from_the_scope_on_everything_runs(self):
        _, _, calls = self.counted(factories.made(Asking), "b.bias", "modules")
        assert (calls["a"], calls["b"], calls["fc"]) == (4, 13, 13)

    @pytest.mark.parametrize("scope", [None, "a", ["fc", ("a.bias", 1)]])
    def test_where_the_first_module_moves_nothing_is_spared_or_compared(self, scope):
        _, _, calls = self.counted(factories.made(Asking), scope, "modules")
        assert set(calls.values()) == {12}

    def test_plain_spares_nothing(self):
        _, _, calls = self.counted(factories.made(Asking), "fc", "plain")
        assert set(calls.values()) == {12}

    NAMES = ("convnet", "residual", "gpt", "attention", "lstm", "u-net", "mobile", "parametrized", "two inputs", "tied")

    @pytest.mark.parametrize(
        ("name", "policy"), [*((name, "final") for name in NAMES), ("convnet", "batch"), ("residual", "batch"), ("mobile", "batch")]
    )
    def test_no_bit_differs_from_the_plain_pass(self, name, policy):
        case = zoo.CASES[name]
        model = factories.made(case.build)
        options = {"data": case.data(), "forward": case.forward, "batchnorm": policy, "scopes": case.scopes[-3:]}
        evaluator, means = measured(model, "modules", **options)
        assert np.array_equal(means, measured(model, "plain", **options)[1])
        assert evaluator._recordings.no_modules == ""
        assert evaluator.fallback == "engine='modules'"

    @pytest.mark.parametrize("policy", ["interpolate", "recalibrate"])
    def test_running_statistics_move_too(self, policy):
        model = factories.made(factories.ConvNet)
        options = {"batchnorm": policy, "scopes": ("fc1", "conv2", "bn1", None)}
        evaluator, means = measured(model, "modules", **options)
        assert np.array_equal(means, measured(model, "plain", **options)[1])
        assert evaluator._recordings.no_modules == ""

    def test_outputs_that_are_written_into_or_views_of_their_inputs(self):
        class Writing(Net):
            def __init__(self):
                super().__init__()
                self.same, self.view = nn.Identity(), nn.Flatten()
                self.pair = Pair()

            def twist(self, x):
                y = self.same(x)
                y += 1  # x is y
                z = self.view(x)
                z.mul_(0.5)
                one, two = self.pair(x)
                one.add_(two)
                return torch.relu_(one) + x + two

        class Pair(nn.Module):
            def forward(self, x):
                return x * 2, x[:, :1]

        model = factories.made(Writing)
        evaluator, means = measured(model, "modules")
        assert np.array_equal(means, measured(model, "plain")[1])
        assert evaluator._recordings.no_modules == ""

    def test_a_model_that_remembers_its_calls_is_given_up(self):
        class Alternating(Net):
            """Gives the same each time, by modules in another order."""

            def __init__(self):
                super().__init__()
                self.turn, self.c = 0, nn.Linear(6, 6)

            def twist(self, x):
                self.turn += 1
                for module in (self.c, self.relu) if self.turn % 2 else (self.relu, self.c):
                    module(x)
                return x

        model = factories.made(Alternating)
        evaluator, means = measured(model, "modules", scopes=("fc",))
        assert np.array_equal(means, measured(model, "plain", scopes=("fc",))[1])
        assert "another order" in evaluator._recordings.no_modules
        assert evaluator._recordings.used()["program"] == "plain"

    def test_weights_that_another_module_uses_first(self):
        class Borrowing(Net):
            def twist(self, x):
                return F.linear(x, self.fc.weight.T @ self.fc.weight)

        model = factories.made(Borrowing)
        evaluator, means = measured(model, "modules")
        assert np.array_equal(means, measured(model, "plain")[1])
        assert evaluator._recordings.no_modules == ""

    def test_a_module_whose_hooks_are_heard_is_not_left_out(self):
        heard = []

        class Listening(Net):
            def __init__(self):
                super().__init__()
                self.a.register_forward_hook(lambda module, given, output: heard.append(output))

            def forward(self, x):
                heard.clear()
                return super().forward(x) + heard[0].mean()

        model = factories.made(Listening)
        evaluator, means = measured(model, "modules")
        assert np.array_equal(means, measured(model, "plain")[1])
        assert evaluator._recordings.no_modules == ""

    def test_many_single_weights_of_a_model_that_cannot_be_recorded(self):
        model = factories.made(Asking)
        path = nv.LinearPath(*factories.states(model, 2))
        scopes = ["fc", *(("b.weight", (i, 2)) for i in range(4)), "a"]
        one, other = (
            nv.measure_paths(nv.Evaluator(model, factories.images(23), device="cpu", batch_size=9, engine=e), path, scopes)
            for e in ("auto", "plain")
        )
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[key].loss, other[key].loss) for key in one)

    def test_nothing_is_left_on_the_copy(self):
        model = factories.made(Asking)
        evaluator, _ = measured(model, "modules")
        with evaluator._replica.alone() as root:
            assert not any("forward" in module.__dict__ for module in root.modules())
        assert not any("forward" in module.__dict__ for module in model.modules())

    def test_nor_after_an_error(self):
        class Failing(Net):
            def twist(self, x):
                if self.fc.bias[0] > 1e3:
                    raise ZeroDivisionError
                return x

        model = factories.made(Failing)
        states = factories.states(model, 2)
        states[1]["fc.bias"] = torch.full((3,), 1e4)
        evaluator = nv.Evaluator(model, factories.images(23), device="cpu", batch_size=9, engine="modules")
        with pytest.raises(ZeroDivisionError):
            list(evaluator.sweep(evaluator.family("fc", states, states[0]), np.eye(2)))
        with evaluator._replica.alone() as root:
            assert not any("forward" in module.__dict__ for module in root.modules())
        assert np.isfinite(evaluator.measure(states[0]).loss)


def test_a_result_says_how_it_was_computed():
    states = factories.states(factories.made(Asking), 2)
    for kind, engine, program in [
        (Asking, "auto", "modules"),
        (Net, "auto", "recorded"),
        (Net, "modules", "modules"),
        (Net, "plain", "plain"),
    ]:
        evaluator = nv.Evaluator(factories.made(kind), factories.images(23), device="cpu", engine=engine)
        result = nv.measure_path(evaluator, nv.LinearPath(*states), [0.0, 1.0], scope="fc")
        chosen = result.provenance["engine"]
        assert chosen["program"] == program
        again = nv.Evaluator(factories.made(kind), factories.images(23), device="cpu", engine=chosen)
        assert np.array_equal(nv.measure_path(again, nv.LinearPath(*states), [0.0, 1.0], scope="fc").loss, result.loss)
