import dataclasses
import json

import numpy as np
import pytest

import nnvis_widgets as nv
from nnvis_widgets import store
from nnvis_widgets.results import Result, caption
from nnvis_widgets.results.base import NAN


def path_result(alphas=(0.0, 0.5, 1.0), loss=(3.0, 1.0, 2.0), **changes):
    alphas, loss = np.array(alphas), np.array(loss)
    whole = dict(  # noqa: C408
        alphas=alphas,
        loss=loss,
        loss_se=loss / 10,
        diff_se=loss / 100,
        metrics={"accuracy": loss / 4},
        metrics_se={"accuracy": loss / 40},
        metrics_diff_se={"accuracy": loss / 400},
        n=57,
        kind="linear",
        scope="fc1",
        distance=2.5,
        provenance={"split": "test", "batchnorm": "final", "weights": ["ab", "cd"], "versions": {"torch": "2"}},
    )
    return nv.PathResult(**{**whole, **changes})


def movement():
    columns = ("parameter_count", "distance", "relative_distance", "rms", "arc_length", "tortuosity", "cosine", "rho", "eta")
    values = {name: np.array([3.0, 1.0]) + k for k, name in enumerate(columns)}
    return nv.MovementTable(scopes=["model", "fc1"], levels=["model", "layer"], checkpoints=5, **values)


MEASUREMENT = nv.Measurement(
    loss=0.25, loss_se=NAN, metrics={"accuracy": 0.9}, n=57, provenance={"split": "train"}, metrics_se={"accuracy": 0.01}
)


def equal(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, (np.ndarray, float)):
        return type(one) is type(other) and np.asarray(one).tobytes() == np.asarray(other).tobytes()
    return type(one) is type(other) and one == other


@pytest.mark.parametrize(
    "result",
    [
        path_result(),
        path_result(loss=(np.nan, np.inf, -np.inf), epochs=np.array([0.0, 1.0, 2.0]), kind="training", positions=np.array([])),
        path_result(metrics={}, metrics_se={}, metrics_diff_se={}, rho=0.25, fraction=0.5, provenance={}),
        path_result(metrics={"a/b": np.array([1.0, 2.0, 3.0])}),
        path_result(loss=np.asfortranarray(np.arange(6.0).reshape(2, 3))[:, 1:2].repeat(2, 1)[1]),
        MEASUREMENT,
        movement(),
    ],
)
def test_every_result_comes_back_from_its_file_bit_for_bit(tmp_path, result):
    result.save(tmp_path / "file")
    back = nv.load(tmp_path / "file")
    assert type(back) is type(result)
    for entry in dataclasses.fields(result):
        assert equal(getattr(result, entry.name), getattr(back, entry.name)), entry.name


def test_a_file_holds_no_pickle_and_its_header_is_json(tmp_path):
    path_result().save(tmp_path / "file")
    content = (tmp_path / "file").read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    assert json.loads(header["__metadata__"]["nnvis_widgets"])["class"] == "PathResult"


def test_a_result_of_a_kind_that_this_version_does_not_know(tmp_path):
    store.write_arrays(tmp_path / "file", {}, {"class": "Hologram", "plain": {}})
    with pytest.raises(store.StoreError, match="holds a 'Hologram', which this version does not know: upgrade"):
        nv.load(tmp_path / "file")
    with pytest.raises(FileNotFoundError):
        nv.load(tmp_path / "nowhere")


def test_results_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        path_result().loss = np.zeros(3)


@pytest.mark.parametrize(
    ("result", "parts"),
    [
        (path_result(), ["linear path of fc1: 3 points, alpha 0 to 1, loss 1 to 3, lowest at alpha 0.5; n = 57, test)"]),
        (path_result(loss=(np.nan, np.inf, 2.0), fraction=0.25), ["loss 2 to 2, lowest at alpha 1", "25% done"]),
        (path_result(loss=(np.nan,) * 3), ["loss not finite"]),
        (MEASUREMENT, ["loss 0.2500 ± nan, accuracy 0.9000; n = 57, train"]),
        (movement(), ["2 scopes over 5 checkpoints"]),
    ],
)
def test_the_repr_says_what_is_inside(result, parts):
    assert all(part in repr(result) for part in parts)


class TestFrozen:
    def test_equality_is_identity(self):
        for make in (path_result, movement, lambda: nv.ResultSet({"a": path_result()})):
            one = make()
            assert (one == make()) is False
            assert one == one
            assert one in [make(), one]
            assert len({one, make()}) == 2

    @pytest.mark.parametrize("read", [lambda r: r.loss, lambda r: r.alphas, lambda r: r.metrics["accuracy"]])
    def test_arrays_cannot_be_written_to(self, read):
        with pytest.raises(ValueError, match="read-only"):
            read(path_result())[0] = 7

    def test_the_callers_own_array_stays_writable_and_does_not_reach_in(self):
        loss = np.array([3.0, 1.0, 2.0])
        result = path_result(loss=loss, metrics={"accuracy": loss})
        kept = nv.PathResult(**{**{e.name: getattr(result, e.name) for e in dataclasses.fields(result)}, "loss": loss})
        loss[0] = 9
        assert kept.loss.tolist() == [3.0, 1.0, 2.0]

    def test_also_when_they_come_from_a_file(self, tmp_path):
        path_result().save(tmp_path / "a.nv")
        with pytest.raises(ValueError, match="read-only"):
            nv.load(tmp_path / "a.nv").loss[0] = 7

    def test_what_is_measured_is_frozen_and_the_runs_epochs_are_not(self, evaluator, run):
        got = nv.measure_training(evaluator, run)
        for array in (got.epochs, got.loss, got.metrics["accuracy"]):
            assert not array.flags.writeable
        assert run.epochs.flags.writeable


class TestReading:
    def test_values_come_with_their_paired_errors(self):
        result = path_result()
        assert result.values() == (result.loss, result.diff_se)
        assert result.values("accuracy") == (result.metrics["accuracy"], result.metrics_diff_se["accuracy"])
        with pytest.raises(KeyError, match=r"quantity: 'loss' or one of \['accuracy'\], received 'f1'"):
            result.values("f1")

    @pytest.mark.parametrize(("alpha", "value"), [(0.0, 3.0), (0.25, 2.0), (0.5, 1.0), (0.9, 1.8), (1.1, NAN), (-0.1, NAN)])
    def test_at_is_straight_between_points_and_nan_outside(self, alpha, value):
        result = path_result()
        shuffled = path_result(alphas=(1.0, 0.0, 0.5), loss=(2.0, 3.0, 1.0))
        for one in (result, shuffled):
            assert one.at(alpha) == pytest.approx(value, nan_ok=True)

    def test_at_skips_what_was_not_measured(self):
        assert path_result(loss=(3.0, np.nan, 2.0)).at(0.5) == 2.5
        assert np.isnan(path_result(loss=(np.nan,) * 3).at(0.5))

    def test_crossings_are_where_straight_pieces_meet(self):
        falling = path_result(alphas=(0.0, 1.0), loss=(1.0, 0.0))
        rising = path_result(alphas=(0.0, 0.5, 1.0), loss=(0.0, 0.25, 1.0))
        # 1 - a = 0.25 + 1.5 (a - 0.5) at a = 0.6
        assert falling.crossings(rising) == pytest.approx([0.6])
        assert falling.crossings(path_result(alphas=(0.0, 1.0), loss=(2.0, 3.0))).size == 0
        assert falling.crossings(falling).size == 0

    def test_a_curve_that_ends_early_crosses_only_where_both_are(self):
        short = path_result(alphas=(0.4, 0.8), loss=(0.0, 1.0))
        assert path_result(alphas=(0.0, 1.0), loss=(0.0, 1.0)).crossings(short) == pytest.approx([2 / 3])


class TestTables:
    def test_a_row_for_each_point(self):
        table = path_result(epochs=np.array([0.0, 7.0, 15.0])).to_pandas()
        assert list(table.columns) == [
            *(
                "kind",
                "scope",
                "alpha",
                "epoch",
                "loss",
                "loss_se",
                "loss_diff_se",
                "accuracy",
                "accuracy_se",
                "accuracy_diff_se",
                "n",
            ),
        ]
        assert table["epoch"].tolist() == [0.0, 7.0, 15.0]
        assert table["accuracy_diff_se"].tolist() == (np.array([3.0, 1.0, 2.0]) / 400).tolist()

    def test_of_a_measurement_and_of_a_movement(self):
        assert MEASUREMENT.to_pandas().iloc[0][["loss", "accuracy", "accuracy_se", "n"]].tolist() == [0.25, 0.9, 0.01, 57]
        assert movement().to_pandas()["distance"].tolist() == [4.0, 2.0]


class TestPictures:
    @pytest.fixture
    def axes(self):
        from matplotlib.figure import Figure

        return Figure().add_subplot()

    def test_a_curve_is_drawn_in_the_order_of_alpha_with_its_band(self, axes):
        assert path_result(alphas=(1.0, 0.0, 0.5), loss=(2.0, 3.0, 1.0)).plot(axes) is axes
        (line,) = axes.get_lines()
        assert line.get_xdata().tolist() == [0.0, 0.5, 1.0]
        assert line.get_ydata().tolist() == [3.0, 1.0, 2.0]
        band = axes.collections[0].get_paths()[0].vertices
        assert band[:, 1].max() == pytest.approx(3.0 * 1.02)
        assert axes.get_title() == "fc1: test, n = 57, BatchNorm: final"

    def test_what_diverged_leaves_a_gap_and_no_error(self, axes):
        path_result(loss=(np.nan, np.inf, 2.0)).plot(axes, "accuracy", label="mine", band=False)
        assert axes.get_lines()[0].get_label() == "mine"
        assert not axes.collections

    def test_the_others(self, axes):
        MEASUREMENT.plot(axes)
        movement().plot(axes)
        assert axes.get_xlabel() == "distance travelled (Euclidean)"

    def test_a_set_of_measurements(self, axes):
        nv.ResultSet({"train": MEASUREMENT, "test": MEASUREMENT}).plot(axes)
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["train", "test"]

    @pytest.mark.parametrize("others", [{"point": MEASUREMENT}, {"table": movement()}])
    def test_a_set_of_what_shares_no_axes_is_refused_in_words(self, axes, others):
        with pytest.raises(TypeError, match=r"plot: only paths with paths.*Draw them one by one: results\.results\['path'\]"):
            nv.ResultSet({"path": path_result(), **others}).plot(axes)
        with pytest.raises(TypeError, match="this set holds MovementTable"):
            nv.ResultSet({"one": movement(), "two": movement()}).plot(axes)

    def test_without_axes_a_new_figure(self):
        from matplotlib import pyplot

        axes = path_result().plot()
        pyplot.close(axes.figure)
        assert axes.get_ylabel() == "loss"

    def test_the_caption_never_hides_the_policy(self):
        assert caption({"split": "test", "batchnorm": "final"}, 5) == "test, n = 5, BatchNorm: final"
        assert caption({}, 5) == "data, n = 5, BatchNorm: not recorded"


def test_every_kind_of_result_is_known_to_load():
    assert {"PathResult", "Measurement", "MovementTable"} <= set(Result._kinds)
