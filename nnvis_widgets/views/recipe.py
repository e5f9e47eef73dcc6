"""A picture that carries how it was made, in its own metadata: a PNG, an SVG or a PDF.

May import: nothing of ours. What is written goes through matplotlib's `savefig`; Pillow reads a PNG.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

KEY = "nnvis_widgets"
FORMATS = ("png", "svg", "pdf")
_NO_PICTURE = "picture: a PNG, SVG or PDF that nnvis_widgets has saved; "
_IN_PDF = re.compile(KEY.encode() + rb":([A-Za-z0-9+/=]+)")
_IN_SVG = "{http://purl.org/dc/elements/1.1/}description"


def metadata(recipe: Mapping[str, Any] | None, kind: str) -> dict[str, Any]:
    """Return what matplotlib's `savefig` takes as `metadata` of a picture; without dates, which make equal pictures unequal.

    Parameters
    ----------
    recipe : mapping, or None
    kind : {"png", "svg", "pdf"}
        Of any other format nothing is known.
    """
    text = None if recipe is None else json.dumps(recipe, default=str)
    if kind == "png":
        return {"Software": KEY} | ({} if text is None else {KEY: text})
    if kind == "svg":
        return {"Date": None} | ({} if text is None else {"Description": f'{{"{KEY}": {text}}}'})
    if kind == "pdf":  # where a string has its own escapes, and is read without a parser
        return {"CreationDate": None} | ({} if text is None else {"Keywords": f"{KEY}:{base64.b64encode(text.encode()).decode()}"})
    return {}


def recipe_of(picture: str | os.PathLike | bytes) -> dict[str, Any]:
    """Return the recipe inside a picture: the "results" that it shows, and the "code" or the "command" that makes it.

    Parameters
    ----------
    picture : path or bytes
        Of a PNG, an SVG or a PDF: from an explorer, a workbench, a figure of `nnvis_widgets.export` or the command line.

    Returns
    -------
    dict
        "results" holds the provenance of each; "code" (of widgets) the lines that make it again from your evaluator and run;
        "figure" (of figures) the function that drew it, "command" the arguments of the command line.

    Raises
    ------
    ValueError
        It is no picture, or has none inside: a programme that saved it anew may have dropped it.

    Examples
    --------
    >>> import nnvis_widgets as nv
    >>> demo = nv.load_demo("digits", epochs=4)
    >>> bench = nv.Workbench(demo.evaluator, demo.run)
    >>> bench.compute()
    >>> recipe = nv.recipe_of(bench.picture())
    >>> sorted(recipe), sorted(recipe["results"])
    (['code', 'results'], ['linear', 'quadratic', 'training'])
    """
    content = picture if isinstance(picture, bytes) else Path(picture).read_bytes()
    if content.startswith(b"\x89PNG"):
        found = _in_png(content)
    elif content.startswith(b"%PDF-"):
        keywords = _IN_PDF.search(content)
        found = keywords and base64.b64decode(keywords[1]).decode()
    elif b"<svg" in content[:2000]:
        found = _in_svg(content)
    else:
        raise ValueError(f"{_NO_PICTURE}this is no picture of these kinds")
    if not found:
        raise ValueError("picture: it has no recipe inside; a programme that saved it anew may have dropped it")
    return json.loads(found)


def _in_png(content: bytes) -> str | None:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content)) as image:
            return getattr(image, "text", {}).get(KEY)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"{_NO_PICTURE}this PNG is broken: {error}") from error


def _in_svg(content: bytes) -> str | None:
    try:
        described = [element.text or "" for element in ElementTree.fromstring(content).iter(_IN_SVG)]
    except ElementTree.ParseError as error:
        raise ValueError(f"{_NO_PICTURE}this SVG is broken: {error}") from error
    for text in described:
        try:
            known = json.loads(text)
        except ValueError:  # somebody else's words
            continue
        if isinstance(known, dict) and KEY in known:
            return json.dumps(known[KEY])
    return None
