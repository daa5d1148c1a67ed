"""What the service declares agrees with the contracts."""

from contracts.catalogue import consumed_by
from matching.worker import ROUTES


def test_routes_are_what_the_catalogue_says_matching_consumes():
    assert {event.__name__ for event in ROUTES} == consumed_by("matching")
