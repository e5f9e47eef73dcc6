"""Small widgets that the panels of all explorers are made of.

May import: results, ipywidgets.
"""

from __future__ import annotations

import asyncio
import base64
import tempfile
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import traitlets

from ..results import Result, load

if TYPE_CHECKING:
    from .base import Explorer

_NONE = object()
_PICTURES = {"png": "image/png", "svg": "image/svg+xml"}  # picture("pdf") takes a second, in which no slider moves


def wide() -> widgets.Layout:
    """Return a layout of its own for each widget: hiding one that is shared would hide them all."""
    return widgets.Layout(width="auto", min_width="0")


def title(text: str) -> widgets.HTML:
    """Return the heading of a group of controls."""
    return widgets.HTML(text).add_class("nnvis-title")


def toggle(options: list[tuple[str, str]], name: str) -> widgets.ToggleButtons:
    """Return buttons of which one is pressed; `name` is their style class."""
    layout = widgets.Layout(width="auto", margin="2px 18px 2px 0")
    return widgets.ToggleButtons(options=options, style={"button_width": "auto"}, layout=layout).add_class(name)


def dropdown(options: list[tuple[str, Any]], name: str) -> widgets.Dropdown:
    """Return a list of which one entry is chosen."""
    return widgets.Dropdown(options=options, layout=wide()).add_class(name)


def button(text: str, icon: str, act: Callable[[], Any], name: str) -> widgets.Button:
    """Return a button that calls `act`."""
    made = widgets.Button(description=text, icon=icon, layout=widgets.Layout(width="90px")).add_class(name)
    made.on_click(lambda _button: act())
    return made


def check(explorer: Explorer, trait: str, label: str, width: str = "46%") -> widgets.Checkbox:
    """Return a check box that is a hand on a trait."""
    box = widgets.Checkbox(description=label, indent=False, layout=widgets.Layout(width=width))
    traitlets.link((explorer, trait), (box, "value"))
    return box.add_class(f"nnvis-{trait}-box")


def listed(explorer: Explorer, trait: str, control: widgets.Dropdown, words: str) -> None:
    """Make a list a hand on a trait; a value of a script's that is not in it is added in these words.

    None is an entry like any other here; a dropdown's own `value` takes it for nothing being chosen.
    """
    control.options = [(label, _NONE if entry is None else entry) for label, entry in control.options]

    def follow(_change: Any = None) -> None:
        value = getattr(explorer, trait)
        entry = _NONE if value is None else value
        entries = [known for _, known in control.options]
        if entry not in entries:
            control.options = [*control.options, (words.format(value), entry)]
            entries.append(entry)
        control.index = entries.index(entry)

    def choose(change: Any) -> None:
        if change.new is not None:
            entry = control.options[change.new][1]
            setattr(explorer, trait, None if entry is _NONE else entry)

    follow()
    explorer.observe(follow, trait)
    control.observe(choose, "index")


def later(seconds: float, act: Callable[[], Any]) -> None:
    """Call `act` in a later turn of the event loop; at once where there is none to come."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        act()
    else:
        loop.call_later(seconds, act)


def fill(place: widgets.Box, parts: list[widgets.Widget]) -> None:
    """Put widgets into a place, or nothing; a hidden bqplot figure would be drawn with a negative size."""
    if list(place.children) != parts:
        place.children = parts


def columns_of(*groups: list[widgets.Widget]) -> list[widgets.Widget]:
    """Return groups of controls as the columns of a panel."""
    return [widgets.VBox(group, layout=widgets.Layout(flex="1 1 250px", min_width="0", max_width="420px")) for group in groups]


def settings_panel(*groups: list[widgets.Widget]) -> widgets.Box:
    """Return groups of controls: a column beside the picture, several columns where it has to stand below."""
    # it grows only where nothing is beside it
    layout = widgets.Layout(
        flex="1 1 300px",
        min_width="290px",
        flex_flow="row wrap",
        align_content="flex-start",
        margin="0 12px 0 0",
        grid_gap="0 16px",
    )
    return widgets.Box(columns_of(*groups), layout=layout).add_class("nnvis-panel")


def beside(panel: widgets.Box | None, picture: list[widgets.Widget]) -> widgets.Box:
    """Return a picture with its panel on the left, or below where there is no room for two columns."""
    right = widgets.VBox(picture, layout=widgets.Layout(flex="100 1 560px", min_width="320px"))
    body = [right] if panel is None else [panel, right]
    return widgets.Box(body, layout=widgets.Layout(flex_flow="row wrap-reverse", width="100%"))


def download(content: bytes, kind: str, name: str, words: str) -> str:
    """Return a link to a file, as HTML; `kind` is its MIME type."""
    data = base64.b64encode(content).decode()
    return f'<a class="nnvis-link" download="{name}" href="data:{kind};base64,{data}">{escape(words)}</a>'


def pictures(picture: Callable[[str], bytes | None], name: str) -> str:
    """Return links to a picture in each format, as HTML, or that there is none yet."""
    made = {kind: content for kind in _PICTURES if (content := picture(kind)) is not None}
    if not made:
        return '<span class="nnvis-small">there is no picture yet</span>'
    links = " · ".join(download(content, _PICTURES[kind], f"{name}.{kind}", kind.upper()) for kind, content in made.items())
    return f'download the picture: {links}<br><span class="nnvis-small">its recipe is inside: nv.recipe_of("{name}.png")</span>'


class Files(widgets.VBox):
    """Save, Open and Picture, for those who cannot reach the kernel's files.

    Parameters
    ----------
    explorer : Explorer
    name : str
        Of the file that is offered, without its ending.
    open_result : callable
        Gets the `Result` that an uploaded file holds.
    """

    def __init__(self, explorer: Explorer, name: str, open_result: Callable[[Result], None]):
        self._explorer, self._name, self._open_result = explorer, name, open_result
        save = button("Save", "download", self._offer, "nnvis-save")
        save.layout.width = "74px"
        upload = widgets.FileUpload(accept=".safetensors", description="Open", layout=widgets.Layout(width="100px"))
        upload.add_class("nnvis-open").observe(self._opened, "value")
        shown = button("Picture", "image", self._picture, "nnvis-picture")
        shown.layout.width = "86px"
        self._link = widgets.HTML().add_class("nnvis-download")
        super().__init__([widgets.HBox([save, upload, shown], layout=widgets.Layout(flex_flow="row wrap")), self._link])

    def _offer(self) -> None:
        if not self._explorer.results:
            self._link.value = "there is no result yet"
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "result.safetensors"
            self._explorer.save_result(path)
            content = path.read_bytes()
        words = f"download the result ({len(content) / 1024:.0f} kB)"
        link = download(content, "application/octet-stream", f"{self._name}.safetensors", words)
        self._link.value = f'{link}<br><span class="nnvis-small">in Python: explorer.save_result(path), nv.load(path)</span>'

    def _picture(self) -> None:
        self._link.value = pictures(self._explorer.picture, self._name)

    def _opened(self, change: Any) -> None:
        for upload in change.new:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "upload.safetensors"
                path.write_bytes(bytes(upload["content"]))
                try:
                    self._open_result(load(path))
                    self._link.value = ""
                except (ValueError, TypeError) as error:
                    self._explorer.status.say(error)
