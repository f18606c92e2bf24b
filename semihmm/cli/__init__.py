"""The command ``semihmm``. Needs ``pip install 'semihmm[speech]'``; says so where that is missing."""

import sys

from semihmm._optional import require
from semihmm.errors import DependencyError

__all__ = ["app"]


def app() -> None:
    """Run the command line: what ``semihmm`` in a shell calls.

    Raises:
        SystemExit: always; 0 if all went well, 1 if some recordings failed, 2 if the command cannot be carried out.

    Example:
        In a shell: ``semihmm align recordings --out aligned``. From Python:

        >>> import sys
        >>> from semihmm.cli import app
        >>> sys.argv = ["semihmm", "info"]
        >>> try:
        ...     app()  # doctest: +ELLIPSIS
        ... except SystemExit as end:
        ...     print("exit code", end.code)
        ┌...exit code 0
    """
    try:
        for package in ("typer", "rich"):
            require(package, extra="speech", purpose="The command line")
    except DependencyError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from error
    require("semihmm.cli.main", extra="speech", purpose="The command line").app()
