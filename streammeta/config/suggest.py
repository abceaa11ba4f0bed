"""The nearest known word to a misspelt one."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was probably meant to be; None when nothing is close.

    >>> nearest("betta", ["beta", "order"])
    'beta'
    """
    close = get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return close[0] if close else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a refusal: the nearest known word, or nothing.

    >>> did_you_mean("betta", ["beta", "order"])
    "; did you mean 'beta'?"
    """
    close = nearest(word, known)
    return f"; did you mean '{close}'?" if close else ""
