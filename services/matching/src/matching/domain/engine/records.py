"""What the engine is given and what it answers. Amounts are minor units; a credit note's are below zero."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

Id = Hashable

ADVANCE = "advance:on_account"
"""The rule of a payment that its payer calls an advance, for what is not invoiced yet."""
NO_RECEIVABLE = "no_receivable:learned"
"""The rule of money that nobody owed (a tax refund, interest, a transfer of one's own), as persons have said of earlier payments."""
NOBODY = UUID(int=0)
"""Stands for the customer of what is no receivable, in what is learnt of accounts and names."""
SAID = "said by a person or by the debtor"
"""Stands for a virtual IBAN where somebody has said who paid: that is as sure."""
COMPLETED = frozenset({"completed_list", "run_of_items"})
"""Rules that add to what is named what makes up the sum."""
RUNS = frozenset({"run_but_some", "named_run"})
"""Rules of a large debtor's payment run."""
LEARNED, NAMED = 0.6, 0.85
"""Share of what came from an IBAN, or under a name, by which it is a customer's; likeness of names by which they are one."""
BY_PARENT = 0.6
"""What of the evidence for a customer is evidence for its subsidiaries, which it may pay for."""


@dataclass(slots=True)
class OpenItem:
    """An item as the engine sees it. `open_minor` is 0 once settled, below zero for a credit note.

    `discount_percent` may be deducted until `discount_until`; `contested_minor` is in dispute and paid only when named.
    """

    item_id: Id
    customer_id: Id
    number: str
    currency: str
    issue_date: date
    due_date: date
    original_minor: int
    open_minor: int
    order_numbers: Sequence[str] = ()
    reference: str | None = None
    discount_percent: float = 0.0
    discount_until: date | None = None
    contested_minor: int = 0


@dataclass(slots=True)
class Customer:
    """A debtor. `virtual_iban` is the account given to it alone, `former_iban` one that was; `parent_id` may pay for it."""

    customer_id: Id
    number: str
    name: str
    currency: str
    ibans: Sequence[str] = ()
    virtual_iban: str | None = None
    parent_id: Id | None = None
    former_iban: str | None = None


@dataclass(slots=True, frozen=True)
class Promise:
    """What a customer has promised to pay, for `items` (any, where there are none). `waits_minor` came before and nobody has placed it."""

    promise_id: Id
    currency: str
    amount_minor: int
    due_on: date
    items: Sequence[Id] = ()
    waits_minor: int = 0


@dataclass(slots=True)
class Clues:
    """What came with a payment. `instructed_minor` is what the payer sent, before charges and exchange, and `ultimate_name` for whom, if
    the bank says so.
    """

    payment_id: Id
    booking_date: date
    amount_minor: int
    currency: str
    creditor_account: str | None = None
    debtor_name: str | None = None
    debtor_iban: str | None = None
    end_to_end_id: str | None = None
    structured_reference: str | None = None
    remittance: Sequence[str] = ()
    instructed_minor: int | None = None
    instructed_currency: str | None = None
    ultimate_name: str | None = None


@dataclass(slots=True)
class Line:
    """What a hypothesis settles of an item: `cents` leave it, `diff_cents` of them without money, for `reason`."""

    item: OpenItem
    cents: int
    diff_cents: int = 0
    reason: str | None = None


@dataclass(slots=True)
class Party:
    """Why a customer may be the payer: each field is one kind of evidence, 0 where there is none.

    `former`: it was paid to a virtual IBAN that was its once, and nobody else is known well. By that no payer is known.
    """

    customer_id: Id
    virtual_iban: float = 0.0
    own_iban: float = 0.0
    learned_iban: float = 0.0
    name: float = 0.0
    learned_name: float = 0.0
    number: float = 0.0
    document: float = 0.0
    amount: float = 0.0
    via_parent: bool = False
    former: bool = False

    def known(self) -> bool:
        """Whether its account or its name say that it pays. One that paid for it before may pay for anybody, and what says that its
        parent pays (`BY_PARENT` of it) is less.
        """
        return self.virtual_iban == 1 or self.own_iban == 1 or self.name >= NAMED

    def weight(self) -> float:
        """A rough order of parties; the confidence is made of the parts."""
        return (
            4 * self.virtual_iban + 3 * self.own_iban + 3 * self.learned_iban + 2 * self.name + self.learned_name + 2 * self.number
            + 2 * self.document + self.amount - self.via_parent
        )  # fmt: skip


@dataclass(slots=True)
class Hypothesis:
    """One reading of a payment: `rule` names how it was found, `features` is the evidence in the order of `features.NAMES`.

    Without lines it is an advance: the customer's money, for no item yet; or, of NOBODY, no receivable.

    `tie`: another item of the same amount, due the same day, would do as well as one of the lines, or any of the amount as one that a list
    was completed with. `unread`: the text has a word that may be a part of a number. `missing`: it names a document that is not there.
    `doubt`: what speaks against it in what the seller's earlier payments were for. `alike`: the same with other items of the same
    amounts, for a person to choose from. `lost`: why another one that is shown goes before it. `promise`: what its payer has promised, of
    which it is a part. `former`: see Party. `set_apart`: of NOBODY, how many from the account or under the name were.
    """

    customer_id: Id
    rule: str
    lines: list[Line]
    features: list[float] = field(default_factory=list)
    confidence: float = 0.0
    tie: bool = False
    unread: bool = False
    missing: bool = False
    doubt: str | None = None
    alike: list["Hypothesis"] = field(default_factory=list)
    lost: str | None = None
    promise: Promise | None = None
    former: bool = False
    set_apart: int = 0

    def key(self) -> tuple[tuple[str, int], ...]:
        """What it settles, to tell two readings apart."""
        return tuple(sorted((str(line.item.item_id), line.cents) for line in self.lines))
