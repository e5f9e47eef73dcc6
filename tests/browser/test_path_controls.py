"""Each control of the path explorer that says what is measured, moved by mouse or keys, in JupyterLab and some in Voila, too."""

from __future__ import annotations

import numpy as np
import pytest
from pages import in_both
from picture import agree

import nnvis_widgets as nv
from nnvis_widgets.views.weight_map import arrange

LAYERS = ["conv1", "conv2", "fc1", "fc2", "fc3"]
BOTH_SIDES = (-0.5, -0.2, 0.0, 0.5, 1.0, 1.25, 1.5)


class TestWhatFollowsThePath:
    @in_both
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

    @in_both
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
        explorer.until(lambda: not explorer.part("layers").is_visible(), "no list of layers")
        explorer.press("level", "Layer")
        explorer.until(lambda: explorer.text("state").startswith("fc2"), "fc2 again")


class TestPath:
    @in_both
    def test_linear_quadratic_both(self, explorer):
        explorer.rest("Layer", layer="fc3")
        for press, shown in (("Linear", {"linear"}), ("Quadratic", {"quadratic"}), ("Both", {"linear", "quadratic"})):
            explorer.press("kind", press)

            def right(shown=shown):
                plots = [explorer.plot(name) for name in ("loss", "metric")]
                drawn = all({kind for kind in ("linear", "quadratic", "lagrange") if p[kind].shown} == shown for p in plots)
                legend, read = explorer.text("legend"), explorer.text("read")
                return drawn and all(
                    (word in legend) == (f"{word}:" in read) == (word in shown) for word in ("linear", "quadratic")
                )

            explorer.until(right, f"{shown} alone, drawn and in words")

    @in_both
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

    @in_both
    def test_the_number_of_points(self, explorer):
        explorer.rest("Layer", kind="Linear", layer="fc3")
        explorer.type("points", "8")
        curve = explorer.drawn("linear", 9)  # 0.5 is always measured
        assert curve[:, 0] == pytest.approx(sorted([*np.linspace(0, 1, 8), 0.5]), abs=0.001)
        assert len(explorer.plot()["points linear"].dots) == 9
        explorer.type("points", "41")
        explorer.drawn("linear", 41)


class TestFaithfulness:
    def test_a_button_says_in_one_sentence_whether_the_paths_are_near_the_training(self, explorer, demo):
        explorer.rest("Model")
        explorer.until(lambda: "is it near the training?" in explorer.text("faith-text"), "the question")
        explorer.click("faithful")
        report = nv.measure_faithfulness(demo.evaluator, demo.run, clocks=["epochs", "arc length"], origins=[])
        explorer.until(lambda: explorer.text("faith-text").startswith(report.sentence), "the sentence of the library")
        explorer.part("faith-text").locator("summary").click()
        rows = explorer.part("faith-text").locator("tr").all_inner_texts()
        assert len(rows) == 11 + 4  # and straight lines from the start, and from weights that it did not start from
        assert [row.split("\t")[0] for row in rows[11:]] == ["straight line from", "initial", "unrelated", "noise"]
        value = report.distances("kl")[0][report.paths.index("speed-only"), 0]
        assert f"{value:.3f}" in next(row for row in rows if row.startswith("speed-only\tepochs"))
        explorer.press("level", "Layer")
        explorer.until(lambda: not explorer.part("faith").is_visible(), "no card: the run moved all layers")
        explorer.press("level", "Model")
        explorer.until(lambda: explorer.text("faith-text").startswith(report.sentence), "the sentence again")
        explorer.choose("mid", "epoch 3")
        other = nv.measure_faithfulness(demo.evaluator, demo.run, mid=3, clocks=["epochs", "arc length"], origins=[])
        explorer.until(lambda: explorer.text("faith-text").startswith(other.sentence), "the sentence about epoch 3")
        explorer.click("faithful")
        explorer.until(lambda: "is it near the training?" in explorer.text("faith-text"), "the question again")


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

    @in_both
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

    @in_both
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
