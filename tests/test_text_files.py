"""Tables as people have them: what cannot be told is refused, and no row or value is lost."""

import pytest

from facemogle.text_files import rows_of, table_rows


def test_tables_are_read_with_any_delimiter_quotes_and_line_ends():
    for text in ('a;b\n1;"x; ""y"""\n', 'a\tb\n1\t"x; ""y"""\t\n', 'a,b\r\n1,"x; ""y""",\r\n'):
        assert rows_of(text, ".csv") == [{"a": "1", "b": 'x; "y"'}]
    assert list(table_rows('a,b\n1,"x\ny"\n\n2\n')) == [(3, {"a": "1", "b": "x\ny"}), (5, {"a": "2", "b": None})]
    assert rows_of('{"a": "x \u2028 y"}\r\n\n{"a": 1}', ".jsonl") == [{"a": "x \u2028 y"}, {"a": 1}]
    assert rows_of("", ".csv") == rows_of("a,b\n", ".csv") == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("file,text\n7,a woman, with red hair\n", "line 2 has more values than the first has names"),
        ('file,text\n6,a man\n7,"a woman\n8,a man\n', "the row that begins in line 3"),
        ("file,text,Text\n7,a,b\n", "its first line has 'text' twice"),
    ],
)
def test_what_would_be_cut_or_run_together_is_refused(text, told):
    with pytest.raises(ValueError, match=told):
        rows_of(text, ".csv")
