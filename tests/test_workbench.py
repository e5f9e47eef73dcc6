"""The workbench without a browser: one selection in all explorers, no loops, two runs, what is saved and given away."""

import asyncio
import base64
import io
import json

import ipywidgets
import numpy as np
import pytest
import torch
from PIL import Image
from test_path_explorer import small_model

import nnvis_widgets as nv
from nnvis_widgets.widgets.workbench_making import TABS


@pytest.fixture(scope="module")
def world():
    model = small_model()
    x, y = torch.randn(60, 7), torch.randint(0, 3, (60,))
    runs = {}
    for name, rate in (("slow", 0.1), ("fast", 0.5)):
        net = small_model()
        optimizer = torch.optim.SGD(net.parameters(), lr=rate)
        states = [{k: v.clone() for k, v in net.state_dict().items()}]
        for _ in range(4):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
            states.append({k: v.clone() for k, v in net.state_dict().items()})
        runs[name] = nv.Run.from_states(states)
    return nv.Evaluator(model, (x, y)), runs


@pytest.fixture
def bench(world):
    evaluator, runs = world
    bench = nv.Workbench(evaluator, runs)
    yield bench
    bench.close()


def front(bench):
    (explorer,) = bench.shown
    return explorer


def test_what_is_chosen_in_one_explorer_is_seen_in_the_others(bench):
    paths = front(bench)
    assert isinstance(paths, nv.PathExplorer)
    with paths.together():
        paths.scope, paths.mid, paths.alpha = "2", 1, 0.25
    assert (bench.scope, bench.mid, bench.alpha) == ("2", 1, 0.25)
    bench.tab = "Surface"
    surface = front(bench)
    assert (surface.mid, surface.alpha) == (1, 0.25)
    surface.mid = 3
    assert bench.mid == 3
    assert paths.mid == 1  # it is behind, and follows when it comes to the front
    bench.tab = "Paths"
    assert front(bench) is paths
    assert paths.mid == 3


def test_layers_and_weights_follow_and_lead(bench):
    paths = front(bench)
    for tab in ("Layers", "Weights"):
        if tab not in bench.tabs:
            pytest.skip(f"there is no {tab} explorer")
    bench.tab = "Layers"
    layers = front(bench)
    layers.compute()
    layers.selected = "2"
    assert bench.scope == "2"
    bench.tab = "Weights"
    weights = front(bench)
    weights.compute()
    assert bench.scope == "2"
    tensor, index = weights.scan.index[0]
    weights.selected = (tensor, tuple(index))
    assert bench.scope == (tensor, tuple(index))
    bench.alpha = 0.25
    assert weights.detail.cursors[0].x.tolist() == [0.25, 0.25]
    line = weights.scan.linear[weights.row]
    assert f"at &alpha; = 0.25: linear {np.interp(0.25, weights.scan.alphas, line):.5g}" in weights.readout.value
    weights._go_along(-0.204)  # a click on the curves
    assert bench.alpha == -0.2
    bench.tab = "Paths"
    assert paths.alpha == -0.2
    assert paths.scope == (tensor, tuple(index))
    assert paths.level == "parameter"
    bench.tab = "Layers"
    assert layers.selected == tensor.rpartition(".")[0]


def test_a_choice_is_assigned_once_and_does_not_come_back(bench):
    paths = front(bench)
    bench.compare = "fast"
    one, two = bench.shown
    assert one is paths
    heard = []
    for explorer in (one, two, bench):
        explorer.observe(lambda change: heard.append((id(change.owner), change.name)), ["scope", "alpha", "mid", "kind"])
    paths.alpha = 0.5
    assert sorted(name for _, name in heard) == ["alpha"] * 3
    heard.clear()
    two.scope = ("0.weight", (1, 2))
    assert sorted(name for _, name in heard) == ["scope"] * 3
    assert one.alpha_range == two.alpha_range == (-0.5, 1.5)
    heard.clear()
    bench.alpha = 1.4
    bench.scope = None  # whose paths end at 1
    assert one.alpha == two.alpha == bench.alpha == 1.0


def test_two_runs_stand_side_by_side_and_are_two_runs(bench, world):
    bench.compare = "fast"
    bench.compute()
    one, two = bench.shown
    assert one.study.run is world[1]["slow"]
    assert two.study.run is world[1]["fast"]
    assert one.results["linear"].loss[-1] != two.results["linear"].loss[-1]
    assert one.results["linear"].loss[0] == two.results["linear"].loss[0]
    choice = next(widget for widget in bench.bar.children[1].children[1].children if isinstance(widget, ipywidgets.Dropdown))
    assert choice.label == "beside: fast"
    choice.label = "one run"
    assert bench.compare is None
    assert bench.shown == [one]


def test_a_state_goes_through_json_and_comes_back(bench, world):
    front(bench).log_loss = True
    bench.tab = "Surface"  # what is behind comes back, too
    front(bench).resolution = 9
    bench.tab = "Paths"
    bench.scope, bench.alpha, bench.compare, bench.mid, bench.epoch, bench.point = (
        ("2.weight", (1, 4)),
        -0.3,
        "fast",
        1,
        2.0,
        (0.5, -1),
    )
    state = json.loads(json.dumps(bench.snapshot()))
    other = nv.Workbench(*world)
    other.restore(state)
    assert other.scope == ("2.weight", (1, 4))
    assert (other.alpha, other.compare) == (-0.3, "fast")
    assert other.shown[0].log_loss
    assert (other.mid, other.epoch, other.point) == (1, 2.0, (0.5, -1.0))
    assert json.dumps(other.snapshot()) == json.dumps(bench.snapshot())
    other.compare = None
    other.tab = "Surface"
    assert (front(other).resolution, front(other).point) == (9, (0.5, -1.0))
    other.close()


def test_a_state_can_be_read_from_the_file_that_was_saved(bench, tmp_path):
    bench.alpha = -0.3
    file = tmp_path / "workbench.json"
    bench.bar._keep()
    file.write_bytes(base64.b64decode(bench.bar._given.value.partition("base64,")[2].partition('"')[0]))
    bench.alpha = 0.5
    for path in (file, str(file)):
        bench.restore(path)
        assert bench.alpha == -0.3
        bench.alpha = 0.5


def test_what_is_no_state_is_refused_with_what_would_be_one(bench):
    before = bench.snapshot()
    for wrong, kind, words in [
        ("gone.json", FileNotFoundError, r"path of a .json file that Save wrote; gone.json cannot be read"),
        (3, TypeError, r"state: what snapshot\(\) returned.*; received 3"),
        ({"explorers": 3}, TypeError, r"'explorers' are \{tab: \{run: \{setting: value\}\}\}, received 3"),
        ({"explorers": {"Paths": 3}}, TypeError, "received {'Paths': 3}"),
        ({"explorers": {"Paths": {"slow": 3}}}, TypeError, "received {'Paths': {'slow': 3}}"),
        ({"aplha": 3}, TypeError, "it has no 'aplha', only scope, .*alpha"),
    ]:
        with pytest.raises(kind, match=words):
            bench.restore(wrong)
        assert bench.snapshot() == before


def test_what_is_no_state_of_an_explorer_is_refused_and_it_stays_as_it_was(bench, tmp_path):
    (tmp_path / "cut.json").write_text(json.dumps(front(bench).snapshot())[:-9])
    (tmp_path / "whole.json").write_text(json.dumps(front(bench).snapshot()))
    front(bench).alpha = 0.5
    front(bench).restore(tmp_path / "whole.json")
    assert front(bench).alpha == 1.0
    for tab in TABS:
        if tab == "Preliminary":
            continue
        bench.tab = tab
        explorer, other = front(bench), nv.TrainingMonitor if tab != "Monitor" else nv.PathExplorer
        before = explorer.snapshot()
        for wrong, kind, words in [
            (None, TypeError, f"settings: what snapshot.* of a {type(explorer).__name__} returned.*; received None"),
            (tmp_path / "cut.json", ValueError, "cut.json holds no JSON, or only a part of one"),
            ('{"epoch": 3', FileNotFoundError, '"epoch": 3 cannot be read'),
            (bench.snapshot(), TypeError, "has no setting '.*', only "),
            ({**before, other.RESTYLE[-2]: None}, Exception, other.RESTYLE[-2]),
            ({"epoch": 2.0, "scope": 3, 3: 4}, Exception, "setting|scope"),
        ]:
            with pytest.raises(kind, match=words):
                explorer.restore(wrong)
            assert explorer.snapshot() == before


def test_files_that_hold_no_state_are_refused(bench, tmp_path):
    (tmp_path / "words").write_text("alpha = 3")
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(ValueError, match="words holds no JSON"):
        bench.restore(tmp_path / "words")
    with pytest.raises(TypeError, match=r"received \[1\] in .*list.json"):
        bench.restore(tmp_path / "list.json")


@pytest.mark.parametrize(
    "broken",
    [
        {"scope": "3"}, {"tab": "Pahts"}, {"split": "train"}, {"alpha": 0.2, "mid": 17}, {"epoch": float("inf")},
        {"point": (1.0, float("nan"))}, {"explorers": {"Layers": {"slow": {}}, "Paths": {"slow": {"knot": "third"}}}},
    ],
)  # fmt: skip
def test_a_state_that_is_refused_changes_nothing(bench, broken):
    bench.alpha, bench.point = 0.7, (1.0, 2.0)
    before = bench.snapshot()
    with pytest.raises(Exception, match=r"scope|tab|split|mid|epoch|point|knot"):
        bench.restore({**before, **broken})
    assert bench.snapshot() == before


@pytest.mark.parametrize("tab", [tab for tab in TABS if tab != "Preliminary"])
def test_every_picture_carries_its_recipe_whose_code_makes_it_again(world, tab, tmp_path):
    bench = nv.Workbench(world[0], world[1]["slow"], tab=tab)
    if tab != "Monitor":
        assert bench.picture() is None
    paths = {"scope": "0", "points": 7, "band": False, "log_loss": True}
    front(bench).restore({"Paths": paths, "Weights": {"count": 6}, "Surface": {"resolution": 9}}.get(tab, {}))
    bench.compute()
    (tmp_path / "picture.png").write_bytes(bench.picture())
    recipe = nv.recipe_of(tmp_path / "picture.png")
    assert recipe["code"] == bench.code()
    assert nv.recipe_of(bench.picture("svg")) == recipe
    made = next(line for line in recipe["code"].splitlines() if line.startswith(f"nv.{TABS[tab]}("))
    again = eval(made, {"nv": nv, "evaluator": world[0], "run": world[1]["slow"]})
    assert again.snapshot() == front(bench).snapshot()
    assert again.code() == front(bench).code()
    assert made in again.code()
    again.compute()
    found = {name: getattr(result, "provenance", {}) for name, result in again.results.items()}
    assert json.loads(json.dumps(found, default=str)) == recipe["results"]  # the same weights, data, samples, policy
    assert again.still() == front(bench).still()
    with pytest.raises(ValueError, match=r"format: one of 'png', 'svg', 'pdf', received 'gif'"):
        again.picture("gif")
    again.close()
    measured = [about["n"] for name, about in recipe["results"].items() if name != "trajectory"]
    assert all(n == 60 for n in measured)
    assert bool(measured) == (tab != "Monitor")
    bench.close()


def test_pictures_of_two_runs_stand_side_by_side_with_both_recipes(bench):
    bench.compute()
    with Image.open(io.BytesIO(bench.picture())) as one:
        single = one.size
    bench.compare = "fast"
    bench.compute()
    png = bench.picture()
    with Image.open(io.BytesIO(png)) as both:
        assert both.size == (2 * single[0], single[1])
    recipe = nv.recipe_of(png)
    assert nv.recipe_of(bench.picture("pdf")) == recipe
    assert list(recipe["results"]) == ["slow", "fast"]
    assert recipe["results"]["slow"]["linear"]["weights"] != recipe["results"]["fast"]["linear"]["weights"]
    assert "nv.PathExplorer(evaluator, run['fast']" in recipe["code"]
    with pytest.raises(ValueError, match="no recipe inside"):
        nv.recipe_of(bench.shown[0].still())
    with pytest.raises(ValueError, match="this is no picture"):
        nv.recipe_of(b"picture")


def test_what_was_given_goes_when_it_is_not_what_is_shown_any_more(bench):
    for give in (bench.bar._keep, bench.bar._show_code):
        for change in (
            lambda: setattr(bench, "alpha", bench.alpha / 2),
            lambda: setattr(front(bench), "log_loss", bench.alpha > 0.4),
        ):
            give()
            assert bench.bar._given.value
            change()
            assert not bench.bar._given.value
    bench.bar._show_code()
    bench.bar._show_code()
    assert not bench.bar._given.value  # pressed again


def test_an_epoch_is_marked_wherever_the_training_is_drawn(bench):
    paths = front(bench)
    paths.compute()
    bench.tab = "Monitor"
    monitor = front(bench)
    monitor.choose(2.2)
    assert bench.epoch == 2.0
    assert "epoch <b>2</b>" in monitor.readout.value
    assert monitor.view.figures["movement"].marks[-1].x.tolist() == [2, 2]
    bench.tab = "Surface"
    surface = front(bench)
    assert surface.epoch == 2.0
    surface.epoch = 3.0
    bench.tab = "Paths"
    assert paths.epoch == 3.0
    assert "training at epoch 3: loss" in paths.readout.value
    ring = paths.curves.figures["loss"].marks[-1]
    assert ring.visible
    assert ring.x.tolist() == [0.75]
    assert ring.y[0] == pytest.approx(paths.results["training"].loss[3], rel=1e-6)
    paths._choose(3.0)  # a click on the same dot
    assert bench.epoch is None
    assert not ring.visible
    paths._choose(4.0)
    bench.tab = "Surface"
    assert surface.epoch is None  # all of the way
    bench.tab = "Monitor"
    assert (bench.epoch, monitor.epoch) == (4.0, 4.0)


def test_a_point_of_the_plane_goes_with_its_plane(bench):
    bench.tab = "Surface"
    surface = front(bench)
    surface._clicked(0.5, 1.5, False)
    assert bench.point == (0.5, 1.5)
    bench.point = (1.0, -1.0)
    assert surface.point == (1.0, -1.0)
    bench.tab = "Paths"
    front(bench).mid = 1
    assert bench.point is None
    bench.tab = "Surface"
    assert (surface.mid, surface.point) == (1, None)
    surface.point = (1.0, 2.0)
    surface.plane_kind = "random"
    assert bench.point is None
    bench.restore({"mid": 3, "point": [0.25, 0.5]})
    assert (bench.point, surface.mid, surface.point) == ((0.25, 0.5), 3, (0.25, 0.5))
    bench.compare = "fast"
    assert bench.shown[1].point is None  # another run, another plane


def test_runs_of_other_lengths_stand_side_by_side_by_their_share_of_the_epochs(world):
    evaluator, runs = world
    states = [checkpoint.state for checkpoint in runs["fast"]]
    finer = nv.Run.from_states(
        [*states[:2], states[2], states[2], *states[3:], states[0], states[1]], epochs=[0, 5, 10, 12, 15, 20, 30, 40]
    )
    both = {"slow": runs["slow"], "finer": finer}
    for names, mid, there, chosen, back in ((("slow", "finer"), 3, 6, 3, 1), (("finer", "slow"), 3, 1, 2, 5)):
        bench = nv.Workbench(evaluator, {name: both[name] for name in names}, compare=names[1])
        one, two = bench.shown
        assert (two.start, two.end) == (0, len(both[names[1]]) - 1)
        one.mid = mid
        assert (bench.mid, two.mid) == (mid, there)
        two.mid = chosen
        assert one.mid == bench.mid == back
        bench.tab = "Monitor"
        bench.tab = "Paths"
        assert two.mid == chosen  # where several are one in the first run, the choice stays
        two.compute()
        assert two.results["quadratic"].n == 60
        assert not bench.bar._refused.value
        bench.close()


def test_a_run_that_is_too_short_for_an_explorer_says_so_in_its_tab(world):
    evaluator, runs = world
    two = nv.Run.from_states([runs["slow"].initial, runs["slow"].final])
    bench = nv.Workbench(evaluator, two)
    for tab in bench.tabs:
        bench.tab = tab
        if bench.shown:
            bench.compute()
        else:
            (pane,) = bench._panes[tab].children
            assert "checkpoint" in pane.value
            bench.tab = "Paths"
            bench.tab = tab
            assert bench._panes[tab].children == (pane,)  # one, however often it is looked at
    bench.close()


def test_with_a_training_there_is_a_tab_of_preliminary_experiments(world):
    evaluator, runs = world

    def train(*, subset, epochs, seed):
        for epoch in range(1, epochs + 1):
            yield epoch, runs["slow"][min(epoch, 4)].state

    for more, words in (({"train": train}, "data: with train"), ({"data": 60}, "train: data are of a training")):
        with pytest.raises(ValueError, match=words):
            nv.Workbench(evaluator, runs, **more)
    assert "Preliminary" not in nv.Workbench(evaluator, runs).tabs
    bench = nv.Workbench(evaluator, runs, train=train, data=60, tab="Preliminary", compare="fast")
    study = front(bench)
    assert isinstance(study, nv.PreliminaryStudy)
    study.tab = "test size"
    assert bench.picture() is None
    bench.compute()
    recipe = nv.recipe_of(bench.picture())
    assert recipe["results"]["test size"]["split"] == "test"
    assert (
        "study = nv.PreliminaryStudy(evaluator, train, data, run=run['slow'])\nstudy.restore({'tab': 'test size'" in recipe["code"]
    )
    state = json.loads(json.dumps(bench.snapshot()))
    other = nv.Workbench(evaluator, runs, train=train, data=60)
    other.restore(state)
    assert front(other).tab == "test size"
    with pytest.raises(Exception, match="settings of 'Preliminary'"):
        nv.Workbench(evaluator, runs).restore(state)
    for one in (bench, other):
        one.alpha = 0.5
        one.close()


def test_settings_of_another_version_do_not_cost_the_tab(bench):
    state = bench.snapshot()
    bench.restore({**state, "explorers": {"Surface": {"slow": {"resolution": 2}}}})
    bench.tab = "Surface"
    assert front(bench).resolution == 33
    assert "resolution: 3 to 257" in bench.bar._refused.value


def test_what_cannot_be_is_refused_in_words(world):
    evaluator, runs = world
    with pytest.raises(TypeError, match="no setting 'scopes'"):
        nv.Workbench(evaluator, runs, scopes="0")
    with pytest.raises(TypeError, match="an Evaluator or"):
        nv.Workbench(runs["slow"], runs)
    with pytest.raises(Exception, match="compare: one of None, 'fast'"):
        nv.Workbench(evaluator, runs, compare="slow")


def test_only_what_is_in_front_works_and_closing_ends_all(world):
    async def scenario():
        bench = nv.Workbench(*world)
        paths = front(bench)
        bench.tab = "Surface"
        surface = front(bench)
        await bench.done()
        assert surface.results
        measured = paths._worker.started
        bench.mid = 1
        await bench.done()
        assert paths._worker.started == measured
        assert surface.mid == 1
        bench.close()
        return bench, paths, surface

    bench, paths, surface = asyncio.run(scenario())
    assert paths._closed
    assert surface._closed
    assert bench.comm is None


def test_no_name_is_one_that_the_container_owns(bench):
    ours = {name for name in vars(nv.Workbench) if not name.startswith("_")}
    assert {name for name in ours if hasattr(ipywidgets.VBox, name)} <= {"close"}
    assert not set(vars(bench)) & (set(dir(ipywidgets.VBox)) - set(vars(ipywidgets.VBox())))
