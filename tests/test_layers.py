from dataclasses import replace

import factories
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import nnvis_widgets as nv
from nnvis_widgets.core.redraw import Redraw
from nnvis_widgets.core.tally import Book
from nnvis_widgets.experiments import layer_history, replacing
from nnvis_widgets.experiments.harm import harm

LAYERS = ["conv1", "conv2", "fc1", "fc2"]


def learnt(model, state, n=400, noise=0.15, seed=3):
    """Return data that a model gets right but for some: its own answers, with a share of them changed."""
    x, _ = factories.images(n, seed)
    with torch.no_grad():
        y = factories.loaded(model, state)(x).argmax(1)
    rng = torch.Generator().manual_seed(seed)
    wrong = torch.rand(n, generator=rng) < noise
    return x, torch.where(wrong, torch.randint(0, factories.CLASSES, (n,), generator=rng), y)


class World:
    def __init__(self, norm=False):
        self.model = factories.made(lambda: factories.ConvNet(norm=norm))
        self.states = factories.states(self.model, 4, size=0.25)
        self.states[2]["fc2.weight"] = self.states[3]["fc2.weight"]
        if norm:  # the running statistics of a trained model are those of its data
            twin = factories.loaded(self.model, self.states[3]).train()
            twin.bn1.momentum = None
            twin.bn1.reset_running_stats()
            with torch.no_grad():
                twin(factories.images(400, 3)[0])
            self.states[3] |= {n: t for n, t in twin.state_dict().items() if "running" in n}
        with torch.no_grad():  # no class is the answer to most images
            bias = factories.loaded(self.model, self.states[3])(factories.images(400, 3)[0]).mean(0)
        self.states[3]["fc2.bias"] = self.states[3]["fc2.bias"] - bias
        self.data = learnt(self.model, self.states[3])
        self.run = nv.Run.from_states(self.states)
        self.evaluator = self.evaluate()

    def evaluate(self, **options):
        return nv.Evaluator(self.model, self.data, device="cpu", batch_size=64, **options)

    def with_layer(self, scope, other, base=None):
        base = self.states[3] if base is None else base
        names = [scope] if isinstance(scope, str) else scope
        return {n: other[n] if n.rpartition(".")[0] in names or n in names else t for n, t in base.items()}

    def right(self, state):
        twin = factories.loaded(self.model, state, torch.float64)
        with torch.no_grad():
            return (twin(self.data[0].double()).argmax(1) == self.data[1]).double().numpy()

    def loss(self, state):
        twin = factories.loaded(self.model, state, torch.float64)
        with torch.no_grad():
            return F.cross_entropy(twin(self.data[0].double()), self.data[1], reduction="none").numpy()


@pytest.fixture(scope="module")
def world():
    return World()


@pytest.fixture(scope="module")
def normed():
    return World(norm=True)


class TestPutBack:
    def test_is_what_the_model_does_with_that_layer_of_that_checkpoint(self, world):
        for at in (0, 2):
            got = nv.measure_layers(world.evaluator, world.run, at=at)
            assert got.layers == LAYERS
            whole, right = world.loss(world.states[3]), world.right(world.states[3])
            majority = np.bincount(world.data[1]).max() / len(right)
            for row, layer in enumerate(LAYERS):
                state = world.with_layer(layer, world.states[at])
                drop = right.mean() - world.right(state).mean()
                assert got.accuracy_drop[row] == pytest.approx(drop, abs=1e-9)
                assert got.criticality[row] == pytest.approx(drop / (right.mean() - majority), abs=1e-6)
                assert got.loss_rise[row] == pytest.approx((world.loss(state) - whole).mean(), rel=1e-4, abs=1e-6)
                moved = np.concatenate([(world.states[3][n] - world.states[at][n]).ravel() for n in state if n.startswith(layer)])
                assert got.distance[row] == pytest.approx(np.linalg.norm(moved), rel=1e-5)
            assert got.chance == pytest.approx(majority)
            assert got.reference["accuracy"] == pytest.approx(right.mean())
            assert (got.low <= got.criticality).all()
            assert (got.criticality <= got.high).all()
            assert got.epoch == at

    def test_tensors_weights_biases_and_unions_are_layers_too(self, world):
        tensors = nv.measure_layers(world.evaluator, world.run, unit="tensor")
        weights = nv.measure_layers(world.evaluator, world.run, part="weights")
        biases = nv.measure_layers(world.evaluator, world.run, part="biases", layers=["fc1", ["conv1", "fc2"]])
        assert tensors.layers == [name for name, _ in world.model.named_parameters()]
        assert tensors.loss_rise[::2] == pytest.approx(weights.loss_rise, rel=1e-5, abs=1e-7)
        assert biases.layers == ["fc1", "conv1 + fc2"]
        state = world.with_layer(["conv1.bias", "fc2.bias"], world.states[0])
        rise = (world.loss(state) - world.loss(world.states[3])).mean()
        assert biases.loss_rise[1] == pytest.approx(rise, rel=1e-3, abs=1e-6)
        assert biases.parameter_count.tolist() == [6, 6]

    def test_a_layer_that_did_not_move_does_exactly_nothing(self, world):
        got = nv.measure_layers(world.evaluator, world.run, at=2)
        # the tensors of fc2 differ in their bias alone
        part = nv.measure_layers(world.evaluator, world.run, at=2, part="weights")
        assert got.label[3] != "not moved"
        assert part.label[3] == "not moved"
        for name in ("criticality", "low", "high", "accuracy_drop", "accuracy_drop_high", "loss_rise", "loss_rise_low", "distance"):
            assert getattr(part, name)[3] == 0.0, name
        assert not part.moved[3]

    def test_the_last_checkpoint_changes_nothing_at_all(self, world):
        got = nv.measure_layers(world.evaluator, world.run, at=-1)
        assert got.at == 3
        assert got.label == ["not moved"] * 4
        assert not got.criticality.any()
        assert not got.loss_rise.any()
        assert got.fraction == 1.0

    def test_a_layer_that_the_output_does_not_feel_is_not_called_harmless_beyond_what_was_seen(self):
        class Idle(nn.Module):
            def __init__(self):
                super().__init__()
                self.body, self.idle, self.head = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 3)

            def forward(self, x):
                x = torch.tanh(self.body(x))
                return self.head(x + 0 * self.idle(x))

        model = factories.made(Idle)
        states = factories.states(model, 2, size=0.6)
        x = factories.vectors(300, dtype=torch.float32)[0]
        data = x, factories.loaded(model, states[1])(x).argmax(1)
        got = nv.measure_layers(nv.Evaluator(model, data, device="cpu"), nv.Run.from_states(states))
        assert got.moved.all()
        assert (got.criticality[1], got.loss_rise[1]) == (0.0, 0.0)
        assert 0 < got.accuracy_drop_high[1] < 0.05
        assert got.label[1] == "intermediate"
        assert got.relabelled(margin=0.05).label[1] == "ambient"
        assert any("300 samples cannot show a layer to be harmless to within 1.00%" in note for note in got.notes)

    def test_a_layer_that_has_stayed_the_identity_but_for_a_hair_is_ambient(self):
        model = factories.made(lambda: nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 6), nn.Identity(), nn.Linear(6, 3)))
        states = factories.states(model, 2, size=0.6)
        states[0] |= {"2.weight": torch.eye(6), "2.bias": torch.zeros(6)}
        states[1] |= {"2.weight": torch.eye(6) + 1e-5, "2.bias": torch.full((6,), 1e-5)}
        x = factories.vectors(2000, dtype=torch.float32)[0]
        data = x, factories.loaded(model, states[1])(x).argmax(1)
        got = nv.measure_layers(nv.Evaluator(model, data, device="cpu"), nv.Run.from_states(states))
        assert got.layers == ["0", "2", "4"], "what has no weights is no layer"
        assert got.moved.all()
        assert got.criticality[1] == pytest.approx(0.0, abs=1e-3)
        assert got.label[1] == "ambient"
        assert {got.label[0], got.label[2]} <= {"critical", "intermediate"}

    def test_permuted_units_of_one_layer_are_another_layer(self, world):
        final = world.states[3]
        order = torch.tensor([3, 4, 5, 0, 1, 2])
        permuted = {**final, "fc1.weight": final["fc1.weight"][order], "fc1.bias": final["fc1.bias"][order]}
        permuted["fc2.weight"] = final["fc2.weight"][:, order]
        run = nv.Run.from_states([permuted, final])
        got = nv.measure_joint_reset(world.evaluator, run, ["fc1", "fc2"])
        assert min(got.single) > 0.05
        assert got.criticality == 0.0
        assert got.loss_rise == pytest.approx(0.0, abs=1e-6)

    def test_intervals_are_simultaneous_and_ranks_are_of_resamples(self, world):
        got = nv.measure_layers(world.evaluator, world.run)
        order = np.argsort(-got.criticality)
        assert (got.rank_low[order] <= np.arange(1, 5)).all()
        assert (np.arange(1, 5) <= got.rank_high[order]).all()
        rise = world.loss(world.with_layer("conv2", world.states[0])) - world.loss(world.states[3])
        half = (got.loss_rise_high[1] - got.loss_rise_low[1]) / 2
        assert 1.96 < half / (rise.std(ddof=1) / 20) < 3.2
        assert got.provenance["interval"].startswith("simultaneous 95 %, max-t")

    def test_partial_results_sharpen_to_the_answer(self, world):
        parts = list(nv.iter_layers(world.evaluator, world.run))
        assert [part.n for part in parts][-1] == 400
        assert parts[-1].fraction == 1.0
        assert all(part.fraction < 1 for part in parts[:-1])
        widths = [np.nanmean(part.loss_rise_high - part.loss_rise_low) for part in parts if np.isfinite(part.criticality).all()]
        assert widths[-1] < widths[0]
        few = nv.measure_layers(world.evaluator, world.run, samples=100)
        assert few.n == 128
        assert np.array_equal(few.criticality, next(p for p in parts if p.n == 128).criticality)


class TestDrawnAnew:
    def test_each_draw_is_a_model_with_that_layer_from_its_initialiser(self, world):
        got = nv.measure_layers(world.evaluator, world.run, kind="rerandomise", draws=3, seed=5)
        redraw = Redraw(world.model, world.evaluator.layout, seed=5)
        right = world.right(world.states[3])
        scale = right.mean() - got.chance
        for row, layer in enumerate(LAYERS):
            names = [f"{layer}.weight", f"{layer}.bias"]
            states = [{**world.states[3], **redraw.draw(names, number)} for number in range(3)]
            each = [(right - world.right(state)).mean() / scale for state in states]
            assert got.draws_criticality[row] == pytest.approx(each, abs=1e-6)
            assert got.criticality[row] == pytest.approx(np.mean(each), abs=1e-6)
            assert got.draw_sd[row] == pytest.approx(np.std(each, ddof=1), abs=1e-6)
            assert got.draws_loss_rise[row] == pytest.approx(
                [(world.loss(state) - world.loss(world.states[3])).mean() for state in states], rel=1e-3, abs=1e-6
            )
        assert got.provenance["initializer"] == "reset_parameters"

    def test_the_error_of_the_samples_does_not_hold_that_of_the_draws(self, world):
        got = nv.measure_layers(world.evaluator, world.run, kind="rerandomise", draws=4)
        redraw = Redraw(world.model, world.evaluator.layout)
        states = [{**world.states[3], **redraw.draw(["fc1.weight", "fc1.bias"], number)} for number in range(4)]
        mean = world.right(world.states[3]) - np.mean([world.right(state) for state in states], axis=0)
        half = (got.accuracy_drop_high[2] - got.accuracy_drop_low[2]) / 2
        assert 1.9 < half / (mean.std(ddof=1) / 20) < 3.2

    def test_equal_seeds_draw_equal_weights_and_more_draws_keep_the_first(self, world):
        options = {"kind": "rerandomise", "layers": ["fc1"]}
        two, three = (nv.measure_layers(world.evaluator, world.run, draws=d, **options) for d in (2, 3))
        assert np.array_equal(two.draws_criticality[0], three.draws_criticality[0, :2])
        other = nv.measure_layers(world.evaluator, world.run, draws=2, seed=1, **options)
        assert not np.array_equal(two.draws_loss_rise, other.draws_loss_rise)

    def test_a_layer_that_cannot_be_drawn_is_told_and_the_others_measured(self):
        class Scale(nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = nn.Parameter(torch.ones(4))

            def forward(self, x):
                return x * self.weight

        model = factories.made(lambda: nn.Sequential(nn.Linear(5, 4), Scale(), nn.Linear(4, 3)))
        states = factories.states(model, 2, size=0.6)
        x = factories.vectors(120, dtype=torch.float32)[0]
        evaluator = nv.Evaluator(model, (x, factories.loaded(model, states[1])(x).argmax(1)), device="cpu")
        run = nv.Run.from_states(states)
        got = nv.measure_layers(evaluator, run, kind="rerandomise", draws=2)
        assert list(got.problems) == ["1"]
        assert (got.label[1], got.rank_low[1]) == ("undefined", 0)
        assert np.isnan(got.criticality[1])
        assert np.isfinite(got.criticality[[0, 2]]).all()
        with pytest.raises(ValueError, match=r"cannot draw '1' anew: a Scale has no reset_parameters.*give initializer="):
            nv.measure_layers(evaluator, run, kind="rerandomise", layers=["1"])
        for together in (nv.measure_joint_reset, nv.measure_pairwise_resets):  # what cannot be drawn does no harm to draw
            with pytest.raises(ValueError, match=r"cannot draw '1' anew: .*; or leave it out, by layers=\[...\] of the others"):
                together(evaluator, run, kind="rerandomise", draws=2)
            assert together(evaluator, run, ["0", "2"], kind="rerandomise", draws=2).layers == ["0", "2"]

        def mine(module, generator):
            for parameter in module.parameters():
                nn.init.normal_(parameter, 0, 10, generator=generator)

        whole = nv.measure_layers(evaluator, run, kind="rerandomise", draws=2, initializer=mine)
        assert not whole.problems
        assert np.isfinite(whole.criticality).all()

    def test_draws_of_another_size_than_the_initial_weights_are_told(self, world):
        def large(module, generator):
            for parameter in module.parameters():
                nn.init.normal_(parameter, 0, 10, generator=generator)

        odd = nv.measure_layers(world.evaluator, world.run, kind="rerandomise", draws=1, initializer=large)
        assert any("fc1.weight are of another size than the initial weights" in note for note in odd.notes)
        plain = nv.measure_layers(world.evaluator, world.run, kind="rerandomise", draws=1)
        assert not any("another size" in note for note in plain.notes)


class TestScale:
    def test_a_regression_is_held_against_the_mean_target(self):
        model = factories.made(lambda: nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)))
        states = factories.states(model, 2, size=0.5)
        x, noise = factories.vectors(200, dtype=torch.float32)
        y = factories.loaded(model, states[1])(x).detach() + 0.1 * noise
        got = nv.measure_layers(nv.Evaluator(model, (x, y), device="cpu", loss=nn.MSELoss()), nv.Run.from_states(states))
        flat = ((y - y.mean(0)) ** 2).mean().item()

        def error(state):
            return ((factories.loaded(model, state)(x) - y) ** 2).mean().item()

        assert (got.metric, got.chance) == ("loss", pytest.approx(flat, rel=1e-5))
        for row, layer in enumerate(("0", "2")):
            state = {n: states[0][n] if n.startswith(layer) else t for n, t in states[1].items()}
            expected = (error(state) - error(states[1])) / (flat - error(states[1]))
            assert got.criticality[row] == pytest.approx(expected, rel=1e-4)
        assert np.isnan(got.accuracy_drop).all()
        assert set(got.label) <= {"critical", "intermediate", "ambient"}

    def test_of_logits_the_constant_is_one_too(self):
        model = factories.made(lambda: nn.Linear(5, 3))
        x = factories.vectors(80, dtype=torch.float32)[0]
        y = (torch.rand(80, 3, generator=torch.Generator().manual_seed(0)) < torch.tensor([0.1, 0.5, 0.9])).float()
        evaluator = nv.Evaluator(model, (x, y), device="cpu", loss=nn.BCEWithLogitsLoss())
        share = y.double().mean(0)
        entropy = -(share * share.log() + (1 - share) * (1 - share).log()).mean()
        assert evaluator.constant()["loss"].mean() == pytest.approx(float(entropy), rel=1e-5)

    @pytest.mark.parametrize("log", [True, False])
    def test_of_classes_it_has_the_entropy_of_their_shares(self, log):
        model = factories.made(lambda: nn.Linear(5, 3))
        x, y = factories.vectors(90, dtype=torch.float32)[0], torch.tensor([0, 1, 1, 2, 2, 2] * 15)
        loss = None if log else (lambda output, target: F.nll_loss(output.log(), target, reduction="none"))
        forward = None if log else (lambda model, batch: (model(batch[0]).softmax(1), batch[1]))
        scores = nv.Evaluator(model, (x, y), device="cpu", loss=loss, forward=forward).constant()
        shares = np.array([1, 2, 3]) / 6
        assert scores["loss"].mean() == pytest.approx(-(shares * np.log(shares)).sum(), rel=1e-5)
        assert scores["accuracy"].mean() == pytest.approx(0.5)

    def test_without_a_constant_answer_there_is_the_rise_of_the_loss(self):
        model = factories.made(lambda: nn.Linear(5, 3))
        states = factories.states(model, 2)
        x, y = factories.vectors(40, dtype=torch.float32)
        evaluator = nv.Evaluator(model, (x, y[:, 0]), device="cpu", loss=lambda o, t: (o.sum(1) - t) ** 2)
        got = nv.measure_layers(evaluator, nv.Run.from_states(states))
        assert np.isnan(got.criticality).all()
        assert np.isfinite(got.loss_rise_low).all()
        assert got.label == ["undefined"] * 2
        assert "unknown" in got.notes[0]

    def test_a_model_that_has_not_learnt_has_no_criticality(self, world):
        evaluator = nv.Evaluator(world.model, factories.images(300, seed=9), device="cpu")
        got = nv.measure_layers(evaluator, world.run)
        assert not got.learned
        assert np.isnan(got.criticality).all()
        assert got.label == ["undefined"] * 4
        assert "has not learnt" in got.notes[0]
        assert np.isfinite(got.accuracy_drop).all()

    def test_class_weights_weigh_the_rise_of_the_loss(self, world):
        weight = torch.tensor([0.2, 1.0, 3.0])
        got = nv.measure_layers(world.evaluate(loss=nn.CrossEntropyLoss(weight=weight)), world.run, layers=["fc1"])
        w = weight[world.data[1]].double().numpy()
        rise = world.loss(world.with_layer("fc1", world.states[0])) - world.loss(world.states[3])
        assert got.loss_rise[0] == pytest.approx((w * rise).sum() / w.sum(), rel=1e-4)
        assert got.loss_rise_low[0] < got.loss_rise[0] < got.loss_rise_high[0]

    @pytest.mark.parametrize("why", ["a loss of batches", "no room"])
    def test_without_values_of_samples_intervals_are_wider_and_say_so(self, world, monkeypatch, why):
        known = nv.measure_layers(world.evaluator, world.run)
        evaluator = world.evaluator
        if why == "no room":
            monkeypatch.setattr(replacing, "KEEP", 0)
        else:
            evaluator = world.evaluate(loss=lambda output, target: F.cross_entropy(output, target) * 1.0)
        got = nv.measure_layers(evaluator, world.run)
        assert got.loss_rise == pytest.approx(known.loss_rise, rel=1e-4)
        assert got.criticality == pytest.approx(known.criticality, rel=1e-6)
        assert (got.loss_rise_high > got.loss_rise).all()
        if why == "no room":
            assert got.provenance["interval"].endswith("Bonferroni of paired errors")
            assert (got.high - got.low >= 0.95 * (known.high - known.low)).all()

    def test_a_layer_that_diverges_leaves_the_others_theirs(self, world):
        wild = {**world.states[0], "fc1.weight": world.states[0]["fc1.weight"] * 1e38}
        run = nv.Run.from_states([wild, world.states[3]])
        got = nv.measure_layers(world.evaluator, run)
        assert not np.isfinite(got.loss_rise[2])
        assert np.isfinite(got.loss_rise[[0, 1, 3]]).all()
        assert np.isfinite(got.loss_rise_low[[0, 1, 3]]).all()

    def test_a_layer_without_which_the_model_says_the_constant_answer_is_as_good_as_chance(self, world):
        # the drop is the gap, sample by sample: the ratio has no spread, but other samples might have been answered otherwise
        stuck = {**world.states[0], "fc2.weight": world.states[0]["fc2.weight"] * 0}
        stuck["fc2.bias"] = torch.nn.functional.one_hot(torch.bincount(world.data[1]).argmax(), 3).float() * 50
        got = nv.measure_layers(world.evaluator, nv.Run.from_states([stuck, world.states[3]]), layers=["fc2"])
        assert got.criticality[0] == pytest.approx(1.0)
        assert 0.95 < got.low[0] < 0.999 < 1.001 < got.high[0] < 1.05

    def test_intervals_of_a_ratio_cover_it_as_often_as_promised(self):
        # a population of right and wrong answers; the majority class is part of the ratio and varies with the sample
        rng = np.random.default_rng(0)
        shares = np.array([0.03, 0.2, 0.6])
        truth = (shares * 0.9 - 0.1 * 0.02) / (0.9 - 0.3)
        covered, cases, n = 0, 100, 400
        for _ in range(cases):
            right, flat = rng.random(n) < 0.9, rng.random(n) < 0.3
            lost = rng.random((3, n)) < shares[:, None]
            found = rng.random((3, n)) < 0.02
            rows = np.vstack([right, np.where(right, ~lost, found)]).astype(np.float32)
            book = Book(["loss", "accuracy"], 4, 0, samples=n)
            book.note(range(4), [torch.tensor(1 - rows), torch.tensor(rows)])
            book.enter(0, n)
            band = harm(book.sweep(n, 0.99, 1, {}), np.eye(4)[1:], {"accuracy": flat.astype(float)}).criticality
            covered += ((band.low <= truth) & (truth <= band.high)).all()
        assert covered / cases > 0.95 - 3 * (0.95 * 0.05 / cases) ** 0.5


class TestBatchNorm:
    def test_both_policies_are_shown_and_one_counts(self, normed):
        got = nv.measure_layers(normed.evaluator, normed.run)
        assert got.layers == ["conv1", "bn1", "conv2", "fc1", "fc2"]
        assert list(got.policies) == ["recalibrate", "final"]
        assert np.array_equal(got.policies["recalibrate"], got.criticality)
        final = nv.measure_layers(normed.evaluator, normed.run, batchnorm="final")
        assert np.array_equal(final.criticality, got.policies["final"])
        assert final.provenance["batchnorm"] == "final"
        state = normed.with_layer("conv1", normed.states[0])
        state |= {n: t for n, t in normed.states[3].items() if "running" in n}
        drop = (normed.right(normed.states[3]) - normed.right(state)).mean()
        assert final.accuracy_drop[0] == pytest.approx(drop, abs=1e-9)
        assert not np.array_equal(got.policies["final"], got.policies["recalibrate"])

    def test_unmoved_layers_stay_exact_under_recalibration(self, normed):
        got = nv.measure_layers(normed.evaluator, normed.run, at=-1)
        assert not got.criticality.any()
        assert not got.policies["final"].any()

    def test_partial_results_bring_one_policy_after_the_other(self, normed):
        fractions = [part.fraction for part in nv.iter_layers(normed.evaluator, normed.run, samples=100)]
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1.0


class TestJoint:
    def test_all_layers_together_are_the_initial_model(self, world):
        got = nv.measure_joint_reset(world.evaluator, world.run)
        before = world.evaluator.measure(world.states[0])
        after = world.evaluator.measure(world.states[3])
        assert got.layers == LAYERS
        assert got.loss_rise == pytest.approx(before.loss - after.loss, rel=1e-5)
        assert got.accuracy_drop == pytest.approx(after.metrics["accuracy"] - before.metrics["accuracy"], abs=1e-9)

    def test_with_batchnorm_up_to_the_buffers(self, normed):
        got = nv.measure_joint_reset(normed.evaluator, normed.run, batchnorm="final")
        state = {n: normed.states[3][n] if "running" in n or "tracked" in n else t for n, t in normed.states[0].items()}
        rise = (normed.loss(state) - normed.loss(normed.states[3])).mean()
        assert got.loss_rise == pytest.approx(rise, rel=1e-4)

    def test_the_interaction_is_what_the_single_ones_do_not_explain(self, world):
        got = nv.measure_joint_reset(world.evaluator, world.run, ["fc1", "fc2"])
        single = nv.measure_layers(world.evaluator, world.run, layers=["fc1", "fc2"])
        assert got.single == pytest.approx(single.criticality, abs=1e-9)
        assert got.interaction == pytest.approx(got.criticality - single.criticality.sum(), abs=1e-9)
        assert got.interaction_low < got.interaction < got.interaction_high
        right, both = world.right(world.states[3]), world.right(world.with_layer(["fc1", "fc2"], world.states[0]))
        assert got.criticality == pytest.approx((right - both).mean() / (right.mean() - got.chance), abs=1e-6)

    def test_draws_of_all_consist_of_the_single_ones(self, world):
        got = nv.measure_joint_reset(world.evaluator, world.run, ["fc1", "fc2"], kind="rerandomise", draws=2)
        redraw = Redraw(world.model, world.evaluator.layout)
        names = [f"{layer}.{tail}" for layer in ("fc1", "fc2") for tail in ("weight", "bias")]
        rights = [world.right({**world.states[3], **redraw.draw(names, number)}).mean() for number in range(2)]
        assert got.accuracy_drop == pytest.approx(world.right(world.states[3]).mean() - np.mean(rights), abs=1e-6)
        assert got.draws == 2


class TestPairs:
    def test_each_pair_is_the_joint_reset_of_the_two(self, world):
        got = nv.measure_pairwise_resets(world.evaluator, world.run)
        assert got.layers == LAYERS
        single = nv.measure_layers(world.evaluator, world.run)
        np.testing.assert_allclose(np.diag(got.criticality), single.criticality, atol=1e-9)
        right = world.right(world.states[3])
        for a, b in got.pairs:
            both = world.right(world.with_layer([LAYERS[a], LAYERS[b]], world.states[0]))
            harm = (right - both).mean() / (right.mean() - got.chance)
            assert got.criticality[a, b] == got.criticality[b, a] == pytest.approx(harm, abs=1e-6)
            apart = single.criticality[[a, b]].sum()
            assert got.interaction[a, b] == got.interaction[b, a] == pytest.approx(harm - apart, abs=1e-6)
            assert got.interaction_low[a, b] < got.interaction[a, b] < got.interaction_high[a, b]
        assert np.isnan(np.diag(got.interaction)).all()
        assert len(got.to_pandas()) == len(got.pairs) == 6
        assert abs(got.interaction[got.strongest]) == np.nanmax(np.abs(got.interaction))

    def test_permuted_units_of_two_layers_undo_each_other(self, world):
        final, order = world.states[3], torch.tensor([3, 4, 5, 0, 1, 2])
        permuted = {**final, "fc1.weight": final["fc1.weight"][order], "fc1.bias": final["fc1.bias"][order]}
        permuted["fc2.weight"] = final["fc2.weight"][:, order]
        got = nv.measure_pairwise_resets(world.evaluator, nv.Run.from_states([permuted, final]), ["fc1", "fc2"])
        assert got.criticality[0, 1] == 0.0
        assert got.interaction[0, 1] == pytest.approx(-np.diag(got.criticality).sum())
        assert got.established[0, 1]
        assert "strongest interaction -" in repr(got)
        axes = got.plot()
        assert [text.get_text() for text in axes.texts if text.get_text().startswith("-")] == [f"{got.interaction[0, 1]:+.2f}"]

    def test_draws_of_two_are_those_of_each(self, world):
        how = {"kind": "rerandomise", "draws": 2}
        got = nv.measure_pairwise_resets(world.evaluator, world.run, ["conv1", "fc1", "fc2"], **how)
        joint = nv.measure_joint_reset(world.evaluator, world.run, ["fc1", "fc2"], **how)
        assert got.criticality[1, 2] == pytest.approx(joint.criticality, abs=1e-9)
        assert got.interaction[1, 2] == pytest.approx(joint.interaction, abs=1e-9)
        assert got.draws == 2

    def test_one_layer_has_no_pair_and_it_grows_batch_by_batch(self, world, tmp_path):
        with pytest.raises(ValueError, match="layers: 2 to 16 of them"):
            nv.measure_pairwise_resets(world.evaluator, world.run, ["fc1"])
        parts = list(nv.iter_pairwise_resets(world.evaluator, world.run, ["fc1", "fc2"]))
        assert parts[-1].fraction == 1.0
        assert parts[0].n <= parts[-1].n
        parts[-1].save(tmp_path / "pairs")
        again = nv.load(tmp_path / "pairs")
        np.testing.assert_array_equal(again.interaction, parts[-1].interaction)

    @pytest.mark.parametrize("measure", [nv.measure_joint_reset, nv.measure_pairwise_resets])
    def test_no_weight_is_put_back_twice(self, world, measure):
        with pytest.raises(ValueError, match=r"received 'fc1' and 'fc1.weight', which share 'fc1.weight'"):
            measure(world.evaluator, world.run, ["conv1", "fc1", "fc1.weight"])
        with pytest.raises(ValueError, match="layers: each once; received 'fc1' twice"):
            measure(world.evaluator, world.run, ["fc1", "fc1"])
        apart = [("fc1.bias", 0), ("fc1.bias", 1), "fc1.weight"]
        assert len(measure(world.evaluator, world.run, apart, samples=64).layers) == 3
        with pytest.raises(ValueError, match=r"'fc1.bias\[0\]' and 'fc1.bias', which share"):
            measure(world.evaluator, world.run, [*apart, "fc1.bias"])


class TestHistory:
    def test_it_says_when_there_are_too_few_samples_to_show_harmlessness(self, world):
        got = nv.measure_layer_history(world.evaluator, world.run, samples=64)
        assert any("64 samples cannot show a layer to be harmless to within 1.00% of accuracy" in note for note in got.notes)
        assert "n = 64, too few to show" in repr(got)
        assert got.plot().get_title().endswith("no white ticks: n = 64 is too small to show harmlessness to within 1.00%")
        least = int(got.too_few.rpartition(" ")[2])
        assert not replace(got, n=least).too_few
        assert replace(got, n=least - 1).too_few
        # an upper bound is never below c^2 / (n + c^2): with the margin there nothing but what did not move is harmless
        wide = got.relabelled(margin=got.accuracy_drop_high[got.moved].min() + 1e-9)
        assert not wide.too_few
        assert (wide.label == "ambient").any()
        assert not (got.label == "ambient").any()

    def test_is_one_study_for_each_checkpoint(self, world):
        got = nv.measure_layer_history(world.evaluator, world.run)
        for at in range(4):
            study = nv.measure_layers(world.evaluator, world.run, at=at)
            assert got.criticality[at] == pytest.approx(study.criticality, abs=1e-9)
            assert got.loss_rise[at] == pytest.approx(study.loss_rise, rel=1e-4, abs=1e-6)
            assert got.moved[at].tolist() == study.moved.tolist()
        assert not got.criticality[-1].any()
        assert not got.high[-1].any()
        # for all layers and checkpoints together: wider than for the layers of one
        study = nv.measure_layers(world.evaluator, world.run)
        assert ((got.high - got.low)[0] >= (study.high - study.low) * 0.98).all()

    def test_few_checkpoints_at_a_time_are_the_same_map(self, world, monkeypatch):
        whole = nv.measure_layer_history(world.evaluator, world.run)
        monkeypatch.setattr(layer_history, "ANCHOR_BYTES", 1)
        parts = list(nv.iter_layer_history(world.evaluator, world.run))
        assert np.isnan(parts[0].criticality[1:]).all()
        assert parts[-1].criticality == pytest.approx(whole.criticality, abs=1e-9)
        assert parts[-1].provenance["weights"] == whole.provenance["weights"]
        assert parts[-1].fraction == 1.0
        assert (parts[-1].accuracy_drop_high >= whole.accuracy_drop_high - 1e-3).all()

    def test_some_checkpoints_and_layers(self, world):
        got = nv.measure_layer_history(world.evaluator, world.run, checkpoints=[-1, 1], layers=["fc1"], unit="tensor", samples=100)
        assert (got.checkpoints, got.epochs.tolist(), got.layers, got.n) == ([1, 3], [1.0, 3.0], ["fc1"], 128)


class TestAgreement:
    def test_compares_orders_and_labels_of_runs(self, world):
        studies = [nv.measure_layers(world.evaluator, world.run, at=at) for at in (0, 1)]
        got = nv.compare_layer_studies([*studies, studies[0]], ["a", "b", "c"])
        assert got.kendall[0, 2] == 1.0
        assert got.labels[1] == studies[1].label
        assert np.array_equal(got.criticality[1], studies[1].criticality)
        assert got.kendall[0, 1] < 1.0 or np.array_equal(*(np.argsort(s.criticality) for s in studies))

    def test_refuses_what_cannot_be_compared(self, world):
        one, other = (nv.measure_layers(world.evaluator, world.run, unit=unit, samples=64) for unit in ("module", "tensor"))
        with pytest.raises(ValueError, match="one has layers"):
            nv.compare_layer_studies([one, other])
        with pytest.raises(TypeError, match="studies: layer studies, as measure_layers returns them; received 3 among them"):
            nv.compare_layer_studies([3, 4])
        with pytest.raises(ValueError, match="at least two"):
            nv.compare_layer_studies([one])
        with pytest.raises(ValueError, match="names: 2 different ones"):
            nv.compare_layer_studies([one, one], ["a"])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"kind": "reset"}, "kind: one of 'reinit', 'rerandomise'; received 'reset'"),
        ({"at": 4}, "at: a checkpoint from 0 to 3"),
        ({"at": 0.5}, "at: a checkpoint from 0 to 3.*received 0.5"),
        ({"draws": 0}, "draws: a whole number of at least 1, received 0"),
        ({"seed": -1}, "seed: a whole number of at least 0"),
        ({"initializer": lambda m, g: None}, "initializer: for kind='rerandomise'"),
        ({"unit": "filter"}, "unit: one of"),
        ({"layers": ["fcl"]}, "layers: .*'fc1'"),
        ({"samples": 0}, "samples: a whole number from 1 to 400"),
        ({"batchnorm": "train"}, "batchnorm: one of"),
    ],
)
def test_bad_input_is_refused_at_once(world, given, words):
    with pytest.raises(ValueError, match=words):
        nv.iter_layers(world.evaluator, world.run, **given)


def test_a_diverged_checkpoint_and_foreign_objects_are_refused(world):
    lost = {**world.states[0], "fc1.bias": world.states[0]["fc1.bias"] * np.nan}
    with pytest.raises(ValueError, match=r"checkpoint 0: 'fc1\.bias' holds NaN"):
        nv.iter_layers(world.evaluator, nv.Run.from_states([lost, world.states[3]]))
    with pytest.raises(TypeError, match="evaluator"):
        nv.iter_layers(world.model, world.run)
    with pytest.raises(TypeError, match="run: a Run"):
        nv.iter_layers(world.evaluator, world.states)
    with pytest.raises(ValueError, match="checkpoints: a list of indices"):
        nv.iter_layer_history(world.evaluator, world.run, checkpoints=[])
