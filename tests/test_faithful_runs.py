"""What several trainings agree on: numbers against scipy's, what is best, what is refused, and the command over seeds."""

import argparse
import dataclasses
import functools

import factories
import numpy as np
import pandas
import pytest
from scipy import stats

import nnvis_widgets as nv
from nnvis_widgets.__main__ import main
from nnvis_widgets.results import SPACES

pytestmark = pytest.mark.usefixtures("unhurried")
LINEAR, QUADRATIC, SPEED = range(3)
EPOCHS, WAY = range(2)
FAR = {(LINEAR, EPOCHS): (1.0, 1.1, 0.9), (QUADRATIC, EPOCHS): (0.3, 0.2, 0.31), (LINEAR, WAY): (0.2, 0.21, 0.22)}


@pytest.fixture(scope="module")
def evaluator():
    return nv.Evaluator(factories.made(factories.ConvNet), factories.images(), device="cpu", batch_size=32)


@pytest.fixture(scope="module")
def reports(evaluator):
    """Of three walks from three initial states."""
    walks = [factories.states(factories.made(factories.ConvNet, seed), 6, seed=seed + 5) for seed in range(3)]
    return [nv.measure_faithfulness(evaluator, nv.Run.from_states(walk), draws=10) for walk in walks]


@pytest.fixture
def agreement(reports):
    return nv.compare_faithfulness(reports)


def told(reports, log_loss, kl=None, weights=None):
    """Reports whose distances are those given: {(path, clock): one value a run}; everything else is far."""
    made = []
    for r, report in enumerate(reports):
        single = {name: np.full_like(array, 9.0) for name, array in report.per_checkpoint.items()}
        far = np.full_like(report.weights, 9.0)
        for values, target in ((log_loss, single["log_loss"]), (kl or log_loss, single["kl"]), (weights or log_loss, far)):
            for (p, c), runs in values.items():
                target[p, c] = runs[r]
        made.append(dataclasses.replace(report, per_checkpoint=single, weights=far))
    return nv.compare_faithfulness(made)


class TestNumbers:
    def test_means_spreads_and_skills_are_those_of_the_single_reports(self, reports, agreement):
        for space in SPACES:
            values = np.stack([report.distances(space)[0] for report in reports])
            assert agreement.mean(space) == pytest.approx(values.mean(0), nan_ok=True)
            assert agreement.sd(space) == pytest.approx(values.std(0, ddof=1), nan_ok=True)
            skills = np.stack([report.skill(space)[0] for report in reports])
            assert agreement.skill(space)[0] == pytest.approx(skills.mean(0), nan_ok=True)
        assert (agreement.skill("kl")[0][0, 0], agreement.critical) == (0.0, pytest.approx(4.302653, abs=1e-5))
        assert agreement.n == 57
        assert agreement.provenance["split"] == "test"
        assert len(agreement.provenance["reports"]) == 3

    def test_differences_and_skills_have_students_intervals_paired_by_run(self, agreement):
        one, other = ("linear", "epochs"), ("quadratic", "arc length")
        gaps = agreement.distances["kl"][:, LINEAR, EPOCHS] - agreement.distances["kl"][:, QUADRATIC, WAY]
        expected = stats.ttest_1samp(gaps, 0).confidence_interval(0.95)
        assert agreement.difference(one, other, "kl") == pytest.approx((gaps.mean(), expected.low, expected.high))
        skills = 1 - agreement.distances["kl"][:, QUADRATIC, WAY] / agreement.distances["kl"][:, LINEAR, EPOCHS]
        expected = stats.ttest_1samp(skills, 0).confidence_interval(0.95)
        found = [part[QUADRATIC, WAY] for part in agreement.skill("kl")]
        assert found == pytest.approx([skills.mean(), expected.low, expected.high])

    def test_controls_are_counted_over_runs(self, reports, agreement):
        table = agreement.controls_to_pandas()
        rises = np.stack([report.rises()[0] for report in reports])
        assert table["origin"].tolist() == ["initial", "unrelated", "noise", "zero"]
        assert table["rise"].to_numpy() == pytest.approx(rises.mean(0))
        assert table["monotone_runs"].tolist() == (rises == 0).sum(0).tolist()


class TestBest:
    def test_it_is_the_smallest_mean_with_its_wins_and_with_what_is_not_clearly_farther(self, reports):
        found = told(reports, FAR).best()
        assert (found.path, found.clock, found.wins) == ("linear", "arc length", 2)
        assert (found.mean, found.sd) == (pytest.approx(0.21), pytest.approx(0.01))
        assert found.as_close == [("quadratic", "epochs")]

    def test_a_clock_that_is_fitted_to_the_weights_is_no_rival_unless_asked_for(self, reports):
        free = {**FAR, (LINEAR, 3): (0.0, 0.0, 0.0)}
        assert told(reports, free).best("weights").clock == "arc length"
        assert told(reports, free).best("weights", clocks=("epochs", "free")).clock == "free"

    def test_each_space_has_its_own(self, reports):
        got = told(reports, FAR, kl={(SPEED, EPOCHS): (0.1, 0.1, 0.12)})
        assert [got.best(space).path for space in ("log_loss", "kl")] == ["linear", "speed-only"]
        assert "in predictions speed-only (epochs): 0.107 ± 0.012, best in 3 of 3 runs" in got.sentence

    @pytest.mark.parametrize(
        ("quadratic", "speed", "words"),
        [
            ((0.3, 0.2, 0.31), (0.31, 0.2, 0.3), ["closer to the training than the straight line (0.270 ± 0.061", "Its timing"]),
            ((0.3, 0.2, 0.31), (0.6, 0.51, 0.6), ["Its shape is part of it: without its bend it would be farther (0.570 ± 0.052)"]),
            ((0.3, 0.2, 0.31), (0.1, 0.01, 0.1), ["Its shape is against it"]),
            ((1.3, 1.4, 1.2), (0.1, 0.1, 0.1), ["farther from the training"]),
            ((0.9, 1.2, 0.8), (0.1, 0.1, 0.1), ["not clearly closer to"]),
        ],
    )  # fmt: skip
    def test_the_sentence_separates_timing_from_shape(self, reports, quadratic, speed, words):
        said = told(reports, {**FAR, (QUADRATIC, EPOCHS): quadratic, (SPEED, EPOCHS): speed}).sentence
        assert all(word in said for word in words), said
        assert said.startswith(
            "Over 3 runs (5 or more are better), by log loss at held-out checkpoints (n = 57), the quadratic path is"
        )

    def test_what_is_infinite_in_one_run_is_best_in_none(self, reports):
        got = told(reports, {**FAR, (LINEAR, WAY): (0.0, np.inf, 0.0)})
        assert got.best().path == "quadratic"
        lost = told(reports, {**FAR, (LINEAR, EPOCHS): (np.nan, 1.0, 1.0)})
        assert lost.best().path == "linear"


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda r: r[:1], "at least two of measure_faithfulness, received 1"),
            (lambda r: [*r, "report"], "FaithfulnessReport, str"),
            (lambda r: [r[0], dataclasses.replace(r[1], fraction=0.5)], "that of 'run 2' is 50% done"),
            (lambda r: [r[0], r[1], r[0]], "those of 'run 1' and 'run 3' end in the same weights"),
            (lambda r: [r[0], dataclasses.replace(r[1], n=50)], "'run 1' has n 57, 'run 2' has 50"),
            (lambda r: [r[0], dataclasses.replace(r[1], origins=[])], "has origins"),
            (lambda r: [r[0], dataclasses.replace(r[1], provenance=r[1].provenance | {"data": "x"})], "the data of 'run 1'"),
        ],
    )
    def test_what_cannot_be_compared_is_named(self, reports, change, words):
        with pytest.raises(ValueError, match=words):
            nv.compare_faithfulness(change(reports))

    def test_names_are_one_for_each(self, reports):
        with pytest.raises(ValueError, match="names: 3 different ones"):
            nv.compare_faithfulness(reports, ["a", "b", "b"])
        assert nv.compare_faithfulness(reports, ["a", "b", "c"]).runs == ["a", "b", "c"]


class TestResult:
    def test_it_goes_through_a_file_and_into_tables(self, agreement, reports, tmp_path):
        agreement.save(tmp_path / "agreement")
        again = nv.load(tmp_path / "agreement")
        assert again.sentence == agreement.sentence
        assert again.to_pandas().equals(agreement.to_pandas())
        assert repr(agreement).startswith("FaithfulnessAgreement(3 runs, 5 paths x 4 clocks; closest in log loss: ")
        table = agreement.to_pandas()
        row = table[(table.path == "quadratic") & (table.clock == "epochs")].iloc[0]
        assert row["kl_sd"] == pytest.approx(agreement.sd("kl")[QUADRATIC, EPOCHS])
        assert (len(table), row["seeds"]) == (20, 3)
        page = agreement._repr_html_()
        skill, low, high = (part[QUADRATIC, EPOCHS] for part in agreement.skill("kl"))
        assert f"skill {skill:.2f} [{low:.2f}, {high:.2f}]" in page
        assert page.count("<tr>") == 21
        assert page.count("●") == 4, "one in each of the three spaces, and in the legend"
        each = agreement.runs_to_pandas()
        cell = each[(each.run == "run 2") & (each.path == "linear") & (each.clock == "arc length")].iloc[0]
        assert cell["weights"] == pytest.approx(reports[1].distances("weights")[0][LINEAR, WAY])
        assert (len(each), cell["eta"]) == (60, pytest.approx(reports[1].eta))

    def test_it_draws_every_run_and_the_mean(self, agreement):
        figure = nv.faithfulness_figure(agreement)
        figure.canvas.draw()
        axes = figure.axes[2]
        for run, dots in enumerate(axes.lines[:3]):
            assert dots.get_xdata() == pytest.approx(agreement.distances["kl"][run, :, EPOCHS], nan_ok=True)
        means = axes.containers[1].lines[0].get_xdata()
        assert means == pytest.approx(agreement.mean("kl")[:, WAY], nan_ok=True)
        assert agreement.sentence == " ".join(figure.get_suptitle().split())

    def test_what_it_has_not_is_refused(self, agreement):
        with pytest.raises(KeyError, match="space: one of 'weights'"):
            agreement.mean("norm")
        with pytest.raises(KeyError, match="path: one of"):
            agreement.difference(("cubic", "epochs"), ("linear", "epochs"))


class TestCommand:
    def test_it_measures_each_seed_and_tells_what_holds_over_them(self, evaluator, tmp_path, monkeypatch, capsys):
        def small(options, _progress):
            model = factories.made(factories.ConvNet, options.seed)
            return evaluator, nv.Run.from_states(factories.states(model, 6, seed=options.seed + 5))

        monkeypatch.setattr("nnvis_widgets.cli.faithfulness.open_demo", small)
        other = functools.partial(factories.made, factories.ConvNet)
        monkeypatch.setattr("nnvis_widgets.cli.faithfulness.seeded_lenet", other)
        out = tmp_path / "out"
        base = ["faithfulness", "--demo", "digits", "--no-cuda", "--formats", "csv", "png", "--out", str(out)]
        assert main([*base, "--seeds", "0,2"]) == 0
        agreement = nv.load(out / "faithfulness.safetensors")
        assert agreement.runs == ["seed 0", "seed 2"]
        assert agreement.sentence in capsys.readouterr().out
        kinds = ("faithfulness-seed{}.csv", "faithfulness-seed{}.safetensors", "origins-seed{}.csv")
        single = {kind.format(seed) for seed in (0, 2) for kind in kinds}
        together = {"faithfulness.safetensors", "faithfulness.csv", "faithfulness.png", "runs.csv", "origins.csv", "summary.csv"}
        assert {path.name for path in out.iterdir()} == single | together
        second = nv.load(out / "faithfulness-seed2.safetensors")
        assert agreement.distances["kl"][1] == pytest.approx(second.distances("kl")[0], nan_ok=True)
        begun = nv.LinearPath(other(3).state_dict(), small(argparse.Namespace(seed=2), None)[1].final)  # the next seed's weights
        assert second.control_loss[1] == pytest.approx(nv.measure_path(evaluator, begun, second.control_alphas).loss, rel=1e-5)
        assert pandas.read_csv(out / "summary.csv")["file"].tolist() == [f"faithfulness-seed{seed}.safetensors" for seed in (0, 2)]

    @pytest.mark.parametrize(
        ("more", "words"),
        [
            (["--demo", "digits", "--seeds", "1"], "at least two different whole numbers"),
            (["--demo", "digits", "--seeds", "1,1,2"], "at least two different whole numbers"),
            (["--demo", "digits", "--seeds", "1,2", "--seed", "3"], "--seed 3 too"),
            (["--run", "run", "--source", "m:f", "--seeds", "1,2"], "--seeds: only with --demo"),
        ],
    )
    def test_it_refuses_before_it_works(self, tmp_path, capsys, more, words):
        assert main(["faithfulness", *more, "--out", str(tmp_path / "out")]) == 2
        assert words in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
