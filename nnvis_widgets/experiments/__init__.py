"""One file for each experiment: a family of weights, coefficients, and a result."""
