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
    view = SolidView(lambda *place: view.said.append(place), lambda name, i: view.said.append((name, i)))
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


def click(view, u, v, ctrl=0.0, size=(720.0, 500.0)):
    view.facts.click = [u, v, *size, ctrl, len(view.facts.click) + len(view.said) + 1.0]


def seen(view, x, height, y, size=(720.0, 500.0)):
    """Where a point of the scene is in the picture, by the matrices that the books give, not by the view's own lens."""
    camera, limits = view.figure.camera, [(view.figure.scales[n].min, view.figure.scales[n].max) for n in "xyz"]
    place = [
        ((p - low) / (high - low) - 0.5) * side
        for p, (low, high), side in zip((x, height, y), limits, view.figure.box_size, strict=True)
    ]
    z = np.array(camera.position) / np.linalg.norm(camera.position)
    x_axis = np.cross(camera.up, z) / np.linalg.norm(np.cross(camera.up, z))
    turned = np.stack([x_axis, np.cross(z, x_axis), z]) @ (np.array(place) - camera.position)
    far = 1 / np.tan(np.radians(camera.fov) / 2)
    return turned[0] * far / (size[0] / size[1]) / -turned[2], turned[1] * far / -turned[2]


def test_a_track_that_returns_is_drawn_to_its_end(view, scene):
    assert view.epoch == 3.0
    view.show(dataclasses.replace(scene, tracks=()))
    view.show(scene)
    assert view.epoch == 3.0
    head = view._marks.known["sgd"].head
    assert head.visible
    assert (head.x[head.sequence_index, 0], head.y[head.sequence_index, 0]) == pytest.approx((0.25, 1.5))


def test_places_and_visibility_are_sent_apart(view, scene, monkeypatch):
    # one message with both stops ipyvolume 0.6.3
    sent = []
    for mark in (*view._marks.point_marks["A"], view._marks.path_marks["linear"]):
        monkeypatch.setattr(mark, "send_state", lambda key=None: sent.append({key} if isinstance(key, str) else set(key)))
    view.show(dataclasses.replace(scene, points={}, paths={}))
    view.show(dataclasses.replace(scene, points={"A": (-0.5, 0.25)}, paths={"linear": np.array([[-1.0, -0.5], [0.5, 0.5]])}))
    assert {"visible"} in sent
    assert any("x" in keys for keys in sent)
    assert all(keys == {"visible"} or "visible" not in keys for keys in sent)


def test_a_click_on_the_surface_says_where(view, scene):
    view.show(dataclasses.replace(scene, tracks=()))
    for ctrl, (row, column) in enumerate([(1, 2), (3, 4)]):
        click(view, *seen(view, X[column], LOSS[row, column], Y[row]), ctrl=float(ctrl))
        x, y, second = view.said[-1]
        assert (x, y) == pytest.approx((X[column], Y[row]), abs=1e-6)
        assert second is bool(ctrl)
    click(view, -0.99, 0.99)
    assert len(view.said) == 2, "beside the surface there is nothing"


def test_a_click_near_a_checkpoint_means_it_and_only_when_it_is_drawn(view):
    view.camera("top")
    u, v = seen(view, 0.25, 1.5, 0.5)
    click(view, u + 2 * 8 / 720, v)
    assert view.said == [("sgd", 2)]
    view.epoch = 1.0
    click(view, u, v)
    assert isinstance(view.said[1][0], float)


def test_a_hole_cannot_be_clicked(view, scene):
    holed = LOSS.copy()
    holed[2, 3] = np.nan
    view.show(dataclasses.replace(scene, surface=surface(holed), tracks=()))
    view.camera("top")
    click(view, *seen(view, X[3] + 0.05, view.figure.scales["y"].min, Y[2] + 0.05))
    assert view.said == []


def test_the_stretch_is_stated(view):
    view.exaggeration = 2.0
    assert view.figure.box_size[1] == pytest.approx(1.2)
    assert "drawn × 1.2" in view.caption()
    with pytest.raises(ValueError, match="corner, top, front, side"):
        view.camera("below")
