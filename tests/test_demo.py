"""The demo: the thesis's network, its data, a seeded training run, and a cache that is whole or not used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import nnvis_widgets as nv
from nnvis_widgets.core.states import digest
from nnvis_widgets.demo import load_demo

MNIST = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def demo(cache):
    """Digits, one epoch, seed 0; the first to be trained in this cache."""
    return load_demo("digits", epochs=1, seed=0, cache=cache, device="cpu")


def training(cache, **more):
    """Return the epochs that were trained when the demo was loaded: none where it came from the cache."""
    seen: list[int] = []
    return load_demo("digits", epochs=1, cache=cache, device="cpu", progress=lambda epoch, _: seen.append(epoch), **more), seen


def folders(cache) -> list[Path]:
    return sorted(path for path in (cache / "runs").iterdir() if not path.name.startswith("."))


class TestNetwork:
    def test_it_has_the_thesiss_layers_and_parameter_counts(self):
        counts = {name: sum(p.numel() for p in layer.parameters()) for name, layer in nv.LeNet().named_children()}
        assert counts == {"conv1": 60, "conv2": 880, "fc1": 69240, "fc2": 10164, "fc3": 850}

    def test_it_returns_log_probabilities_of_ten_classes(self):
        outputs = nv.LeNet()(torch.randn(3, 1, 32, 32, generator=torch.Generator().manual_seed(0)))
        assert outputs.shape == (3, 10)
        torch.testing.assert_close(outputs.exp().sum(1), torch.ones(3))


class TestTraining:
    def test_initial_weights_depend_on_the_seed_alone_and_move_no_global_random_state(self, demo, tmp_path):
        torch.manual_seed(1234)
        np.random.seed(1234)  # noqa: NPY002 (the state that must not move)
        before, before_numpy = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        again, seen = training(tmp_path, seed=0)
        assert seen == [1]
        assert torch.equal(torch.get_rng_state(), before)
        np.testing.assert_array_equal(np.random.get_state()[1], before_numpy)  # noqa: NPY002
        for state in ("initial", "final"):
            for name, tensor in getattr(demo.run, state).items():
                assert torch.equal(tensor, getattr(again.run, state)[name]), (state, name)
        other, _ = training(tmp_path, seed=1)
        assert not any(torch.equal(other.run.initial[name], tensor) for name, tensor in demo.run.initial.items())

    def test_initial_weights_are_uniform_within_one_over_the_root_of_the_fan_in(self, demo):
        for name, fan_in in (("conv1", 9), ("conv2", 54), ("fc1", 576), ("fc2", 120), ("fc3", 84)):
            weight = demo.run.initial[f"{name}.weight"]
            assert 0.8 < float(weight.abs().max()) * fan_in**0.5 <= 1.0
            assert float(weight.std()) * fan_in**0.5 == pytest.approx(3**-0.5, rel=0.25)

    def test_every_epoch_is_recorded_with_its_metrics_which_the_evaluator_confirms(self, tmp_path):
        demo = load_demo("digits", epochs=2, seed=0, cache=tmp_path, device="cpu")
        assert list(demo.run.epochs) == [0, 1, 2]
        measured = nv.measure_training(demo.evaluator, demo.run)
        np.testing.assert_allclose(measured.loss[1:], demo.run.metrics["test_loss"][1:], rtol=1e-5)
        np.testing.assert_allclose(measured.metrics["accuracy"][1:], demo.run.metrics["test_accuracy"][1:], atol=1e-12)
        assert demo.evaluator.measure().loss == measured.loss[-1]

    @pytest.mark.slow
    def test_schedule_and_optimizer_give_other_runs(self, demo, cache):
        finals = [demo.run.final["fc3.weight"]]
        for more in ({"optimizer": "momentum"}, {"optimizer": "adam"}):
            finals.append(training(cache, **more)[0].run.final["fc3.weight"])
        two = [load_demo("digits", epochs=2, schedule=s, cache=cache, device="cpu").run for s in ("step", "constant")]
        assert torch.equal(two[0][1].state["fc3.weight"], two[1][1].state["fc3.weight"])  # the rates part after the first epoch
        finals += [run.final["fc3.weight"] for run in two]
        assert not any(torch.equal(a, b) for i, a in enumerate(finals) for b in finals[:i])

    @pytest.mark.slow
    def test_the_digits_reach_over_97_percent_of_the_held_out_images(self, tmp_path):
        demo = load_demo("digits", cache=tmp_path, device="cpu")
        assert len(demo.run) == 16
        assert demo.evaluator.measure().metrics["accuracy"] > 0.97


class TestData:
    def test_the_digits_are_split_into_1347_and_450_disjoint_images_by_class(self, demo):
        from sklearn.datasets import load_digits

        parts = {"train": demo.train, "test": demo.test}
        assert {name: len(labels) for name, (_, labels) in parts.items()} == {"train": 1347, "test": 450}
        prints = {name: [image.numpy().tobytes() for image in images] for name, (images, _) in parts.items()}
        digits = load_digits()
        assert len(set(prints["train"]) | set(prints["test"])) == len({image.tobytes() for image in digits.images})
        assert not set(prints["train"]) & set(prints["test"])
        share = np.bincount(digits.target) / 1797
        for _, labels in parts.values():
            assert np.abs(np.bincount(labels.numpy()) - share * len(labels)).max() < 1

    def test_images_are_32_by_32_float_tensors_made_once(self, demo):
        images, labels = demo.test
        assert (images.shape, images.dtype, labels.dtype) == ((450, 1, 32, 32), torch.float32, torch.int64)
        low, high = (0 - 0.1307) / 0.3081, (1 - 0.1307) / 0.3081
        assert float(images.min()) == pytest.approx(low)
        assert float(images.max()) == pytest.approx(high)

    def test_unknown_names_are_refused_with_those_that_work(self, tmp_path):
        for more, told in (
            ({"data": "cifar"}, r"data: .*'digits'.*'cifar'"),
            ({"schedule": "cosine"}, r"schedule: .*'step', 'constant'.*'cosine'"),
            ({"optimizer": "lion"}, r"optimizer: .*'sgd'.*'lion'"),
            ({"epochs": 0}, r"epochs: .*at least 1.*0"),
        ):
            with pytest.raises(ValueError, match=told):
                load_demo(**more, cache=tmp_path)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
    def test_without_network_the_message_says_where_was_looked_and_what_works(self, tmp_path, monkeypatch, name):
        def offline(*_, **__):
            raise OSError("Temporary failure in name resolution")

        monkeypatch.setattr("socket.getaddrinfo", offline)
        with pytest.raises(RuntimeError, match=r"root=.*data='digits'") as caught:
            load_demo(name, root=tmp_path / "wrong", cache=tmp_path / "cache")
        assert str(tmp_path / "wrong") in str(caught.value)

    @pytest.mark.slow
    @pytest.mark.skipif(not (MNIST / "MNIST" / "raw").is_dir(), reason="MNIST is not in ../shared/data")
    def test_mnist_is_read_from_a_folder_that_torchvision_knows(self, tmp_path):
        demo = load_demo("mnist", epochs=1, root=MNIST, cache=tmp_path, device="cpu")
        assert [len(labels) for _, labels in (demo.train, demo.test)] == [60_000, 10_000]
        assert demo.evaluator.n == 10_000
        assert demo.run.metrics["test_accuracy"][-1] > 0.85


class TestCache:
    def test_a_second_call_reads_the_run_that_the_first_has_trained(self, demo, cache):
        again, seen = training(cache, seed=0)
        assert seen == []
        assert again.run.source == demo.run.source
        assert again.evaluator.measure().loss == demo.evaluator.measure().loss

    def test_other_data_is_another_run(self, demo, cache, monkeypatch):
        from nnvis_widgets.demo import images as module

        original = module._digits
        monkeypatch.setattr(module, "_digits", lambda: tuple((images * 0.5, labels) for images, labels in original()))
        other, seen = training(cache, seed=0)
        assert seen == [1]
        assert other.run.source != demo.run.source

    def test_a_training_that_was_killed_is_not_taken_for_a_run(self, demo, tmp_path):
        left = tmp_path / "runs" / ".training-xyz"
        left.mkdir(parents=True)
        (left / "run.json").write_text("{")
        again, seen = training(tmp_path, seed=0)
        assert seen == [1]
        assert ".training" not in again.run.source
        assert torch.equal(again.run.final["fc1.weight"], demo.run.final["fc1.weight"])

    @pytest.mark.slow
    @pytest.mark.parametrize("damage", ["without its index", "index cut short", "checkpoint cut short", "checkpoint missing"])
    def test_a_folder_that_is_not_whole_is_trained_again(self, demo, tmp_path, damage):
        training(tmp_path, seed=0)
        (folder,) = folders(tmp_path)
        index, last = folder / "run.json", sorted(folder.glob("*.safetensors"))[-1]
        if damage == "without its index":
            index.unlink()
        elif damage == "index cut short":
            index.write_bytes(index.read_bytes()[:40])
        elif damage == "checkpoint cut short":
            last.write_bytes(last.read_bytes()[:1000])
        else:
            last.unlink()
        again, seen = training(tmp_path, seed=0)
        assert seen == [1]
        assert torch.equal(again.run.final["fc1.weight"], demo.run.final["fc1.weight"])
        assert training(tmp_path, seed=0)[1] == []

    def test_an_interrupted_training_leaves_nothing_behind(self, tmp_path):
        def interrupt(epoch, epochs):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            load_demo("digits", epochs=1, cache=tmp_path, device="cpu", progress=interrupt)
        assert list((tmp_path / "runs").iterdir()) == []

    @pytest.mark.slow
    def test_two_processes_at_once_end_with_one_whole_run(self, demo, tmp_path):
        script = (
            "import sys, torch; torch.set_num_threads(1); from nnvis_widgets import load_demo; "
            "print(float(load_demo('digits', epochs=1, cache=sys.argv[1], device='cpu').run.final['fc1.weight'].double().sum()))"
        )
        both = [
            subprocess.Popen(
                [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            for _ in range(2)
        ]
        answers = [process.communicate(timeout=120) for process in both]
        assert [process.returncode for process in both] == [0, 0], answers
        assert answers[0][0] == answers[1][0]
        assert len(folders(tmp_path)) == 1
        assert not [name for name in os.listdir(tmp_path / "runs") if name.startswith(".training")]


@pytest.fixture(scope="module")
def known():
    return nv.load_demo_training("digits", samples=200, device="cpu")


class TestTrainingAsAFunction:
    def test_the_splits_share_no_image_and_keep_the_classes(self):
        whole = nv.load_demo_training("digits", device="cpu")
        assert len(whole.data[1]) == 1047
        parts = whole.evaluators
        assert {name: part.n for name, part in parts.items()} == {"train": 300, "validation": 300, "test": 450}
        seen = {name: {image.numpy().tobytes() for image in part.inputs(range(part.n))} for name, part in parts.items()}
        assert not seen["train"] & seen["validation"]
        assert not {image.numpy().tobytes() for image in whole.data[0]} & seen["validation"]
        assert not seen["validation"] & seen["test"]

    def test_one_seed_is_one_training_and_subset_steps_order_and_schedule_count(self, known):
        def ended(subset=range(60), epochs=2, seed=0, **more):
            steps = known.train(subset=np.array(subset), epochs=epochs, seed=seed, **more)
            return [(epoch, digest(model.state_dict()), told) for epoch, model, told in steps]

        one = ended()
        assert [(epoch, told["steps"]) for epoch, _, told in one] == [(1, 4), (2, 8)]
        assert [told["lr"] for _, _, told in one] == pytest.approx([0.1, 0.07])
        assert ended(order=0) == one
        others = [ended(seed=1), ended(order=1), ended(schedule="constant"), ended(subset=range(100, 160)), ended(steps=7)]
        assert len({run[-1][1] for run in [one, *others]}) == 6
        assert [told["lr"] for _, _, told in others[2]] == [0.1, 0.1]
        assert others[4][-1][2]["steps"] == 7
        few = ended(subset=range(20), steps=8)
        assert [told["steps"] for _, _, told in few] == [2, 4, 6, 8]
        assert few[-1][2]["lr"] == pytest.approx(0.07)  # it decays over the steps as it does over as many in two epochs

    def test_its_studies_find_their_trainings_again(self, known, tmp_path):
        studies = [
            nv.preliminary_epochs(known.train, known.evaluators, known.data, epochs=2, seeds=1, folder=tmp_path) for _ in range(2)
        ]
        assert studies[0].arms == ["decayed", "constant"]
        assert studies[0].judged == "validation"
        assert studies[0].splits == ["train", "validation", "test"]
        assert studies[1].to_pandas().equals(studies[0].to_pandas())
        assert len(list(tmp_path.iterdir())) == 2

    @pytest.mark.parametrize(("options", "words"), [({"data": "cifar"}, "data"), ({"samples": 5}, "samples: a whole number")])
    def test_refusals(self, options, words):
        with pytest.raises(ValueError, match=words):
            nv.load_demo_training(**options)
