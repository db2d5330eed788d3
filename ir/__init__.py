"""The intermediate representation: operations, types, dims, text form, verifier, rewriter, interpreters.

Three dialects live below it (`graph`, `kernel`, `program`); each is a folder with `ops/`, one declaration
per operation, from which verifier, text form, builder, interpreter and documentation follow.  Nothing in
here imports a pass, a code generator or a target.
"""
