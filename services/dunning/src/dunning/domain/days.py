"""Business days: a moment's calendar day in the creditor's legal zone, which is not UTC's."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

BUSINESS_ZONE = ZoneInfo("Europe/Paris")


def business_day(now: datetime) -> date:
    """The creditor's calendar day at a moment (one with an offset)."""
    return now.astimezone(BUSINESS_ZONE).date()
