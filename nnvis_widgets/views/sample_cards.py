"""Samples as cards: a small picture, what it is, what the model says here and what it said before.

May import: numpy and Pillow.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from PIL import Image

_SIDE = 56  # pixels, at least


@dataclass(frozen=True)
class Card:
    """One sample; what is not known is None.

    Attributes
    ----------
    picture : ndarray of uint8, shape (H, W) or (H, W, 3)
    target, predicted, reference : int
        The class, the one that is predicted here, and the one that the trained model predicts.
    probability, reference_probability : float
        Of these predictions.
    loss : float
    """

    picture: np.ndarray | None = None
    target: int | None = None
    predicted: int | None = None
    probability: float | None = None
    reference: int | None = None
    reference_probability: float | None = None
    loss: float | None = None


def as_picture(values: np.ndarray) -> np.ndarray | None:
    """Return a sample as a picture, (H, W) or (H, W, 3) of uint8 over its own range; None for what is no picture.

    Examples
    --------
    >>> as_picture(np.array([[[0.0, 1.0], [2.0, 4.0]]]))
    array([[  0,  63],
           [127, 255]], dtype=uint8)
    >>> as_picture(np.zeros(7)) is None
    True
    """
    values = np.asarray(values)
    if values.ndim == 3 and values.shape[0] in (1, 3):
        values = values[0] if values.shape[0] == 1 else np.moveaxis(values, 0, -1)
    is_picture = values.ndim == 2 or (values.ndim == 3 and values.shape[-1] == 3)
    if not is_picture or min(values.shape[:2]) < 2 or values.dtype.kind not in "fiub":
        return None
    values = values.astype(float)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return (np.clip((np.nan_to_num(values, nan=low) - low) / ((high - low) or 1.0), 0, 1) * 255).astype(np.uint8)


def cards(samples: Sequence[Card], title: str) -> str:
    """Return cards as HTML; those that are predicted differently than by the trained model have a coloured frame."""
    return (
        f'<div class="nnvis-small">{escape(title)}</div>'
        '<div style="display:grid;grid-template-columns:repeat(auto-fill,minmax(156px,1fr));gap:6px;margin-top:4px;'
        'max-width:720px">'
        f"{''.join(map(_card, samples))}</div>"
    )


def _card(card: Card) -> str:
    changed = card.reference is not None and card.predicted != card.reference
    frame = "2px solid #D55E00" if changed else "1px solid var(--jp-border-color2)"
    lines = []
    if card.target is not None:
        lines.append(f"is <b>{card.target}</b>" if card.target >= 0 else "ignored")
    if card.predicted is not None:
        lines.append(f"here {_prediction(card.predicted, card.probability)}")
    if card.reference is not None:
        lines.append(f"trained {_prediction(card.reference, card.reference_probability)}")
    if card.loss is not None:
        lines.append(f"loss {card.loss:.3g}")
    return (
        f'<div class="nnvis-card" style="border:{frame};border-radius:5px;padding:4px 6px;display:flex;gap:6px;font-size:11px;'
        f'line-height:1.35">{_picture(card)}<div>{"<br>".join(lines)}</div></div>'
    )


def _prediction(label: int, probability: float | None) -> str:
    return f"<b>{label}</b>" + ("" if probability is None else f" {probability:.0%}")


def _picture(card: Card) -> str:
    if card.picture is None:
        return ""
    buffer = io.BytesIO()
    Image.fromarray(card.picture).save(buffer, "PNG")
    encoded = base64.b64encode(buffer.getvalue()).decode()
    height, width = card.picture.shape[:2]
    scale = _SIDE / max(height, width)
    words = "a sample" if card.target is None else f"a sample of class {card.target}"
    return (
        f'<img alt="{words}" src="data:image/png;base64,{encoded}" width="{round(width * scale)}" height="{round(height * scale)}" '
        f'style="image-rendering:{"pixelated" if scale > 1 else "auto"}">'
    )
