"""The engine against the plain forward pass and against a loop in float64, on architectures of many kinds."""

import copy

import factories
import numpy as np
import pytest
import torch
import zoo
from torch import nn
from torch.nn import functional as F

import nnvis_widgets as nv
from nnvis_widgets.core.family import LinearPath, QuadraticPath

ALPHAS = (-0.3, 0.5, 1.0, 1.4)
# hundreds of small networks, each measured three ways
pytestmark = [pytest.mark.usefixtures("unhurried"), pytest.mark.slow]


def evaluator(case, model, engine="auto", **options):
    given = {"loss": case.loss, "forward": case.forward, "device": "cpu", "batch_size": 9, "batchnorm": "final", **options}
    return nv.Evaluator(model, case.data(), engine=engine, **given)


def made(case):
    model = factories.made(case.build)
    return model.to(case.dtype) if case.dtype != torch.float32 else model


def curves(evaluator, anchors, rows, scope, background=None):
    """Return the means of each quantity at each row."""
    family = evaluator.family(scope, anchors, anchors[-1] if background is None else background)
    *_, last = evaluator.sweep(family, rows)
    return {name: tally.mean for name, tally in last.tallies.items()}


def wide(tensor):
    kinds = {True: torch.complex128, False: torch.float64}
    return tensor.to(kinds[tensor.is_complex()]) if tensor.is_floating_point() or tensor.is_complex() else tensor


def opened(batch):
    if isinstance(batch, dict):
        return {key: opened(value) for key, value in batch.items()}
    return (
        [opened(part) for part in batch] if isinstance(batch, (list, tuple)) else wide(batch) if torch.is_tensor(batch) else batch
    )


def naive(case, model, evaluator, anchors, rows, scope):
    """Return losses (K,), shares of right answers (K,) and how many answers are all but ties (K,), in float64."""
    family = evaluator.family(scope, anchors, anchors[-1])
    batches = [opened(evaluator._samples.batch(number)) for number in range(len(evaluator._samples))]
    forward = case.forward or (lambda net, batch: (net(batch[0]), batch[1]))
    loss = copy.deepcopy(case.loss).double() if isinstance(case.loss, nn.Module) else case.loss or F.cross_entropy
    losses, shares, ties = [], [], []
    for row in rows:
        state = {name: wide(tensor).clone() for name, tensor in anchors[-1].items()}
        for name, index in family.scope.tensors.items():
            parts = (c * wide(anchor[name]) for c, anchor in zip(row, anchors, strict=True) if c)
            total = sum(parts, torch.zeros_like(state[name]))
            if index is None:
                state[name] = total
            else:
                state[name].view(-1)[index] = total.reshape(-1)[index]
        state.update({alias: state[name] for alias, name in evaluator.layout.aliases.items()})
        twin = copy.deepcopy(model).eval()
        for tensor in (*twin.parameters(), *twin.buffers()):
            tensor.data = wide(tensor.data)
        twin.load_state_dict(state)
        with torch.no_grad():
            pairs = [forward(twin, batch) for batch in batches]
        outputs, targets = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        if case.loss is zoo.contrast:
            losses.append(sum(float(loss(*pair)) * len(pair[1]) for pair in pairs) / len(targets))
        else:
            losses.append(float(loss(outputs, targets).mean()))
        if targets.is_floating_point():
            continue
        shares.append(float((outputs.argmax(1) == targets).double().mean()))
        best = outputs.topk(2, dim=1).values
        ties.append(int((best[:, 0] - best[:, 1] < 1e-4).sum()) / targets.numel())
    return np.array(losses), np.array(shares), np.array(ties)


def assert_close(mine, plain, exact):
    own = np.abs(plain - exact)
    assert np.all(np.abs(mine - exact) <= np.maximum(1e-6 * np.abs(exact) + 1e-8, 2 * own.max()))


@pytest.mark.parametrize("name", zoo.CASES)
def test_recorded_and_plain_agree_with_a_loop_in_float64(name):
    case = zoo.CASES[name]
    model = made(case)
    states = factories.states(model, 3)
    auto, plain = evaluator(case, model), evaluator(case, model, "plain")
    for number, scope in enumerate(case.scopes):
        path = QuadraticPath(*states) if number % 2 == 0 else LinearPath(states[0], states[2])
        rows = [path.coefficients(alpha) for alpha in ALPHAS]
        mine, theirs = (curves(one, path.states, rows, scope) for one in (auto, plain))
        losses, shares, ties = naive(case, model, auto, path.states, rows, scope)
        assert_close(mine["loss"], theirs["loss"], losses)
        assert np.ptp(losses) > 1e-6, "the scope does nothing"
        if "accuracy" in mine:
            for got in (mine, theirs):
                assert np.all(np.abs(got["accuracy"] - shares) <= ties + 1e-7)
    assert auto.fallback == ""
    assert auto._recordings.used()["program"] == "recorded"


@pytest.mark.parametrize("policy", ["final", "interpolate", "recalibrate", "batch"])
@pytest.mark.parametrize("name", ["sequential", "residual", "mobile", "instance norm"])
def test_every_batchnorm_policy(name, policy):
    case = zoo.CASES[name]
    model = made(case)
    states = factories.states(model, 3, size=0.1)
    auto, plain = (evaluator(case, model, engine, batchnorm=policy) for engine in ("auto", "plain"))
    for scope in case.scopes[:3]:
        rows = [QuadraticPath(*states).coefficients(alpha) for alpha in (0.0, 0.4, 1.0, 1.2)]
        mine, theirs = (curves(one, states, rows, scope) for one in (auto, plain))
        # a variance of a channel that is all but constant is no better than its rounding
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-5 if policy in ("recalibrate", "batch") else 2e-6)
    assert auto.fallback == ""


@pytest.mark.parametrize("name", ["convnet", "gpt", "branches"])
def test_rows_that_do_not_sum_to_one(name):
    case = zoo.CASES[name]
    model = made(case)
    centre, one, two = factories.states(model, 3)
    rng = np.random.default_rng(0)
    rows = np.array([(1.0, x, y) for x in (-0.5, 0.0, 0.7) for y in (0.0, 0.4)] + [(0.0, 0.0, 0.0), tuple(rng.random(3))])
    auto, plain = evaluator(case, model), evaluator(case, model, "plain")
    # the background is the centre, whose weights the row (1, 0, 0) gives back
    for scope in case.scopes:
        anchors = [one, two, centre]
        mine, theirs = (curves(e, anchors, rows[:, [1, 2, 0]], scope) for e in (auto, plain))
        losses, *_ = naive(case, model, auto, anchors, rows[:, [1, 2, 0]], scope)
        assert_close(mine["loss"], theirs["loss"], losses)
    assert auto.fallback == ""


@pytest.mark.parametrize("size", [1, 4, 23, 22])
def test_batches_of_any_size(size):
    case = zoo.CASES["convnet"]
    model = made(case)
    states = factories.states(model, 2)
    rows = [LinearPath(*states).coefficients(alpha) for alpha in ALPHAS]
    plain = evaluator(case, model, "plain", batch_size=9)
    auto = evaluator(case, model, batch_size=size)
    for scope in (None, "conv2", "fc2"):
        assert curves(auto, states, rows, scope)["loss"] == pytest.approx(curves(plain, states, rows, scope)["loss"], rel=2e-6)
    assert auto.fallback == ""


class TestKnots:
    ROWS = np.eye(3)

    @pytest.mark.parametrize("scope", [None, "conv1", "fc1.weight", ("fc1.weight", (3, 20))])
    def test_a_stored_state_is_measured_as_it_is(self, scope):
        case = zoo.CASES["convnet"]
        model = made(case)
        states = factories.states(model, 3)
        auto = evaluator(case, model)
        family = auto.family(scope, states, states[2])
        alone = [curves(auto, [s], [[1.0]], scope, states[2])["loss"][0] for s in states]
        assert curves(auto, states, self.ROWS, scope)["loss"] == pytest.approx(alone, rel=1e-6)
        assert family.moved(self.ROWS[2])[next(iter(family.scope.tensors))] is not None

    @pytest.mark.parametrize("scope", [None, "conv1", "conv2", "fc2.bias"])
    @pytest.mark.parametrize("bad", [float("inf"), float("nan")])
    def test_an_anchor_that_has_diverged_spoils_no_row_that_it_has_no_part_in(self, scope, bad):
        case = zoo.CASES["convnet"]
        model = made(case)
        states = factories.states(model, 3)
        spoilt = {
            n: torch.full_like(t, bad) if n in model.state_dict() and t.is_floating_point() else t for n, t in states[1].items()
        }
        rows = np.array([[1.0, 0.0, 0.0], [0.5, 0.0, 0.5], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.2, 0.3, 0.5]])
        auto = evaluator(case, model)
        anchors = [states[0], spoilt, states[2]]
        got = curves(auto, anchors, rows, scope)["loss"]
        good = [0, 1, 3]
        assert got[good] == pytest.approx(curves(evaluator(case, model, "plain"), states, rows, scope)["loss"][good], rel=2e-6)
        assert not np.isfinite(got[[2, 4]]).any()
        assert auto.fallback == ""


class TestReuse:
    EXACT = {"head": False, "channels_last": False, "together": 1}  # noqa: RUF012 - a constant

    @pytest.mark.parametrize("name", ["convnet", "residual", "gpt", "lstm", "two inputs", "writes in place"])
    def test_the_prefix_alone_changes_no_bit(self, name):
        case = zoo.CASES[name]
        model = made(case)
        states = factories.states(model, 3)
        exact, plain = evaluator(case, model, self.EXACT), evaluator(case, model, "plain")
        rows = [QuadraticPath(*states).coefficients(alpha) for alpha in ALPHAS]
        for scope in case.scopes:
            mine, theirs = (curves(one, states, rows, scope) for one in (exact, plain))
            assert np.array_equal(mine["loss"], theirs["loss"])
        assert exact.fallback == ""

    @pytest.mark.parametrize("engine", [{"head": False}, {"together": 1}, {"channels_last": False}, {"together": 3}])
    def test_each_part_of_the_engine_can_be_switched_off(self, engine):
        case = zoo.CASES["convnet"]
        model = made(case)
        states = factories.states(model, 2)
        rows = [LinearPath(*states).coefficients(alpha) for alpha in ALPHAS]
        one, plain = evaluator(case, model, engine), evaluator(case, model, "plain")
        for scope in (None, "conv2", "fc1", "fc2"):
            assert curves(one, states, rows, scope)["loss"] == pytest.approx(curves(plain, states, rows, scope)["loss"], rel=2e-6)
        assert one.fallback == ""
        assert one._recordings.used() == {**one._recordings.used(), **engine}

    def test_a_path_after_another_has_nothing_of_it(self):
        case = zoo.CASES["convnet"]
        model = made(case)
        states = factories.states(model, 4)
        auto, plain = evaluator(case, model), evaluator(case, model, "plain")
        rows = [LinearPath(*states[:2]).coefficients(alpha) for alpha in ALPHAS]
        for scope, anchors, background in [
            ("fc1", states[:2], states[0]), ("fc1", states[:2], states[3]), ("fc1", states[2:], states[0]),
            (None, states[:2], states[1]), ("fc1", states[:2], states[1]), ("conv1", states[1:3], states[2]),
        ]:  # fmt: skip
            mine, theirs = (curves(e, anchors, rows, scope, background)["loss"] for e in (auto, plain))
            assert mine == pytest.approx(theirs, rel=2e-6)
        assert auto.fallback == ""


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_recorded_and_as_good_as_plain(dtype):
    case = zoo.CASES["convnet"]
    model = factories.made(lambda: factories.ConvNet(norm=False)).to(dtype)
    data = factories.images(23, dtype=dtype)
    states = factories.states(model, 3)
    auto, plain = (nv.Evaluator(model, data, device="cpu", batch_size=9, engine=engine) for engine in ("auto", "plain"))
    rows = [QuadraticPath(*states).coefficients(alpha) for alpha in ALPHAS]
    for scope in (None, "conv2", "fc1.weight", ("fc1.weight", (3, 20))):
        mine, theirs = (curves(e, states, rows, scope)["loss"] for e in (auto, plain))
        losses, *_ = naive(case, model, auto, states, rows, scope)
        assert np.abs(mine - losses).max() <= 3 * np.abs(theirs - losses).max() + 1e-3
    assert auto.fallback == ""
