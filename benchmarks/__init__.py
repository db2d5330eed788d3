"""Measurements; none of them is a test.  `python -m benchmarks.kernels` from the checkout."""
