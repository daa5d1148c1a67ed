"""A fresh database of partners, and its runtime."""

from datetime import date
from uuid import UUID

import pytest
from contracts.payments import PaymentReceived
from partners.cli import SERVICE
from shared.service import open_runtime
from shared.testing.databases import fresh_database
from shared.testing.tokens import public_key_file


@pytest.fixture
async def urls(infrastructure):
    async with fresh_database(infrastructure.admin_dsn, "partners") as found:
        yield found


@pytest.fixture
async def runtime(urls, infrastructure, tmp_path):
    settings = SERVICE.settings(
        database_url=urls.app,
        check_database_url=urls.check,
        kafka_bootstrap_servers=infrastructure.bootstrap,
        cursor_secret="c" * 32,
        jwt_public_key_file=public_key_file(tmp_path),
        allow_loopback_webhooks=True,
    )
    found = open_runtime(SERVICE, settings)
    yield found
    await found.database.close()


@pytest.fixture
def received():
    """Builds a PaymentReceived by number and version."""

    def build(number, version=1):
        return PaymentReceived(
            payment_id=UUID(int=number),
            version=version,
            bank_account_id=UUID(int=1),
            amount_minor=100,
            currency="EUR",
            booking_date=date(2026, 3, 2),
            value_date=date(2026, 3, 2),
            confirmation="booked",
            source="camt.053",
            allocations=[],
            unapplied_minor=100,
            returned_minor=0,
            refunded_minor=0,
        )

    return build
