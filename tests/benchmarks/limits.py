"""What the machine could do: the forward pass alone at its best setting, and arithmetic at the measured matrix-product rate.

`python -m benchmarks.limits file [quick]` prints one line of JSON; a process of its own, so that compiling leaves no trace.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from itertools import product

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.problem import Problem

SIZE = 1024  # of the square matrices whose product gives the rate


def best(work: Callable[[], object], repeats: int = 5) -> float:
    """Return the shortest time of some repeats, after one that is not counted."""
    work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def matmul_rate() -> float:
    """Return float32 operations a second in a product of two 1024 x 1024 matrices."""
    a, b = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
    return 2 * SIZE**3 / best(lambda: a @ b, 20)


def forwards(problem: Problem, batches: tuple[int, ...], compiled: tuple[bool, ...], repeats: int = 3) -> dict[str, float]:
    """Return seconds of one forward pass over all samples, by setting; settings that cannot be had are left out."""
    found = {}
    for compiling, layout, batch in product(compiled, ("contiguous", "channels_last"), batches):
        memory = getattr(torch, f"{layout}_format" if layout == "contiguous" else layout)
        parts = [part.contiguous(memory_format=memory) for part in problem.images.split(batch)]
        model = problem.model().to(memory_format=memory)
        forward = torch.compile(model, dynamic=False) if compiling else model
        words = f"{'compiled' if compiling else 'eager'}, {layout}, batch {batch}"
        try:
            with torch.inference_mode():
                found[words] = best(lambda f=forward, p=parts: [f(x) for x in p], repeats)
        except Exception as error:  # no compiler: the eager settings still say something
            print(f"{words}: {type(error).__name__}", file=sys.stderr)
    return found


def flops(problem: Problem) -> dict[str, float]:
    """Return operations of one forward pass over all samples, by leaf module in the order of use; "model" is their sum."""
    model, count = problem.model(), 1
    order: list[str] = []
    for name, module in model.named_modules():
        if name and not list(module.children()):
            module.register_forward_hook(lambda *_, name=name: order.append(name) or None)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(problem.images[:count])
    counts = {key.split(".", 1)[1]: sum(ops.values()) for key, ops in counter.get_flop_counts().items() if "." in key}
    scale = len(problem.images) / count
    return {**{name: counts.get(name, 0) * scale for name in order}, "model": counter.get_total_flops() * scale}


def arithmetic(counts: dict[str, float], kind: str, scope: str | None, points: int) -> float:
    """Return the operations that a task cannot avoid, as far as we know how to share them.

    The part before the first layer that moves is computed once; that layer is affine in the coefficients and computed once for
    each anchor; what follows it is computed at every point. One weight changes one number of its layer: computed once.
    """
    layers = [name for name in counts if name != "model"]
    first = layers[0] if scope is None else scope.removesuffix(".weight")
    at = layers.index(first)
    anchors = {"surface": 3, "weight": 1}.get(kind, 2)
    before, after = sum(counts[n] for n in layers[:at]), sum(counts[n] for n in layers[at + 1 :])
    return before + anchors * counts[first] + points * after


def main(path: str, quick: bool) -> dict[str, object]:
    """Return every limit of a problem."""
    problem = Problem.load(path)
    batches = (100, 250) if quick else (50, 100, 250, 500, 1000)
    return {
        "rate": matmul_rate(),
        "forwards": forwards(problem, batches, (False, True), 2 if quick else 5),
        "flops": flops(problem),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], "quick" in sys.argv[2:])))
