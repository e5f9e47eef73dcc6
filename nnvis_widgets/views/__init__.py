"""Results in, bqplot marks and pictures out; nothing here computes or knows torch."""
