"""How fast compiled models run, and how fast they could: what `headrace bench` measures.

In: a `.hrm` file, its inputs, the machine.  Out: frozen dataclasses of times, rates and memory, which
`headrace.compiler.reports` turns into text and JSON.
"""
