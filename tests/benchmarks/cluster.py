"""How much faster two workers of a dask cluster are than one, on the same job: paths of a LeNet on images.

Run it on a machine that has nothing else to do: ``python tests/benchmarks/cluster.py``. Each worker is a process with one thread.
The goal is at least 1.7; the numbers of both are compared bit for bit with those of one process without a cluster. On a busy
machine only the seconds of CPU mean something: those of the busiest worker are what a quiet machine would need at least.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np
import torch
from torch import nn

import nnvis_widgets as nv
from nnvis_widgets.core.cluster import ROOMY


def lenet() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
        )


def job(samples: int):
    """Return a model, data and a path: random weights and noise take as long as any."""
    model = lenet()
    rng = torch.Generator().manual_seed(1)
    data = torch.randn(samples, 1, 28, 28, generator=rng), torch.randint(0, 10, (samples,), generator=rng)
    start = {name: tensor + 0.1 * torch.randn(tensor.shape, generator=rng) for name, tensor in model.state_dict().items()}
    return model, data, nv.LinearPath(start, model.state_dict())


def seconds(executor, model, data, path, points: int, repeats: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the best times of a path, once the workers have what they need, and its loss.

    Times are those of the clock, of the busiest worker's CPU, and of this process's CPU.
    """
    evaluator = nv.Evaluator(model, data, device="cpu", executor=executor)
    nv.measure_path(evaluator, path, [0.0, 1.0])

    def clocks():
        there = executor.run(time.process_time) if executor is not None else {"": time.process_time()}
        return np.array([time.perf_counter(), time.process_time()]), there

    times = []
    for _ in range(repeats):
        (began, here), before = clocks()
        loss = nv.measure_path(evaluator, path, np.linspace(0, 1, points)).loss
        (ended, later), after = clocks()
        times.append((ended - began, max(after[name] - before[name] for name in before), later - here))
    return np.array(times).min(0), loss


def said(times: np.ndarray) -> str:
    return f"{times[0]:.2f} s (CPU: busiest worker {times[1]:.2f} s, this process {times[2]:.2f} s)"


def main() -> None:
    import dask
    from distributed import Client, LocalCluster

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1500)
    parser.add_argument("--points", type=int, default=61)
    parser.add_argument("--repeats", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(1)
    what = job(given.samples)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, torch {torch.__version__}")
    took, loss = seconds(None, *what, given.points, given.repeats)
    print(f"this process: {said(took)} for {given.points} points on {given.samples} samples")
    dask.config.set({"distributed.nanny.pre-spawn-environ": {**ROOMY, "OMP_NUM_THREADS": 1}})
    best = {}
    for workers in (1, 2):
        cluster = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
        with cluster, Client(cluster) as client:
            best[workers], there = seconds(client, *what, given.points, given.repeats)
        same = "the same bits" if np.array_equal(there, loss) else f"other bits, by at most {np.abs(there - loss).max():.1e}"
        print(f"{workers} worker{'s' * (workers > 1)}: {said(best[workers])}, {same}")
    ratio = best[1] / best[2]
    print(f"two workers against one: {ratio[0]:.2f} by the clock, {ratio[1]:.2f} by the CPU; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
