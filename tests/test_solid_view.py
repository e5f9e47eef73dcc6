import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from nnvis_widgets.results import SurfaceResult
from nnvis_widgets.views import shapes
from nnvis_widgets.views.solid import SolidView
from nnvis_widgets.views.surface_scene import SurfaceScene, Track

X, Y = np.linspace(-1.5, 1.5, 7), np.linspace(-1, 1, 5)
LOSS = 1 + X[None] ** 2 + 3 * Y[:, None] ** 2 + 0.1 * X[None]


def surface(loss=LOSS, n=9):
    zero = np.zeros_like(loss)
    return SurfaceResult(X, Y, loss, zero, zero, {}, np.full(loss.shape, n), {})


@pytest.fixture
def scene():
    track = Track(
        "sgd", np.array([[-1.0, -0.5], [0.0, 0.0], [0.25, 0.5]]), np.zeros(3), np.array([0.0, 1.0, 3.0]), np.array([4.0, 2.5, 1.5])
    )
    return SurfaceScene(surface(), tracks=(track,), paths={"linear": track.xy[[0, -1]]}, points={"A": (0.5, 0.5)})


@pytest.fixture
def view(scene):
    view = SolidView(lambda x, y: view.said.append((x, y)), lambda name, i: view.said.append((name, i)))
    view.said = []
    view.show(scene)
    return view


def test_the_module_does_not_import_ipyvolume():
    code = "import sys, nnvis_widgets.views.solid; assert 'ipyvolume' not in sys.modules and 'pythreejs' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_heights_and_colours_are_those_of_the_scene(view, scene):
    mesh = view._marks.ground
    assert mesh.y.reshape(5, 7) == pytest.approx(scene.values, rel=1e-6)
    assert mesh.x.reshape(5, 7)[3] == pytest.approx(X)
    assert mesh.z.reshape(5, 7)[:, 2] == pytest.approx(Y)
    assert mesh.color == pytest.approx(shapes.colours(scene.values, scene.limits, "cividis"))
    assert mesh.triangles.shape == (2 * 4 * 6, 3)


def test_triangles_at_a_hole_are_dropped_and_others_kept(view, scene):
    holed = LOSS.copy()
    holed[2, 3] = np.nan
    view.show(dataclasses.replace(scene, surface=surface(holed), tracks=()))
    found = view._marks.ground.triangles
    assert 2 * 7 + 3 not in found
    assert len(found) == 2 * 4 * 6 - 6


def test_stems_reach_from_the_true_value_to_the_surface(view, scene):
    stems = view._marks.known["sgd"].stems
    ends = stems.y[-1].reshape(3, 2)
    assert ends[:, 0] == pytest.approx([4.0, 2.5, 1.5])
    assert ends[:, 1] == pytest.approx(scene.height(scene.tracks[0].xy), rel=1e-6)


def test_one_frame_for_each_epoch_that_is_played_and_nothing_is_made_again(view, scene):
    frames = len(shapes.frame_epochs([scene.tracks[0].epochs]))
    track = view._marks.known["sgd"]
    assert track.head.x.shape == (frames, 1)
    assert track.stems.y.shape == (frames, 6)
    assert track.tube.x.shape[0] == frames
    before = list(view._marks.all())
    view.show(dataclasses.replace(scene, surface=surface(2 * LOSS)))
    assert all(one is other for one, other in zip(before, view._marks.all(), strict=True))
    assert view._marks.ground.y.reshape(5, 7) == pytest.approx(2 * LOSS, rel=1e-6)


def test_the_epoch_moves_every_track_to_its_frame(view):
    view.epoch = 1.0
    track = view._marks.known["sgd"]
    at = track.head.sequence_index
    assert (track.head.x[at, 0], track.head.y[at, 0]) == pytest.approx((0.0, 2.5))
    assert (track.dots.size[at] > 0).tolist() == [True, True, False]


def test_clicks_say_where_and_which(view):
    view._marks.pick.clicked_index = 8
    view._marks.known["sgd"].dots.clicked_index = 2
    assert view.said == [pytest.approx((X[1], Y[1])), ("sgd", 2)]
    view._marks.pick.clicked_index = 8
    assert len(view.said) == 3, "the same dot again"


def test_the_stretch_is_stated(view):
    view.exaggeration = 2.0
    assert view.figure.box_size[1] == pytest.approx(1.2)
    assert "drawn × 1.2" in view.caption()
    with pytest.raises(ValueError, match="corner, top, front, side"):
        view.camera("below")
