"""Which refunds a booked movement is of, whatever of them it names.

Rules:
- its EndToEndId says so; where the file has no field for it, or a short one, its text does;
- a debit that names a file of ours and none of its refunds is all that are sent of it, if that is its amount: banks book a file as one,
  whatever they are asked; else the one refund of its amount that is in it;
- one that names nothing at all is the one refund of its amount and currency to the account that it went to, asked for on its day at the
  latest; an unnamed credit that went back is the one that it comes from. Two such refunds are a tie: it is for a person, and so is
  one where that refund is paid already: the bank may have executed it twice;
- one that names not even an account is all of the one file of several refunds that are sent and sum to it; else, where a refund of its
  amount is on its way, it may be that one, or anything: it is for a person.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from shared.days import business_day
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.statements import Transaction, is_local_number
from matching.storage import refunds as stored
from matching.storage.bank import BankAccount
from matching.storage.refunds import Refund

MESSAGES, MESSAGE_DIGITS = "REFUNDS-", 27
_MESSAGE = re.compile(f"{MESSAGES}([0-9a-f]{{{MESSAGE_DIGITS}}})")
"""What a file is called, to the bank and by it: a message's id has 35 characters, and so only the beginning of the file's own."""
END = re.compile("REFUND-([0-9a-f]{28})", re.IGNORECASE)
"""The EndToEndId of a refund, which is its remittance text too."""


@dataclass(slots=True)
class Found:
    """Of movements, by their place: the transfers of those that are a whole file; and those that a person has to look at."""

    files: dict[int, list[Transaction]] = field(default_factory=dict)
    doubtful: set[int] = field(default_factory=set)


async def file_of(conn: AsyncConnection, tenant_id: UUID, message_id: str) -> UUID | None:
    """The file that a message of ours is; None where it is none of ours."""
    found = _MESSAGE.fullmatch(message_id)
    return await stored.file_between(conn, tenant_id, UUID(f"{found[1]:0<32}"), UUID(f"{found[1]:f<32}")) if found else None


async def find(conn: AsyncConnection, held: BankAccount, moved: Sequence[Transaction]) -> Found:
    """Gives the movements of an account the EndToEndIds of the refunds that they are, and tells what has none."""
    found, of = Found(), dict[int, UUID]()
    for at, one in enumerate(moved):
        _name_by_text(one)
        if not one.credit and (file_id := await file_of(conn, held.tenant_id, one.end_to_end_id or one.batch_id or "")):
            sent = await _sent(conn, held, file_id)
            of[at] = file_id
            if sum(given.amount_minor for given in sent) == one.amount_minor:
                found.files[at] = _parts(one, sent)
            else:
                found.doubtful.add(at)
    unnamed = {at: one for at, one in enumerate(moved) if at not in found.files and _is_unnamed(one)}
    if unnamed:
        amounts, named = {one.amount_minor for one in unnamed.values()}, {one.end_to_end_id for one in moved}
        known = await stored.of_amounts(conn, held.tenant_id, held.bank_account_id, amounts)
        for at, one in unnamed.items():
            fits = [given for given in known if _fits(one, given) and of.get(at) in {None, given.refund_file_id}]
            left = [given for given in fits if given.end_to_end_id not in named and (one.credit or given.status != "paid")]
            certain = one.counterparty_iban is not None or at in of
            if certain and len(left) == 1:
                one.end_to_end_id = left[0].end_to_end_id
                found.doubtful.discard(at)
            elif any(certain or given.status == ("paid" if one.credit else "sent") for given in left) or (
                certain and not one.credit and fits  # paid already: executed twice
            ):
                found.doubtful.add(at)
        await _find_files(conn, held, {at: one for at, one in unnamed.items() if at not in found.doubtful and _is_nobodys(one)}, found)
    return found


async def _find_files(conn: AsyncConnection, held: BankAccount, lone: Mapping[int, Transaction], found: Found) -> None:
    """Debits that name nobody are each all of the one file that sums to it; of two such files it may be either."""
    if not lone:
        return
    sums = await stored.files_of_sums(conn, held.tenant_id, held.bank_account_id, {one.amount_minor for one in lone.values()})
    sent = {file_id: await _sent(conn, held, file_id) for file_id in sums}
    for at, one in lone.items():
        fits = [
            file_id
            for file_id, amount in sums.items()
            if amount == one.amount_minor and all(one.day >= business_day(given.requested_at) for given in sent[file_id])
        ]
        if len(fits) == 1:
            found.files[at] = _parts(one, sent[fits[0]])
        elif fits:
            found.doubtful.add(at)


async def _sent(conn: AsyncConnection, held: BankAccount, file_id: UUID) -> list[Refund]:
    """The refunds of a file that are sent and nothing else yet."""
    return [given for given in await stored.reported(conn, held.tenant_id, file_id, ()) if given.status == "sent"]


def _parts(whole: Transaction, sent: Sequence[Refund]) -> list[Transaction]:
    return [replace(whole, end_to_end_id=given.end_to_end_id, amount_minor=given.amount_minor) for given in sent]


def _is_unnamed(one: Transaction) -> bool:
    """Whether a movement may be a refund's and says nothing of which: what has a name is of that, a return of a payment."""
    kinds = {"other"} if one.credit else {"other", "refund"}
    return one.kind in kinds and one.amount_minor > 0 and not one.end_to_end_id and not _refunds_in(_text(one))


def _is_nobodys(one: Transaction) -> bool:
    return not (one.credit or one.end_to_end_id or one.batch_id or one.counterparty_name or one.counterparty_iban)


def _fits(one: Transaction, given: Refund) -> bool:
    """Whether a movement without a name may be of a refund, of a paid one once more: what was booked before that was asked for is not."""
    account = one.counterparty_iban
    return (
        (one.amount_minor, one.currency) == (given.amount_minor, given.currency)
        and (given.status in {"sent", "paid"} if one.credit else given.status != "paid" or bool(account))
        and one.day >= business_day(given.requested_at)
        and (not account or account == given.creditor_iban or is_local_number(account, given.creditor_iban))
    )


def _name_by_text(one: Transaction) -> None:
    """Where a movement has no EndToEndId, or no more than its beginning (OFX has no field for it, MT940 one of 16 characters), and its text
    says one refund's, broken into lines wherever a bank does, it bears that. In whatever case: some banks write all in capitals.
    """
    given = one.end_to_end_id or ""
    said = _refunds_in(given) or _refunds_in(_text(one))
    if len(said) == 1 and (end := said.pop()).lower().startswith(given.lower()):
        one.end_to_end_id = end


def _text(one: Transaction) -> str:
    return "".join("".join(one.remittance).split())


def _refunds_in(text: str) -> set[str]:
    return {f"REFUND-{digits.lower()}" for digits in END.findall(text)}
