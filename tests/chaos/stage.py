"""Broker, proxy, daemon: where the deeds of a plan are done."""

import json
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from kafka import KafkaProducer

from tests.brokers.broker import KAFKA, ApacheKafka, eventually, fresh
from tests.chaos import stream
from tests.chaos.plan import LEAD_RECORDS, Block, Deed, Size, blocks
from tests.chaos.proxy import Proxy
from tests.end_to_end.program import Daemon, free_port

GOES_ON_SECONDS: Final = 180.0
"""Within this long of any fault the daemon learns again, by itself; the broker's own recovery counts."""
TOLD_SECONDS: Final = 12.0
"""Within this long a broker that answers nothing is told of."""
FAULTS: Final = ("broker killed", "broker frozen", "rotation")
USER: Final = "alice"
LEARNER: Final = {
    "model.dtype": "float64",
    "outer.lr": 0.002,
    "outer.momentum": 0.8,
    "outer.clip_norm": 10.0,
}
LISTENERS: Final = ("PLAINTEXT", "SASL_PLAINTEXT", "SASL_SSL", "SSL")


class Place(NamedTuple):
    """Of a record in the topic."""

    partition: int
    offset: int


class Stage:
    """One run under way.

    Attributes:
        sent: What a reader of committed records shall find, and where.
        seconds: What was done, and how long until the daemon had learned what was there.
        freezes_with_letters: How many freezes of the broker found letters on their way.
    """

    def __init__(
        self, kafka: ApacheKafka, proxy: Proxy, folder: Path, size: Size, seed: int, cache: Path | None
    ) -> None:
        """`cache`: of compiled steps; None where all are traced."""
        self.kafka, self.proxy, self._size, self._seed, self._cache = kafka, proxy, size, seed, cache
        self.topic, self.group = kafka.broker.create(fresh("chaos"), stream.PARTITIONS), fresh("group")
        self.dead_letter_topic = f"{self.topic}.dlq"
        self._draws = random.Random(f"stage {seed}")
        self.sent: dict[Place, stream.Sent] = {}
        self.seconds: dict[str, list[float]] = {}
        self.freezes_with_letters = 0
        self._blocks = blocks(size, seed)
        self._written = 0
        self._good = [0]
        self._transactional = self._connected(transactional_id=fresh("id"))
        self._transactional.init_transactions()
        self._grant()
        self.recording = folder / "recording"
        self.daemon = Daemon(folder / "state", self._settings(), flags=("--record", str(self.recording)))
        self._rotate(kafka.facts["users"][USER] + fresh("-"))

    def close(self) -> None:
        """Let go of what it holds; the daemon is killed if it still runs."""
        self.daemon.__exit__(None, None, None)
        self._transactional.close(timeout=1)

    def do(self, deed: Deed) -> None:
        """See that the daemon has work, wait for the moment, do it, and see that the daemon goes on."""
        self._write_up_to(deed.at + LEAD_RECORDS)
        if self.daemon.ended():
            self.daemon.start()
        if deed.what != "kill at the start":
            self._wait_for(deed.at)
        if deed.what in FAULTS:
            self._wait_until_ready()
        began = time.monotonic()
        DEEDS[deed.what](self, deed)
        if self.daemon.ended():
            self.daemon.start()
        if deed.what in FAULTS:
            self._wait_for(self._written)
            self._wait_until_ready()
        self.seconds.setdefault(deed.what, []).append(time.monotonic() - began - deed.seconds)

    def finish(self) -> None:
        """Write what is left, and let the daemon come to the end of the topic by itself."""
        self._write_up_to(self._size.records)
        if not self.daemon.ended():
            self._wait_until_ready()  # a signal in the first moments of a process is the system's to answer
            self.daemon.send(signal.SIGTERM)
            assert self.daemon.wait(60) == 0, self._log()
        self.daemon.run_to_end()

    def _settings(self) -> dict[str, object]:
        return {
            "kafka.bootstrap_servers": f"127.0.0.1:{self.proxy.port}",
            "kafka.topic": self.topic,
            "kafka.group_id": self.group,
            "kafka.client.security_protocol": "SASL_PLAINTEXT",
            "kafka.client.sasl_mechanism": "SCRAM-SHA-256",
            "kafka.client.sasl_plain_username": USER,
            **LEARNER,
            "state.checkpoint_events": 150,
            "state.cache_tasks": stream.TASKS // 2,
            "engine.compile": "auto" if self._cache else "off",
            **({"engine.cache_dir": self._cache} if self._cache else {}),
            "log.format": "json",
        }

    def _connected(self, **settings: Any) -> KafkaProducer:
        servers = self.kafka.facts["PLAINTEXT"]
        return KafkaProducer(bootstrap_servers=servers, reconnect_backoff_max_ms=100, **settings)

    def _grant(self) -> None:
        self.kafka.grant("TOPIC", self.topic, "READ", "DESCRIBE")
        self.kafka.grant("GROUP", self.group, "READ", "DESCRIBE")
        self.kafka.grant("TOPIC", self.dead_letter_topic, "CREATE", "WRITE", "DESCRIBE", "DESCRIBE_CONFIGS")

    def _rotate(self, password: str) -> None:
        scram = f"SCRAM-SHA-256=[iterations=4096,password={password}]"
        user = ["--entity-type", "users", "--entity-name", USER]
        where = ["--bootstrap-server", self.kafka.facts["PLAINTEXT"]]
        command = [KAFKA, "configs", *where, "--alter", *user, "--add-config", scram]
        subprocess.run(command, check=True, capture_output=True)
        self.daemon.settings = {**self.daemon.settings, "kafka.client.sasl_plain_password": password}

    def _write_up_to(self, record: int) -> None:
        """Write whole blocks, acknowledged, until this record is among them."""
        while self._blocks and self._written < record:
            self._write(self._blocks.pop(0))

    def _write(self, block: Block) -> None:
        records = [stream.record(self._size, self._seed, number) for number in range(block.first, block.end)]
        producer = self._transactional
        if block.how == "plain":
            places = _send(self.kafka.broker.producer, self.topic, records)
        else:
            if block.how == "aborted":
                producer.begin_transaction()
                numbers = range(block.first, block.end)
                others = [stream.record(self._size, self._seed, number, again=True) for number in numbers]
                _send(producer, self.topic, others)
                producer.abort_transaction()
            producer.begin_transaction()
            places = _send(producer, self.topic, records)
            producer.commit_transaction()
        self.sent.update(zip(places, records, strict=True))
        self._written = block.end
        for one in records:
            self._good.append(self._good[-1] + (not one.poison))

    def _wait_for(self, record: int) -> None:
        """Until the daemon has learned about as many good records as come before this one."""
        good = self._good[min(record, self._written)]
        eventually(lambda: self._alive() and self.daemon.events() >= good, GOES_ON_SECONDS)

    def _wait_until_ready(self) -> None:
        eventually(lambda: self._alive() and self.daemon.get("/readyz")[0] == 200, GOES_ON_SECONDS)

    def _alive(self) -> bool:
        assert not self.daemon.ended(), self._log()
        return True

    def _log(self) -> str:
        return self.daemon.log.read_text()[-3000:]

    def _kill(self, deed: Deed) -> None:
        time.sleep(deed.seconds)
        self.daemon.send(signal.SIGKILL)
        code = self.daemon.wait()
        assert code == -signal.SIGKILL, f"exit {code}: {self._log()}"

    def _kill_in_checkpoint(self, deed: Deed) -> None:
        self.daemon.send(signal.SIGUSR1)
        self._kill(deed)

    def _kill_broker(self, deed: Deed) -> None:
        self.kafka.kill()
        time.sleep(deed.seconds)
        with suppress(
            json.JSONDecodeError
        ):  # its launcher waits for a minute, a busy machine may take longer
            self.kafka.start()

    def _freeze_broker(self, deed: Deed) -> None:
        """In the middle of a long poll, so that letters wait; told in time, borne, and gone on from."""
        began, letters = time.monotonic(), self.daemon.get("/api/v1/status")[1]
        self.kafka.hang()
        try:
            while time.monotonic() < began + deed.seconds:
                self._alive()
                if time.monotonic() > began + TOLD_SECONDS:
                    status, said = self.daemon.get("/readyz")  # 0: this machine was too slow to answer
                    assert status in (0, 503), f"a frozen broker, and /readyz says {status}: {said}"
                time.sleep(0.5)
            refused = _refused(self.daemon.get("/api/v1/status")[1]) - _refused(letters)
            self.freezes_with_letters += refused > 0
        finally:
            self.kafka.wake()

    def _cut(self, deed: Deed) -> None:
        self.proxy.cut(deed.bytes)

    def _rotation(self, deed: Deed) -> None:  # noqa: ARG002 (all deeds are called alike)
        """The broker's first; the daemon says so, and is started again with the new one."""
        old = self.daemon.settings["kafka.client.sasl_plain_password"]
        self._rotate(f"{old}x")
        self.proxy.cut()
        eventually(lambda: self._alive() and self.daemon.get("/readyz")[0] == 503, 2 * TOLD_SECONDS)
        self.daemon.send(signal.SIGTERM)
        assert self.daemon.wait(60) == 0, self._log()


DEEDS: Final[dict[str, Callable[[Stage, Deed], None]]] = {
    "kill": Stage._kill,
    "kill in a checkpoint": Stage._kill_in_checkpoint,
    "kill at the start": Stage._kill,
    "kill at a switch": Stage._kill,
    "broker killed": Stage._kill_broker,
    "broker frozen": Stage._freeze_broker,
    "cut": Stage._cut,
    "rotation": Stage._rotation,
}


def _send(producer: KafkaProducer, topic: str, records: list[stream.Sent]) -> list[Place]:
    futures = [producer.send(topic, one.value, one.key, one.headers, one.partition) for one in records]
    producer.flush()
    return [Place(done.partition, done.offset) for done in (future.get(30) for future in futures)]


def _refused(status: str) -> int:
    return sum(json.loads(status)["dead_letters"].values()) if status else 0


@contextmanager
def staged(folder: Path, size: Size, seed: int, cache: Path | None) -> Iterator[Stage]:
    """A broker of its own, whose login port is reached through the proxy alone."""
    data = folder / "kafka"
    data.mkdir(parents=True)
    ports = {name: free_port() for name in (*LISTENERS, "CONTROLLER")}
    (data / "ports.json").write_text(json.dumps(ports))
    with ExitStack() as stack:
        proxy = stack.enter_context(Proxy(ports["SASL_PLAINTEXT"]))
        shown = ports | {"SASL_PLAINTEXT": proxy.port}
        listeners = ",".join(f"{name}://127.0.0.1:{shown[name]}" for name in LISTENERS)
        kafka = stack.enter_context(closing(ApacheKafka(data, f"advertised.listeners={listeners}")))
        yield stack.enter_context(closing(Stage(kafka, proxy, folder, size, seed, cache)))
