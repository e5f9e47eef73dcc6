"""Look into the training of a neural network from inside a notebook.

The names below are loaded when they are first used: importing the analysis core needs no widget package.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Recorder": "runs.recorder",
    "Run": "runs.run",
    "Evaluator": "core.evaluator",
    "LagrangePath": "core.family",
    "LinearPath": "core.family",
    "QuadraticPath": "core.family",
    "Plane": "core.plane",
    "random_plane": "core.directions",
    "three_point_plane": "core.directions",
    "pca_plane": "core.principal",
    "iter_pca_plane": "core.principal",
    "Inspection": "results",
    "hessian_plane": "core.hessian",
    "iter_hessian_plane": "core.hessian",
    "Measurement": "results",
    "ParameterScan": "results",
    "PathResult": "results",
    "MovementTable": "results",
    "Statements": "results",
    "WeightCourse": "results",
    "SurfaceResult": "results",
    "Trajectory": "results",
    "LayerStudy": "results",
    "LayerHistory": "results",
    "JointReset": "results",
    "PairwiseReset": "results",
    "LayerAgreement": "results",
    "ResultSet": "results",
    "load": "results",
    "iter_path": "experiments.paths",
    "iter_paths": "experiments.paths",
    "iter_training": "experiments.training",
    "measure_path": "experiments.paths",
    "measure_paths": "experiments.paths",
    "measure_training": "experiments.training",
    "iter_parameters": "experiments.parameters",
    "measure_parameters": "experiments.parameters",
    "estimate_seconds": "experiments.estimate",
    "measure_movement": "experiments.movement",
    "iter_weight_course": "experiments.course",
    "measure_weight_course": "experiments.course",
    "iter_surface": "experiments.surfaces",
    "measure_surface": "experiments.surfaces",
    "inspect_point": "experiments.inspection",
    "inspect_state": "experiments.inspection",
    "iter_layers": "experiments.layers",
    "measure_layers": "experiments.layers",
    "compare_layer_studies": "experiments.layers",
    "iter_layer_history": "experiments.layer_history",
    "measure_layer_history": "experiments.layer_history",
    "iter_joint_reset": "experiments.joint_reset",
    "measure_joint_reset": "experiments.joint_reset",
    "iter_pairwise_resets": "experiments.pairwise_resets",
    "measure_pairwise_resets": "experiments.pairwise_resets",
    "iter_line": "experiments.lines",
    "measure_line": "experiments.lines",
    "FaithfulnessReport": "results",
    "FaithfulnessAgreement": "results",
    "compare_faithfulness": "experiments.faithful_runs",
    "iter_faithfulness": "experiments.faithfulness",
    "measure_faithfulness": "experiments.faithfulness",
    "EpochStudy": "results",
    "TrainingSizeStudy": "results",
    "TestSizeStudy": "results",
    "SamplesNeeded": "results",
    "preliminary_epochs": "experiments.preliminary",
    "iter_preliminary_epochs": "experiments.preliminary",
    "preliminary_training_size": "experiments.training_size",
    "iter_preliminary_training_size": "experiments.training_size",
    "preliminary_test_size": "experiments.sample_size",
    "iter_preliminary_test_size": "experiments.sample_size",
    "samples_needed": "experiments.samples_needed",
    "iter_samples_needed": "experiments.samples_needed",
    "animate_trajectory": "export",
    "preliminary_figure": "export",
    "faithfulness_figure": "export",
    "surface_figure": "export",
    "layer_figure": "export",
    "layer_history_figure": "export",
    "surface_figure_3d": "export",
    "LeNet": "demo",
    "load_demo": "demo",
    "load_demo_training": "demo",
    "load_thesis": "demo.thesis",
    "ParameterExplorer": "widgets.parameter_explorer",
    "PathExplorer": "widgets.path_explorer",
    "LayerMap": "widgets.layer_map",
    "PreliminaryStudy": "widgets.preliminary_study",
    "SurfaceExplorer": "widgets.surface_explorer",
    "TrainingMonitor": "widgets.training_monitor",
    "Workbench": "widgets.workbench",
    "recipe_of": "views.recipe",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
