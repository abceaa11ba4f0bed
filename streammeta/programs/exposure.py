"""What the settings leave open to whoever listens on the network, or stands in it; told, not refused."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import structlog

from streammeta.config import Config
from streammeta.web.guard import is_loopback


class Exposure(NamedTuple):
    """A setting, with its value; what may come of it; what to do."""

    setting: str
    risk: str
    remedy: str


def exposures(config: Config) -> list[Exposure]:
    """All that is left open. Brokers on the loopback count too: they may name others to read from."""
    return [*_of_client(config.kafka.client), *_of_port(config)]


def warn_of_exposures(config: Config) -> None:
    """A line in the log for each."""
    for exposure in exposures(config):
        structlog.get_logger().warning("open to the network", **exposure._asdict())


def _of_client(client: Mapping[str, Any]) -> Iterator[Exposure]:
    protocol = client.get("security_protocol", "PLAINTEXT")
    chosen = f"kafka.client.security_protocol = {protocol!r}"
    with_tls = "set it to SASL_SSL" if client.get("sasl_mechanism") else "set it to SSL"
    if protocol == "SASL_PLAINTEXT":
        mechanism = client.get("sasl_mechanism")
        risk = "the password crosses the network in clear, and so do the records"
        if mechanism != "PLAIN":
            risk = f"{mechanism} hides the password, but the records cross the network in clear"
        yield Exposure(chosen, risk, with_tls)
    if not protocol.startswith("SASL_") and client.get("sasl_mechanism"):
        risk = "sasl_mechanism is set and has no effect: nobody logs in"
        yield Exposure(chosen, risk, "set it to SASL_SSL, or remove sasl_*")
    if protocol.endswith("PLAINTEXT"):
        unused = sorted(key for key, value in client.items() if key.startswith("ssl_") and value)
        if unused:
            risk = f"{', '.join(unused)} set and without effect: TLS is off, all crosses the network in clear"
            yield Exposure(chosen, risk, with_tls)
    elif not client.get("ssl_check_hostname", True):
        risk = "whoever has a certificate of the same authority may pose as a broker"
        yield Exposure("kafka.client.ssl_check_hostname = False", risk, "remove it")


def _of_port(config: Config) -> Iterator[Exposure]:
    http = config.http
    if http.token_file and not is_loopback(http.host):
        yield Exposure(
            f"http.host = {http.host!r}",
            "the bearer token crosses the network in clear",
            "let a proxy with TLS stand before it, and listen on 127.0.0.1",
        )
