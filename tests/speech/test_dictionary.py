"""Dictionaries of pronunciations, in the forms that people have."""

import random
from pathlib import Path

import pytest

from semihmm.errors import DataError
from semihmm.speech import load_dictionary
from semihmm.speech.text.dictionary import read_dictionary

HELLO = ("HH", "AH", "L", "OW")


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "own.dict"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize(
    "line",
    [
        "hello HH AH L OW",
        "hello\tHH AH L OW",
        "  Hello   HH AH\tL OW  ",
        "HELLO  HH AH0 L OW1",
        "hello(1)  HH AH0 L OW1",
        "hello HH AH L OW # a greeting",
        "hello\t0.99\tHH AH L OW",
        "hello 1 HH AH L OW",
        "hello\t0.99\t0.2\t1.0\t1.05\tHH AH0 L OW1",
        "hello\t1e-05\tHH AH L OW",
        "\ufeffhello HH AH L OW",
        ";;; CMUdict\n## Sphinx\n# MFA\n\n   \nhello HH AH L OW",
        "hello HH AH L OW\r\n\r\n",
        ";;; old Mac\rhello HH AH L OW\r",
    ],
)
def test_a_word_and_its_phones_are_found_in_every_form(write, line):
    assert read_dictionary(write(line)) == {"hello": (HELLO,)}


def test_a_dictionary_gathers_the_variants_of_a_word(write):
    content = "The DH AH\nthe(2) DH IY # stressed\nthe\t0.1\tDH AH0\n'bout B AW T\nC# S IY SH AA R P\n(: S M AY L\n"
    assert read_dictionary(write(content)) == {
        "the": (("DH", "AH"), ("DH", "IY"), ("DH", "AH")),
        "'bout": (("B", "AW", "T"),),
        "c#": (("S", "IY", "SH", "AA", "R", "P"),),
        "(:": (("S", "M", "AY", "L"),),
    }


def test_words_are_composed_and_phones_that_only_look_stressed_stay(write):
    assert read_dictionary(write("cafe\u0301 K a1 f e\u02d0\n你好 n i2 h ao3\n")) == {
        "café": (("K", "a1", "f", "eː"),),
        "你好": (("n", "i2", "h", "ao3"),),
    }


def test_phones_are_written_as_the_model_writes_them(write):
    content = "hello HH AH0 L OW1\n<unk> spn\n[laughs]\tsil\nah AA1\n"
    assert read_dictionary(write(content), phones=[*HELLO, "SIL", "+SPN+", "AA1"]) == {
        "hello": (HELLO,),
        "<unk>": (("+SPN+",),),
        "[laughs]": (("SIL",),),
        "ah": (("AA1",),),
    }


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "holds no pronunciations"),
        (";;; nothing\n", "holds no pronunciations"),
        ("hello HH\nworld\n", "line 2: 'world' has no phones"),
        ("hello HH\n\nworld W ɜ L D\n", "line 3: 'world' has the phone 'ɜ', which the acoustic model lacks; it has HH"),
        ("hello HH\r\nworld 0.5 Q\r\n", "line 2: 'world' has the phone 'Q'"),
        (b"hello HH\nna\xefve HH\n", "line 2 is not UTF-8 (byte 0xef"),
        (b"\xff\xfeh\0i\0", "line 1 is not UTF-8 (byte 0xff"),
    ],
)
def test_what_is_wrong_is_named_with_its_file_and_line(write, content, reason):
    path = write(content)
    with pytest.raises(DataError) as error:
        read_dictionary(path, phones=["HH", "W", "L", "D"])
    assert str(error.value).startswith(f"read_dictionary: {path}")
    assert reason in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    for path in (tmp_path / "nowhere.dict", tmp_path):
        with pytest.raises(DataError, match="cannot read"):
            read_dictionary(path)


def test_three_thousand_broken_dictionaries_are_read_or_refused(monkeypatch):
    whole = (
        "\ufeff;;; a comment\nhello  HH AH0 L OW1\nhello(2)\t0.5\tHH EH0 L OW1\r\n\ncaf\u00e9 K AE F EY # drink\n"
        "na\u00efve\t0.9 0.1\t1.2 0.8\tN AY IY V\n<unk> +SPN+\n"
    ).encode()
    pieces = [b"\0", b"\n", b"\r", b"\t", b" ", b"#", b";;;", b"(2)", b"0.5", b"1e999"]
    pieces += [b"\xff", b"\xc3", b"\xe2\x80\xa8", b"\x85"]
    chance = random.Random(0)
    read = refused = 0
    for _ in range(3000):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 5)):
            start = chance.randrange(len(content) + 1)
            length = chance.choice([0, 0, 1, 2, 9])
            content[start : start + length] = chance.choice([*pieces, bytes([chance.randrange(256)])])
        monkeypatch.setattr(Path, "read_bytes", lambda _, content=bytes(content): content)  # a disk takes 20 s
        try:
            entries = read_dictionary(Path("broken.dict"))
        except DataError:
            refused += 1
        else:
            read += 1
            assert all(phones and all(phones) for variants in entries.values() for phones in variants)
    assert read > 500
    assert refused > 500


def test_the_cmu_dictionary_is_in_the_model_s_phones():
    pytest.importorskip("pocketsphinx", reason="the speech extra is not installed")
    dictionary = load_dictionary()
    assert len(dictionary) > 120_000
    assert dictionary["tomato"] == (("T", "AH", "M", "EY", "T", "OW"), ("T", "AH", "M", "AA", "T", "OW"))
