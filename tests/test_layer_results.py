import dataclasses

import numpy as np
import pytest
from matplotlib.figure import Figure

import nnvis_widgets as nv

LAYERS = ["conv1", "conv2", "fc1", "fc2", "fc3"]
# harm shown; harm possible; harmless; not put back at all; not measured
DROP = np.array([0.5, 0.1, 0.0, 0.0, np.nan])


def study(draws=1, drop=DROP, **changes):
    drop = np.asarray(drop)
    kappa = drop / 0.8
    every = kappa[:, None] + np.linspace(-0.05, 0.05, draws) * (draws > 1)
    whole = dict(  # noqa: C408
        layers=LAYERS[: len(drop)], kind="reinit" if draws == 1 else "rerandomise", at=0, epoch=0.0, unit="module", part="all",
        metric="accuracy", reference={"loss": 0.1, "accuracy": 0.9}, chance=0.1, criticality=kappa, low=kappa - 0.02,
        high=kappa + 0.02, rank_low=np.arange(len(drop)), rank_high=np.arange(len(drop)) + 1, accuracy_drop=drop,
        accuracy_drop_low=drop - 0.005, accuracy_drop_high=drop + 0.005, loss_rise=drop * 3, loss_rise_low=drop * 2,
        loss_rise_high=drop * 4, distance=np.ones(len(drop)), relative_distance=np.ones(len(drop)),
        parameter_count=np.arange(len(drop)) + 10, moved=np.arange(len(drop)) != 3, draws_criticality=every,
        draws_loss_rise=every * 3, draw_sd=every.std(1), n=400, provenance={"split": "test", "batchnorm": "final"},
    )  # fmt: skip
    return nv.LayerStudy(**{**whole, **changes})


def history(**changes):
    # the second layer does no harm from epoch 2 on; the first never stops but at the end; the third is not harmful at 1 alone
    kappa = np.array([[0.9, 0.5, 0.4], [0.8, 0.1, 0.0], [0.7, 0.0, 0.3], [0.0, 0.0, 0.0]])
    moved = np.array([[True] * 3] * 3 + [[False] * 3])
    whole = dict(  # noqa: C408
        layers=LAYERS[:3], epochs=np.array([0.0, 1.0, 2.0, 5.0]), criticality=kappa, low=kappa - 0.005, high=kappa + 0.005,
        accuracy_drop=kappa * 0.8, accuracy_drop_high=kappa * 0.8 + 0.004, loss_rise=kappa * 3,
        parameter_count=np.array([10, 20, 30]), moved=moved, n=400, chance=0.1, checkpoints=[0, 1, 2, 5],
        reference={"loss": 0.1, "accuracy": 0.9}, provenance={"split": "test"},
    )  # fmt: skip
    return nv.LayerHistory(**{**whole, **changes})


def joint():
    return nv.JointReset(
        layers=["conv1", "fc1"], kind="reinit", at=0, epoch=0.0, metric="accuracy", reference={"accuracy": 0.9, "loss": 0.1},
        chance=0.1, criticality=0.9, low=0.85, high=0.95, single=np.array([0.2, 0.1]), single_low=np.array([0.15, 0.05]),
        single_high=np.array([0.25, 0.15]), sum_of_singles=0.3, interaction=0.6, interaction_low=0.5, interaction_high=0.7,
        accuracy_drop=0.72, loss_rise=2.0, n=400, provenance={"split": "test"},
    )  # fmt: skip


def agreement():
    return nv.LayerAgreement(
        layers=["a", "b"], runs=["seed 0", "seed 1", "seed 2"], kendall=np.array([[1.0, 1, -1], [1, 1, -1], [-1, -1, 1]]),
        labels=[["critical", "ambient"], ["critical", "ambient"], ["critical", "critical"]],
        criticality=np.array([[0.9, 0.0], [0.8, 0.0], [0.5, 0.7]]), n=[400, 400, 400],
    )  # fmt: skip


class TestLabels:
    def test_come_from_intervals_and_not_from_a_lack_of_evidence(self):
        assert study().label == ["critical", "intermediate", "ambient", "not moved", "undefined"]
        # the same drop of nothing, but an interval that reaches beyond a point: not shown to be harmless
        assert study(accuracy_drop_high=DROP + 0.02).label[2] == "intermediate"
        # a large criticality that may be a small one is not shown to be harmful
        assert study(low=np.full(5, 0.2)).label[0] == "intermediate"

    def test_other_thresholds_relabel_and_measure_nothing(self):
        other = study().relabelled(margin=0.2, critical_above=0.9)
        assert other.label == ["intermediate", "ambient", "ambient", "not moved", "undefined"]
        assert np.array_equal(other.criticality, study().criticality, equal_nan=True)
        assert other.relabelled(margin=0.01, critical_above=0.25).label == study().label
        assert study().relabelled(margin=0.2).critical_above == 0.25
        with pytest.raises(ValueError, match=r"margin: a number of at least 0, such as 0\.01; received -1"):
            study().relabelled(margin=-1)
        for result in (study(), history()):
            for wrong, says in (
                ({"margin": 5}, "margin: a share of 0 to 1: 0.05 is five points; received 5"),
                ({"margin": "x"}, "margin: a number of at least 0, such as 0.01; received 'x'"),
                ({"critical_above": 1.5}, r"critical_above: 0 \(no harm\) to 1 \(chance\), such as 0.25; received 1.5"),
            ):
                with pytest.raises(ValueError, match=says):
                    result.relabelled(**wrong)
        assert study(metric="loss").relabelled(critical_above=1.5).critical_above == 1.5

    def test_without_an_accuracy_the_criticality_itself_is_held_against_the_margin(self):
        nothing = np.full(5, np.nan)
        words = study(metric="loss", accuracy_drop=nothing, accuracy_drop_high=nothing, high=DROP / 0.8 + 0.005).label
        assert words == ["critical", "intermediate", "ambient", "not moved", "undefined"]

    def test_a_layer_with_a_problem_is_undefined_and_says_why(self):
        result = study(problems={"conv1": "it has no reset_parameters"})
        assert result.label[0] == "undefined"
        assert result.notes[0] == "conv1: it has no reset_parameters"

    def test_notes_say_what_the_numbers_do_not_hold_for(self):
        assert study().notes == ["one training run: another seed may give other labels"]
        assert "has not learnt" in study(learned=False).notes[0]
        assert "constant answer" in study(chance=np.nan).notes[0]
        assert (
            study(policies={"recalibrate": DROP, "final": DROP * np.nan}).notes[0].startswith("with BatchNorm 'final' the trained")
        )


class TestHistory:
    def test_says_since_when_a_layer_does_no_harm(self):
        assert history().replaceable_since.tolist() == [5.0, 2.0, 5.0]
        np.testing.assert_array_equal(history().shown_since, [np.nan, 2.0, np.nan])  # that nothing changes nothing shows nothing
        np.testing.assert_array_equal(history(moved=np.ones((4, 3), bool)).shown_since, [5.0, 2.0, 5.0])  # not the trained weights
        few = history(n=50, provenance={"critical": 2.6}, accuracy_drop_high=history().criticality + 0.1)
        assert np.isnan(few.shown_since).all()
        assert few.unshown == "n = 50 is too small to show harmlessness to within 1.00%"
        assert (history().unshown, "no layer" in history(accuracy_drop_high=few.accuracy_drop_high).unshown) == ("", True)
        still = history(moved=history().moved & [True, True, False])  # exactly the same weights need no samples
        assert still.shown_since.tolist()[2] == 0.0
        assert history().relabelled(margin=0.9, critical_above=1.0).replaceable_since.tolist() == [0.0, 0.0, 0.0]
        assert history().notes == ["one training run: another seed may give other labels"]
        assert "has not learnt" in history(learned=False).notes[0]
        assert history().label[1].tolist() == ["critical", "intermediate", "ambient"]

    def test_what_is_not_measured_yet_is_undefined(self):
        kappa = history().criticality.copy()
        kappa[-1] = np.nan
        part = history(criticality=kappa, low=kappa, high=kappa, moved=np.ones((4, 3), bool), fraction=0.75)
        assert np.isnan(part.replaceable_since).all()


def test_an_agreement_counts_pairs_and_labels():
    result = agreement()
    assert (result.mean_tau, result.min_tau) == (pytest.approx(-1 / 3), -1)
    assert result.unanimous == [True, False]
    assert "Kendall tau -0.33 on average, -1.00 at least; 1 of 2 layers" in repr(result)


EVERY = {"study": study, "draws": lambda: study(draws=4), "history": history, "joint": joint, "agreement": agreement}


@pytest.mark.parametrize("name", EVERY)
def test_every_result_is_saved_tabled_drawn_and_told(name, tmp_path):
    result = EVERY[name]()
    result.save(tmp_path / "file")
    back = nv.load(tmp_path / "file")
    for entry in dataclasses.fields(result):
        mine, theirs = getattr(result, entry.name), getattr(back, entry.name)
        assert np.array_equal(mine, theirs, equal_nan=True) if isinstance(mine, np.ndarray) else mine == theirs, entry.name
    rows = {"study": 5, "draws": 5, "history": 12, "joint": 4, "agreement": 6}[name]
    assert len(result.to_pandas()) == rows
    figure = Figure()
    result.plot(figure.add_subplot())
    figure.canvas.draw()
    assert type(result).__name__ in repr(result)


def test_a_plot_says_each_label_in_words_beside_its_colour():
    axes = study(draws=4).plot(Figure().add_subplot())
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [
        f"{layer}   {icon} {word}" for layer, icon, word in zip(study().layers, "▲◆●○?", study().label, strict=True)
    ]
    assert "undefined" in repr(study())


def test_criticality_can_be_held_against_how_far_a_layer_moved():
    far = np.array([0.5, 1.0, 2.0, 40.0, 3.0])
    result = study(relative_distance=far)
    axes = result.plot(Figure().add_subplot(), against="relative_distance")
    dots = {line.get_xdata()[0]: line.get_ydata()[0] for line in axes.lines if len(line.get_xdata()) == 1}
    assert dots == dict(zip(far[:4], result.criticality[:4], strict=True))  # the fifth is not measured
    bars = [line for line in axes.lines if len(set(line.get_xdata())) == 1 < len(line.get_xdata())]
    assert [tuple(bar.get_ydata()) for bar in bars] == list(zip(result.low[:4], result.high[:4], strict=True))
    assert [text.get_text() for text in axes.texts] == LAYERS[:4]
    assert "length of the weights put back" in axes.get_xlabel()
    assert axes.get_xscale() == "log"
    assert study().plot(Figure().add_subplot(), against="parameter_count").get_xscale() == "linear"
    with pytest.raises(ValueError, match=r"against: one of 'relative_distance', .*; received 'depth'"):
        result.plot(against="depth")


def words(figure):
    return " ".join(text.get_text() for text in figure.findobj(lambda part: hasattr(part, "get_text")))


class TestFigures:
    def test_a_study_stands_with_its_zones_labels_and_what_it_does_not_say(self):
        figure = nv.layer_figure(
            study(draws=4, policies={"final": DROP / 0.8, "recalibrate": DROP}, problems={"fc3": "no initialiser"})
        )
        figure.canvas.draw()
        text = words(figure)
        for word in ("critical", "intermediate", "ambient", "not moved", "undefined", "▲", "◆", "●", "one draw", "harmless"):
            assert word in text, word
        assert "BatchNorm: recalibrate" in text
        assert "BatchNorm: final" not in [t.get_text() for t in figure.legends[0].get_texts()]
        assert "another seed may give other labels" in text.replace("\n", " ")
        assert "fc3: no initialiser" in text.replace("\n", " ")
        with pytest.raises(TypeError, match=r"LayerStudy: as nv\.measure_layers returns it"):
            nv.layer_figure(history())

    def test_a_map_has_a_number_in_each_cell_and_a_tick_where_harm_ends(self):
        figure = nv.layer_history_figure(history())
        figure.canvas.draw()
        axes = figure.axes[0]
        assert len(axes.texts) == 12
        ticks = [line for line in axes.lines if line.get_color() == "white"]
        assert [line.get_xdata()[0] for line in ticks] == [2]
        assert "white tick: no harm" in words(figure)
        few = nv.layer_history_figure(history(n=50, provenance={"critical": 2.6}, accuracy_drop_high=history().criticality + 0.1))
        assert not [line for line in few.axes[0].lines if line.get_color() == "white"]
        assert "no white ticks: n = 50 is too small" in words(few).replace("\n", " ")
