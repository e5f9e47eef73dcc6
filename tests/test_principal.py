import factories
import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

import nnvis_widgets as nv
from nnvis_widgets import store
from nnvis_widgets.core import principal
from nnvis_widgets.core.pieces import Piece, read_pieces
from nnvis_widgets.core.plane import PlaneError
from nnvis_widgets.core.states import StateError


def matrix(run, plane):
    """The checkpoints as rows, in float64."""
    names = list(plane.directions[0])
    return np.stack([np.concatenate([c.state[n].double().numpy().reshape(-1) for n in names]) for c in run])


def axes(plane):
    return np.stack([np.concatenate([t.double().numpy().reshape(-1) for t in d.values()]) for d in plane.directions])


def agree(run, plane, tolerance=1e-6):
    """Whether directions, shares and coordinates are those of scikit-learn, with the sign that the plane promises."""
    rows = matrix(run, plane)
    expected = PCA(svd_solver="full").fit(rows)
    ours = axes(plane)
    assert np.linalg.norm(ours, axis=1) == pytest.approx([1, 1], abs=1e-6)
    for direction, component in zip(ours, expected.components_, strict=False):
        assert direction[np.abs(direction).argmax()] > 0
        sign = np.sign(direction @ component)
        assert np.linalg.norm(direction - sign * component) < tolerance
    count = len(plane.spectrum)
    assert plane.spectrum == pytest.approx(expected.explained_variance_ratio_[:count], abs=tolerance)
    assert plane.explained == pytest.approx(expected.explained_variance_ratio_[:2], rel=tolerance)
    trajectory = plane.project(run)
    assert trajectory.xy == pytest.approx((rows - rows[-1]) @ ours.T, abs=tolerance * np.abs(trajectory.xy).max())
    assert np.array_equal(trajectory.explained, plane.explained)
    return trajectory


def flat(rows, shape=(5, 7)):
    """A run of states with one tensor of some shape and a vector, from rows of numbers."""
    size = int(np.prod(shape))
    return nv.Run.from_states([{"w": torch.tensor(r[:size]).reshape(shape), "b": torch.tensor(r[size:])} for r in rows])


class TestAgainstScikitLearn:
    @pytest.mark.parametrize("count", [3, 4, 9, 60])  # 46 weights: fewer and more checkpoints than that
    def test_directions_and_shares(self, count):
        rows = np.cumsum(np.random.default_rng(count).normal(size=(count, 46)), axis=0)
        plane = nv.pca_plane(flat(rows))
        agree(flat(rows), plane, 1e-9)
        assert plane.kind == "pca"
        assert len(plane.spectrum) == min(count - 1, 46)

    def test_several_blocks_of_several_pieces_of_several_tensors(self, walk, monkeypatch):
        monkeypatch.setattr(principal, "BLOCK_BYTES", 8 * 5 * 17)
        run = nv.Run.from_states(walk)
        made = []

        def drained():
            made.append((yield from nv.iter_pca_plane(run)))

        shares = list(drained())
        assert len(shares) > 30
        assert shares == sorted(shares)
        assert shares[-1] == 1.0
        agree(run, made[0])

    def test_small_differences_of_large_weights(self):
        rng = np.random.default_rng(0)
        steps = np.cumsum(rng.normal(size=(12, 4000)), axis=0) * 1e-4
        rows = (100.0 + rng.normal(size=4000) + steps).astype(np.float32)
        run = flat(rows, (50, 60))
        agree(run, nv.pca_plane(run))

    def test_a_long_way_from_the_start_and_a_second_component_of_a_millionth(self):
        rng = np.random.default_rng(1)
        one, two = rng.normal(size=(2, 3000))
        t = np.linspace(-1, 1, 14)
        rows = (3.0 + 5 * t[:, None] * one + 0.005 * (t[:, None] ** 2) * two).astype(np.float32)
        rows[0] -= 20 * one.astype(np.float32)
        run = flat(rows, (50, 40))
        plane = nv.pca_plane(run)
        assert 1e-8 < plane.explained[1] < 1e-6
        agree(run, plane)

    def test_repeated_checkpoints(self):
        rows = np.cumsum(np.random.default_rng(5).normal(size=(6, 46)), axis=0)
        run = flat(np.repeat(rows, [1, 3, 1, 2, 1, 4], axis=0))
        agree(run, nv.pca_plane(run), 1e-9)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_other_types(self, walk, dtype):
        run = nv.Run.from_states([{n: t.to(dtype) if t.is_floating_point() else t for n, t in state.items()} for state in walk])
        plane = nv.pca_plane(run)
        agree(run, plane)
        assert plane.directions[0]["fc1.weight"].dtype == torch.promote_types(dtype, torch.float32)
        assert factories.same(plane.state_at(0, 0), run.final)

    def test_complex_weights_are_two_real_ones(self):
        rng = torch.Generator().manual_seed(0)
        states = [{"w": torch.randn(5, 7, dtype=torch.complex128, generator=rng)} for _ in range(4)]
        plane = nv.pca_plane(nv.Run.from_states(states))
        expected = PCA(2).fit(np.stack([torch.view_as_real(s["w"]).reshape(-1).numpy() for s in states]))
        assert plane.explained == pytest.approx(expected.explained_variance_ratio_, rel=1e-12)
        ours = torch.view_as_real(plane.directions[1]["w"]).reshape(-1).numpy()
        assert abs(ours @ expected.components_[1]) == pytest.approx(1, rel=1e-12)


class TestPlane:
    def test_it_goes_through_the_trained_model_and_covers_the_trajectory(self, run):
        plane = nv.pca_plane(run)
        assert factories.same(plane.state_at(0, 0), run.final)
        trajectory = plane.project(run)
        assert trajectory.xy[-1].tolist() == [0, 0]
        assert trajectory.off_plane[-1] == 0
        x0, x1, y0, y1 = plane.extent
        assert (trajectory.xy > [x0, y0]).all()
        assert (trajectory.xy < [x1, y1]).all()
        assert abs(plane.cosine) < 1e-6

    def test_shares_are_of_its_own_run_and_of_no_other(self, walk, run):
        plane = nv.pca_plane(run)
        assert plane.project(run).explained is not None
        assert plane.project(nv.Run.from_states(walk[::-1])).explained is None
        assert plane.project(nv.Run.from_states(walk[1:])).explained is None

    def test_another_centre_moves_the_plane_and_turns_nothing(self, walk, run):
        final, other = nv.pca_plane(run), nv.pca_plane(run, center=walk[1])
        assert factories.same(other.state_at(0, 0), walk[1])
        assert np.abs(axes(other) - axes(final)).max() < 1e-6
        assert other.project(run).xy - other.project(run).xy[-1] == pytest.approx(final.project(run).xy, abs=1e-5)

    def test_a_random_walk_has_the_shares_that_are_promised(self):
        rng = np.random.default_rng(0)
        rows = np.cumsum(rng.normal(size=(100, 4000)), axis=0)
        plane = nv.pca_plane(flat(rows, (50, 60)))
        assert plane.random_walk[:2] == pytest.approx([0.6079, 0.1520], abs=1e-4)
        assert plane.explained[0] == pytest.approx(0.608, abs=0.02)
        assert plane.spectrum[:4] == pytest.approx(plane.random_walk[:4], rel=0.1)
        # and its coordinates are cosines: evidence of nothing
        xy = plane.project(flat(rows, (50, 60))).xy
        for k in range(2):
            assert abs(np.corrcoef(xy[:, k], np.cos((k + 1) * np.pi * (np.arange(100) + 0.5) / 100))[0, 1]) > 0.98

    def test_tied_weights_count_once_and_buffers_and_frozen_ones_not(self, model, walk, tmp_path):
        tied = factories.made(factories.Tied)
        states = factories.states(tied, 4)
        with nv.Recorder(tied, tmp_path / "run") as recorder:
            for epoch, state in enumerate(states[1:], 1):
                tied.load_state_dict(state)
                recorder.record(epoch=epoch)
        plane = nv.pca_plane(nv.Run.open(tmp_path / "run"))
        assert sorted(plane.directions[0]) == ["embedding.weight", "mix.bias", "mix.weight"]
        agree(nv.Run.open(tmp_path / "run"), plane)
        model.fc1.weight.requires_grad_(False)
        known = nv.pca_plane(nv.Run.from_states(walk), model=model)
        assert "fc1.weight" not in known.moved
        assert not {name for name in known.moved if name in dict(model.named_buffers())}

    def test_what_spans_no_plane_is_refused(self, walk, run):
        with pytest.raises(PlaneError, match="at least three checkpoints, and this run holds 2"):
            nv.pca_plane(nv.Run.from_states(walk[:2]))
        with pytest.raises(PlaneError, match="all checkpoints are equal"):
            nv.pca_plane(nv.Run.from_states([walk[0], *({n: t.clone() for n, t in walk[0].items()} for _ in range(2))]))
        line = nv.LinearPath(*({n: t.double() for n, t in walk[i].items()} for i in (0, 4)))
        with pytest.raises(PlaneError, match="on one line"):
            nv.pca_plane(nv.Run.from_states([line.state_at(a) for a in (0, 0.25, 1)]))
        bad = {**walk[1], "conv2.weight": walk[1]["conv2.weight"] * np.nan}
        with pytest.raises(StateError, match="checkpoint 1 of the run holds NaN"):
            nv.pca_plane(nv.Run.from_states([walk[0], bad, *walk[2:]]))
        with pytest.raises(StateError, match=r"the centre .* holds NaN"):
            nv.pca_plane(nv.Run.from_states([*walk, bad]))
        with pytest.raises(ValueError, match=r"center: 'final' or a state, such as run.final; received 'first'"):
            nv.pca_plane(run, center="first")
        with pytest.raises(TypeError, match="run: a Run"):
            nv.pca_plane(walk)

    def test_other_shapes_in_a_later_file_are_refused(self, tmp_path):
        for k, width in enumerate((3, 3, 4, 3)):
            torch.save(nn.Linear(2, width).state_dict(), tmp_path / f"{k}.pt")
        with pytest.raises(StateError, match="checkpoint 2 of the run is of another model"):
            nv.pca_plane(nv.Run.from_checkpoints([tmp_path / f"{k}.pt" for k in range(4)]))


class TestPieces:
    """What is read of a checkpoint without the rest."""

    @pytest.fixture(params=["recorded", "torch files", "old torch files", "in memory", "of others"])
    def stored(self, request, model, walk, tmp_path):
        if request.param == "recorded":
            with nv.Recorder(model, tmp_path / "run") as recorder:
                for epoch, state in enumerate(walk, 1):
                    model.load_state_dict(state)
                    recorder.record(epoch=epoch)
            return list(nv.Run.open(tmp_path / "run"))[1:]
        if request.param in ("torch files", "old torch files"):
            files = [tmp_path / f"{k}.pt" for k in range(len(walk))]
            for file, state in zip(files, walk, strict=True):
                torch.save({"model": state, "epoch": 3}, file, _use_new_zipfile_serialization=request.param == "torch files")
            return nv.Run.from_checkpoints(files)
        if request.param == "of others":
            return [type("Theirs", (), {"state": {f"module.{n}": t for n, t in state.items()}}) for state in walk]
        return nv.Run.from_states(walk)

    def test_they_are_the_elements_row_by_row(self, stored, walk):
        wanted = [
            Piece("conv1.weight", torch.Size((3, 1, 3, 3)), 4, 22),
            Piece("fc1.bias", torch.Size((6,)), 0, 6),
            Piece("fc1.weight", torch.Size((6, 32)), 191, 192),
            Piece("fc1.weight", torch.Size((6, 32)), 7, 7),
        ]
        for checkpoint, state in zip(stored, walk, strict=True):
            for piece, (name, _, start, stop) in zip(read_pieces(checkpoint, wanted), wanted, strict=True):
                assert piece.dtype == state[name].dtype
                assert torch.equal(piece, state[name].reshape(-1)[start:stop])

    def test_of_a_recorded_run_the_rest_of_the_file_is_not_read(self, model, tmp_path, monkeypatch):
        with nv.Recorder(model, tmp_path / "run"):
            pass
        checkpoint = nv.Run.open(tmp_path / "run")[0]
        monkeypatch.setattr(store, "read_tensors", None)
        assert torch.equal(checkpoint.pieces([Piece("fc2.bias", torch.Size((3,)), 1, 3)])[0], model.fc2.bias[1:])

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.complex64, torch.int64])
    def test_types(self, dtype, tmp_path):
        tensor = (torch.arange(35).reshape(5, 7) * 1.5).to(dtype)
        store.write_tensors(tmp_path / "a", {"w": tensor, "x": tensor.T})
        file = store.TensorFile(tmp_path / "a")
        got = file.pieces([("w", (5, 7), 3, 33), ("x", (7, 5), 1, 4)])
        assert torch.equal(got[0], tensor.reshape(-1)[3:33])
        assert torch.equal(got[1], tensor.T.reshape(-1)[1:4])

    def test_files_that_cannot_be_read_are_named(self, tmp_path):
        store.write_tensors(tmp_path / "a", {"w": torch.zeros(50, 7)})
        content = (tmp_path / "a").read_bytes()
        with pytest.raises(store.StoreError, match=r"'w' of shape \(5,\) was asked for, and has shape \(50, 7\)"):
            store.TensorFile(tmp_path / "a").pieces([("w", (5,), 0, 5)])
        with pytest.raises(store.StoreError, match=r"'v' .* is not there"):
            store.TensorFile(tmp_path / "a").pieces([("v", (5,), 0, 5)])
        (tmp_path / "a").write_bytes(content[:-100])
        with pytest.raises(store.StoreError, match="cut short"):
            store.TensorFile(tmp_path / "a").pieces([("w", (50, 7), 0, 350)])
        (tmp_path / "a").write_bytes(b"\x07\0\0\0\0\0\0\0nothing")
        with pytest.raises(store.StoreError, match="cannot be read as a checkpoint"):
            store.TensorFile(tmp_path / "a").pieces([("w", (50, 7), 0, 350)])
        with pytest.raises(store.StoreError, match="cannot be read as a checkpoint"):
            store.TensorFile(tmp_path / "b").pieces([("w", (50, 7), 0, 350)])
