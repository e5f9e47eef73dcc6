"""The command line, in process: what it writes, what it refuses, how it ends."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch

import nnvis_widgets as nv
from nnvis_widgets.__main__ import main
from nnvis_widgets.cli import groups as cli_groups
from nnvis_widgets.cli.notebook import _serve, copy_notebooks, notebooks_folder, server_command

SUBJECT = '''
"""A model with a layer that never moves, one with capitals in its name, and 30 samples."""
import time
import torch
from torch import nn
import nnvis_widgets as nv

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(12, 12)
        self.still = nn.Linear(12, 5)
        self.Last = nn.Linear(5, 4)

    def forward(self, x):
        return self.Last(torch.relu(self.still(torch.relu(self.first(x)))))

def net(seed=0):
    model, generator = Net(), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model

def data():
    generator = torch.Generator().manual_seed(7)
    return torch.randn(30, 12, generator=generator), torch.arange(30) % 4

def model_and_data():
    return net(), data()

def evaluator():
    return nv.Evaluator(net(), data(), name="held-out", device="cpu")

def slow():
    def loss(output, target):
        time.sleep(0.01)
        return nn.functional.cross_entropy(output, target, reduction="none")
    return nv.Evaluator(net(), data(), loss=loss, device="cpu")

def breaks():
    calls = []
    def loss(output, target):
        calls.append(1)
        if len(calls) > 9:
            raise RuntimeError("the disk of the user's loss is full")
        return nn.functional.cross_entropy(output, target, reduction="none")
    return nv.Evaluator(net(), data(), loss=loss, device="cpu", engine="plain")

def other_model():
    return nn.Linear(12, 4), data()

def wrong_shape():
    return nn.Linear(3, 4), data()

def nothing():
    return None

def raises():
    raise KeyError("no data today")

limit = 3
'''


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A current directory with ``subject.py`` and a recorded run of four checkpoints in ``run``."""
    (tmp_path / "subject.py").write_text(SUBJECT)
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        sys.modules.pop("subject", None)
        subject = importlib.import_module("subject")
    model = subject.net()
    generator = torch.Generator().manual_seed(1)
    with nv.Recorder(model, "run") as recorder:
        for epoch in (1, 2, 3):
            with torch.no_grad():
                for parameter in (*model.first.parameters(), *model.Last.parameters()):
                    parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
            recorder.record(epoch=epoch)
    yield tmp_path
    sys.modules.pop("subject", None)


def recorded(*more: str, out: str = "out", source: str = "model_and_data") -> list[str]:
    return ["run", "--run", "run", "--source", f"subject:{source}", "--out", out, "--points", "5", "--quiet", *more]


def planes(*more: str, out: str = "out", source: str = "model_and_data") -> list[str]:
    return ["surface", "--run", "run", "--source", f"subject:{source}", "--out", out, "--resolution", "5", "--quiet", *more]


def table(name: str) -> pandas.DataFrame:
    """Return a written table; read by hand, since not every pandas reads back the last bit of a number."""
    text = pandas.read_csv(Path("out", name), dtype=str, keep_default_na=False)
    words = {"True": True, "False": False, "": np.nan}
    return text.apply(lambda column: [words[cell] if cell in words else _number(cell) for cell in column])


def _number(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell


def files(folder: str = "out") -> set[str]:
    return {path.name for path in Path(folder).iterdir()}


class TestRun:
    def test_without_a_selection_the_whole_model_is_measured_both_ways_with_its_training(self, here, capsys):
        assert main(recorded()) == 0
        stems = {"model-linear", "model-quadratic", "training"}
        tables = {f"{stem}.{ending}" for stem in stems for ending in ("csv", "safetensors")}
        assert files() == tables | {"model-paths.png", "model-paths.pdf", "summary.csv", "movement.csv"}
        assert capsys.readouterr() == ("", "")

    def test_the_numbers_are_those_of_measure_path_and_measure_training(self, here):
        assert main(recorded("--whole-model", "--layer", "first", "--parameter", "first.weight", "1,11", "--mid", "2")) == 0
        run, evaluator = nv.Run.open("run"), importlib.import_module("subject").evaluator()
        paths = {
            "linear": nv.LinearPath(run.initial, run.final),
            "quadratic": nv.QuadraticPath(run.initial, run[2].state, run.final),
        }
        scopes = {"model": None, "first": "first", "first.weight@1-11": ("first.weight", (1, 11))}
        for stem, scope in scopes.items():
            for kind, path in paths.items():
                alphas = np.linspace(-0.5, 1.5, 5) if "@" in stem else np.linspace(0, 1, 5)
                expected = nv.measure_path(evaluator, path, alphas, scope=scope)
                written, saved = table(f"{stem}-{kind}.csv"), nv.load(f"out/{stem}-{kind}.safetensors")
                for column, values in (("alpha", expected.alphas), ("loss", expected.loss), ("loss_diff_se", expected.diff_se)):
                    np.testing.assert_array_equal(written[column], values)
                np.testing.assert_array_equal(written["accuracy"], expected.metrics["accuracy"])
                np.testing.assert_array_equal(saved.loss, expected.loss)
        training = nv.measure_training(evaluator, run)
        np.testing.assert_array_equal(table("training.csv")["loss"], training.loss)
        np.testing.assert_array_equal(table("training.csv")["epoch"], [0, 1, 2, 3])

    def test_the_summary_and_the_movement_say_how_far_each_scope_went(self, here):
        assert main(recorded("--layer", "all", "--path", "linear", "--formats", "csv")) == 0
        run = nv.Run.open("run")
        expected = nv.measure_movement(run, ["first", "still", "Last"], mid=run.mid_index)
        movement, summary = table("movement.csv"), table("summary.csv")
        assert list(movement["scopes"]) == list(summary["scope"]) == ["first", "still", "Last"]
        for column in ("distance", "relative_distance", "arc_length", "rho", "eta"):
            np.testing.assert_array_equal(movement[column], getattr(expected, column))
        np.testing.assert_array_equal(summary["distance"], expected.distance)
        assert list(summary["moved"]) == [True, False, True]
        for _, row in summary.iterrows():
            saved = nv.load(Path("out", row["file"]))
            assert (row["loss_at_0"], row["loss_at_1"]) == (saved.loss[0], saved.loss[-1])
            assert row["lowest_loss"] == saved.loss.min()

    @pytest.mark.slow
    def test_everything_is_the_model_all_layers_their_largest_moved_weight_and_the_overview(self, here):
        assert main(recorded("--everything", "--formats", "csv", "png")) == 0
        run = nv.Run.open("run")
        gap = (run.final["first.weight"] - run.initial["first.weight"]).abs()
        bias = (run.final["first.bias"] - run.initial["first.bias"]).abs()
        row, column = divmod(int(gap.argmax()), 12)
        largest = f"first.weight[{row}, {column}]" if gap.max() > bias.max() else f"first.bias[{int(bias.argmax())}]"
        scopes = list(dict.fromkeys(table("summary.csv")["scope"]))
        assert scopes[:4] == ["model", "first", "still", "Last"]
        assert scopes[4] == largest
        assert len(scopes) == 6  # the layer that stood still has no largest-moved weight
        assert {"layer-overview-linear.png", "layer-overview-quadratic.png", "layer-overview-movement.png"} <= files()
        assert set(table("movement.csv")["scopes"]) >= {"model", "still", "first.weight", "first.bias", "Last.bias"}
        assert {"layers-reinit.png", "layers-rerandomise.csv", "layers-history.png", "layers-summary.csv"} <= files()
        assert {"parameters-model-curves.png", "parameters-model-phases.png", "parameters-summary.csv"} <= files()
        assert len(nv.load("out/parameters-model.safetensors")) == 32

    @pytest.mark.slow
    def test_weights_1_11_and_11_1_are_two_files_with_two_curves(self, here):
        assert main(recorded("--parameter", "first.weight", "1,11", "--parameter", "first.weight", "11,1", "--path", "linear")) == 0
        one, two = table("first.weight@1-11-linear.csv"), table("first.weight@11-1-linear.csv")
        assert not np.array_equal(one["loss"], two["loss"])

    def test_pictures_are_pictures_and_only_the_formats_asked_for_are_written(self, here):
        assert main(recorded("--layer", "first", "--formats", "png", "pdf")) == 0
        assert Path("out/first-paths.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        assert Path("out/first-paths.pdf").read_bytes().startswith(b"%PDF-")
        assert not [name for name in files() if name.endswith(".csv")]
        assert "first-linear.safetensors" in files()
        command = nv.recipe_of("out/first-paths.pdf")["command"]
        assert command == shlex.join(["python", "-m", "nnvis_widgets", *recorded("--layer", "first", "--formats", "png", "pdf")])

    def test_a_layer_that_did_not_move_says_so_in_its_picture_file(self, here, monkeypatch):
        drawn = {}
        monkeypatch.setattr("nnvis_widgets.cli.output.save_figure", lambda figure, path: drawn.setdefault(Path(path).name, figure))
        assert main(recorded("--layer", "still", "--formats", "png")) == 0
        texts = [text.get_text() for text in drawn["still-paths.png"].axes[0].texts]
        assert len(texts) == 1
        assert texts[0].startswith("did not move")

    def test_options_reach_the_measurement(self, here):
        more = ["--alpha", "-0.5", "2", "--samples", "17", "--device", "cpu", "--batchnorm", "final", "--mid", "distance"]
        assert main(recorded(*more, "--path", "quadratic", "--layer", "first.weight")) == 0
        saved = nv.load("out/first.weight-quadratic.safetensors")
        np.testing.assert_allclose(saved.alphas, [-0.5, 0.125, 0.75, 1.375, 2.0])
        assert saved.n == 17
        run = nv.Run.open("run")
        expected = nv.measure_movement(run, ["first.weight"], mid=run.index_by_distance())
        assert saved.rho == pytest.approx(float(expected.rho[0]))
        assert not [name for name in files() if "linear" in name]

    def test_an_evaluator_of_the_users_own_is_used_as_it_is(self, here):
        assert main(recorded("--path", "linear", source="evaluator")) == 0
        assert nv.load("out/model-linear.safetensors").provenance["split"] == "held-out"

    def test_force_writes_into_a_folder_that_holds_files_and_leaves_the_others(self, here):
        Path("out").mkdir()
        Path("out/notes.txt").write_text("mine")
        Path("out/summary.csv").write_text("old")
        assert main(recorded("--force", "--path", "linear")) == 0
        assert Path("out/notes.txt").read_text() == "mine"
        assert len(table("summary.csv")) == 2

    def test_progress_goes_to_stderr_and_one_line_to_stdout(self, here, capsys):
        arguments = [argument for argument in recorded("--path", "linear") if argument != "--quiet"]
        assert main(arguments) == 0
        captured = capsys.readouterr()
        assert "100%" in captured.err
        assert re.fullmatch(r"\d+ files in out, such as .*\n", captured.out)


def layers(*more: str, out: str = "out", source: str = "model_and_data") -> list[str]:
    return ["layers", "--run", "run", "--source", f"subject:{source}", "--out", out, "--quiet", *more]


class TestLayers:
    def test_both_kinds_and_the_map_with_tables_figures_and_a_summary(self, here, capsys):
        assert main(layers("--draws", "2", "--joint", "first", "Last", "--pairs", "--formats", "csv", "png")) == 0
        stems = {"layers-reinit", "layers-rerandomise", "layers-history", "layers-joint", "layers-pairs"}
        assert files() == {f"{stem}.{ending}" for stem in stems for ending in ("safetensors", "csv", "png")} | {"summary.csv"}
        assert capsys.readouterr() == ("", "")
        summary = table("summary.csv")
        assert list(summary["study"]) == ["reinit", "rerandomise", "history", "joint", "pairs"]
        assert summary["not_moved"][0] == 1
        evaluator, run = nv.Evaluator(*importlib.import_module("subject").model_and_data(), device="cpu"), nv.Run.open("run")
        expected = nv.measure_layers(evaluator, run)
        written = table("layers-reinit.csv")
        assert list(written["layer"]) == ["first", "still", "Last"]
        np.testing.assert_array_equal(written["loss_rise"], expected.loss_rise)
        np.testing.assert_array_equal(nv.load("out/layers-reinit.safetensors").low, expected.low)
        joint, pairs = (nv.load(f"out/layers-{name}.safetensors") for name in ("joint", "pairs"))
        assert joint.layers == ["first", "Last"]
        assert (pairs.layers, pairs.n) == (["first", "still", "Last"], joint.n)
        assert len(table("layers-history.csv")) == 3 * len(run)

    def test_options_reach_the_measurement(self, here):
        more = ["--kind", "reinit", "--at", "-2", "--unit", "tensor", "--part", "biases", "--samples", "17"]
        assert main(layers(*more, "--formats", "csv")) == 0
        saved = nv.load("out/layers-reinit.safetensors")
        assert (saved.layers, saved.at, saved.n) == (["first.bias", "still.bias", "Last.bias"], 2, 17)
        assert files() == {"layers-reinit.safetensors", "layers-reinit.csv", "summary.csv"}

    def test_layers_that_nobody_can_draw_are_told_and_the_rest_is_measured(self, here, capsys, monkeypatch):
        monkeypatch.setattr("nnvis_widgets.core.redraw.RESETS", ("no_such_method",))
        assert main(layers("--formats", "csv")) == 0
        assert "no study of draws" in capsys.readouterr().err
        assert not {"layers-rerandomise.csv"} & files()
        assert main(layers("--kind", "rerandomise", out="new")) == 2
        assert "argument --kind: 'rerandomise' cannot draw 'first' anew: a Linear has no" in capsys.readouterr().err
        assert not Path("new").exists()


def weights(*more: str, out: str = "out", source: str = "model_and_data") -> list[str]:
    return ["parameters", "--run", "run", "--source", f"subject:{source}", "--out", out, "--quiet", *more]


class TestParameters:
    def test_scans_of_layers_with_tables_figures_and_a_summary(self, here, capsys):
        more = ["--layer", "first", "--layer", "still.bias", "--count", "3", "--mid", "2"]
        assert main(weights(*more, "--formats", "csv", "png")) == 0
        stems = [f"parameters-{name}" for name in ("first", "still.bias")]
        endings = (".safetensors", ".csv", "-curves.csv", "-curves.png", "-phases.png")
        assert files() == {f"{stem}{ending}" for stem in stems for ending in endings} | {"summary.csv"}
        assert capsys.readouterr() == ("", "")
        summary = table("summary.csv")
        assert list(summary["scope"]) == ["first", "still.bias"]
        evaluator, run = nv.Evaluator(*importlib.import_module("subject").model_and_data(), device="cpu"), nv.Run.open("run")
        expected = nv.measure_parameters(evaluator, run, "first", count=3, mid=2)
        np.testing.assert_array_equal(nv.load("out/parameters-first.safetensors").quadratic, expected.quadratic)
        assert list(table("parameters-first.csv")["pattern"]) == expected.pattern
        assert len(table("parameters-first-curves.csv")) == 3 * 41

    def test_options_reach_the_measurement(self, here):
        more = ["--choose", "random", "--choice-seed", "4", "--count", "2", "--samples", "17", "--layer", "all"]
        assert main(weights(*more, "--formats", "csv")) == 0
        saved = nv.load(Path("out", table("summary.csv")["file"][2]))
        assert (saved.choose, saved.n, len(saved), saved.provenance["selection"]["seed"]) == ("random", 17, 2, 4)
        assert table("summary.csv")["not_moved"].tolist() == [0, 2, 0]


class TestSurface:
    def test_all_planes_that_the_run_allows_with_tables_figures_and_a_summary(self, here, capsys):
        assert main(planes("--formats", "csv", "png")) == 0
        kinds = ("random", "pca", "three-point")
        expected = {f"{kind}-{name}" for kind in kinds for name in ("surface.safetensors", "surface.csv", "trajectory.csv")}
        expected |= {f"{kind}-{name}.png" for kind in kinds for name in ("loss", "accuracy", "loss-3d")}
        assert files() == expected | {"training.safetensors", "training.csv", "summary.csv"}
        assert capsys.readouterr() == ("", "")
        assert list(table("summary.csv")["plane"]) == list(kinds)

    def test_the_numbers_are_those_of_the_library(self, here):
        more = ["--plane", "random", "--plane", "three-point", "--plane-seed", "3", "--normalize", "layer", "--mid", "2"]
        assert main(planes(*more, "--span", "0.5", "--formats", "csv")) == 0
        run, evaluator = nv.Run.open("run"), importlib.import_module("subject").evaluator()
        made = {
            "random": nv.random_plane(run.final, normalize="layer", seed=3),
            "three-point": nv.three_point_plane(run.initial, run[2].state, run.final),
        }
        losses = nv.measure_training(evaluator, run).loss
        summary = table("summary.csv").set_index("plane")
        for kind, plane in made.items():
            expected = nv.measure_surface(evaluator, plane, resolution=5, span=0.5)
            saved, where = nv.load(f"out/{kind}-surface.safetensors"), plane.project(run)
            np.testing.assert_array_equal(saved.loss, expected.loss)
            np.testing.assert_allclose(saved.trajectory, where.xy, rtol=1e-9, atol=1e-15)
            assert saved.plane["digest"] == plane.digest
            located = table(f"{kind}-trajectory.csv")
            np.testing.assert_allclose(located["off_plane"], where.off_plane, rtol=1e-9, atol=1e-6)
            np.testing.assert_array_equal(located["loss"], losses)
            row = summary.loc[kind]
            assert (row["loss_at_center"], row["loss_min"]) == (expected.center_loss, expected.loss.min())
            assert row["off_plane_at_start"] == pytest.approx(where.off_plane[0], rel=1e-9, abs=1e-6)
        assert len(table("random-surface.csv")) == 25

    def test_the_summary_has_the_shares_of_a_principal_plane_beside_those_of_a_random_walk(self, here):
        assert main(planes("--plane", "pca", "--formats", "csv")) == 0
        plane = nv.pca_plane(nv.Run.open("run"))
        row = table("summary.csv").iloc[0]
        assert [row["explained_x"], row["explained_y"]] == pytest.approx(list(plane.explained))
        assert row["random_walk_x"] == pytest.approx(6 / np.pi**2)

    @pytest.mark.slow
    def test_animate_writes_a_film_for_each_plane(self, here):
        assert main(planes("--plane", "pca", "--animate", "gif", "--view", "3d", "--formats", "csv")) == 0
        assert Path("out/pca-training.gif").read_bytes().startswith(b"GIF89a")

    def test_a_run_on_a_line_has_a_random_plane_and_the_others_are_told(self, here, capsys):
        net = importlib.import_module("subject").net()
        with nv.Recorder(net, "line") as recorder:
            for epoch in (1, 2):
                with torch.no_grad():
                    net.first.weight.add_(1.0)
                recorder.record(epoch=epoch)
        arguments = [argument if argument != "run" else "line" for argument in planes("--formats", "csv")]
        assert main(arguments) == 0
        told = capsys.readouterr().err
        assert "no pca plane" in told
        assert "no three-point plane" in told
        assert list(table("summary.csv")["plane"]) == ["random"]
        assert main([*arguments, "--force", "--plane", "pca"]) == 2
        assert "argument --plane: pca" in capsys.readouterr().err

    def test_an_interrupt_keeps_the_planes_that_are_complete(self, here, capsys, monkeypatch):
        original, calls = nv.iter_surface, []

        def interrupted(*arguments, **more):
            results = original(*arguments, **more)
            calls.append(1)
            return results if len(calls) < 3 else stopped(results)

        def stopped(results):
            yield next(results)
            raise KeyboardInterrupt

        monkeypatch.setattr("nnvis_widgets.cli.surface.iter_surface", interrupted)  # the first call is the check before the work
        assert main(planes("--formats", "csv")) == 130
        message = capsys.readouterr().err
        assert "interrupted while measuring the pca plane" in message
        complete = {"training.csv", "training.safetensors", "random-trajectory.csv", "random-surface.csv"}
        assert files() == complete | {"random-surface.safetensors", "summary.csv", "pca-trajectory.csv"}
        assert all(name in message for name in files())

    @pytest.mark.skipif(not hasattr(nv, "hessian_plane"), reason="planes of curvature are not there yet")
    def test_a_plane_of_curvature_is_measured_when_it_is_asked_for(self, here):
        assert main(planes("--plane", "hessian", "--formats", "csv")) == 0
        assert nv.load("out/hessian-surface.safetensors").fraction == 1.0

    @pytest.mark.slow
    def test_the_demo_is_measured_after_it_was_trained(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
        out = ["--out", str(tmp_path / "out"), "--quiet", "--no-cuda", "--formats", "csv"]
        assert main(["surface", "--demo", "digits", "--epochs", "1", "--samples", "90", "--resolution", "3", *out]) == 0
        surface = nv.load(tmp_path / "out/random-surface.safetensors")
        assert surface.loss.shape == (3, 3)
        assert len(surface.trajectory) == 2
        assert not (tmp_path / "out/pca-surface.csv").exists()  # needs three checkpoints


REFUSED = {
    "no out": (["run", "--demo", "digits"], ["--out"]),
    "no source of weights": (["run", "--out", "new"], ["--demo", "--run"]),
    "both": (["run", "--demo", "digits", "--run", "run", "--out", "new"], ["--run", "not allowed with", "--demo"]),
    "unknown demo": (["run", "--demo", "cifar", "--out", "new"], ["--demo", "cifar", "digits"]),
    "abbreviation": (["run", "--demo", "digits", "--out", "new", "--every"], ["--every"]),
    "run without source": (["run", "--run", "run", "--out", "new"], ["--source", "MODULE:FUNCTION"]),
    "source with demo": (["run", "--demo", "digits", "--source", "a:b", "--out", "new"], ["--source", "only with --run"]),
    "root with digits": (["run", "--demo", "digits", "--root", "x", "--out", "new"], ["--root", "mnist"]),
    "epochs with run": (recorded("--epochs", "3", out="new"), ["--epochs", "only with --demo"]),
    "epochs 0": (["run", "--demo", "digits", "--epochs", "0", "--out", "new"], ["--epochs", "at least 1", "'0'"]),
    "no such run": (["run", "--run", "none", "--source", "subject:model_and_data", "--out", "new"], ["--run", "none"]),
    "no module": (["run", "--run", "run", "--source", "nowhere:f", "--out", "new"], ["--source", "nowhere"]),
    "no colon": (["run", "--run", "run", "--source", "subject", "--out", "new"], ["--source", "MODULE:FUNCTION", "'subject'"]),
    "no function": (recorded(out="new", source="modle_and_data"), ["--source", "modle_and_data", "model_and_data"]),
    "no callable": (recorded(out="new", source="limit"), ["--source", "limit"]),
    "function raises": (recorded(out="new", source="raises"), ["--source", "KeyError", "no data today"]),
    "function returns nothing": (recorded(out="new", source="nothing"), ["--source", "(model, data)", "NoneType"]),
    "another model": (recorded(out="new", source="other_model"), ["--run", "missing 'weight'"]),
    "data do not fit": (recorded(out="new", source="wrong_shape"), ["--source", "shape"]),
    "evaluator with samples": (recorded("--samples", "3", out="new", source="evaluator"), ["--samples", "Evaluator"]),
    "layer misspelt": (recorded("--layer", "frist", out="new"), ["--layer", "frist", "'first'"]),
    "index out of range": (recorded("--parameter", "first.weight", "12,0", out="new"), ["--parameter", "(12, 0)", "(11, 11)"]),
    "index no number": (recorded("--parameter", "first.weight", "1,x", out="new"), ["--parameter", "0,0,1,2", "'1,x'"]),
    "index of a layer": (recorded("--parameter", "first", "1", out="new"), ["--parameter", "first.weight"]),
    "alpha nan": (recorded("--alpha", "0", "nan", out="new"), ["--alpha", "finite", "'nan'"]),
    "alpha reversed": (recorded("--alpha", "1", "0", out="new"), ["--alpha", "LOW below HIGH", "1 0"]),
    "points 1": (["run", "--demo", "digits", "--out", "new", "--points", "1"], ["--points", "at least 2", "'1'"]),
    "samples more than there are": (recorded("--samples", "31", out="new"), ["--samples", "30", "31"]),
    "demo samples": (["run", "--demo", "digits", "--samples", "451", "--out", "new"], ["--samples", "450", "451"]),
    "demo layer": (["run", "--demo", "digits", "--layer", "conv9", "--out", "new"], ["--layer", "conv9", "'conv1'"]),
    "demo epochs and path": (["run", "--demo", "digits", "--epochs", "1", "--out", "new"], ["--path", "--path linear works"]),
    "mid out of range": (recorded("--mid", "3", out="new"), ["--mid", "from 1 to 2", "'3'"]),
    "mid unknown": (recorded("--mid", "third", out="new"), ["--mid", "half, distance", "'third'"]),
    "batchnorm": (recorded("--batchnorm", "train", out="new"), ["--batchnorm", "'train'", "recalibrate"]),
    "device": (recorded("--device", "tpu9", out="new"), ["--device", "cpu", "tpu9"]),
    "no-cuda and cuda": (recorded("--no-cuda", "--device", "cuda", out="new"), ["--no-cuda", "--device cuda"]),
    "format": (recorded("--formats", "gif", out="new"), ["--formats", "'gif'", "png"]),
    "layers: unknown kind": (layers("--kind", "reset", out="new"), ["--kind", "'reset'", "rerandomise"]),
    "layers: at out of range": (layers("--at", "4", out="new"), ["--at", "from 0 to 3", "4"]),
    "layers: at of no checkpoint": (layers("--kind", "history", "--at", "1", out="new"), ["--at", "--kind reinit"]),
    "layers: draws of no draw": (layers("--kind", "reinit", "--draws", "3", out="new"), ["--draws", "--kind rerandomise"]),
    "layers: unknown unit": (layers("--unit", "filter", out="new"), ["--unit", "'filter'", "block"]),
    "layers: one of a pair": (layers("--pairs", "first", out="new"), ["--pairs", "2 to 16", "first"]),
    "layers: unknown joint": (layers("--joint", "frist", out="new"), ["--joint", "'first'"]),
    "layers: demo at": (["layers", "--demo", "digits", "--epochs", "2", "--at", "3", "--out", "new"], ["--at", "from 0 to 2", "3"]),
    "layers: demo joint": (["layers", "--demo", "digits", "--joint", "fc4", "--out", "new"], ["--joint", "'fc3'"]),
    "parameters: unknown layer": (weights("--layer", "frist", out="new"), ["--layer", "'frist'", "'first'"]),
    "parameters: count 0": (weights("--count", "0", out="new"), ["--count", "at least 1", "'0'"]),
    "parameters: mid": (weights("--mid", "3", out="new"), ["--mid", "from 1 to 2", "'3'"]),
    "parameters: unknown choice": (weights("--choose", "largest", out="new"), ["--choose", "'largest'", "distance"]),
    "parameters: demo layer": (["parameters", "--demo", "digits", "--layer", "fc9", "--out", "new"], ["--layer", "'fc1'"]),
    "surface: unknown plane": (planes("--plane", "tsne", out="new"), ["--plane", "'tsne'", "three-point"]),
    "surface: resolution 2": (planes("--resolution", "2", out="new"), ["--resolution", "at least 3", "'2'"]),
    "surface: span 0": (planes("--span", "0", out="new"), ["--span", "positive", "'0'"]),
    "surface: seed of no random plane": (planes("--plane", "pca", "--plane-seed", "1", out="new"), ["--plane-seed", "random"]),
    "surface: normalised pca": (planes("--plane", "pca", "--normalize", "layer", out="new"), ["--normalize", "--plane random"]),
    "surface: mid of a random plane": (planes("--plane", "random", "--mid", "1", out="new"), ["--mid", "three-point"]),
    "surface: mid out of range": (planes("--mid", "3", out="new"), ["--mid", "from 1 to 2", "'3'"]),
    "surface: view of no film": (planes("--view", "3d", out="new"), ["--view", "--animate"]),
    "surface: batchnorm": (planes("--batchnorm", "train", out="new"), ["--batchnorm", "'train'"]),
    "surface: samples": (planes("--samples", "31", out="new"), ["--samples", "30", "31"]),
    "surface: demo too short": (
        ["surface", "--demo", "digits", "--epochs", "1", "--plane", "pca", "--out", "new"],
        ["--plane", "3 checkpoints", "--plane random works"],
    ),
    "surface: epochs with run": (planes("--epochs", "3", out="new"), ["--epochs", "only with --demo"]),
}  # fmt: skip


class TestRefusals:
    @pytest.mark.parametrize("case", REFUSED)
    def test_bad_input_is_refused_before_the_work_naming_the_argument_and_what_works(self, here, capsys, monkeypatch, case):
        def train(*_, **__):
            raise AssertionError("work was started")

        monkeypatch.setattr("nnvis_widgets.cli.sources.load_demo", train)
        monkeypatch.setattr("nnvis_widgets.cli.run.iter_training", train)
        monkeypatch.setattr("nnvis_widgets.cli.surface.iter_training", train)
        arguments, told = REFUSED[case]
        assert main(arguments) == 2
        message = capsys.readouterr().err
        assert all(part in message for part in told), message
        assert not Path("new").exists()

    def test_a_folder_that_holds_files_and_a_file_in_place_of_a_folder_are_refused(self, here, capsys):
        Path("full").mkdir()
        Path("full/thesis.tex").write_text("mine")
        assert main(recorded(out="full")) == 2
        assert main(recorded(out="subject.py")) == 2
        message = capsys.readouterr().err
        assert all(part in message for part in ("--out", "thesis.tex", "--force", "subject.py"))
        assert files("full") == {"thesis.tex"}

    def test_a_root_without_the_images_is_refused_where_they_cannot_be_downloaded(self, here, capsys, monkeypatch):
        def offline(*_, **__):
            raise OSError("Temporary failure in name resolution")

        monkeypatch.setattr("socket.getaddrinfo", offline)
        monkeypatch.setenv("XDG_CACHE_HOME", str(here / "cache"))
        assert main(["run", "--demo", "mnist", "--root", "elsewhere", "--out", "new", "--quiet"]) == 2
        message = capsys.readouterr().err
        assert all(part in message for part in ("--root", "elsewhere", "MNIST/raw", "digits"))
        assert not Path("new").exists()

    def test_a_run_of_two_checkpoints_has_no_quadratic_path_but_a_linear_one(self, here, capsys):
        subject = importlib.import_module("subject")
        with nv.Recorder(subject.net(), "short") as recorder:
            recorder.record(epoch=1)
        arguments = [argument if argument != "run" or i == 0 else "short" for i, argument in enumerate(recorded())]
        assert main(arguments) == 2
        assert "--path linear works" in capsys.readouterr().err
        assert main([*arguments, "--path", "linear"]) == 0

    def test_the_choices_of_the_options_are_those_of_the_library(self):
        from nnvis_widgets import demo
        from nnvis_widgets.core import batchnorm, directions
        from nnvis_widgets.export.animation import ENDINGS

        assert inspect.signature(demo.load_demo).parameters["epochs"].default == cli_groups.EPOCHS
        assert cli_groups.DEMOS == demo.DATASETS
        assert cli_groups.OPTIMIZERS == demo.OPTIMIZERS
        assert cli_groups.SCHEDULES == demo.SCHEDULES
        assert cli_groups.BATCHNORM == batchnorm.POLICIES
        assert tuple(name or "none" for name in directions.NORMALIZATIONS) == cli_groups.NORMALIZATIONS
        assert tuple(f".{film}" for film in cli_groups.FILMS) == ENDINGS

    def test_no_command_is_refused_and_help_and_version_are_answered(self, capsys):
        assert main([]) == 2
        assert main(["--version"]) == 0
        assert capsys.readouterr().out == f"nnvis_widgets {nv.__version__}\n"
        assert main(["run", "--help"]) == 0
        assert "--everything" in capsys.readouterr().out


class TestEndings:
    def test_work_that_fails_ends_with_1_and_names_what_is_complete(self, here, capsys):
        assert main(recorded(source="breaks")) == 1
        message = capsys.readouterr().err
        assert "the disk of the user's loss is full" in message
        complete = re.search(r"complete in out: (.*)", message)[1].split(", ")
        assert set(complete) == files() >= {"training.csv", "training.safetensors"}
        assert nv.load("out/training.safetensors").fraction == 1.0

    def test_an_interrupt_between_two_points_keeps_what_was_complete(self, here, capsys, monkeypatch):
        original = nv.iter_path

        def interrupted(evaluator, path, *arguments, **more):
            results = original(evaluator, path, *arguments, **more)
            if path.kind == "linear":
                yield from results
            else:
                yield next(results)
                raise KeyboardInterrupt

        monkeypatch.setattr("nnvis_widgets.cli.run.iter_path", interrupted)
        monkeypatch.setattr("nnvis_widgets.cli.run._check_states", lambda *_: None)
        assert main(recorded("--layer", "first")) == 130
        message = capsys.readouterr().err
        assert "interrupted while measuring the quadratic path of first" in message
        assert files() == {"first-linear.csv", "first-linear.safetensors", "summary.csv"}
        assert all(name in message for name in files())

    @pytest.mark.slow
    @pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to one process")
    def test_ctrl_c_in_a_real_process_ends_with_130_and_whole_files(self, here):
        command = [sys.executable, "-m", "nnvis_widgets", *recorded("--layer", "all", "--points", "40", source="slow")]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=here)
        deadline = time.monotonic() + 60
        while not Path("out/first-linear.csv").exists() and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, message = process.communicate(timeout=30)
        assert process.returncode == 130, message
        assert all(name in message for name in files())
        assert len(table("first-linear.csv")) == 40
        assert not [name for name in files() if name.endswith(".part")]

    @pytest.mark.slow
    def test_the_demo_from_a_shell_imports_no_widget_package_and_leaves_pyplot_alone(self, tmp_path):
        script = (
            "import sys; from nnvis_widgets.__main__ import main; code = main(sys.argv[1:]); "
            "print([m for m in ('ipywidgets', 'bqplot', 'ipyvolume', 'matplotlib.pyplot') if m in sys.modules]); sys.exit(code)"
        )
        more = ["--epochs", "1", "--path", "linear", "--layer", "fc3", "--points", "3", "--no-cuda", "--out", str(tmp_path / "out")]
        environment = {
            **os.environ,
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "LOCALAPPDATA": str(tmp_path / "cache"),
        }
        for start in ([sys.executable, "-m", "nnvis_widgets"], [sys.executable, "-c", script]):
            done = subprocess.run(
                [*start, "run", "--demo", "digits", *more, "--force"], env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "[]"
        written = pandas.read_csv(tmp_path / "out/fc3-linear.csv")
        assert list(written["alpha"]) == [0.0, 0.5, 1.0]
        assert list(written["n"]) == [450] * 3


class TestNotebook:
    def test_notebooks_are_copied_and_a_changed_copy_is_kept(self, tmp_path, capsys):
        source, folder = tmp_path / "source", tmp_path / "mine"
        source.mkdir()
        for name in ("01_a.ipynb", "02_b.ipynb"):
            (source / name).write_text(f"packaged {name}")
        (source / "helper.txt").write_text("no notebook")
        assert copy_notebooks(source, folder) == ["01_a.ipynb", "02_b.ipynb"]
        (folder / "01_a.ipynb").write_text("my own words")
        assert copy_notebooks(source, folder) == ["01_a.ipynb", "02_b.ipynb"]
        assert (folder / "01_a.ipynb").read_text() == "my own words"
        assert (folder / "02_b.ipynb").read_text() == "packaged 02_b.ipynb"
        assert {path.name for path in folder.iterdir()} == {"01_a.ipynb", "02_b.ipynb"}
        told = capsys.readouterr().err
        assert "01_a.ipynb" in told
        assert "02_b.ipynb" not in told

    def test_they_are_found_in_a_wheel_before_a_checkout(self, tmp_path):
        package = tmp_path / "site" / "nnvis_widgets"
        beside, inside = tmp_path / "site" / "notebooks", package / "notebooks"
        for place in (inside, beside):
            place.mkdir(parents=True)
        (beside / "01.ipynb").write_text("")
        assert notebooks_folder(package) == beside
        (inside / "01.ipynb").write_text("")
        assert notebooks_folder(package) == inside

    def test_jupyterlab_is_started_on_the_folder(self, tmp_path, monkeypatch):
        monkeypatch.setattr("nnvis_widgets.cli.notebook.notebooks_folder", lambda: tmp_path / "source")
        (tmp_path / "source").mkdir()
        (tmp_path / "source" / "01_paths.ipynb").write_text("{}")
        started = []
        monkeypatch.setattr("nnvis_widgets.cli.notebook._serve", lambda command: started.append(command) or 0)
        assert main(["notebook", "--folder", str(tmp_path / "mine"), "--port", "8901", "--no-browser"]) == 0
        (command,) = started
        assert command[:3] == [sys.executable, "-m", "jupyterlab"]
        assert {f"--ServerApp.root_dir={tmp_path / 'mine'}", "--ServerApp.port=8901", "--no-browser"} <= set(command)
        assert any(part.endswith("/lab/tree/01_paths.ipynb") for part in command)
        assert (tmp_path / "mine" / "01_paths.ipynb").read_text() == "{}"

    def test_an_interrupt_is_left_to_the_server_and_its_exit_code_is_handed_on(self, monkeypatch):
        answers = [KeyboardInterrupt(), 3]

        class Server:
            def __init__(self, command):
                pass

            def wait(self):
                answer = answers.pop(0)
                if isinstance(answer, BaseException):
                    raise answer
                return answer

        monkeypatch.setattr("nnvis_widgets.cli.notebook.subprocess.Popen", Server)
        assert _serve(["jupyter"]) == 3
        assert answers == []

    def test_root_is_allowed_where_there_is_nobody_else(self, tmp_path, monkeypatch):
        for user, expected in ((0, True), (1000, False)):
            monkeypatch.setattr("nnvis_widgets.cli.notebook.os.geteuid", lambda user=user: user, raising=False)
            assert ("--allow-root" in server_command(tmp_path, "01.ipynb")) is expected

    def test_without_jupyterlab_the_message_says_how_to_install_it(self, monkeypatch, capsys):
        monkeypatch.setattr("nnvis_widgets.cli.notebook.importlib.util.find_spec", lambda name: None)
        assert main(["notebook"]) == 1
        assert "pip install 'nnvis_widgets[lab]'" in capsys.readouterr().err

    @pytest.mark.parametrize("port", ["0", "65536", "http"])
    def test_a_port_out_of_range_is_refused(self, port, capsys):
        assert main(["notebook", "--port", port]) == 2
        assert "--port: a whole number from 1 to 65535" in capsys.readouterr().err

    def test_a_folder_that_is_a_file_is_refused(self, tmp_path, monkeypatch, capsys):
        (tmp_path / "source").mkdir()
        (tmp_path / "source" / "01.ipynb").write_text("{}")
        (tmp_path / "file").write_text("mine")
        monkeypatch.setattr("nnvis_widgets.cli.notebook.notebooks_folder", lambda: tmp_path / "source")
        assert main(["notebook", "--folder", str(tmp_path / "file")]) == 2
        assert "--folder" in capsys.readouterr().err
