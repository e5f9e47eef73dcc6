"""The harness, not the speed: every task function runs, the cross-check sees a wrong value, a wrong peer is never the fastest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import nnvis_widgets as nv
from benchmarks import cli, limits, table, tasks
from benchmarks.problem import Problem, furthest, random_problem
from benchmarks.ratios import Race
from benchmarks.truth import Truth


@pytest.fixture(scope="module")
def problem() -> Problem:
    made = random_problem("LeNet", (1, 32, 32), 24)
    made.directions = tasks.directions(made)
    return made


@pytest.fixture(scope="module")
def truth(problem) -> Truth:
    return Truth(problem, 10)


def small(task: tasks.Task) -> tasks.Task:
    # what is compiled has the same values, and would take this test ten times as long
    return replace(task, points=3, options=tasks.EAGER)


def answered(problem: Problem, task: tasks.Task) -> tasks.Answer:
    try:
        tasks.ready(task)
    except tasks.NotThere as missing:
        pytest.skip(str(missing))
    return tasks.run(problem, tasks.evaluator(problem, problem.model(), task), task, tasks.SHIFT)


class FakePeer:
    """A peer that answers at once, with the truth times something."""

    default, kinds, batches = 32, ("layer",), True

    def __init__(self, name: str, truth: Truth, seconds: float, factor: float = 1.0):
        self.name, self.truth, self.seconds, self.factor = name, truth, seconds, factor

    def measure(self, kind, scope, batch, points):
        rows = [[1 - a, 0.0, a] for a in np.linspace(0, 1, points)]
        losses = [self.truth.at(scope, row).loss * self.factor for row in rows]
        return {"seconds": self.seconds * (0.5 if batch == 128 else 1), "losses": losses, "rows": rows, "claimed": None}


class TestTasks:
    @pytest.mark.parametrize("task", [t for t in tasks.TASKS if not t.options], ids=lambda t: t.name)
    def test_it_gives_the_values_of_the_definition(self, problem, truth, task):
        answer = answered(problem, small(task))
        assert len(answer.loss) == small(task).total
        assert truth.check(answer.scope, answer.rows, answer.loss, answer.correct).holds

    def test_a_later_call_is_asked_for_other_points_except_the_stored_weights(self):
        one, other = (tasks.grid(-0.5, 1.5, 5, shift) for shift in (0.0, tasks.SHIFT))
        assert (one == other).tolist() == [False, False, False, True, False]


class TestTruth:
    def test_states_are_those_of_our_own_paths(self, problem):
        initial, mid, final = problem.states
        path = nv.QuadraticPath(initial, mid, final)
        ours = path.state_at(0.3)
        for name, tensor in problem.state(None, tuple(path.coefficients(0.3))).items():
            torch.testing.assert_close(tensor.float(), ours[name])

    def test_outside_of_the_scope_weights_are_the_final_ones(self, problem):
        scope = furthest(problem.states[0], problem.states[-1], "fc2.weight")
        for inside in ("fc2", scope):
            state = problem.state(inside, (1.0, 0.0, 0.0), torch.float32)
            moved = {k: int((v != problem.states[-1][k]).sum()) for k, v in state.items()}
            assert {k for k, count in moved.items() if count} == ({"fc2.weight", "fc2.bias"} if inside == "fc2" else {"fc2.weight"})
            assert inside == "fc2" or sum(moved.values()) == 1

    @pytest.mark.parametrize("factor", [1 + 2e-5, 1 - 2e-5, float("nan"), float("inf")])
    def test_a_wrong_loss_is_caught(self, problem, truth, factor):
        answer = answered(problem, small(tasks.TASKS[0]))
        loss = answer.loss.copy()
        loss[1] *= factor
        assert not truth.check(answer.scope, answer.rows, loss, answer.correct).holds

    def test_a_wrong_count_is_caught(self, problem, truth):
        answer = answered(problem, small(tasks.TASKS[0]))
        assert not truth.check(answer.scope, answer.rows, answer.loss, answer.correct + 1).holds


class TestRatios:
    def test_a_peer_with_wrong_values_is_named_and_is_never_the_fastest(self, problem, truth, monkeypatch, tmp_path):
        peers = [FakePeer("slow", truth, 4.0), FakePeer("liar", truth, 1.0, 1 + 1e-3)]
        race = Race(problem, tmp_path, peers, 3, lambda _: None)
        race.truth = truth
        answer = answered(problem, small(tasks.TASKS[0]))
        call = {
            "seconds": 2.0,
            "scope": "fc1",
            "rows": answer.rows,
            "loss": answer.loss,
            "correct": answer.correct,
            "how": answer.how,
        }
        monkeypatch.setattr(race, "_ours", lambda *_: {"calls": [call, call]})
        row = race.run(tasks.TASKS[0], 2)
        assert row.ratios(0) == [4.0 * 41 / 2, 4.0 * 41 / 2]
        assert row.ratios(-1, "best") == [41.0, 41.0]
        assert "| liar |" in table.survey(race)
        assert [line.split("|")[6].strip() for line in table.survey(race).splitlines()[2:]] == ["", "WRONG"]
        assert "**82 / 82**" in table.ratios([row])

    def test_without_peers_there_is_a_table_without_ratios(self, problem, truth, tmp_path, monkeypatch):
        race = Race(problem, tmp_path, [], 3, lambda _: None)
        monkeypatch.setattr(race, "_ours", lambda row, _: setattr(row, "skipped", "not there yet"))
        assert "skipped: not there yet" in table.ratios([race.run(tasks.TASKS[0], 2)])


class TestLimits:
    def test_operations_are_those_of_the_layers(self, problem):
        counts = {name: value / len(problem.images) for name, value in limits.flops(problem).items()}
        assert counts["conv1"] == 2 * 30 * 30 * 6 * 9
        assert counts["fc1"] == 2 * 576 * 120
        assert counts["model"] == sum(v for k, v in counts.items() if k != "model")

    def test_a_late_layer_needs_little_arithmetic_and_the_model_all_but_its_first(self):
        counts = {"a": 10.0, "b": 4.0, "c": 1.0, "model": 15.0}
        assert limits.arithmetic(counts, "layer", "b", 41) == 10 + 2 * 4 + 41 * 1
        assert limits.arithmetic(counts, "model", None, 41) == 2 * 10 + 41 * 5
        assert limits.arithmetic(counts, "surface", None, 9) == 3 * 10 + 9 * 5
        assert limits.arithmetic(counts, "weight", "b.weight", 82) == 10 + 4 + 82 * 1


class TestCommand:
    def test_a_task_by_name_leaves_the_other_parts_out(self):
        options = cli.parse(["--task", "fc1", "--quick"])
        assert (options.part, options.rounds) == (["ratios"], 1)

    def test_numbers_are_short_and_words_stay(self):
        assert [table.number(x) for x in (1234.5, 12.345, 0.01234, 3, "a", float("nan"))] == [
            "1234",
            "12.3",
            "0.012",
            "3",
            "a",
            "nan",
        ]
