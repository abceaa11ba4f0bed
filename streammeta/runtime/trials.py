"""The protocol of trials: what is tried is marked before, so that a record that kills is found and passed."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from streammeta.events import Passed, Record


class Trials(Protocol):
    """Told of what is decoded and learned next."""

    condemned: tuple[Passed, ...]

    @property
    def suspicious(self) -> bool:
        """Whether anything was tried when the process before died."""

    def begin_life(self) -> None:
        """What is condemned is logged; nothing is tried yet."""

    def forget(self) -> None:
        """What was tried was of another log: nothing is condemned, or suspect."""

    def suspects(self, records: Iterable[Record]) -> bool:
        """Whether one of these was."""

    def decoding(self, record: Record) -> None:
        """The record is decoded next."""

    def learning(self, records: Sequence[Record]) -> None:
        """These are learned next, together."""

    def over(self) -> None:
        """Nothing is tried any more."""


class NoTrials:
    """`Trials` of a program that nobody starts again."""

    condemned: tuple[Passed, ...] = ()
    suspicious = False

    def begin_life(self) -> None:
        """Nothing."""

    def forget(self) -> None:
        """Nothing."""

    def suspects(self, records: Iterable[Record]) -> bool:  # noqa: ARG002 (the protocol's)
        """None is."""
        return False

    def decoding(self, record: Record) -> None:
        """Nothing."""

    def learning(self, records: Sequence[Record]) -> None:
        """Nothing."""

    def over(self) -> None:
        """Nothing."""
