"""The other tools: installed from the package index into a folder of their own, each run in a process of its own.

Nothing of them is on this process's path, and nothing of theirs is in the project. Only what they measure comes back.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.problem import ROOT

# the versions that the adapters in peer_worker.py were written for; h5py is what nnvis writes its surface to
REQUIREMENTS = ["nnvis==1.1.4", "loss-landscapes==3.0.6", "loss-landscape-3d==0.1.3", "loss-landscape-anim==0.1.10", "h5py"]
BATCHES = (32, 128, 500, 1000)


class PeerFailed(Exception):
    """A peer that could not be started or that gave no answer; the text says why."""


def folder() -> Path:
    """Return where the peers are installed: in the user's cache, never in the project."""
    import platformdirs

    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return Path(platformdirs.user_cache_dir("nnvis_widgets", appauthor=False)) / "benchmarks" / f"peers-{version}"


def install(target: Path) -> list[str]:
    """Install each peer that is missing, without its dependencies (their pins are dead); return what went wrong."""
    problems = []
    for requirement in REQUIREMENTS:
        name = requirement.split("==")[0]
        if name in versions(target):
            continue
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), requirement]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=180)
        except subprocess.TimeoutExpired:
            problems.append(f"{requirement} could not be installed in three minutes")
            continue
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            problems.append(f"{requirement} could not be installed: {lines[-1] if lines else 'pip says no more'}")
    return problems


def versions(target: Path) -> dict[str, str]:
    """Return name and version of what is installed in the folder."""
    return {d.metadata["Name"].replace("_", "-"): d.version for d in metadata.distributions(path=[str(target)])}


class Peer:
    """One tool in its own process, asked for seconds and values.

    Attributes
    ----------
    name, note : str
        The note says how it is called and what stands in for dead imports.
    default : int or None
        Its own batch size; None is the whole data at once.
    kinds : tuple of str
        What it can be asked for.
    batches : bool
        Whether it takes any other batch size.
    """

    def __init__(self, name: str, problem: Path, target: Path):
        self.name = name
        self._home = tempfile.TemporaryDirectory()  # some of them write logs and results to where they are
        self._log = Path(self._home.name) / "stderr"
        env = {**os.environ, "MPLBACKEND": "agg", "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), str(ROOT), str(target)])}
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.peer_worker", name, str(problem)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=env, cwd=self._home.name,
            )  # fmt: skip
        about = self._answer()
        self.default, self.kinds, self.note = about["default"], tuple(about["kinds"]), about["note"]
        self.batches = bool(about["batches"])

    def measure(self, kind: str, scope: Any, batch: int | None, points: int) -> dict[str, Any]:
        """Return seconds a point, losses, and the rows of coefficients at which it really evaluated.

        `claimed` are the rows that its documentation says, where these are others.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"kind": kind, "scope": scope, "batch": batch, "points": points}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # then there is no answer either
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait()
        self._home.cleanup()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": (self._log.read_text().strip() or "no answer").splitlines()[-1]}
        if "error" in answer:
            raise PeerFailed(f"{self.name}: {answer['error']}")
        return answer


NAMES = ("nnvis", "loss-landscapes", "loss-landscape-3d", "loss-landscape-anim")


def start(problem: Path) -> tuple[list[Peer], list[str]]:
    """Return the peers that run, and a line for each one that does not."""
    target = folder()
    problems = install(target)
    running = []
    for name in NAMES:
        if name not in versions(target):
            continue
        try:
            running.append(Peer(name, problem, target))
        except PeerFailed as error:
            problems.append(str(error))
    return running, problems
