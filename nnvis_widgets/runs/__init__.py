"""A training run: recorded while it trains, opened afterwards."""
