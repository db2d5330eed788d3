"""Whether a driver keeps its promises.  In: a driver, a target.  Out: verdicts on its calls, a table of operations."""
