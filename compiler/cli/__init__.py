"""The command line: `headrace COMMAND`, one module of this folder each.

In: arguments.  Out: exit code 0, or 2 with one line on stderr that says what was wrong and where; 130, as shells have
it, where the user broke off.  A module
without a leading underscore is a command of its name and has the click command `command`; it is imported when
it runs or its help is asked for.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys

import click

from headrace.compiler.version import VERSION
from headrace.ir.errors import HeadraceError, nearest
from headrace.runtime.python import HeadraceRuntimeError

INTERRUPTED = 130  # 128 and SIGINT's number


class Commands(click.Group):
    """Commands found in this folder."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        known = self.list_commands(ctx)
        if cmd_name not in known:
            raise click.UsageError(
                f"unknown command {cmd_name!r}{nearest(cmd_name, known)}; expected one of {', '.join(known)}"
            )
        command = importlib.import_module(f"{__name__}.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION)
def cli() -> None:
    """Compile machine-learning models ahead of time, and run them."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line and returns the exit code; `arguments` default to the process's own."""
    try:
        code = cli.main(arguments, prog_name="headrace", standalone_mode=False)  # what a command exits with
    except (click.Abort, KeyboardInterrupt):
        return _complain("interrupted", INTERRUPTED)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return 2
    except click.ClickException as error:
        return _complain(_lower(error.format_message()))
    except BrokenPipeError:
        # Whoever read our output has left; nothing more can be said, and the interpreter must not try to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    except OSError as error:
        place = f"{error.filename}: " if error.filename is not None else ""
        return _complain(f"{place}{(error.strerror or str(error)).lower()}")
    except (HeadraceError, HeadraceRuntimeError) as error:
        return _complain(str(error))
    except RecursionError:
        return _complain("the input is nested too deeply")
    except MemoryError:
        return _complain("out of memory")
    return code if isinstance(code, int) else 0


def _lower(message: str) -> str:
    """click's sentence in our grammar: lower case first, no full stop."""
    return message[:1].lower() + message[1:].rstrip(".")


def _complain(message: str, code: int = 2) -> int:
    line = " ".join(message.split())
    print(f"headrace: {line}", file=sys.stderr)
    return code
