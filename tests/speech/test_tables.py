"""Tables of transcripts: which column is the text, in the layouts that people have."""

import pytest

from semihmm.errors import DataError
from semihmm.speech import Interval
from semihmm.speech.corpora.tables import read_ctm, read_stm, read_table, read_trans

LAYOUTS = {
    "two columns": "a|he was|\nb|not ill\n",
    "ljspeech": "a|He was.|he was\nb|Not ill,|not ill\n",
    "ljspeech, nothing normalised": "a|he was|\nb|not ill|\n",
    "ljspeech, only normalised": "a||he was\nb||not ill\n",
    "ljspeech, now one and now the other": "a||he was\nb|not ill|\n",
    "text and speaker": "a|he was|henry\nb|not ill|jane\n",
    "speaker and text": "a|12|he was\nb|13|not ill\n",
    "text, speaker, sex and language": "a|he was|henry|m|en\nb|not ill|jane|f|en-GB\n",
    "raw, normalised, speaker, language": "a|He was.|he was|henry|en\nb|Not ill.|not ill|jane|en\n",
    "coqui": "audio_file|text|speaker_name\na|he was|Henry the First\nb|not ill|Jane Doe\n",
    "coqui with a normalised column": "audio_file|text|normalized_text\na|1|he was\nb|not ill|\n",
    "columns in another order": "speaker|Normalised Text|id\nx|he was|a\nx|not ill|b\n",
    "hugging face": 'file_name,transcription\na,he was\nb,"not ill"\n',
    "deep speech": "wav_filename,wav_filesize,transcript\na,100,he was\nb,200,not ill\n",
    "common voice": "client_id\tpath\tsentence\tage\nx y\ta\the was\t\nx y\tb\tnot ill\tforty two\n",
}


def texts(tmp_path, content, **options):
    path = tmp_path / "metadata.csv"
    path.write_text(content, encoding="utf-8")
    return {row.name: row.said if row.problem is None else [row.problem] for row in read_table(path, **options)}


@pytest.mark.parametrize("content", LAYOUTS.values(), ids=list(LAYOUTS))
def test_the_text_is_found_in_every_layout(tmp_path, content):
    assert texts(tmp_path, content) == {"a": "he was", "b": "not ill"}


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        ("a|he was|not ill\n", "1 'a', 2 'he was', 3 'not ill'"),
        ("a|yes|no\n", "1 'a', 2 'yes', 3 'no'"),
        ("a|he was|x|he was\n", "1 'a', 2 'he was', 3 'x', 4 'he was'"),
        ("a|he was|he was|he was\n", "2 'he was', 3 'he was', 4 'he was'"),
        ("file|phrase|who\na|he was|henry\n", "1 'file', 2 'phrase', 3 'who'"),
    ],
)
def test_nothing_is_guessed_where_several_columns_could_be_the_text(tmp_path, content, columns):
    with pytest.raises(DataError, match=r"not clear which column.*--text-column") as error:
        texts(tmp_path, content)
    assert columns in str(error.value)


@pytest.mark.parametrize(
    ("content", "column"),
    [
        ("a|x y|he was\n", "3"),
        ("file|phrase|who\na|he was|henry\n", "phrase"),
        ("file|phrase|who\na|he was|henry\n", " PHRASE"),
        ("file|phrase|who\na|he was|henry\n", "2"),
        ("file|2|who\na|henry|he was\n", "who"),
    ],
)
def test_a_named_column_is_taken(tmp_path, content, column):
    assert texts(tmp_path, content, text_column=column) == {"a": "he was"}


@pytest.mark.parametrize("column", ["text", "0", "4", "-1", ""])
def test_a_column_that_is_not_there_is_refused_with_those_that_are(tmp_path, column):
    with pytest.raises(
        DataError, match=r"has no column .* for the text\. Its columns begin with 1 'a', 2 'x y', 3 'he"
    ):
        texts(tmp_path, "a|x y|he was\n", text_column=column)


def test_names_of_columns_are_a_recording_where_there_is_one_of_that_name(tmp_path):
    content = "file|text\na|he was\n"
    assert texts(tmp_path, content) == {"a": "he was"}
    assert texts(tmp_path, content, exists={"file"}.__contains__) == {"file": "text", "a": "he was"}


def test_one_bad_line_is_that_line_s_problem(tmp_path):
    path = tmp_path / "metadata.csv"
    path.write_bytes(b'id,text\na,he was\nb,"not\nc,not, ill\n\xff,x\nd\ne,"said ""so"""\n')
    rows = {row.line: row.problem or row.said for row in read_table(path)}
    assert rows == {
        2: "he was",
        3: "it is not comma-separated (unexpected end of data)",
        4: "it has 3 columns, and the table 2: quote its text",
        5: "it is not UTF-8",
        6: "",
        7: 'said "so"',
    }


@pytest.mark.parametrize("content", ["", "\n \n", "\ufeff"])
def test_an_empty_table_says_nothing(tmp_path, content):
    assert texts(tmp_path, content) == {}


@pytest.mark.parametrize(
    ("written", "seconds"), [("1.5", 1.5), ("1,5", 1.5), ("0:01.5", 1.5), ("1:01:01", 3661), ("7", 7)]
)
def test_times_are_seconds_or_have_colons(tmp_path, written, seconds):
    said = texts(tmp_path, f"file\tstart\tend\ttext\nx\t0\t{written}\tyes\n")
    assert said == {"x": Interval(0, seconds, "yes")}


@pytest.mark.parametrize("written", ["-1", "1e3", "nan", "1:2:3:4", "soon", "", "9" * 50, "²"])
def test_other_times_are_refused(tmp_path, written):
    (problem,) = texts(tmp_path, f"file\tstart\tend\ttext\nx\t0\t{written}\tyes\n")["x"]
    assert "is no time" in problem


def test_stm_has_speakers_comments_and_stretches_that_do_not_count(tmp_path):
    lines = [";; header", "a 1 ann 0.5 1.5 <o,f0,female> he {was / is} not", "a 1 x 2 3 IGNORE_TIME_SEGMENT_IN_SCORING"]
    (tmp_path / "a.stm").write_text("\n".join([*lines, "b A bob 0 2 ill"]))
    assert [(row.name, row.said) for row in read_stm(tmp_path / "a.stm")] == [
        ("a", Interval(0.5, 1.5, "he was  not", speaker="ann")),
        ("b", Interval(0, 2, "ill", speaker="bob")),
    ]


def test_of_a_ctm_s_alternatives_the_first_is_taken(tmp_path):
    lines = ["a 1 * * <ALT_BEGIN>", "a 1 0.5 0.25 was", "a 1 * * <ALT>", "a 1 0.5 0.25 is", "a 1 * * <ALT_END>"]
    (tmp_path / "a.ctm").write_text("\n".join([*lines, "a 1 0.75 0.25 not 0.9 lex ann"]))
    assert [row.said for row in read_ctm(tmp_path / "a.ctm")] == [
        Interval(0.5, 0.75, "was"),
        Interval(0.75, 1.0, "not", speaker="ann"),
    ]


def test_trans_files_hold_an_id_and_a_text(tmp_path):
    (tmp_path / "a.trans.txt").write_bytes(b"a HE WAS\n\nb\n\xff\n")
    assert [(row.line, row.name, row.said, row.problem) for row in read_trans(tmp_path / "a.trans.txt")] == [
        (1, "a", "HE WAS", None), (3, "b", "", None), (4, "", "", "it is not UTF-8"),
    ]  # fmt: skip
