"""A command that is refused because of values of its body: the problem names their places."""

from shared.web.problems import FieldError, Problem


def refused(status: int, code: str, title: str, *pointers: str) -> Problem:
    """A problem about what stands, or lacks, at JSON pointers of the body."""
    return Problem(status, code, title, errors=[FieldError(pointer, code, title[0].lower() + title[1:]) for pointer in pointers])
