"""Explorers: settings as traits, background work, and views of the results."""
