"""The error tree. Every error knows how the program ends, or why the record is set aside.

    StreammetaError              exit 1
      ConfigError                exit 78   a setting is wrong; names field, value, remedy
      StateError                 exit 65   the state does not fit, or cannot be read
        LostOffsets              exit 65   the log no longer holds the next offset
      RecordingError             exit 65   a recording, or a part of it, cannot be used
      TableDamaged             exit 65   a Parquet table that is not what it says, or would fill the memory
      StateLocked                exit 73   another process writes to the state directory
      BrokerUnavailable          exit 69   retriable: not reached within its deadline
        TopicMissing             exit 69   the broker serves, the topic does not exist
      BrokerRefused              exit 77   a right refused
        LoginRefused             exit 77   the login or the certificate refused; may pass while it is rotated
      Unacknowledged             exit 69   what must be acknowledged before the offset moves on was not
        DeadLetterFailed         exit 69   a dead letter
        AnswerFailed             exit 69   an answer to a record without labels
      GroupLost                  exit 69   retriable: another rank gave no sign of life, or left
      Interrupted                asked to stop while it waited; exit 0, the last commit stands
      BadEvent                   a record that cannot be used: `reason` of the closed list
        CodeFault                the user's code failed on it
        OutOfMemory              the memory did not suffice for it, this time
      NoAnswer                   exit 1    a prediction that cannot be had; names the field

Errors that end the program are shown as their message alone, never as a traceback.
"""

from enum import StrEnum
from typing import ClassVar


class StreammetaError(Exception):
    """Base of all errors raised on purpose."""

    exit_code: ClassVar[int] = 1
    retriable: ClassVar[bool] = False


class ConfigError(StreammetaError):
    """A setting is wrong. The message names the field, its value and the remedy."""

    exit_code = 78


class StateError(StreammetaError):
    """The state cannot be read, or does not fit the configuration."""

    exit_code = 65


class LostOffsets(StateError):
    """The log no longer holds (or does not yet hold) the offset that the state needs next."""


class DamagedLog(StreammetaError):
    """A batch in the topic's log is not what was written. The message names its offsets and the remedy."""

    exit_code = 65


class RecordingError(StreammetaError):
    """A recording is damaged, is not one, or does not belong to the state. The message names the part."""

    exit_code = 65


class TableDamaged(StreammetaError):
    """A Parquet table contradicts itself, or would take more memory than a table does. Names the column."""

    exit_code = 65


class StateLocked(StreammetaError):
    """Another process writes to this state directory, or to this recording."""

    exit_code = 73


class Interrupted(StreammetaError):
    """Asked to stop while a step was being compiled: nothing of the chunk in hand is in the state."""


class BrokerUnavailable(StreammetaError):
    """The broker was not reached within its deadline."""

    exit_code = 69
    retriable = True


class TopicMissing(BrokerUnavailable):
    """The broker serves, but the topic does not exist."""

    retriable = False


class BrokerRefused(StreammetaError):
    """The broker refused the login, the certificate or the right."""

    exit_code = 77


class LoginRefused(BrokerRefused):
    """The broker refused the login or the certificate: borne for a while, as either may be in rotation."""


class Unacknowledged(StreammetaError):
    """What was written was not acknowledged; the offset must not move on."""

    exit_code = 69
    retriable = True


class DeadLetterFailed(Unacknowledged):
    """A dead letter was not acknowledged."""


class AnswerFailed(Unacknowledged):
    """An answer to a record without labels was not acknowledged."""


class GroupLost(StreammetaError):
    """Another rank of the group died, hangs or left; the last commit stands, and a restart goes on."""

    exit_code = 69
    retriable = True


class Reason(StrEnum):
    """Why a record is set aside: the closed list of the contract, section 1."""

    MISSING_TASK_ID = "missing_task_id"
    BAD_TASK_ID = "bad_task_id"
    UNSUPPORTED_CONTENT_TYPE = "unsupported_content_type"
    UNDECODABLE = "undecodable"
    BAD_TENSOR = "bad_tensor"
    SHAPE_MISMATCH = "shape_mismatch"
    EMPTY_SET = "empty_set"
    NON_FINITE_INPUT = "non_finite_input"
    TOO_LARGE = "too_large"
    NON_FINITE_UPDATE = "non_finite_update"
    QUARANTINED = "quarantined"
    NON_FINITE_PREDICTION = "non_finite_prediction"


class BadEvent(StreammetaError):
    """A record that cannot be used. It goes to the dead-letter topic under `reason`.

    Attributes:
        reason: One of the closed list.
        stage: The hop that refused it: "read", "decode", "step", or "predict": it could not be answered.
    """

    def __init__(self, reason: Reason, message: str, *, stage: str = "decode") -> None:
        super().__init__(message)
        self.reason = reason
        self.stage = stage


class NoAnswer(StreammetaError):
    """A prediction that cannot be had; nothing else is harmed.

    Attributes:
        reason: A word for programs: that of a record refused alike, or `no_memory`, `no_support`,
            `non_finite_prediction`.
        field: What is wrong in what was asked: "x", "support.y", "at".
        number: Which one of those that were asked for together, counted from 0.
    """

    def __init__(self, reason: str, field: str, message: str, number: int = 0) -> None:
        super().__init__(message)
        self.reason = reason
        self.field = field
        self.number = number


class CodeFault(BadEvent):
    """The user's model or loss failed in a way that data is hardly to blame for.

    Where nothing was learned yet it is a fault of the configuration; later, of the record alone.
    """

    def __init__(self, message: str) -> None:
        super().__init__(Reason.BAD_TENSOR, message, stage="step")


class OutOfMemory(BadEvent):
    """The memory did not suffice to read the record or to learn from it; another time it might."""

    def __init__(self, message: str, *, stage: str = "step") -> None:
        super().__init__(Reason.TOO_LARGE, message, stage=stage)
