"""Benchmarks of the costs that the guides state: `python -m benchmarks`."""
