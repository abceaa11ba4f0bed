"""Whatever stands in a file, the environment or a flag, it is a configuration or a `ConfigError`."""

import random
from pathlib import Path

from streammeta.config import load_config
from streammeta.errors import ConfigError
from tests.fuzz.inputs import bounded, count, mutated, quick

SPICE = [
    b"[",
    b"]",
    b"{",
    b"}",
    b'"',
    b"=",
    b"\n",
    b"#",
    b".",
    b"\0",
    b"\xff",
    b"nan",
    b"inf",
    b"-1",
    b"1e999",
]
SPICE += [
    b"9" * 30,
    b"[" * 2_000,
    b"9" * 5_000,
    b"a" + b".a" * 2_000 + b" = 1\n",
    b"topic = " + b"[" * 300 + b"]" * 300 + b"\n",
    b"[kafka]",
    b"[algorithm]\nname = 'maml'",
    b"a.b.c = 1",
    b"'''",
    b"2026-01-01",
]
SPICE += [
    b"true",
    b'"\\u0000"',
    b"'../../x'",
    b"[outer]\nname='adam'",
    b"kafka.topic = 1",
    b"= =",
    "é\u202e".encode(),
]


SOUND = b"""
[kafka]
bootstrap_servers = "a:9092,b:9092"
topic = "customers"
start = "latest"
client = { security_protocol = "SSL", ssl_cafile = "ca.pem", request_timeout_ms = 10000 }
[model]
args = { sizes = [1, 40, 1] }
loss = "huber"
dtype = "float64"
[algorithm]
name = "moml"
inner_lr = 0.02
order = "first"
[outer]
name = "adam"
lr = 0.001
beta1 = 0.9
[events]
kind = "examples"
support = 4
[state]
checkpoint_seconds = 2.5
[http]
port = 0
[log]
level = "debug"
"""


def test_nothing_but_config_error_is_raised(tmp_path: Path) -> None:
    """Mutants of a file, of overrides and of the environment; some are accepted."""
    chance = random.Random(7)
    file = tmp_path / "learner.toml"
    accepted = 0
    with bounded():
        for _ in range(count(300)):
            content = mutated(SOUND, chance, SPICE)
            file.write_bytes(content)
            override = mutated(b"model.seed=3", chance, SPICE).decode("utf-8", "replace")
            name = "STREAMMETA_" + mutated(b"LOG__LEVEL", chance, SPICE).decode("utf-8", "replace")
            environ = {name: "info"} if chance.random() < 0.2 else {}
            try:
                with quick(content):
                    load_config(file, [override] if chance.random() < 0.2 else [], environ=environ)
                accepted += 1
            except ConfigError:
                continue
    assert accepted > 0
