"""How fast, how exact and how large: `python -m tests.benchmarks` from the project's folder prints tables of ratios.

Not a test: speed is measured here and asserted nowhere. `tasks.py` is what we do, `peer_worker.py` what the others do with the
same weights and data, `truth.py` what is right, `limits.py` what the machine could do, `scaling.py` how cost grows.
"""
