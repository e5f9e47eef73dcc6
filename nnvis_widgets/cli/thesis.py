"""``python -m nnvis_widgets thesis``: the statements of the thesis's sixth chapter, with our numbers and verdicts."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..demo import SCHEDULES
from ..demo.thesis import FIGURES, Cards, load_thesis, on_mnist
from ..export.files import Picture
from .options import Refused
from .output import Output, carry_out, checked_folder, progress_bar


def thesis(options: argparse.Namespace) -> int:
    """Check everything, then work; return the exit code."""
    folder = checked_folder(options)
    schedules = options.schedules
    if len(set(schedules)) < len(schedules) or not set(schedules) <= set(SCHEDULES):
        raise Refused(f"argument --schedules: some of {', '.join(SCHEDULES)}, each once; received {','.join(schedules)}")
    if options.root is not None and options.demo == "digits":
        raise Refused("argument --root: the digits need no folder; only with --demo mnist or fashion-mnist")

    def work(output: Output) -> None:
        device = "cpu" if options.no_cuda else options.device or "auto"
        with progress_bar("measuring", 1, options.quiet) as bar:

            def tell(what: str, share: float) -> None:
                output.doing = what
                bar.said(what, share)

            try:
                found = load_thesis(
                    options.demo, seeds=options.seeds, schedules=schedules, preliminary=not options.no_preliminary,
                    root=options.root, device=device, again=options.again, progress=tell,
                )  # fmt: skip
            except RuntimeError as error:
                about, _, rest = str(error).partition(": ")
                if about != "data":
                    raise
                raise Refused(f"argument {'--root' if options.root else '--demo'}: {rest}") from error
        statements = found.statements
        output.doing = "writing"
        output.result("statements", statements)
        output.table("claims", statements.claims_to_pandas())
        output.table("figures", FIGURES.to_pandas())
        output.file("statements.md", _writing(statements.to_markdown()))
        output.file("statements.html", _writing(_page(found)))
        picture = Picture(
            "results[0].plot()",
            [statements],
            figsize=(4 + 0.5 * len(statements.runs), 1.6 + 0.32 * len(statements)),
            layout="constrained",
        )
        statements.plot(picture.add_subplot())
        output.figure("verdicts", picture)
        if not options.quiet:
            print(found)

    return carry_out(folder, options, work)


def _page(found: Any) -> str:
    kept = on_mnist()
    both = Cards({f"{found.data}, measured here": found.statements, "MNIST, stored": kept.statements})
    cards = "".join(f"<div style='margin:1em 0'>{both[key]._repr_html_()}</div>" for key in found.statements.keys)
    return (
        "<!doctype html><meta charset='utf-8'><title>The thesis, statement by statement</title>"
        "<style>:root{color-scheme:light dark} "
        "body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:75em;padding:0 1em}</style>"
        f"<h1>The thesis, statement by statement</h1><p>{found.data}; {', '.join(found.statements.runs)}</p>"
        f"{found.statements._repr_html_()}<h2>One by one</h2>{kept._repr_html_()}{cards}"
        f"<h2>Figure by figure</h2>{FIGURES._repr_html_()}"
    )


def _writing(text: str) -> Any:
    def write(path: Path) -> None:
        path.write_text(text, encoding="utf-8")

    return write
