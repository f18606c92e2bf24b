"""Finds the compiled modules in the folder that SEMIHMM_ASAN names: those with the sanitizers.

`make test-asan` puts this on the path of every process that it starts.
"""

import importlib.util
import os
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

PACKAGE = "semihmm.engine.backends."


class Sanitized:
    """A finder of these modules and of nothing else."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """The module in that folder; what is not there is not there."""
        if not name.startswith(PACKAGE + "_native_"):
            return None
        found = sorted(Path(os.environ["SEMIHMM_ASAN"]).glob(name.removeprefix(PACKAGE) + ".*so"))
        return importlib.util.spec_from_file_location(name, found[0]) if found else None


if "SEMIHMM_ASAN" in os.environ:
    sys.meta_path.insert(0, Sanitized)  # type: ignore[arg-type]
