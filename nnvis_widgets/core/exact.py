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


# no TF32, and repeatable kernels
exact_kernels = _Switch(lambda: torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False))
# attention as products and a softmax: the fused kernels have no second derivative
plain_attention = _Switch(lambda: sdpa_kernel(SDPBackend.MATH))
