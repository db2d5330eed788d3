"""From the graph dialect down: clusters to structured kernels, the rest to the host's program.

`kernel.lower` (passes/kernel/lower.py) is the pass; the two halves of its work are here.
"""
