"""How a step behaves when it is run alone from a shell."""

import sys
from collections.abc import Callable

import typer

from components.errors import InputError


def run_step(command: Callable[..., None]) -> None:
    """Run a function as a command line; an `InputError` becomes one line and exit code 2.

    Args:
        command: The step's function; its parameters become options, its docstring the help.
    """
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    try:
        app()
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
