"""Passes on the program dialect; `plan_memory.py` in this folder is `program.plan-memory`."""
