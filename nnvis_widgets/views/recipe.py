"""A picture that carries how it was made: the code and the provenance of its results, inside the PNG.

May import: Pillow, when it is needed.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

KEY = "nnvis_widgets"  # of the text in the PNG


def with_recipe(png: bytes, recipe: Mapping[str, Any]) -> bytes:
    """Return the same picture with a recipe inside."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    about = PngInfo()
    about.add_itxt(KEY, json.dumps(recipe, default=str))
    about.add_text("Software", KEY)
    out = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.save(out, format="PNG", pnginfo=about)
    return out.getvalue()


def recipe_of(picture: str | os.PathLike | bytes) -> dict[str, Any]:
    """Return the recipe inside a picture that a workbench has given: its "code", and the "results" that it shows.

    Parameters
    ----------
    picture : path or bytes
        Of a PNG.

    Raises
    ------
    ValueError
        It is no PNG, or has none inside: a programme that saved it anew may have dropped it.

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
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(picture) if isinstance(picture, bytes) else picture) as image:
            found = getattr(image, "text", {}).get(KEY)
    except UnidentifiedImageError:
        raise ValueError("picture: a PNG, as a workbench gives it; this is no picture") from None
    if found is None:
        raise ValueError("picture: it has no recipe inside; a programme that saved it anew may have dropped it")
    return json.loads(found)


def beside(pngs: Sequence[bytes], names: Sequence[str]) -> bytes:
    """Return pictures side by side, each with its name above."""
    from PIL import Image, ImageDraw, ImageFont

    images = [Image.open(io.BytesIO(png)).convert("RGB") for png in pngs]
    size, head = 16, 30
    whole = Image.new("RGB", (sum(one.width for one in images), head + max(one.height for one in images)), "white")
    pen, left = ImageDraw.Draw(whole), 0
    for image, name in zip(images, names, strict=True):
        pen.text((left + 10, 8), name, fill="black", font=ImageFont.load_default(size))
        whole.paste(image, (left, head))
        left += image.width
    out = io.BytesIO()
    whole.save(out, format="PNG")
    return out.getvalue()
