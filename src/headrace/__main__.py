"""The `headrace` command, also as `python -m headrace`: arguments go in, an exit code comes out."""

import sys

INTERRUPTED = 130  # as the command line has it


def main() -> int:
    """Runs the command line and returns the exit code."""
    try:
        from headrace.compiler.cli import main as command_line
    except KeyboardInterrupt:  # importing takes a moment, too
        print("\nheadrace: interrupted", file=sys.stderr)
        return INTERRUPTED
    return command_line()


if __name__ == "__main__":
    sys.exit(main())
