"""What commands share: the codes that they end with, how they refuse, and what they align with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from semihmm.errors import DataError, SemihmmError

if TYPE_CHECKING:
    from semihmm.speech import Aligner

SOME_FAILED, CANNOT = 1, 2


@contextmanager
def refusing() -> Iterator[None]:
    """Ends the program with code 2 and the reason, without a traceback, where a command cannot be carried out."""
    try:
        yield
    except (SemihmmError, OSError) as error:
        from semihmm.cli import show

        show.error("\n".join([str(error), *getattr(error, "__notes__", ())]))
        raise typer.Exit(CANNOT) from error


def build_aligner(
    model: Path | None = None,
    dictionary: Path | None = None,
    pause_probability: float = 0.5,
    language: str | None = None,
    extra_speech: bool = False,
    contexts: bool = False,
) -> Aligner:
    """The aligner of a model, or of the one that is installed; a language without a model is refused."""
    from semihmm.cli import show
    from semihmm.speech import LANGUAGES, Aligner, load_acoustic_model, load_lexicon
    from semihmm.speech.acoustics.loading import has_sphinx_model
    from semihmm.speech.alignment.pronunciation import check_language

    if language and check_language(language) != "en" and not model:
        raise DataError(
            f"no acoustic model of {LANGUAGES[language]} comes with semihmm, only an English one. Give a model with "
            f"--model ('semihmm train' makes one from recordings), and a dictionary in its phones with --dictionary, "
            f"unless they are those that 'semihmm g2p --language {language}' prints."
        )
    acoustic = load_acoustic_model(model, contexts=contexts)
    if model is None and not has_sphinx_model():
        show.model_in_use(acoustic)
    lexicon = load_lexicon(language, dictionary=dictionary, model=acoustic)
    return Aligner(acoustic, lexicon, pause_probability, extra_speech)
