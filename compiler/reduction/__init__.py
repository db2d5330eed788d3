"""Cutting a failing model down.  In: a model that fails.  Out: a small one that fails in the same way.

how_it_fails(cut, how, limits)      one trial, in a process of its own
reduced(cut, fails, see)            the search: what can be left out while it still fails
"""
