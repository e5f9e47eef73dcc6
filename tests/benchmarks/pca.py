"""How long `pca_plane` takes and how much memory it needs, beside what cannot be avoided: two readings and one Gram product.

    python tests/benchmarks/pca.py [--checkpoints 200] [--folder FOLDER]

A ResNet-18 for 10 classes (11 million parameters in float32) is recorded as a random walk into a temporary folder (9 GB for
200 checkpoints), which is removed afterwards. Each measurement is made in a process of its own, in turn: the unavoidable part,
the plane, the unavoidable part again, with the files in the page cache and then with the files dropped from it. On a machine
that is busy with other things the seconds of the processor say more than those of the clock, with OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import nnvis_widgets as nv


def record(folder: Path, checkpoints: int, classes: int = 10) -> int:
    """Write a run and return the number of parameters."""
    from torchvision.models import resnet18

    model = resnet18(num_classes=classes)
    generator = torch.Generator().manual_seed(0)
    with nv.Recorder(model, folder) as recorder, torch.no_grad():
        for epoch in range(1, checkpoints):
            for parameter in model.parameters():
                parameter.add_(torch.empty_like(parameter).normal_(0, 1e-3, generator=generator))
            recorder.record(epoch=epoch)
    return sum(parameter.numel() for parameter in model.parameters())


def now() -> np.ndarray:
    """Return the seconds of the clock and of the processor."""
    return np.array([time.perf_counter(), time.process_time()])


def status(field: str) -> float:
    """Return a field of /proc/self/status in MB."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field)]
    return int(line.split()[1]) / 1024


def unavoidable(files: list[Path], parameters: int, drop: bool) -> dict[str, Any]:
    """Read the files twice into one buffer, and multiply a matrix of the run's size with itself, in blocks."""
    buffer = memoryview(bytearray(max(file.stat().st_size for file in files)))
    reading = np.zeros(2)
    for _ in range(2):
        forget(files, drop)
        start = now()
        for file in files:
            with open(file, "rb", buffering=0) as stream:
                while stream.readinto(buffer):
                    pass
        reading += now() - start
    answer = {"reading": reading.tolist()}
    width = 65536
    for dtype in (np.float32, np.float64):
        block = np.random.default_rng(0).normal(size=(len(files), width)).astype(dtype)
        gram = np.zeros((len(files), len(files)))
        # without numpy's trick of computing half of a symmetric product
        other = block.copy()
        gram += block @ other.T
        start = now()
        for _ in range(-(-parameters // width)):
            gram += block @ other.T
        answer[f"gram {np.dtype(dtype).name}"] = (now() - start).tolist()
    return answer


def plane(files: list[Path], drop: bool) -> dict[str, Any]:
    """Make the plane; return the time and the memory above that before."""
    run = nv.Run.open(files[0].parent)
    make = nv.pca_plane  # imports what it needs, before the memory is looked at
    np.eye(200) @ np.eye(200)
    forget(files, drop)
    base = status("VmRSS")
    start = now()
    made = make(run)
    seconds = (now() - start).tolist()
    return {
        "pca_plane": seconds,
        "base MB": base,
        "peak MB above base": status("VmHWM") - base,
        "explained": float(made.explained.sum()),
    }


def forget(files: list[Path], drop: bool) -> None:
    """Drop the files from the page cache."""
    for file in files if drop else ():
        descriptor = os.open(file, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def main() -> None:
    """Print the times, their ratio and the memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=int, default=200)
    parser.add_argument("--folder", type=Path, help="of a run from an earlier call, or where to leave one")
    parser.add_argument("--part", choices=["unavoidable", "plane"], help=argparse.SUPPRESS)
    parser.add_argument("--parameters", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--drop", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    files = sorted(options.folder.glob("*.safetensors")) if options.folder else []
    if options.part:
        answer = plane(files, options.drop) if options.part == "plane" else unavoidable(files, options.parameters, options.drop)
        print(json.dumps(answer))
        return
    folder = options.folder or Path(tempfile.mkdtemp()) / "run"
    try:
        if not files:
            record(folder, options.checkpoints)
            files = sorted(folder.glob("*.safetensors"))
        run = nv.Run.open(folder)
        parameters = run.layout.count()
        size = sum(file.stat().st_size for file in files) / 1e9
        print(f"{len(run)} checkpoints of {parameters:,} parameters, {size:.1f} GB, {torch.get_num_threads()} threads")
        command = [sys.executable, __file__, "--folder", str(folder), "--parameters", str(parameters)]
        for drop in (False, True):
            found = []
            for part in ("unavoidable", "plane", "unavoidable"):
                line = [*command, "--part", part, *(["--drop"] if drop else [])]
                found.append(json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout))
            print("files", "dropped from" if drop else "in", "the page cache:")
            for entry in found:
                print("  ", ", ".join(f"{name} {np.round(value, 2)}" for name, value in entry.items()))
            for kind in ("float32", "float64"):
                base = np.mean([np.add(found[k]["reading"], found[k][f"gram {kind}"]) for k in (0, 2)], axis=0)
                clock, processor = found[1]["pca_plane"] / base
                print(f"   over two readings and a product in {kind}: {clock:.2f} by the clock, {processor:.2f} of the processor")
    finally:
        if not options.folder:
            shutil.rmtree(folder.parent)


if __name__ == "__main__":
    main()
