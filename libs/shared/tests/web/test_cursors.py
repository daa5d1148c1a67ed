"""Cursors: sealed, so that none but ours is read."""

import contextlib
import string
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared.web.problems import Problem

TENANT = UUID("0190a000-0000-7000-8000-000000000001")


@given(st.lists(st.text() | st.integers() | st.none()), st.binary(min_size=1, max_size=4), st.integers(0, 200))
def test_no_altered_cursor_is_read(cursors, position, noise, at):
    bound = {"tenant_id": TENANT, "route": "/things", "filters": {"state": "open"}}
    cursor = cursors.encode(position, **bound)
    assert cursors.decode(cursor, **bound) == tuple(position)
    altered = bytearray(cursor.encode())
    altered[at % len(altered) : at % len(altered) + 1] = noise
    if altered.decode("latin-1") != cursor:
        with pytest.raises(Problem):
            cursors.decode(altered.decode("latin-1"), **bound)


@pytest.mark.parametrize("position", [["a"], ["ab"], ["abc"]])
def test_only_one_text_stands_for_a_cursor(cursors, position):
    """The last letter of base64 may have bits that no decoder looks at."""
    bound = {"tenant_id": TENANT, "route": "/things", "filters": {}}
    cursor = cursors.encode(position, **bound)
    read = 0
    for last in string.ascii_letters + string.digits + "-_":
        with contextlib.suppress(Problem):
            read += cursors.decode(cursor[:-1] + last, **bound) == tuple(position)
    assert read == 1
