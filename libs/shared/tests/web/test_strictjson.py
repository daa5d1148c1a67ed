import json
import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared.web.strictjson import MAX_DEPTH, JsonRefusedError, decode

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(exclude_characters="\0", codec="utf-8"))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_characters="\0", codec="utf-8")), inner),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_takes_every_json_value_unchanged(value, escaped):
    assert decode(json.dumps(value, ensure_ascii=escaped).encode()) == value


@given(st.binary() | st.text().map(str.encode) | st.text('[]{}",:0123456789eE.-+\\undD8cCNaIfity ', max_size=60).map(str.encode))
def test_whatever_the_bytes_are_there_is_a_value_or_a_refusal(body):
    refused = None
    try:
        value = decode(body)
    except JsonRefusedError as error:
        refused = error
    if refused:
        assert (refused.pointer is None) != (refused.position is None)
    else:
        json.dumps(value, default=str, allow_nan=False).encode()


@given(st.lists(st.sampled_from(["\\ud83d", "\\ude00", "\\\\", "u0000", "ude00", "ud83d", "\\u0000", "a", "\\uDBff", "\\n"]), max_size=8))
def test_no_escape_smuggles_what_a_database_cannot_store(parts):
    body = ('["' + "".join(parts) + '"]').encode()
    try:
        naive = json.loads(body)[0]
    except ValueError:
        naive = None
    if naive is not None and not re.search("[\0\ud800-\udfff]", naive):
        assert decode(body) == [naive]
    else:
        with pytest.raises(JsonRefusedError):
            decode(body)


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        (b"NaN", "not-a-number", ""),
        (b'{"lines":[{"amount":-Infinity}]}', "not-a-number", "/lines/0/amount"),
        (b'{"a/b~c":[0,NaN]}', "not-a-number", "/a~1b~0c/1"),
        (b'[{"id":1,"x":{"b":1,"c":2,"b":3}}]', "duplicate-key", "/0/x/b"),
        (b'{"name":"\\ud800"}', "unstorable-text", "/name"),
        (b'{"x":{"\\udc00":1}}', "unstorable-text", "/x"),
        (b'["a","b\\u0000"]', "unstorable-text", "/1"),
        (b"[9223372036854775808]", "integer-out-of-range", "/0"),
        (b'{"n":' + b"9" * 5000 + b"}", "integer-out-of-range", "/n"),
        (b'{"n":1e999999999}', "number-out-of-range", "/n"),
        (b'{"n":1e99999999999999999999}', "number-out-of-range", "/n"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "too-deep", "/0" * MAX_DEPTH),
        (b"[" * 100_000, "too-deep", ""),
    ],
)
def test_refuses_by_code_and_pointer(body, code, pointer):
    with pytest.raises(JsonRefusedError) as refused:
        decode(body)
    assert (refused.value.code, refused.value.pointer) == (code, pointer)


@pytest.mark.parametrize(
    ("body", "code", "position"),
    [
        (b"", "syntax", 0),
        (b"[1,]", "syntax", 3),
        (b"[01]", "syntax", 2),
        (b'"\x01"', "syntax", 1),
        (b"{} {}", "syntax", 3),
        (b'["\xff"]', "not-utf-8", 2),
        (b'"\xed\xa0\x80"', "not-utf-8", 1),
        (b"\xef\xbb\xbf{}", "byte-order-mark", 0),
        ("{}".encode("utf-16"), "not-utf-8", 0),
    ],
)
def test_refuses_by_code_and_position(body, code, position):
    with pytest.raises(JsonRefusedError) as refused:
        decode(body)
    assert (refused.value.code, refused.value.position) == (code, position)


def test_numbers_are_never_rounded():
    assert decode(b"[12345678901234567.89, 1.10, 9223372036854775807]") == [Decimal("12345678901234567.89"), Decimal("1.10"), 2**63 - 1]


def test_a_refusal_never_repeats_a_value():
    with pytest.raises(JsonRefusedError) as refused:
        decode(b'{"iban":"DE89370400440532013000\\ud800"}')
    assert "DE89" not in str(refused.value)
