"""The measuring instrument: one model, one set of samples, one loop over points and batches.

May import: torch, numpy, the rest of core, results. Everything that is measured goes through `Evaluator.sweep`: points are
rows of coefficients of a `WeightFamily`, and the loop is batch-major, so after each batch every point has an unbiased
estimate on the same samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..results import Measurement
from .batch_timing import quickest_size
from .batchnorm import BatchNorm, calibration_of
from .calling import Forward
from .constant import constant_scores
from .curvature import Curvature
from .data import Samples
from .executors import Crew
from .family import Families, WeightFamily
from .observing import Answers, Observed, answered, joined, observed
from .points import Points
from .program.recordings import Engine, Recordings
from .program.statistics import Statistics
from .provenance import Provenance
from .replica import Replica, find_device
from .scope import Scope
from .scoring import Score, Scorer
from .states import Layout, State, snapshot
from .sweeping import Workshop
from .tally import Book, Sweep
from .tiles import coarse_to_fine
from .worker import Kit

HEARTBEAT = 0.2  # seconds between yields, at most the time of one point on one batch more


class Evaluator:
    """Measures the loss and the metrics of a model, at any weights, on fixed samples.

    Parameters
    ----------
    model : torch.nn.Module
        Read once, never written. `measure()` without a state measures the weights it has at that moment.
    data : DataLoader, Dataset, or tuple of Tensor
        A shuffling loader is read through its data set, in a fixed order.
    loss : callable, optional
        ``loss(output, target)``, one value per sample (n,) or a scalar mean. Default: cross-entropy. torch's own losses are
        measured sample by sample, class weights and ignored labels included; of any other scalar the mean of each batch is
        taken, and ``provenance["loss_is"]`` says so.
    metrics : dict of str to callable, optional
        ``metric(output, target)`` -> (n,). Default: accuracy for class targets.
    forward : callable, optional
        ``forward(model, batch)`` -> (output, target). Default: ``model(batch[0]), batch[1]``; of several
        outputs the first.
    device : str or torch.device
        "auto" is CUDA when there is one, else the CPU.
    batch_size : int, "auto" or "measured"
        "auto" is a rule: a megabyte of inputs on the CPU, at least eight batches where these hold 64 samples; equal data, equal
        bits. "measured" times forward passes of a quarter to four times that now and takes the fastest; what it took is in
        ``provenance["batch_size"]``, and given here as a number it repeats the measurement.
    samples : int, optional
        Measure on this many samples: nested subsets, stratified by class where labels are known.
    batchnorm : {"auto", "final", "interpolate", "recalibrate", "batch"}
        Running statistics between checkpoints, see `nnvis_widgets.core.batchnorm`. Checkpoints keep their own.
    calibration : like `data`, optional
        Training inputs for "recalibrate" (2048 of them are used); without them `data` is used and the results say so.
    compile : {"auto", True, False}
        True puts what is computed at each point through ``torch.compile``, which takes half a minute the first time; the first
        batch is shown before, without it. "auto" is False: on a CPU it was not repaid (benchmarks). Recorded in every result.
    grad : bool
        True for losses and models that differentiate inside their forward pass.
    engine : {"auto", "recorded", "modules", "plain"} or mapping
        How points are computed. "auto" records the forward pass as a graph of operations and computes once what the points
        share, as long as this agrees with the plain forward pass (`fallback` says why where it does not); "modules" calls the
        model at every point and spares it the modules that lie before what moves; "plain" calls all of it.
        ``provenance["engine"]`` of a result says what was chosen, and can be given here again.
    executor : concurrent.futures.Executor or dask.distributed.Client, optional
        Who computes the points: your pool of threads or (spawned) processes, or your cluster. Model and data travel now, once;
        a sweep sends its anchors, and the weights outside its scope where they are new, then tiles. All of it is dropped with
        the sweep and the evaluator. It is never resized or shut down. Default: this thread. Results are those of this thread,
        bit for bit at equal ``torch.get_num_threads()``: workers of a pool of processes get at most their share of the cores,
        threads and dask workers what you have set. Sums are entered in the same order; what a broken pool, or a cluster
        without workers, leaves undone is measured here. ``provenance`` records all of it. Where statistics are recalibrated,
        each worker does so for the points that it measures on the first batch. Checkpoints that are read from disk one by one
        (`measure_training`), derivatives (`differentiate`, Hessian planes) and outputs (`observe`, `answers`: faithfulness,
        inspections, sample sizes) stay in this thread: outputs are many times what scores are, and would have to travel back.
    name : str
        Which split the data are, as shown in results.
    seed : int
        Order of the samples.

    Raises
    ------
    ValueError
        Data, loss, labels, device or policy that cannot be measured with; the message names what would work.

    Examples
    --------
    >>> import torch
    >>> import nnvis_widgets as nv
    >>> evaluator = nv.Evaluator(torch.nn.Linear(3, 2), (torch.randn(5, 3), torch.tensor([0, 1, 1, 0, 1])), device="cpu")
    >>> evaluator
    Evaluator(Linear on test: n = 5, loss, accuracy; cpu, batches of 5, no BatchNorm)
    >>> evaluator.measure().n
    5
    """

    def __init__(
        self,
        model: nn.Module,
        data: Any,
        *,
        loss: Score | None = None,
        metrics: Mapping[str, Score] | None = None,
        forward: Forward | None = None,
        device: str | torch.device = "auto",
        batch_size: int | str = "auto",
        samples: int | None = None,
        batchnorm: str = "auto",
        calibration: Any = None,
        compile: bool | str = "auto",
        grad: bool = False,
        engine: Any = "auto",
        executor: Any = None,
        name: str = "test",
        seed: int = 0,
    ):
        if not isinstance(model, nn.Module):
            raise TypeError(f"model: a torch.nn.Module, received {type(model).__name__}")
        if compile not in ("auto", True, False):
            raise ValueError(f"compile: 'auto', True or False, received {compile!r}")
        self.model, self.name, self.seed = model, name, seed
        self.device = find_device(device)
        chosen = Engine.of(engine, self.device)
        self.compiled = compile is True or chosen.compile
        chosen = replace(chosen, compile=self.compiled)
        by_trying = batch_size == "measured"
        size = "auto" if by_trying else batch_size
        self._samples = Samples(data, samples=samples, seed=seed, batch_size=size, device=self.device)
        self._own_data = calibration is None
        self._constant: dict[int, dict[str, np.ndarray]] = {}
        self._replica = Replica(model, forward, self.device, grad, self.compiled and chosen.program == "plain")
        output, target, order = self._replica.probe(snapshot(model), self._samples.there(0))
        if by_trying:
            self._samples.rebatch(quickest_size(self._samples, self._replica, snapshot(model))[0])
            output, target, order = self._replica.probe(snapshot(model), self._samples.there(0))
        with self._replica.quiet():
            self._scorer = Scorer(loss, metrics, output, target, self._samples.size(0), self.device)
        self._scorer.check_labels(target)
        self._recordings = Recordings(self._replica, self._scorer, chosen)
        self._statistics = Statistics(self._replica, self._scorer, chosen)
        self._calibration = self._samples
        if calibration is not None and self.layout.statistics:
            self._calibration = calibration_of(calibration, self._samples, self._replica, snapshot(model), seed)
        self._batchnorm = BatchNorm(batchnorm, self._replica, self._calibration, order, self._statistics)
        given = (self._replica, self._scorer, self._samples, self._calibration, batchnorm, order, self._recordings.engine)
        crew = None if executor is None else Crew(executor, Kit(*given))
        instruments = self._replica, self._batchnorm, self._scorer, self._recordings, self._statistics, self._samples
        self._workshop = Workshop(*instruments, crew)
        known = self._samples, seed, self._replica, self._scorer, self._batchnorm, self._own_data, self._recordings
        self._provenance = Provenance(*known)

    def __repr__(self) -> str:
        return (
            f"Evaluator({type(self.model).__name__} on {self.name}: n = {self.n}, {', '.join(self.quantities)}; {self.device}, "
            f"batches of {self._samples.batch_size}, {self.batchnorm_policy()})"
        )

    @property
    def layout(self) -> Layout:
        """Names, shapes and kinds of the model's parameters and buffers."""
        return self._replica.layout

    @property
    def fallback(self) -> str:
        """Why the model is called at every point instead of its recorded forward pass; empty where it is not."""
        return self._recordings.reason or (f"calibration: {self._batchnorm.fallback}" if self._batchnorm.fallback else "")

    @property
    def n(self) -> int:
        """Number of samples that a complete measurement covers."""
        return self._samples.n

    @property
    def quantities(self) -> tuple[str, ...]:
        """Names of what is measured: "loss" and the metrics."""
        return self._scorer.names

    @property
    def functions(self) -> dict[str, Any]:
        """What turns a model and a batch into values: the forward function, the loss and the metrics, by name."""
        return {"forward": self._replica.forward, **self._scorer.functions}

    def policy(self, scope: Scope | None = None, batchnorm: str | None = None) -> str:
        """Return the BatchNorm policy in force for a scope, or what another is there: "auto" decided; "none" without statistics."""
        return self._batchnorm.resolve(scope, batchnorm)

    def batchnorm_policy(self, scope: Scope | None = None) -> str:
        """Return the words for the BatchNorm policy in force for a scope."""
        return self._batchnorm.describe(self.policy(scope), self._own_data)

    def measure(self, state: State | None = None) -> Measurement:
        """Return loss and metrics with standard errors at a state (default: the model's present weights).

        Parameters
        ----------
        state : mapping of str to Tensor, optional
            A ``state_dict()`` of the model; its own buffers are used.

        Returns
        -------
        Measurement
            ``loss`` is the mean over `n` samples, ``loss_se`` = s / sqrt(n).
        """
        state = snapshot(self.model) if state is None else state
        family = self.family(None, [state], background=state)
        for sweep in self.sweep(family, [[1.0]], policy="stored"):
            measured = sweep
        return Measurement(**measured.at(0), provenance=self.provenance(family, measured, policy="stored"))

    def observe(self, state: State | None = None) -> tuple[Tensor, Tensor]:
        """Return the outputs and the targets of every sample at a state, on the CPU, in the evaluator's sample order."""
        state = snapshot(self.model) if state is None else state
        return joined(self.observe_at(self.family(None, [state], background=state), [1.0], policy="stored"))

    def observe_at(
        self, family: WeightFamily, row: Any, *, policy: str | None = None, samples: int | None = None
    ) -> Iterator[Observed]:
        """Yield what the model answers at a row of a family, batch by batch; `policy` and `samples` as in `sweep`."""
        policy, rows = policy or self._batchnorm.resolve(family.scope), np.asarray([row], dtype=float)
        points = Points(self._replica, self._batchnorm, self._scorer, self._recordings, family, rows, policy)
        return observed(points, self._samples, self._scorer, self._samples.covering(samples))

    def answers(self, family: WeightFamily, rows: Any, *, policy: str, samples: int | None = None) -> Iterator[Answers | None]:
        """Yield loss and outputs at many rows of a family: all rows of a batch, then the next batch; None while nothing is new.

        In this thread, whatever the executor.
        """
        tools = self._replica, self._batchnorm, self._scorer, self._recordings.engine, self._samples
        return answered(*tools, family, np.asarray(rows, dtype=float), policy, self._samples.covering(samples))

    def constant(self, samples: int | None = None) -> dict[str, np.ndarray]:
        """Return loss and metrics of each sample, (n,), for the best constant answer; empty where there is none to be known."""
        batches = self._samples.covering(samples)
        if batches not in self._constant:
            state = self.layout.check(snapshot(self.model), "model")
            self._constant[batches] = constant_scores(self._replica, self._scorer, self._samples, batches, state)
        return self._constant[batches]

    def inputs(self, positions: Any) -> Any:
        """Return the inputs of chosen samples, as collated, on the CPU; only these are read.

        Parameters
        ----------
        positions : array_like of int, shape (m,)
            Places in the evaluator's order, 0 to n - 1: those of the arrays of an `Inspection`.
        """
        return self._samples.inputs(positions)

    def differentiate(self, state: State | None = None, *, scope: Any = None, samples: int | None = None) -> Curvature:
        """Return gradient and Hessian-vector products of the mean loss over the first `samples` (default: all) at a state."""
        state = self.layout.check(snapshot(self.model) if state is None else state, "state")
        return Curvature(self._replica, self._scorer, self._samples, state, Scope.parse(scope, self.layout), samples)

    def family(self, scope: Any, anchors: Sequence[State], background: State) -> WeightFamily:
        """Return the family of this model's weights that is affine in `anchors` inside the scope."""
        parsed = Scope.parse(scope, self.layout)
        checked = [self.layout.check(anchor, "state") for anchor in anchors] if isinstance(anchors, (list, tuple)) else anchors
        return WeightFamily(self.layout, parsed, checked, self.layout.check(background, "background"))

    def sweep(
        self,
        family: WeightFamily | Families,
        rows: Any,
        *,
        reference: int | Sequence[int] | None = None,
        policy: str | None = None,
        order: Sequence[int] | None = None,
        keep: int = 0,
        samples: int | None = None,
    ) -> Iterator[Sweep]:
        """Yield sums of loss and metrics at rows of coefficients: after each batch, and at least every 0.2 seconds.

        Parameters
        ----------
        family : WeightFamily or Families
            Anchors in a list are combined on the device, batch by batch. Any other sequence (checkpoints on disk) is
            visited point by point. With an executor each part of a batch has its share of every family.
        rows : array_like, shape (K, number of anchors)
        reference : int or sequence of int, optional
            The row that paired differences are taken to: one for all, or one for each row (then `order` has it before these).
        policy : str, optional
            BatchNorm policy in place of the evaluator's own.
        order : sequence of int, optional
            Every row number once, the reference first: in which order points are visited. Default: from coarse to fine.
        keep : int
            Bytes that the values of single samples may take: those of the loss, and then of each metric, are kept where all of
            them fit.
        samples : int, optional
            Go over the first batches that hold at least so many samples, and no others.

        Yields
        ------
        Sweep
            Complete batches only; within the first batch, points not yet measured are NaN. The last one is the answer.
        """
        rows = np.asarray(rows, dtype=float)
        policy = policy or self._batchnorm.resolve(family.scope)
        visited = coarse_to_fine(len(rows), reference) if order is None else list(order)  # type: ignore[arg-type]
        batches = self._samples.covering(samples)
        n = self._samples.count(batches)
        kept = n if keep > 0 else 0
        books = Book(self._scorer.names, len(rows), reference), Book(self._scorer.names, len(rows), reference, kept, keep)
        return self._workshop.sweep(family, rows, visited, policy, batches, books, HEARTBEAT)

    def provenance(self, family: WeightFamily, sweep: Sweep, *, policy: str | None = None) -> dict[str, Any]:
        """Return what it takes to repeat a measurement: data, weights, policy, numerics and versions."""
        return {"split": self.name, **self._provenance.of(family, sweep, policy or self._batchnorm.resolve(family.scope))}

    def covered(self, samples: int | None = None) -> int:
        """Return how many samples a complete sweep covers: whole batches, the first that hold at least as many as asked for."""
        return self._samples.count(self._samples.covering(samples))

    def promised(self, family: WeightFamily, *, policy: str | None = None, samples: int | None = None) -> dict[str, Any]:
        """Return the provenance of a complete sweep before it is done, but for who does it; the samples are read for it."""
        batches = self._samples.covering(samples)
        return self.provenance(family, Sweep({}, self._samples.count(batches), 1.0, batches), policy=policy)

    def updated(self, provenance: dict[str, Any], sweep: Sweep) -> dict[str, Any]:
        """Return provenance for more of the same sweep: the samples covered differ, and who has measured them."""
        return self._provenance.updated(provenance, sweep)
