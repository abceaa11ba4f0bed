"""Dead letters listed and put back: the bytes that came, each once, over kills and repeated calls."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from streammeta.cli import main
from streammeta.errors import BadEvent, ConfigError, Reason
from streammeta.events import Record
from streammeta.sending import redelivery
from streammeta.sending.redelivery import Redelivery, Wanted
from streammeta.sending.transactions import Transactions
from streammeta.stream.kafka.dead_letters import KafkaDeadLetters
from streammeta.stream.kafka.letters import NOTE, dead_letter_records, letter_of, note_of
from tests.brokers.broker import Broker, Settings, fresh

BROKERS = ["tansu", pytest.param("kafka_broker", marks=pytest.mark.kafka)]
ODD = (("ce_id", b"\x00\xff"), ("", None), ("caf\udce9", b"x"), ("__streammeta.errors.reason", b"old"))


@pytest.fixture(params=BROKERS)
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each kind."""
    found: Broker = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def settings(broker: Broker) -> Settings:
    """Those of a source topic with two partitions; its dead-letter topic does not exist yet."""
    topic = broker.create(fresh("tasks"), 2)
    return broker.settings(topic=topic, dead_letter_topic=f"{topic}.dlq", on_lost_offsets="earliest")


def letters(settings: Settings, count: int, begin: int = 0) -> list[Record]:
    """Records set aside: every third for its tensor, the others as undecodable."""
    records = [
        Record(settings.topic, n % 2, n, 0, b"task-%d" % (n % 3) if n % 5 else None, b"\x00%d" % n, ODD)
        for n in range(begin, begin + count)
    ]
    dead = KafkaDeadLetters(settings)
    for record in records:
        reason = Reason.BAD_TENSOR if record.offset % 3 == 0 else Reason.UNDECODABLE
        dead.send(record, BadEvent(reason, f"number {record.offset}"))
    dead.flush()
    dead.close()
    return records


def of_dead_letters(settings: Settings) -> Settings:
    """The settings that name the dead-letter topic."""
    return Settings(**{**vars(settings), "topic": settings.dead_letter_topic})


def put_back(settings: Settings, wanted: Wanted = Wanted(), **how: Any) -> Any:  # noqa: B008 (frozen)
    """One call."""
    return Redelivery(settings, of_dead_letters(settings), wanted, lambda: True).run(**how)


def content(records: list[Record]) -> list[tuple[object, ...]]:
    """All but offset and time, partition by partition."""
    return sorted((r.partition, r.value, r.key, r.headers) for r in records)


def came_back(settings: Settings) -> list[tuple[object, ...]]:
    """What a reader of committed transactions finds on the source topic."""
    return content(list(dead_letter_records(settings)))


def test_each_goes_back_once_as_it_was(settings: Settings) -> None:
    """Whatever is chosen, in whatever order of calls; new letters follow; `again` sends all once more."""
    records = letters(settings, 30)
    first = put_back(settings, Wanted(reasons=frozenset({"bad_tensor"}), tasks=frozenset({b"task-0"})))
    chosen = [r for r in records if r.offset % 3 == 0 and r.key == b"task-0"]
    assert dict(first.sent) == {"bad_tensor": len(chosen)}
    assert came_back(settings) == content(chosen)
    second = put_back(settings)
    assert (second.sent.total(), second.before) == (30 - len(chosen), len(chosen))
    assert came_back(settings) == content(records)
    more = letters(settings, 4, begin=30)
    assert (put_back(settings).sent.total(), put_back(settings).sent.total()) == (4, 0)
    assert came_back(settings) == content([*records, *more])
    assert put_back(settings, again=True).sent.total() == 34
    assert came_back(settings) == content([*records, *more] * 2)


@pytest.mark.kafka
def test_a_sender_that_is_cut_off_leaves_nothing_behind(
    kafka_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between sending and committing, at each transaction in turn: the next call sends what is missing."""
    topic = kafka_broker.create(fresh("tasks"), 2)
    settings = kafka_broker.settings(topic=topic, dead_letter_topic=f"{topic}.dlq")
    records = letters(settings, 12)
    monkeypatch.setattr(redelivery, "TRANSACTION_LETTERS", 5)
    commit, left = Transactions.commit, [0]

    def cut(transactions: Transactions, place: int | None = None) -> None:
        if not left[0]:
            transactions._producer.flush()  # all of it has reached the broker
            raise KeyboardInterrupt
        left[0] -= 1
        commit(transactions, place)

    with monkeypatch.context() as patch:
        patch.setattr(Transactions, "commit", cut)
        for left[0] in (0, 1, 0):
            with suppress(KeyboardInterrupt):
                put_back(settings)
    assert put_back(settings).sent.total() == 7
    assert came_back(settings) == content(records)


def test_what_is_no_letter_is_left(broker: Broker, settings: Settings) -> None:
    """Records of others, letters of other topics: counted. A partition that is gone is named."""
    letters(settings, 2)
    broker.write(settings.dead_letter_topic, [b"of somebody else"])
    letters(Settings(**{**vars(settings), "topic": broker.create(fresh("other")), "group_id": "x"}), 1)
    told = put_back(settings)
    assert (told.sent.total(), told.elsewhere, told.foreign) == (2, 1, 1)
    lost = Record(settings.topic, 9, 77, 0, b"k", b"v")
    dead = KafkaDeadLetters(settings)
    dead.send(lost, BadEvent(Reason.UNDECODABLE, "x"))
    dead.flush()
    dead.close()
    with pytest.raises(ConfigError, match=r"lacks partition 9, .*\(offset 77\)"):
        put_back(settings)


def test_a_note_is_no_letter() -> None:
    """And a record with other headers than ours at its end is none either."""
    assert letter_of(note_of(0, [3, 1], "x")) is None
    assert note_of(0, [3, 1], "x").value == b"[1,3]"
    assert letter_of(Record("x", 0, 0, 0, None, None, ((NOTE, b"1"),))) is None


def run(settings: Settings, *arguments: str) -> Result:
    """`streammeta dlq`."""
    where = [f"bootstrap_servers={settings.bootstrap_servers}", f"topic={settings.topic}"]
    flags = [part for setting in where for part in ("--set", f"kafka.{setting}")]
    verb, *options = arguments
    return CliRunner().invoke(main, ["dlq", verb, *flags, *options], env={"COLUMNS": "200"})


def test_the_command_line(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list with origin and reason, newest first; a dry run that does nothing; what was put back is told."""
    monkeypatch.chdir(tmp_path)
    empty = run(settings, "list")
    assert (empty.exit_code, empty.stdout) == (0, "")
    assert f"0 dead letters in {settings.dead_letter_topic}" in empty.stderr
    letters(settings, 10)
    told = run(settings, "list", "--limit", "3")
    assert "10 dead letters in" in told.stderr
    assert "undecodable 6, bad_tensor 4; 3 shown" in told.stderr
    assert len(told.stdout.splitlines()) == 1 + 3
    assert "number 9" in run(settings, "list").stdout
    dry = run(settings, "replay", "--dry-run", "--reason", "bad_tensor")
    assert "4 dead letters would go back" in dry.stdout
    sent = json.loads(run(settings, "replay", "--reason", "bad_tensor", "--format", "json").stdout)
    assert (sent["sent"], sent["reasons"], sent["done"]) == (4, {"bad_tensor": 4}, True)
    assert "4 were put back before" in run(settings, "replay", "--reason", "bad_tensor").stdout
    rows = json.loads(run(settings, "list", "--limit", "0", "--format", "json").stdout)
    assert {row["offset"] for row in rows if row["replayed"]} == {0, 3, 6, 9}
    (row,) = [row for row in rows if row["offset"] == 7]
    expected = {"reason": "undecodable", "partition": 1, "key": "task-1", "bytes": 2, "stage": "decode"}
    assert row.items() >= expected.items()
    assert (row["topic"], row["message"]) == (settings.topic, "number 7")
    (only,) = json.loads(run(settings, "list", "--task", "task-1", "--limit", "1", "--format", "json").stdout)
    assert only["key"] == "task-1"
    assert run(settings, "replay", "--reason", "bad_tensr").exit_code == 2
    (whole,) = json.loads(run(settings, "show", "1:7", "--format", "json").stdout)
    assert (whole["key"], whole["message"], whole["value"]) == ("task-1", "number 7", "\x007")
    shown = run(settings, "show", "1:7").stdout
    assert "message    number 7" in shown
    assert "header     " in shown
    assert "not in " in run(settings, "show", "1:8").stderr
    assert run(settings, "show", "1").exit_code == 2
