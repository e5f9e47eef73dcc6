"""Switches of the whole process, set for as long as any thread asks for it.

May import: torch. They are torch's choice of kernels: a thread that put them back while another one computes would leave that one
with rounded products, or with an operation that cannot be differentiated twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


class _Switch:
    """A context that the first thread enters and the last one leaves."""

    def __init__(self, make: Callable[[], AbstractContextManager]):
        self._make, self._lock, self._inside, self._flags = make, threading.Lock(), 0, ExitStack()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if not self._inside:
                self._flags.enter_context(self._make())
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    self._flags.close()


@contextmanager
def _exact_kernels() -> Iterator[None]:
    matmul = torch.backends.cuda.matmul
    # the older interface refuses to answer once the newer one has been used: it is only for a torch that has no other
    switch, full = ("fp32_precision", "ieee") if hasattr(matmul, "fp32_precision") else ("allow_tf32", False)
    before = getattr(matmul, switch)
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        setattr(matmul, switch, full)
        try:
            yield
        finally:
            setattr(matmul, switch, before)


# no TF32, whatever the user's training allows, and repeatable kernels
exact_kernels = _Switch(_exact_kernels)
# attention as products and a softmax: the fused kernels have no second derivative
plain_attention = _Switch(lambda: sdpa_kernel(SDPBackend.MATH))
