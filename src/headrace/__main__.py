"""The `headrace` command, also as `python -m headrace`: arguments go in, an exit code comes out."""

import sys

from headrace.compiler.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
