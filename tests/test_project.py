"""What the files of the project promise each other: names, versions, dependencies, commands, and who imports whom."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import nnvis_widgets as nv

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONDA_NAMES = {"torch": "pytorch-cpu", "matplotlib": "matplotlib-base", "ipython-genutils": "ipython_genutils"}
TOP = {"nnvis_widgets", "notebooks", "tests", "binder", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff"}
DRAWING = ("ipywidgets", "traitlets", "bqplot", "bqplot_image_gl", "ipyvolume", "anywidget", "IPython", "matplotlib", "tqdm")


def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def tracked() -> list[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    return subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


class TestEnvironment:
    def test_binder_asks_for_what_pyproject_asks_for_in_the_same_ranges(self):
        required = [
            Requirement(line) for line in (*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["lab"])
        ]
        expected = {CONDA_NAMES.get(r.name, r.name): r.specifier for r in required}
        expected["python"] = SpecifierSet(PROJECT["project"]["requires-python"])
        environment = yaml.safe_load((ROOT / "binder/environment.yml").read_text())
        lines = [re.fullmatch(r"([a-z0-9_-]+)(.*)", line).groups() for line in environment["dependencies"]]
        asked = {name: SpecifierSet(ranges) for name, ranges in lines if name != "pip"}
        assert asked == expected

    def test_binder_takes_conda_forge_alone_and_no_cuda(self):
        environment = yaml.safe_load((ROOT / "binder/environment.yml").read_text())
        assert environment["channels"] == ["conda-forge"]
        assert not [line for line in environment["dependencies"] if re.search("cuda|gpu", line)]


class TestVersions:
    def test_the_citation_has_the_version_of_the_package(self):
        assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == nv.__version__

    def test_the_newest_release_in_the_changelog_is_the_version_of_the_package(self):
        releases = re.findall(r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
        assert releases[0] == nv.__version__


class TestTree:
    def test_the_top_level_holds_what_the_design_allows(self):
        entries = {path.split("/")[0] for path in tracked()}
        assert {entry for entry in entries if not entry.startswith(".")} <= TOP

    def test_notebooks_hold_no_outputs(self):
        notebooks = [path for path in tracked() if path.endswith(".ipynb")]
        for path in notebooks:
            for cell in json.loads((ROOT / path).read_text(encoding="utf-8"))["cells"]:
                assert cell.get("outputs", []) == [], path
                assert cell.get("execution_count") is None, path

    def test_the_hooks_before_a_commit_are_the_checks_of_ci(self):
        (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
        entries = {hook["entry"].split()[0] for hook in local["hooks"]}
        checks = set(re.findall(r"^\.venv/bin/([a-z-]+)", (ROOT / ".ci/run").read_text(), re.MULTILINE)) - {"pip"}
        assert local["repo"] == "local"
        assert checks <= entries
        assert checks == {"ruff", "mypy", "lint-imports"}


class TestReadme:
    def test_it_has_the_two_commands_and_ci_runs_the_second_as_it_stands(self):
        commands = [line for line in readme().splitlines() if line.startswith("python3 -m venv")]
        assert len(commands) == 2
        assert commands[0].endswith("-m nnvis_widgets notebook")
        assert commands[1] in (ROOT / ".ci/run").read_text().splitlines()

    def test_its_pictures_and_links_lead_to_files_of_the_project(self):
        for target in re.findall(r"\]\(([^)#]+)\)", readme()):
            assert (ROOT / target).exists(), target

    def test_it_names_no_registry_and_no_machine(self):
        assert not re.search(r"pypi\.org|files\.pythonhosted|download\.pytorch|conda\.anaconda|/root/|/home/|/work/", readme())

    def test_its_python_lines_name_what_the_package_has(self):
        names = set(re.findall(r"\bnv\.([A-Za-z_0-9]+)", readme()))
        assert names
        assert names <= set(nv.__all__)


class TestImports:
    def test_the_contracts_between_the_rooms_are_kept(self, monkeypatch):
        linter = pytest.importorskip("importlinter.cli")
        monkeypatch.chdir(ROOT)
        assert linter.lint_imports(no_cache=True, no_logo=True) == 0

    def test_the_instrument_works_where_nothing_that_draws_is_installed(self):
        script = f"""
import importlib, pkgutil, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {DRAWING!r}:
            raise ModuleNotFoundError("not installed: " + name, name=name)
sys.meta_path.insert(0, Missing())
import nnvis_widgets as nv
for room in ("core", "runs", "experiments"):
    package = importlib.import_module("nnvis_widgets." + room)
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(package.__name__ + "." + module.name)
import nnvis_widgets.store, nnvis_widgets.results, nnvis_widgets.jobs
import torch
model = torch.nn.Linear(3, 2)
states = [{{k: v.detach() + i for k, v in model.state_dict().items()}} for i in range(3)]
data = torch.arange(15.0).reshape(5, 3), torch.tensor([0, 1, 1, 0, 1])
result = nv.measure_path(nv.Evaluator(model, data, device="cpu"), nv.QuadraticPath(*states), [0, 0.25, 1])
assert result.loss.shape == (3,)
"""
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr

    def test_every_public_name_can_be_had(self):
        for name in nv.__all__:
            assert getattr(nv, name) is not None
