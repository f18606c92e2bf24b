"""The page inside view.md: what `semihmm view` makes of recordings in examples/data, one of them with a wrong word."""

import shutil
import tempfile
from pathlib import Path

from semihmm.speech import Aligner, find_recordings, view_results
from semihmm.speech.corpora.batch import align_recordings

DATA = Path(__file__).parents[2] / "examples" / "data"
NAMES = ("austen-0880", "austen-0890", "austen-0930")
WRONG = ("austen-0890", "selfish", "generous")


def write(page: Path) -> None:
    """Align and write the page."""
    with tempfile.TemporaryDirectory() as folder:
        corpus, results = Path(folder, "corpus"), Path(folder, "results")
        corpus.mkdir()
        for name in NAMES:
            shutil.copy(DATA / f"{name}.wav", corpus)
            text = (DATA / f"{name}.txt").read_text(encoding="utf-8")
            if name == WRONG[0]:
                text = text.replace(*WRONG[1:])
            (corpus / f"{name}.txt").write_text(text, encoding="utf-8")
        aligner = Aligner()
        outcomes = list(align_recordings(aligner, find_recordings(corpus), results))
        assert not any(outcome.failure for outcome in outcomes)
        for _ in view_results(results, page, audio=corpus, aligner=aligner, nbest=4):
            pass
