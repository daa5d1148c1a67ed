"""Files of rows: any encoding, quoting and separator that a mapping can declare, from any record on, hostile ones included."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from invoicing.imports import csvfile
from invoicing.imports.mapping import FileForm, Mapping
from invoicing.imports.records import FileError
from invoicing.imports.slices import cut
from invoicing.imports.table import open_table
from pydantic import ValidationError

CELLS = st.text(
    st.characters(codec="windows-1252", exclude_characters="\0\r\x81\x8d\x8f\x90\x9d", exclude_categories=["Cc"]) | st.just("\n"),
    max_size=12,
)


def mapping(**other: Any) -> Mapping:
    fields = {"customer_number": {"column": 1}, "name": {"column": 2}}
    return Mapping.model_validate({"kind": "customers", "source_system": "sap", "fields": fields, **other})


@settings(deadline=None)
@given(
    rows=st.lists(st.lists(CELLS, min_size=2, max_size=4).filter(any), max_size=20),
    encoding=st.sampled_from(["utf-8", "windows-1252", "utf-16"]),
    separator=st.sampled_from([",", ";", "\t", "|"]),
    size=st.integers(1, 7),
)
def test_slices_of_any_size_give_the_rows_that_were_written(tmp_path_factory, rows, encoding, separator, size):
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, quoting=csv.QUOTE_ALL).writerows(rows)
    path = tmp_path_factory.mktemp("csv") / "file"
    path.write_bytes(text.getvalue().encode(encoding))
    form = FileForm(encoding=encoding, separator=separator, header=False)
    known = mapping(file=form.model_dump())
    if not rows:
        return
    table, offset, line = open_table(path, known)
    found, lines, finished = [], [], False
    while not finished:
        part = cut(table, csvfile.records(path, form, offset, line), offset, line, max_rows=size)
        found += [record.cells for group in part.groups for record in group.records]
        lines += [record.line for group in part.groups for record in group.records]
        assert all(record.fault is None for group in part.groups for record in group.records)
        offset, line, finished = part.offset, part.line, part.finished
    assert found == rows
    assert lines == sorted(set(lines))


@settings(deadline=None)
@given(data=st.binary(max_size=400), encoding=st.sampled_from(["utf-8", "utf-16", "iso-8859-15"]), size=st.integers(1, 5))
def test_any_bytes_are_rows_faults_or_a_clear_error_however_sliced(tmp_path_factory, data, encoding, size):
    path = tmp_path_factory.mktemp("csv") / "file"
    path.write_bytes(data)
    known = mapping(file={"encoding": encoding, "separator": ";", "header": False})

    def read(max_rows: int) -> list[tuple[int, Any, Any]]:
        found, finished = [], False
        try:
            table, offset, line = open_table(path, known)
            while not finished:
                part = cut(table, csvfile.records(path, known.file, offset, line), offset, line, max_rows=max_rows)
                found += [(record.line, record.cells, record.fault) for group in part.groups for record in group.records]
                offset, line, finished = part.offset, part.line, part.finished
        except FileError as error:
            return [(0, error.rule, None)]
        return found

    assert read(size) == read(1000)


def rows_of(tmp_path: Path, data: bytes, **form: Any) -> list[tuple[int, list[str], str | None]]:
    path = tmp_path / "file"
    path.write_bytes(data)
    return [(each.line, each.cells, each.fault.rule if each.fault else None) for each in csvfile.records(path, FileForm(**form))]


def test_a_bad_line_spoils_itself_alone(tmp_path):
    data = 'a;b\n"x"y;z\nc\xe9;d\n'.encode("latin-1") + b'"e\nf";g\n\0;h\n"open;i\n' + b"j;k\n" * 3
    found = rows_of(tmp_path, data, separator=";")
    assert [(line, fault) for line, _, fault in found] == [
        (1, None),
        (2, "csv-form"),
        (3, "encoding"),
        (4, None),
        (6, "nul"),
        (7, "csv-form"),
    ]
    assert found[3][1] == ["e\nf", "g"]


def test_a_byte_order_mark_and_lines_before_the_header_are_passed_over(tmp_path):
    assert rows_of(tmp_path, b"\xef\xbb\xbfReport of May\na;b\n", separator=";", skip_lines=1) == [(2, ["a", "b"], None)]
    wide = "a;b\r\n\u010a;\u0d0a\r\n".encode("utf-16")
    assert [cells for _, cells, _ in rows_of(tmp_path, wide, separator=";", encoding="utf-16")] == [["a", "b"], ["\u010a", "\u0d0a"]]
    with pytest.raises(FileError, match="byte order mark"):
        rows_of(tmp_path, b"a;b\n", encoding="utf-16")


def test_rows_of_one_number_stay_together_whatever_the_slice(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"".join(b"C%d,Name\n" % (n // 3) for n in range(30)))
    known = mapping(rows="line", file={"header": False})
    table, offset, line = open_table(path, known)
    sizes, finished = [], False
    while not finished:
        part = cut(table, csvfile.records(path, known.file, offset, line), offset, line, max_rows=7)
        sizes += [len(group.records) for group in part.groups]
        assert part.rows <= 9
        offset, line, finished = part.offset, part.line, part.finished
    assert sizes == [3] * 10


def test_too_many_rows_of_one_number_are_one_fault(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"C1,Name\n" * 2500 + b"C2,Name\n")
    known = mapping(rows="line", file={"header": False})
    table, offset, line = open_table(path, known)
    part = cut(table, csvfile.records(path, known.file), offset, line)
    assert [(group.records[0].line, group.fault and group.fault.rule) for group in part.groups] == [(1, "too-many-rows")]
    rest = cut(table, csvfile.records(path, known.file, part.offset, part.line), part.offset, part.line)
    assert [group.records[0].line for group in rest.groups] == [2501]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"fields": {"customer_number": {"column": 1}}}, "need the fields name"),
        ({"fields": {"customer_number": {"column": 1}, "name": {"column": 2}, "nme": {"column": 3}}}, "no field of customers"),
        ({"fields": {"customer_number": {"column": 1, "constant": "x"}, "name": {"column": 2}}}, "either a column or a constant"),
        ({"dates": ["DDMM"]}, "date form"),
        ({"numbers": {"decimal": ",", "thousands": ","}}, "separator"),
        ({"rows": "instalment"}, "no instalments"),
        ({"file": {"encoding": "ebcdic"}}, "utf-8"),
        ({"kind": "invoices"}, "no field of invoices"),
        ({"surprise": 1}, "Extra inputs"),
    ],
)
def test_a_mapping_that_makes_no_sense_is_refused(change, says):
    with pytest.raises(ValidationError, match=says):
        mapping(**change)
