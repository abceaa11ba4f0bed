"""A challenger learns what its champion learned, in its order, whichever of them is killed, and when."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from streammeta.events import Flaw, Record
from streammeta.feed.frames import segment_path, segments
from streammeta.feed.writer import FeedWriter
from tests.feed.lives import Broker, Challenger, Champion, source_of
from tests.scripted import Fuse, make_script
from tests.world import World, same


def record(offset: int, partition: int = 0, **fields: object) -> Record:
    """A small one."""
    return Record("tasks", partition, offset, 5, b"task", b"value")._replace(**fields)  # type: ignore[arg-type]


def fed(feed: Path, broker: Broker | None = None, begun: dict[int, int] | None = None) -> list[Record]:
    """All that a source gives from these positions."""
    given: list[Record] = []
    with source_of(feed, broker or Broker([])) as source:
        source.start(begun or {})
        while not source.ends().keys() <= source.positions().keys():
            given += source.poll(0.1)
    return given


def live_both(champion: Champion, challenger: Challenger, draws: random.Random, lives: int) -> None:
    """Lives of both that end anywhere, in turns; then whole ones."""
    for _ in range(lives):
        for world in (champion, challenger):
            if world is champion or segments(champion.feed):
                fuse = Fuse(draws.randint(1, 120))
                world.live(
                    fuse=fuse, batch=lambda: draws.randint(1, 9), looks=lambda: draws.choice((0, 0, 2))
                )
    assert champion.live()
    assert challenger.live()


@pytest.mark.parametrize("seed", range(5))
def test_any_kills_of_either_give_both_the_same_bits_as_one_alone(seed: int, tmp_path: Path) -> None:
    """Exactly once and in the champion's order, over several partitions, segments and refused records."""
    draws = random.Random(seed)
    script = make_script(seed, partitions=3, tasks=7, events=60)
    alone = World(script, tmp_path)
    assert alone.live()
    champion = Champion(script, tmp_path)
    champion.segment_bytes = draws.choice((600, 3000, 1 << 24))
    challenger = Challenger([], tmp_path, feed=champion.feed, broker=Broker(script))
    live_both(champion, challenger, draws, lives=5)
    assert same(champion, alone)
    assert same(challenger, alone)
    assert challenger.broker.asked == []


@pytest.mark.parametrize("seed", range(3))
def test_what_the_feed_lacks_comes_from_the_broker_once(seed: int, tmp_path: Path) -> None:
    """Further behind than the feed is long: each event once all the same; in one partition the same bits."""
    draws = random.Random(seed)
    script = make_script(seed, partitions=1, tasks=5, events=60)
    alone = World(script, tmp_path)
    assert alone.live()
    champion = Champion(script, tmp_path)
    champion.segment_bytes, champion.bound_bytes = 700, 2000
    challenger = Challenger([], tmp_path, feed=champion.feed, broker=Broker(script))
    champion.live(fuse=Fuse(25))
    assert challenger.live()
    assert champion.live()
    live_both(champion, challenger, draws, lives=3)
    assert challenger.broker.asked
    assert same(challenger, alone)


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    """Nulls, header keys that are no UTF-8, flaws."""
    flaw = Flaw("undecodable", "why", 8, stage="read", damaged=True)
    records = [
        record(3, key=None, value=None, headers=(("caf\udce9", b"\xff"), ("n", None))),
        record(7, flaw=flaw, timestamp_ms=-1),
    ]
    writer = FeedWriter(tmp_path / "feed", {})
    writer.sync({0: 3}, "id")
    writer.keep(records)
    writer.close()
    assert fed(tmp_path / "feed") == records


def test_a_torn_tail_is_written_again(tmp_path: Path) -> None:
    """A crash within a frame: a reader waits before it, the next life of the writer begins there."""
    feed = tmp_path / "feed"
    for torn in (True, False):
        writer = FeedWriter(feed, {})
        writer.sync({0: 0}, "id")
        writer.keep([record(offset) for offset in range(4)])
        writer.close()
        if torn:
            path = segment_path(feed, 0)
            path.write_bytes(path.read_bytes()[:-5])
            assert fed(feed) == []
    assert [one.offset for one in fed(feed)] == [0, 1, 2, 3]
    assert segments(feed) == [0]


@pytest.mark.parametrize(("topic_id", "held"), [("id", range(7)), ("another", (0, 1, 6))])
def test_a_feed_that_lost_more_than_the_state_begins_behind_a_gap(
    topic_id: str, held: Sequence[int], tmp_path: Path
) -> None:
    """After a power cut: what the state contains and the feed lacks, a reader asks the broker for.

    Another topic of the same name has records at these offsets too: none of them is taken.
    """
    feed, broker = tmp_path / "feed", Broker([record(offset) for offset in range(10)], topic_id)
    writer = FeedWriter(feed, {})
    writer.sync({0: 0}, "id")
    writer.keep([record(0), record(1)])
    writer.close()
    writer = FeedWriter(feed, {0: 6})
    writer.sync({0: 6}, "id")
    writer.keep([record(6)])
    writer.close()
    assert [one.offset for one in fed(feed, broker)] == [*held]
    assert [(run.first, run.end) for run in broker.asked] == [(2, 6)]


def test_a_disk_that_refuses_harms_only_the_feed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The champion goes on; readers get from the broker what could not be written."""
    feed, broker = tmp_path / "feed", Broker([record(offset) for offset in range(10)])
    writer = FeedWriter(feed, {})
    writer.sync({0: 0}, "id")
    with monkeypatch.context() as full:
        full.setattr("streammeta.feed.writer.os.write", lambda *_: 3)
        writer.keep([record(0), record(1)])
        writer.flush()
        writer.keep([record(2)])
    writer.sync({0: 3}, "id")
    writer.keep([record(3)])
    writer.close()
    assert [one.offset for one in fed(feed, broker)] == [0, 1, 2, 3]
    assert [(run.first, run.end) for run in broker.asked] == [(0, 3)]


def test_a_topic_made_anew_is_followed(tmp_path: Path) -> None:
    """A reader goes where the champion went, and is told the topic's id; who begins later begins there."""
    feed = tmp_path / "feed"
    writer = FeedWriter(feed, {})
    writer.sync({0: 0}, "one")
    writer.keep([record(offset) for offset in range(5)])
    writer.flush()
    with source_of(feed, Broker([])) as source:
        source.start({}, "")
        assert len(source.poll(0.1)) == 5
        writer.sync({0: 0}, "two")
        writer.keep([record(0, value=b"other")])
        writer.close()
        assert source.poll(0.1) == []
        assert (source.moved(), source.identity()) == ({0: 0}, "two")
        assert [one.value for one in source.poll(0.1)] == [b"other"]
    with source_of(feed, Broker([])) as late:
        assert late.start({0: 4}, "one") == {0: 0}
        assert late.identity() == "two"


def test_markers_and_gaps_move_positions(tmp_path: Path) -> None:
    """What the champion passed without a record, a reader passes too."""
    feed = tmp_path / "feed"
    writer = FeedWriter(feed, {})
    writer.sync({0: 0, 1: 2}, "id")
    writer.keep([record(0)])
    writer.sync({0: 4, 1: 2}, "id")
    writer.close()
    with source_of(feed, Broker([])) as source:
        assert source.start({}) == {0: 0, 1: 2}
        assert len(source.poll(0.1)) == 1
        source.poll(0.1)
        assert source.passed() == {0: 4, 1: 2}


def test_segments_go_when_all_have_committed_beyond_them(tmp_path: Path) -> None:
    """Not before; the last one stays."""
    feed = tmp_path / "feed"
    writer = FeedWriter(feed, {}, segment_bytes=1)
    writer.sync({0: 0}, "id")
    for offset in range(3):
        writer.keep([record(offset)])
        writer.flush()
    with source_of(feed, Broker([])) as source:
        source.start({})
        for _ in range(8):
            source.poll(0.1)
        assert source.segment == 0
        source.committed({0: 2})
        assert source.segment == 2
        writer.trim(source.segment)
        assert segments(feed) == [2, 3]
        writer.trim(99)
        assert segments(feed) == [3]
    writer.close()
