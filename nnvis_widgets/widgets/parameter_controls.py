"""The controls of a parameter explorer: each one is a hand on a trait, and follows the trait when a script moves it.

May import: core.scope, views, ipywidgets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import traitlets

from ..core.scope import Scope, movable_layers
from ..results.patterns import PATTERNS
from ..views.multiples import Page
from ..views.pattern_looks import LOOKS
from .parameter_sliders import MidSlider, RhoSlider, RuleSlider, WideRange
from .parts import Files, button, check, dropdown, listed, settings_panel, title, toggle, wide

if TYPE_CHECKING:
    from .parameter_explorer import ParameterExplorer

_CHOICES = [("moved most", "distance"), ("largest effect", "effect"), ("random", "random"), ("a list", "list")]
_SORTS = [("sort: distance", "distance"), ("sort: effect", "effect"), ("sort: confidence", "confidence")]


class ParameterControls:
    """Builds the panel, and the rows between the pictures.

    Attributes
    ----------
    panel : widgets.Box
        Of a live explorer: a saved result has nothing to choose.
    over : widgets.ToggleButtons
        What the large picture is drawn over.
    cursor_row, list_row : widgets.Box
        What acts on the diagram, and what orders the small pictures.
    """

    def __init__(self, explorer: ParameterExplorer):
        self._explorer = explorer
        self.unshown: list[widgets.Widget] = []
        self.over = toggle([("over alpha", "alpha"), ("over the weight's line", "u")], "nnvis-over")
        traitlets.link((explorer, "over"), (self.over, "value"))
        self.cursor_row, self.list_row = self._cursor(), self._list()
        if explorer.study is not None:
            self.files = Files(explorer, "nnvis_parameters", explorer.open_result)
            self.panel = settings_panel(self._what(), self._measure(), [*self._labels(), *self._display(), self.files])

    # ---- which weights

    def _what(self) -> list[widgets.Widget]:
        explorer = self._explorer
        self.search = widgets.Text(placeholder="search layers and tensors", layout=wide()).add_class("nnvis-search")
        self.layers = widgets.Select(rows=7, layout=wide()).add_class("nnvis-layers")
        self._scopes = self._entries()
        self._following = False
        self.search.observe(lambda _change: self._list_layers(), "value")
        self.layers.observe(self._choose_layer, "index")
        explorer.observe(lambda _change: self._list_layers(), "scope")
        self._list_layers()
        self.choose = dropdown([(f"weights: {words}", name) for words, name in _CHOICES], "nnvis-choose")
        traitlets.link((explorer, "choose"), (self.choose, "value"))
        self.weights = widgets.Textarea(
            placeholder="fc1.weight 0, 3\none weight a line", rows=4, continuous_update=False, layout=wide()
        ).add_class("nnvis-list")
        self.weights.observe(self._typed, "value")
        self.wrong = widgets.HTML().add_class("nnvis-error")
        explorer.observe(lambda _change: self._follow_choose(), ["choose", "weights"])
        self.count = self._number("count", 1, 500)
        self.seed = self._number("seed", 0, 10**6)
        self._follow_choose()
        numbers = widgets.HBox([self.count, self.seed], layout=wide())
        return [title("Weights"), self.search, self.layers, self.choose, numbers, self.weights, self.wrong]

    def _entries(self) -> list[tuple[str, str | None]]:
        """Return a label and a scope for the model, each layer, and the tensors of those that have several."""
        study = self._explorer.study
        assert study is not None
        rows: list[tuple[str, str | None]] = [("all weights", None)]
        for layer, names in movable_layers(study.layout).items():
            rows.append((layer, layer))
            rows += [(f"  {name.removeprefix(f'{layer}.')}", name) for name in names] if len(names) > 1 else []
        width = max(len(label) for label, _ in rows)
        counts = [Scope.parse(scope, study.layout).count(study.layout) for _, scope in rows]
        return [
            (f"{label:<{width}} {count:>10,}".replace(" ", "\u00a0"), scope)
            for (label, scope), count in zip(rows, counts, strict=True)
        ]

    def _list_layers(self) -> None:
        explorer, wanted = self._explorer, self.search.value.strip().lower()
        shown = [entry for entry in self._scopes if wanted in (entry[1] or "all weights").lower()]
        scope = explorer.scope
        if scope not in [one for _, one in self._scopes] and not wanted:
            shown = [*shown, (str(scope), scope)]  # a script's
        self._following = True
        self._listed = [one for _, one in shown]
        self.layers.options = [label for label, _ in shown] or ["nothing of that name"]
        self.layers.index = self._listed.index(scope) if scope in self._listed else None
        self._following = False

    def _choose_layer(self, change: Any) -> None:
        if not self._following and change.new is not None and change.new < len(self._listed):
            self._explorer.scope = self._listed[change.new]

    def _follow_choose(self) -> None:
        explorer = self._explorer
        named = explorer.choose == "list"
        self.weights.layout.display = None if named else "none"
        self.count.disabled = named
        self.seed.disabled = explorer.choose not in ("random", "effect")
        text = "\n".join(f"{tensor} {', '.join(map(str, index))}" for tensor, index in explorer.weights)
        if text and self.weights.value != text:
            self.weights.value = text

    def _typed(self, change: Any) -> None:
        explorer = self._explorer
        try:
            found = [parsed(line) for line in change.new.splitlines() if line.strip()]
            explorer.weights = tuple(found)
            self.wrong.value = ""
        except (ValueError, KeyError) as error:
            self.wrong.value = str(error)

    # ---- how they are measured

    def _measure(self) -> list[widgets.Widget]:
        explorer, study = self._explorer, self._explorer.study
        assert study is not None
        self.range = WideRange(explorer)
        self.points = self._number("points", 5, 401)
        self.points.layout.flex = "0 0 auto"  # in a column of its own height
        self.split = dropdown([(f"data: {name} (n = {one.n})", name) for name, one in study.evaluators.items()], "nnvis-split")
        traitlets.link((explorer, "split"), (self.split, "value"))
        sizes: list[tuple[str, int | None]] = [("all samples", None)]
        sizes += [(f"first {n} samples", n) for n in (100, 300, 1000, 3000) if n < min(e.n for e in study.evaluators.values())]
        self.samples = dropdown(sizes, "nnvis-samples")
        listed(explorer, "samples", self.samples, "first {} samples")
        return [title("Curves"), self.range, self.points, self.split, self.samples]

    def _number(self, trait: str, low: int, high: int) -> widgets.BoundedIntText:
        box = widgets.BoundedIntText(
            min=low, max=high, description=trait, layout=wide(), style={"description_width": "44px"}
        ).add_class(f"nnvis-{trait}")
        box.layout.flex = "1 1 0"
        traitlets.link((self._explorer, trait), (box, "value"))
        return box

    def _labels(self) -> list[widgets.Widget]:
        explorer = self._explorer
        self.rules = [
            RuleSlider(explorer, "plateau_length", "flat for, alpha", 0.1, 0.9, 0.05),
            RuleSlider(explorer, "plateau", "flat within, %", 1.0, 20.0, 0.5, 0.01),
            RuleSlider(explorer, "noise", "noise floor, \u00d7", 1.0, 24.0, 0.5),
        ]
        return [title("Labels"), *self.rules]

    def _display(self) -> list[widgets.Widget]:
        explorer = self._explorer
        boxes = [check(explorer, "band", "error band"), check(explorer, "shared_scale", "one loss scale")]
        return [title("Picture"), widgets.HBox(boxes, layout=widgets.Layout(flex_flow="row wrap"))]

    # ---- what acts on the diagram

    def _cursor(self) -> widgets.Box:
        explorer = self._explorer
        self.rho = RhoSlider(explorer)
        self.measured = button("Measured", "undo", self._forget, "nnvis-measured")
        self.measured.layout.width = "104px"
        self.paths = button("Paths", "line-chart", self._toggle_paths, "nnvis-paths")
        parts: list[widgets.Widget] = [self.rho, self.measured]
        if explorer.study is not None and len(explorer.study.run) > 2:
            self.mid = MidSlider(explorer)
            half = button("Half way", "adjust", explorer.mid_half_way, "nnvis-half")
            half.tooltip = "the checkpoint nearest to half of the way that the weights have travelled"
            half.layout.width = "104px"
            parts = [self.mid, half, *parts, self.paths]
        elif explorer.study is not None:
            parts.append(self.paths)
        return widgets.Box(parts, layout=widgets.Layout(flex_flow="row wrap", align_items="center", width="100%"))

    def _forget(self) -> None:
        self._explorer.what_if = None

    def _toggle_paths(self) -> None:
        explorer = self._explorer
        if explorer.openings.shown:
            explorer.close_explorers()
        else:
            explorer._try_explore()

    def follow_selected(self) -> None:
        """Show the rho of the selected weight, or the one that it is dragged to."""
        self.rho.follow()
        self.measured.disabled = self._explorer.what_if is None
        self.paths.description = "Close paths" if self._explorer.openings.shown else "Paths"
        self.paths.layout.width = "120px"

    # ---- what orders the small pictures

    def _list(self) -> widgets.Box:
        explorer = self._explorer
        self.only = toggle([("all", "all")], "nnvis-only")
        self._busy = False
        self.only.observe(self._chose_only, "value")
        self.sort = dropdown(_SORTS, "nnvis-sort")
        self.sort.layout.width = "150px"
        traitlets.link((explorer, "sort"), (self.sort, "value"))
        self.before = self._turn("nnvis-before", "chevron-left", "the page before", -1)
        self.after = self._turn("nnvis-after", "chevron-right", "the next page", 1)
        self.place = widgets.HTML().add_class("nnvis-small").add_class("nnvis-page")
        pages = widgets.HBox([self.before, self.place, self.after], layout=widgets.Layout(align_items="center"))
        return widgets.Box(
            [self.only, self.sort, pages], layout=widgets.Layout(flex_flow="row wrap", align_items="center", width="100%")
        )

    def _turn(self, name: str, icon: str, words: str, step: int) -> widgets.Button:
        made = button("", icon, lambda: self._explorer.turn_page(step), name)
        made.tooltip, made.layout.width = words, "40px"
        return made

    def _chose_only(self, change: Any) -> None:
        if not self._busy and change.new is not None:
            with self._explorer.hold_trait_notifications():
                self._explorer.only, self._explorer.page = change.new, 0

    def follow_counts(self) -> None:
        """Write how many weights have each pattern onto the buttons."""
        explorer = self._explorer
        scan = explorer.scan
        counts = scan.counts() if scan is not None else dict.fromkeys(PATTERNS, 0)
        options = [(f"all {len(scan) if scan is not None else 0}", "all")]
        options += [
            (f"{LOOKS[name].icon} {LOOKS[name].short} {count}", name)
            for name, count in counts.items()
            if count or name == explorer.only
        ]
        self._busy = True
        if tuple(options) != tuple(self.only.options):
            self.only.options = options
        if self.only.value != explorer.only:
            self.only.value = explorer.only
        self._busy = False

    def follow_page(self, at: int, pages: list[Page]) -> None:
        """Say which page is shown."""
        self.place.value = f"page {at + 1} of {len(pages)}" if pages else "nothing to show"
        self.before.disabled, self.after.disabled = at == 0, at >= len(pages) - 1


def parsed(line: str) -> tuple[str, tuple[int, ...]]:
    """Return the weight that a line names.

    Examples
    --------
    >>> parsed("fc1.weight 0, 3"), parsed("conv1.weight[0, 0, 1, 2]")
    (('fc1.weight', (0, 3)), ('conv1.weight', (0, 0, 1, 2)))
    """
    tensor, _, rest = line.strip().replace("[", " ").replace("]", " ").replace("(", " ").replace(")", " ").partition(" ")
    try:
        index = tuple(int(part) for part in rest.replace(",", " ").split())
    except ValueError:
        index = ()
    if not tensor or not index:
        raise ValueError(f"weights: a tensor and whole numbers such as fc1.weight 0, 3; received {line.strip()!r}")
    return tensor, index
