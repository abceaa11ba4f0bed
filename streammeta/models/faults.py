"""Errors of a user's code in words: their own type, file and line, never as ours."""

from streammeta.models.user_code import where


def told(error: BaseException) -> str:
    """The error in a line: "ValueError in my_model.py, line 12, in build: sizes must be positive".

    >>> told(KeyError("width"))
    "KeyError: 'width'"
    """
    place = where(error)
    text = (str(error).strip() or "no message").splitlines()[0]
    return f"{type(error).__name__}{f' in {place}' if place else ''}: {text}"
