"""An episode from a record: two sets of labelled examples, checked against each other; or a question.

{"support": {"x": T, "y": T}, "query": {"x": T, "y": T}}    an episode
{"id"?, "support"?: {"x": T, "y": T}, "query": {"x": T}}    asks for a prediction of the query set

Everything here is pure. Checks run from cheap to dear: the envelope, tensors, shapes.
"""

from dataclasses import replace
from typing import Final, Literal, overload

import msgspec
from msgspec import UNSET, Raw, UnsetType

from streammeta.codec.envelope import UNANSWERED, Opener, TensorReader, id_of, same_count
from streammeta.codec.layouts import Layouts
from streammeta.codec.tensors import TensorMap, check_count
from streammeta.errors import BadEvent, Reason
from streammeta.events import Array, Batch, Episode, Question, Record, TaskEvent, episode_of


class _Set(msgspec.Struct):
    x: Raw
    y: Raw


class _Query(msgspec.Struct):
    x: Raw
    y: Raw | UnsetType = UNSET


class _Body(msgspec.Struct):
    query: _Query
    support: _Set | UnsetType = UNSET
    id: Raw | UnsetType = UNSET


class _WholeSet(msgspec.Struct):
    x: TensorMap
    y: TensorMap


class _WholeQuery(msgspec.Struct):
    x: TensorMap
    y: TensorMap | UnsetType = UNSET


class _WholeBody(msgspec.Struct):
    query: _WholeQuery
    support: _WholeSet | UnsetType = UNSET
    id: Raw | UnsetType = UNSET


_EXPECTED = 'expected {"support": {"x": T, "y": T}, "query": {"x": T, "y": T}}'
_FIELDS: Final = ("support.x", "support.y", "query.x", "query.y")
_LAYOUTS: Final = Layouts()
_RECORDS = Opener(_Body, _EXPECTED, _WholeBody)


@overload
def decode(
    record: Record, *, max_bytes: int, max_examples: int = ..., asks: Literal[False] = False
) -> TaskEvent: ...
@overload
def decode(
    record: Record, *, max_bytes: int, max_examples: int = ..., asks: bool
) -> TaskEvent | Question: ...
def decode(
    record: Record, *, max_bytes: int, max_examples: int = 10_000, asks: bool = False
) -> TaskEvent | Question:
    """The task event that `record` carries, or what it asks.

    Arrays of MessagePack are read-only views into its value.
    Costs about 5 µs in MessagePack and 25 µs in JSON for ten and ten small examples.

    Args:
        record: As Kafka gave it.
        max_bytes: The largest value that is looked into.
        max_examples: The largest set: a small value can ask for gigabytes of activations.
        asks: Whether a record without labels asks for a prediction; else it is refused.

    Raises:
        BadEvent: the record cannot be used; the only exception, whatever the bytes.
    """
    envelope = _RECORDS.envelope(record, max_bytes)
    task, value, packed, time_ms = envelope
    arrays = _LAYOUTS.read(value) if packed else None
    if arrays is not None:
        episode = episode_of(*arrays)
        check_count(max(len(arrays[0]), len(arrays[2])), max_examples)
        return TaskEvent(task, episode, time_ms)
    body, tensor, scalar = _RECORDS.body(envelope)
    support, query = body.support, body.query
    if query.y is UNSET:
        if not asks:
            raise BadEvent(Reason.UNDECODABLE, f"query.y is missing; {_EXPECTED}; {UNANSWERED}")
        name = None if body.id is UNSET else id_of(body.id, scalar)
        return replace(_question(task, body, tensor, max_examples), name=name)
    if support is UNSET:
        raise BadEvent(Reason.UNDECODABLE, f"support is missing; {_EXPECTED}")
    fields = zip(_FIELDS, (support.x, support.y, query.x, query.y), strict=True)
    named = [(name, tensor(raw, name, max_examples)) for name, raw in fields]
    episode = episode_of(*(array for _, array in named))
    check_episode(episode, max_examples)
    if packed:
        _LAYOUTS.learn(value, named)
    return TaskEvent(task, episode, time_ms)


def _question(task: str, body: _Body, tensor: TensorReader, max_examples: int) -> Question:
    """What is asked of a query set without labels."""
    x, support = tensor(body.query.x, "query.x", max_examples), None
    check_count(len(x), max_examples)
    if body.support is not UNSET:
        support = Batch(*(tensor(getattr(body.support, n), f"support.{n}", max_examples) for n in "xy"))
        check_count(len(support.x), max_examples)
        same_count("support", support.x, support.y)
        _same_example("x", support.x, x)
    return Question(task, x, support)


def check_episode(episode: Episode[Array], max_examples: int) -> None:
    """Inputs and labels agree in number, support and query in the shape of one example; none is too large.

    Raises:
        BadEvent: shape_mismatch, too_large.
    """
    (support_x, support_y), (query_x, query_y) = episode
    same_count("support", support_x, support_y)
    same_count("query", query_x, query_y)
    _same_example("x", support_x, query_x)
    _same_example("y", support_y, query_y)
    check_count(max(len(batch.x) for batch in episode), max_examples)


def _same_example(name: str, support: Array, query: Array) -> None:
    one, other = support.shape[1:], query.shape[1:]
    if one != other:
        raise BadEvent(
            Reason.SHAPE_MISMATCH, f"an example of {name} has shape {one} in support, {other} in query"
        )
