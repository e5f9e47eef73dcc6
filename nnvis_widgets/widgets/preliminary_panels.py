"""What the tabs of a preliminary study have in common: settings, a picture, what was found in sentences, and one button.

May import: results, views, ipywidgets, widgets.base.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import ipywidgets as widgets
import traitlets

from ..core.evaluator import Evaluator
from ..experiments.asking import Train
from ..experiments.trainings import Memory
from ..jobs import Step
from ..results import Result
from .base import Explorer
from .parts import beside, button, settings_panel, title, toggle, wide


@dataclass(frozen=True, eq=False)
class Source:
    """What a preliminary study is made of.

    Attributes
    ----------
    evaluators : dict of str to Evaluator
    train, data
        The training, and what it trains with; None without one.
    run : Run or None
        Whose checkpoints are compared.
    folder, settings
        Of the finished trainings.
    """

    evaluators: Mapping[str, Evaluator]
    train: Train | None = None
    data: Any = None
    run: Any = None
    folder: Any = None
    settings: Mapping[str, Any] | None = None
    offered: frozenset[str] = frozenset()
    memory: Memory = field(default_factory=Memory)

    @property
    def kept(self) -> dict[str, Any]:
        """Arguments that say where finished trainings are kept."""
        return {"folder": self.memory if self.folder is None else self.folder, "settings": self.settings}


class Panel(Explorer):
    """One tab. A subclass gives settings, steps, controls and the view.

    Parameters
    ----------
    source : Source or None
        None for a saved result.

    Attributes
    ----------
    on_success : callable
        Called when a result is complete.
    """

    NAME: ClassVar[str]
    KIND: ClassVar[type[Result]]
    ACTION: ClassVar[str] = "Measure"
    WAITS: ClassVar[bool] = False  # for its button, since what it does takes long
    RESTYLE: ClassVar[tuple[str, ...]] = ("quantity",)

    quantity = traitlets.Unicode("loss")

    def __init__(self, source: Source | None, **settings: Any):
        self.source = source
        self.on_success: Callable[[], None] = lambda: None
        self._view = self._made_view()
        super().__init__(**settings)
        self._button = button(self.ACTION, "play", self.compute, "nnvis-start")
        self._button.layout.width = "110px"
        self._locked = self._controls() if source is not None else []
        self._quantities = toggle([], "nnvis-quantity")
        self._quantities.layout.display = "none"
        self._quantities.observe(self._choose_quantity, "value")
        self._words = widgets.HTML().add_class("nnvis-found")
        self._offer_line = widgets.HTML().add_class("nnvis-small").add_class("nnvis-offer")
        right = [self._button, self._quantities]
        row = widgets.Layout(flex_flow="row wrap", align_items="center", grid_gap="0 10px")
        top = widgets.Box([*right, *self._styles(), self.status], layout=row)
        panel = settings_panel([title(self._heading), *self._locked, self._offer_line]) if source is not None else None
        self.children = [beside(panel, [top, self._view, self._words, self.status.error])]
        self._button.layout.display = None if source is not None else "none"
        self._update_offer()
        if not self.WAITS:
            self._recompute_when_live()

    # ---- what a subclass gives

    _heading = ""

    def _made_view(self) -> Any:
        raise NotImplementedError

    def _controls(self) -> list[widgets.Widget]:
        """Return the controls of what is measured; they are locked while it is."""
        return []

    def _styles(self) -> list[widgets.Widget]:
        """Return the controls of how it is shown."""
        return []

    def _offer(self) -> str:
        """Return how much work the settings ask for."""
        return ""

    def _shown(self) -> Any:
        """Return the result as the settings judge it; None before the first."""
        return self.results.get(self.NAME)

    def _show(self, result: Any) -> None:
        self._view.show(result, self.quantity)

    # ---- work

    def _recompute(self) -> None:
        if not self.WAITS:
            super()._recompute()
            return
        if self._together:
            self._wanted = True
        elif not self._closed:
            steps = self._tried_steps()
            if steps is None:
                return
            self._worker.drop()
            self._lock(False)
            if all(key in self._cache for step in steps for key in step.keys.values()):
                self._succeed(steps)
            else:
                self._stale()
                self.status.idle(f"{self.ACTION} measures what is asked for now" if self.results else "")
            self._update_offer()

    def _tried_steps(self) -> Sequence[Step] | None:
        try:
            return list(self._steps())
        except Exception as error:
            self._fail(error)
            return None

    def _submit(self) -> None:
        super()._submit()
        self._lock(self._worker.busy)

    def _succeed(self, steps: Sequence[Step]) -> None:
        super()._succeed(steps)
        self._lock(False)
        self.on_success()

    def _cancelled(self) -> None:
        super()._cancelled()
        self._lock(False)

    def _fail(self, error: BaseException) -> None:
        super()._fail(error)
        self._lock(False)

    def _lock(self, on: bool) -> None:
        if not hasattr(self, "_locked"):
            return
        self._button.disabled = on
        for part in self._locked:
            for one in (part, *getattr(part, "children", ())):
                if hasattr(one, "disabled"):
                    one.disabled = on

    # ---- what is drawn

    def _stale(self) -> None:
        self._view.add_class("nnvis-stale")

    def _draw(self) -> None:
        result = self._shown()
        if result is None or not hasattr(self, "_words"):
            return
        options = list(result.quantities) if hasattr(result, "quantities") else []
        if list(self._quantities.options) != options:
            self._quantities.options = options
        self._quantities.layout.display = None if len(options) > 1 else "none"
        if options and self.quantity not in options:
            self.quantity = options[0]
        if options:
            self._quantities.value = self.quantity
        self._view.remove_class("nnvis-stale")
        self._show(result)
        lines = "".join(f"<li>{html.escape(line)}</li>" for line in result.explain())
        split = result.provenance.get("split")
        state = f"{split}, n = {result.n}" if split else f"n = {result.n}"
        about = f'<div class="nnvis-small">{html.escape(state)}; {self._caption(result)}</div>'
        self._words.value = f'<ul style="margin:4px 0 4px 18px;padding:0;line-height:1.5">{lines}</ul>{about}'

    def _caption(self, result: Any) -> str:
        policy = str(result.provenance.get("batchnorm", "not recorded"))
        return policy if policy == "no BatchNorm" else f"BatchNorm: {html.escape(policy)}"

    def _choose_quantity(self, change: Any) -> None:
        if change.new is not None:
            self.quantity = change.new

    def _update_offer(self) -> None:
        if self.source is not None and hasattr(self, "_offer_line"):
            self._offer_line.value = self._offer()

    # ---- buttons, as methods

    def open_result(self, result: Result) -> None:
        """Show a saved result in place of the present one, until a setting changes."""
        if not isinstance(result, self.KIND):
            raise TypeError(f"result: a {self.KIND.__name__}, received a {type(result).__name__}")
        self.cancel()
        self.results = {self.NAME: result}
        self._draw()


def number(panel: Panel, trait: str, label: str, least: int, most: int, tip: str = "") -> widgets.BoundedIntText:
    """Return a box for a whole number that is a hand on a trait."""
    box = widgets.BoundedIntText(
        description=label, min=least, max=most, tooltip=tip, layout=wide(), style={"description_width": "150px"}
    )
    traitlets.link((panel, trait), (box, "value"))
    return box.add_class(f"nnvis-{trait.replace('_', '-')}")


def chosen(panel: Panel, trait: str, label: str, options: list[tuple[str, Any]]) -> widgets.Dropdown:
    """Return a list that is a hand on a trait."""
    box = widgets.Dropdown(description=label, options=options, layout=wide(), style={"description_width": "150px"})
    traitlets.link((panel, trait), (box, "value"))
    return box.add_class(f"nnvis-{trait.replace('_', '-')}")


class Tolerance(widgets.SelectionSlider):
    """A slider over round numbers of all sizes that is a hand on a trait; a value of a script's is added to them."""

    def __init__(self, panel: Panel, trait: str, label: str, low: int = -4, high: int = 0):
        steps = [float(f"{factor}e{exponent}") for exponent in range(low, high) for factor in (1, 1.5, 2, 3, 5, 7)]
        self._steps, self._quiet = [*steps, 10.0**high], True
        super().__init__(
            options=[(f"{step:.3g}", step) for step in self._steps],
            description=label,
            layout=widgets.Layout(width="300px"),
            style={"description_width": "auto"},
        )
        self.add_class(f"nnvis-{trait}")
        self._panel, self._trait, self._quiet = panel, trait, False
        self.show(getattr(panel, trait))
        panel.observe(lambda change: self.show(change.new), trait)
        self.observe(self._lead, "value")

    def show(self, value: float | None) -> None:
        """Stand at a value."""
        if not value or value == self.value:
            return
        self._quiet = True
        try:
            if value not in [step for _, step in self.options]:
                self.options = [(f"{step:.3g}", step) for step in sorted({*self._steps, value})]
            self.value = value
        finally:
            self._quiet = False

    def _lead(self, change: Any) -> None:
        if not self._quiet and change.new is not None:
            setattr(self._panel, self._trait, change.new)
