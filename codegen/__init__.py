"""Code generation: kernels as loops in, bytes out; the program in, bytecode out.

Nothing here knows an operation of the graph dialect: what a constant's function computes is asked of the
caller.  `llvm/` and `clike/` print kernels, `workers/` runs LLVM, `image/` links, `artefact/` writes the file.
"""
