import collections
import random

import factories
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

import nnvis_widgets as nv
from nnvis_widgets.core.batch_timing import quickest_size
from nnvis_widgets.core.data import DataError, Samples, _digest, move, stratified_order
from nnvis_widgets.core.replica import Replica
from nnvis_widgets.core.states import snapshot

CPU = torch.device("cpu")


def samples(data, **options):
    return Samples(data, **{"samples": None, "seed": 0, "batch_size": 16, "device": CPU, **options})


def rows(data, **options):
    """All inputs of the samples, in order."""
    read = samples(data, **options)
    return torch.cat([read.batch(number)[0] for number in range(len(read))])


class Plain(Dataset):
    """A data set that says nothing of its labels."""

    def __init__(self, data, noise=False, changing=False):
        self.data, self.noise, self.changing = data, noise, changing
        self.reads = collections.Counter()

    def __len__(self):
        return len(self.data[0])

    def __getitem__(self, i):
        self.reads[i] += 1
        x, y = self.data[0][i], int(self.data[1][i])
        if self.noise:
            x = x + torch.randn(x.shape)
        if self.changing and self.reads[i] > 1:
            x = x + 1
        return x, y


class TestOrder:
    def test_every_sample_once(self, data):
        order = samples(data).order
        assert sorted(order) == list(range(57))
        assert not np.array_equal(order, np.arange(57))

    def test_the_same_seed_the_same_order(self, data):
        assert np.array_equal(samples(data, seed=3).order, samples(data, seed=3).order)
        assert not np.array_equal(samples(data, seed=3).order, samples(data, seed=4).order)

    def test_a_smaller_number_of_samples_is_the_beginning_of_a_larger(self, data):
        assert np.array_equal(samples(data, samples=20).order, samples(data).order[:20])

    def test_every_prefix_holds_the_classes_in_their_shares(self):
        labels = np.repeat([0, 1, 2], [60, 25, 15])
        order = stratified_order(labels, np.random.default_rng(0))
        for m in range(1, 101):
            counts = np.bincount(labels[order[:m]], minlength=3)
            assert np.abs(counts - m * np.array([0.60, 0.25, 0.15])).max() <= 1.6

    def test_any_sample_may_be_the_first(self):
        labels = np.repeat([0, 1], [3, 7])
        first = collections.Counter(int(stratified_order(labels, np.random.default_rng(seed))[0]) for seed in range(2000))
        assert set(first) == set(range(10))
        assert all(130 <= count <= 270 for count in first.values())

    @pytest.mark.parametrize("known", ["tensors", "TensorDataset", "Subset", "targets"])
    def test_labels_are_found_without_reading_the_data(self, data, known):
        plain = Plain(data)
        plain.targets = data[1].tolist()
        source = {
            "tensors": data,
            "TensorDataset": TensorDataset(*data),
            "Subset": Subset(TensorDataset(*data), range(1, 57)),
            "targets": plain,
        }[known]
        assert samples(source).stratified
        assert sum(plain.reads.values()) <= 2 * 18

    def test_real_targets_are_no_classes(self):
        assert not samples(factories.vectors()).stratified


def by_hand(labels, rng):
    """The stratified order, label by label."""
    key = np.empty(len(labels))
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        key[members] = (np.arange(len(members)) + rng.random(len(members))) / len(members)
    return np.argsort(key, kind="stable")


class TestManyLabels:
    def test_the_order_is_that_of_a_loop_over_the_labels(self):
        labels = np.random.default_rng(3).integers(-4, 9, 500)
        assert np.array_equal(stratified_order(labels, np.random.default_rng(7)), by_hand(labels, np.random.default_rng(7)))

    def test_the_labels_are_sorted_and_not_compared_with_each_of_them(self):
        class Sorted(np.ndarray):
            def __eq__(self, other):
                raise AssertionError("a look at all labels for each of them")

            __hash__ = None

        order = stratified_order(np.arange(500).view(Sorted), np.random.default_rng(0))
        assert sorted(order) == list(range(500))

    @pytest.mark.parametrize(("kinds", "stratified"), [(5, True), (6, False), (50, False)])
    def test_hardly_a_sample_a_class_is_not_stratified(self, kinds, stratified):
        read = samples((torch.zeros(50, 2), torch.arange(50) % kinds))
        assert read.stratified is stratified
        assert sorted(read.order) == list(range(50))


class Record:
    """A batch of one's own class, without a repr: Python's shows where it lies in memory."""

    def __init__(self, parts, noise=0.0):
        self.x = torch.stack([x for x, _ in parts]) + noise * torch.randn(1)
        self.more = {"y": torch.tensor([int(y) for _, y in parts])}
        self.me = self  # as some batches hold themselves


class Bare:
    __slots__ = ("x",)


class TestDigest:
    def test_a_batch_of_ones_own_class_is_no_random_augmentation(self, model, data):
        loader = DataLoader(TensorDataset(*data), batch_size=8, collate_fn=Record)
        read = samples(loader)
        assert read.batch(0).x.shape[0] == 16
        got = nv.Evaluator(model, loader, device="cpu", forward=lambda m, b: (m(b.x), b.more["y"])).measure()
        assert got.loss == pytest.approx(nv.Evaluator(model, data, device="cpu").measure().loss, rel=1e-6)

    def test_its_tensors_are_compared_all_the_same(self, data):
        loader = DataLoader(TensorDataset(*data), batch_size=8, collate_fn=lambda parts: Record(parts, noise=1.0))
        with pytest.raises(DataError, match="two reads of the same samples differ"):
            samples(loader)

    def test_an_object_that_shows_nothing_is_known_by_its_class(self):
        assert _digest([Bare()]) == _digest([Bare()])
        assert _digest([Bare()]) != _digest([torch.zeros(1)])

    def test_every_number_of_an_array_counts(self):
        one, other = np.zeros(5000), np.zeros(5000)
        other[2500] = 1  # where repr writes "..."
        assert _digest([one]) != _digest([other])
        assert _digest([one]) == _digest([one.copy()])


class TestSources:
    def test_tensors_arrays_data_sets_loaders_and_lists_are_the_same_data(self, data):
        plain = Plain(data)
        plain.targets = data[1]
        expected = rows(data)
        for source in (
            [data[0].numpy(), data[1].numpy()],
            TensorDataset(*data),
            plain,
            DataLoader(TensorDataset(*data), batch_size=5),
            DataLoader(TensorDataset(*data), batch_size=9, shuffle=True, num_workers=2),
        ):
            assert torch.equal(rows(source), expected)

    def test_a_list_of_pairs(self, data):
        pairs = [(x, int(y)) for x, y in zip(*data, strict=True)]
        assert rows(pairs).shape == (57, 1, 5, 7)

    def test_a_subset_of_a_shuffled_loader_is_measured_and_nothing_else(self, data):
        loader = DataLoader(TensorDataset(*data), batch_size=4, sampler=SubsetRandomSampler([3, 50, 8, 21]))
        got = rows(loader)
        assert {tuple(row.flatten().tolist()) for row in got} == {tuple(data[0][i].flatten().tolist()) for i in (3, 8, 21, 50)}

    def test_reading_a_shuffling_loader_leaves_its_generator_where_it_was(self, data):
        generator = torch.Generator().manual_seed(5)
        loader = DataLoader(TensorDataset(*data), batch_size=9, shuffle=True, generator=generator)
        before = generator.get_state()
        rows(loader)
        assert torch.equal(generator.get_state(), before)

    def test_the_loaders_own_collate_is_used(self, data):
        loader = DataLoader(TensorDataset(*data), collate_fn=lambda pairs: {"image": torch.stack([x for x, _ in pairs])})
        assert samples(loader).batch(0)["image"].shape == (16, 1, 5, 7)

    def test_a_batch_is_read_once_and_kept(self, data):
        plain = Plain(data)
        read = samples(plain)
        for _ in range(3):
            for number in range(len(read)):
                read.batch(number)
        assert set(plain.reads.values()) <= {1, 2, 3}
        assert sum(plain.reads.values()) == 57 + 2 + 16  # all once; a probe of two; the first batch again, to compare

    def test_later_changes_to_the_users_tensors_do_not_reach_in(self, data):
        read = samples(data)
        before = read.batch(0)[0].clone()
        data[0].zero_()
        assert torch.equal(read.batch(0)[0], before)

    def test_auto_batches_give_partial_results(self):
        assert samples(factories.images(4000), batch_size="auto").batch_size == 500
        assert samples(factories.images(1998), batch_size="auto").batch_size == 222  # nine batches of one form
        assert samples(factories.images(57), batch_size="auto").batch_size == 57
        assert samples(factories.images(57), batch_size=np.int64(10), samples=np.int64(30)).batch_size == 10

    def test_moving_a_batch_keeps_its_containers(self):
        Pair = collections.namedtuple("Pair", "x y")
        batch = {"a": [torch.ones(2), "text"], "b": Pair(torch.zeros(1), None), "c": collections.OrderedDict(d=torch.ones(1))}
        moved = move(batch, CPU)
        assert type(moved["b"]) is Pair
        assert type(moved["c"]) is collections.OrderedDict
        assert moved["a"][1] == "text"


class Endless(IterableDataset):
    def __iter__(self):
        yield torch.zeros(1)


class Unsized(Dataset):
    def __getitem__(self, i):
        return torch.zeros(3), 0


class TestRefused:
    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda d: (torch.zeros(0, 3), torch.zeros(0)), "there are no samples"),
            (lambda d: [], "there are no samples"),
            (lambda d: DataLoader([]), "there are no samples"),
            (lambda d: (d[0], d[1][:50]), r"tensors of one length, received shapes \[\(57, 1, 5, 7\), \(50,\)\]"),
            (lambda d: Endless(), "no fixed order; collect it once"),
            (lambda d: DataLoader(Endless()), "no fixed order; collect it once"),
            (lambda d: Unsized(), "the data set Unsized has no length"),
            (lambda d: DataLoader(TensorDataset(*d), sampler=WeightedRandomSampler([1.0] * 57, 57)), "a WeightedRandomSampler"),
            (
                lambda d: DataLoader(TensorDataset(*d), sampler=RandomSampler(d[0], replacement=True)),
                "with replacement or only a part",
            ),
            (
                lambda d: DataLoader(TensorDataset(*d), sampler=RandomSampler(d[0], num_samples=5)),
                "with replacement or only a part",
            ),
            (lambda d: DataLoader(TensorDataset(*d), batch_size=None), "makes its own batches"),
            (lambda d: DataLoader(TensorDataset(*d), batch_sampler=OwnBatches(range(57), 5, False)), "makes its own batches"),
            (lambda d: {"x": d[0]}, "a DataLoader, a Dataset, or a tuple of tensors .* received dict"),
            (lambda d: None, "received NoneType"),
            (lambda d: "test", "received str"),
            (lambda d: TensorDataset, "received type"),
            (lambda d: Plain(d, noise=True), r"two reads of the same samples differ \(random augmentation\?\)"),
        ],
    )
    def test_data_that_cannot_be_put_in_an_order(self, data, make, message):
        with pytest.raises(DataError, match=message):
            samples(make(data))

    def test_data_that_change_later(self, data, monkeypatch):
        monkeypatch.setattr("nnvis_widgets.core.data.CACHE_BYTES", 0)
        plain = Plain(data)
        read = samples(plain)
        read.batch(2)
        plain.data = (data[0] + 1, data[1])
        with pytest.raises(DataError, match="changed between two reads"):
            read.batch(2)

    @pytest.mark.parametrize("wanted", [0, 58, -1, 2.5, True, "all"])
    def test_a_number_of_samples_that_is_not_there(self, data, wanted):
        with pytest.raises(DataError, match="samples: a whole number from 1 to 57"):
            samples(data, samples=wanted)

    @pytest.mark.parametrize("wanted", [0, -3, 2.5, True, "big", None])
    def test_a_batch_size_that_is_none(self, data, wanted):
        with pytest.raises(DataError, match="batch_size: 'auto', 'measured', or a whole number of at least 1"):
            samples(data, batch_size=wanted)


def test_a_refusal_of_random_transforms_leaves_the_random_states_where_they_were(data):
    class Jittered(Plain):
        def __getitem__(self, i):
            x, y = super().__getitem__(i)
            return x + random.random() + np.random.rand(), y  # noqa: NPY002

    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[2]  # noqa: NPY002
    with pytest.raises(DataError, match="two reads of the same samples differ"):
        samples(Jittered(data, noise=True))
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (random.getstate(), np.random.get_state()[2])  # noqa: NPY002


class OwnBatches(BatchSampler):
    pass


def test_results_do_not_depend_on_how_the_data_are_held(model, data):
    answers = [
        nv.Evaluator(model, source, device="cpu", batch_size=16).measure()
        for source in (data, TensorDataset(*data), DataLoader(TensorDataset(*data), batch_size=3, shuffle=True))
    ]
    assert len({answer.loss for answer in answers}) == 1
    assert len({answer.provenance["data"] for answer in answers}) == 1


class Clockwork(nn.Module):
    """A model that takes a time of its own for each batch size."""

    def __init__(self, spend):
        super().__init__()
        self.linear, self.spend = nn.Linear(3, 2), spend

    def forward(self, x):
        self.spend(len(x))
        return self.linear(x)


def timed(costs, batch_size):
    """Return what `quickest_size` finds where a forward pass of n samples takes costs(n) seconds."""
    now = [0.0]

    def spend(n):
        now[0] += costs(n)

    samples = Samples((torch.randn(1000, 3), torch.zeros(1000, dtype=torch.long)), batch_size=batch_size, device=CPU)
    model = Clockwork(spend)
    return quickest_size(samples, Replica(model, None, CPU, False, False), snapshot(model), lambda: now[0])


@pytest.mark.parametrize(
    ("costs", "size"),
    [
        (lambda n: 1e-3 * n, 100),  # nothing is faster: the rule's own
        (lambda n: 1e-3 * n * (1 - 0.04 * (n == 200)), 100),  # hardly faster
        (lambda n: 1e-3 * n + 0.1, 400),  # calls cost
        (lambda n: 1e-3 * n * (1 + (not 40 < n < 60)), 50),  # small ones fit into a cache
    ],
)
def test_the_measured_batch_size_is_the_fastest(costs, size):
    best, seconds = timed(costs, 100)
    assert best == size
    assert list(seconds) == [25, 50, 100, 200, 400]
    assert seconds[50] == pytest.approx(costs(50) / 50)


def test_a_batch_size_that_the_model_refuses_is_not_taken():
    def costs(n):
        if n > 100:
            raise RuntimeError("too large")
        return 1e-3 * n + 0.1

    best, seconds = timed(costs, 50)
    assert best == 100
    assert max(seconds) == 100


def test_measured_batches_give_the_same_numbers_and_say_their_size():
    torch.manual_seed(0)
    model, data = nn.Linear(3, 2), (torch.randn(900, 3), torch.randint(0, 2, (900,)))
    start, end = ({name: torch.randn_like(v) for name, v in model.state_dict().items()} for _ in range(2))
    by_trying, by_rule = (nv.Evaluator(model, data, batch_size=size, device="cpu") for size in ("measured", "auto"))
    mine, theirs = (nv.measure_path(one, nv.LinearPath(start, end), [0.0, 0.3, 1.0]) for one in (by_trying, by_rule))
    np.testing.assert_allclose(mine.loss, theirs.loss, rtol=1e-6)
    again = nv.Evaluator(model, data, batch_size=mine.provenance["batch_size"], device="cpu")
    np.testing.assert_array_equal(nv.measure_path(again, nv.LinearPath(start, end), [0.0, 0.3, 1.0]).loss, mine.loss)
