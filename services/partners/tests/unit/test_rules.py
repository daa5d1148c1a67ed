"""Where webhooks may go, and when they are tried again."""

from datetime import UTC, datetime, timedelta

import pytest
from partners.domain.addresses import is_public
from partners.domain.schedule import RETRIES, next_attempt
from partners.webhooks import UrlRefusedError, checked_address

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.31.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "255.255.255.255",
        "::1", "::", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "fe80::1%eth0",
        "fd00::1", "2001:db8::1", "3fff::1", "5f00::1", "ff02::1",
    ],
)  # fmt: skip
def test_special_addresses_are_refused(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.215.14", "1.1.1.1", "2606:4700:4700::1111"])
def test_public_addresses_are_allowed(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://93.184.215.14/", "https://93.184.215.14:22/", "https://user:secret@93.184.215.14/", "https://2130706433/", "https://0x7f000001/",
        "https://127.1/", "https://0177.0.0.1/", "https://[::ffff:127.0.0.1]/", "https://[64:ff9b::a9fe:a9fe]/", "https://localhost/",
        "https://127.0.0.1./", "https:///nowhere", "ftp://93.184.215.14/", "https://93.184.215.14:99999/", "not a url", "https://[::1",
    ],
)  # fmt: skip
async def test_urls_that_could_reach_inside_are_refused(url):
    with pytest.raises(UrlRefusedError):
        await checked_address(url, allow_loopback=False)


async def test_loopback_needs_its_switch():
    assert await checked_address("http://127.0.0.1:9000/hook", allow_loopback=True) == "127.0.0.1"
    with pytest.raises(UrlRefusedError):
        await checked_address("http://127.0.0.1:9000/hook", allow_loopback=False)


def test_the_schedule_is_that_of_standard_webhooks():
    waits = [next_attempt(number, now=NOW, spread=0.0) - NOW for number in range(1, len(RETRIES) + 1)]
    assert waits[:3] == [timedelta(seconds=5), timedelta(minutes=5), timedelta(minutes=30)]
    assert sum(waits, timedelta()) == timedelta(hours=75, minutes=35, seconds=5)  # Standard Webhooks 1.0.0: 75 h 35 m after the first
    assert next_attempt(len(RETRIES) + 1, now=NOW, spread=0.0) is None


def test_retry_after_is_honoured_up_to_a_day():
    assert next_attempt(1, now=NOW, spread=0.0, retry_after=timedelta(hours=1)) == NOW + timedelta(hours=1)
    assert next_attempt(1, now=NOW, spread=0.0, retry_after=timedelta(days=30)) == NOW + timedelta(days=1)
