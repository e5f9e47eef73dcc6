"""Nothing of the host slips in between the operations of a point, a GPU gives the plain pass's numbers, memory may be short."""

import pickle
from functools import partial

import factories
import numpy as np
import pytest
import torch
import zoo
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

import nnvis_widgets as nv
from nnvis_widgets.core.data import Samples, _batch_size
from nnvis_widgets.core.exact import exact_kernels
from nnvis_widgets.core.losses import placed
from nnvis_widgets.core.points import Points
from nnvis_widgets.core.program.lean import mixture
from nnvis_widgets.core.program.program import Program
from nnvis_widgets.core.program.split import Piece
from nnvis_widgets.core.program.turns import Sums

pytestmark = pytest.mark.usefixtures("unhurried")
ROWS = np.array([[0.6, -0.2, 0.6], [0.0, 0.5, 0.5], [0.1, 0.7, 0.2]])
TRANSFERS = ("aten::to", "aten::_to_copy", "aten::lift_fresh", "aten::copy_")  # how the coefficients of a row get to the device


class Watch(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = [t for t in tree_flatten((args, kwargs or {}))[0] if isinstance(t, torch.Tensor)]
        if func._schema.name not in TRANSFERS:
            assert all(t.is_meta for t in given), f"{func} takes a tensor of the host"
        return func(*args, **(kwargs or {}))


def there(values):
    return tree_map(lambda t: t.to("meta") if isinstance(t, torch.Tensor) else t, values)


@pytest.mark.parametrize("name", ["convnet", "gpt", "mobile", "class weights"])
@pytest.mark.parametrize("engine", ["auto", {"together": 1}, {"head": False}])
def test_the_operations_of_a_point_take_tensors_of_one_device_only(name, engine):
    case = zoo.CASES[name]
    model = factories.made(case.build)
    states = factories.states(model, 3)
    got = nv.Evaluator(
        model, case.data(), loss=case.loss, forward=case.forward, device="cpu", batch_size=9, batchnorm="final", engine=engine
    )
    for scope in case.scopes[:3]:
        family = got.family(scope, states, states[2])
        points = Points(got._replica, got._batchnorm, got._scorer, got._recordings, family, ROWS, "final")
        points.load(got._samples.batch(0), 9)
        for group, _ in points.groups(range(3)):
            expected = points.scores(group)[0]
            program = points._now
            weights, buffers = there(points.moving(group[0], program)), there(points._buffers_at(group[0]))
            kept = {what: getattr(program, what) for what in ("_fixed", "_batch", "_heads", "_stacks")}
            sums = program._sums
            try:
                for what, values in kept.items():
                    # tree_map would sort the keys of a dictionary, and nodes have no order
                    inside = [
                        dict(zip(v, map(there, v.values()), strict=True))
                        for v in ([values] if isinstance(values, dict) else values)
                    ]
                    setattr(program, what, inside[0] if isinstance(values, dict) else inside)
                program._sums = Sums(points._anchors.rows, points._anchors.fast, program._heads, mixture)
                with torch.inference_mode(), Watch():
                    scores = program.scores(group, lambda k, weights=weights: weights, buffers)
            finally:
                program._sums = sums
                for what, values in kept.items():
                    setattr(program, what, values)
            assert [(s.shape, s.dtype, s.is_meta) for s in scores] == [(e.shape, e.dtype, True) for e in expected]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("name", zoo.CASES)
def test_recorded_and_plain_agree_on_a_gpu(name):
    case = zoo.CASES[name]
    model = factories.made(case.build)
    model = model.to(case.dtype) if case.dtype != torch.float32 else model
    states = factories.states(model, 3)
    auto, plain, host = (
        nv.Evaluator(
            model, case.data(), loss=case.loss, forward=case.forward, device=device, batch_size=9, batchnorm="final", engine=engine
        )
        for device, engine in (("cuda", "auto"), ("cuda", "plain"), ("cpu", "plain"))
    )
    for scope in case.scopes:
        losses = []
        for evaluator in (auto, plain, host):
            *_, last = evaluator.sweep(evaluator.family(scope, states, states[2]), ROWS)
            losses.append(last.tallies["loss"].mean)
        assert losses[0] == pytest.approx(losses[1], rel=1e-5, abs=1e-7)
        assert losses[1] == pytest.approx(losses[2], rel=1e-4, abs=1e-6)
    # a fused recurrent network of cuDNN is one operation, and may not be recorded
    assert auto.fallback == "" or name in ("lstm", "gru")


@pytest.mark.parametrize("name", ["convnet", "residual", "gpt", "class weights"])
def test_points_whose_weights_move_are_computed_together_where_a_device_waits(monkeypatch, name):
    sizes, many = [], Program._many
    monkeypatch.setattr("nnvis_widgets.core.program.program._waits", lambda device: True)
    monkeypatch.setattr(Program, "_many", lambda self, ks: sizes.append((len(ks), len(self._parts.weights))) or many(self, ks))
    case = zoo.CASES[name]
    model = factories.made(case.build)
    states = factories.states(model, 3)
    matrices = [name for name, parameter in model.named_parameters() if parameter.ndim > 1]
    single = matrices[-1], (1,) * model.get_parameter(matrices[-1]).ndim
    for scope in (None, [matrices[0], matrices[-1]], [matrices[0], single]):
        losses = []
        for engine in ("auto", "plain"):
            evaluator = nv.Evaluator(
                model,
                case.data(),
                loss=case.loss,
                forward=case.forward,
                device="cpu",
                batch_size=9,
                batchnorm="final",
                engine=engine,
            )
            *_, last = evaluator.sweep(evaluator.family(scope, states, states[2]), np.eye(3)[[0, 2, 1]].tolist() + ROWS.tolist())
            losses.append(last.tallies["loss"].mean)
            assert evaluator.fallback in ("", "engine='plain'")
        np.testing.assert_allclose(*losses, rtol=1e-5)
    assert max(count for count, moving in sizes if moving) > 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_modules_are_spared_on_a_gpu_too():
    case = zoo.CASES["residual"]
    model = factories.made(case.build)
    states = factories.states(model, 3)
    losses = []
    for engine in ("modules", "plain"):
        evaluator = nv.Evaluator(model, case.data(), device="cuda", batch_size=9, batchnorm="final", engine=engine)
        *_, last = evaluator.sweep(evaluator.family("fc", states, states[2]), ROWS)
        losses.append(last.tallies["loss"].mean)
        assert evaluator._recordings.no_modules in ("", "engine='plain'")
    assert np.array_equal(*losses)


def test_class_weights_of_a_loss_go_to_the_device_in_a_copy():
    own, bound = torch.nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0])), torch.tensor([3.0, 1.0])
    there = torch.device("meta")
    assert placed(own, there).weight.is_meta
    assert placed(partial(torch.nn.functional.nll_loss, weight=bound, ignore_index=4), there).keywords["weight"].is_meta
    assert placed(partial(partial(own), bound), there).args[0].is_meta
    assert not own.weight.is_meta
    assert not bound.is_meta
    assert placed(own, torch.device("cpu")) is own
    assert placed(torch.nn.functional.mse_loss, there) is torch.nn.functional.mse_loss


def test_products_are_not_rounded_even_where_the_user_allows_it():
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        with exact_kernels(), exact_kernels():
            assert torch.backends.cuda.matmul.fp32_precision == "ieee"
        assert torch.get_float32_matmul_precision() == "high"
        assert torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_gpu_gives_the_same_numbers_whether_the_user_allows_rounded_products_or_not():
    model, before = factories.made(factories.ConvNet), torch.get_float32_matmul_precision()
    states, losses = factories.states(model, 3), []
    try:
        for precision in ("highest", "high"):
            torch.set_float32_matmul_precision(precision)
            evaluator = nv.Evaluator(model, factories.images(500), device="cuda", batchnorm="final")
            losses.append(losses_of(evaluator, states, None))
    finally:
        torch.set_float32_matmul_precision(before)
    assert np.array_equal(*losses)


@pytest.mark.parametrize(
    ("memory", "image", "size"), [(8 * 2**30, 3 * 32 * 32, 1365), (80 * 2**30, 32 * 32, 4000), (2**30, 3 * 224 * 224, 3)]
)
def test_a_gpu_takes_large_batches_but_not_more_than_its_memory_holds(monkeypatch, memory, image, size):
    monkeypatch.setattr("nnvis_widgets.core.data._all_bytes", lambda device: memory)
    assert _batch_size("auto", 4 * image, 8000, torch.device("cuda")) == pytest.approx(size, rel=0.13)


def small(**options):
    case = zoo.CASES["convnet"]
    model = factories.made(case.build)
    return nv.Evaluator(model, case.data(), device="cpu", batch_size=9, **options), factories.states(model, 3)


def losses_of(evaluator, states, scope):
    *_, last = evaluator.sweep(evaluator.family(scope, states, states[2]), np.concatenate([ROWS] * 3))
    return last.tallies["loss"].mean


@pytest.mark.parametrize("most", [5, 2, 1])
def test_points_that_do_not_fit_into_memory_together_are_tried_again_by_halves(monkeypatch, most):
    sizes, many = [], Program._many

    def short_of_memory(self, ks):
        sizes.append(len(ks))
        if len(ks) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return many(self, ks)

    monkeypatch.setattr(Program, "_many", short_of_memory)
    evaluator, states = small(engine={"together": 9})
    got = losses_of(evaluator, states, "fc2")
    expected, _ = small(engine={"together": 1})
    np.testing.assert_allclose(got, losses_of(expected, states, "fc2"), rtol=1e-6)
    assert evaluator.fallback == ""
    assert max(sizes) > most
    assert sizes[-1] <= max(most, 2)  # after the last failure with two there are only single ones


def test_a_point_that_does_not_fit_alone_is_an_error_that_says_what_would(monkeypatch):
    evaluator, states = small()

    def short_of_memory(self, row, inputs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Piece, "at", short_of_memory)
    with pytest.raises(torch.OutOfMemoryError) as caught:
        losses_of(evaluator, states, None)
    assert any("batch_size=4" in note for note in caught.value.__notes__)


def test_samples_stay_on_a_device_while_there_is_room(monkeypatch):
    moves = []
    monkeypatch.setattr("nnvis_widgets.core.data.free_bytes", lambda device: 4 * (2 * 9 * 3 * 4 + 2 * 9 * 8))
    monkeypatch.setattr("nnvis_widgets.core.data.move", lambda batch, device: moves.append(device) or [t.clone() for t in batch])
    x, y = torch.randn(23, 3), torch.arange(23) % 4
    samples = Samples((x, y), batch_size=9, device=torch.device("cpu"))
    for _ in range(2):
        got = torch.cat([samples.there(number)[0] for number in range(3)])
        assert torch.equal(got, x[samples.order])
    assert len(moves) == 4  # two batches fit, and the third is moved again
    again = pickle.loads(pickle.dumps(samples))
    assert torch.equal(again.there(1)[0], samples.there(1)[0])
    assert len(moves) == 5
