from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid5

import pytest
from contracts.envelope import NAMESPACE
from hypothesis import given
from hypothesis import strategies as st
from shared.clock import BusinessClock, machine_now
from shared.ids import named_id, new_id

TENANT, OTHER = UUID(int=1), UUID(int=2)


def test_doing_a_thing_twice_names_it_once() -> None:
    assert named_id("invoice", TENANT, "erp", "R-1") == named_id("invoice", TENANT, "erp", "R-1")
    assert named_id("invoice", TENANT, "erp", "R-1") == uuid5(NAMESPACE, f"invoice\x1f{TENANT}\x1ferp\x1fR-1")
    assert named_id("invoice", TENANT) == uuid5(NAMESPACE, f"invoice\x1f{TENANT}")
    names = [
        ("invoice", TENANT, "erp", "R-1"),
        ("payment", TENANT, "erp", "R-1"),
        ("invoice", OTHER, "erp", "R-1"),
        ("invoice", TENANT, "erpR-1"),
    ]
    assert len({named_id(*name) for name in names}) == len(names)


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x1f")), min_size=1, max_size=3),
    st.lists(st.text(max_size=5), min_size=1, max_size=3),
)
def test_different_parts_make_different_names(one: list[str], other: list[str]) -> None:
    assert (named_id("x", TENANT, *one) == named_id("x", TENANT, *other)) == ("\x1f".join(one) == "\x1f".join(other))


def test_new_ids_are_version_7_and_carry_the_moment() -> None:
    made = [new_id() for _ in range(1000)]
    assert len(set(made)) == 1000
    for identity in made:
        assert (identity.version, identity.variant) == (7, "specified in RFC 4122")
        at = datetime.fromtimestamp((identity.int >> 80) / 1000, UTC)
        assert abs(machine_now() - at) < timedelta(minutes=1)


def test_the_business_clock_follows_its_file(tmp_path: Path) -> None:
    file = tmp_path / "clock"
    clock = BusinessClock(file)
    for text in ("2026-01-05T09:00:00+01:00\n", "2031-02-28T23:59:59+00:00"):
        file.write_text(text)
        assert clock.now() == datetime.fromisoformat(text.strip())
    for wrong in ("2026-01-05T09:00:00", "2026-01-05", "", "tomorrow"):
        file.write_text(wrong)
        with pytest.raises(ValueError, match=r"offset|isoformat"):
            clock.now()
    assert abs(BusinessClock().now() - machine_now()) < timedelta(minutes=1)
