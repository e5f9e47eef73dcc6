"""Each control of the path explorer is moved by mouse or keys, in JupyterLab and in Voila; what it did is read from the picture."""

from __future__ import annotations

import numpy as np
import pytest
from driver import Explorer

import nnvis_widgets as nv
from nnvis_widgets.views.weight_map import arrange

LAYERS = ["conv1", "conv2", "fc1", "fc2", "fc3"]
BOTH_SIDES = (-0.5, -0.2, 0.0, 0.5, 1.0, 1.25, 1.5)


def agree(plot, name, result, quantity="loss", transform=lambda values: values):
    """The drawn curve has the values of a result that was measured apart from it."""
    expected = transform(result.values(quantity)[0])
    # where a weight hardly matters, the axis shows differences that are below single precision
    assert plot.at(name, result.alphas) == pytest.approx(expected, abs=max(plot.tolerance, 1e-6))


class TestWhatFollowsThePath:
    def test_the_model_s_paths_stand_beside_the_training_run(self, explorer, demo, truth):
        explorer.rest("Model")
        explorer.drawn("linear", 41)
        for name, label in (("loss", "loss"), ("metric", "accuracy")):
            plot = explorer.plot(name)
            for kind in ("linear", "quadratic"):
                agree(plot, kind, truth(kind, None), label)
            assert (plot.x_label, plot.y_label) == ("alpha", label)
            assert plot["training"].shown
            recorded = [checkpoint.metrics.get(f"test_{label}") for checkpoint in demo.run][1:]
            assert plot["training"].dots[:, 0] == pytest.approx(np.arange(16) / 15, abs=0.001)
            assert plot["training"].dots[1:, 1] == pytest.approx(recorded, abs=plot.tolerance)
            assert [plot.epoch_at(alpha) for alpha in (0.0, 0.5, 1.0)] == pytest.approx([0.0, 7.5, 15.0], abs=0.02)
        state = explorer.text("state")
        assert "model" in state
        assert "n = 450 of 450" in state
        assert "test" in state
        assert "BatchNorm" in state

    def test_a_layer_or_a_tensor_is_chosen_from_the_list(self, explorer, truth):
        explorer.rest("Layer", layer="conv1")
        explorer.drawn("linear", 41)
        explorer.layer("fc3")
        explorer.until(lambda: explorer.text("state").startswith("fc3"), "the state line of fc3")
        explorer.drawn("quadratic", 41)
        for kind in ("linear", "quadratic"):
            agree(explorer.plot("loss"), kind, truth(kind, "fc3"))
            agree(explorer.plot("metric"), kind, truth(kind, "fc3"), "accuracy")
        plot = explorer.plot()
        assert not plot["training"].shown, "the run moved all layers: its dots do not belong to the path of one"
        assert plot.epochs is None
        explorer.part("layers").locator("select").focus()
        explorer.page.keyboard.press("ArrowDown")
        explorer.until(lambda: explorer.text("state").startswith("fc3.weight"), "the state line of fc3.weight")
        explorer.drawn("linear", 41)
        agree(explorer.plot(), "linear", truth("linear", "fc3.weight"))

    def test_the_list_tells_names_counts_and_distances(self, explorer, demo):
        explorer.rest("Layer")
        rows = [text.replace("\u00a0", " ").split() for text in explorer.part("layers").locator("option").all_text_contents()]
        moved = nv.measure_movement(demo.run).to_pandas().set_index("scopes")["distance"]
        assert [row[0] for row in rows if row[0] in LAYERS] == LAYERS
        for row in rows:
            if row[0] in LAYERS:
                assert int(row[1].replace(",", "")) == sum(p.numel() for p in demo.model.get_submodule(row[0]).parameters())
                assert float(row[2]) == pytest.approx(moved[row[0]], rel=0.01)

    def test_search_filters_the_list(self, explorer):
        explorer.rest("Layer")
        everything = explorer.layers()
        explorer.type("search", "conv2")
        explorer.until(lambda: explorer.layers() == ["conv2", "weight", "bias"], "conv2 and its tensors")
        explorer.type("search", "nowhere")
        explorer.until(lambda: len(explorer.layers()) == 1, "one line that says so")
        assert "nothing" in explorer.part("layers").inner_text()
        explorer.part("search").locator("input").fill("")
        explorer.until(lambda: explorer.layers() == everything, "the whole list")

    def test_the_level_returns_to_the_layer_that_was_chosen_before(self, explorer):
        explorer.rest("Layer", layer="fc2")
        explorer.press("level", "Model")
        explorer.until(lambda: explorer.text("state").startswith("model"), "the model")
        assert not explorer.part("layers").is_visible()
        explorer.press("level", "Layer")
        explorer.until(lambda: explorer.text("state").startswith("fc2"), "fc2 again")


class TestPath:
    def test_linear_quadratic_both(self, explorer):
        explorer.rest("Layer", layer="fc3")
        for press, shown in (("Linear", {"linear"}), ("Quadratic", {"quadratic"}), ("Both", {"linear", "quadratic"})):
            explorer.press("kind", press)

            def right(shown=shown):
                plots = [explorer.plot(name) for name in ("loss", "metric")]
                return all({kind for kind in ("linear", "quadratic", "lagrange") if p[kind].shown} == shown for p in plots)

            explorer.until(right, f"{shown} alone")
            for word in ("linear", "quadratic"):
                assert (word in explorer.text("legend")) == (word in shown)
                assert (f"{word}:" in explorer.text("read")) == (word in shown)

    def test_start_mid_and_end_checkpoint(self, explorer, truth):
        explorer.rest("Model")
        explorer.choose("end", "epoch 6")
        explorer.until(lambda: not explorer.plot()["training"].shown, "no training dots: they belong to the whole run")
        explorer.choose("mid", "epoch 2")
        explorer.choose("start", "epoch 1")
        explorer.until(lambda: explorer.plot().epoch_at(0.0) == pytest.approx(1.0, abs=0.02), "epoch 1 above alpha 0")
        assert explorer.plot().epoch_at(1.0) == pytest.approx(6.0, abs=0.02)
        explorer.drawn("quadratic", 41)
        for kind in ("linear", "quadratic"):
            agree(explorer.plot(), kind, truth(kind, None, start=1, mid=2, end=6))
        explorer.choose("start", "epoch 9")
        explorer.until(lambda: "start, end" in explorer.text("error"), "an error that names start and end")
        explorer.choose("start", "epoch 0")
        explorer.choose("mid", "epoch 7")
        explorer.choose("end", "epoch 15")
        explorer.until(lambda: not explorer.text("error") and explorer.plot()["training"].shown, "the whole run")

    def test_a_mid_checkpoint_that_is_not_between_is_named(self, explorer):
        explorer.rest("Layer", kind="Quadratic", layer="fc3")
        explorer.choose("mid", "epoch 15")
        explorer.until(lambda: "between start and end" in explorer.text("error"), "what a quadratic path needs")
        explorer.choose("mid", "epoch 7")
        explorer.until(lambda: not explorer.text("error"), "no error")

    def test_the_knot_is_half_way_or_at_the_epoch_of_the_mid_checkpoint(self, explorer, truth):
        explorer.rest("Model", kind="Quadratic")
        explorer.choose("mid", "epoch 3")
        explorer.drawn("quadratic", 41)
        explorer.choose("knot", "mid drawn at its epoch")
        at_its_epoch = truth("quadratic", None, (0.0, 0.2, 0.4, 0.7, 1.0), mid=3, mid_at=0.2)
        explorer.until(lambda: agree(explorer.plot(), "quadratic", at_its_epoch) is None, "a parabola through epoch 3 at 0.2")
        dots = explorer.plot()["training"].dots
        assert explorer.plot().at("quadratic", 0.2) == pytest.approx(dots[3, 1], abs=explorer.plot().tolerance)
        explorer.choose("knot", "mid drawn at 0.5")
        half = truth("quadratic", None, mid=3)
        explorer.until(lambda: agree(explorer.plot(), "quadratic", half) is None, "a parabola through epoch 3 at 0.5")
        explorer.choose("mid", "epoch 7")
        explorer.until(
            lambda: agree(explorer.plot(), "quadratic", truth("quadratic", None)) is None, "the parabola through epoch 7"
        )

    def test_the_rest_of_the_model_is_of_the_end_or_of_the_start(self, explorer, demo, truth):
        explorer.rest("Layer", kind="Linear", layer="fc3")
        explorer.choose("background", "rest of the model: start")
        expected = truth("linear", "fc3", background=demo.run.initial)
        explorer.until(lambda: agree(explorer.plot(), "linear", expected) is None, "fc3 in the initial model")
        assert "stay at the start checkpoint" in explorer.text("state")
        explorer.choose("background", "rest of the model: end")
        explorer.until(lambda: agree(explorer.plot(), "linear", truth("linear", "fc3")) is None, "fc3 in the trained model")
        assert "stay at the end checkpoint" in explorer.text("state")

    def test_the_range_of_alpha_extrapolates_on_grey_ground(self, explorer, truth):
        explorer.rest("Layer", kind="Linear", layer="fc3")
        explorer.slide("range", *["ArrowRight"] * 4, handle="-upper")
        explorer.until(lambda: explorer.plot().curve("linear")[-1, 0] == pytest.approx(1.2, abs=0.001), "a curve up to 1.2")
        explorer.drawn("linear", 43)  # 41 equal steps, and 0.5 and 1, which are not among them
        plot = explorer.plot()
        assert plot["outside high"].shown
        assert not plot["outside low"].shown
        assert [plot.curve("outside high")[:, 0].min(), plot.curve("outside high")[:, 0].max()] == pytest.approx(
            [1.0, 1.2], abs=0.001
        )
        assert plot.limits[1] > 1.2
        agree(plot, "linear", truth("linear", "fc3", (0.0, 0.6, 1.0, 1.2)))
        assert "extrapolation" in explorer.text("legend")
        assert explorer.text("range").endswith("0.00 – 1.20")
        explorer.slide("range", *["ArrowLeft"] * 4, handle="-upper")
        explorer.drawn("linear", 41)
        explorer.until(lambda: not explorer.plot()["outside high"].shown, "no grey ground")

    def test_the_number_of_points(self, explorer):
        explorer.rest("Layer", kind="Linear", layer="fc3")
        explorer.type("points", "8")
        curve = explorer.drawn("linear", 9)  # 0.5 is always measured
        assert curve[:, 0] == pytest.approx(sorted([*np.linspace(0, 1, 8), 0.5]), abs=0.001)
        assert len(explorer.plot()["points linear"].dots) == 9
        explorer.type("points", "41")
        explorer.drawn("linear", 41)


class TestOneWeight:
    def test_at_this_level_the_path_is_longer_and_the_read_out_tells_the_weight(self, explorer, demo, truth):
        explorer.rest("Layer", layer="fc3")
        explorer.press("level", "Parameter")
        explorer.until(lambda: explorer.text("state").startswith("fc3.weight["), "one weight of fc3")
        explorer.drawn("quadratic", 41)
        plot = explorer.plot()
        assert (plot.curve("linear")[0, 0], plot.curve("linear")[-1, 0]) == pytest.approx((-0.5, 1.5), abs=0.001)
        for side, low, high in (("low", -0.5, 0.0), ("high", 1.0, 1.5)):
            ground = plot.curve(f"outside {side}")
            assert (ground[:, 0].min(), ground[:, 0].max()) == pytest.approx((low, high), abs=0.001)
        index = tuple(int(part) for part in explorer.typed("index").split(","))
        moved = (demo.run.final["fc3.weight"] - demo.run.initial["fc3.weight"]).abs()
        assert index == divmod(int(moved.argmax()), moved.shape[1]), "it begins with the weight that moved farthest"
        for kind in ("linear", "quadratic"):
            agree(plot, kind, truth(kind, ("fc3.weight", index), BOTH_SIDES))
        start, end = (float(state["fc3.weight"][index]) for state in (demo.run.initial, demo.run.final))
        for keys, alpha in (
            (["End"], 1.5),
            (["Home"], -0.5),  # the slider was made for 0 to 1, and these are its ends now
            (["ArrowRight"] * 3, -0.47),
        ):
            explorer.slide("alpha", *keys)
            explorer.until(lambda alpha=alpha: f"α = {alpha:.3f}" in explorer.text("read"), f"alpha at {alpha}")
            value = f"weight {start + alpha * (end - start):.5g}"
            explorer.until(lambda value=value: value in explorer.text("read"), "the value of the weight there")

    def test_a_click_on_the_map_chooses_the_weight(self, explorer, demo, truth):
        explorer.rest("Layer", kind="Linear", layer="conv1")
        explorer.press("level", "Parameter")
        explorer.until(
            lambda: "conv1.weight" in explorer.text("map ~ .nnvis-small") and explorer.text("state").startswith("conv1.weight"),
            "the map of conv1",
        )
        explorer.drawn("linear", 41)
        moved = (demo.run.final["conv1.weight"] - demo.run.initial["conv1.weight"]).abs().numpy()
        cells, _ = arrange(np.zeros(moved.shape))
        image = explorer.part("map").locator("image")
        for flat in np.argsort(-moved, axis=None)[[1, 4]]:  # not the farthest, which is chosen already
            wanted = tuple(int(i) for i in np.unravel_index(flat, moved.shape))
            box = explorer.still(image)
            row, column = np.argwhere(cells == flat)[0]
            across, down = (column + 0.5) / cells.shape[1] * box["width"], (row + 0.5) / cells.shape[0] * box["height"]
            explorer.page.mouse.click(box["x"] + across, box["y"] + down)
            text = ", ".join(map(str, wanted))
            explorer.until(lambda text=text: explorer.typed("index") == text, f"index {text}")

            def framed(across=across, down=down):
                picture, frame = image.bounding_box(), explorer.part("map").locator(".object_grp path").bounding_box()
                middle = frame["x"] + frame["width"] / 2 - picture["x"], frame["y"] + frame["height"] / 2 - picture["y"]
                return middle == pytest.approx((across, down), abs=2)

            explorer.until(framed, f"a frame around {wanted}")
            one = truth("linear", ("conv1.weight", wanted), BOTH_SIDES)
            explorer.until(
                lambda one=one: not explorer.working and agree(explorer.plot(), "linear", one) is None, f"the path of {wanted}"
            )

    def test_an_index_can_be_typed_and_a_bad_one_says_what_is_allowed(self, explorer, truth):
        explorer.rest("Layer", kind="Linear", layer="fc3")
        explorer.press("level", "Parameter")
        explorer.until(lambda: explorer.text("state").startswith("fc3.weight["), "one weight of fc3")
        explorer.type("index", "7, 40")
        one = truth("linear", ("fc3.weight", (7, 40)), BOTH_SIDES)
        explorer.until(lambda: not explorer.working and agree(explorer.plot(), "linear", one) is None, "the path of [7, 40]")
        error = explorer.part("picker").locator(".nnvis-error")
        for bad, words in (("11, 3", "11"), ("seven", "whole numbers"), ("1", "fc3.weight")):
            explorer.type("index", bad)
            explorer.until(lambda words=words: words in error.inner_text(), f"an error about {bad!r}")
            assert "[7, 40]" in explorer.text("state").replace("[7,40]", "[7, 40]")
        explorer.type("index", "7, 41")
        explorer.until(lambda: not error.inner_text().strip(), "no error")

    def test_next_largest_walks_down_the_distances(self, explorer, demo):
        explorer.rest("Layer", kind="Linear", layer="fc3")
        explorer.press("level", "Parameter")
        explorer.until(lambda: explorer.text("state").startswith("fc3.weight["), "one weight of fc3")
        moved = (demo.run.final["fc3.weight"] - demo.run.initial["fc3.weight"]).abs()
        order = [", ".join(map(str, divmod(int(flat), 84))) for flat in moved.flatten().argsort(descending=True, stable=True)]
        explorer.type("index", order[0])
        for expected in order[1:4]:
            explorer.click("next")
            explorer.until(lambda expected=expected: explorer.typed("index") == expected, f"weight {expected}")
        explorer.drawn("linear", 41)


class TestCursor:
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

    def test_pinned_curves_stay_when_another_layer_is_chosen(self, explorer):
        explorer.rest("Layer", layer="fc3")
        explorer.drawn("quadratic", 41)
        before = explorer.plot()
        explorer.click("pin")
        explorer.until(lambda: explorer.plot()["pinned"].shown, "pinned curves")
        explorer.layer("fc2")
        explorer.until(lambda: explorer.text("state").startswith("fc2"), "fc2")
        explorer.drawn("linear", 41)
        plot = explorer.plot()
        assert len(plot["pinned"].curves) == 2
        for curve, kind in zip(plot["pinned"].curves, ("linear", "quadratic"), strict=True):
            assert curve[:, 1] == pytest.approx(before.curve(kind)[:, 1], abs=before.tolerance + plot.tolerance)
        assert "pinned: fc3 linear" in explorer.text("legend")
        explorer.click("unpin")
        explorer.until(lambda: not explorer.plot()["pinned"].shown, "nothing pinned")
        assert "pinned" not in explorer.text("legend")

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

    def test_a_point_tells_its_values(self, explorer):
        explorer.rest("Layer", kind="Linear", layer="fc3")
        explorer.drawn("linear", 41)
        plot = explorer.plot()
        dot = explorer.part("loss").locator(".svg-figure > g > g > g").nth(11).locator(".object_grp").nth(10)
        tip = explorer.page.locator(".bqplot_tooltip_div, .mark_tooltip")

        def hovered():
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
