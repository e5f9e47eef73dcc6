"""The folder that a command's results go to, its progress, and how it ends: what the commands have in common.

May import: anything of ours but the commands.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas
from matplotlib.figure import Figure
from tqdm import tqdm

from ..export import save_figure, save_table
from ..export.files import Picture
from .options import Refused
from .plan import refusing


class Output:
    """The folder that results go to, and the names of what is complete in it.

    Attributes
    ----------
    names : list of str
        Files that are complete.
    doing : str
        What is being done, to be told where it fails.
    """

    def __init__(self, folder: Path, formats: list[str], command: str):
        self._folder, self._formats, self._command = folder, formats, command
        self._rows: list[dict[str, Any]] = []
        self.names: list[str] = []
        self.doing = ""

    def result(self, stem: str, result: Any) -> None:
        """Write a result and its table."""
        result.save(self._folder / f"{stem}.safetensors")
        self._done(f"{stem}.safetensors")
        self.table(stem, result.to_pandas())

    def summed_up(self, row: dict[str, Any]) -> None:
        """Write the summary of all so far, with one more row."""
        self._rows.append(row)
        self.table("summary", pandas.DataFrame(self._rows))

    def table(self, stem: str, table: pandas.DataFrame) -> None:
        """Write a table, where tables are asked for."""
        if "csv" in self._formats:
            save_table(table, self._folder / f"{stem}.csv")
            self._done(f"{stem}.csv")

    def figure(self, stem: str, figure: Figure) -> None:
        """Write a figure in each of the formats that are asked for; the command is a part of its recipe."""
        if isinstance(figure, Picture):
            figure.recipe["command"] = self._command
        for ending in self._formats:
            if ending != "csv":
                save_figure(figure, self._folder / f"{stem}.{ending}")
                self._done(f"{stem}.{ending}")

    def file(self, name: str, write: Callable[[Path], Any]) -> None:
        """Have a file written."""
        write(self._folder / name)
        self._done(name)

    def _done(self, name: str) -> None:
        if name not in self.names:
            self.names.append(name)


class Progress:
    """A bar over tasks, each of which knows its own fraction."""

    def __init__(self, bar: tqdm):
        self._bar, self._before = bar, 0

    def show(self, fraction: float) -> None:
        """Show how far the present task is."""
        self._bar.n = round(self._before + fraction, 3)
        self._bar.refresh()

    def said(self, what: str, fraction: float) -> None:
        """Show what is being done, and how far it is."""
        self._bar.set_description_str(what, refresh=False)
        self._bar.n = round(fraction, 3)
        self._bar.refresh()

    def drain(self, results: Iterator[Any]) -> Any:
        """Return the last of the results of a task."""
        for result in results:
            self.show(result.fraction)
        self._before += 1
        return result


@contextmanager
def progress_bar(what: str, total: int, quiet: bool) -> Iterator[Progress]:
    """Give a bar on stderr that disappears at the end."""
    layout = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
    with tqdm(total=total, desc=what, file=sys.stderr, disable=quiet, bar_format=layout, leave=False) as bar:
        yield Progress(bar)


def checked_folder(options: argparse.Namespace) -> Path:
    """Return the folder of --out, or refuse it."""
    folder = Path(options.out)
    if folder.exists() and not folder.is_dir():
        raise Refused(f"argument --out: a folder, received the file {folder}")
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if there and not options.force:
        more = ", ..." if len(there) > 3 else ""
        raise Refused(f"argument --out: {folder} holds {', '.join(there[:3])}{more}; name an empty or a new folder, or add --force")
    return folder


def carry_out(folder: Path, options: argparse.Namespace, work: Callable[[Output], Any]) -> int:
    """Make the folder, do the work, tell what was written; return the exit code. What is complete stays whatever happens."""
    new = not folder.exists()
    with refusing("--out"):
        folder.mkdir(parents=True, exist_ok=True)
    output = Output(folder, options.formats, shlex.join(["python", "-m", "nnvis_widgets", *options.said]))
    try:
        work(output)
    except Refused:
        if new:
            folder.rmdir()
        raise
    except (Exception, KeyboardInterrupt) as error:
        if not isinstance(error, KeyboardInterrupt):
            traceback.print_exc()
        kept = f"complete in {folder}: {', '.join(output.names)}" if output.names else f"nothing was complete in {folder}"
        what = "interrupted" if isinstance(error, KeyboardInterrupt) else f"failed ({type(error).__name__}: {error})"
        print(f"{what} while {output.doing}; {kept}", file=sys.stderr)
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    if not options.quiet:
        print(f"{len(output.names)} files in {folder}, such as {', '.join(output.names[-3:])}")
    return 0
