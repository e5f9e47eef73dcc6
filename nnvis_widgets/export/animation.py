"""A run being drawn over a surface, as a GIF or a film, without a display.

May import: export.landscape, export.surfaces, export.files, results. Films need imageio with its ffmpeg plug-in.
"""

from __future__ import annotations

import io
import itertools
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.lines import Line2D
from matplotlib.path import Path as Shape
from PIL import Image

from ..results import SurfaceResult, Trajectory
from .files import replacing, write_whole
from .landscape import END, OWN, Landscape, dot_sizes, halo
from .surfaces import checked_losses, own_run

ENDINGS = (".gif", ".mp4")
HOLD = 1.5  # seconds that the last frame stays
FIGURE_SPACE = "\u2007"
_ACCENTS = ("#FFFFFF", "#000000", END)  # small marks, which a palette made from areas would lose


def animate_trajectory(
    surface: SurfaceResult,
    path: str | os.PathLike,
    *,
    seconds: float = 6.0,
    fps: int = 15,
    view: str = "2d",
    dpi: int = 100,
    losses: Any = None,
    quantity: str = "loss",
    log: bool | None = None,
    levels: int = 24,
) -> Path:
    """Write an animation of the training that a surface carries, drawn checkpoint by checkpoint, and return its path.

    Parameters
    ----------
    surface : SurfaceResult
        With a run on it: ``surface.with_trajectory(plane.project(run))``.
    path : path
        Ending in .gif (loops) or .mp4 (needs ``pip install 'nnvis_widgets[video]'``). Written whole or not at all; equal
        arguments give equal bytes of a GIF.
    seconds : float
        From the first checkpoint to the last; the last frame stays for 1.5 s more. Time runs as the epochs do.
    fps : int
        Frames a second; a GIF shows at most 50.
    view : {"2d", "3d"}
    dpi : int
        Pixels an inch.
    losses : array_like, shape (T,), optional
        The quantity at the checkpoints themselves, such as ``nv.measure_training(evaluator, run).loss``: told in the title, and
        in three dimensions the height of the dots, with stems to the surface. Default: the surface's at their projections.
    quantity, log, levels
        As in `surface_figure`.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ValueError
        No run on the surface, another ending, or a number out of range.
    ModuleNotFoundError
        A film without imageio.

    Notes
    -----
    The idea is loss-landscape-anim's (Chen, 2020). What stands still is drawn once.

    Examples
    --------
    >>> import tempfile
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> plane = nv.pca_plane(demo.run, model=demo.model)
    >>> surface = nv.measure_surface(demo.evaluator, plane, resolution=5).with_trajectory(plane.project(demo.run))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     nv.animate_trajectory(surface, f"{folder}/training.gif", seconds=0.4, fps=5, dpi=40).name
    'training.gif'
    """
    target = Path(path)
    if target.suffix not in ENDINGS:
        raise ValueError(f"path: a name that ends in {' or '.join(ENDINGS)}; received {target.name!r}")
    for name, value in (("seconds", seconds), ("fps", fps), ("dpi", dpi)):
        if not (isinstance(value, (int, float)) and math.isfinite(value) and value > 0):
            raise ValueError(f"{name}: a positive number, received {value!r}")
    if target.suffix == ".gif" and fps > 50:
        raise ValueError(f"fps: at most 50 in a GIF, whose clock counts in hundredths of a second; received {fps!r}")
    if not isinstance(surface, SurfaceResult):
        raise TypeError(f"surface: as nv.measure_surface returns it, received a {type(surface).__name__}")
    run = own_run(surface)
    if run is None:
        raise ValueError("surface: one with a run on it, surface.with_trajectory(plane.project(run)); this one has none")
    values = checked_losses(losses, len(run.xy))
    writer = _film if target.suffix == ".mp4" else _gif
    if writer is _film:
        find_imageio()
    stage = _Stage(Landscape(surface, quantity, {OWN: run}, view, log, levels), run, values, dpi)
    # one checkpoint is a picture: nothing moves
    count = max(1, round(seconds * fps)) if len(run.xy) > 1 else 1
    return writer(target, (stage.frame(1.0 if count == 1 else k / (count - 1)) for k in range(count)), count, fps)


class _Stage:
    """What stands still, as pixels, and the marks that are drawn over them, in pixels too: two and three dimensions alike."""

    def __init__(self, ground: Landscape, run: Trajectory, values: np.ndarray | None, dpi: int):
        figure, axes = ground.figure, ground.axes
        figure.set_dpi(dpi)
        self._canvas = FigureCanvasAgg(figure)
        self._title = axes.set_title("", loc="left", fontsize="medium", animated=True)
        self._canvas.draw()
        self._still = self._canvas.copy_from_bbox(figure.bbox)
        self._renderer = self._canvas.get_renderer()
        at = _pixels(ground, ground.place(run.xy, values))
        feet = _pixels(ground, ground.place(run.xy)) if values is not None and not ground.flat else at
        self._at, self._feet, self._clock = at, feet, _clock(run.epochs)
        self._sizes = dot_sizes(run.off_plane)
        self._told = _told(run, ground.scale.quantity, values)
        clip: dict[str, Any] = {"clip_box": axes.bbox} if ground.flat else {}
        circle = Shape.circle(radius=0.5)
        ring: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": "black", "markeredgewidth": 1.8, "markersize": 9}
        self._line = Line2D([], [], color="black", linewidth=1.1, path_effects=halo(2.3), **clip)
        self._dots = PathCollection([circle], [1.0], facecolors="black", edgecolors="white", linewidths=0.6, **clip)
        self._stems = LineCollection([], colors="black", linewidths=0.7, alpha=0.7, **clip)
        self._start = Line2D(at[:1, 0], at[:1, 1], marker="o", path_effects=halo(3.4), **ring, **clip)
        self._head = Line2D([], [], marker="o", markersize=8, color=END, markeredgecolor="white", **clip)
        self._end = Line2D(at[-1:, 0], at[-1:, 1], marker="*", markersize=14, color=END, markeredgecolor="white", **clip)
        for artist in (self._line, self._dots, self._stems, self._start, self._head, self._end):
            artist.set_figure(figure)

    def frame(self, time: float) -> np.ndarray:
        """Return the picture at a share of the time, (height, width, 3) bytes."""
        reached = max(int(np.searchsorted(self._clock, time + 1e-9, side="right")), 1)
        way = self._at[:reached]
        ended = reached == len(self._at)
        if not ended:
            share = (time - self._clock[reached - 1]) / (self._clock[reached] - self._clock[reached - 1])
            way = np.vstack([way, way[-1] + share * (self._at[reached] - way[-1])])
        self._canvas.restore_region(self._still)
        self._line.set_data(*way.T)
        self._dots.set_offsets(self._at[:reached])
        self._dots.set_sizes(self._sizes[:reached], self._canvas.figure.dpi)
        self._stems.set_segments(list(np.stack([self._feet[:reached], self._at[:reached]], axis=1)))
        self._head.set_data(*way[-1:].T)
        self._title.set_text(self._told[reached - 1])
        for artist in (self._stems, self._line, self._dots, self._start, self._end if ended else self._head, self._title):
            artist.draw(self._renderer)
        return np.asarray(self._canvas.buffer_rgba())[..., :3].copy()


def _pixels(ground: Landscape, at: tuple[np.ndarray, ...]) -> np.ndarray:
    axes = ground.axes
    if not ground.flat:
        from mpl_toolkits.mplot3d.proj3d import proj_transform

        at = proj_transform(*at, axes.get_proj())[:2]
    return axes.transData.transform(np.column_stack(at))


def _clock(epochs: np.ndarray) -> np.ndarray:
    """Return when each checkpoint is reached, from 0 to 1: as the epochs, or evenly where these do not ascend."""
    count = len(epochs)
    steps = np.diff(epochs)
    if count < 2 or not (np.isfinite(steps).all() and (steps > 0).all()):
        return np.linspace(0.0, 1.0, count) if count > 1 else np.zeros(1)
    return (epochs - epochs[0]) / (epochs[-1] - epochs[0])


def _told(run: Trajectory, quantity: str, values: np.ndarray | None) -> list[str]:
    names = [f"{epoch:g}" for epoch in run.epochs]
    told = []
    for index, name in enumerate(names):
        # a space as wide as a digit, so that the words stand still
        text = f"epoch {name.rjust(max(map(len, names)), FIGURE_SPACE)} of {names[-1]}"
        if values is not None:
            text += f"   {quantity} {values[index]:.4f}"
        told.append(f"{text}   {run.off_plane[index]:.0%} off the plane")
    return told


def _gif(target: Path, frames: Iterator[np.ndarray], count: int, fps: int) -> Path:
    pictures = [Image.fromarray(frame) for frame in frames]
    palette = _palette([pictures[0], pictures[count // 2], pictures[-1]])
    # without dithering, what stands still has the same colour in every frame
    indexed = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    # a GIF counts in hundredths of a second: frames of 6 and 7 of them make 15 a second
    ends = [10 * round(100 * k / fps) for k in range(count + 1)]
    lengths = [stop - start for start, stop in itertools.pairwise(ends)]
    lengths[-1] = round(1000 * HOLD)
    content = io.BytesIO()
    indexed[0].save(
        content, "GIF", save_all=True, append_images=indexed[1:], duration=lengths, loop=0, disposal=1, optimize=False
    )  # fmt: skip
    return write_whole(target, content.getvalue())


def _palette(pictures: list[Image.Image]) -> Image.Image:
    """Return one palette for all frames: the colours of some, and those of the marks."""
    width, height = pictures[0].size
    together = Image.new("RGB", (width, height * len(pictures)))
    for row, picture in enumerate(pictures):
        together.paste(picture, (0, row * height))
    marks = [int(colour[i : i + 2], 16) for colour in _ACCENTS for i in (1, 3, 5)]
    found = together.quantize(256 - len(_ACCENTS), Image.Quantize.MEDIANCUT).getpalette() or []
    # Pillow takes the first of neighbours that it finds: what is nearly white is to be white
    entries, exact = np.array(found).reshape(-1, 1, 3), np.array(marks).reshape(1, -1, 3)
    apart = np.abs(entries - exact).max(2)
    snapped = np.where(apart.min(1, keepdims=True) <= 8, exact[0][apart.argmin(1)], entries[:, 0])
    palette = Image.new("P", (1, 1))
    palette.putpalette([*marks, *snapped.reshape(-1).tolist()][: 3 * 256])
    return palette


def _film(target: Path, frames: Iterator[np.ndarray], count: int, fps: int) -> Path:
    with replacing(target) as part:
        options = {"format": "FFMPEG", "fps": fps, "codec": "libx264", "quality": 8, "macro_block_size": 2}
        with find_imageio().get_writer(part, **options, ffmpeg_log_level="error") as film:
            for frame in frames:
                # players refuse odd numbers of pixels
                even = np.pad(frame, [(0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)], constant_values=255)
                film.append_data(even)
            for _ in range(round(HOLD * fps)):
                film.append_data(even)
    return target


def find_imageio() -> Any:
    """Return imageio where it can write films, or say how to get it."""
    try:
        import imageio.v2 as imageio
        import imageio_ffmpeg  # noqa: F401
    except ImportError as error:
        raise ModuleNotFoundError(
            f"path: an .mp4 needs imageio and its ffmpeg (no module named {error.name!r}): pip install 'nnvis_widgets[video]'; "
            "a .gif needs nothing more",
            name=error.name,
        ) from None
    return imageio
