"""The statements of the thesis: each can hold and can fail, what is measured for them, and the files that it is kept in."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace as Study

import factories
import numpy as np
import pytest
from scipy import stats

import nnvis_widgets as nv
from nnvis_widgets.__main__ import main
from nnvis_widgets.demo.thesis import (
    FIGURES,
    STATEMENTS,
    Cards,
    Evidence,
    Settings,
    Thesis,
    judged,
    keep,
    loading,
    on_mnist,
    stored,
)
from nnvis_widgets.demo.thesis.intervals import median_interval, tau
from nnvis_widgets.demo.thesis.judging import more_epochs
from nnvis_widgets.demo.thesis.studying import studied
from nnvis_widgets.export import course_figure, opacity_figure, scopes_figure, training_figure
from nnvis_widgets.results import PathResult

EPOCHS = 16


def path(loss, accuracy=0.98, n=10_000, kind="training", alphas=None, error=1e-3):
    loss = np.asarray(loss, dtype=float)
    accuracies = np.broadcast_to(np.asarray(accuracy, dtype=float), loss.shape)
    alphas = np.linspace(0, 1, len(loss)) if alphas is None else np.asarray(alphas, dtype=float)
    same = np.full(len(loss), error)
    return PathResult(alphas, loss, same, same, {"accuracy": accuracies}, n, kind, "model", 1.0)


def training(good):
    return {"training": path(np.full(EPOCHS, 0.1) if good else np.linspace(1, 0.1, EPOCHS), 0.99 if good else 0.9)}


def layers(order=("fc1", "conv1", "conv2"), harm=(0.9, 0.8, 0.0)):
    at, half = np.array(harm), 0.004
    ranks = np.arange(1, len(order) + 1)
    return {"layers": Study(
        layers=list(order), criticality=at, low=at - half, high=at + half, rank_low=ranks, rank_high=ranks, critical_above=0.25,
        margin=0.01, accuracy_drop=at, accuracy_drop_low=at - half, accuracy_drop_high=at + half,
        loss_rise=at, loss_rise_low=at - half, loss_rise_high=at + half,
    )}  # fmt: skip


def faithful(linear, straight=0.0, mid=7):
    """The distance to the training of the line, and of the path without its bend; that of the quadratic path is 0."""

    def difference(other, one, space):
        gap = straight if other[0] == "speed-only" else linear
        return gap, gap - 0.01, gap + 0.01

    return {"faithfulness": Study(mid=mid, difference=difference)}


def model_paths(at_half, outside):
    grid = [-0.5, 0, 0.5, 1, 1.5]
    return {
        "path/model/linear": path([1, 2, 1, 0.1, 1], alphas=grid, kind="linear"),
        "path/model/quadratic": path([outside, 2, at_half, 0.1, outside], alphas=grid, kind="quadratic"),
    }


def scan(pattern=("bump",), sequence="mMm", u_star=0.5, rising=True, count=60):
    steps = np.arange(count, dtype=float)
    linear = np.stack([np.zeros(count), steps if rising else -steps + count], axis=1)
    sequences = [sequence] * count if isinstance(sequence, str) else sequence
    return Study(
        pattern=[pattern[k % len(pattern)] for k in range(count)], sequence=sequences,
        mirrored=np.zeros(count, dtype=bool), u_star=np.full(count, u_star), rho=np.ones(count), distance=steps,
        alphas=np.array([0.0, 1.0]), linear=linear,
    )  # fmt: skip


def preliminary(excess, left, steps):
    epochs = np.arange(1, 21)
    study = Study(
        arms=["decayed"], epochs=epochs, excess=np.full((1, 20), excess), excess_high=np.full((1, 20), excess + 0.001),
        chosen=np.array([10.0]), rate_left=np.full((1, 20), left),
    )  # fmt: skip
    means = np.array([[2.0, 1.0], [1.0 + steps, 1.0]])
    sizes = Study(arms=["equal epochs", "equal steps"], sizes=[100, 200], mean=means, low=means - 0.01, high=means + 0.01)
    return {"epochs/decayed": study, "training-size": sizes}


def subsets(observed, error):
    both = {"accuracy": np.array([0.5, error])}
    return {
        "test-size": Study(
            sizes=np.array([10, 80]), population=100, repeats=100, observed={"accuracy": np.array([0.5, observed])}, error=both
        )
    }


def planes(inside, explained):
    off = np.append(np.full(9, np.sqrt(1 - inside)), 0.0)
    random = {f"trajectory/random {k}": Study(off_plane=off, explained=None) for k in range(3)}
    return random | {"trajectory/pca": Study(off_plane=off, explained=np.array([explained - 0.1, 0.1]))}


def oscillating(agreeing):
    extrema = ["m" * (1 + k % 5) for k in range(60)]
    turns = np.array([len(one) if agreeing else 6 - len(one) for one in extrema])
    return {"scan/fc1": scan(sequence=extrema), "course/fc1": Study(turns=turns)}


def changes(size, n):
    # what happens beyond alpha 1 does not count
    curve = path([0.1, 0.1, 0.1], [0.98 - size, 0.98, 0.5], n, "linear", [0.0, 1.0, 1.5])
    weights = {f"weight/{k}/linear": curve for k in range(8)}
    return {"training": path([0.1, 0.1], n=n), **weights}


def retimed(other, one, space):
    """The bend brings nothing, and the re-timed line is nearer."""
    return {("linear", "epochs"): (1.0, 0.9, 1.1), ("speed-only", "epochs"): (0.0, -0.01, 0.01)}.get(other, (-0.5, -0.6, -0.4))


BOTH = {  # studies with which a statement holds, and with which it does not
    "accuracy": (training(True), training(False)),
    "epochs": (training(True), training(False)),
    "more-epochs": (preliminary(0.001, 0.5, 1), preliminary(0.5, 0.01, 1)),
    "training-size": (preliminary(0, 1, 0.95), preliminary(0, 1, 0.1)),
    "test-size": (subsets(0.0005, 0.0005), subsets(0.01, 0.05)),
    "first-layer": (layers(), layers(("conv2", "fc2", "fc1", "conv1"), (0.9, 0.8, 0.7, 0.6))),
    "robust-layers": (layers(), layers(harm=(0.1, 0.05, 0.0))),
    "ambient-layers": (layers(), layers(harm=(0.9, 0.8, 0.7))),
    "meets-training": (
        {**model_paths(0.1, 3), **training(True), **faithful(0)}, {**model_paths(0.2, 3), **training(True), **faithful(0)},
    ),
    "quadratic-nearer": (faithful(0.5), faithful(-0.5)),
    "bend-helps": (faithful(0.5, 0.3), {"faithfulness": Study(difference=retimed)}),
    "runs-away": (model_paths(0.1, 3), model_paths(0.1, 0.3)),
    "distance": ({"scan/fc1": scan()}, {"scan/fc1": scan(rising=False)}),
    "five-patterns": (
        {"scan/fc1": scan(("bump", "wave", "flat-region", "descending-convex", "ascending-concave"))},
        {"scan/fc1": scan(("complex", "coincident", "complex", "bump"))},
    ),
    "bump-rule": (
        {"scan/fc1": scan(), "scan/fc2": scan(sequence="m", u_star=1.5)},
        {"scan/fc1": scan(u_star=1.2), "scan/fc2": scan(sequence="m")},
    ),
    "small-changes": (changes(0.005, 1_000_000), changes(0.00001, 8000)),
    "oscillation": (oscillating(True), oscillating(False)),
    "planes": (planes(0.001, 0.95), planes(0.5, 0.6)),
}  # fmt: skip


class TestStatements:
    @pytest.mark.parametrize("statement", STATEMENTS, ids=lambda statement: statement.key)
    def test_each_of_them_can_hold_and_can_fail(self, statement):
        good, bad = (judged([Evidence("step 0", "step", studies)], [statement]) for studies in BOTH[statement.key])
        assert good.verdict(statement.key) == "holds", good.claims_to_pandas().to_string()
        assert bad.verdict(statement.key) == "does not hold", bad.claims_to_pandas().to_string()

    def test_bounds_that_depend_on_the_samples_are_not_mixed(self):
        with pytest.raises(ValueError, match="1000000 and 8000"):
            judged([Evidence(f"step {k}", "step", studies) for k, studies in enumerate(BOTH["small-changes"])])

    def test_nothing_is_said_where_nothing_was_measured(self):
        found = judged([Evidence("step 0", "step", training(True))])
        words = {key: found.verdict(key) for key in found.keys}
        assert {key for key, word in words.items() if word != "not measured"} == {"accuracy", "epochs"}
        with pytest.raises(ValueError, match="evidence"):
            judged([])

    def test_verdicts_are_counted_by_schedule(self):
        runs = [("step 0", "step", True), ("step 1", "step", True), ("constant 0", "constant", False)]
        found = judged([Evidence(name, group, training(good)) for name, group, good in runs])
        assert [found.verdict("epochs", group) for group in ("step", "constant")] == ["holds", "does not hold"]
        assert found.verdict("epochs") == "in part"

    def test_each_figure_leads_to_statements_and_each_statement_says_how_it_is_known(self):
        keys = [statement.key for statement in STATEMENTS]
        assert len(set(keys)) == len(keys) == len(BOTH)
        assert all(statement.says and statement.where and statement.source for statement in STATEMENTS)
        assert {key for entry in FIGURES for key in entry.keys} == set(keys)
        *figures, tables = FIGURES.to_pandas().figures
        ends = [[int(number) for number in re.findall(r"6\.(\d+)", numbers)] for numbers in figures]
        assert [number for each in ends for number in range(each[0], each[-1] + 1)] == list(range(2, 28))
        assert tables == "tables"
        assert all(entry.numbers in FIGURES._repr_html_() and entry.ours for entry in FIGURES)


class TestStored:
    def test_what_is_kept_of_mnist_has_every_statement_and_all_that_was_measured(self):
        kept = on_mnist()
        found = kept.statements
        assert found.keys == [statement.key for statement in STATEMENTS]
        for statement in STATEMENTS:
            like = statement.claims(BOTH[statement.key][0])
            assert len(found.rule(statement.key)) == (3 if statement.key == "ambient-layers" else len(like))
        for schedule in ("step", "constant"):
            runs = [f"{schedule} {seed}" for seed in found.provenance["seeds"]]
            assert set(runs) < {run for run, group in zip(found.runs, found.groups, strict=True) if group == schedule}
            assert len(kept.faithfulness[schedule].runs) == len(runs)
            assert kept.faithfulness[schedule].n == found.n == 10_000
        assert found.provenance["date"] in kept._repr_html_()
        assert sum(file.stat().st_size for file in stored.FOLDER.iterdir()) < 200_000

    def test_it_is_written_and_read_and_stands_beside_other_numbers(self, studies, tmp_path):
        about = {"data": "digits", "seeds": [0], "schedules": ["step"], "versions": {"torch": "2"}}
        evidence = [Evidence("step 0", "step", studies[0])]
        here = Thesis("digits", judged(evidence, **about), evidence)
        agreement = on_mnist().faithfulness["step"]
        with pytest.raises(ValueError, match="faithfulness: one agreement for each of step; received none"):
            keep(here, {}, tmp_path)
        keep(here, {"step": agreement}, tmp_path, "2026-01-31")
        again = on_mnist(tmp_path)
        assert again.statements.claims_to_pandas().equals(here.statements.claims_to_pandas())
        assert repr(again).startswith(
            "digits: seeds 0 with each of the schedules step, n = 57 test images; measured until 2026-01-31"
        )
        assert again.faithfulness["step"].to_pandas().equals(agreement.to_pandas())
        both = Cards({"digits <here>": here.statements, "MNIST": on_mnist().statements})
        page = both["accuracy"]._repr_html_().replace("&nbsp;", " ")
        for found in (here.statements, on_mnist().statements):
            assert found.numbers("accuracy", "step")[0] in page
        assert "digits &lt;here&gt;" in page
        assert page.count("about 98 %") == 1
        assert repr(both["accuracy"]).startswith("accuracy: digits <here> ")
        with pytest.raises(KeyError, match="received 'accurate'"):
            both["accurate"]


class TestIntervals:
    def test_tau_is_kendalls_and_its_interval_holds_it(self):
        rng = np.random.default_rng(1)
        x = rng.integers(0, 5, 40).astype(float)
        y = x + rng.normal(size=40).round()
        value, low, high = tau([(x, y)])
        assert value == pytest.approx(stats.kendalltau(x, y).statistic)
        assert -1 <= low < value < high <= 1
        assert np.isnan(tau([(np.ones(5), np.arange(5.0))])).all()
        assert tau([(x, y), (np.ones(5), np.arange(5.0))])[0] == value

    def test_the_interval_of_a_median_covers_it_as_often_as_it_says(self):
        rng = np.random.default_rng(2)
        ends = [median_interval(rng.normal(size=24)) for _ in range(1000)]
        assert 0.93 <= np.mean([low <= 0 <= high for low, high in ends]) <= 0.99
        assert np.isnan(median_interval([1.0] * 5)).all()


class TestCourse:
    def test_it_has_the_recorded_values_and_counts_turns(self):
        model = factories.made(factories.ConvNet)
        run = nv.Run.from_states(factories.states(model, 6))
        index = [("fc1.weight", (3, 17)), ("conv1.bias", (2,))]
        course = nv.measure_weight_course(run, index)
        assert course.values.shape == (2, 6)
        for row, (tensor, position) in enumerate(index):
            assert course.values[row].tolist() == [float(run[k].state[tensor][position]) for k in range(6)]
        assert len(course.to_pandas()) == 12
        by_hand = replace(course, values=np.array([[0, 1, 1, 2, 4, 8.0], [0, 2, 1, 1, 3, 1.0]]))
        assert by_hand.turns.tolist() == [0, 3]
        assert by_hand.tortuosity.tolist() == [1.0, 7.0]
        for wrong, says in (
            (("fc1.bias", (999,)), r"'fc1.bias' has shape .* one of 1 whole number \(0 to \d+\); received \(999,\)"),
            (("fc1.weight", (0,)), "'fc1.weight' has shape .* of 2 whole numbers"),
            (("fc1.wieght", (0, 0)), "such as 'fc1.weight'.*received 'fc1.wieght'"),
            (("fc1.weight", (0.5, 0)), "pairs of a tensor's name and a position"),
            (3, "pairs of a tensor's name .* received 3"),
        ):
            with pytest.raises(ValueError, match=f"index: .*{says}"):
                nv.measure_weight_course(run, [wrong])

    @pytest.mark.parametrize("wrong", [[("fc9.weight", (0, 0))], [("fc1.weight", (0,))], [("fc1.weight", (99, 0))], [3]])
    def test_a_weight_that_is_not_there_is_refused(self, wrong):
        run = nv.Run.from_states(factories.states(factories.made(factories.ConvNet), 3))
        with pytest.raises(ValueError, match="index"):
            nv.measure_weight_course(run, wrong)


SMALL = Settings(5, 3, 4, 2, 4, ("fc1", "fc2"), 57, 57, 3, 2)


@pytest.fixture(scope="module")
def studies():
    model = factories.made(lambda: factories.ConvNet(norm=False), 2)
    run = nv.Run.from_states(factories.states(model, 7))
    model.load_state_dict(run.final)
    images, _ = factories.images()
    data = images, model(images).argmax(1)  # what the last checkpoint answers: it has learnt
    told = []
    found = studied(nv.Evaluator(model, data, device="cpu"), run, SMALL, lambda what, share: told.append((what, share)))
    return found, told


def test_fifteen_epochs_of_fifteen_are_no_evidence_that_more_bring_nothing():
    found = preliminary(0.0, 0.5, 1)
    long, short = found["epochs/decayed"], preliminary(0.0, 0.5, 1)["epochs/decayed"]
    short.epochs, short.excess, short.excess_high = long.epochs[:15], long.excess[:, :15], long.excess_high[:, :15]
    assert more_epochs(found)[0].value == 0
    assert np.isnan(more_epochs({"epochs/decayed": short})[0].value)


class TestStudies:
    def test_they_are_what_the_statements_need(self, studies):
        found = judged([Evidence("step 0", "step", studies[0])])
        missing = {key for key in found.keys if found.verdict(key) == "not measured"}
        assert missing == {"more-epochs", "training-size"}
        assert found.n == 57

    def test_each_is_complete_and_told_of(self, studies):
        found, told = studies
        assert all(getattr(study, "fraction", 1.0) == 1.0 for study in found.values())
        last = dict(told)
        assert len(last) > 10
        assert set(last.values()) == {1.0}

    def test_they_are_drawn(self, studies, tmp_path):
        found, _ = studies
        figure = course_figure(found["course/fc1"], found["scan/fc1"])
        dots = figure.axes[1].collections[0]
        assert dots.get_sizes().sum() == 28 * 4
        lines = opacity_figure(found["scan/fc1"]).axes[0].lines
        far = found["scan/fc1"].distance
        assert [line.get_alpha() for line in lines] == pytest.approx(np.maximum(far / far.max(), 0.08))
        drawn = training_figure({"a": found["training"], "b": found["training"]})
        assert [axes.get_ylabel() for axes in drawn.axes] == ["loss", "accuracy"]
        panels = scopes_figure([found[f"path/{layer}/{kind}"] for layer in ("fc1", "fc2") for kind in ("linear", "quadratic")]).axes
        assert len(panels) == 4
        assert all(len(axes.lines) == 2 for axes in panels)
        assert panels[1].get_title().startswith("fc2 (distance ")
        assert panels[2].lines[1].get_ydata() == pytest.approx(found["path/fc1/quadratic"].metrics["accuracy"])
        with pytest.raises(ValueError, match="results: at least one path"):
            scopes_figure([])
        with pytest.raises(ValueError, match="same weights"):
            course_figure(found["course/fc2"], found["scan/fc1"])
        with pytest.raises(ValueError, match="measure_training"):
            training_figure({"a": found["path/model/linear"]})

    def test_they_are_kept_in_one_file_and_measured_anew_where_that_is_damaged(self, studies, tmp_path):
        calls = []

        def measure():
            calls.append(1)
            return studies[0]

        place = tmp_path / "thesis" / "digits-step-0.safetensors"
        loading._stored(place, False, measure)
        again = loading._stored(place, False, measure)
        assert len(calls) == 1
        assert list(again) == list(studies[0])
        assert (
            judged([Evidence("a", "a", again)])
            .claims_to_pandas()
            .equals(judged([Evidence("a", "a", studies[0])]).claims_to_pandas())
        )
        place.write_bytes(place.read_bytes()[:100])
        loading._stored(place, False, measure)
        loading._stored(place, True, measure)
        assert len(calls) == 3


class TestLoading:
    def test_auto_is_mnist_where_it_is_and_the_digits_elsewhere(self, tmp_path, monkeypatch):
        monkeypatch.delenv(loading.MNIST_ROOT, raising=False)
        assert loading._found("auto", None) == ("digits", None)
        assert loading._found("auto", tmp_path) == ("digits", None)
        (tmp_path / "MNIST").mkdir()
        assert loading._found("auto", tmp_path) == ("mnist", tmp_path)
        monkeypatch.setenv(loading.MNIST_ROOT, str(tmp_path))
        assert loading._found("auto", None) == ("mnist", str(tmp_path))
        assert loading._found("digits", None) == ("digits", None)

    @pytest.mark.parametrize(("wrong", "name"), [
        ({"data": "imagenet"}, "data"), ({"seeds": ()}, "seeds"), ({"seeds": (0, 0)}, "seeds"), ({"seeds": ("a",)}, "seeds"),
        ({"schedules": ("cosine",)}, "schedule"),
    ])  # fmt: skip
    def test_bad_input_is_refused_before_anything_is_trained(self, wrong, name, tmp_path):
        with pytest.raises(ValueError, match=name):
            nv.load_thesis(**({"data": "digits", "cache": tmp_path} | wrong))
        assert not list(tmp_path.iterdir())


class TestCommandLine:
    def test_it_writes_the_statements_as_tables_a_page_a_picture_and_a_result(self, studies, tmp_path, monkeypatch, capsys):
        from nnvis_widgets.cli import thesis as command

        asked = {}

        def load(data, **options):
            asked.update(options, data=data)
            options["progress"]("step 0: training", 0.5)
            evidence = [Evidence("step 0", "step", studies[0])]
            return Thesis(data, judged(evidence), evidence)

        monkeypatch.setattr(command, "load_thesis", load)
        out = tmp_path / "out"
        assert (
            main(["thesis", "--demo", "digits", "--seeds", "0,2", "--out", str(out), "--formats", "csv", "png", "--no-cuda"]) == 0
        )
        assert (asked["seeds"], asked["schedules"], asked["device"]) == ([0, 2], ["step", "constant"], "cpu")
        assert {path.name for path in out.iterdir()} == {
            "statements.safetensors", "statements.csv", "claims.csv", "figures.csv", "statements.md", "statements.html",
            "verdicts.png",
        }  # fmt: skip
        assert len(nv.load(out / "statements.safetensors")) == len(STATEMENTS)
        page = (out / "statements.html").read_text(encoding="utf-8")
        assert all(statement.key in page for statement in STATEMENTS)
        assert page.count("MNIST, stored") == len(STATEMENTS)
        assert all(entry.numbers in page for entry in FIGURES)
        assert "7 files" in capsys.readouterr().out

    @pytest.mark.parametrize(("wrong", "message"), [
        (["--seeds", "0,0"], "seeds"), (["--seeds", "a"], "seeds"), (["--schedules", "cosine"], "schedules"),
        (["--root", "x"], "root"),
    ])  # fmt: skip
    def test_it_refuses_what_cannot_work(self, wrong, message, tmp_path, capsys):
        assert main(["thesis", "--demo", "digits", "--out", str(tmp_path / "out"), *wrong]) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
