"""Rows of a table to customers, by a mapping, with the bounds of PUT /v1/customers."""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from contracts.customers import Address, Contact, CustomerChanged, CustomerIdentityChanged
from contracts.fields import CompanyId
from shared.ids import named_id
from shared.web.models import CURRENCIES
from stdnum import iban

from invoicing.domain.cells import CellError, shown
from invoicing.imports.cells import CODE, NUMBER, TEXT, clean, flag, integer
from invoicing.imports.records import Fault, Record
from invoicing.imports.slices import Group
from invoicing.imports.table import Table

_COUNTRY = re.compile(r"[A-Z]{2}")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})?")
_CODE = re.compile(r"[a-z0-9_.-]{1,64}")
_SCHEME = re.compile(r"[A-Za-z0-9:_-]{1,32}")
_EMAIL = re.compile(r"[^@ ]+@[^@ ]+")
_MOST = {"contacts": 20, "company_ids": 20, "known_ibans": 100}
_LONGEST = {"customer_number": NUMBER, "parent_number": NUMBER, "company_id": NUMBER, "postcode": 20, "city": 100, "vat_id": 20}
_LONGEST |= {"contact_name": 200, "contact_email": 254, "contact_phone": 40, "iban": 42, "segment": CODE}
_OF_ROW = frozenset({"company_id_scheme", "company_id", "iban"})
_TERMS_MAX = 365
T = TypeVar("T")


class TakenCustomer(NamedTuple):
    """What a group of rows says of a customer, or why nothing."""

    line: int
    customer: CustomerChanged | None
    identity: CustomerIdentityChanged | None
    faults: tuple[Fault, ...]
    said: frozenset[str] = frozenset()
    """Attributes of customer and identity that the file says; of the others what is known stays."""


_SAID_BY = {
    "company_id": "company_ids",
    "vat_id": "company_ids",
    "parent_number": "parent_customer_id",
    "iban": "known_ibans",
    "postcode": "address",
    "city": "address",
    **{f"address_{name}": "address" for name in ("line_1", "line_2", "line_3", "country")},
    **{f"contact_{name}": "contacts" for name in ("role", "name", "email", "phone")},
}


def take(table: Table, tenant_id: UUID, group: Group) -> TakenCustomer:
    """Reads the rows of one customer."""
    first = group.records[0]
    fault = group.fault or table.fault(first)
    if fault is not None:
        return TakenCustomer(first.line, None, None, (fault,))
    reader = _Customer(table, tenant_id, group.records)
    customer, identity = reader.read()
    if reader.faults:
        return TakenCustomer(first.line, None, None, tuple(reader.faults))
    said = frozenset(_SAID_BY.get(name, name) for name in table.columns)
    return TakenCustomer(first.line, customer, identity, (), said | {"status"})


class _Customer:
    __slots__ = ("faults", "records", "table", "tenant_id")

    def __init__(self, table: Table, tenant_id: UUID, records: Sequence[Record]) -> None:
        self.table, self.tenant_id, self.records = table, tenant_id, records
        self.faults: list[Fault] = []

    def fault(self, name: str, rule: str, detail: str) -> None:
        self.faults.append(Fault(self.table.label(name), rule, detail))

    def text(self, name: str, record: Record | None = None, form: re.Pattern[str] | None = None) -> str | None:
        column = self.table.columns.get(name)
        if column is None:
            return None
        said = column.text((record or self.records[0]).cells)
        if said is None:
            self.fault(name, "value-unknown", "is none of the values that the mapping translates")
        if not said:
            return None
        text = self._checked(name, said, lambda raw: clean(raw, _LONGEST.get(name, TEXT)))
        if text is not None and form is not None and not form.fullmatch(text):
            self.fault(name, "form", "has not the form that this field has")
            return None
        return text

    def needed(self, name: str) -> str:
        before = len(self.faults)
        text = self.text(name)
        if text is None and len(self.faults) == before:
            self.fault(name, "empty", "is empty and must not be")
        return text or ""

    def _checked(self, name: str, raw: str, read: Callable[[str], T]) -> T | None:
        try:
            return read(raw)
        except CellError as error:
            self.fault(name, error.rule, error.detail)
            return None

    def _typed(self, name: str, read: Callable[[str], T], record: Record | None = None) -> T | None:
        text = self.text(name, record)
        return None if text is None else self._checked(name, text, read)

    def read(self) -> tuple[CustomerChanged, CustomerIdentityChanged]:
        """The customer, with placeholders where there are faults."""
        self._same_in_all_rows()
        system, number = self.table.mapping.source_system, self.needed("customer_number")
        customer_id = named_id("customer", self.tenant_id, system, number)
        parent = self.text("parent_number")
        customer = CustomerChanged(
            version=1,
            customer_id=customer_id,
            source_system=system,
            customer_number=number,
            status="confirmed",
            company_ids=self._company_ids(),
            country=self.text("country", form=_COUNTRY),
            language=self.text("language", form=_LANGUAGE),
            currency=self._currency(),
            payment_terms_days=self._typed("payment_terms_days", lambda text: integer(text, 0, _TERMS_MAX)),
            segment=self.text("segment", form=_CODE),
            policy=self.text("policy", form=_CODE),
            requires_order_number=self._typed("requires_order_number", flag) or False,
            parent_customer_id=None if parent in {None, number} else named_id("customer", self.tenant_id, system, parent),
        )
        identity = CustomerIdentityChanged(
            version=1,
            customer_id=customer_id,
            name=self.needed("name"),
            address=self._address(),
            contacts=self._each("contacts", self._contact),
            known_ibans=self._each("known_ibans", self._iban),
        )
        return customer, identity

    def _same_in_all_rows(self) -> None:
        for record in self.records[1:]:
            for name, column in self.table.columns.items():
                own = name in _OF_ROW or name.startswith("contact_")
                if not own and column.text(record.cells) != column.text(self.records[0].cells):
                    self.fault(name, "rows-differ", f"line {record.line} says something else than the first line of the same customer")
                    return

    def _each(self, what: str, read: Callable[[Record], T | None]) -> list[T]:
        found: list[T] = []
        for record in self.records:
            one = read(record)
            if one is not None and one not in found:
                found.append(one)
        if len(found) > _MOST[what]:
            self.fault(what, "too-many", f"more than {_MOST[what]} are given")
        return found

    def _company_ids(self) -> list[CompanyId]:
        def of_row(record: Record) -> CompanyId | None:
            scheme, value = self.text("company_id_scheme", record, _SCHEME), self.text("company_id", record)
            if value is not None and scheme is None:
                self.fault("company_id_scheme", "empty", "a company's number has a scheme, such as 0002")
            return None if scheme is None or value is None else CompanyId(scheme=scheme, value=value)

        found = self._each("company_ids", of_row)
        vat = self.text("vat_id")
        return [*found, CompanyId(scheme="vat", value=vat)] if vat else found

    def _currency(self) -> str | None:
        code = self.text("currency")
        if code is not None and code not in CURRENCIES:
            self.fault("currency", "currency", f"is no current ISO 4217 code: {shown(code)}")
            return None
        return code

    def _address(self) -> Address | None:
        lines = [line for number in (1, 2, 3) if (line := self.text(f"address_line_{number}")) is not None]
        rest: dict[str, Any] = {"postcode": self.text("postcode"), "city": self.text("city")}
        rest["country"] = self.text("address_country", form=_COUNTRY)
        return Address(lines=lines, **rest) if lines or any(rest.values()) else None

    def _contact(self, record: Record) -> Contact | None:
        """A row's contact. Consent is as the file says, and none where it has no column for it: nothing is mailed unasked."""
        name, phone = self.text("contact_name", record), self.text("contact_phone", record)
        email, role = self.text("contact_email", record, _EMAIL), self.text("contact_role", record, _CODE)
        if name is None and phone is None and email is None:
            return None
        if role is None:
            self.fault("contact_role", "empty", "a contact has a role, such as billing or dunning")
            return None
        consent = self._typed("contact_consent", flag, record) or False
        language = self.text("contact_language", record, _LANGUAGE)
        return Contact(role=role, name=name, email=email, phone=phone, language=language, consent=consent)

    def _iban(self, record: Record) -> str | None:
        text = self.text("iban", record)
        if text is None:
            return None
        compact: str = iban.compact(text)
        if not iban.is_valid(compact):
            self.fault("iban", "iban", "is no IBAN with right check digits")
            return None
        return compact
