"""The cursor, what is drawn and how, overviews, cancelling, files and splits: moved by hand in JupyterLab, some in Voila, too."""

from __future__ import annotations

import numpy as np
import pytest
from driver import Explorer
from pages import in_both
from picture import agree

import nnvis_widgets as nv

LAYERS = ["conv1", "conv2", "fc1", "fc2", "fc3"]


class TestCursor:
    @in_both
    def test_keys_move_it_on_both_plots_and_the_read_out_is_what_is_drawn(self, explorer):
        explorer.rest("Model")
        explorer.drawn("linear", 41)
        explorer.slide("alpha", "Home", *["ArrowRight"] * 7)
        for expected in (0.07, 0.06):
            explorer.until(
                lambda expected=expected: explorer.plot().cursor == pytest.approx(expected, abs=0.001), f"the cursor at {expected}"
            )
            assert explorer.plot("metric").cursor == pytest.approx(expected, abs=0.001)
            explorer.until(lambda expected=expected: f"α = {expected:.3f}" in explorer.text("read"), f"the read-out of {expected}")
            assert f"epoch {15 * expected:.2f}" in explorer.text("read")
            for kind in ("linear", "quadratic"):
                words = explorer.text("read").partition(f"{kind}: ")[2].split()
                assert float(words[1]) == pytest.approx(explorer.plot().at(kind, expected), abs=explorer.plot().tolerance)
                assert float(words[3]) == pytest.approx(
                    explorer.plot("metric").at(kind, expected), abs=explorer.plot("metric").tolerance
                )
            explorer.slide("alpha", "ArrowLeft")

    @in_both
    def test_the_mouse_drags_it(self, explorer):
        explorer.rest("Model")
        explorer.slide("alpha", "Home")
        track = explorer.still(explorer.part("alpha").locator(".noUi-base"))
        handle = explorer.part("alpha").locator(".noUi-handle").bounding_box()
        mouse = explorer.page.mouse
        mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2)
        mouse.down()
        mouse.move(track["x"] + 0.5 * track["width"], handle["y"] + 5, steps=4)
        mouse.up()
        explorer.until(lambda: 0.3 < explorer.slider("alpha") < 0.7, "the slider in the middle")
        explorer.until(lambda: explorer.plot().cursor == pytest.approx(explorer.slider("alpha"), abs=0.001), "the cursor below it")


class TestPicture:
    def test_the_loss_on_a_logarithmic_scale(self, explorer, truth):
        explorer.rest("Layer", kind="Linear", layer="fc3")
        explorer.tick("log_loss", True)
        explorer.until(lambda: explorer.plot().y_label == "log10 loss", "the label of a logarithmic axis")
        explorer.until(lambda: agree(explorer.plot(), "linear", truth("linear", "fc3"), transform=np.log10) is None, "logarithms")
        agree(explorer.plot("metric"), "linear", truth("linear", "fc3"), "accuracy")
        explorer.tick("log_loss", False)
        explorer.until(lambda: agree(explorer.plot(), "linear", truth("linear", "fc3")) is None, "losses")
        assert explorer.plot().y_label == "loss"

    def test_the_error_band_is_two_paired_standard_errors(self, explorer, truth):
        explorer.rest("Layer", kind="Linear", layer="fc3")
        explorer.drawn("linear", 41)
        result, plot = truth("linear", "fc3"), explorer.plot()
        assert plot["band linear"].shown
        values, error = result.values("loss")
        for curve, sign in zip(plot["band linear"].curves, (-2, 2), strict=True):
            assert np.interp(result.alphas, *curve.T) == pytest.approx(values + sign * error, abs=plot.tolerance)
        explorer.tick("band", False)
        explorer.until(lambda: not explorer.plot()["band linear"].shown, "no band")
        assert "s.e." not in explorer.text("legend")
        explorer.tick("band", True)
        explorer.until(lambda: explorer.plot()["band linear"].shown, "the band again")

    @in_both
    def test_the_training_curve_can_be_left_out(self, explorer):
        explorer.rest("Model")
        explorer.until(lambda: explorer.plot()["training"].shown, "dots")
        explorer.tick("training", False)
        explorer.until(
            lambda: not explorer.plot()["training"].shown and not explorer.plot()["crossings"].shown, "no dots, no crossings"
        )
        assert explorer.plot()["linear"].shown
        explorer.tick("training", True)
        explorer.until(lambda: explorer.plot()["training"].shown, "dots again")

    def test_crossings_lie_on_a_path_and_on_the_training_curve(self, explorer, demo, truth):
        explorer.rest("Model", kind="Quadratic")
        # a parabola that is drawn through epoch 2 at epoch 2 passes the run there by construction
        explorer.choose("mid", "epoch 2")
        explorer.choose("knot", "mid drawn at its epoch")
        training = nv.measure_training(demo.evaluator, demo.run)
        alphas = np.unique(np.append(np.linspace(0, 1, 41), 2 / 15).round(12))
        parabola = truth("quadratic", None, alphas, mid=2, mid_at=2 / 15)
        expected = parabola.crossings(training, tolerance=0.01 * np.ptp(training.loss))
        assert np.abs(expected - 2 / 15).min() < 1e-6
        explorer.until(lambda: agree(explorer.plot(), "quadratic", parabola) is None, "the parabola through epoch 2")
        explorer.until(lambda: explorer.plot()["crossings"].shown, "rings")
        plot = explorer.plot()
        assert sorted(plot["crossings"].dots[:, 0]) == pytest.approx(sorted(expected), abs=0.005)
        run = plot["training"].dots
        for alpha, loss in plot["crossings"].dots:
            assert plot.at("quadratic", alpha) == pytest.approx(loss, abs=plot.tolerance)
            assert np.interp(alpha, *run.T) == pytest.approx(loss, abs=3 * plot.tolerance)
        explorer.tick("crossings", False)
        explorer.until(lambda: not explorer.plot()["crossings"].shown, "no rings")
        assert explorer.plot()["training"].shown
        explorer.tick("crossings", True)
        explorer.until(lambda: explorer.plot()["crossings"].shown, "rings again")

    @in_both
    def test_pinned_curves_stay_when_another_layer_is_chosen(self, explorer):
        explorer.rest("Layer", layer="fc3")
        explorer.drawn("quadratic", 41)
        before = explorer.plot()
        explorer.click("pin")
        explorer.until(lambda: explorer.plot()["pinned"].shown, "pinned curves")
        explorer.layer("fc2")
        explorer.until(lambda: explorer.text("state").startswith("fc2"), "fc2")
        explorer.drawn("linear", 41)

        def kept():
            plot = explorer.plot()
            assert len(plot["pinned"].curves) == 2
            for curve, kind in zip(plot["pinned"].curves, ("linear", "quadratic"), strict=True):
                assert curve[:, 1] == pytest.approx(before.curve(kind)[:, 1], abs=before.tolerance + plot.tolerance)
            return True

        explorer.until(kept, "the curves of fc3, pinned")
        assert "pinned: fc3 linear" in explorer.text("legend")
        explorer.click("unpin")
        explorer.until(lambda: not explorer.plot()["pinned"].shown, "nothing pinned")
        assert "pinned" not in explorer.text("legend")

    @in_both
    def test_the_wheel_zooms_and_reset_returns(self, explorer):
        explorer.rest("Model")
        explorer.drawn("linear", 41)
        before = explorer.plot().limits
        explorer.click("zoom")
        explorer.until(lambda: "mod-active" in explorer.part("zoom").get_attribute("class"), "the zoom switched on")
        box = explorer.still(explorer.part("loss").locator(".plotarea_events"))
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

        def zoomed():
            explorer.page.mouse.move(*middle)
            explorer.page.mouse.wheel(0, -120)
            return np.ptp(explorer.plot().limits) < 0.9 * np.ptp(before)

        explorer.until(zoomed, "a shorter range of alpha")
        plot, other = explorer.plot(), explorer.plot("metric")
        assert other.limits == pytest.approx(plot.limits, abs=0.002), "both plots have one x axis"
        assert plot.epoch_at(0.5) == pytest.approx(7.5, abs=0.05), "the epochs zoom with it"
        explorer.page.mouse.down()
        explorer.page.mouse.move(middle[0] + 40, middle[1], steps=4)
        explorer.page.mouse.up()
        explorer.until(lambda: explorer.plot().limits[0] < plot.limits[0] - 0.01, "the picture dragged to the right")
        explorer.click("reset")
        explorer.until(lambda: explorer.plot().limits == pytest.approx(before, abs=0.002), "the whole range")
        explorer.click("zoom")

    @in_both
    def test_a_point_tells_its_values(self, explorer):
        explorer.rest("Layer", kind="Linear", layer="fc3")
        explorer.drawn("linear", 41)
        plot = explorer.plot()
        dot = explorer.part("loss").locator(".svg-figure > g > g > g").nth(11).locator(".object_grp").nth(10)
        tip = explorer.page.locator(".bqplot_tooltip_div, .mark_tooltip")

        def hovered():
            explorer.page.mouse.move(1, 1)  # a mouse that is there already does not come in
            dot.hover(force=True)
            return [text for text in tip.all_inner_texts() if "0.250" in text]

        text = explorer.until(hovered, "a tool tip that says alpha 0.250")[0]
        loss = float(text.split()[-1])
        assert loss == pytest.approx(plot.at("linear", 0.25), abs=plot.tolerance)
        explorer.page.mouse.move(1, 1)


class TestOverviews:
    def test_all_layers_and_the_model_in_one_plot(self, explorer, truth):
        explorer.rest("Layer", kind="Linear", layer="fc3")
        explorer.press("view", "All layers")
        explorer.until(lambda: not explorer.working and len(explorer.plot()["many linear"].curves) == 6, "six lines")
        plot = explorer.plot()
        assert not plot["linear"].shown
        assert not plot["many quadratic"].shown
        assert len(set(plot["many linear"].colours)) == 6
        for curve, scope in zip(plot["many linear"].curves, [None, *LAYERS], strict=True):
            result = truth("linear", scope)
            assert np.interp(result.alphas, *curve.T) == pytest.approx(result.loss, abs=plot.tolerance)
        for name in ["model", *LAYERS]:
            assert name in explorer.text("legend")
        explorer.press("kind", "Both")
        explorer.until(lambda: not explorer.working and len(explorer.plot()["many quadratic"].curves) == 6 and explorer.plot()["many quadratic"].shown,
                       "six more lines")  # fmt: skip
        assert "dashed: quadratic" in explorer.text("legend")

    def test_many_weights_fainter_where_they_moved_less(self, explorer, demo, truth):
        explorer.rest("Layer", kind="Linear", layer="conv1")
        explorer.press("view", "Many weights")
        explorer.until(lambda: not explorer.working and len(explorer.plot()["many linear"].curves) == 12, "twelve lines")
        explorer.type("count", "5")
        explorer.until(lambda: not explorer.working and len(explorer.plot()["many linear"].curves) == 5, "five lines")
        plot = explorer.plot()
        moved = (demo.run.final["conv1.weight"] - demo.run.initial["conv1.weight"]).abs()
        order = moved.flatten().argsort(descending=True)[:5]
        distances = moved.flatten()[order].numpy()
        assert plot["many linear"].opacities == pytest.approx(0.12 + 0.88 * distances / distances[0], abs=0.01)
        for curve, flat in zip(plot["many linear"].curves, order, strict=True):
            index = tuple(int(i) for i in np.unravel_index(int(flat), moved.shape))
            result = truth("linear", ("conv1.weight", index))
            assert np.interp(result.alphas, *curve.T) == pytest.approx(result.loss, abs=plot.tolerance)
        explorer.type("count", "12")
        explorer.until(lambda: len(explorer.plot()["many linear"].curves) == 12, "twelve lines again")


class TestWork:
    @in_both
    def test_cancel_keeps_what_was_measured(self, explorer):
        explorer.rest("Layer", layer="conv1")
        explorer.type("points", "1001")
        explorer.until(lambda: explorer.working, "a computation")
        explorer.until(lambda: "%" in explorer.text("progress-text"), "a progress")
        explorer.click("cancel")
        explorer.until(lambda: "cancelled" in explorer.text("progress-text"), "the word that it was cancelled")
        assert not explorer.working
        plot = explorer.plot()
        state = explorer.text("state")
        counted = [int(word) for word in state.partition("n = ")[2].split("·")[0].replace("to", "of").split("of")]
        drawn = {kind: len(plot[kind].curves[0]) for kind in ("linear", "quadratic") if plot[kind].shown}
        assert counted[0] < counted[-1] or len(drawn) < 2 or min(drawn.values()) < 1001, (state, drawn)
        for kind in drawn:
            assert np.isfinite(plot.curve(kind)).all()
        explorer.type("points", "41")
        explorer.drawn("quadratic", 41)
        assert "n = 450 of 450" in explorer.text("state")


class TestFiles:
    @in_both
    def test_a_saved_result_is_read_by_load_and_pinned_when_opened(self, explorer, tmp_path, truth):
        explorer.rest("Layer", layer="fc3")
        explorer.drawn("quadratic", 41)
        explorer.click("save")
        link = explorer.part("download").locator("a")
        link.wait_for()
        with explorer.page.expect_download() as download:
            link.click()
        assert download.value.suggested_filename == "nnvis_path.safetensors"
        file = tmp_path / "result.safetensors"
        download.value.save_as(file)
        saved = nv.load(file).results
        assert set(saved) == {"linear", "quadratic"}
        expected = truth("quadratic", "fc3")
        assert np.interp(expected.alphas, saved["quadratic"].alphas, saved["quadratic"].loss) == pytest.approx(
            expected.loss, rel=1e-4
        )
        explorer.layer("fc2")
        explorer.until(lambda: explorer.text("state").startswith("fc2"), "fc2")
        explorer.drawn("linear", 41)
        with explorer.page.expect_file_chooser() as chooser:
            explorer.click("open")
        chooser.value.set_files(file)
        explorer.until(lambda: explorer.plot()["pinned"].shown and len(explorer.plot()["pinned"].curves) == 2, "two pinned curves")
        plot = explorer.plot()
        for curve, kind in zip(plot["pinned"].curves, ("linear", "quadratic"), strict=True):
            assert curve[:, 1] == pytest.approx(saved[kind].loss, abs=plot.tolerance)
        assert "opened" in explorer.text("legend")

    def test_a_file_that_is_no_result_is_named_and_changes_nothing(self, explorer, tmp_path):
        explorer.rest("Layer", layer="fc3")
        (tmp_path / "notes.safetensors").write_bytes(b"these are no weights at all")
        with explorer.page.expect_file_chooser() as chooser:
            explorer.click("open")
        chooser.value.set_files(tmp_path / "notes.safetensors")
        explorer.until(
            lambda: "Error" in explorer.part("error").last.inner_text() or "Error" in explorer.root.inner_text(), "an error"
        )
        assert not explorer.plot()["pinned"].shown
        explorer.layer("fc2")
        explorer.until(lambda: explorer.text("state").startswith("fc2"), "fc2")


class TestTwoSplits:
    def test_the_split_is_chosen(self, page):
        mine = Explorer(page, 1)
        mine.root.scroll_into_view_if_needed()
        mine.until(lambda: not mine.working and "n = 450 of 450" in mine.text("state"), "the test images")
        before = mine.drawn("linear", 41)
        assert mine.text("state").partition("·")[2].strip().startswith("test")
        mine.choose("split", "data: train (n = 450)")
        mine.until(lambda: mine.text("state").partition("·")[2].strip().startswith("train"), "the training images")
        mine.until(lambda: not mine.working, "a complete picture")
        assert np.abs(mine.plot().curve("linear")[:, 1] - before[:, 1]).max() > mine.plot().tolerance
        mine.choose("split", "data: test (n = 450)")
        mine.until(
            lambda: mine.plot().curve("linear")[:, 1] == pytest.approx(before[:, 1], abs=mine.plot().tolerance),
            "the curve of before",
        )
        page.complaints.raise_any()
