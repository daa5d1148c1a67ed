"""Events of reporting."""

from typing import ClassVar
from uuid import UUID

from contracts.envelope import FactEvent
from contracts.fields import Code, Currency, Date, Minor


class KpiMeasured(FactEvent, frozen=True, kw_only=True, gc=False):
    """A key figure of one legal entity and currency on one day: numerator / denominator, undefined when that is zero.

    Both are integers in the figure's own units (DSO: minor units x days over minor units), so that nothing is rounded.
    """

    natural_key_fields: ClassVar[tuple[str, ...]] = ("entity_id", "kpi", "currency", "as_of")

    entity_id: UUID
    kpi: Code
    currency: Currency
    as_of: Date
    numerator: Minor
    denominator: Minor
