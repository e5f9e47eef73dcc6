"""How many epochs and training samples: on trainings whose learning curves are known, told to the library as a user would."""

import functools
import importlib
import json
import math
import os
import queue
import signal
import subprocess
import sys
import textwrap
import time

import factories
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

import nnvis_widgets as nv
from nnvis_widgets.core.choosing import excess
from nnvis_widgets.core.fingerprint import fingerprint
from nnvis_widgets.core.power_law import power_law
from nnvis_widgets.experiments.asking import TrainError

POOL = np.repeat([0, 1, 2], [60, 40, 20])  # labels of 120 training samples, 3 : 2 : 1


class Level(nn.Module):
    """Its loss is what its one weight says: y = 0, f(x) = sqrt(w)."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(()))
        self.moved = nn.Parameter(torch.zeros(()))  # a training whose weights all stay where they were is refused

    def forward(self, x):
        return (self.w.clamp(min=0) + x[:, 0]).clamp(min=0).sqrt()


def evaluator_of(noise=0.0, n=80, name="validation", **options):
    x, half = torch.linspace(-1, 1, n)[:, None] * noise, {"half": lambda output, target: 0.5 * output**2}
    options = {"loss": nn.functional.mse_loss, "metrics": half, "device": "cpu", "name": name} | options
    return nv.Evaluator(Level(), (x, torch.zeros(n)), **options)


class Known:
    """A training whose loss after each epoch is told: a function of (epoch, samples, seed, steps)."""

    def __init__(self, level, rate=lambda epoch, schedule: 0.1, per_epoch=lambda n: -(-n // 10)):
        self.level, self.rate, self.per_epoch, self.calls = level, rate, per_epoch, []

    def train(self, *, subset, epochs, seed, steps=None, schedule="decayed"):
        self.calls.append({"subset": subset.copy(), "epochs": epochs, "seed": seed, "steps": steps, "schedule": schedule})
        model, made, epoch = Level(), 0, 0
        while epoch < epochs if steps is None else made < steps:
            epoch += 1
            made += self.per_epoch(len(subset))
            made = made if steps is None else min(made, steps)
            with torch.no_grad():
                model.w.fill_(self.level(epoch, len(subset), seed, made))
                model.moved.add_(1)
            yield epoch, model, {"lr": self.rate(epoch, schedule), "steps": made}


def simple(*, subset, epochs, seed):
    model = Level()
    for epoch in range(1, epochs + 1):
        with torch.no_grad():
            model.w.fill_(1 / epoch)
        yield epoch, model


class TestEpochs:
    def test_curves_are_those_of_the_training_epoch_by_epoch(self):
        known = Known(lambda epoch, n, seed, made: 2.0**-epoch + 0.01 * seed)
        study = nv.preliminary_epochs(known.train, evaluator_of(), POOL, epochs=6, seeds=3, schedules=["decayed"])
        expected = np.array([[2.0**-epoch + 0.01 * seed for epoch in range(1, 7)] for seed in range(3)])
        assert study.loss["validation"] == pytest.approx(expected, rel=1e-6)
        assert study.metrics["validation/half"] == pytest.approx(expected / 2, rel=1e-6)
        assert study.epochs.tolist() == [1, 2, 3, 4, 5, 6]
        assert study.init.tolist() == study.order.tolist() == [0, 1, 2]
        assert all(np.array_equal(call["subset"], np.arange(120)) for call in known.calls)
        table = study.to_pandas()
        assert table["validation/loss"].to_numpy() == pytest.approx(expected.ravel(), rel=1e-6)
        assert table["epoch"].tolist() == [1, 2, 3, 4, 5, 6] * 3

    def test_without_noise_the_first_epoch_within_delta_is_chosen(self):
        known = Known(lambda epoch, n, seed, made: 2.0**-epoch)
        study = nv.preliminary_epochs(known.train, evaluator_of(), POOL, epochs=10, seeds=2, schedules=["decayed"], delta=0.02)
        assert study.chosen.tolist() == [6]  # 2^-6 - 2^-10 = 0.0146
        assert study.with_delta(0.1).chosen.tolist() == [4]
        assert "6 epochs are enough" in study.explain()[0]

    @pytest.mark.parametrize(
        ("losses", "chosen", "words"),
        [
            ([2.0, 1.5, 1.2, 1.0], None, "no plateau within 4 epochs: the loss is lowest at the last one; train longer (95%, 2"),
            ([2.0, 1.0, 0.5, 0.499], 3, "3 epochs are enough: the validation loss is then at most 0.001 above its lowest within 4"),
            ([2.0, 1.0, 0.5, 0.7], 3, "3 epochs are enough"),  # the lowest is not the end
            ([1.0], None, "no plateau within 1 epoch:"),
        ],
    )  # fmt: skip
    def test_the_last_epoch_alone_is_no_plateau(self, losses, chosen, words):
        known = Known(lambda epoch, n, seed, made: losses[epoch - 1])
        study = nv.preliminary_epochs(known.train, evaluator_of(), POOL, epochs=len(losses), seeds=2, schedules=["decayed"])
        assert study.falling.tolist() == [chosen is None]
        assert np.isnan(study.chosen[0]) if chosen is None else study.chosen.tolist() == [chosen]
        assert words in study.explain()[0]
        assert not study.forced[0]
        said = f"no plateau within {len(losses)} epoch"
        axes = study.plot(Figure().add_subplot())
        for text in (repr(study), axes.get_title()):
            assert (said in text) == (chosen is None)
        assert (f"{chosen} enough" in repr(study)) == (chosen is not None)
        assert ("-." in [line.get_linestyle() for line in axes.lines]) == (chosen is not None)

    def test_a_slow_fall_at_the_end_is_told_beside_the_choice(self):
        for step, told in ((0.006, True), (0.001, False)):
            known = Known(lambda epoch, n, seed, made, step=step: 1 - step * epoch)
            study = nv.preliminary_epochs(known.train, evaluator_of(), POOL, epochs=4, seeds=2, schedules=["decayed"], delta=0.01)
            assert study.chosen.tolist() == [3 if told else 1]
            assert (f"still fell by {step} in the last one" in study.explain()[0]) == told

    def test_a_study_that_is_not_over_counts_the_seeds_that_are_complete(self):
        known = Known(lambda epoch, n, seed, made: 1 + 0.2**epoch)
        steps = nv.iter_preliminary_epochs(known.train, evaluator_of(), POOL, epochs=4, seeds=3, schedules=["decayed"], delta=0.1)
        partial = list(steps)
        one_seed = [any("One seed" in note for note in study.notes) for study in partial]
        assert one_seed == [False] * 3 + [True] * 4 + [False] * 5
        assert "so far, 0 of 3 seeds" in repr(partial[1])
        assert "no training is complete yet" in partial[1].explain()[0]
        for study in partial[3:7]:
            assert "so far, 1 of 3 seeds; decayed: 2 enough" in repr(study)
            assert "(95%, so far, 1 of 3 seeds, n = 80)" in study.explain()[0]
            assert "seeds: 1 of 3 " in study.plot(Figure().add_subplot()).get_title()
        assert "so far, 2 of 3 seeds" in repr(partial[8])
        assert "(95%, 3 seeds, n = 80)" in partial[-1].explain()[0]
        assert "so far" not in repr(partial[-1])

    def test_seeds_that_differ_make_the_bounds_wide(self):
        rng = np.random.default_rng(0)
        jitter = rng.normal(0, 0.02, (9, 5))
        known = Known(lambda epoch, n, seed, made: 0.5 + 0.3**epoch + jitter[epoch, seed])
        study = nv.preliminary_epochs(known.train, evaluator_of(), POOL, epochs=8, seeds=5, schedules=["decayed"], delta=0.01)
        assert np.isnan(study.chosen[0])
        assert "no epoch is shown to be within 0.01" in study.explain()[0]
        assert (study.excess_high >= study.excess).all()

    def test_an_end_that_the_decay_of_the_rate_forces_is_told_from_one_that_it_does_not(self):
        def level(epoch, n, seed, made):
            return 0.5 + 0.5 ** min(epoch, 6)

        known = Known(level, rate=lambda epoch, schedule: 0.1 * (0.5 ** (epoch - 1) if schedule == "decayed" else 1))
        study = nv.preliminary_epochs(known.train, evaluator_of(), POOL, epochs=9, seeds=2, delta=0.005)
        assert study.arms == ["decayed", "constant"]
        assert study.chosen.tolist() == [6, 6]
        assert study.forced.tolist() == [True, False]
        assert study.rate_left[0].tolist() == pytest.approx([0.5**k for k in range(9)])
        words = study.explain()
        assert "forced by the decay" in words[0]
        assert "forced" not in words[1]

    def test_one_schedule_says_that_it_cannot_tell(self):
        study = nv.preliminary_epochs(simple, evaluator_of(), POOL, epochs=3, seeds=1)
        assert study.arms == ["as given"]
        assert any("schedule=" in note for note in study.notes)
        assert any("One seed" in note for note in study.notes)
        assert not study.forced.any()

    def test_weights_and_order_can_be_varied_by_themselves(self):
        def train(*, subset, epochs, seed, order):
            model = Level()
            for epoch in range(1, epochs + 1):
                with torch.no_grad():
                    model.w.fill_(1 / epoch + 0.1 * (seed % 7) + 0.01 * (order % 7))
                yield epoch, model

        study = nv.preliminary_epochs(train, evaluator_of(), POOL, epochs=2, seeds=2, separate=2)
        assert study.varies == ["both", "both", "init", "init", "order", "order"]
        # seeds 0, 1000 and 1001 are 0, 6 and 0 modulo 7
        assert study.init_sd[0] == pytest.approx(0.1 * np.std([0, 6, 0], ddof=1), rel=1e-5)
        assert study.order_sd[0] == pytest.approx(0.01 * np.std([0, 6, 0], ddof=1), rel=1e-5)
        assert study.seeds().tolist() == [0, 1]
        with pytest.raises(ValueError, match="order="):
            nv.preliminary_epochs(simple, evaluator_of(), POOL, separate=1)

    def test_splits_have_parts_to_play(self):
        evaluators = {"train": evaluator_of(n=30), "validation": evaluator_of(n=40), "test": evaluator_of(n=50)}
        study = nv.preliminary_epochs(simple, evaluators, POOL, epochs=2, seeds=1)
        assert (study.judged, study.n, set(study.loss)) == ("validation", 40, {"train", "validation", "test"})
        alone = nv.preliminary_epochs(simple, evaluator_of(name="test"), POOL, epochs=2, seeds=1)
        assert alone.judged == "test"
        assert any("validation data from now on" in note for note in alone.explain())
        for wrong in ({"train": evaluators["train"]}, {"valid": evaluators["train"]}, [1]):
            with pytest.raises((ValueError, TypeError), match=r"evaluator: .*validation"):
                nv.preliminary_epochs(simple, wrong, POOL)

    def test_partial_results_grow_and_end_with_the_answer(self):
        known = Known(lambda epoch, n, seed, made: 1 / min(epoch, 3))
        partial = list(nv.iter_preliminary_epochs(known.train, evaluator_of(), POOL, epochs=4, seeds=2, schedules=["decayed"]))
        assert [result.fraction for result in partial] == pytest.approx(np.arange(1, 9) / 8)
        assert np.isfinite(partial[4].loss["validation"]).sum() == 5
        assert np.isnan(partial[2].chosen).all()
        assert np.isfinite(partial[3].chosen).all()

    def test_epoch_0_is_shown_and_not_chosen(self):
        def train(*, subset, epochs, seed):
            for epoch in range(epochs + 1):
                model = Level()
                with torch.no_grad():
                    model.w.fill_(0.5)
                    model.w.add_(1e-7 * epoch)
                yield epoch, model

        study = nv.preliminary_epochs(train, evaluator_of(), POOL, epochs=3, seeds=2)
        assert study.epochs.tolist() == [0, 1, 2, 3]
        assert study.chosen.tolist() == [1]

    def test_a_seed_that_diverges_is_in_the_result(self):
        known = Known(lambda epoch, n, seed, made: np.inf if seed == 1 and epoch > 2 else 1 / epoch)
        study = nv.preliminary_epochs(known.train, evaluator_of(), POOL, epochs=4, seeds=2, schedules=["decayed"])
        assert np.isinf(study.loss["validation"][1, 2:]).all()
        assert np.isinf(study.excess_high[0, 2:]).all()


class TestTrainFunctions:
    @pytest.mark.parametrize(
        ("yields", "words"),
        [
            (lambda m, e: [(k, m(k)) for k in range(1, e)], r"asked for 3 epochs.*range\(1, epochs \+ 1\)"),
            (lambda m, e: [(k, m(k)) for k in range(1, e + 2)], "asked for 3 epochs, it yielded epoch 4"),
            (lambda m, e: [(2, m(1)), (1, m(2))], "epoch 1 came after epoch 2"),
            (lambda m, e: [(k, m(1)) for k in range(1, e + 1)], "all epochs have the same weights"),
            (
                lambda m, e: [m(1)],
                r"it yields \(epoch, model\).*received Level. Yield pairs in the loop, such as\n    for epoch in",
            ),
            (
                lambda m, e: None,
                r"train: a generator that yields \(epoch, model\).*it returned None.*such as\n    for epoch in range",
            ),
            (lambda m, e: m(1), "it returned a value of type Level"),
            (lambda m, e: nn.Sequential(m(1)), "it returned a value of type Sequential"),
            (lambda m, e: m(1).state_dict(), "it returned a value of type OrderedDict"),
            (lambda m, e: 3, "it returned a value of type int"),
            (lambda m, e: [("1", m(1))], "the epoch is a whole number"),
            (lambda m, e: [(1, 0.5)], "the model is a torch.nn.Module"),
            (lambda m, e: [], "yielded no trained model"),
        ],
    )
    def test_one_that_does_not_do_what_it_was_asked_for_is_refused(self, yields, words):
        def model(value):
            level = Level()
            with torch.no_grad():
                level.w.fill_(value)
            return level

        def train(*, subset, epochs, seed):
            return yields(model, epochs)

        with pytest.raises(TrainError, match=words):
            nv.preliminary_epochs(train, evaluator_of(), POOL, epochs=3, seeds=1)

    @pytest.mark.parametrize(
        ("train", "words"),
        [
            (3, "train: a function"),
            (lambda subset, epochs: None, "has no seed"),
            (lambda subset, epochs, seed, lr: None, "needs lr too"),
        ],
    )
    def test_one_that_cannot_be_called_is_refused_before_anything_is_trained(self, train, words):
        with pytest.raises(TypeError, match=words):
            nv.iter_preliminary_epochs(train, evaluator_of(), POOL)

    def test_state_dicts_and_live_models_give_the_same(self):
        def states(*, subset, epochs, seed):
            for epoch, model in simple(subset=subset, epochs=epochs, seed=seed):
                yield epoch, model.state_dict()

        one, other = (nv.preliminary_epochs(t, evaluator_of(), 120, epochs=3, seeds=1) for t in (simple, states))
        assert np.array_equal(one.loss["validation"], other.loss["validation"])

    def test_one_that_does_not_use_its_seed_or_its_subset_is_told(self):
        study = nv.preliminary_epochs(simple, evaluator_of(), POOL, epochs=2, seeds=2)
        assert any("does not use its seed" in note for note in study.notes)
        options = {"epochs": 2, "sizes": [30, 60, 120], "subsets": 2, "seeds": 1}
        sized = nv.preliminary_training_size(simple, evaluator_of(), POOL, **options)
        assert any("does not use its subset" in note for note in sized.notes)
        known = Known(lambda epoch, n, seed, made: 1 / (n + seed) + 1e-3 * known.calls[-1]["subset"].sum())
        for proper in (
            nv.preliminary_epochs(known.train, evaluator_of(), POOL, epochs=2, seeds=3),
            nv.preliminary_training_size(known.train, evaluator_of(), POOL, **(options | {"seeds": 2})),
        ):
            assert not any("does not use" in note for note in proper.notes)

    def test_a_study_that_is_closed_closes_the_training(self):
        closed = []

        def train(*, subset, epochs, seed):
            try:
                yield from simple(subset=subset, epochs=epochs, seed=seed)
            finally:
                closed.append(seed)

        steps = nv.iter_preliminary_epochs(train, evaluator_of(), POOL)
        next(steps)
        steps.close()
        assert closed == [0]


class TestTrainingSize:
    sizes = (15, 30, 60, 90, 120)

    def study(self, known, **options):
        defaults = {"epochs": 3, "sizes": self.sizes, "subsets": 3, "seeds": 2}
        return nv.preliminary_training_size(known.train, evaluator_of(), POOL, **(defaults | options))

    def test_subsets_are_random_nested_stratified_and_never_the_first_n(self):
        known = Known(lambda epoch, n, seed, made: 1 / n)
        self.study(known)
        calls = [call for call in known.calls if call["steps"] is None]
        by_size = {n: [call["subset"] for call in calls if len(call["subset"]) == n] for n in self.sizes}
        assert {n: len(subsets) for n, subsets in by_size.items()} == {15: 6, 30: 6, 60: 6, 90: 6, 120: 2}
        for k, subset in enumerate(by_size[30]):
            assert not np.array_equal(np.sort(subset), np.arange(30))
            assert set(by_size[15][k]) < set(subset) < set(by_size[90][k])
            assert np.abs(np.bincount(POOL[subset]) - [15, 10, 5]).max() <= 1
            assert len(np.unique(subset)) == 30
        assert len({tuple(sorted(subset)) for subset in by_size[15]}) == 3
        assert [call["seed"] for call in calls[:6]] == [0, 1, 0, 1, 0, 1]

    def test_both_arms_do_what_their_names_say(self):
        known = Known(lambda epoch, n, seed, made: 1 / n + 1 / made)
        study = self.study(known)
        assert study.arms == ["equal epochs", "equal steps"]
        assert study.steps == 3 * 12
        expected = [[1 / n + 1 / (3 * -(-n // 10)) for n in self.sizes], [1 / n + 1 / 36 for n in self.sizes]]
        assert study.mean == pytest.approx(np.array(expected), rel=1e-6)
        assert all(call["epochs"] == 3 for call in known.calls)
        assert {call["steps"] for call in known.calls} == {None, 36}
        assert study.to_pandas().groupby(["arm", "size"]).size().tolist() == [6, 6, 6, 6, 2] * 2

    def test_the_power_law_is_recovered(self):
        known = Known(lambda epoch, n, seed, made: 0.2 + 2 * n**-0.7)
        study = self.study(known, subsets=2)
        for name, value in (("a", 0.2), ("b", 2), ("c", 0.7), ("doubling", 2 * 120**-0.7 * (1 - 2**-0.7))):
            assert study.fits[name][0, 0] == pytest.approx(value, rel=1e-3), name
        assert study.unidentified == ["", ""]
        assert study.curve(np.array([60.0])) == pytest.approx(study.mean[0, 2], rel=1e-5)

    def test_intervals_hold_the_mean_of_the_subsets(self):
        noise = np.random.default_rng(1).normal(0, 0.02, 10_000)
        known = Known(lambda epoch, n, seed, made: 0.0)
        known.level = lambda epoch, n, seed, made: 0.5 + noise[len(known.calls)]
        study = self.study(known, subsets=4)
        values = study.loss["validation"][0, 1].mean(axis=1)
        half = 3.182446 * values.std(ddof=1) / 2  # t of 3 degrees of freedom
        assert study.low[0, 1] == pytest.approx(values.mean() - half)
        assert study.high[0, 1] == pytest.approx(values.mean() + half)
        assert study.subset_sd[0, 1] == pytest.approx(values.std(ddof=1))
        assert np.isnan(study.loss["validation"][0, -1, 1:]).all()
        assert "exponent" in study.unidentified[0]
        assert np.isnan(study.fits["a"][0]).all()

    def test_without_steps_there_is_one_arm_and_it_says_what_it_mixes(self):
        study = nv.preliminary_training_size(simple, evaluator_of(), POOL, epochs=2, sizes=[30, 120], subsets=1, seeds=1)
        assert study.arms == ["equal epochs"]
        assert any("mixes data and compute" in line for line in study.explain())
        with pytest.raises(ValueError, match="steps: only where train takes"):
            nv.preliminary_training_size(simple, evaluator_of(), POOL, steps=5)

    def test_a_training_that_does_not_tell_its_steps_keeps_the_first_arm(self):
        def train(*, subset, epochs, seed, steps=None):
            yield from simple(subset=subset, epochs=epochs, seed=seed)

        options = {"epochs": 2, "sizes": [30, 120], "subsets": 1, "seeds": 1}
        *_, study = nv.iter_preliminary_training_size(train, evaluator_of(), POOL, **options)
        assert study.fraction == 1.0
        assert np.isfinite(study.mean[0]).all()
        assert np.isnan(study.mean[1]).all()
        assert "was not trained" in study.notes[-1]
        assert np.isfinite(nv.preliminary_training_size(train, evaluator_of(), POOL, steps=4, **options).mean).all()

    def test_labels_may_come_in_any_form(self):
        def bins(data):
            known = Known(lambda epoch, n, seed, made: 1 / n)
            nv.preliminary_training_size(known.train, evaluator_of(), data, epochs=1, sizes=[30], subsets=1, seeds=1)
            return np.bincount(POOL[known.calls[0]["subset"]]).tolist()

        x, labels = torch.zeros(120, 1), torch.as_tensor(POOL)
        for data in (POOL, labels, (x, labels), torch.utils.data.TensorDataset(x, labels)):
            assert bins(data) == [15, 10, 5]
        assert sum(bins(120)) == 30

    def test_sizes(self):
        known = Known(lambda epoch, n, seed, made: 1 / n)
        assert self.study(known, sizes=None, subsets=1, seeds=1).sizes.tolist() == [7, 15, 30, 60, 120]
        for sizes in ([30, 20], [0], [121], []):
            with pytest.raises(ValueError, match="sizes"):
                self.study(known, sizes=sizes)


class TestFolder:
    def study(self, train, folder, evaluator=None, **options):
        evaluator = evaluator or evaluator_of(noise=0.1)
        return nv.preliminary_epochs(train, evaluator, POOL, **({"epochs": 4, "seeds": 3, "folder": folder} | options))

    def counting(self, scale=1.0):
        def train(*, subset, epochs, seed):
            COUNTED.put(seed)
            model = Level()
            for epoch in range(1, epochs + 1):
                with torch.no_grad():
                    model.w.fill_(scale / epoch + 0.1 * seed)
                yield epoch, model

        return train

    def test_what_was_interrupted_goes_on_where_it_was(self, tmp_path):
        train = self.counting()
        counted()
        steps = nv.iter_preliminary_epochs(train, evaluator_of(noise=0.1), POOL, epochs=4, seeds=3, folder=tmp_path, settings={})
        for _ in range(6):  # one training is finished, the second at epoch 2
            next(steps)
        steps.close()
        assert counted() == [0, 1]
        study = self.study(train, tmp_path, settings={})
        assert counted() == [1, 2]
        whole = self.study(train, None)
        for name in ("excess", "excess_high"):
            assert np.array_equal(getattr(study, name), getattr(whole, name)), name
        assert np.array_equal(study.loss["validation"], whole.loss["validation"])
        counted()
        again = self.study(train, tmp_path, settings={})
        assert counted() == []
        assert np.array_equal(again.excess_high, study.excess_high)

    @pytest.mark.slow
    def test_so_does_what_was_killed(self, tmp_path):
        script = """
            import os, signal, sys
            import test_preliminary as own
            def train(*, subset, epochs, seed):
                for epoch, model in own.simple(subset=subset, epochs=epochs, seed=seed):
                    if seed == 2 and epoch == 3 and sys.argv[2] == "kill":
                        os.kill(os.getpid(), signal.SIGKILL)
                    print(seed, epoch, flush=True)
                    yield epoch, model
            own.nv.preliminary_epochs(train, own.evaluator_of(), own.POOL, epochs=4, seeds=3, folder=sys.argv[1])
        """

        def ran(how):
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])}
            command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "kept"), how]
            return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)

        killed = ran("kill")
        assert killed.returncode == -signal.SIGKILL
        assert killed.stdout.split("\n")[-2] == "2 2"
        again = ran("no")
        assert again.returncode == 0, again.stderr
        assert again.stdout.split() == ["2", "1", "2", "2", "2", "3", "2", "4"]

    def test_nothing_is_taken_for_what_it_is_not(self, tmp_path):
        def trained(train, **options):
            counted()
            self.study(train, tmp_path, **({"seeds": 1, "settings": {}} | options))
            return len(counted())

        assert trained(self.counting()) == 1
        assert trained(self.counting()) == 0  # the same code and values, made anew
        assert trained(self.counting(2.0)) == 1
        assert trained(self.counting(), epochs=5) == 1
        assert trained(self.counting(), settings={"lr": 0.1}) == 1
        assert trained(self.counting(), evaluator=evaluator_of(noise=0.2)) == 1
        assert trained(self.counting(), evaluator=evaluator_of(noise=0.1, n=79)) == 1
        for factor in (1, 2):  # functions of one name
            scaled = evaluator_of(noise=0.1, loss=lambda output, target: factor * (output - target) ** 2)
            assert trained(self.counting(), evaluator=scaled) == 1
            assert trained(self.counting(), evaluator=scaled) == 0
        assert trained(self.counting()) == 0

    def test_a_damaged_file_is_made_anew(self, tmp_path):
        train = self.counting()
        self.study(train, tmp_path, seeds=1, settings={})
        (file,) = tmp_path.iterdir()
        file.write_bytes(file.read_bytes()[:-20])
        counted()
        self.study(train, tmp_path, seeds=1, settings={})
        assert counted() == [0]

    def test_what_cannot_be_seen_into_has_to_be_named(self, tmp_path):
        handle = open(__file__)  # noqa: SIM115

        def train(*, subset, epochs, seed):
            handle.name
            yield from simple(subset=subset, epochs=epochs, seed=seed)

        with pytest.raises(ValueError, match="settings="):
            self.study(train, tmp_path)
        self.study(train, tmp_path, settings={"file": "v1"})
        assert self.study(train, tmp_path, settings={"file": "v1"}).notes == self.study(simple, None).notes
        handle.close()
        with pytest.raises(ValueError, match="only with folder="):
            self.study(simple, None, settings={})

    def test_what_changes_with_each_training_is_told(self, tmp_path):
        history = []

        def train(*, subset, epochs, seed):
            history.append(seed)
            yield from simple(subset=subset, epochs=epochs, seed=seed)

        assert any("a list that it appends to" in note for note in self.study(train, tmp_path, seeds=1).notes)


COUNTED = queue.SimpleQueue()  # that nobody can see into, unlike a list, which would be a part of what the training depends on


def counted():
    return [COUNTED.get() for _ in range(COUNTED.qsize())]


class TestFingerprint:
    def test_code_defaults_closures_and_globals_count(self):
        def made(number, default=1):
            def function(x, y=default):
                return x + number + y + len(POOL)

            return function

        same, other = fingerprint(made(1)), fingerprint(made(1))
        assert same == other
        assert same[1] == []
        assert len({fingerprint(f)[0] for f in (made(1), made(2), made(1, 2), functools.partial(made(1), 3), json.dumps)}) == 5

    def test_arrays_tensors_and_objects_by_what_they_hold(self):
        values = [np.arange(3), np.arange(3.0), torch.arange(3), [0, 1, 2], (0, 1, 2), {"a": 1}, {"a": 2}, {1, 2}, Level(), None]
        assert len({fingerprint(value)[0] for value in values}) == len(values)
        assert fingerprint(Level()) == fingerprint(Level())
        ring: list = [1]
        ring.append(ring)
        assert fingerprint(ring)[1] == []

    def test_a_module_of_the_users_is_its_text_and_its_plain_values(self, tmp_path, monkeypatch):
        monkeypatch.syspath_prepend(str(tmp_path))

        def train_with(text):
            (tmp_path / "helper_of_a_test.py").write_text(text)
            sys.modules.pop("helper_of_a_test", None)
            importlib.invalidate_caches()
            helper = importlib.import_module("helper_of_a_test")
            return (lambda: helper.step()), helper

        one, helper = train_with("LR = 1\ndef step():\n    return LR\n")
        first = fingerprint(one)
        helper.LR = 2
        assert fingerprint(one) != first
        helper.LR = 1
        assert fingerprint(one) == first
        assert fingerprint(train_with("LR = 1\ndef step():\n    return -LR\n")[0]) != first
        sys.modules.pop("helper_of_a_test", None)

    def test_what_it_cannot_read_is_named(self):
        assert fingerprint(lambda: (json.dumps({}), sys.argv[0], os.sep, time.time(), math.pi, torch.nn.Linear, np.pi))[1] == []
        assert fingerprint({"lock": __import__("threading").Lock()})[1][0].startswith("dict['lock']")


class TestChoosing:
    def test_bounds_hold_for_all_epochs_at_once(self):
        rng = np.random.default_rng(0)
        truth = np.array([0.4, 0.1, 0.02, 0.0, 0.0, 0.01])
        held = chosen_right = 0
        for k in range(150):
            noise = rng.standard_t(5, (1, 1, 200)) * 0.5 + rng.normal(0, 0.1, (1, 6, 200)) + rng.normal(0, 0.01, (4, 6, 1))
            losses = truth[None, :, None] + noise
            bound = excess(losses.mean(2), losses.mean(0), draws=200, seed=k)
            held += bool((bound.high >= truth).all())
            chosen_right += bool((truth[bound.high < 0.08] < 0.08).all())
        assert held >= 140  # 95 % of 150 is 142, with a standard deviation of 2.7
        assert chosen_right >= 140

    def test_without_seeds_or_samples_it_is_the_other_alone(self):
        rng = np.random.default_rng(1)
        samples = rng.normal(0, 1, (3, 500)) + np.array([[0.0], [0.5], [1.0]])
        one = excess(samples.mean(1)[None], samples)
        difference = samples[1] - samples[0]
        width = one.high[1] - one.mean[1]
        assert width / (difference.std(ddof=1) / np.sqrt(500)) == pytest.approx(one.critical, rel=1e-6)
        assert 2.0 < one.critical < 2.6
        seeds = rng.normal(0, 1, (5, 3))
        alone = excess(seeds)
        assert alone.critical > 2.776  # Student's t of 4 degrees of freedom, for one difference
        same = excess(np.full((3, 4), 0.7))
        assert same.high.tolist() == [0.0] * 4


class TestPowerLaw:
    sizes = np.array([50, 100, 200, 400, 800, 1600])

    def test_intervals_hold_the_truth_as_often_as_they_say(self):
        rng = np.random.default_rng(0)
        held = np.zeros(4)
        for _ in range(200):
            error = np.full(6, 0.01)
            fit = power_law(self.sizes, 0.3 + 5 * self.sizes**-0.6 + rng.normal(0, error), error, 200)
            assert fit.identified or "nearest one" in fit.reason
            truths = (0.3, 5, 0.6, 5 * 1600**-0.6 * (1 - 2**-0.6))
            bounds = (fit.a, fit.b, fit.c, fit.doubling)
            held += [not fit.identified or low <= truth <= high for truth, (_, low, high) in zip(truths, bounds, strict=True)]
        assert (held >= 184).all()  # 95 % of 200 is 190, with a standard deviation of 3.1

    def test_what_the_sizes_do_not_say_is_not_said(self):
        law = 0.3 + 5 * self.sizes**-0.6
        for means, errors, words in (
            (law, np.full(6, 0.5), "any exponent fits"),
            (law[[0, 1, 2]], np.full(3, 0.01), "at least 4"),
            (2 - 0.1 * np.log(self.sizes), np.full(6, 0.01), "not bounded"),
            (np.array([1, 0.5, 0.8, 0.3, 0.6, 0.2]), np.full(6, 0.01), "miss the nearest one"),
            (-law, np.full(6, 1e-4), "does not fall"),
        ):
            fit = power_law(self.sizes[: len(means)], means, errors, 12)
            assert not fit.identified
            assert words in fit.reason
            assert np.isnan(fit.a).all()


@pytest.mark.parametrize("kind", ["epochs", "training size"])
def test_results_can_be_kept_read_and_drawn(kind, tmp_path):
    from matplotlib.figure import Figure

    known = Known(lambda epoch, n, seed, made: 0.2 + 1 / made + 0.001 * seed + 0.0001 * n)
    study = (
        nv.preliminary_epochs(known.train, {"train": evaluator_of(), "test": evaluator_of(0.1)}, POOL, epochs=4, seeds=2)
        if kind == "epochs"
        else nv.preliminary_training_size(known.train, evaluator_of(), POOL, epochs=2, sizes=[30, 60, 90, 120], subsets=2, seeds=2)
    )
    study.save(tmp_path / "study")
    back = nv.load(tmp_path / "study")
    assert repr(back) == repr(study)
    assert back.to_pandas().equals(study.to_pandas())
    assert back.explain() == study.explain()
    for quantity in study.quantities:
        axes = study.plot(Figure().add_subplot(), quantity=quantity)
        assert axes.lines
    # the axis is that of what was trained, no other
    xs = np.concatenate([line.get_xdata() for line in axes.lines])
    own = study.epochs if kind == "epochs" else study.sizes
    assert xs.min() >= own.min() * 0.97
    assert xs.max() <= own.max() * 1.03
    with pytest.raises(ValueError, match="quantity"):
        study.values("acuracy")


def test_class_weights_are_not_resampled_as_if_all_counted_alike():
    model = factories.made(factories.ConvNet)
    x, y = factories.images()

    def train(*, subset, epochs, seed):
        yield from enumerate(factories.states(model, epochs, seed=seed + 5, size=0.02), 1)

    weights = torch.tensor([1.0, 5.0, 0.5])
    weighed = nv.Evaluator(model, (x, y), loss=nn.CrossEntropyLoss(weight=weights), device="cpu")
    study = nv.preliminary_epochs(train, weighed, (x, y), epochs=3, seeds=3)
    assert any("over seeds, not over samples" in note for note in study.notes)
    assert np.isfinite(study.excess_high).all()
