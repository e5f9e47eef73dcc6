"""Full float32 precision on CUDA, for as long as any thread asks for it.

May import: torch. The flags of cuDNN belong to the whole process: a thread that put them back while another one computes would
leave that one with rounded products.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

_lock = threading.Lock()
_inside = 0
_flags = ExitStack()


@contextmanager
def exact_kernels() -> Iterator[None]:
    """No TF32, and repeatable kernels; the user's flags are back when the last thread leaves."""
    global _inside
    with _lock:
        if not _inside:
            _flags.enter_context(torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False))
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _flags.close()
