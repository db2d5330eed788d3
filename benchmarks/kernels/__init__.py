"""How close single kernels come to what the core can do.  Run as `python -m benchmarks.kernels`."""
