"""Frontends: a folder each that turns files of one format into the graph dialect."""
