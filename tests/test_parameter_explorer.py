"""The parameter explorer without a browser: traits, scans, previews, what-if, links, words, files."""

import asyncio
import json

import ipywidgets
import numpy as np
import pytest
import torch
from factories import parabola_scan
from torch import nn

import nnvis_widgets as nv
from nnvis_widgets.experiments import measured
from nnvis_widgets.results.patterns import PATTERNS
from nnvis_widgets.widgets.parameter_controls import parsed
from nnvis_widgets.widgets.parameter_keys import KEYS, press
from nnvis_widgets.widgets.parameter_study import trim


def small_model():
    return nn.Sequential(nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 3))


@pytest.fixture(scope="module")
def trained():
    """A little net with six checkpoints, half of the way between the second and the third."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, x, y = small_model(), torch.randn(90, 7), torch.randint(0, 3, (90,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    states = [{k: v.clone() for k, v in model.state_dict().items()}]
    for _ in range(5):
        for _ in range(5):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        states.append({k: v.clone() for k, v in model.state_dict().items()})
    return model, (x, y), nv.Run.from_states(states)


@pytest.fixture(scope="module")
def known():
    """What has been measured by the tests so far: of the same model, on the same samples."""
    return {}


@pytest.fixture
def explorer(trained, known):
    model, data, run = trained
    explorer = nv.ParameterExplorer(nv.Evaluator(model, data), run, scope="0.weight", count=6, points=9)
    explorer._cache.update(known)
    yield explorer
    known.update(explorer._cache)
    explorer.close()


def test_compute_measures_what_measure_parameters_measures(explorer, trained):
    model, data, run = trained
    explorer.compute()
    assert not explorer.status.error.value
    again = nv.measure_parameters(
        nv.Evaluator(model, data), run, "0.weight", count=6, mid=run.mid_index, alphas=np.linspace(-0.5, 1.5, 9)
    )
    scan = explorer.results["scan"]
    np.testing.assert_array_equal(scan.quadratic, again.quadratic)
    assert scan.index == again.index
    assert explorer.scan.pattern == again.pattern
    assert sum(len(page.cells) for page in explorer.pages) == 6


def test_the_mid_checkpoint_is_previewed_and_then_measured(explorer, trained, monkeypatch):
    explorer.compute()
    run = trained[2]
    before, seen = explorer.scan, []
    draw = explorer._draw
    explorer._draw = lambda: (seen.append(explorer.scan), draw())
    explorer.mid = 3 if run.mid_index != 3 else 2
    preview, measured = seen[0], explorer.scan
    assert preview.provenance["preview"] == "interpolated"
    assert "preview" not in measured.provenance
    assert measured.index == preview.index == before.index
    np.testing.assert_allclose(preview.rho, measured.rho, rtol=1e-5)
    np.testing.assert_array_equal(preview.linear, measured.linear)
    known = np.isfinite(preview.quadratic)
    assert known.mean() > 0.7
    scale = np.ptp(measured.linear, axis=1, keepdims=True)
    assert (np.abs(preview.quadratic - measured.quadratic) / scale)[known].max() < 0.05
    # alpha 0 and 1 are points of both
    at = [explorer.scan.alphas.tolist().index(alpha) for alpha in (0.0, 1.0)]
    np.testing.assert_allclose(preview.quadratic[:, at], measured.quadratic[:, at], atol=1e-6)
    assert "preview" not in explorer.state_line.value
    monkeypatch.setattr(explorer._worker, "submit", lambda job: job)  # conventions that change while it is measured
    explorer.mid, explorer.plateau = 4, 0.15
    assert explorer.scan.provenance["preview"] == "interpolated"
    assert explorer.scan.rules["plateau"] == 0.15
    assert "within 15%" in explorer.state_line.value
    monkeypatch.undo()
    explorer.compute()
    assert "preview" not in explorer.scan.provenance
    assert (explorer.scan.rules["plateau"], np.isfinite(explorer.scan.confidence).all()) == (0.15, True)


def test_what_is_known_is_not_measured_again(explorer):
    explorer.compute()
    first, mid = explorer.results["scan"], explorer.mid
    explorer.mid = mid - 1
    started = explorer._worker.started
    explorer.mid = mid
    explorer.seed = 5  # the largest are the largest, whatever the seed
    explorer.weights = [("0.weight", (1, 1))]  # not asked for
    assert explorer._worker.started == started
    assert explorer.results["scan"] is first
    explorer.choose = "random"
    assert explorer._worker.started == started + 1
    assert explorer.scan.choose == "random"


def test_each_way_of_choosing(explorer):
    with explorer.together():
        explorer.choose, explorer.scope = "effect", None
    assert np.isfinite(explorer.scan.effect).all()
    explorer.sort = "effect"
    for pattern in set(explorer.scan.pattern):
        own = [abs(explorer.scan.effect[row]) for row in explorer.order if explorer.scan.pattern[row] == pattern]
        assert own == sorted(own, reverse=True)
    with explorer.together():
        explorer.weights, explorer.choose = [["0.weight", [1, 4]], ("2.bias", (2,))], "list"
    explorer.compute()
    assert explorer.scan.index == [("0.weight", (1, 4)), ("2.bias", (2,))]
    explorer.weights = []
    assert "weights: name the weights" in explorer.status.error.value


def test_one_selection_in_all_pictures(explorer):
    explorer.compute()
    order = explorer.order
    assert explorer.row == order[0]  # nothing is chosen: the first one
    explorer.phase._on_pick(order[3])
    assert explorer.selected == explorer.scan.index[order[3]]
    np.testing.assert_array_equal(explorer.detail.lines["linear"].y, explorer.scan.linear[order[3]])
    cell = next(cell for cell in explorer.multiples.page.cells if cell.row == order[3])
    assert explorer.multiples.frame.x.min() == pytest.approx(cell.x, abs=0.02)
    assert explorer.phase.ring.x.tolist() == [pytest.approx(np.clip(explorer.scan.rho[order[3]], -0.35, 1.4))]
    assert explorer.scan.names[order[3]].replace(" ", "") in explorer.readout.value.replace(" ", "")
    press(explorer, "ArrowRight", False)
    assert explorer.row == order[4]
    press(explorer, "ArrowLeft", False)
    assert explorer.row == order[3]


def test_a_dragged_dot_asks_what_if(explorer):
    explorer.compute()
    row = explorer.order[2]
    explorer.phase._on_drag(row, 0.8)
    assert (explorer.row, explorer.what_if) == (row, 0.8)
    scan = explorer.scan
    np.testing.assert_array_equal(explorer.detail.before["loss"].y, scan.quadratic[row])
    np.testing.assert_allclose(explorer.detail.shares["quadratic"].y, scan.alphas + 1.2 * scan.alphas * (1 - scan.alphas))
    value = scan.start[row] + 0.8 * (scan.final[row] - scan.start[row])
    assert f"{value:.5g}" in explorer.what_if_line.value
    assert "interpolated from the measured loss" in explorer.what_if_line.value
    assert explorer.controls.rho.value == pytest.approx(0.8)
    explorer.controls.rho.value = 0.7
    assert explorer.what_if == 0.7
    press(explorer, "ArrowRight", True)
    assert explorer.what_if == pytest.approx(0.71)
    press(explorer, "r", False)
    assert explorer.what_if is None
    assert not explorer.detail.before["loss"].visible
    explorer.what_if = 0.9
    explorer.selected = scan.index[explorer.order[0]]
    assert explorer.what_if is None  # of one weight
    explorer.what_if = 0.9
    press(explorer, "ArrowDown", False)
    assert explorer.what_if is None


def test_what_a_browser_reports_counts_once_it_shows_what_it_was_told(explorer):
    explorer.compute()
    slider, assist, rho = explorer.controls.rho, explorer._assist, explorer.scan.rho[explorer.row]

    def answer():
        assist._heard({"shown": assist.asked})

    answer()
    slider.set_state({"value": 0.7})  # a hand
    assert explorer.what_if == 0.7
    press(explorer, "r", False)
    assert slider.value == pytest.approx(rho, abs=0.0026)
    for late in (0.65, 0.7, slider.value + 1e-13):  # held back while the kernel worked, or rounded in another way
        slider.set_state({"value": late})
        assert explorer.what_if is None
        assert slider.value == pytest.approx(rho, abs=0.0026)
    assist._heard({"shown": assist.asked - 1})
    slider.set_state({"value": 0.65})
    assert explorer.what_if is None
    answer()
    slider.set_state({"value": 0.7})  # the same place as before, by a hand
    assert explorer.what_if == 0.7
    slider.value = 0.65  # by a script, which needs no screen
    assert explorer.what_if == 0.65
    explorer.controls.measured.click()
    slider.value = 0.6
    assert explorer.what_if == 0.6
    mid = explorer.controls.mid
    explorer.mid = 4
    explorer.mid_half_way()
    there = explorer.mid
    mid.set_state({"index": 2})  # a key from before the browser was told
    assert explorer.mid == mid.value == there != 3
    answer()
    mid.set_state({"index": 2})
    assert explorer.mid == mid.value == 3


def test_conventions_label_anew_and_measure_nothing(explorer, tmp_path):
    explorer.compute()
    before, started = explorer.scan, explorer._worker.started
    for name, slider, shown in zip(("plateau_length", "plateau", "noise"), explorer.controls.rules, (0.2, 15.0, 20.0), strict=True):
        slider.value = shown
        assert getattr(explorer, name) == pytest.approx(shown * (0.01 if name == "plateau" else 1))
    expected = before.relabelled(plateau_length=0.2, plateau=0.15, noise=20.0)
    assert explorer.scan.pattern == expected.pattern
    np.testing.assert_array_equal(explorer.scan.confidence, expected.confidence)
    assert explorer.scan.rules["plateau"] == 0.15
    assert "within 15% for 0.2 of alpha" in explorer.state_line.value
    assert explorer._worker.started == started
    explorer.save_result(tmp_path / "ruled")
    shown = nv.ParameterExplorer.from_result(nv.load(tmp_path / "ruled"))
    assert (shown.plateau_length, shown.scan.pattern) == (0.2, expected.pattern)
    np.testing.assert_array_equal(shown.scan.votes, expected.votes)
    shown.close()
    explorer.plateau_length, explorer.plateau, explorer.noise = 0.4, 0.05, 6.0
    assert explorer.scan.pattern == before.pattern
    assert explorer.controls.rules[1].value == pytest.approx(5.0)
    with pytest.raises(ValueError, match="plateau"):
        explorer.plateau = -1.0
    assert explorer.plateau == 0.05


def test_confidences_that_cannot_be_told_anew_are_measured_again_or_missed_in_words(explorer, trained, monkeypatch, tmp_path):
    model, data, run = trained
    monkeypatch.setattr(measured, "RESAMPLE_BYTES", 0)
    explorer.count = 5
    before, seen, draw = explorer.scan, [], explorer._draw
    assert before.resampled is None
    explorer._draw = lambda: (draw(), seen.append((explorer.scan, explorer.state_line.value, explorer.readout.value)))
    explorer.plateau = 0.15
    waiting = next(one for one in seen if one[0].provenance.get("preview") == "counting")
    assert waiting[0].pattern == explorer.scan.pattern
    assert all("is being measured" in words for words in waiting[1:])
    monkeypatch.undo()
    kept = nv.measure_parameters(
        nv.Evaluator(model, data), run, "0.weight", count=5, mid=run.mid_index, alphas=np.linspace(-0.5, 1.5, 9)
    )
    fresh = nv.measure_parameters(
        nv.Evaluator(model, data),
        run,
        "0.weight",
        choose=kept.index,
        mid=run.mid_index,
        alphas=kept.alphas,
        rules={"plateau": 0.15},
    )
    relabelled = kept.relabelled(plateau=0.15)
    for scan in (relabelled, explorer.scan):
        np.testing.assert_array_equal(scan.votes, fresh.votes)
        assert (scan.pattern, scan.population) == (fresh.pattern, fresh.population)
    assert "no confidence" not in explorer.state_line.value
    started = explorer._worker.started
    explorer.plateau = 0.05
    np.testing.assert_array_equal(explorer.scan.votes, before.votes)
    assert explorer._worker.started == started

    explorer.save_result(tmp_path / "none")
    shown = nv.ParameterExplorer.from_result(nv.load(tmp_path / "none"))
    shown.plateau = 0.2
    assert "the file holds no resampled curves" in shown.state_line.value
    assert "the file holds no resampled curves" in shown.readout.value
    shown.plateau = 0.05
    np.testing.assert_array_equal(shown.scan.votes, before.votes)
    shown.close()
    known = {"old": kept, "new": relabelled}
    trim(known, kept.resampled.nbytes)
    assert (known["old"].resampled, known["new"]) == (None, relabelled)


def test_one_weight_is_drawn_over_alpha_or_over_its_line(explorer):
    explorer.compute()
    assert explorer._place.children == (explorer.detail,)
    explorer.controls.over.value = "u"
    assert explorer._place.children == (explorer.line,)
    assert "f(u)" in explorer.legend.value
    np.testing.assert_array_equal(explorer.line.points["quadratic"].y, explorer.scan.quadratic[explorer.row])
    press(explorer, "ArrowRight", False)
    np.testing.assert_array_equal(explorer.line.points["quadratic"].y, explorer.scan.quadratic[explorer.row])
    press(explorer, "u", False)
    assert (explorer.over, explorer.controls.over.value) == ("alpha", "alpha")
    np.testing.assert_array_equal(explorer.detail.lines["quadratic"].y, explorer.scan.quadratic[explorer.row])


def test_a_click_on_a_small_picture_opens_the_paths_of_the_weight(explorer, trained):
    explorer.compute()
    cell = explorer.multiples.page.cells[1]
    explorer.multiples.pick(cell.x + 0.5, -cell.y - 0.5)
    explorer.band = False
    assert "s.e." not in explorer.legend.value
    paths = explorer.openings._made["Paths"]
    assert paths.scope == explorer.scan.index[cell.row] == explorer.selected
    assert (paths.mid, paths.split) == (explorer.mid, explorer.split)
    press(explorer, "ArrowRight", False)
    assert paths.scope == explorer.selected
    explorer.controls.paths.click()
    assert not explorer.openings.shown
    model, data, run = trained
    asked = []
    other = nv.ParameterExplorer(nv.Evaluator(model, data), run, scope="2", count=2, points=9, on_open=asked.append)
    other.compute()
    press(other, "Enter", False)
    assert asked == [other.scan.index[other.row]]
    assert not other.openings.shown
    other.close()


def test_patterns_are_counted_filtered_and_turned_over(trained):
    scan = parabola_scan(rho=np.linspace(0.85, 1.1, 70), u_star=np.linspace(-2.5, 2.5, 70))
    explorer = nv.ParameterExplorer.from_result(scan)
    counts = scan.counts()
    labels = [label for label, _ in explorer.controls.only.options]
    assert labels[0] == "all 70"
    assert labels[1:] == [label for label in labels[1:] if int(label.split()[-1]) == next(
        counts[name] for text, name in explorer.controls.only.options if text == label)]  # fmt: skip
    assert explorer.page_count >= 3
    explorer.controls.after.click()
    assert explorer.page == 1
    assert explorer.multiples.page == explorer.pages[1]
    explorer.controls.only.value = "bump"
    assert (explorer.only, explorer.page) == ("bump", 0)
    assert {scan.pattern[cell.row] for cell in explorer.multiples.page.cells} == {"bump"}
    assert [name for name, mark in explorer.phase.dots.items() if mark.visible] == ["bump"]
    explorer.only = "all"
    explorer.selected = scan.index[explorer.order[-1]]
    assert explorer.page == explorer.page_count - 1
    press(explorer, "PageUp", False)
    assert explorer.page == explorer.page_count - 2
    cells, pages = len(explorer.order), explorer.page_count
    explorer._assist._heard({"width": 345})  # a narrow page
    assert max(cell.x for cell in explorer.multiples.page.cells) == 2
    assert explorer.multiples._x.max == 3
    assert (len(explorer.order), explorer.page_count >= pages) == (cells, True)
    explorer._assist._heard({"width": 900})
    assert (explorer.multiples._x.max, explorer.page_count) == (6, pages)
    assert f"<tr><td>{scan.names[0]}</td>" in explorer.table.value
    assert "70 weights of fc1" in explorer._assist.summary
    with pytest.raises(ValueError, match="saved result"):
        explorer.explore()
    explorer.close()


def test_what_cannot_be_chosen_is_refused_in_words(explorer, trained):
    for name, value, words in (
        ("mid", 0, "between the first and the last"), ("mid", 9, "1 to 4"), ("split", "train", "one of 'test'"),
        ("alpha_range", (0.2, 1.5), "from 0 or less to 1 or more"), ("selected", ("0.weight", (9, 9)), "0.weight"),
        ("selected", "0.weight", "single weights"), ("weights", [("0.weight", (1,))], "0.weight"), ("what_if", np.inf, "finite"),
        ("scope", "3", "3"),
    ):  # fmt: skip
        before = getattr(explorer, name)
        with pytest.raises(ValueError, match=words):
            setattr(explorer, name, value)
        assert getattr(explorer, name) == before
    model, data, run = trained
    with pytest.raises(TypeError, match="did you mean count"):
        nv.ParameterExplorer(nv.Evaluator(model, data), run, counts=3)
    with pytest.raises(TypeError, match="a ParameterScan"):
        nv.ParameterExplorer.from_result(nv.Evaluator(model, data).measure())


def test_a_list_is_typed_a_line_a_weight(explorer):
    assert parsed("0.weight[1, 4]") == parsed(" 0.weight 1 4") == ("0.weight", (1, 4))
    explorer.controls.weights.value = "0.weight 1, 4\n2.bias 2"
    assert explorer.weights == (("0.weight", (1, 4)), ("2.bias", (2,)))
    explorer.controls.weights.value = "nonsense"
    assert "nonsense" in explorer.controls.wrong.value
    explorer.controls.weights.value = "0.weight 7, 7"
    assert "0.weight" in explorer.controls.wrong.value


def test_a_range_always_holds_zero_and_one(explorer):
    explorer.controls.range.value = (0.3, 0.8)
    assert explorer.alpha_range == (0.0, 1.0)
    assert explorer.controls.range.value == (0.0, 1.0)


def test_two_checkpoints_have_no_quadratic_path_and_no_diagram(trained):
    model, data, run = trained
    short = nv.Run.from_states([run.initial, run.final])
    explorer = nv.ParameterExplorer(nv.Evaluator(model, data), short, scope="2", count=3, points=9)
    explorer.compute()
    assert not explorer.status.error.value
    assert explorer.detail.lines["linear"].visible
    assert not explorer.detail.lines["quadratic"].visible
    assert not any(mark.visible for mark in explorer.phase.dots.values())
    explorer.close()


def test_a_snapshot_survives_json_and_a_result_its_file(explorer, tmp_path):
    explorer.compute()
    explorer.selected = explorer.scan.index[explorer.order[3]]
    explorer.what_if, explorer.sort, explorer.only = 0.75, "confidence", explorer.scan.pattern[explorer.order[3]]
    kept = json.loads(json.dumps(explorer.snapshot()))
    other = nv.ParameterExplorer(explorer.study.evaluators, explorer.study.run)
    other.restore(kept)
    assert other.snapshot() == explorer.snapshot()
    explorer.save_result(tmp_path / "scan")
    shown = nv.ParameterExplorer.from_result(nv.load(tmp_path / "scan"))
    assert shown.scan.pattern == explorer.scan.pattern
    np.testing.assert_array_equal(shown.detail.lines["linear"].y, shown.scan.linear[shown.row])
    for one in (other, shown):
        one.close()


def test_partial_results_are_drawn_and_a_cancelled_scan_stays(trained):
    model, data, run = trained

    async def watch():
        explorer = nv.ParameterExplorer(nv.Evaluator(model, data, batch_size=30), run, count=3, points=5)
        seen = []
        draw = explorer._draw
        explorer._draw = lambda: (seen.append(explorer.results["scan"].fraction), draw())
        await explorer.done()
        explorer.samples = 80
        explorer.cancel()
        await explorer.done()
        explorer.close()
        return seen, explorer

    seen, explorer = asyncio.run(watch())
    assert seen[-1] == 1.0
    assert not explorer.status.error.value


def test_names_of_ipywidgets_are_left_alone(explorer):
    ours = {name for cls in type(explorer).__mro__ if cls.__module__.startswith("nnvis_widgets.") for name in vars(cls)}
    assert {name for name in ours if not name.startswith("_") and hasattr(ipywidgets.VBox, name)} <= {"close"}
    plain = ipywidgets.VBox()
    assert not set(vars(explorer)) & (set(dir(ipywidgets.VBox)) - set(vars(plain)))


def test_closing_leaves_nothing_behind(trained):
    model, data, run = trained
    ipywidgets.Widget.close_all()
    explorer = nv.ParameterExplorer(nv.Evaluator(model, data), run, scope="2", count=4, points=9)
    explorer.compute()
    explorer.explore()
    explorer.close()
    explorer.close()
    assert [type(one).__name__ for one in ipywidgets.widgets.widget._instances.values()] == []


def test_every_key_and_setting_is_in_use(explorer):
    explorer.compute()
    for key in KEYS:
        press(explorer, key, False)
    assert {*explorer.RECOMPUTE, *explorer.RESTYLE} == {
        name for name, trait in type(explorer).class_traits().items() if trait.this_class.__module__.endswith("parameter_settings")
    }
    assert set(PATTERNS) < {*type(explorer).only.values}
