"""Principal components that grow with the run are those of the run."""

import factories
import numpy as np
import pytest
import torch

import nnvis_widgets as nv
from nnvis_widgets.core.live_principal import LivePrincipal, random_walk_shares


def grown(run, **options):
    live = LivePrincipal(run[0].state, run.layout, lambda index: run[index].state, **options)
    for index in range(1, len(run)):
        assert live.append(index, run[index].state)
    return live


def turned_onto(xy, target):
    """Return `xy` after the rotation or reflection about the origin that brings it nearest to `target`."""
    left, _, right = np.linalg.svd(xy.T @ target)
    return xy @ (left @ right)


@pytest.fixture(params=[torch.float32, torch.float64, torch.bfloat16], ids=str)
def run(request):
    model = factories.made(factories.ConvNet).to(request.param)
    return nv.Run.from_states(factories.states(model, 9))


def test_the_last_frame_is_the_principal_plane_of_the_run(run):
    frame = grown(run).frame()
    plane = nv.pca_plane(run)
    expected = plane.project(run)
    size = np.abs(expected.xy).max()
    assert frame.keys == tuple(range(9))
    assert frame.explained == pytest.approx(plane.explained, rel=1e-5)
    assert turned_onto(frame.xy, expected.xy) == pytest.approx(expected.xy, abs=1e-5 * size)
    assert frame.off_plane == pytest.approx(expected.off_plane, abs=1e-4)
    assert frame.xy[-1] == pytest.approx([0, 0], abs=1e-9 * size)


def test_so_it_is_at_every_checkpoint_before(run):
    live = LivePrincipal(run[0].state, run.layout, lambda index: run[index].state)
    for index in range(1, len(run)):
        live.append(index, run[index].state)
        frame = live.frame()
        if index > 1:
            part = nv.Run.from_states([checkpoint.state for checkpoint in run[: index + 1]])
            expected = nv.pca_plane(part).project(part).xy
            assert turned_onto(frame.xy, expected) == pytest.approx(expected, abs=1e-5 * np.abs(expected).max())


def test_differences_are_taken_before_they_are_multiplied():
    # weights near 1000 that move by thousandths: products of the weights themselves would know nothing of it
    torch.manual_seed(0)
    walk = 1000 + torch.randn(7, 300, dtype=torch.float64).cumsum(0) * 1e-3
    run = nv.Run.from_states([{"w": row} for row in walk])
    frame = grown(run).frame()
    rows = (walk - walk.mean(0)).numpy()
    left, sizes, _ = np.linalg.svd(rows, full_matrices=False)
    expected = (left * sizes)[:, :2]
    assert frame.explained == pytest.approx((sizes**2 / (sizes**2).sum())[:2], rel=1e-6)
    assert turned_onto(frame.xy - frame.xy.mean(0), expected) == pytest.approx(expected, abs=1e-8)


def test_rows_that_do_not_fit_into_memory_are_read_again_and_change_nothing(run):
    reads = []

    def read(index):
        reads.append(index)
        return run[index].state

    live = LivePrincipal(run[0].state, run.layout, read, budget=3 * 4 * run.layout.count())
    for index in range(1, len(run)):
        live.append(index, run[index].state)
        assert sum(len(row) > 0 for row in live._rows if row is not None) <= 3
    assert set(reads) == {3, 4, 5, 6}  # 1, 2 and the latest stay in memory
    assert live.frame().xy == pytest.approx(grown(run).frame().xy)


def test_with_many_checkpoints_every_second_is_left_out_but_never_the_ends():
    torch.manual_seed(0)
    walk = torch.randn(40, 60).cumsum(0)
    run = nv.Run.from_states([{"w": row} for row in walk])
    live = LivePrincipal(run[0].state, run.layout, lambda index: run[index].state, most=8)
    for index in range(1, 40):
        live.append(index, run[index].state)
        assert live.keys[0] == 0
        assert live.keys[-1] == index
        assert len(live.keys) <= 8
    assert live.stride == 8
    assert live.keys == [0, 8, 16, 24, 32, 39]
    kept = nv.Run.from_states([run[key].state for key in live.keys])
    expected = nv.pca_plane(kept).project(kept).xy
    assert turned_onto(live.frame().xy, expected) == pytest.approx(expected, abs=1e-5 * np.abs(expected).max())


def test_the_frame_neither_flips_nor_turns():
    # a spiral: its principal axes turn and its eigenvectors flip as it grows; the picture of what was there may not
    t = np.linspace(0, 4 * np.pi, 60)
    flat = np.stack([t * np.cos(t), 0.6 * t * np.sin(t)], 1)
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(31, 2)))[0]
    run = nv.Run.from_states([{"w": torch.from_numpy(row)} for row in flat @ basis.T])
    live, before = LivePrincipal(run[0].state, run.layout, lambda index: run[index].state), None
    for index in range(1, 60):
        live.append(index, run[index].state)
        frame = live.frame()
        if before is not None and index > 4:
            was, now = before.xy - before.xy[0], frame.xy[:index] - frame.xy[0]
            # all of it lies in the plane, so that a steady frame shows what was there exactly where it was
            assert now == pytest.approx(was, abs=1e-3 * np.abs(was).max())
        before = frame


def test_two_checkpoints_are_a_line():
    run = nv.Run.from_states([{"w": torch.zeros(5)}, {"w": torch.tensor([3.0, 4, 0, 0, 0])}])
    live = LivePrincipal(run[0].state, run.layout, lambda index: run[index].state)
    assert live.frame() is None
    live.append(1, run[0].state)
    assert live.frame() is None  # it did not move
    live.append(1, run[1].state)
    frame = live.frame()
    assert frame.xy == pytest.approx(np.array([[-5.0, 0], [0, 0]]))
    assert frame.explained.tolist() == [1, 0]
    assert frame.off_plane == pytest.approx([0, 0], abs=1e-7)


def test_what_diverged_is_not_added(run):
    live = grown(run)
    broken = {name: tensor * float("nan") if tensor.is_floating_point() else tensor for name, tensor in run.final.items()}
    assert not live.append(9, broken)
    assert live.keys[-1] == 8
    assert live.append(9, run.final)


def test_an_earlier_checkpoint_is_refused(run):
    live = grown(run)
    with pytest.raises(ValueError, match="at least 8, the latest checkpoint's number; received 3"):
        live.append(3, run.final)


@pytest.mark.parametrize("count", [2, 3, 5, 17])
def test_shares_of_a_random_walk(count):
    steps = np.tril(np.ones((count, count)))  # the expected Gram matrix of a walk with independent steps is steps @ steps.T
    centring = np.eye(count) - 1 / count
    values = np.linalg.eigvalsh(centring @ steps @ steps.T @ centring)[::-1][: count - 1]
    assert random_walk_shares(count)[: count - 1] == pytest.approx(values / values.sum())


def test_of_a_long_one_they_are_those_of_antognini_and_sohl_dickstein():
    assert random_walk_shares(5000)[:3] == pytest.approx(6 / (np.pi * np.arange(1, 4)) ** 2, rel=1e-5)
