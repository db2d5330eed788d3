"""How fast single kernels run on this machine: `python -m benchmarks.kernels` from the root of the repository."""
