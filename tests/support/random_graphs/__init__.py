"""Random graphs of all declared graph operations, and what a compiled model makes of them.

    PYTHONPATH=tests/support python -m random_graphs --seeds 0:1000          against the interpreter
    PYTHONPATH=tests/support python -m random_graphs --seeds 0:1000 --onnx   against ONNX Runtime

A seed gives one graph, on every machine: see `growing` for how it grows and `differential` for what is compared.
"""
