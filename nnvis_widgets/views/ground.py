"""The ground of a flat surface as data: coloured pixels, isolines, the colour bar. No widgets.

May import: numpy, Pillow, surface_scene; matplotlib's colour maps and contourpy (which matplotlib brings) inside functions.
"""

from __future__ import annotations

import base64
import io
from html import escape

import numpy as np
from PIL import Image

from .surface_scene import SurfaceScene

_PALE = 110  # of 255: opacity of what is interpolated, not measured
_DIVERGED, _HATCH = (128, 128, 128, 255), (160, 160, 160, 255)


def pixels(scene: SurfaceScene, width: int, height: int) -> np.ndarray:
    """Return the coloured ground, shape (height, width, 4), uint8, the largest y first.

    Colours run between the grid's points; what is nearest to a cell that diverged is hatched in grey, what is nearest to one
    that has not been measured yet is pale, and nothing at all is transparent.
    """
    surface = scene.surface
    x = np.linspace(surface.x[0], surface.x[-1], width)
    y = np.linspace(surface.y[-1], surface.y[0], height)
    filled = scene.filled()
    if not np.isfinite(filled).any():
        coloured = np.zeros((height, width, 4), np.uint8)
    else:
        values = _stretched(_stretched(_patched(filled), surface.y, y).T, surface.x, x).T
        low, high = scene.limits
        coloured = _map(scene.colours)((values - low) / (high - low), bytes=True)
    cells = np.ix_(_nearest(surface.y, y), _nearest(surface.x, x))
    measured = scene.measured[cells]
    coloured[~measured & (coloured[..., 3] > 0), 3] = _PALE
    diverged = measured & ~np.isfinite(scene.values)[cells]
    coloured[diverged] = _DIVERGED
    stripes = (np.add.outer(np.arange(height), np.arange(width)) // 3) % 3 == 0
    coloured[diverged & stripes] = _HATCH
    return coloured


def isolines(scene: SurfaceScene) -> list[tuple[float, np.ndarray]]:
    """Return pairs (level, points of shape (K, 2)) of the isolines' pieces; none crosses a cell that is not finite."""
    values = scene.filled()
    if min(values.shape) < 2 or not len(scene.isolines):
        return []
    from contourpy import contour_generator

    generator = contour_generator(scene.surface.x, scene.surface.y, np.ma.masked_invalid(values))
    return [(float(level), piece) for level in scene.isolines for piece in generator.lines(float(level)) if len(piece) > 1]


def ink(scene: SurfaceScene, level: float) -> tuple[str, float]:
    """Return colour and opacity of an isoline that is seen on the colour of its level: white on dark, black on light."""
    low, high = scene.limits
    red, green, blue, _ = _map(scene.colours)((level - low) / (high - low))
    return ("#FFFFFF", 0.5) if 0.21 * red + 0.72 * green + 0.07 * blue < 0.45 else ("#000000", 0.45)


def ticks(scene: SurfaceScene) -> list[tuple[float, str]]:
    """Return places on the colour bar, 0 to 1, and what is written there: the quantity's own values, not their logarithms.

    Examples
    --------
    A loss from 0.05 to 5, coloured by its logarithm, has ticks at 0.05, 0.1, 0.2, 0.5, 1, 2 and 5.
    """
    low, high = scene.limits
    if scene.logarithmic:
        decades = 10.0 ** np.arange(np.floor(low), np.ceil(high) + 1)
        for factors in ((1, 2, 5), (1, 3), (1,)):
            values = np.sort(np.outer(decades, factors).ravel())
            values = values[(np.log10(values) >= low - 1e-9) & (np.log10(values) <= high + 1e-9)]
            if len(values) <= 8:
                break
        values = values[:: -(-len(values) // 8) or 1]
        if len(values) < 2:
            values = 10.0 ** np.linspace(low, high, 4)
        places = np.log10(values)
    else:
        raw = (high - low) / 6
        base = 10.0 ** np.floor(np.log10(raw))
        step = base * next(factor for factor in (1, 2, 5, 10) if factor * base >= raw * (1 - 1e-9))
        values = places = step * np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1) + 0.0
    texts = [f"{value:.3g}" for value in values]
    if len(set(texts)) < len(texts):  # a nearly flat surface
        texts = [f"{value:.8g}" for value in values]
    return [(float((place - low) / (high - low)), text) for place, text in zip(places, texts, strict=True)]


def colour_bar(scene: SurfaceScene, height: int) -> str:
    """Return the upright colour bar as HTML, `height` pixels high; arrows say that values go on beyond its ends."""
    shades = _map(scene.colours)(np.linspace(0, 1, 17), bytes=True)
    stops = ",".join("#{:02x}{:02x}{:02x}".format(*shade[:3]) for shade in shades)
    finite = scene.values[np.isfinite(scene.values)]
    low, high = scene.limits
    slack = 1e-9 * (high - low)
    beyond = [bool(finite.size) and bool(finite.max() > high + slack), bool(finite.size) and bool(finite.min() < low - slack)]
    beyond[0] |= scene.scale == "clipped"
    ends = [
        f'<span style="position:absolute;left:0;width:14px;text-align:center;{edge}:-15px;line-height:14px">{arrow}</span>'
        for edge, arrow, there in zip(("top", "bottom"), ("&#9650;", "&#9660;"), beyond, strict=True) if there
    ]  # fmt: skip
    marks = [
        f'<span style="position:absolute;left:14px;top:{(1 - place) * height:.1f}px;width:5px;border-top:1px solid currentColor">'
        f'</span><span style="position:absolute;left:22px;top:{(1 - place) * height - 8:.1f}px;line-height:16px">{text}</span>'
        for place, text in ticks(scene)
    ]
    return (
        f'<div role="img" aria-label="colours: {escape(scene.label)}" style="position:relative;height:{height}px;width:62px;'
        f'font-size:11px;font-variant-numeric:tabular-nums"><div style="position:absolute;width:14px;height:{height}px;'
        f'background:linear-gradient(to top,{stops})"></div>{"".join(ends + marks)}</div>'
    )


def png(array: np.ndarray) -> bytes:
    """Return pixels, (H, W), (H, W, 3) or (H, W, 4) of uint8, as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def data_uri(array: np.ndarray) -> str:
    """Return the same file as the address of an image in HTML."""
    return "data:image/png;base64," + base64.b64encode(png(array)).decode()


def _map(name: str):
    from matplotlib import colormaps

    return colormaps[name]


def _nearest(grid: np.ndarray, at: np.ndarray) -> np.ndarray:
    return np.searchsorted((grid[1:] + grid[:-1]) / 2, at)


def _stretched(values: np.ndarray, grid: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Rows of a grid, linear between them."""
    if len(grid) == 1:
        return np.repeat(values, len(at), axis=0)
    before = np.clip(np.searchsorted(grid, at, side="right") - 1, 0, len(grid) - 2)
    share = ((at - grid[before]) / (grid[before + 1] - grid[before]))[:, None]
    return (1 - share) * values[before] + share * values[before + 1]


def _patched(values: np.ndarray) -> np.ndarray:
    """What is not finite takes the value of the nearest cell that is, so that it does not swallow its neighbours' colours."""
    wrong = ~np.isfinite(values)
    if not wrong.any():
        return values
    holes, known = np.argwhere(wrong), np.argwhere(~wrong)
    answer = values.copy()
    for hole in holes:
        row, column = known[((known - hole) ** 2).sum(axis=1).argmin()]
        answer[tuple(hole)] = values[row, column]
    return answer
