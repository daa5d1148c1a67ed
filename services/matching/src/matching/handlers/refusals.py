"""A command that is refused because of one value of its body: the problem names the place."""

from shared.web.problems import FieldError, Problem


def refused(status: int, code: str, title: str, pointer: str) -> Problem:
    """A problem about what stands at a JSON pointer of the body."""
    return Problem(status, code, title, errors=[FieldError(pointer, code, title[0].lower() + title[1:])])
