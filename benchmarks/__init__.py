"""The measured claims, each runnable: `python -m benchmarks.render`."""
