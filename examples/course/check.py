"""Checks exercises of the course: ``python examples/course/check.py [NN or FILE ...]``.

Without arguments it checks all twelve. ``--folder`` names another folder of answers than ``exercises``:
``solutions``, or that of a student. The program ends with status 0 where all that was checked passes, else with 1.
"""

import argparse
import importlib
import importlib.util
import sys
import textwrap
import traceback
from dataclasses import dataclass
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.append(str(HERE))  # `checkers` lies beside this file

from checkers import Wrong  # noqa: E402

WIDTH = 88


@dataclass(frozen=True)
class Result:
    """How one exercise stands.

    Attributes:
        name: of its file, ``02_forward``.
        status: ``passes``, ``not done yet``, ``wrong``, or ``stops with an error``.
        message: what the student should read; none where it passes.
    """

    name: str
    status: str
    message: str = ""


def names() -> list[str]:
    """All exercises in order: ``01_count_paths``, ..."""
    return sorted(file.stem for file in (HERE / "exercises").glob("[0-9][0-9]_*.py"))


def check(file: Path) -> Result:
    """Loads one file and asks the checker of its name about it."""
    name = file.stem
    try:
        spec = importlib.util.spec_from_file_location(f"course_{name}", file)
        assert spec is not None and spec.loader is not None
        answer = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = answer  # dataclasses look their module up
        spec.loader.exec_module(answer)
        importlib.import_module(f"checkers.{name.partition('_')[2]}").check(answer)
    except Wrong as error:
        return Result(name, "wrong", f"{error}")
    except Exception as error:
        if isinstance(error, NotImplementedError) and "`raise NotImplementedError" in where(file, error):
            return Result(name, "not done yet", f"{error}")  # PyTorch raises it, too, where a dtype is not supported
        return Result(name, "stops with an error", f"{type(error).__name__}: {error}{where(file, error)}")
    return Result(name, "passes")


def where(file: Path, error: Exception) -> str:
    """The last line of the student's file that was running, if any."""
    if isinstance(error, SyntaxError):
        return f" (line {error.lineno})"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if Path(frame.filename).resolve() == file.resolve():
            return f" ({file.name}, line {frame.lineno}: `{frame.line}`)"
    return ""


def files(asked: list[str], folder: Path) -> list[Path]:
    """The files of some exercises, by number, name or path; of all where none is asked for."""
    known = names()
    found = []
    for what in asked or known:
        path = Path(what)
        name = path.stem if path.suffix == ".py" else what
        fitting = [n for n in known if n == name or n.partition("_")[0] == name.zfill(2) or n[3:] == name]
        if not fitting:
            sys.exit(f"check.py: there is no exercise {what!r}. There are: {', '.join(known)}.")
        file = path if path.suffix == ".py" else folder / f"{fitting[0]}.py"
        if not file.is_file():
            sys.exit(f"check.py: there is no file {file}.")
        found.append(file)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Prints how each exercise stands, and what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("exercises", nargs="*", metavar="NN", help="numbers, names or files; none: all")
    parser.add_argument("--folder", type=Path, default=HERE / "exercises", help="where the answers are")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # all is small: threads would only wait for each other
    results = []
    for file in files(options.exercises, options.folder):
        result = check(file)
        results.append(result)
        print(f"{result.name.replace('_', ' '):<26} {result.status}", flush=True)
        if result.message:
            print(textwrap.indent(textwrap.fill(result.message, WIDTH - 4), "    "))
    passed = sum(result.status == "passes" for result in results)
    if len(results) > 1:
        print(f"{passed} of {len(results)} pass")
    return 0 if passed == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
