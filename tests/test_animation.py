"""Surfaces as pictures and films: what is drawn, what moves and what stands still, and that files are whole."""

from __future__ import annotations

import dataclasses
import itertools
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.text import Text
from PIL import Image, ImageSequence

import nnvis_widgets as nv
from nnvis_widgets.export import animation
from nnvis_widgets.export.landscape import dot_sizes
from nnvis_widgets.export.scale import Scale
from nnvis_widgets.results import SurfaceResult, Trajectory

X, Y = np.linspace(-1.5, 1.5, 7), np.linspace(-1, 1, 5)
SMALL = {"seconds": 0.8, "fps": 10, "dpi": 50}


def trajectory(count: int = 5, epochs=None) -> Trajectory:
    """A run from the upper right corner to the centre, fully off the plane at its start and in it at its end."""
    share = np.linspace(1, 0, count) if count > 1 else np.zeros(1)
    xy = share[:, None] * np.array([1.2, 0.8])
    return Trajectory(xy, share, None, np.arange(float(count)) if epochs is None else np.asarray(epochs, dtype=float))


def surface(loss=None, run: Trajectory | None = None, plane: dict | None = None, **more) -> SurfaceResult:
    x, y = np.meshgrid(X, Y)
    loss = 0.5 + x**2 + 3 * y**2 if loss is None else loss
    errors = np.full(loss.shape, 0.1)
    kind = {"kind": "pca", "cosine": 0.0, "lengths": [1.0, 1.0], "explained": [0.831, 0.104]}
    made = SurfaceResult(
        x=X, y=Y, loss=loss, loss_se=errors, diff_se=errors, metrics={"accuracy": 1 / (1 + loss)}, n=np.full(loss.shape, 31),
        plane=plane or kind, provenance={"split": "held-out", "batchnorm": "recalibrated"}, center_loss=0.5, **more,
    )  # fmt: skip
    return made if run is None else made.with_trajectory(run)


def frames(path) -> list[np.ndarray]:
    with Image.open(path) as film:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(film)]


def lengths(path) -> list[int]:
    with Image.open(path) as film:
        return [frame.info["duration"] for frame in ImageSequence.Iterator(film)]


def words(figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(Text)).replace("\n", " ")


class TestAnimation:
    @pytest.mark.parametrize("view", ["2d", "3d"])
    def test_as_many_frames_as_seconds_times_fps_of_one_size_that_end_with_the_whole_run(self, tmp_path, view):
        file = nv.animate_trajectory(surface(run=trajectory()), tmp_path / "new" / "run.gif", view=view, **SMALL)
        shown = frames(file)
        assert len(shown) == 8
        assert len({frame.shape for frame in shown}) == 1
        assert all((one != two).any() for one, two in itertools.pairwise(shown))
        # only the marks and the line of words change; the ground is the same in every frame
        changed = np.any([frame != shown[0] for frame in shown], axis=(0, 3)).mean()
        assert 0 < changed < 0.1
        assert [entry.name for entry in file.parent.iterdir()] == ["run.gif"]

    def test_the_last_frame_stays_and_the_film_begins_again(self, tmp_path):
        file = nv.animate_trajectory(surface(run=trajectory()), tmp_path / "run.gif", seconds=1.0, fps=15, dpi=40)
        assert len(lengths(file)) == 15
        assert lengths(file)[-1] == 1500
        assert sum(lengths(file)[:-1]) == pytest.approx(1000 * 14 / 15, abs=10)
        with Image.open(file) as film:
            assert film.info["loop"] == 0

    def test_equal_calls_give_equal_bytes_and_other_losses_do_not(self, tmp_path):
        made = surface(run=trajectory())
        one, two, other = (
            nv.animate_trajectory(made, tmp_path / f"{name}.gif", losses=losses, **SMALL).read_bytes()
            for name, losses in (("one", np.arange(5.0)), ("two", np.arange(5.0)), ("other", np.arange(5.0) + 1))
        )
        assert one == two != other

    def test_time_runs_as_the_epochs_do_and_the_title_tells_the_checkpoint_that_was_reached(self, tmp_path, monkeypatch):
        told = []
        original = animation._Stage.frame

        def frame(stage, time):
            picture = original(stage, time)
            told.append(stage._title.get_text())
            return picture

        monkeypatch.setattr(animation._Stage, "frame", frame)
        run = trajectory(4, epochs=[0, 1, 5, 10])
        nv.animate_trajectory(surface(run=run), tmp_path / "run.gif", seconds=1.1, fps=10, dpi=40, losses=[2.5, 1.5, 0.75, 0.25])
        epochs = [int(text.split("epoch")[1].split("of")[0].strip(" \u2007")) for text in told]
        assert epochs == [0, 1, 1, 1, 1, 5, 5, 5, 5, 5, 10]
        assert "loss 1.5000" in told[3]
        assert "67% off the plane" in told[3]
        assert "loss 0.2500" in told[-1]

    def test_a_run_of_more_checkpoints_than_frames_is_drawn_to_its_end(self, tmp_path):
        shown = frames(nv.animate_trajectory(surface(run=trajectory(200)), tmp_path / "run.gif", **SMALL))
        few = frames(nv.animate_trajectory(surface(run=trajectory(200)), tmp_path / "few.gif", seconds=0.1, fps=10, dpi=50))
        assert len(shown) == 8
        assert len(few) == 1
        # one frame is the last one, but for what a palette of other frames rounds
        assert np.abs(few[0].astype(int) - shown[-1].astype(int)).mean() < 2

    @pytest.mark.parametrize("view", ["2d", "3d"])
    def test_one_checkpoint_is_one_frame(self, tmp_path, view):
        assert len(frames(nv.animate_trajectory(surface(run=trajectory(1)), tmp_path / "run.gif", view=view, **SMALL))) == 1

    def test_epochs_that_do_not_ascend_are_passed_evenly(self):
        np.testing.assert_allclose(animation._clock(np.array([0.0, 0.0, 3.0])), [0, 0.5, 1])
        np.testing.assert_allclose(animation._clock(np.array([2.0, 3.0, 6.0])), [0, 0.25, 1])

    @pytest.mark.parametrize("view", ["2d", "3d"])
    @pytest.mark.filterwarnings("error")
    def test_what_is_not_finite_or_outside_does_not_stop_it(self, tmp_path, view):
        loss = surface().loss.copy()
        loss[0, :3], loss[4, 6] = np.inf, np.nan
        far = trajectory()
        far = dataclasses.replace(far, xy=far.xy * np.array([3.0, 1.0]), off_plane=np.array([np.nan, 0.5, 0.5, 0.5, 0]))
        losses = [np.inf, np.nan, 2.0, -1.0, 0.5]
        for values in (loss, np.full(loss.shape, np.nan)):
            made = surface(values, run=far)
            shown = frames(nv.animate_trajectory(made, tmp_path / "run.gif", view=view, losses=losses, **SMALL))
            assert len(shown) > 3

    def test_a_write_that_fails_leaves_the_old_file_and_no_part(self, tmp_path, monkeypatch):
        target = tmp_path / "run.gif"
        target.write_text("old")

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("nnvis_widgets.export.files.os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            nv.animate_trajectory(surface(run=trajectory()), target, **SMALL)
        assert [entry.name for entry in tmp_path.iterdir()] == ["run.gif"]
        assert target.read_text() == "old"

    @pytest.mark.slow
    def test_without_a_display_and_without_pyplot(self, tmp_path):
        script = (
            "import sys; sys.path.insert(0, 'tests'); import test_animation as t; import nnvis_widgets as nv; "
            "made = t.surface(run=t.trajectory()); "
            "[nv.animate_trajectory(made, sys.argv[1] + v + '.gif', view=v, **t.SMALL) for v in ('2d', '3d')]; "
            "assert 'matplotlib.pyplot' not in sys.modules; assert 'torch' not in sys.modules"
        )
        environment = {"MPLBACKEND": "TkAgg", "PATH": "", "HOME": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "run")], env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        assert {path.name for path in tmp_path.glob("*.gif")} == {"run2d.gif", "run3d.gif"}

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"path": "run.avi"}, r"path: .*\.gif or \.mp4.*'run.avi'"),
            ({"seconds": 0}, "seconds: a positive number, received 0"),
            ({"fps": float("nan")}, "fps: a positive number"),
            ({"fps": 60}, "fps: at most 50 in a GIF"),
            ({"dpi": "high"}, "dpi: a positive number, received 'high'"),
            ({"view": "4d"}, "view: '2d' or '3d', received '4d'"),
            ({"losses": [1.0, 2.0]}, r"losses: one for each of the 5 checkpoints.*\(2,\)"),
            ({"surface": surface()}, r"surface: .*with_trajectory"),
        ],
    )
    def test_bad_input_is_refused_and_nothing_is_written(self, tmp_path, options, message):
        made = options.pop("surface", surface(run=trajectory()))
        with pytest.raises(ValueError, match=message):
            nv.animate_trajectory(made, tmp_path / options.pop("path", "run.gif"), **(SMALL | options))
        assert not list(tmp_path.iterdir())

    def test_a_film_without_imageio_says_how_to_install_it(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "imageio", None)
        monkeypatch.setitem(sys.modules, "imageio.v2", None)
        with pytest.raises(ModuleNotFoundError, match=r"nnvis_widgets\[video\].*a \.gif needs nothing more"):
            nv.animate_trajectory(surface(run=trajectory()), tmp_path / "run.mp4", **SMALL)
        assert not list(tmp_path.iterdir())

    def test_a_film_has_all_frames_and_holds_the_last(self, tmp_path):
        imageio = pytest.importorskip("imageio.v2")
        pytest.importorskip("imageio_ffmpeg")
        file = nv.animate_trajectory(surface(run=trajectory()), tmp_path / "run.mp4", **SMALL)
        with imageio.get_reader(file) as film:
            shown = [np.asarray(frame) for frame in film]
        assert len(shown) == 8 + 15
        assert all(size % 2 == 0 for size in shown[0].shape[:2])
        assert np.abs(shown[8].astype(int) - shown[-1]).mean() < 1 < np.abs(shown[0].astype(int) - shown[-1]).max()
        assert [entry.name for entry in tmp_path.iterdir()] == ["run.mp4"]


class TestFigures:
    def test_the_caption_says_samples_split_batchnorm_cosine_and_the_shares_beside_those_of_a_random_walk(self):
        said = words(nv.surface_figure(surface(run=trajectory())))
        for part in ("loss on the plane of the run's principal components", "held-out, n = 31, BatchNorm: recalibrated"):
            assert part in said
        for part in ("83.1% + 10.4%", "random walk: 61% + 15%", "cos(x, y) = 0.0000", "off the plane is 100%"):
            assert part in said

    def test_a_random_plane_says_its_normalisation_and_seed_and_no_shares(self):
        random = {"kind": "random", "normalize": "filter", "seed": 7, "cosine": -0.0031, "lengths": [5.0, 5.1], "explained": None}
        said = words(nv.surface_figure(surface(plane=random)))
        assert "random plane (filter-normalised, seed 7)" in said
        assert "1: as large as the weights" in said
        assert "random walk" not in said

    def test_dots_lie_at_the_checkpoints_and_shrink_with_the_share_off_the_plane(self):
        run = trajectory()
        axes = nv.surface_figure(surface(run=run)).axes[0]
        (dots,) = (part for part in axes.collections if isinstance(part, PathCollection) and len(part.get_offsets()) == 5)
        np.testing.assert_allclose(dots.get_offsets(), run.xy)
        np.testing.assert_allclose(dots.get_sizes(), dot_sizes(run.off_plane))
        assert (np.diff(dots.get_sizes()) > 0).all()

    def test_both_paths_are_drawn_on_a_plane_through_three_states(self):
        points = {"a": [1.2, 0.0], "b": [0.6, 0.7], "c": [0.0, 0.0]}
        figure = nv.surface_figure(surface(plane={"kind": "three points", "points": points, "lengths": [1, 1], "cosine": 0.0}))
        linear, quadratic = (line for line in figure.axes[0].lines if len(line.get_xdata()) == 101)
        np.testing.assert_allclose(linear.get_ydata(), 0.0)
        np.testing.assert_allclose(quadratic.get_xydata()[[0, 50, 100]], [points[name] for name in "abc"], atol=1e-12)
        assert "quadratic path" in words(figure)

    def test_several_runs_have_names_and_colours_of_their_own(self):
        figure = nv.surface_figure(surface(), runs={"sgd": trajectory(), "adam": trajectory(9)})
        legend = [text.get_text() for text in figure.legends[0].get_texts()]
        assert legend[:2] == ["sgd (5 checkpoints)", "adam (9 checkpoints)"]
        lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) in (5, 9)]
        assert len({line.get_color() for line in lines}) == 2

    def test_checkpoints_outside_of_the_picture_are_counted(self):
        run = trajectory()
        away = dataclasses.replace(run, xy=run.xy * 2)
        assert "2 of 5 checkpoints outside of the picture" in words(nv.surface_figure(surface(run=away)))

    def test_a_relief_stands_the_dots_at_the_true_losses_and_the_rest_on_the_surface(self):
        run, losses = trajectory(), np.array([9.0, 3.0, 1.0, 2.0, 0.5])
        figure = nv.surface_figure_3d(surface(run=run), losses=losses)
        line = next(line for line in figure.axes[0].lines if len(line.get_data_3d()[0]) == 5)
        np.testing.assert_allclose(line.get_data_3d()[2], np.minimum(losses, surface().loss.max()))
        line = next(line for line in nv.surface_figure_3d(surface(run=run)).axes[0].lines if len(line.get_data_3d()[0]) == 5)
        assert line.get_data_3d()[2][-1] == pytest.approx(0.5)
        assert figure.axes[0].get_zlabel() == "loss"

    def test_an_unknown_quantity_and_logarithms_of_what_is_not_positive_are_refused(self):
        with pytest.raises(KeyError, match="accuracy"):
            nv.surface_figure(surface(), "recall")
        with pytest.raises(ValueError, match="log: only for a quantity that is positive"):
            nv.surface_figure(surface(surface().loss - 2), log=True)


class TestScale:
    def test_a_loss_that_spans_more_than_a_factor_of_20_is_drawn_in_logarithms_and_a_metric_never(self):
        wide = surface(np.geomspace(0.01, 10, 35).reshape(5, 7))
        scale = Scale.of(wide, "loss")
        assert scale.log
        assert "log" in scale.words()
        np.testing.assert_allclose(scale.heights([1.0, 0.1, 0.0, -1.0, np.inf]), [0, -1, np.nan, np.nan, np.nan])
        places, labels = scale.ticks()
        np.testing.assert_allclose(10 ** np.array(places), [float(label) for label in labels])
        steep = dataclasses.replace(wide, metrics={"accuracy": wide.loss})
        assert not Scale.of(steep, "accuracy").log

    def test_a_few_cells_far_above_the_others_are_cut_and_it_says_so(self):
        loss = 1 + np.linspace(0, 1, 35).reshape(5, 7)
        loss[0, 0] = 15.0
        scale = Scale.of(surface(loss), "loss")
        assert scale.high < 8
        assert scale.heights([15.0]) == [scale.high]
        assert "cut at" in scale.words()
        assert Scale.of(surface(), "loss").cut is None

    def test_ticks_of_a_linear_scale_lie_inside_and_are_round(self):
        places, labels = Scale("accuracy", False, 0.093, 0.987, None).ticks()
        assert labels == ["0.2", "0.4", "0.6", "0.8"]
        np.testing.assert_allclose(places, [0.2, 0.4, 0.6, 0.8])
