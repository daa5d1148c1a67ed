"""The one error that a person sees: a sentence that says what is wrong, where, and what to do."""


class LocalError(Exception):
    """Something on this machine prevents a start; the text is one line (log lines may follow it)."""
