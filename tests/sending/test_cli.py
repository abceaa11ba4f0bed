"""`streammeta produce`, from its options to the records."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from kafka import KafkaConsumer

from streammeta.cli import main
from streammeta.codec import decode, decode_examples
from streammeta.config.kafka import KafkaSection
from streammeta.events import Question, TaskEvent
from tests.sending.test_publish import consumed


def run(*arguments: str) -> Result:
    """The command in this process."""
    return CliRunner().invoke(main, ["produce", *arguments])


@pytest.fixture
def drawings(tmp_path: Path) -> str:
    """A small .npz: one alphabet of six characters."""
    path = tmp_path / "small.npz"
    images = np.random.default_rng(0).integers(0, 256, (6, 20, 98), dtype=np.uint8)
    np.savez(path, images=images, split=np.array(["background"] * 6), alphabet=np.array(["Latin"] * 6))
    return str(path)


def test_counts_on_stdout_as_json(broker: str) -> None:
    """Only the counts go to stdout; a topic that is missing is created with the partitions asked for."""
    options = ["--bootstrap-servers", broker, "--topic", "cli.json", "--events", "20", "--partitions", "3"]
    done = run("sinusoid", "--tasks", "4", "--shots", "2", "--query", "3", *options, "--summary", "json")
    assert done.exit_code == 0, done.output
    counts = json.loads(done.stdout)
    assert (counts["topic"], counts["events"], counts["interrupted"]) == ("cli.json", 20, False)
    settings = KafkaSection(bootstrap_servers=broker, topic="cli.json")
    events = [decode(record, max_bytes=1 << 20) for record in consumed(settings)]
    assert len(events) == 20
    assert {event.episode.support.x.shape for event in events} == {(2, 1)}
    assert {event.episode.query.y.shape for event in events} == {(3, 1)}
    assert {event.task for event in events} <= {f"sinusoid/{number}" for number in range(4)}
    consumer = KafkaConsumer(bootstrap_servers=broker)
    assert consumer.partitions_for_topic("cli.json") == {0, 1, 2}
    consumer.close()


def test_a_share_of_the_records_asks(broker: str) -> None:
    """Without labels of the query set, all else as before; which ones follows from the seed."""
    where = ("--bootstrap-servers", broker, "--topic", "cli.asks", "--events", "40", "--summary", "json")
    assert run("sinusoid", *where, "--query", "3", "--ask", "0.4").exit_code == 0
    read = [
        decode(record, max_bytes=1 << 20, asks=True)
        for record in consumed(KafkaSection(bootstrap_servers=broker, topic="cli.asks"))
    ]
    asks = [event for event in read if isinstance(event, Question)]
    assert 8 <= len(asks) <= 24
    assert {event.x.shape for event in asks} == {(3, 1)}
    assert all(event.support is not None and event.support.y.shape == (10, 1) for event in asks)
    assert sum(isinstance(event, TaskEvent) for event in read) == 40 - len(asks)


def test_the_same_seed_is_the_same_stream(broker: str) -> None:
    """Two runs with one seed write the same bytes; another seed, noise or drift writes others."""

    def values(topic: str, *options: str) -> list[bytes | None]:
        where = ("--bootstrap-servers", broker, "--topic", topic, "--events", "5", "--summary", "json")
        assert run("sinusoid", *where, *options).exit_code == 0
        return [record.value for record in consumed(KafkaSection(bootstrap_servers=broker, topic=topic))]

    first = values("seed.a", "--seed", "3")
    assert values("seed.b", "--seed", "3") == first
    others = [
        values("seed.c"),
        values("seed.d", "--seed", "3", "--noise", "1"),
        values("seed.e", "--drift", "1"),
    ]
    assert all(other != first and len(other) == 5 for other in others)


def test_omniglot_and_a_configuration_file(broker: str, drawings: str, tmp_path: Path) -> None:
    """[kafka] of a file says where to; N-way K-shot events arrive; the text tells what was done."""
    config = tmp_path / "run.toml"
    config.write_text(f'[kafka]\nbootstrap_servers = "{broker}"\ntopic = "cli.omniglot"\n')
    sets = ["--ways", "3", "--shots", "2", "--query", "1"]
    done = run("omniglot", "--data", drawings, *sets, "--config", str(config), "--events", "10")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("10 events (")
    assert "to cli.omniglot in" in done.stdout
    records = consumed(KafkaSection(bootstrap_servers=broker, topic="cli.omniglot"))
    episodes = [decode(record, max_bytes=1 << 20).episode for record in records]
    assert {episode.support.x.shape for episode in episodes} == {(6, 1, 28, 28)}
    assert all(episode.query.y.tolist() == [0, 1, 2] for episode in episodes)
    assert {record.key for record in records} == {b"Latin/0", b"Latin/1"}


def test_a_flag_goes_over_the_file(broker: str, tmp_path: Path) -> None:
    """--topic and --bootstrap-servers win over the configuration file."""
    config = tmp_path / "run.toml"
    config.write_text('[kafka]\nbootstrap_servers = "127.0.0.1:1"\ntopic = "elsewhere"\n')
    flags = ("--bootstrap-servers", broker, "--topic", "cli.flag", "--events", "1")
    assert "to cli.flag" in run("sinusoid", "--config", str(config), *flags).stdout


@pytest.mark.parametrize(
    "wrong",
    [
        ("--tasks", "0"),
        ("--shots", "0"),
        ("--query", "-1"),
        ("--events", "0"),
        ("--rate", "0"),
        ("--rate", "nan"),
        ("--noise", "-0.1"),
        ("--noise", "inf"),
        ("--drift", "nan"),
        ("--partitions", "0"),
        ("--format", "xml"),
        ("--seed", "-1"),
    ],
)
def test_wrong_options_are_usage_errors(wrong: tuple[str, str]) -> None:
    """Out of range, not a number, unknown: exit 2, the option is named, nothing is connected."""
    done = run("sinusoid", *wrong)
    assert done.exit_code == 2
    assert wrong[0] in done.output


def test_a_wrong_topic_is_a_configuration_error() -> None:
    """The topic's name is checked as that of the configuration is."""
    refused = run("sinusoid", "--topic", "no spaces")
    assert refused.exit_code == 78
    assert 'kafka.topic = "no spaces"' in refused.stderr


def test_interrupt_ends_it_with_what_was_sent(broker: str) -> None:
    """SIGINT in the middle of an endless stream: exit 0, and as many records as are counted."""
    program = "from streammeta.cli.produce import produce; produce()"
    options = ["--bootstrap-servers", broker, "--topic", "cli.endless", "--rate", "200", "--summary", "json"]
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program, "sinusoid", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    settings = KafkaSection(bootstrap_servers=broker, topic="cli.endless")
    consumer = KafkaConsumer("cli.endless", bootstrap_servers=broker, auto_offset_reset="earliest")
    while not consumer.poll(timeout_ms=100):
        assert process.poll() is None
    consumer.close()
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert stderr == b""
    counts = json.loads(stdout)
    assert counts["interrupted"] is True
    assert counts["events"] == len(consumed(settings)) > 0


class TestTable:
    """`streammeta produce table`."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> str:
        """Two tasks, three rows each, with dates an hour apart."""
        path = tmp_path / "table.csv"
        rows = [
            f"{task},2020-01-01T0{hour}:00:00Z,{hour + 1},{hour * 2}" for task in "ab" for hour in range(3)
        ]
        path.write_text("\n".join(["who,at,x,y", *rows]))
        return str(path)

    def test_rows_become_examples_in_time_order(self, path: str, broker: str) -> None:
        """One record a row, its event time in the header, level and scale beside."""
        where = (
            "--bootstrap-servers",
            broker,
            "--topic",
            "cli.table",
            "--format",
            "json",
            "--partitions",
            "1",
        )
        columns = ("--task", "who", "--features", "x", "--target", "y", "--time", "at", "--scaling", "none")
        assert run("table", path, *columns, *where).exit_code == 0
        records = consumed(KafkaSection(bootstrap_servers=broker, topic="cli.table"))
        assert [record.key for record in records] == [b"a", b"b"] * 3
        examples = [decode_examples(record, max_bytes=1000) for record in records]
        assert [e.time_ms for e in examples][::2] == [1577836800000 + hour * 3_600_000 for hour in range(3)]
        assert json.loads(records[-1].value or b"") == {
            "x": [[3.0]],
            "y": [[4.0]],
            "level": 0.0,
            "scale": 1.0,
        }

    def test_what_was_left_out_is_told(self, tmp_path: Path, broker: str) -> None:
        """Counts on standard error; on standard output those of what was sent."""
        path = tmp_path / "table.csv"
        hours = [hour for hour in range(40) if not 20 <= hour < 30]
        path.write_text(
            "\n".join(["who,at,y", *(f"a,{hour},{hour if hour != 5 else 'NA'}" for hour in hours)])
        )
        columns = ("--task", "who", "--target", "y", "--window", "1", "--time", "at", "--missing", "skip")
        done = run(
            "table",
            str(path),
            *columns,
            "--bootstrap-servers",
            broker,
            "--topic",
            "cli.told",
            "--summary",
            "json",
        )
        assert done.exit_code == 0, done.output
        assert "skipped: 1 rows without a value in column 'y'" in done.stderr
        assert "time jumps: 2 in 1 tasks" in done.stderr
        assert "warm-up: 4 first rows of 1 tasks" in done.stderr
        told = json.loads(done.stdout)
        assert (told["rows_skipped"], told["time_jumps"], told["rows_of_warm_up"]) == ({"y": 1}, 2, 4)

    @pytest.mark.parametrize("wire", ["json", "msgpack"])
    def test_rows_without_a_target_ask(self, wire: str, tmp_path: Path, broker: str) -> None:
        """As the learner reads them: no labels, level and scale beside; what was not asked is told."""
        path = tmp_path / "table.csv"
        path.write_text("who,x,y\na,1,2\na,2,4\na,3,\nb,1,\na,4,8\n")
        topic = f"cli.ask.{wire}"
        columns = ("--task", "who", "--features", "x", "--target", "y", "--ask", "--warm-up", "1")
        where = ("--bootstrap-servers", broker, "--topic", topic, "--format", wire, "--summary", "json")
        done = run("table", str(path), *columns, *where)
        assert done.exit_code == 0, done.output
        told = json.loads(done.stdout)
        assert (told["events"], told["asked"], told["not_asked"]) == (3, 1, 1)
        assert "not asked: 1 requests of 1 tasks that had shown too little before" in done.stderr
        records = consumed(KafkaSection(bootstrap_servers=broker, topic=topic))
        read = [decode_examples(record, max_bytes=1000, asks=True) for record in records]
        assert [isinstance(each, Question) for each in read] == [False, True, False]
        assert isinstance(read[1], Question)
        assert read[1].x.tolist() == [[3.0]]
        if wire == "json":
            assert json.loads(records[1].value or b"") == {"x": [[3.0]], "level": 3.0, "scale": 1.0}

    def test_a_table_without_targets_asks(self, path: str, broker: str) -> None:
        """Every row; a series behind its last value."""
        where = ("--bootstrap-servers", broker, "--format", "json", "--topic")
        rows = ("--task", "who", "--features", "x", "--ask", "--scaling", "none")
        assert run("table", path, *rows, *where, "cli.asks.all").exit_code == 0
        records = consumed(KafkaSection(bootstrap_servers=broker, topic="cli.asks.all"))
        assert [json.loads(record.value or b"")["x"] for record in records] == [[[1]], [[2]], [[3]]] * 2
        ends = ("--task", "who", "--target", "y", "--window", "2", "--scaling", "none", "--ask")
        assert run("table", path, *ends, *where, "cli.asks.ends").exit_code == 0
        records = consumed(KafkaSection(bootstrap_servers=broker, topic="cli.asks.ends"))
        bodies = [(record.key, json.loads(record.value or b"")) for record in records]
        assert [(key, body["x"]) for key, body in bodies if "y" not in body] == [
            (b"a", [[2.0, 4.0]]),
            (b"b", [[2.0, 4.0]]),
        ]

    def test_speed_follows_the_time_column(self, path: str, broker: str) -> None:
        """Two hours at three hours a second take two thirds of a second."""
        where = ("--bootstrap-servers", broker, "--topic", "cli.speed", "--summary", "json")
        columns = ("--task", "who", "--target", "y", "--window", "1", "--time", "at", "--warm-up", "0")
        told = json.loads(run("table", path, *columns, "--speed", "10800", *where).stdout)
        assert told["events"] == 4
        assert 0.3 < told["seconds"] < 30

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ("--task who --target y", "give --features A,B for rows, or --window W for series"),
            ("--task who --target y --features x --window 2", "one of them"),
            ("--target y --features x", "--task and --target name the columns"),
            ("--task who --target y --features x --horizon 2", "--horizon and --wide are for series"),
            ("--task who --target y --features x --scaling window", "--scaling window is for series"),
            ("--task who --features x --ask", "give --scaling none, or --target and the rows that have it"),
            ("--task who --window 2 --ask", "--task and --target name the columns"),
            ("--task who --features x", "one without a target --ask"),
            ("--task who --target y --window 2 --classes", "--classes is for rows"),
            ("--wide --window 2 --target y", "every column but --task is a value"),
            ("--wide --window 2 --time at", "the time is the place in the series"),
            ("--task who --target y --window 2 --gap 5", "--gap is for series with --time"),
            ("--task who --target y --window 2 --gap -1 --time at", "no step of time above 0"),
            ("--task who --target y --window 2 --timezone Berlin/Spree", "no time zone"),
            ("--task who --target y --window 2 --timezone ../x", "no time zone"),
            ("--task who --target y --window 2 --time-unit ms", "give --time too"),
            ("--task who --target y --window 2 --encoding klingon", "no encoding"),
            ("--task who --target y --window 2 --delimiter ;;", "not one character"),
            ("--task who --target y --window 2 --speed 1", "--speed needs --time"),
            ("--task who --target y --window 2 --time at --speed 1 --rate 1", "takes the place of --rate"),
        ],
    )
    def test_options_that_do_not_go_together(self, options: str, message: str, path: str) -> None:
        """Usage errors, before any broker is asked."""
        done = run("table", path, *options.split())
        assert done.exit_code == 2
        assert message in " ".join(done.stderr.split())
