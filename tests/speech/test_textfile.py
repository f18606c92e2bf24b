"""Text files: any Unicode encoding, with and without a mark."""

import pytest

from semihmm.errors import DataError
from semihmm.speech.files.textfile import read_lines, read_text

TEXT = "naïve, ナイーブ\nand more\r\n"
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-32"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_text_comes_back_whatever_its_encoding(tmp_path, encoding):
    (tmp_path / "a.txt").write_bytes(TEXT.encode(encoding))
    assert read_text(tmp_path / "a.txt") == TEXT
    assert read_lines(tmp_path / "a.txt") == ["naïve, ナイーブ", "and more", ""]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_shows_by_its_zeros(tmp_path, encoding):
    (tmp_path / "a.txt").write_bytes(TEXT.encode(encoding))
    assert read_text(tmp_path / "a.txt") == TEXT


def test_a_line_in_another_encoding_is_none_and_the_others_stay(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\ncaf\xe9\rthree")
    assert read_lines(tmp_path / "a.txt") == ["one", None, "three"]


@pytest.mark.parametrize("read", [read_text, read_lines])
@pytest.mark.parametrize("content", [b"\xff\xfea", b"\xff\xfe\0\0a", None])
def test_what_cannot_be_read_is_refused_by_name(tmp_path, read, content):
    if content is not None:
        (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(DataError, match=r"cannot read .*a\.txt"):
        read(tmp_path / "a.txt")
