"""The forward pass as a graph, split by what the coefficients can change: prefix, affine head, suffix.

May import: torch, core.family, core.states. `record` writes a forward pass down, `affine` says what each of its values
depends on, `tidy` replaces slow operations by equal ones, `split` cuts it, `local` follows a single weight, `run` computes.
"""
