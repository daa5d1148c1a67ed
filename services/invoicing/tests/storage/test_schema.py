from contracts.catalogue import consumed_by, topics
from invoicing.worker import ROUTES
from shared import migrations


async def test_tables_in_code_are_the_migrated_ones(urls):
    await migrations.check_unchanged("invoicing", urls.owner)


def test_routes_are_what_the_catalogue_says():
    assert {event.__name__ for event in ROUTES} == consumed_by("invoicing")


def test_every_event_published_here_is_ours():
    assert {"CustomerChanged", "CustomerIdentityChanged", "InvoiceIssued", "InvoiceChanged", "InvoiceCancelled", "CreditNoteIssued"} <= {
        topic.name for topic in topics().values() if topic.owner == "invoicing"
    }
