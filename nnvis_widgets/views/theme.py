"""Colours, line styles and the style sheet that every view shares.

May import: the standard library, ipywidgets. Hues are Okabe and Ito's (told apart by colour-blind readers); the colours of
text, axes and the real run are JupyterLab's own variables, so pictures follow the light and the dark theme.
"""

from __future__ import annotations

import ipywidgets as widgets

INK = "var(--jp-content-font-color1)"
FAINT = "var(--jp-content-font-color2)"
LINEAR, QUADRATIC, OTHER = "#0072B2", "#D55E00", "#CC79A7"
# Dark backgrounds swallow Okabe and Ito's blue; this lighter one of the same family reads on both.
KIND_COLOURS = {"linear": "#2B8CCB", "quadratic": QUADRATIC, "lagrange": OTHER, "training": INK}
KIND_DASHES = {"linear": "solid", "quadratic": "dashed", "lagrange": "dash_dotted"}
SERIES = ["#2B8CCB", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#B8A800", "#9467BD", "#8C6D4F", "#7F7F7F"]
PIN = "#8A8A8A"
CROSSING = "#009E73"

_STYLE = """
.nnvis { font-size: 13px; color: var(--jp-content-font-color1); }
.nnvis .nnvis-panel { border: 1px solid var(--jp-border-color2); border-radius: 6px; padding: 8px; }
.nnvis .nnvis-title { font-weight: 600; color: var(--jp-content-font-color1); line-height: 1.5; }
.nnvis .nnvis-small, .nnvis .nnvis-state { color: var(--jp-content-font-color2); font-size: 12px; }
.nnvis .nnvis-error { color: var(--jp-error-color1); }
.nnvis .widget-html-content { line-height: 1.45; }
.nnvis .nnvis-legend, .nnvis .nnvis-state, .nnvis .nnvis-small, .nnvis .nnvis-read, .nnvis .nnvis-error { height: auto; }
.nnvis .nnvis-legend span.item, .nnvis .nnvis-small span.item { display: inline-block; margin-right: 14px; white-space: nowrap; }
.nnvis .nnvis-read { font-variant-numeric: tabular-nums; }
.nnvis .nnvis-read b { margin-right: 8px; }
.nnvis .nnvis-read span.item { display: inline-block; margin-right: 10px; }
.nnvis .nnvis-faith { box-sizing: border-box; border: 1px solid var(--jp-border-color2); border-radius: 6px; }
.nnvis .nnvis-faith { padding: 6px 8px; margin: 4px 0; }
.nnvis .nnvis-faith-text { height: auto; overflow: hidden; }
.nnvis .nnvis-faith-text .widget-html-content, .nnvis .nnvis-cards .widget-html-content { min-width: 0; max-width: 100%; }
.nnvis .nnvis-faith-text summary { color: var(--jp-content-font-color2); cursor: pointer; }
.nnvis .nnvis-faith-text details { max-width: 100%; overflow-x: auto; font-size: 12px; }
.nnvis .nnvis-table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.nnvis .nnvis-table :is(th, td) { text-align: left; padding: 1px 14px 1px 0; white-space: nowrap; }
.nnvis .nnvis-table :is(th, td) { border-bottom: 1px solid var(--jp-border-color2); }
.nnvis .nnvis-table td span { color: var(--jp-content-font-color2); }
.nnvis .nnvis-faith-text td { white-space: normal; }
.nnvis .nnvis-faith-text td:nth-child(2) { white-space: nowrap; }
.nnvis .nnvis-faith-text td span { display: inline-block; white-space: nowrap; }
.nnvis .nnvis-range .widget-readout { min-width: 96px; }
.nnvis select { font-family: var(--jp-code-font-family, monospace); font-size: 12px; }
.nnvis .bqplot text.axislabel { font-size: 12px; }
.nnvis .bqplot .axis path, .nnvis .bqplot .axis line { stroke: var(--jp-content-font-color3); }
.nnvis .bqplot text { fill: var(--jp-content-font-color1); }
.nnvis .bqplot .mainheading { font-size: 14px; }
.nnvis .bqplot:focus { outline: none; }
.nnvis .nnvis-phase path.dot { pointer-events: all; cursor: grab; }
.tooltip_div { pointer-events: none; }
.nnvis .nnvis-phase text.label { pointer-events: none; }
.nnvis-preliminary .lm-TabBar-tab { min-width: max-content !important; }
.nnvis .nnvis-stale { opacity: 0.4; }
.nnvis .nnvis-curves:focus-visible { outline: 2px solid var(--jp-brand-color1); outline-offset: -2px; }
.nnvis .ipyvolume-toolicon > :is(.fa-eye, .fa-arrow-up, .fa-pencil-square-o, .fa-search-plus, .fa-cut, .fa-cog) { display: none; }
.nnvis .nnvis-rowspace { container-type: inline-size; }
.nnvis .nnvis-rows { cursor: pointer; user-select: none; }
.nnvis .nnvis-names, .nnvis .nnvis-numbers { height: auto; }
.nnvis .nnvis-row { max-width: 210px; padding: 0 8px 0 2px; line-height: 26px; }
.nnvis .nnvis-row { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.nnvis .nnvis-head { line-height: 38px; padding: 0 2px; font-size: 12px; color: var(--jp-content-font-color2); }
.nnvis .nnvis-picked { background: color-mix(in srgb, #888888 20%, transparent); }
.nnvis .nnvis-row:hover, .nnvis .nnvis-cells tr[data-row]:hover { background: color-mix(in srgb, #888888 12%, transparent); }
.nnvis .nnvis-grey { color: var(--jp-content-font-color3); }
.nnvis .nnvis-joint { color: #CC79A7; }
.nnvis .nnvis-cells { border-spacing: 0; font-size: 12px; font-variant-numeric: tabular-nums; line-height: 1; }
.nnvis .nnvis-cells th, .nnvis .nnvis-cells td { padding: 0 8px; text-align: right; white-space: nowrap; font-weight: normal; }
.nnvis .nnvis-cells thead th { color: var(--jp-content-font-color2); vertical-align: bottom; padding-bottom: 5px; }
.nnvis .nnvis-cells .nnvis-name { display: none; text-align: left; max-width: 130px; overflow: hidden; text-overflow: ellipsis; }
.nnvis .nnvis-cells td:first-of-type, .nnvis .nnvis-cells th:nth-child(2) { text-align: left; }
.nnvis .nnvis-cells svg { vertical-align: middle; }
.nnvis .nnvis-pairs { border-collapse: separate; border-spacing: 2px; table-layout: fixed; width: calc(100% - 8px); }
.nnvis .nnvis-pairs { font-variant-numeric: tabular-nums; line-height: 1.3; }
.nnvis .nnvis-pairs th { font-weight: normal; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.nnvis .nnvis-pairs thead th { vertical-align: bottom; padding-bottom: 2px; text-align: center; }
.nnvis .nnvis-pairs thead th.upright span { writing-mode: vertical-rl; transform: rotate(180deg); }
.nnvis .nnvis-pairs tbody th { text-align: left; padding-right: 6px; }
.nnvis .nnvis-pairs tbody td { text-align: center; height: 26px; min-width: 34px; padding: 1px 0; white-space: nowrap; }
.nnvis .nnvis-pairs tbody td { border-radius: 3px; font-size: 12px; }
.nnvis .nnvis-pairs.dense tbody td { font-size: 10.5px; min-width: 28px; }
.nnvis .nnvis-pairs small { display: block; font-size: 10.5px; font-weight: normal; }
.nnvis .nnvis-pairs td.both { color: var(--jp-content-font-color2); }
.nnvis .nnvis-pairs td.alone { background: color-mix(in srgb, #888888 16%, transparent); }
.nnvis .nnvis-pairs td.sure { font-weight: 700; }
.nnvis .nnvis-maybe { background-image: repeating-linear-gradient(135deg, transparent 0 5px, rgba(110, 110, 110, 0.38) 5px 6px); }
.nnvis .nnvis-pairs td.framed { outline: 2px solid var(--jp-content-font-color1); outline-offset: 0; }
.nnvis .nnvis-pairs td:hover { outline: 2px solid var(--jp-content-font-color3); }
@container (max-width: 640px) {
  .nnvis .nnvis-rows { flex-wrap: wrap; }
  .nnvis .nnvis-cells .nnvis-name { display: table-cell; }
  .nnvis .nnvis-besides .nnvis-names { display: none; }
  .nnvis .nnvis-cells td[colspan] { white-space: normal; text-align: left; line-height: 1.3; }
}
@container (max-width: 800px) {
  .nnvis .nnvis-wide { flex-wrap: wrap; }
  .nnvis .nnvis-wide .nnvis-cells .nnvis-name { display: table-cell; }
  .nnvis .nnvis-cells th, .nnvis .nnvis-cells td { padding: 0 4px; }
}
.nnvis a.nnvis-link { color: var(--jp-content-link-color, #0072B2); text-decoration: underline; }
"""


def style_sheet() -> widgets.HTML:
    """Return the style sheet as an invisible widget, to be put into an explorer once."""
    return widgets.HTML(f"<style>{_STYLE}</style>", layout=widgets.Layout(height="0", margin="0", overflow="hidden"))


def swatch(colour: str, dash: str = "solid") -> str:
    """Return a short line, a dot or a ring, as HTML for a legend."""
    if dash == "dot":
        return f'<span style="color:{colour}">&#9679;</span>'
    if dash == "ring":
        return f'<span style="color:{colour}">&#9711;</span>'
    rim = "box-shadow:0 0 0 1px #404040;" if dash == "haloed" else ""  # what is drawn with a dark rim: white is seen, too
    style = {"dashed": "dashed", "dash_dotted": "dotted"}.get(dash, "solid")
    line = f"display:inline-block;width:22px;border-top:3px {style} {colour};{rim}"
    return f'<span style="{line}vertical-align:middle;margin-right:5px"></span>'
