"""The kernel dialect: what one kernel computes (structured tier) and how (loops tier).

*Structured*: `kernel.map` and `kernel.reduce` say which elements are computed from which, over named axes.
A schedule splits, reorders and renames the kinds of these axes; `kernel.realize` turns them into
*loops*: `kernel.for`, `kernel.parallel`, `kernel.if`, loads, stores and explicit vectors.  Only loops reach a
code generator.  `kernel.mma`, one step of a matrix unit, stands in both.  Both tiers have one interpreter,
`headrace.ir.kernel.interpret`.

Integers that say *where* (extents, indices, bounds) are formulas (`headrace.ir.dims`) over axis names and dim
symbols; integers that are data are values.
"""
