"""The command line: ``python -m nnvis_widgets run``, or surface, faithfulness, layers, parameters, preliminary, thesis, notebook.

Exit codes: 0 done, 1 the work failed, 2 refused before it started, 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .cli.options import Refused, parse


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; messages go to stderr.

    Parameters
    ----------
    argv : sequence of str, optional
        Default: the process's own arguments.
    """
    try:
        options = parse(argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    try:
        if options.command == "notebook":
            from .cli.notebook import notebook as command
        elif options.command == "preliminary":
            from .cli.preliminary import preliminary as command
        elif options.command == "thesis":
            from .cli.thesis import thesis as command
        elif options.command == "faithfulness":
            from .cli.faithfulness import faithfulness as command
        elif options.command == "surface":
            from .cli.surface import surface as command
        elif options.command == "parameters":
            from .cli.parameters import parameters as command
        elif options.command == "layers":
            from .cli.layers import layers as command
        else:
            from .cli.run import run as command
        return command(options)
    except Refused as refused:
        print(f"python -m nnvis_widgets {options.command}: error: {refused}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
