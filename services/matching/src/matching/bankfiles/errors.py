"""What a reader raises."""


class BankFileError(ValueError):
    """A file, or a part of one, that cannot be read. The text says what and where, and quotes no more than a few characters."""


class NotAStatementError(BankFileError):
    """A file of a known kind that holds no statement: an order, a status report, a mandate. `kind` names it."""

    def __init__(self, kind: str, what: str) -> None:
        super().__init__(f"{kind} is {what}, not a statement")
        self.kind = kind
