"""Why something is refused, in words and places that the API turns into a problem."""

from collections.abc import Sequence

from invoicing.domain.totals import Fault


class Refusal(Exception):  # noqa: N818 - an answer to the sender, not an error of ours
    """A command that is not carried out. `status` is HTTP's: 409 it contradicts what is there, 422 it makes no sense."""

    def __init__(self, status: int, code: str, detail: str, faults: Sequence[Fault] = ()) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.faults = status, code, detail, tuple(faults)


def refused_at(pointer: str, code: str, detail: str, status: int = 422) -> Refusal:
    """A refusal because of one field."""
    return Refusal(status, code, detail, [Fault(pointer, code, detail)])
