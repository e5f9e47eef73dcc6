"""Nothing of the host slips in between the operations of a point, and a GPU gives the same numbers as the plain pass."""

import factories
import numpy as np
import pytest
import torch
import zoo
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

import nnvis_widgets as nv
from nnvis_widgets.core.points import Points

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
            try:
                for what, values in kept.items():
                    # tree_map would sort the keys of a dictionary, and nodes have no order
                    inside = [
                        dict(zip(v, map(there, v.values()), strict=True))
                        for v in ([values] if isinstance(values, dict) else values)
                    ]
                    setattr(program, what, inside[0] if isinstance(values, dict) else inside)
                with torch.inference_mode(), Watch():
                    scores = program.scores(group, weights, buffers)
            finally:
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
