"""The compiler's version, as it stands in artefacts."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("headrace")
except PackageNotFoundError:  # run from a checkout that is not installed
    VERSION = "0.0.0"
