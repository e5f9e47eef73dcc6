"""The figures of the thesis's sixth chapter, one after the other: what they show, how that is known, and what is here for them.

May import: results. "Notes" were taken when the thesis was read; "scripts" are those that its pictures were made with, which are
public (suzrz/vis_net_loss_landscape, suzrz/nnvis): they say which kinds of pictures there are, and not which number each has.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...results.statement_words import html_table

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class FigureEntry:
    """Some figures of the chapter.

    Attributes
    ----------
    numbers, topic, known : str
        Which; what they show; how that is known.
    ours : str
        What the notebook shows for them.
    keys : tuple of str
        The statements that go with them.
    """

    numbers: str
    topic: str
    known: str
    ours: str
    keys: tuple[str, ...] = ()


HEADS = ("figures", "topic", "known from", "here", "statements")


class Figures(tuple[FigureEntry, ...]):
    """The figures of the chapter in their order, and last its tables."""

    def to_pandas(self) -> pandas.DataFrame:
        """Return one row for each entry."""
        import pandas

        return pandas.DataFrame(self._rows(), columns=list(HEADS))

    def _repr_html_(self) -> str:
        rows = [[html.escape(part) for part in row] for row in self._rows()]
        return html_table(list(HEADS), rows, [6, 16, 11, 13, 9])

    def _rows(self) -> list[list[str]]:
        return [[entry.numbers, entry.topic, entry.known, entry.ours, ", ".join(entry.keys)] for entry in self]


FIGURES = Figures(
    (
        FigureEntry(
            "6.2 to 6.4",
            "preliminary experiments: loss and accuracy over 2 to 30 epochs, over 1000 to 60 000 training images, and in random "
            "subsets of 1000 to 10 000 test images (box plots)",
            "notes: the topics, not which number has which; scripts: the sizes",
            "the three experiments, with intervals and controls; the losses of the recorded trainings",
            ("accuracy", "epochs", "more-epochs", "training-size", "test-size"),
        ),
        FigureEntry(
            "6.5",
            "the linear paths of all layers and of the whole model in one plot, loss and accuracy",
            "notes: topic and statements; scripts",
            "the same; each layer put back, with simultaneous intervals",
            ("first-layer", "robust-layers", "ambient-layers"),
        ),
        FigureEntry(
            "6.6",
            "the linear paths of many weights of a layer in one plot, opacity by distance",
            "notes: the topic, not the layer; scripts: one such plot for each layer",
            "this plot for each layer, with the quadratic paths beside",
            ("distance",),
        ),
        FigureEntry(
            "6.7 and 6.8",
            "single weights, linear and quadratic",
            "notes: the topic, not which weights",
            "weights by pattern",
            ("five-patterns",),
        ),
        FigureEntry(
            "6.9",
            "a weight whose curve goes up and down",
            "notes: topic and statement",
            "what such weights did during training",
            ("oscillation",),
        ),
        FigureEntry(
            "6.10 to 6.14",
            "not known. Two kinds of pictures that the scripts make are not among the figures that were noted: the model on both "
            "paths with the real training, and each layer on both paths. There are five figures and five layers",
            "nothing noted; scripts: the kinds of pictures only",
            "both kinds: the model, and each of the five layers, on both paths",
            ("meets-training", "quadratic-nearer", "bend-helps", "runs-away"),
        ),
        FigureEntry(
            "6.15",
            "single weights by pattern, linear and quadratic together",
            "notes: the topic, not which weights",
            "weights by pattern",
            ("five-patterns", "bump-rule"),
        ),
        FigureEntry(
            "6.16",
            "the accuracy along the path of a weight, with small changes",
            "notes: topic and statement",
            "loss and accuracy of the weight of fc1 that moved most, with bands",
            ("small-changes",),
        ),
        FigureEntry(
            "6.17 to 6.19",
            "single weights by pattern",
            "notes: the topic, not which weights",
            "weights by pattern",
            ("five-patterns",),
        ),
        FigureEntry(
            "6.20",
            "single weights by pattern; b is called oscillating",
            "notes: topic and statement",
            "turns during training against extrema of the curve",
            ("five-patterns", "oscillation"),
        ),
        FigureEntry(
            "6.21 to 6.25",
            "single weights by pattern",
            "notes: the topic, not which weights",
            "weights by pattern",
            ("five-patterns",),
        ),
        FigureEntry(
            "6.26 and 6.27",
            "surfaces around the trained weights: two random directions, two principal components with the way of the training",
            "notes: the topics; scripts: 20 x 20 points on [-1, 2] for the random one",
            "both planes, with the training projected on them and what of it lies outside",
            ("planes",),
        ),
        FigureEntry(
            "tables",
            "not known: neither their numbers nor what they hold",
            "nothing noted",
            "of ours: layers (distances, resets), weights by pattern, faithfulness, all statements",
        ),
    )
)
