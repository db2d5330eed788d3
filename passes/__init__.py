"""Passes: one a file; `passes/graph/fold_constants.py` is `graph.fold-constants`."""
