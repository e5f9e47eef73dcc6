"""The workbench without a browser: one selection in all explorers, no loops, two runs, what is saved and given away."""

import asyncio
import io
import json

import ipywidgets
import pytest
import torch
from PIL import Image
from test_path_explorer import small_model

import nnvis_widgets as nv


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
    bench.tab = "Paths"
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
    bench.scope, bench.alpha, bench.compare = ("2.weight", (1, 4)), -0.3, "fast"
    state = json.loads(json.dumps(bench.snapshot()))
    other = nv.Workbench(*world)
    other.restore(state)
    assert other.scope == ("2.weight", (1, 4))
    assert (other.alpha, other.compare) == (-0.3, "fast")
    assert front_of(other)[0].log_loss
    assert json.dumps(other.snapshot()) == json.dumps(bench.snapshot())
    other.close()


def front_of(bench):
    return bench.shown


@pytest.mark.parametrize("broken", [{"scope": "3"}, {"tab": "Pahts"}, {"split": "train"}, {"alpha": 0.2, "mid": 17}])
def test_a_state_that_is_refused_changes_nothing(bench, broken):
    bench.alpha = 0.7
    before = bench.snapshot()
    with pytest.raises(Exception, match=r"scope|tab|split|mid"):
        bench.restore({**before, **broken})
    assert bench.snapshot() == before


def test_the_code_makes_the_picture_again(bench, world):
    paths = front(bench)
    with paths.together():
        paths.scope, paths.points, paths.band = "0", 7, False
    paths.compute()
    evaluator, runs = world
    line = next(line for line in bench.code().splitlines() if line.startswith("nv.PathExplorer"))
    again = eval(line, {"nv": nv, "evaluator": evaluator, "run": runs})
    assert again.snapshot() == paths.snapshot()
    again.compute()
    assert again.results["linear"].loss.tolist() == paths.results["linear"].loss.tolist()
    again.close()


def test_a_picture_carries_its_recipe(bench):
    assert bench.picture() is None
    bench.compute()
    with Image.open(io.BytesIO(bench.picture())) as image:
        recipe = json.loads(image.text["nnvis_widgets"])
    assert "nv.PathExplorer(evaluator, run['slow']" in recipe["code"]
    assert recipe["results"]["linear"]["n"] == 60


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
