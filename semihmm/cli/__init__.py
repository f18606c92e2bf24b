"""The command ``semihmm``. Needs ``pip install 'semihmm[speech]'``; says so where that is missing."""

from semihmm._optional import require
from semihmm.errors import DependencyError

__all__ = ["app"]


def app() -> None:
    """Run the command line: what ``semihmm`` in a shell calls.

    Raises:
        SystemExit: always; 0 if all went well, 1 if some recordings failed, 2 if the command cannot be carried out.

    Example:
        >>> import sys
        >>> sys.argv = ["semihmm", "info"]
        >>> app()  # doctest: +SKIP
    """
    try:
        for package in ("typer", "rich"):
            require(package, extra="speech", purpose="The command line")
    except DependencyError as error:
        raise SystemExit(str(error)) from error
    require("semihmm.cli.main", extra="speech", purpose="The command line").app()
