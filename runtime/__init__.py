"""The runtime: C sources and headers, the library built from them, and `python`, its Python face.

A compiled model needs nothing of Headrace but this package.  It imports numpy and ml_dtypes only.
"""
