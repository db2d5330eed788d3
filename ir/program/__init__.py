"""The program dialect: what the host does.  Buffers, formulas over dims, kernel launches, in order.

A `program.func` is compiled to the bytecode of the artefact; `headrace.ir.program.interpret` runs it on numpy
with the kernel interpreter behind each launch.
"""
