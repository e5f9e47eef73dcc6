"""``python -m nnvis_widgets preliminary``: what it writes, what it keeps, and what it refuses before anything is trained."""

import importlib
import sys

import pandas
import pytest

import nnvis_widgets as nv
from nnvis_widgets.__main__ import main

SUBJECT = '''
"""A regression whose training is quick."""
import torch
from torch import nn
import nnvis_widgets as nv

def data(n, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, generator=generator)
    return x, x @ torch.tensor([1.0, 2.0, -1.0]) + 0.5 * torch.randn(n, generator=generator)

class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(3))

    def forward(self, x):
        return x @ self.w

def evaluator(n, seed):
    return nv.Evaluator(Line(), data(n, seed), loss=nn.functional.mse_loss, device="cpu", name="validation")

X, Y = data(64, 0)

def train(*, subset, epochs, seed):
    model, generator = Line(), torch.Generator().manual_seed(seed)
    for epoch in range(1, epochs + 1):
        for batch in torch.as_tensor(subset)[torch.randperm(len(subset), generator=generator)].split(8):
            model.zero_grad()
            nn.functional.mse_loss(model(X[batch]), Y[batch]).backward()
            with torch.no_grad():
                model.w -= 0.1 * model.w.grad
        yield epoch, model

def training():
    return {"validation": evaluator(100, 1), "test": evaluator(150, 2)}, train, (X, Y)

def interrupted():
    def stopping(*, subset, epochs, seed):
        if seed == 1:
            raise KeyboardInterrupt
        yield from train(subset=subset, epochs=epochs, seed=seed)
    return evaluator(100, 1), stopping, 64

def pair():
    return evaluator(100, 1), train
'''


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "before.py").write_text(SUBJECT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("before", None)
    yield tmp_path
    sys.modules.pop("before", None)


def command(*more, source="training"):
    return ["preliminary", "--source", f"before:{source}", "--epochs", "3", "--seeds", "2", "--out", "out", *more]


def test_tables_figures_results_and_findings_are_those_of_the_library(here, capsys):
    assert main(command("--formats", "csv", "png", "--halvings", "3")) == 0
    names = {path.name for path in (here / "out").iterdir()}
    stems = ("epochs", "training-size", "test-size", "samples-needed")
    assert names == {f"{stem}.{end}" for stem in stems for end in ("csv", "png", "safetensors")} | {"findings.txt", "trainings"}
    before = importlib.import_module("before")
    evaluators, train, data = before.training()
    study = nv.preliminary_epochs(train, evaluators, data, epochs=3, seeds=2)
    saved = nv.load(here / "out" / "epochs.safetensors")
    assert saved.to_pandas().equals(study.to_pandas())
    assert len(pandas.read_csv(here / "out" / "epochs.csv")) == 2 * 3
    assert nv.load(here / "out" / "training-size.safetensors").sizes.tolist() == [8, 16, 32, 64]
    sized = nv.load(here / "out" / "test-size.safetensors")
    assert (sized.population, sized.repeats) == (150, 100)
    told = capsys.readouterr()
    findings = (here / "out" / "findings.txt").read_text(encoding="utf-8")
    assert findings.strip() in told.out
    assert study.explain()[0] in findings
    for name in ("png", "csv"):
        assert (here / "out" / f"epochs.{name}").stat().st_size > 100


def test_an_interrupt_keeps_finished_trainings_and_force_goes_on_from_there(here, capsys):
    assert main(command("--what", "epochs", source="interrupted")) == 130
    told = capsys.readouterr()
    assert "interrupted while training for epochs" in told.err
    assert "--force goes on" in told.out
    assert len(list((here / "out" / "trainings").iterdir())) == 1


def test_refused_before_anything_is_trained(here, capsys):
    for arguments, words in (
        (command(source="pair"), "returns (evaluator or {split: evaluator}, train, data), received tuple"),
        (command("--train-samples", "50"), "argument --train-samples: only with --demo"),
        (command("--epochs", "0"), "a whole number of at least 1"),
        (["preliminary", "--out", "out"], "one of the arguments --demo --source is required"),
        (["preliminary", "--demo", "digits", "--train-samples", "5000", "--out", "out"], "from 10 to 1047"),
    ):
        assert main(arguments) == 2
        assert words in capsys.readouterr().err
    assert not (here / "out").exists()


def test_figures_are_of_preliminary_experiments_only():
    figure = nv.preliminary_figure(nv.preliminary_test_size([1.0, 2.0, 4.0]))
    assert len(figure.axes) == 1
    assert "No spread is not no error" in "".join(text.get_text() for text in figure.texts).replace("\n   ", " ")
    with pytest.raises(TypeError, match="result: of a preliminary experiment"):
        nv.preliminary_figure(3)
