"""How a batch goes through a model: the user's forward function, or the usual one, and what is taken as the output.

May import: torch, core.data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from .data import DataError

Forward = Callable[[nn.Module, Any], tuple[Any, Any]]


class Caller(nn.Module):
    """Lets `functional_call` put weights in while the user's own function calls the model."""

    def __init__(self, model: nn.Module, forward: Forward):
        super().__init__()
        self.model = model
        self._forward = forward
        self.output_is = ""

    def forward(self, batch: Any) -> tuple[Any, Any]:
        """Return outputs and targets of a batch."""
        answer = self._forward(self.model, batch)
        if not (isinstance(answer, tuple) and len(answer) == 2):
            raise TypeError(f"forward: must return (output, target), received {type(answer).__name__}")
        output = _tensor(answer[0])
        several = isinstance(output, (tuple, list)) and len(output) > 1 and isinstance(output[0], Tensor)
        # one's own forward function has said what the output is
        several = several and self._forward is default_forward
        if not self.output_is:  # once, in the first pass: a compiled one must not write
            self.output_is = f"the first of {len(output)}" if several else "all"
        return output[0] if several else output, answer[1]


def default_forward(model: nn.Module, batch: Any) -> tuple[Any, Any]:
    """Return ``model(batch[0]), batch[1]``."""
    if not isinstance(batch, (tuple, list)) or len(batch) < 2:
        raise DataError(
            f"data: a batch is expected to be (inputs, targets), received {type(batch).__name__}. Say how to use it with "
            "forward=lambda model, batch: (model(batch['image']), batch['label'])"
        )
    return model(batch[0]), batch[1]


def _tensor(output: Any) -> Any:
    """Unpack the usual containers of a single output: `.logits`, ['logits'], a one-element tuple."""
    if isinstance(output, Tensor):
        return output
    if isinstance(getattr(output, "logits", None), Tensor):
        return output.logits
    if isinstance(output, Mapping) and isinstance(output.get("logits"), Tensor):
        return output["logits"]
    if isinstance(output, (tuple, list)) and len(output) == 1:
        return _tensor(output[0])
    return output
