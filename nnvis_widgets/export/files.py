"""Pictures and tables as files, each written whole or not at all, and the names of the files.

May import: results, views.recipe. pandas is imported by nothing here: a table writes itself.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.figure import Figure

from ..results import Result
from ..views.recipe import metadata

if TYPE_CHECKING:
    import pandas

PICTURES = (".png", ".pdf", ".svg")
_PLAIN = re.compile(r"[a-z0-9_.]{1,100}(\[(\d+(, \d+)*)?\])?")


class Picture(Figure):
    """A figure that a notebook shows, whether pyplot has been imported there or not, and whose files carry its recipe.

    Parameters
    ----------
    drawn : str
        The call that draws it, of a function of this package with `results`.
    results : sequence of Result
        What it shows.
    **options
        As of matplotlib's Figure.

    Attributes
    ----------
    recipe : dict
        What `nnvis_widgets.recipe_of` finds in a file of it; whoever makes the figure may add to it.
    """

    def __init__(self, drawn: str, results: Iterable[Result], **options: Any):
        super().__init__(**options)
        told = [{"is": repr(result), **getattr(result, "provenance", {})} for result in results]
        self.recipe: dict[str, Any] = {"figure": drawn, "results": told}

    def savefig(self, fname: Any, *, transparent: bool | None = None, **options: Any) -> None:
        """Write the figure as matplotlib does; a PNG, an SVG or a PDF carries the recipe."""
        named = Path(fname).suffix[1:] if isinstance(fname, (str, os.PathLike)) else ""
        kind = str(options.get("format") or named or matplotlib.rcParams["savefig.format"]).lower()
        options["metadata"] = {**metadata(self.recipe, kind), **(options.get("metadata") or {})} or None
        super().savefig(fname, transparent=transparent, **options)

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        self.savefig(content, format="png", dpi=100)
        return content.getvalue()


def save_figure(figure: Figure, path: str | os.PathLike, *, dpi: int = 150) -> Path:
    """Write a figure to a file, whole or not at all; the ending of its name says how.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : path
        Ending in .png, .pdf or .svg.
    dpi : int
        Of a PNG.

    Returns
    -------
    pathlib.Path
    """
    target = Path(path)
    if target.suffix not in PICTURES:
        raise ValueError(f"path: a name that ends in {', '.join(PICTURES)}; received {target.name!r}")
    content = io.BytesIO()
    kind = target.suffix[1:]
    undated = {} if isinstance(figure, Picture) else {"metadata": metadata(None, kind)}
    # type 42 keeps text in a PDF selectable; an SVG's names are random without a salt
    with matplotlib.rc_context({"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "nnvis_widgets"}):
        figure.savefig(content, format=kind, dpi=dpi, **undated)
    return write_whole(target, content.getvalue())


def save_table(table: pandas.DataFrame, path: str | os.PathLike) -> Path:
    """Write a table as CSV, whole or not at all; numbers keep every digit that tells them apart, infinity is ``inf``."""
    target = Path(path)
    if target.suffix != ".csv":
        raise ValueError(f"path: a name that ends in .csv; received {target.name!r}")
    return write_whole(target, table.to_csv(index=False, lineterminator="\n").encode())


def file_stem(scope: str, level: str = "") -> str:
    """Return the name of a scope as the beginning of a file name; two scopes never share one.

    Lower-case names of layers, tensors and single weights stay readable. Any other name (also one that differs from another
    by case alone, which Windows and macOS do not tell apart) gets a digest of itself behind a ``~``.

    Parameters
    ----------
    scope : str
        Canonical, as in ``PathResult.scope``.
    level : str
        Of the scope; tells a layer that is called "model" from the whole model.

    Examples
    --------
    >>> file_stem("fc1.weight[1, 11]"), file_stem("fc1.weight[11, 1]")
    ('fc1.weight@1-11', 'fc1.weight@11-1')
    """
    if _PLAIN.fullmatch(scope) and scope[0] not in ".[" and (scope != "model" or level in ("", "model")):
        return scope.replace("[", "@").replace(", ", "-").removesuffix("]")
    readable = re.sub(r"[^A-Za-z0-9_.]+", "_", scope).strip("._")[:60] or "scope"
    return f"{readable}~{hashlib.blake2b(scope.encode(), digest_size=6).hexdigest()}"


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give the path of a part beside the target, of the same ending, that becomes the target when the block ends well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.stem}.{os.getpid()}.part{target.suffix}")
    try:
        yield part
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def write_whole(target: Path, content: bytes) -> Path:
    """Write a file, whole or not at all."""
    with replacing(target) as part:
        part.write_bytes(content)
    return target
