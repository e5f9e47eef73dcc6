"""The process of one peer: `python -m benchmarks.peer_worker name file`, one line of JSON in and out for each measurement.

Each adapter hands the peer our weights and tensors and calls its own interpolation and its own loop over the data. What is left
out favours the peer: plots, imports, and a first point that only warms up. All get the same log-probabilities and `nll_loss`.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.problem import Problem

Rows = list[list[float]]
SPAN = {"layer": (0.0, 1.0), "model": (0.0, 1.0), "weight": (-0.5, 1.5)}
PLANE = (-0.5, 0.5)  # the corners of a square: a plane is measured at 2 x 2 points


class Adapter:
    """What is asked of a peer; `measure` returns seconds in all, losses, and the rows where they were evaluated."""

    default: int | None = None
    kinds: tuple[str, ...] = ("layer", "model", "weight", "surface")
    batches = True
    note = ""

    def __init__(self, problem: Problem):
        self.problem = problem

    def loader(self, batch: int) -> DataLoader:
        return DataLoader(TensorDataset(*self.problem.data), batch_size=batch, shuffle=False)

    def line(self, kind: str, scope: Any, alpha: float) -> dict[str, torch.Tensor]:
        """Return the state at `alpha`, for peers that walk between two given states."""
        return self.problem.state(scope, (1 - alpha, 0.0, alpha), torch.float32)

    def corners(self) -> Rows:
        return [[x, y] for x in PLANE for y in PLANE]

    def measure(self, kind: str, scope: Any, batch: int | None, points: int) -> tuple[float, list[float], Rows, Rows | None]:
        raise NotImplementedError


class NNVis(Adapter):
    """nnvis: its Linear and Quadratic classes, and the loop of its random plane at our directions and coordinates."""

    default = 1000  # data_loader.py
    note = "DataLoader over tensors; its plots are switched off and its result files go to a folder that is thrown away"

    def __init__(self, problem: Problem):
        super().__init__(problem)
        import nnvis

        self.nnvis = nnvis
        logging.getLogger("vis_net").handlers.clear()
        nnvis.plot.plot_metric = lambda *_: None
        home = Path(tempfile.mkdtemp(dir="."))
        nnvis.paths.checkpoints = home / "checkpoints"
        nnvis.paths.checkpoints.mkdir()
        for name, state in zip(("initial", "checkpoints/checkpoint_7", "final"), problem.states, strict=True):
            torch.save(state, home / f"{name}.pt")
        self.home = home

    def measure(self, kind, scope, batch, points):
        paths, results = self.nnvis.paths, Path(tempfile.mkdtemp(dir=self.home))
        # it takes a result file that exists for the answer, so every measurement gets names of its own
        names = ("svloss_path", "svloss_img_path", "sacc_path", "vvloss_path", "vacc_path", "loss_path", "acc_path", "random_dirs")
        for name in names:
            setattr(paths, name, results / name)
        model, device, loader = self.problem.model(), torch.device("cpu"), self.loader(batch)
        if kind == "surface":
            return self._surface(model, device, loader, results)
        alphas = np.linspace(*SPAN[kind], points)
        linear, quadratic = (
            walk(model, device, alphas, self.home / "final.pt", self.home / "initial.pt")
            for walk in (self.nnvis.Linear, self.nnvis.Quadratic)
        )
        rows = [[1 - a, 0.0, a] for a in alphas]
        began = time.perf_counter()
        if kind == "model":
            linear.interpolate_all_linear(loader)
        elif kind == "layer":
            linear.layers_linear(loader, scope)
        else:
            layer, index = scope[0].removesuffix(".weight"), tuple(scope[1])
            linear.individual_param_linear(loader, layer, index)
            quadratic.individual_param_quadratic(loader, layer, index)
            rows += [[2 * (a - 0.5) * (a - 1), -4 * a * (a - 1), 2 * a * (a - 0.5)] for a in alphas]
        seconds = time.perf_counter() - began
        written = [f for f in sorted(results.iterdir(), key=lambda f: (len(f.name), f.name)) if "loss" in f.name]
        losses = np.concatenate([np.loadtxt(f) for f in written if "distance" not in f.name])
        return seconds, losses.tolist(), rows, None

    def _surface(self, model, device, loader, results):
        import h5py

        (results / "random_dirs").mkdir()
        with h5py.File(results / "random_dirs" / "surf.h5", "w") as file:  # it fills a file that is there: our coordinates
            file["xcoordinates"] = file["ycoordinates"] = np.array(PLANE)
            file["loss"] = -np.ones((2, 2))
        directions = [[d[name] for name, _ in model.named_parameters()] for d in self.problem.directions]
        began = time.perf_counter()
        self.nnvis.examine_surface.calc_loss(model, loader, directions, device)
        seconds = time.perf_counter() - began
        with h5py.File(results / "random_dirs" / "surf.h5") as file:
            return seconds, file["loss"][:].ravel().tolist(), [[x, y] for y in PLANE for x in PLANE], None


class LossLandscapes(Adapter):
    """loss-landscapes: linear_interpolation and planar_interpolation between models that we place."""

    note = "its Loss metric takes all data at once; for other batch sizes a Metric of the user's own that loops"

    def __init__(self, problem: Problem):
        super().__init__(problem)
        import loss_landscapes
        import loss_landscapes.metrics

        self.library = loss_landscapes

    def metric(self, batch: int | None) -> Any:
        images, labels = self.problem.data
        if batch is None:
            return self.library.metrics.Loss(F.nll_loss, images, labels)

        class Batches(self.library.metrics.metric.Metric):
            def __call__(self, wrapper):
                parts = zip(images.split(batch), labels.split(batch), strict=True)
                return sum(F.nll_loss(wrapper.forward(x), y, reduction="sum").item() for x, y in parts) / len(labels)

        return Batches()

    def measure(self, kind, scope, batch, points):
        model, metric, state = self.problem.model, self.metric(batch), self.problem.state
        if kind == "surface":
            (low, high), steps = PLANE, 2
            three = [(low, low), (high, low), (low, high)]
            models = [model(state(None, at, torch.float32)) for at in three]
            step = (high - low) / steps
            began = time.perf_counter()
            values = self.library.planar_interpolation(*models, metric, steps=steps)
            seconds = time.perf_counter() - began
            # its second column is filled on the way back, one step lower than the first
            visited = [[low + i * step, low + (j + 1 - i) * step] for i in range(2) for j in range(2)]
            claimed = [[low + i * step, low + j * step] for i in range(2) for j in range(2)]
            return seconds, values.ravel().tolist(), visited, claimed
        low, high = SPAN[kind]
        start, end = (model(self.line(kind, scope, a)) for a in (low, high))
        began = time.perf_counter()
        values = self.library.linear_interpolation(start, end, metric, steps=points)
        seconds = time.perf_counter() - began
        alphas = [low + (high - low) * (k + 1) / points for k in range(points)]  # it never evaluates the start
        return seconds, values.tolist(), [[1 - a, 0.0, a] for a in alphas], None


class LossLandscape3D(Adapter):
    """loss-landscape-3d: calculate_1d_path between two states, calculate on a plane."""

    default = 32  # its README
    note = "DataLoader over tensors"

    def measure(self, kind, scope, batch, points):
        from loss_landscape_3d import LossLandscapeCalculator

        calculator = LossLandscapeCalculator(self.problem.model(), self.loader(batch), F.nll_loss)
        if kind == "surface":
            began = time.perf_counter()
            values = calculator.calculate(PLANE, PLANE, *self.problem.directions, center_state=self.problem.states[-1])
            return time.perf_counter() - began, values.ravel().tolist(), self.corners(), None
        alphas = np.linspace(*SPAN[kind], points)
        ends = [self.line(kind, scope, a) for a in (0.0, 1.0)]
        began = time.perf_counter()
        values = calculator.calculate_1d_path(alphas, *ends)
        return time.perf_counter() - began, values.tolist(), [[1 - a, 0.0, a] for a in alphas], None


class LossLandscapeAnim(Adapter):
    """loss-landscape-anim: the LossGrid of two custom directions around the final weights."""

    kinds = ("surface",)
    batches = False
    note = "surfaces only, all data at once; pytorch_lightning, torchmetrics and importlib_resources are empty stand-ins"

    def __init__(self, problem: Problem):
        super().__init__(problem)
        lightning = types.ModuleType("pytorch_lightning")
        lightning.LightningModule, lightning.LightningDataModule = torch.nn.Module, object
        metrics = types.ModuleType("torchmetrics")
        metrics.Accuracy = lambda **_: None
        resources = types.ModuleType("importlib_resources")
        sys.modules.update(pytorch_lightning=lightning, torchmetrics=metrics, importlib_resources=resources)
        from loss_landscape_anim import GenericModel, LossGrid

        class Net(GenericModel):
            def __init__(self, model):
                super().__init__("sgd", 0.1)
                self.net, self.loss_fn = model, F.nll_loss

            def forward(self, x):
                return self.net(x)

        self.net, self.grid = Net(problem.model()), LossGrid

    def measure(self, kind, scope, batch, points):
        names = [name for name, _ in self.problem.model().named_parameters()]
        flat = [torch.cat([d[name].flatten() for name in names]).numpy() for d in self.problem.directions]
        lengths = [float(np.linalg.norm(d)) for d in flat]
        centre = torch.cat([self.problem.states[-1][name].flatten() for name in names])
        # its step is 1.3 times the length of the projected run over the resolution, from the end of the run
        run = np.array([[-0.5 * lengths[0] / 1.3, 0.0], [0.0, 0.0]])
        unit = np.array([d / n for d, n in zip(flat, lengths, strict=True)])
        began = time.perf_counter()
        grid = self.grid([centre, centre], self.net, self.problem.data, run, unit, res=1, tqdm_disable=True, save_grid=False)
        seconds = time.perf_counter() - began
        step = 0.5 * lengths[0]
        rows = [[i * step / lengths[0], j * step / lengths[1]] for i in (-1, 0) for j in (-1, 0)]
        return seconds, grid.loss_values_2d.T.ravel().tolist(), rows, None


ADAPTERS = {
    "nnvis": NNVis,
    "loss-landscapes": LossLandscapes,
    "loss-landscape-3d": LossLandscape3D,
    "loss-landscape-anim": LossLandscapeAnim,
}


def serve(name: str, path: str) -> None:
    """Answer requests until the input ends; what the peer itself prints goes nowhere."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    def reply(answer: dict[str, Any]) -> None:
        replies.write(json.dumps(answer) + "\n")
        replies.flush()

    adapter = ADAPTERS[name](Problem.load(path))
    reply({"default": adapter.default, "kinds": adapter.kinds, "batches": adapter.batches, "note": adapter.note})
    warm = set()
    for line in sys.stdin:
        ask = json.loads(line)
        try:
            scope = (ask["scope"][0], tuple(ask["scope"][1])) if isinstance(ask["scope"], list) else ask["scope"]
            if (ask["kind"], ask["batch"]) not in warm:
                adapter.measure(ask["kind"], scope, ask["batch"], 2)
                warm.add((ask["kind"], ask["batch"]))
            seconds, losses, rows, claimed = adapter.measure(ask["kind"], scope, ask["batch"], ask["points"])
            answer = {"seconds": seconds / len(losses), "losses": losses, "rows": rows, "claimed": claimed}
        except Exception as error:  # whatever a peer raises is an answer, and the others go on
            answer = {"error": f"{type(error).__name__}: {error}"}
        reply(answer)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2])
