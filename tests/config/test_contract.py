"""The example of the contract, and the defaults of a file that says nothing."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from streammeta.config import Config, load_config
from streammeta.config.algorithms import MamlSection, MomlSection

EXAMPLE = """
[kafka]
bootstrap_servers = "broker-1:9092,broker-2:9092"
topic = "customers"
group_id = "learner"
start = "latest"
on_lost_offsets = "earliest"
dead_letter_topic = "customers.dead"
max_event_bytes = 1000
max_batch_bytes = 2097152
on_corrupt = "skip"
connect_timeout_seconds = 2.5
refused_grace_seconds = 7.5
[kafka.client]
security_protocol = "SSL"
ssl_cafile = "ca.pem"
request_timeout_ms = 10000

[model]
factory = "mine.models:network"
args = { width = 40 }
loss = "mine.models:loss"
seed = 7
init = "w.safetensors"
device = "cuda:0"
dtype = "float64"
threads = 2

[algorithm]
name = "moml"
inner_lr = 0.02
inner_clip_norm = 3.0
beta = 0.5
order = "first"
hessian_set = "support"
outer_scale = "beta"

[outer]
name = "sgd"
lr = 1
momentum = 0.0
clip_norm = 10.0

[events]
kind = "episode"
support = 4
query = 6
stride = 7
expire_after_events = 1000
label_wait_events = 50
dedupe_window_events = 500
decoder = "shop:read"
tombstones = "dead_letter"
forgetting_sets = 3
batch = 4
batch_linger_seconds = 2
max_examples = 50
memory_norm_limit = 9.5

[state]
dir = "/var/lib/streammeta"
cache_tasks = 10
checkpoint_events = 20
checkpoint_seconds = 0.5
keep_checkpoints = 3

[engine]
compile = "require"
cache_dir = "/var/cache/streammeta"
[distributed]
round_events = 100
round_seconds = 0
weights = "uniform"
overlap = true
timeout_seconds = 5
[drift]
detector = "adwin"
action = "restart_memory"
min_visits = 30
delta = 0.5
threshold = 20
confidence = 0.01
check_visits = 3
[predict]
output_topic = "tasks.answers"
[http]
host = "0.0.0.0"
port = 0
token_file = "token"
metrics_token = true
metrics_tasks = 0
[log]
level = "debug"
format = "json"
"""

MEANING = {
    "kafka": {
        "bootstrap_servers": "broker-1:9092,broker-2:9092",
        "topic": "customers",
        "group_id": "learner",
        "start": "latest",
        "on_lost_offsets": "earliest",
        "dead_letter_topic": "customers.dead",
        "max_event_bytes": 1000,
        "max_batch_bytes": 2097152,
        "on_corrupt": "skip",
        "connect_timeout_seconds": 2.5,
        "refused_grace_seconds": 7.5,
        "client": {"security_protocol": "SSL", "ssl_cafile": "ca.pem", "request_timeout_ms": 10000},
    },
    "model": {
        "factory": "mine.models:network",
        "args": {"width": 40},
        "loss": "mine.models:loss",
        "seed": 7,
        "init": "w.safetensors",
        "device": "cuda:0",
        "dtype": "float64",
        "threads": 2,
    },
    "algorithm": {
        "name": "moml",
        "inner_lr": 0.02,
        "inner_clip_norm": 3.0,
        "beta": 0.5,
        "order": "first",
        "hessian_set": "support",
        "outer_scale": "beta",
    },
    "outer": {"name": "sgd", "lr": 1.0, "momentum": 0.0, "clip_norm": 10.0, "schedule": None},
    "events": {
        "kind": "episode",
        "support": 4,
        "query": 6,
        "stride": 7,
        "expire_after_events": 1000,
        "label_wait_events": 50,
        "dedupe_window_events": 500,
        "decoder": "shop:read",
        "tombstones": "dead_letter",
        "forgetting_sets": 3,
        "batch": 4,
        "batch_linger_seconds": 2.0,
        "max_examples": 50,
        "memory_norm_limit": 9.5,
    },
    "state": {
        "dir": Path("/var/lib/streammeta"),
        "cache_tasks": 10,
        "checkpoint_events": 20,
        "checkpoint_seconds": 0.5,
        "keep_checkpoints": 3,
    },
    "engine": {"compile": "require", "cache_dir": "/var/cache/streammeta"},
    "distributed": {
        "round_events": 100,
        "round_seconds": 0.0,
        "weights": "uniform",
        "overlap": True,
        "timeout_seconds": 5.0,
    },
    "drift": {
        "detector": "adwin",
        "action": "restart_memory",
        "min_visits": 30,
        "delta": 0.5,
        "threshold": 20.0,
        "confidence": 0.01,
        "check_visits": 3,
    },
    "http": {
        "host": "0.0.0.0",  # noqa: S104 - a value, nothing listens
        "port": 0,
        "token_file": "token",
        "metrics_token": True,
        "metrics_tasks": 0,
    },
    "predict": {"output_topic": "tasks.answers"},
    "log": {"level": "debug", "format": "json"},
}

DEFAULTS = {
    "kafka": {
        "bootstrap_servers": "localhost:9092",
        "topic": "tasks",
        "group_id": "streammeta",
        "start": "earliest",
        "on_lost_offsets": "fail",
        "dead_letter_topic": "tasks.dlq",
        "max_event_bytes": 8388608,
        "max_batch_bytes": 67108864,
        "on_corrupt": "fail",
        "connect_timeout_seconds": 30.0,
        "refused_grace_seconds": 60.0,
        "client": {},
    },
    "model": {
        "factory": "streammeta.models:mlp",
        "args": {"sizes": [1, 40, 40, 1]},
        "loss": "mse",
        "seed": 0,
        "init": "",
        "device": "cpu",
        "dtype": "float32",
        "threads": 1,
    },
    "algorithm": {
        "name": "moml",
        "inner_lr": 0.01,
        "inner_clip_norm": None,
        "beta": 0.3,
        "order": "second",
        "hessian_set": "support",
        "outer_scale": "none",
    },
    "outer": {"name": "sgd", "lr": 0.001, "momentum": 0.9, "clip_norm": None, "schedule": None},
    "events": {
        "kind": "episode",
        "support": 10,
        "query": 10,
        "stride": 10,
        "expire_after_events": 0,
        "label_wait_events": 10_000,
        "dedupe_window_events": 0,
        "decoder": "",
        "tombstones": "forget",
        "forgetting_sets": 0,
        "batch": 1,
        "batch_linger_seconds": 0.5,
        "max_examples": 10_000,
        "memory_norm_limit": 0.0,
    },
    "state": {
        "dir": Path("state"),
        "cache_tasks": 100000,
        "checkpoint_events": 1000,
        "checkpoint_seconds": 5.0,
        "keep_checkpoints": 0,
    },
    "engine": {"compile": "auto", "cache_dir": ""},
    "distributed": {
        "round_events": 1000,
        "round_seconds": 60.0,
        "weights": "events",
        "overlap": False,
        "timeout_seconds": 60.0,
    },
    "drift": {
        "detector": "off",
        "action": "none",
        "min_visits": 20,
        "delta": 0.5,
        "threshold": 8.5,
        "confidence": 0.12,
        "check_visits": 1,
    },
    "http": {
        "host": "127.0.0.1",
        "port": 9464,
        "token_file": "",
        "metrics_token": False,
        "metrics_tasks": 20,
    },
    "predict": {"output_topic": ""},
    "log": {"level": "info", "format": "console"},
}


def test_every_key_of_a_full_file_is_read(tmp_path: Path) -> None:
    """Each setting of the contract has the value that the file gives it, and there are no others."""
    file = tmp_path / "learner.toml"
    file.write_text(EXAMPLE)
    assert load_config(file, environ={}).model_dump() == MEANING


def test_defaults_are_those_of_the_contract(tmp_path: Path) -> None:
    """An empty file, and no file, mean the documented defaults."""
    file = tmp_path / "empty.toml"
    file.write_text("")
    assert load_config(file, environ={}).model_dump() == DEFAULTS
    assert load_config(None, environ={}) == Config()


def test_a_table_without_a_name_is_that_of_the_default_algorithm() -> None:
    """`[algorithm]` with rates alone is MOML; with another name it is the other algorithm."""
    assert load_config(None, ["algorithm.beta=0.9"], {}).algorithm == MomlSection(beta=0.9)
    assert load_config(None, ["algorithm.name=maml"], {}).algorithm == MamlSection()


def test_the_dead_letter_topic_follows_the_topic() -> None:
    """Only where it is not given itself."""
    assert load_config(None, ["kafka.topic=a"], {}).kafka.dead_letter_topic == "a.dlq"
    given = load_config(None, ["kafka.topic=a", "kafka.dead_letter_topic=b"], {})
    assert given.kafka.dead_letter_topic == "b"


def test_another_factory_does_not_get_the_arguments_of_the_default_one() -> None:
    """The default sizes belong to the default factory alone."""
    assert load_config(None, ["model.factory=streammeta.models:conv4"], {}).model.args == {}


def test_an_empty_table_is_not_the_default(tmp_path: Path) -> None:
    """`args = {}` calls the factory without arguments."""
    file = tmp_path / "learner.toml"
    file.write_text("[model]\nargs = {}\n")
    assert load_config(file, environ={}).model.args == {}


def test_a_configuration_is_frozen() -> None:
    """Nobody changes a setting behind another's back."""
    with pytest.raises(ValidationError, match="frozen"):
        Config().http.port = 1  # type: ignore[misc]  # the assignment is what is refused


def test_kafka_client_values_arrive_as_kafka_python_needs_them() -> None:
    """TOML has no tuples; the one setting that kafka-python compares with tuples becomes one."""
    client = load_config(None, ["kafka.client.api_version=[2, 6]"], {}).kafka.client
    assert client == {"api_version": (2, 6)}
