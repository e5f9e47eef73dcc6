"""What the sixth chapter of the thesis says, as far as our notes on it go, and which claims decide on each statement.

May import: results, judging. The thesis's text is not part of this project: statements are paraphrased from notes that were taken
when it was read, and where only the topic of a figure was noted, the question is ours and says so. Nothing here is a quotation.
What the thesis's own scripts do is public (suzrz/vis_net_loss_landscape, suzrz/nnvis) and said where it matters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...results import Claim
from . import judging
from .judging import Studies

NOTES = "paraphrased from notes on the thesis"
TOPIC = "noted by topic only; the question is ours"
CHECK = "our check of the statement before"
TRAINING, PRELIMINARY, LAYERS, MODEL = "network and training", "Figs. 6.2 to 6.4", "Fig. 6.5 and its text", "paths of the model"
PATTERNS, SURFACES = "§ 6.4, Figs. 6.7 to 6.9, 6.15 to 6.25", "§ 6.5, Figs. 6.26 and 6.27"


@dataclass(frozen=True)
class Statement:
    """One statement, and what decides on it.

    Attributes
    ----------
    key, where, says, source, remark : str
    needs : tuple of str
        Names of studies, or what these begin with.
    claims : callable
        From studies to claims; the same claims whatever the numbers are.
    """

    key: str
    where: str
    says: str
    source: str
    needs: tuple[str, ...]
    claims: Callable[[Studies], list[Claim]]
    remark: str = ""

    def measured(self, studies: Studies) -> bool:
        """Whether the studies that it needs are there."""
        return all(any(name == need or name.startswith(f"{need}/") for name in studies) for need in self.needs)


STATEMENTS = (
    Statement(
        "accuracy",
        TRAINING,
        "The trained network classifies about 98 % of the test images correctly.",
        NOTES,
        ("training",),
        judging.accuracy,
        "Held to be reached from 97.5 % on. Learning rate 0.01, momentum 0.5 and a decay of 0.7 an epoch are those of the thesis's "
        "scripts. These train 13 epochs where nothing else is asked for; the notes say 15, as here.",
    ),
    Statement(
        "epochs",
        PRELIMINARY,
        "Fifteen epochs are enough: by then the network no longer improves.",
        NOTES,
        ("training",),
        judging.last_epochs,
        "Asked of the recorded runs. With the decaying rate half a per cent of the first learning rate is left: it must be so.",
    ),
    Statement(
        "more-epochs",
        PRELIMINARY,
        "The same, of trainings that go on for longer; and is it the learning rate that ends them?",
        CHECK,
        ("epochs",),
        judging.more_epochs,
        "Trained on a part of the images; the upper end is a bound for all epochs and seeds at once. Where the rate is below a "
        "tenth of its first value, any curve is flat.",
    ),
    Statement(
        "training-size",
        PRELIMINARY,
        "The curve over sizes of the training set, at equal epochs, shows what more data are worth.",
        TOPIC,
        ("training-size",),
        judging.training_size,
        "At equal epochs fewer images also mean fewer optimiser steps. It is about data where four fifths of the fall are left.",
    ),
    Statement(
        "test-size",
        PRELIMINARY,
        "With 8000 of the 10 000 test images the results are stable.",
        NOTES,
        ("test-size",),
        judging.test_size,
        "Subsets of 80 % share most of their images: they agree with each other more than with other images of the same kind. The "
        "notes say 100 repeats; the scripts make 10, or 100 on one and the same subset.",
    ),
    Statement(
        "first-layer",
        LAYERS,
        "Of all layers fc1 has the largest impact, conv1 the second largest.",
        NOTES,
        ("layers",),
        judging.layer_order,
        "The caption names conv1 for both places; the text has this order. Impact is taken as the harm of putting one layer back, "
        "once by the loss and once by the accuracy: the two need not agree.",
    ),
    Statement(
        "robust-layers",
        LAYERS,
        "fc1 and conv1 are of the kind whose reset ruins the network (there called robust).",
        NOTES,
        ("layers",),
        judging.harmful_layers,
        "In the literature such layers are critical, and robust is what the others are (Zhang, Bengio and Singer).",
    ),
    Statement(
        "ambient-layers",
        LAYERS,
        "The other layers can be put back to their initial weights without harm (there called ambient).",
        NOTES,
        ("layers",),
        judging.harmless_layers,
        "Harmless: the whole interval of the drop lies below one point of accuracy.",
    ),
    Statement(
        "meets-training",
        MODEL,
        "The quadratic path meets the curve of the real training at about alpha 0.5.",
        NOTES,
        ("path", "training", "faithfulness"),
        judging.meeting,
        "True by construction: the path is drawn through that checkpoint.",
    ),
    Statement(
        "quadratic-nearer",
        MODEL,
        "The quadratic path describes the training better than the linear one.",
        NOTES,
        ("faithfulness",),
        judging.quadratic_nearer,
        "Both over the share of the epochs, at checkpoints that are no knots of either.",
    ),
    Statement(
        "bend-helps",
        MODEL,
        "It does so because its shape is closer to the way that the training took.",
        NOTES,
        ("faithfulness",),
        judging.bend_helps,
        "Controls: its timing without its bend, and the line timed by the way travelled. Where these are as near, it is timing.",
    ),
    Statement(
        "runs-away",
        MODEL,
        "Outside of [0, 1] the quadratic path runs away.",
        NOTES,
        ("path",),
        judging.running_away,
        "At -0.5 and 1.5 it is three times as far from the line as in its middle, on the other side: an identity.",
    ),
    Statement(
        "distance",
        "Fig. 6.6",
        "Weights that travelled farther, which are drawn more opaque, matter more.",
        TOPIC,
        ("scan",),
        judging.distance_and_effect,
        "The figure shows the weights of a layer in one plot, with opacity by distance. In the scripts all layers share "
        "one scale of opacity; here the question is asked within each.",
    ),
    Statement(
        "five-patterns",
        PATTERNS,
        "The two paths of a weight form one of five patterns: descending linear with convex quadratic, "
        "ascending with concave, flat region, bump, wave.",
        NOTES,
        ("scan",),
        judging.five_patterns,
        "Weights are drawn at random from each layer; those without any effect on the loss are left out.",
    ),
    Statement(
        "bump-rule",
        "§ 6.4",
        "With a flat region the linear path still falls at alpha 1; with a bump it has begun to rise before.",
        NOTES,
        ("scan",),
        judging.bump_rule,
        "Asked of weights whose quadratic path turns round, beyond the end of their way. A bump needs a minimum before that place: "
        "so one minimum means that the line still falls, but with a bump it may, too.",
    ),
    Statement(
        "small-changes",
        "Fig. 6.16",
        "Changes of the accuracy by some 0.05 points along the path of one weight are its effect.",
        NOTES,
        ("training", "weight"),
        judging.small_changes,
        "0.05 points are four of 8000 images. It takes a measurement that can tell so little.",
    ),
    Statement(
        "oscillation",
        "Figs. 6.9 and 6.20 b",
        "A curve that goes up and down shows a weight that oscillates during training.",
        NOTES,
        ("scan", "course"),
        judging.oscillation,
        "The curve is a fixed function of alpha and knows three checkpoints. Held against the recorded values: 0 is no "
        "association, 1 the same order; from 0.5 on it is taken as a sign that one can rely on.",
    ),
    Statement(
        "planes",
        SURFACES,
        "A random plane shows next to nothing of the training's way; the plane of its principal components shows it.",
        TOPIC,
        ("trajectory",),
        judging.planes,
        "A long random walk has 76 % of its variance in two components: much of it in a plane says little about a training.",
    ),
)
