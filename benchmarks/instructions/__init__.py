"""How many instructions kernels take: `python -m benchmarks.instructions` from the root of the repository.

A count does not depend on what else the machine does, so it can be a test: tests/benchmarks/test_instructions.py fails
where a model here takes over 3 % more than `figures.json` says.
"""
