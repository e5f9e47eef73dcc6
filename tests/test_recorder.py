import errno
import os
import subprocess
import sys
import textwrap
import warnings

import factories
import numpy as np
import pytest
import torch
from torch import nn

import nnvis_widgets as nv
from nnvis_widgets import store
from nnvis_widgets.runs.run import RunError


def train(model, step):
    with torch.no_grad():
        for k, parameter in enumerate(model.parameters()):
            parameter.add_(0.01 * (step + k))
        for name, buffer in model.named_buffers():
            buffer.add_(1 if "num_batches" in name else 0.01)


def copied(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "runs" / "one"


class TestRecording:
    def test_what_is_opened_is_what_was_recorded_bit_for_bit(self, model, folder):
        expected = [copied(model)]
        with nv.Recorder(model, folder) as recorder:
            for epoch in (1, 2, 3):
                train(model, epoch)
                expected.append(copied(model))
                recorder.record(epoch=epoch, test_loss=1 / epoch, test_accuracy=torch.tensor(0.9))
        run = nv.Run.open(folder)
        assert len(run) == 4
        assert run.epochs.tolist() == [0, 1, 2, 3]
        assert all(factories.same(checkpoint.state, state) for checkpoint, state in zip(run, expected, strict=True))
        assert np.array_equal(run.metrics["test_loss"], [np.nan, 1, 1 / 2, 1 / 3], equal_nan=True)
        assert run.metrics["test_accuracy"][1] == pytest.approx(0.9)

    def test_epochs_count_by_themselves(self, model, folder):
        with nv.Recorder(model, folder) as recorder:
            for _ in range(3):
                train(model, 1)
                recorder.record()
        assert nv.Run.open(folder).epochs.tolist() == [0, 1, 2, 3]

    def test_numbers_that_json_has_no_name_for(self, model, folder):
        with nv.Recorder(model, folder) as recorder:
            recorder.record(a=np.nan, b=np.inf, c=-np.inf)
        got = nv.Run.open(folder).metrics
        assert [str(got[name][1]) for name in "abc"] == ["nan", "inf", "-inf"]

    def test_steps_within_an_epoch_share_it(self, model, folder):
        with nv.Recorder(model, folder) as recorder:
            for _ in range(2):
                for step in range(4):
                    train(model, step)
                    recorder.step(loss=step)
                recorder.record()  # the weights are those of the last step: one checkpoint is both
            train(model, 9)
            recorder.step()
        run = nv.Run.open(folder)
        assert run.epochs == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 2.25])
        assert [checkpoint.step for checkpoint in run] == list(range(10))
        assert run.metrics["loss"][4] == 3.0

    def test_weights_that_moved_after_the_last_step_are_a_checkpoint_of_their_own(self, model, folder):
        with nv.Recorder(model, folder) as recorder:
            train(model, 1)
            recorder.step()
            train(model, 2)
            recorder.record()
        assert nv.Run.open(folder).epochs == pytest.approx([0, 0.5, 1])

    @pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile])
    def test_a_wrapped_model_is_recorded_under_its_own_names(self, model, folder, wrap):
        with nv.Recorder(wrap(model), folder):
            pass
        assert factories.same(nv.Run.open(folder).initial, copied(model))

    def test_a_tied_weight_is_written_once_and_opened_tied(self, folder):
        model = factories.made(factories.Tied)
        with nv.Recorder(model, folder):
            pass
        with_names = store.read_tensors(folder / "checkpoint-000000.safetensors")
        assert "decoder.weight" not in with_names
        run = nv.Run.open(folder)
        assert factories.same(run.initial, copied(model))
        assert run.layout.aliases == {"decoder.weight": "embedding.weight"}
        assert run.layout.count() == sum(p.numel() for p in model.parameters())

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64, torch.complex64])
    def test_every_type_of_weight(self, folder, dtype):
        model = nn.Linear(5, 7, dtype=dtype)
        with nv.Recorder(model, folder):
            pass
        assert factories.same(nv.Run.open(folder).initial, copied(model))

    def test_the_run_can_be_read_while_it_is_recorded(self, model, folder):
        with nv.Recorder(model, folder) as recorder:
            assert len(recorder.run) == 1
            recorder.record()
            assert len(recorder.run) == 2

    def test_an_interrupted_loop_keeps_what_was_recorded(self, model, folder):
        def loop():
            with nv.Recorder(model, folder) as recorder:
                recorder.record()
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            loop()
        assert len(nv.Run.open(folder)) == 2


class TestResuming:
    def test_continues_the_run(self, model, folder):
        with nv.Recorder(model, folder) as recorder:
            train(model, 1)
            recorder.record(loss=1)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with nv.Recorder(model, folder, resume=True) as recorder:
                train(model, 2)
                recorder.record(loss=2)
        run = nv.Run.open(folder)
        assert run.epochs.tolist() == [0, 1, 2]
        assert run.metrics["loss"][1:].tolist() == [1, 2]
        assert factories.same(run.final, copied(model))

    def test_of_nothing_begins(self, model, folder):
        with nv.Recorder(model, folder, resume=True):
            pass
        assert len(nv.Run.open(folder)) == 1

    def test_with_other_weights_warns_and_says_how_to_load_them(self, model, folder):
        with nv.Recorder(model, folder):
            pass
        train(model, 1)
        with (
            pytest.warns(UserWarning, match=r"not those of the last checkpoint.*load_state_dict"),
            nv.Recorder(model, folder, resume=True),
        ):
            pass

    def test_with_another_model_is_refused(self, model, folder):
        with nv.Recorder(model, folder):
            pass
        with (
            pytest.raises(RunError, match=r"holds a run of another model.*missing 'weight'"),
            nv.Recorder(nn.Linear(5, 7), folder, resume=True),
        ):
            pass
        assert len(nv.Run.open(folder)) == 1


class TestRefused:
    def test_a_folder_that_holds_a_run(self, model, folder):
        with nv.Recorder(model, folder):
            pass
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        train(model, 1)
        with (
            pytest.raises(RunError, match=r"holds a run already, and nothing recorded is overwritten.*resume=True"),
            nv.Recorder(model, folder),
        ):
            pass
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before

    @pytest.mark.parametrize("name", ["notes.txt", "checkpoint-500", "checkpoint-1.pt", ".git"])
    def test_a_folder_that_holds_other_things(self, model, folder, name):
        (folder / name).mkdir(parents=True)
        with pytest.raises(RunError, match=f"holds other files \\({name}\\)"), nv.Recorder(model, folder):
            pass
        assert [path.name for path in folder.iterdir()] == [name]

    def test_a_file_in_place_of_a_folder(self, model, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(RunError, match="is a file; name an empty or a new folder"), nv.Recorder(model, tmp_path / "file"):
            pass

    @pytest.mark.parametrize("epoch", [2, 1.5, 0, -1, np.nan, np.inf, "three"])
    def test_an_epoch_that_does_not_ascend(self, model, folder, epoch):
        with nv.Recorder(model, folder) as recorder:
            recorder.record(epoch=2)
            with pytest.raises(RunError, match=r"greater than the last one recorded \(2\)"):
                recorder.record(epoch=epoch)
        assert nv.Run.open(folder).epochs.tolist() == [0, 2]

    @pytest.mark.parametrize("value", ["high", None, [1, 2], torch.zeros(2)])
    def test_a_metric_that_is_no_number(self, model, folder, value):
        with nv.Recorder(model, folder) as recorder:
            with pytest.raises(RunError, match="metrics: loss must be one number"):
                recorder.record(loss=value)
            recorder.record()
        assert len(nv.Run.open(folder)) == 2

    def test_recording_outside_of_the_with_block(self, model, folder):
        recorder = nv.Recorder(model, folder)
        for call in (recorder.record, recorder.step):
            with pytest.raises(RunError, match="use it in a with block"):
                call()
        assert not folder.exists()


def test_epoch_0_is_the_initial_weights(model, folder):
    hint = "received 0; epoch 0 is the initial weights; count from 1 or leave epoch out"
    with nv.Recorder(model, folder) as recorder, pytest.raises(RunError, match=hint):
        recorder.record(epoch=0)


class TestAFullDisk:
    @pytest.fixture
    def full(self, monkeypatch):
        """Call it with the name of the file at which the disk runs full; None makes room again."""
        real = os.replace
        at = {"name": None}

        def replace(source, target):
            if at["name"] is not None and at["name"] in os.fspath(target):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(source, target)

        monkeypatch.setattr(os, "replace", replace)
        return lambda name: at.update(name=name)

    @pytest.mark.parametrize("name", ["checkpoint-", "run.json"])
    @pytest.mark.parametrize("call", ["record", "step"])
    def test_keeps_what_was_completed_and_recording_goes_on_when_there_is_room(self, model, folder, full, name, call):
        with nv.Recorder(model, folder) as recorder:
            train(model, 1)
            recorder.record(loss=1)
            kept = copied(model)
            full(name)
            train(model, 2)
            with pytest.raises(
                OSError, match=r"checkpoint 2 was not written \(No space left.*keeps the 2 completed.*call record again"
            ) as caught:
                getattr(recorder, call)()
            assert caught.value.errno == errno.ENOSPC
            run = nv.Run.open(folder)
            assert len(run) == 2
            assert factories.same(run.final, kept)
            full(None)
            getattr(recorder, call)()
        run = nv.Run.open(folder)
        assert len(run) == 3
        assert factories.same(run.final, copied(model))
        assert sorted(path.name for path in folder.iterdir()) == [
            *(f"checkpoint-00000{i}.safetensors" for i in range(3)),
            "run.json",
        ]

    def test_from_the_beginning(self, model, folder, full):
        full("checkpoint-")
        with pytest.raises(OSError, match="No space left"), nv.Recorder(model, folder):
            pass
        full(None)
        with nv.Recorder(model, folder):
            pass
        assert len(nv.Run.open(folder)) == 1

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of a file")
    def test_as_the_system_reports_it(self, folder):
        script = """
            import resource, sys, torch, nnvis_widgets as nv
            model = torch.nn.Linear(500, 500)
            with nv.Recorder(model, sys.argv[1]) as recorder:
                resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
                try:
                    recorder.record()
                except OSError as error:
                    print(error)
                assert len(nv.Run.open(sys.argv[1])) == 1
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
                recorder.record()
        """
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(script), folder], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert "checkpoint 1 was not written (File too large)" in done.stdout
        assert len(nv.Run.open(folder)) == 2


DYING = """
    import itertools, os, signal, sys, time, torch, nnvis_widgets as nv
    torch.set_num_threads(1)
    model = torch.nn.Linear(300, 300)
    real, calls = os.replace, itertools.count()

    def record(folder, die_at):
        def replace(source, target):
            if next(calls) == die_at:
                os._exit(9)
            real(source, target)
        os.replace = replace
        with nv.Recorder(model, folder) as recorder:
            for epoch in itertools.count(1):
                with torch.no_grad():
                    model.weight.fill_(epoch)
                recorder.record(epoch=epoch, loss=epoch)

    def child(folder, die_at):
        process = os.fork()
        if process == 0:
            record(folder, die_at)
        return process

    for die_at in (1, 2, 3):
        os.waitpid(child(f"{sys.argv[1]}/at-{die_at}", die_at), 0)
    for attempt in range(12):
        folder = f"{sys.argv[1]}/after-{attempt}"
        process = child(folder, -1)
        while not os.path.exists(f"{folder}/run.json"):
            time.sleep(0.001)
        time.sleep(0.0037 * attempt)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
"""


def whole(folder):
    """Open a run, read every checkpoint, and return how many there are; each must be what its epoch says."""
    run = nv.Run.open(folder)
    for checkpoint in run[1:]:
        assert bool((checkpoint.state["weight"] == checkpoint.epoch).all())
        assert checkpoint.metrics["loss"] == checkpoint.epoch
    assert run.epochs.tolist() == list(range(len(run)))
    return len(run)


@pytest.fixture(scope="module")
def graves(tmp_path_factory):
    """Folders of recorders that died: before the n-th renaming of a file, or some milliseconds after the first index."""
    folder = tmp_path_factory.mktemp("graves")
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(DYING), folder], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork and no SIGKILL")
class TestAKilledProcess:
    @pytest.mark.slow
    @pytest.mark.parametrize("die_at", [2, 3])  # before a checkpoint's file is in its place, before its index is
    def test_between_two_files_loses_only_the_checkpoint_that_was_being_written(self, graves, die_at):
        folder = graves / f"at-{die_at}"
        assert whole(folder) == 1
        model = nn.Linear(300, 300)
        model.load_state_dict(nv.Run.open(folder).final)
        with nv.Recorder(model, folder, resume=True) as recorder, torch.no_grad():
            model.weight.fill_(1)
            recorder.record(loss=1)
        assert whole(folder) == 2

    def test_before_its_first_index_leaves_a_folder_that_can_be_used(self, graves):
        with pytest.raises(RunError, match="no run in"):
            nv.Run.open(graves / "at-1")
        with nv.Recorder(nn.Linear(300, 300), graves / "at-1"):
            pass
        assert len(nv.Run.open(graves / "at-1")) == 1

    @pytest.mark.parametrize("attempt", range(12))
    def test_at_any_moment_leaves_every_completed_checkpoint(self, graves, attempt):
        folder = graves / f"after-{attempt}"
        files = len(list(folder.glob("checkpoint-*.safetensors")))
        assert files - 1 <= whole(folder) <= files
