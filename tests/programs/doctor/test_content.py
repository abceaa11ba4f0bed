"""What records hold: counted by reason, with an example each, and a hint at what is likely meant."""

from pathlib import Path

import msgspec
import pytest

from streammeta.codec import CONTROL, RESET
from streammeta.events import Record
from streammeta.programs.doctor.content import hints, of_content
from tests.programs.doctor.worlds import EPISODE, MSGPACK_HEADERS, SET, config_of, record, records


def test_all_fit(tmp_path: Path) -> None:
    """Said with their number; all go on to be learned from."""
    stream = records(EPISODE, EPISODE)
    check, readable = of_content(config_of(tmp_path), stream)
    assert (check.verdict, check.words) == ("ok", "2 of 2 can be read as episodes")
    assert readable == stream


def test_some_fit(tmp_path: Path) -> None:
    """A warning with each reason, its count and its first record; the others go on."""
    stream = records(EPISODE, b"{", EPISODE, b"}", EPISODE, {"support": SET, "query": {"x": [], "y": []}})
    check, readable = of_content(config_of(tmp_path), stream)
    assert check.verdict == "warning"
    assert check.words.splitlines()[0] == "3 of 6 can be read as episodes"
    assert check.words.splitlines()[1].startswith(
        "undecodable 2, as partition 0 offset 1: application/json: "
    )
    assert check.words.splitlines()[2].startswith("empty_set 1, as partition 0 offset 5: ")
    assert [found["count"] for found in check.facts["refused"]] == [2, 1]
    assert [each.offset for each in readable] == [0, 2, 4]


def test_what_changes_a_task_fits(tmp_path: Path) -> None:
    """Tombstones, unless they are to be dead letters, and what releases or resets a task."""
    asked = record({}, headers=((CONTROL, RESET),))
    check, readable = of_content(config_of(tmp_path), [record(EPISODE), record(None), asked])
    assert (check.verdict, len(readable)) == ("ok", 3)
    check, readable = of_content(config_of(tmp_path, "events.tombstones=dead_letter"), [record(None), asked])
    assert (check.facts["refused"][0]["reason"], readable) == ("undecodable", [asked])


def test_most_do_not_fit(tmp_path: Path) -> None:
    """That is a fault of the configuration, or of the sender: exit 78."""
    check, readable = of_content(config_of(tmp_path), records(b"{", b"{", EPISODE))
    assert (check.verdict, check.exit_code, len(readable)) == ("fault", 78, 1)


@pytest.mark.parametrize(
    ("kind", "refused", "said"),
    [
        ("episode", record(SET), 'events.kind = "episode": set events.kind = "examples"'),
        ("examples", record(EPISODE), 'events.kind = "examples": set events.kind = "episode"'),
        ("episode", record(b"\0\0\0\0\x07\x02Avro"), "a schema registry's serialisers write them"),
        ("episode", record(msgspec.msgpack.encode(EPISODE)), "send content-type: application/msgpack"),
        ("episode", record(EPISODE, key=None), "send the task's id as the record's key"),
    ],
)
def test_hints(kind: str, refused: Record, said: str, tmp_path: Path) -> None:
    """What is likely meant is said alone, with how many records speak for it."""
    (hint,) = hints(config_of(tmp_path, f"events.kind={kind}"), [refused, refused])
    assert hint.startswith("2 of them ")
    assert said in hint


@pytest.mark.parametrize(
    "refused",
    [record(None), record(b"\0"), record(b"{"), record(b"\xc1", headers=MSGPACK_HEADERS), record(7)],
)
def test_no_hint_where_nothing_speaks_for_one(refused: Record, tmp_path: Path) -> None:
    """Tombstones, rubbish and other JSON are told by their reason alone."""
    assert not [*hints(config_of(tmp_path), [refused])]


def test_what_a_record_holds_does_not_steer_a_terminal(tmp_path: Path) -> None:
    """Control characters of a message are shown as such, and a long one is cut."""
    header = b"text/\x1b[2J\x07" + b"x" * 1000
    check, _ = of_content(config_of(tmp_path), [record(EPISODE, headers=(("content-type", header),))])
    assert check.words.replace("\n", "").isprintable()
    assert len(check.words) < 500
