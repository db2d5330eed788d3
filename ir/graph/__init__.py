"""The graph dialect: tensors in, tensors out, no side effects.

A tensor's type is element type and dims.  Every operation belongs to a family (`headrace.ir.graph.families`)
that says how its result elements come from its operands' elements; lowering, references for tests and the
interpreter follow from the declarations in `ops/`.
"""
