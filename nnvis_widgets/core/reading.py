"""How the user's data are read: by index, and never through a shuffling loader.

May import: torch, numpy. Iterating a ``DataLoader`` would draw from the global random state and start worker processes, so only
its data set, its collate function and, where it is a fixed subset, its sampler's indices are used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    default_collate,
)


class DataError(ValueError):
    """Data that cannot be measured on: empty, of unequal lengths, random, or changed between two reads."""


def reader(data: Any):
    """Return a function from indices to a collated batch, the number of samples, and the class labels or None."""
    if isinstance(data, DataLoader):
        return _loader_reader(data)
    if isinstance(data, (tuple, list)) and data and all(isinstance(part, (Tensor, np.ndarray)) for part in data):
        tensors = [torch.as_tensor(part).detach() for part in data]
        lengths = {len(tensor) if tensor.ndim else 0 for tensor in tensors}
        if len(lengths) != 1:
            raise DataError(f"data: tensors of one length, received shapes {[tuple(t.shape) for t in tensors]}")
        return Tensors(tensors), lengths.pop(), _labels(tensors[1] if len(tensors) > 1 else None)
    if isinstance(data, IterableDataset):
        raise DataError(
            "data: an iterable data set has no fixed order; collect it once: torch.utils.data.default_collate(list(dataset))"
        )
    listed = hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, (str, bytes, Mapping))
    if listed and not isinstance(data, type):
        return _dataset_reader(data, default_collate)
    if isinstance(data, Dataset):
        raise DataError(f"data: the data set {type(data).__name__} has no length; give it a __len__, or pass a list of its samples")
    raise DataError(f"data: a DataLoader, a Dataset, or a tuple of tensors (inputs, targets); received {type(data).__name__}")


@dataclass(frozen=True)
class Tensors:
    """Reads samples out of tensors of one length."""

    tensors: list[Tensor]

    def __call__(self, indices: np.ndarray) -> list[Tensor]:
        """Return some samples of each tensor."""
        index = torch.as_tensor(indices)
        return [tensor[index.to(tensor.device)] for tensor in self.tensors]


@dataclass(frozen=True)
class _Items:
    dataset: Any
    collate: Callable[[list[Any]], Any]

    def __call__(self, indices: np.ndarray) -> Any:
        return self.collate([self.dataset[int(i)] for i in indices])


def _dataset_reader(dataset: Any, collate: Any):
    return _Items(dataset, collate), len(dataset), _dataset_labels(dataset)


def _loader_reader(loader: DataLoader):
    if isinstance(loader.dataset, IterableDataset):
        return reader(loader.dataset)
    if loader.batch_sampler is None or type(loader.batch_sampler) is not torch.utils.data.BatchSampler:
        raise DataError(
            "data: this loader makes its own batches, which cannot be put in a fixed order; pass its data set, loader.dataset"
        )
    sampler = loader.sampler
    dataset: Any = loader.dataset
    if isinstance(sampler, SubsetRandomSampler):
        dataset = Subset(dataset, sorted(int(i) for i in sampler.indices))
    elif isinstance(sampler, RandomSampler):
        if sampler.replacement or len(sampler) != len(dataset):
            raise DataError("data: the loader draws with replacement or only a part; pass loader.dataset or a Subset of it")
    elif not isinstance(sampler, SequentialSampler):
        raise DataError(
            f"data: a loader with a {type(sampler).__name__} visits samples in its own way; pass loader.dataset, or a "
            "torch.utils.data.Subset of the samples to measure on"
        )
    return _dataset_reader(dataset, loader.collate_fn)


def _dataset_labels(dataset: Any) -> np.ndarray | None:
    if isinstance(dataset, Subset):
        labels = _dataset_labels(dataset.dataset)
        return None if labels is None else labels[np.asarray(dataset.indices, dtype=int)]
    if isinstance(dataset, torch.utils.data.TensorDataset):
        return _labels(dataset.tensors[1] if len(dataset.tensors) > 1 else None)
    for name in ("targets", "labels"):
        labels = _labels(getattr(dataset, name, None))
        if labels is not None and len(labels) == len(dataset):
            return labels
    return None


def _labels(values: Any) -> np.ndarray | None:
    if values is None:
        return None
    try:
        labels = torch.as_tensor(values).detach().cpu().numpy()
    except (TypeError, ValueError, RuntimeError):
        return None
    return labels if labels.ndim == 1 and labels.dtype.kind in "iub" and len(labels) else None
