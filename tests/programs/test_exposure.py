"""What is left open to the network is told: at the start, by `config check`, by `doctor`."""

import json
from typing import Any

import pytest

from streammeta.config import Config, load_config
from streammeta.observe.logs import configure_logging
from streammeta.programs.doctor.local import of_machine
from streammeta.programs.exposure import exposures, warn_of_exposures
from streammeta.programs.tried import tried

LOGIN = 'sasl_mechanism = "{}", sasl_plain_username = "u", sasl_plain_password = "correct-horse"'
PLAIN, SCRAM = LOGIN.format("PLAIN"), LOGIN.format("SCRAM-SHA-512")
CLEAR = f'kafka.client={{ security_protocol = "SASL_PLAINTEXT", {PLAIN} }}'


def config_of(*settings: str) -> Config:
    """The defaults with these."""
    return load_config(None, settings, {})


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        (CLEAR, "the password crosses the network in clear"),
        (
            f'kafka.client={{ security_protocol = "SASL_PLAINTEXT", {SCRAM} }}',
            "SCRAM-SHA-512 hides the password, but the records cross the network in clear",
        ),
        (f"kafka.client={{ {SCRAM} }}", "sasl_mechanism is set and has no effect"),
        ('kafka.client={ ssl_cafile = "ca.pem" }', "ssl_cafile set and without effect: TLS is off"),
        (
            'kafka.client={ security_protocol = "SSL", ssl_check_hostname = false }',
            "may pose as a broker",
        ),
    ],
)
def test_each_is_told_once_with_a_remedy(setting: str, told: str) -> None:
    """The setting is named, its secret is not."""
    (found,) = exposures(config_of(setting))
    assert told in found.risk
    assert found.setting.startswith("kafka.client.")
    assert found.remedy
    assert "correct-horse" not in " ".join(found)


def test_a_token_on_other_addresses_is_told() -> None:
    """On the loopback it crosses no network."""
    assert not exposures(config_of("http.token_file=t"))
    (found,) = exposures(config_of("http.token_file=t", "http.host=0.0.0.0"))
    assert "token crosses the network in clear" in found.risk


@pytest.mark.parametrize(
    "client",
    [
        "{ }",
        f'{{ security_protocol = "SASL_SSL", {PLAIN} }}',
        '{ security_protocol = "SSL", ssl_cafile = "ca.pem", ssl_check_hostname = true }',
    ],
)
def test_what_is_not_open_is_not_told(client: str) -> None:
    """The defaults, TLS, and a login within TLS."""
    assert not exposures(config_of(f"kafka.client={client}"))


def test_the_three_places(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    """A warning in the log, a line of `config check`, a warning of `doctor`."""
    config = config_of(CLEAR, "model.args.sizes=[1, 1]", f"state.dir={tmp_path / 'state'}", "http.port=0")
    configure_logging("info", "json")
    warn_of_exposures(config)
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["event"]) == ("warning", "open to the network")
    assert "SASL_SSL" in line["remedy"]
    assert [text for text in tried(config) if text.startswith("warning: kafka.client.security_protocol")]
    (check,) = [check for check in of_machine(config, None) if check.name == "network"]
    assert (check.verdict, check.exit_code) == ("warning", 0)
