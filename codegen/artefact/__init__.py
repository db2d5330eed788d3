"""The artefact, one `.hrm` file.  In: code images, programs, constants.  Out: a file that the C runtime maps and runs.

`model` says what a file holds, as frozen dataclasses; `writer` turns that into bytes and `reader` turns bytes back;
`formula` compiles a `Dim` to the plan's bytecode.  The format itself is drawn to the byte in docs/artefact.md.
"""
