"""Pages of the browser tests: servers on this machine, what a page complains about, waiting, a notebook in JupyterLab."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PATIENCE = float(os.environ.get("NNVIS_PATIENCE", "120"))  # seconds; a busy machine is slow, not wrong
CHROMIUM_OPTIONS = [
    "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
]  # fmt: skip
# every control is moved in JupyterLab; of each kind (button, list, box, slider, picture, file) at least one is in Voila, too
in_both = pytest.mark.parametrize("page", ["lab", "voila"], indirect=True)
FONT_AWESOME = "https://cdn.jsdelivr.net/npm/@fortawesome/"  # Voila's template asks for its icons there


def find_chromium() -> str | None:
    """Return the browser named by CHROMIUM, or one on the PATH."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return os.environ.get("CHROMIUM") or next((found for found in map(shutil.which, names) if found), None)


# ---- servers

# a worker of pytest that is interrupted ends without a word, and its server with it
_UNTIL_ORPHANED = """
import os, runpy, signal, sys, threading, time
def watch(parent=os.getppid()):
    while os.getppid() == parent:
        time.sleep(1)
    os.killpg(0, signal.SIGTERM)
threading.Thread(target=watch, daemon=True).start()
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@contextlib.contextmanager
def serve(program: str, folder: Path, cache: Path, *options: str) -> Iterator[str]:
    """Run `program` ("lab" or "voila") on a free port with its own empty configuration, and give its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = folder / f"{program}-home"
    environment = dict(
        os.environ, JUPYTER_CONFIG_DIR=str(home / "config"), JUPYTER_DATA_DIR=str(home / "data"), JUPYTER_RUNTIME_DIR=str(home / "run"),
        IPYTHONDIR=str(home / "ipython"), XDG_CACHE_HOME=str(cache), OMP_NUM_THREADS="1",
    )  # fmt: skip
    quiet = {
        "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}
    }
    (home / "config" / "labconfig").mkdir(parents=True)  # a question about news would lie over the buttons in the corner
    (home / "config" / "labconfig" / "default_setting_overrides.json").write_text(json.dumps(quiet))
    log = folder / f"{program}.log"
    command = [sys.executable, "-c", _UNTIL_ORPHANED, {"lab": "jupyterlab", "voila": "voila"}[program], *options, "--no-browser"]
    command += {
        "lab": ["--allow-root", "--expose-app-in-browser", f"--ServerApp.root_dir={folder}", "--ServerApp.ip=127.0.0.1",
                f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=", "--ServerApp.password=",
                "--LabApp.news_url="],
        "voila": ["--Voila.ip=127.0.0.1", f"--port={port}", "--VoilaConfiguration.extension_denylist=@jupyter-notebook/lab-extension"],
    }[program]  # fmt: skip
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment, start_new_session=True)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{program} did not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Complaints:
    """Errors of a page and requests that would have left the machine."""

    def __init__(self, page: Any):
        self.errors: list[str] = []
        self.foreign: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: self._request(request.url))
        page.route(FONT_AWESOME + "**", lambda route: route.fulfill(status=200, content_type="text/css", body=""))

    def _request(self, url: str) -> None:
        if not url.startswith(("http://127.0.0.1", "data:", "blob:", FONT_AWESOME)):
            self.foreign.append(url)

    def raise_any(self) -> None:
        """Fail with what the page has complained about since the last call."""
        errors, foreign = list(dict.fromkeys(self.errors)), list(dict.fromkeys(self.foreign))
        self.errors.clear()
        self.foreign.clear()
        assert not errors, "errors on the page:\n" + "\n".join(error[:600] for error in errors[:8])
        assert not foreign, f"requests that leave the machine: {foreign}"


def until(page: Any, condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Return what `condition` returns once it is true; a failing assertion or a missing part of the picture counts as not yet."""
    deadline, last = time.monotonic() + seconds, None
    while True:
        try:
            if value := condition():
                return value
            last = None
        except (AssertionError, IndexError, KeyError, ValueError) as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:.0f} s: not {what}" + (f"; {last}" if last else ""))
        page.wait_for_timeout(60)


class Lab:
    """A notebook in JupyterLab."""

    def __init__(self, page: Any, url: str, notebook: str):
        self.page = page
        page.goto(f"{url}/lab/tree/{notebook}?reset")
        page.wait_for_function(_READY)

    def command(self, name: str, **arguments: Any) -> None:
        """Run one of JupyterLab's commands, as its menu does, and wait for its end."""
        self.page.evaluate("([name, arguments]) => window.jupyterapp.commands.execute(name, arguments)", [name, arguments])

    def run_all(self) -> None:
        """Run all cells; an error in one of them fails."""
        self.command("notebook:run-all-cells")
        wrong = self.page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.error']")
        assert wrong.count() == 0, wrong.first.inner_text()

    def python(self, code: str) -> str:
        """Run code in the notebook's kernel, as a cell would, and return what it prints."""
        text, wrong = self.page.evaluate(_EXECUTE, code)
        assert not wrong, wrong
        return text.strip()

    def theme(self, name: str) -> None:
        """Change to "JupyterLab Light" or "JupyterLab Dark"."""
        self.command("apputils:change-theme", theme=name)
        self.page.wait_for_function("name => document.body.dataset.jpThemeName === name", arg=name)


_READY = """() => { const app = window.jupyterapp; if (!app || !app.commands.hasCommand('notebook:run-all-cells')) return false;
  const panel = app.shell.currentWidget, kernel = panel?.sessionContext?.session?.kernel;
  return !!(panel?.context?.isReady && kernel?.status === 'idle') }"""
_EXECUTE = """async code => { const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  const future = kernel.requestExecute({ code, store_history: false }); let text = '', wrong = '';
  future.onIOPub = ({ header, content }) => { if (header.msg_type === 'stream') text += content.text;
    if (header.msg_type === 'error') wrong = content.ename + ': ' + content.evalue };
  await future.done; return [text, wrong] }"""
