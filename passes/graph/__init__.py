"""Passes on the graph dialect; `fold_constants.py` in this folder is `graph.fold-constants`."""
