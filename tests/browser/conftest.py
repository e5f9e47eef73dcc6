"""Fixtures of the browser tests: one Chromium, one JupyterLab, one Voila, one trained demo for all of them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import nnvis_widgets as nv

pytest.register_assert_rewrite("driver", "pages", "picture")  # they assert, too; before they are imported

import driver  # noqa: E402
import pages  # noqa: E402

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


def pytest_collection_modifyitems(items):
    def in_browser(item):
        return Path(__file__).parent in item.path.parents

    for item in filter(in_browser, items):
        item.add_marker("browser")
        item.add_marker(pytest.mark.timeout(600))
        # a picture is read while a busy machine may still be drawing it; what is wrong is wrong three times
        item.add_marker(pytest.mark.flaky(reruns=int(os.environ.get("NNVIS_RERUNS", "2"))))


def pytest_generate_tests(metafunc):
    """Tests that do not say so run in JupyterLab, in the order in which they are written."""
    said = any("page" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if "page" in metafunc.fixturenames and not said:
        metafunc.parametrize("page", ["lab"], indirect=True)


def missing(reason: str) -> None:
    """Skip, or fail where a browser was promised."""
    if os.environ.get("NNVIS_REQUIRE_BROWSER") == "1":
        raise RuntimeError(f"{reason}, and NNVIS_REQUIRE_BROWSER=1 asks for it")
    pytest.skip(reason)


@pytest.fixture(scope="package")
def chromium():
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("the playwright package is not installed")
    found = pages.find_chromium()
    if found is None:
        missing("no Chromium on the PATH or in CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=pages.CHROMIUM_OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Where the notebooks are served from: a copy, as a reader's own."""
    folder = tmp_path_factory.mktemp("served")
    for notebook in NOTEBOOKS.glob("*.ipynb"):
        shutil.copy(notebook, folder)
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def demo(cache):
    """The demo of the notebooks, trained once; the kernels find it in their cache."""
    return nv.load_demo("digits", cache=cache / "nnvis_widgets")


@pytest.fixture(scope="session")
def truth(demo):
    """The demo's paths, measured here, apart from any kernel or widget."""
    run, last = demo.run, len(demo.run) - 1

    def measure(
        kind, scope, alphas=(0.0, 0.3, 0.5, 0.8, 1.0), *, start=0, mid=run.mid_index, end=last, mid_at=0.5, background=None
    ):
        initial, middle, final = (run[index].state for index in (start, mid, end))
        path = nv.LinearPath(initial, final) if kind == "linear" else nv.QuadraticPath(initial, middle, final, mid_at)
        return nv.measure_path(demo.evaluator, path, alphas, scope=scope, background=background)

    return measure


@pytest.fixture(scope="package")
def lab_url(chromium, folder, cache, demo):
    with pages.serve("lab", folder, cache) as url:
        yield url


@pytest.fixture(scope="package")
def voila_url(chromium, folder, cache, demo):
    with pages.serve("voila", folder, cache, str(folder / "01_paths.ipynb")) as url:
        yield url


@pytest.fixture(scope="package")
def new_page(chromium):
    """A function that opens a page which remembers its complaints."""
    contexts = []

    def make(width=1500, height=1100):
        contexts.append(chromium.new_context(viewport={"width": width, "height": height}))
        page = contexts[-1].new_page()
        page.set_default_timeout(1000 * pages.PATIENCE)
        page.complaints = pages.Complaints(page)
        return page

    yield make
    for context in contexts:
        context.close()


@pytest.fixture(scope="package")
def lab(new_page, lab_url):
    """JupyterLab with the tour, all cells run."""
    lab = pages.Lab(new_page(), lab_url, "01_paths.ipynb")
    lab.run_all()
    return lab


@pytest.fixture(scope="package")
def voila(new_page, voila_url):
    """Voila's page of the tour."""
    page = new_page()
    page.goto(voila_url)
    page.locator(".nnvis-loss .svg-figure").nth(1).wait_for(state="attached")  # the explorer of the last cells
    return page


@pytest.fixture(scope="package")
def page(request):
    """The tour's page: JupyterLab's, and after that Voila's for the tests marked with `pages.in_both`."""
    shown = request.getfixturevalue(request.param)
    return getattr(shown, "page", shown)


@pytest.fixture
def explorer(page):
    """The tour's first explorer; the page must not complain while a test uses it."""
    yield driver.Explorer(page)
    page.complaints.raise_any()
