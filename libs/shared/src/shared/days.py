"""Business days: a moment's calendar day where the creditor's law counts it, which is not always UTC's."""

from datetime import date, datetime, time
from zoneinfo import ZoneInfo

BUSINESS_ZONE = ZoneInfo("Europe/Paris")
"""A business day begins and ends there."""


def business_day(now: datetime) -> date:
    """The business day of a moment (one with an offset)."""
    return now.astimezone(BUSINESS_ZONE).date()


def day_start(day: date) -> datetime:
    """The moment at which a business day begins."""
    return datetime.combine(day, time(), BUSINESS_ZONE)
