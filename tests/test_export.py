"""Figures and tables as files: what is drawn, what the files are called, and that each is written whole or not at all."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pandas
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import nnvis_widgets as nv
from nnvis_widgets.export import file_stem, moved, movement_figure, overview_figure, path_figure, save_figure, save_table
from nnvis_widgets.results import MovementTable, PathResult

POINTS = 7


def path(
    kind: str = "linear", scope: str = "fc1", *, low: float = 0.0, high: float = 1.0, distance: float = 2.0, **values
) -> PathResult:
    alphas = np.linspace(low, high, POINTS)
    arrays = {"loss": 2.0 - alphas, "loss_se": np.full(POINTS, 0.3), "diff_se": np.full(POINTS, 0.05), **values}
    metrics = {"accuracy": alphas**2}
    return PathResult(
        alphas=alphas, metrics=metrics, metrics_diff_se={"accuracy": np.full(POINTS, 0.01)}, n=31, kind=kind, scope=scope,
        distance=distance, relative_distance=0.5, provenance={"split": "held-out", "batchnorm": "recalibrated"}, **arrays,
    )  # fmt: skip


def training() -> PathResult:
    alphas = np.array([0.0, 0.25, 1.0])
    return PathResult(
        alphas=alphas, loss=np.array([2.0, 0.5, 0.1]), loss_se=np.zeros(3), diff_se=np.zeros(3),
        metrics={"accuracy": np.array([0.1, 0.7, 0.9])}, n=31, kind="training", scope="model", distance=2.0, epochs=4 + 8 * alphas,
    )  # fmt: skip


def curves(axes):
    return [line for line in axes.lines if len(line.get_xdata())]


def words(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(lambda part: hasattr(part, "get_text")))


class TestPathFigure:
    def test_loss_and_accuracy_stand_side_by_side_linear_solid_blue_quadratic_dashed_vermillion(self):
        linear, quadratic = path(), path("quadratic", loss=np.linspace(3, 1, POINTS))
        figure = path_figure([linear, quadratic])
        assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "accuracy"]
        for axes, quantity in zip(figure.axes, ("loss", "accuracy"), strict=True):
            drawn = curves(axes)
            assert [(to_hex(line.get_color()).upper(), line.get_linestyle()) for line in drawn] == [
                ("#0072B2", "-"),
                ("#D55E00", "--"),
            ]
            for line, result in zip(drawn, (linear, quadratic), strict=True):
                np.testing.assert_array_equal(line.get_xdata(), result.alphas)
                np.testing.assert_array_equal(line.get_ydata(), result.values(quantity)[0])

    def test_the_band_is_two_paired_standard_errors(self):
        figure = path_figure([path()])
        band = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]
        assert band.max() == pytest.approx(2.0 + 2 * 0.05)
        assert band.min() == pytest.approx(1.0 - 2 * 0.05)

    def test_the_training_curve_is_black_dots_with_its_epochs_on_a_second_axis(self):
        axes = path_figure([path(scope="model")], training()).axes[0]
        dots = curves(axes)[-1]
        assert (dots.get_marker(), dots.get_linestyle(), to_hex(dots.get_color())) == ("o", "None", "#000000")
        np.testing.assert_array_equal(dots.get_ydata(), [2.0, 0.5, 0.1])
        (second,) = axes.child_axes
        axes.figure.draw_without_rendering()
        low, high = axes.get_xlim()
        assert second.get_xlim() == pytest.approx((4 + 8 * low, 4 + 8 * high))
        assert "epoch" in second.get_xlabel()

    def test_extrapolation_is_shaded_outside_of_0_to_1_only(self):
        inside, outside = path_figure([path()]), path_figure([path(low=-0.5, high=1.5)])
        assert not inside.axes[0].patches
        spans = sorted((patch.get_x(), patch.get_x() + patch.get_width()) for patch in outside.axes[0].patches)
        assert spans == [(-0.5, 0.0), (1.0, 1.5)]
        assert "extrapolation" in outside.axes[0].get_xlabel()

    def test_the_caption_says_split_n_and_batchnorm_policy(self):
        caption = path_figure([path()]).get_supxlabel()
        assert all(part in caption for part in ("held-out", "n = 31", "recalibrated", "paired"))

    def test_what_is_not_finite_is_counted_in_the_caption(self):
        loss = np.ones(POINTS)
        loss[2:4] = np.nan, np.inf
        assert "2 points are not finite" in path_figure([path(loss=loss)]).get_supxlabel()

    def test_a_scope_that_did_not_move_gets_words_in_place_of_a_curve(self):
        figure = path_figure([path(distance=0.0, loss=np.full(POINTS, 0.25))])
        assert not curves(figure.axes[0])
        assert "did not move" in words(figure)
        assert "0.25" in words(figure)

    def test_a_path_that_leaves_its_ends_and_comes_back_is_drawn(self):
        assert moved(path("quadratic", distance=0.0))
        assert not moved(path(distance=0.0, loss=np.full(POINTS, np.nan)))

    def test_paths_of_two_scopes_are_refused(self):
        with pytest.raises(ValueError, match=r"one scope.*'fc1', 'fc2'"):
            path_figure([path(), path(scope="fc2")])


class TestOverviewFigure:
    def test_the_model_is_black_and_each_layer_has_a_look_of_its_own(self):
        results = [path(scope="model"), *(path(scope=f"layer{i}") for i in range(9))]
        figure = overview_figure(results)
        looks = [(to_hex(line.get_color()), line.get_linestyle()) for line in curves(figure.axes[0])]
        assert looks[0] == ("#000000", "-")
        assert len(set(looks)) == 10

    def test_a_layer_that_did_not_move_says_so(self):
        still = path(scope="frozen", distance=0.0, loss=np.full(POINTS, 0.25))
        legend = overview_figure([path(), still]).axes[-1].get_legend()
        assert [text.get_text() for text in legend.get_texts()] == ["fc1 (2)", "frozen (0, did not move)"]

    def test_two_kinds_are_refused(self):
        with pytest.raises(ValueError, match=r"one kind.*'linear', 'quadratic'"):
            overview_figure([path(), path("quadratic", scope="fc2")])


def test_the_movement_figure_has_a_bar_for_each_scope():
    columns = {name: np.ones(2) for name in ("relative_distance", "rms", "arc_length", "tortuosity", "cosine", "rho", "eta")}
    table = MovementTable(["model", "fc1"], ["model", "layer"], np.array([9, 4]), np.array([5.0, 3.0]), checkpoints=4, **columns)
    (axes,) = movement_figure(table).axes
    widths = {label.get_text(): bar.get_width() for label, bar in zip(axes.get_yticklabels(), axes.patches, strict=True)}
    assert widths == {"model": 5.0, "fc1": 3.0}


class TestFiles:
    @pytest.mark.parametrize(("ending", "magic"), [("png", b"\x89PNG\r\n\x1a\n"), ("pdf", b"%PDF-"), ("svg", b"<?xml")])
    def test_the_ending_says_the_format_and_the_recipe_is_inside(self, tmp_path, ending, magic):
        figure = path_figure([path()], training())
        file = save_figure(figure, tmp_path / "new folder" / f"a.{ending}")
        assert file.read_bytes().startswith(magic)
        assert [entry.name for entry in file.parent.iterdir()] == [f"a.{ending}"]
        recipe = nv.recipe_of(file)
        assert [(told["is"], told.get("batchnorm")) for told in recipe["results"]] == [
            (repr(path()), "recalibrated"),
            (repr(training()), None),
        ]
        again = eval(recipe["figure"], {"path_figure": path_figure, "results": [path(), training()]})
        figure.recipe["mine (é \\ ( ) < & > \n \u2603)"] = "ü"
        again.recipe.update(figure.recipe)
        for one in (figure, again):  # by hand, too
            one.savefig(tmp_path / f"b.{ending}", metadata={} if ending == "png" else {"Title": "mine"})
            assert nv.recipe_of(tmp_path / f"b.{ending}") == figure.recipe
        figure.recipe = None
        with pytest.raises(ValueError, match="no recipe inside"):
            nv.recipe_of(save_figure(figure, file))
        file.write_bytes(file.read_bytes()[:40] + b"<svg" * (ending == "svg"))
        with pytest.raises(ValueError, match="picture: "):
            nv.recipe_of(file)

    def test_equal_figures_are_equal_files(self, tmp_path):
        for ending in ("png", "pdf", "svg"):
            one, two = (save_figure(path_figure([path()]), tmp_path / f"{name}.{ending}").read_bytes() for name in "ab")
            assert one == two

    def test_an_unknown_ending_is_refused_and_names_those_that_work(self, tmp_path):
        with pytest.raises(ValueError, match=r"\.png.*'a\.gif'"):
            save_figure(Figure(), tmp_path / "a.gif")
        with pytest.raises(ValueError, match=r"\.csv.*'a\.txt'"):
            save_table(pandas.DataFrame(), tmp_path / "a.txt")

    def test_a_table_keeps_every_bit(self, tmp_path):
        values = [0.1 + 0.2, 1e-310, np.nextafter(1, 2), np.inf, -np.inf, np.nan]
        header, *cells = save_table(pandas.DataFrame({"x": values}), tmp_path / "t.csv").read_text().splitlines()
        assert header == "x"
        np.testing.assert_array_equal([float(cell.strip('"') or "nan") for cell in cells], values)

    def test_a_write_that_fails_leaves_the_old_file_and_no_part(self, tmp_path, monkeypatch):
        target = tmp_path / "t.csv"
        target.write_text("old")

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("nnvis_widgets.export.files.os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            save_table(pandas.DataFrame({"x": [1]}), target)
        assert [entry.name for entry in tmp_path.iterdir()] == ["t.csv"]
        assert target.read_text() == "old"


class TestFileStem:
    @pytest.mark.parametrize(
        ("scope", "stem"),
        [
            ("model", "model"),
            ("layer4.0.conv1", "layer4.0.conv1"),
            ("conv1.weight[0, 0, 1, 2]", "conv1.weight@0-0-1-2"),
            ("t[]", "t@"),
        ],
    )
    def test_plain_names_stay_readable(self, scope, stem):
        assert file_stem(scope) == stem

    def test_no_two_scopes_share_a_file_even_where_case_is_not_told_apart(self):
        indices = [", ".join(map(str, index)) for index in itertools.product((0, 1, 11, 111), repeat=2)]
        names = [f"w[{index}]" for index in indices]
        names += [
            "w",
            "W",
            "w@1-11",
            "w_1_11",
            "w.1.11",
            "w 1 11",
            "a/b",
            "a\\b",
            "a:b",
            "a_b",
            "A_b",
            "..",
            "layer4.*",
            "layer4._",
            "ž",
            "z",
        ]
        names += ["x" * 200, "x" * 201, "fc1 + fc2", "fc1+fc2", "", "con"]
        stems = [file_stem(name).casefold() for name in names]
        assert len(set(stems)) == len(names)
        assert all(re.fullmatch(r"[a-z0-9_.@~-]{1,130}", stem) and not stem.startswith(".") for stem in stems)

    def test_a_layer_that_is_called_model_is_not_the_whole_model(self):
        assert file_stem("model", "layer") != file_stem("model", "model") == "model"
