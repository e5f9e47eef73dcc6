"""``python -m nnvis_widgets notebook``: the notebooks, in a folder of the user's, in JupyterLab."""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from .options import Refused

_PACKAGE = Path(__file__).resolve().parent.parent


def notebook(options: argparse.Namespace) -> int:
    """Copy the notebooks where they are missing and open JupyterLab on them; return its exit code."""
    if importlib.util.find_spec("jupyterlab") is None:
        print("JupyterLab is not installed: pip install 'nnvis_widgets[lab]'", file=sys.stderr)
        return 1
    folder = Path(options.folder).absolute()
    names = copy_notebooks(notebooks_folder(), folder)
    return _serve(server_command(folder, names[0], port=options.port, browser=not options.no_browser))


def _serve(command: list[str]) -> int:
    server = subprocess.Popen(command)
    while True:
        try:
            return server.wait()
        except KeyboardInterrupt:
            continue  # the terminal sent it to the server too, which asks whether it is meant


def notebooks_folder(package: Path = _PACKAGE) -> Path:
    """Return where the notebooks are: inside an installed package, beside the package in a checkout."""
    places = [package / "notebooks", package.parent / "notebooks"]
    for place in places:
        if any(place.glob("*.ipynb")):
            return place
    raise Refused(f"no notebooks in {' or '.join(map(str, places))}: reinstall nnvis_widgets")


def copy_notebooks(source: Path, folder: Path) -> list[str]:
    """Copy each notebook that is not there yet; return all their names. What is there is kept, and told where it differs."""
    names = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for notebook in sorted(source.glob("*.ipynb")):
            names.append(notebook.name)
            try:
                with open(folder / notebook.name, "xb") as copy:
                    copy.write(notebook.read_bytes())
            except FileExistsError:
                if (folder / notebook.name).read_bytes() != notebook.read_bytes():
                    print(
                        f"kept your {folder / notebook.name}, which differs from the packaged one; rename it to get a fresh copy",
                        file=sys.stderr,
                    )
    except OSError as error:
        raise Refused(f"argument --folder: {folder} cannot be written ({error.strerror or error}); name another folder") from error
    return names


def server_command(folder: Path, first: str, *, port: int | None = None, browser: bool = True) -> list[str]:
    """Return the command that serves `folder` and opens the notebook `first`, asking nothing of other hosts."""
    command = [
        sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={folder}", f"--LabApp.default_url=/lab/tree/{first}",
        "--LabApp.news_url=", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]  # fmt: skip
    if port is not None:
        command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    if not browser:
        command.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        # Jupyter refuses root by default; in a container there is often nobody else, and it still listens on this machine alone
        command.append("--allow-root")
    return command
