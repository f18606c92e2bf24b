"""The picture of an alignment."""

import pytest

from semihmm.speech import Aligner
from semihmm.speech.view.picture import draw

from .conftest import RATE, spoken


@pytest.mark.parametrize("text", ["ah", "ah " * 40])
def test_a_picture_is_drawn_whole(tone_model, tone_lexicon, tmp_path, text):
    images = pytest.importorskip("matplotlib.image", reason="the speech extra is not installed")
    wave, _ = spoken(("SIL", 0.3), ("AA", 4.0))
    evidence = Aligner(tone_model, tone_lexicon).explain(wave, RATE, text)
    draw(evidence, wave, RATE, tmp_path / "a.png")
    pixels = images.imread(tmp_path / "a.png")
    assert pixels.shape[0] > 400 and pixels.shape[1] > 900
    assert len({tuple(pixel) for pixel in pixels[::7, ::7, :3].reshape(-1, 3).tolist()}) > 20
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
