"""No message and no view ever holds a secret."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streammeta.config import differences, fit, load, load_config
from streammeta.config.secret import masked
from streammeta.config.show import as_data, as_toml
from streammeta.config.toml import toml_value
from streammeta.errors import ConfigError

SECRET = "correct-horse"  # noqa: S105 - of nobody
KEYS = ["sasl_plain_password", "ssl_password", "proxy_url", "sasl_oauth_token_provider", "sasl_plain_pasword"]


def everything_told(error: BaseException) -> str:
    """What a log would show of the error: its chain included."""
    chained = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return f"{error} {error!r}" + (everything_told(chained) if chained else "")


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("value", [f'"{SECRET}"', f'["{SECRET}"]', f'{{ deep = "{SECRET}" }}'])
def test_refusals_hold_no_secret(key: str, value: str, tmp_path: Path) -> None:
    """Whatever is wrong beside it, with it, or with its name."""
    file = tmp_path / "learner.toml"
    file.write_text(f"[kafka]\nstart = 3\n[kafka.client]\n{key} = {value}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(file, (), {})
    assert "kafka.start = 3" in str(caught.value)
    assert SECRET not in everything_told(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        f'kafka = "{SECRET}"',
        f'[kafka]\nclient = "{SECRET}"',
        f'[[kafka.client]]\nssl_password = "{SECRET}"',
        f'[kafka.client.ssl_password]\nx = "{SECRET}"',
        f'[kafka.client]\nssl_password = "{SECRET}"\nssl_password = "{SECRET}"',
        f'[kafka.client]\nssl_password = "{SECRET}',
        f'[kafka]\nssl_password = "{SECRET}"',
        f'[kafak.client]\nssl_password = "{SECRET}"',
        f'ssl_password = "{SECRET}"',
    ],
)
def test_misplaced_secrets_are_not_repeated(content: str, tmp_path: Path) -> None:
    """A secret in the wrong table, or in a broken file, is a secret still."""
    file = tmp_path / "learner.toml"
    file.write_text(content + "\n")
    with pytest.raises(ConfigError) as caught:
        load_config(file, (), {})
    assert SECRET not in everything_told(caught.value)


@pytest.mark.parametrize(
    "flag",
    [f"kafka.client.ssl_password:{SECRET}", f"ssl_password={SECRET}", f"kafka.client.ssl_pasword={SECRET}"],
)
def test_a_mistyped_flag_or_variable_is_not_repeated(flag: str) -> None:
    """The value is left out also where the text cannot be understood."""
    with pytest.raises(ConfigError) as caught:
        load_config(None, [flag], {"STREAMMETA_KAFKA__CLIENT__SASL_PASWORD": SECRET})
    assert SECRET not in everything_told(caught.value)


def test_views_mask_secrets_and_nothing_else() -> None:
    """`config show` in both forms; the configuration itself holds the real value."""
    environ = {
        "STREAMMETA_KAFKA__CLIENT__SASL_PLAIN_PASSWORD": SECRET,
        "STREAMMETA_KAFKA__CLIENT__SASL_PLAIN_USERNAME": "ann",
        "STREAMMETA_MODEL__ARGS__HUB": f'{{ api_key = "{SECRET}", revision = 3 }}',
        "STREAMMETA_HTTP__TOKEN_FILE": "/etc/token",
    }
    loaded = load(None, (), environ)
    assert loaded.config.kafka.client["sasl_plain_password"] == SECRET
    for text in (as_toml(loaded), json.dumps(as_data(loaded))):
        assert SECRET not in text
        assert "***" in text
        assert "ann" in text
        assert "revision" in text
        assert "/etc/token" in text


LOOKING = {
    "aws": "AKIAIOSFODNN7EXAMPLE",
    "aws secret": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "code host": "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "model hub": "hf_abcdefghijklmnopqrstuvwxyzABCDEFGH",
    "service": "sk-proj-abcdEFGH1234ijklMNOP5678",
    "signed": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N",
    "hex": "9f86d081884c7d659a2feaa0c55ad015",
    "random": "Zm9vYmFyMTIzNDU2Nzg5MGFiY2RlZg==",
    "uuid": "7d444840-9dc0-11d1-b245-5ffdce74fad2",
    "pem": "-----BEGIN RSA PRIVATE KEY-----\nMIIE",
}
WITHIN = {
    "s3://models/v1?X-Amz-Signature=cafe&X-Amz-Expires=60": "s3://models/v1?X-Amz-Signature=***&X-Amz-Expires=60",
    "https://ann:pass@hub.example/m?rev=3": "https://***@hub.example/m?rev=3",
    "Bearer abcdefgh12": "Bearer ***",
    "host=db password=hunter22 user=ann": "host=db password=*** user=ann",
}
HARMLESS = (
    "resnet50-imagenet1k-v2-feature-extractor-large",
    "/var/lib/streammeta/models/2026-11-30/weights.safetensors",
    "sentence-transformers/all-MiniLM-L6-v2-quantized-int8",
    "streammeta.models:mlp",
    "a plain sentence, with 12 Words and a COMMA",
    "0000000000000000000000000000000000000000",
    "https://hub.example/models/large?revision=main&split=train",
    "ReLU",
)


@pytest.mark.parametrize("secret", LOOKING.values(), ids=LOOKING)
def test_what_looks_like_a_secret_is_masked_whatever_it_is_called(secret: str) -> None:
    """In the factory's arguments and the client's settings, also deep inside; in views and differences."""
    args = [
        "model.factory=a:b",
        f"model.args.hub={toml_value({'source': [secret]})}",
        f"kafka.client.client_id={toml_value(secret)}",
    ]
    loaded = load(None, args, {})
    refused = differences(fit(loaded.config), fit(load_config(None, ["model.factory=a:b"], {})))
    for text in (as_toml(loaded), json.dumps(as_data(loaded)), "".join(refused)):
        assert secret.splitlines()[0] not in text
        assert "***" in text
    assert loaded.config.model.args["hub"] == {"source": [secret]}


@pytest.mark.parametrize(("value", "shown"), WITHIN.items())
def test_of_an_address_the_secret_alone_is_masked(value: str, shown: str) -> None:
    """Login, signature, password; what else is there helps to find a mistake."""
    assert masked(("model", "args"), {"source": value}) == {"source": shown}


@pytest.mark.parametrize("value", HARMLESS)
def test_names_paths_and_words_are_shown(value: str) -> None:
    """Long ones too."""
    assert masked(("model", "args"), {"source": value}) == {"source": value}


def test_a_digest_is_shown_where_its_name_says_so() -> None:
    """The same digits under another name may be a key."""
    digest = "3f786850e387550fdab836ed7e6dc881de23001b"
    assert masked(("model", "args"), {"revision": digest, "value": digest}) == {
        "revision": digest,
        "value": "***",
    }


def test_differences_mask_secrets() -> None:
    """A state refused for another key tells that it differs, not what it is."""
    flags = [f"model.args.api_key={SECRET}", f'model.args.hub={{ token = "{SECRET}" }}']
    lines = differences(fit(load_config(None, flags, {})), fit(load_config(None, ["model.args={}"], {})))
    assert [line.split(": ")[0] for line in lines] == ["model.args.api_key", "model.args.hub"]
    assert SECRET not in "".join(lines)


@given(st.text("0123456789abcdef\"'\\=# ", min_size=12, max_size=30), st.sampled_from(KEYS))
def test_no_secret_of_any_form_leaks(secret: str, key: str) -> None:
    """Neither quotes nor backslashes nor TOML syntax inside a secret bring it into a message."""
    with pytest.raises(ConfigError) as caught:
        load_config(None, [f"kafka.client.{key}={secret}", "http.port=x"], {})
    assert secret not in everything_told(caught.value)
    assert secret.strip("\"' ") not in everything_told(caught.value)
