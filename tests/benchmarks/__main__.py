"""`python -m tests.benchmarks` or `python tests/benchmarks`, from the project's folder."""

import sys
from pathlib import Path

# one name for the package, however it was started and in every process: the folder `tests` need not be a package
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

if __name__ == "__main__":
    from benchmarks.cli import main

    raise SystemExit(main())
