"""Results as files: figures of paths and surfaces, tables, animations, each written whole or not at all.

May import: results. Figures are made without pyplot: neither a display nor its global state is used.
"""

from .animation import animate_trajectory
from .faithfulness import faithfulness_figure, origins_figure
from .files import PICTURES, file_stem, replacing, save_figure, save_table, write_whole
from .layers import layer_figure, layer_history_figure
from .parameters import phase_figure, scan_figure
from .paths import moved, movement_figure, overview_figure, path_figure, scopes_figure
from .preliminary import preliminary_figure
from .surfaces import surface_figure, surface_figure_3d
from .together import course_figure, opacity_figure, training_figure

__all__ = [
    "PICTURES",
    "animate_trajectory",
    "course_figure",
    "faithfulness_figure",
    "file_stem",
    "layer_figure",
    "layer_history_figure",
    "moved",
    "movement_figure",
    "opacity_figure",
    "origins_figure",
    "overview_figure",
    "path_figure",
    "phase_figure",
    "preliminary_figure",
    "replacing",
    "save_figure",
    "save_table",
    "scan_figure",
    "scopes_figure",
    "surface_figure",
    "surface_figure_3d",
    "training_figure",
    "write_whole",
]
