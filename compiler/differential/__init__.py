"""Does a compiled model compute what its graph means?  In: a graph.func, what was computed.  Out: where it differs."""
