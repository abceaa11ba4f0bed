"""`config check` tries what can be tried without a broker."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streammeta.cli import main

MODEL = ("model.factory=tests.faulty_models:Returning", 'model.args={what = "prediction"}')


def check(*settings: str) -> Result:
    """The verb with these settings."""
    flags = [part for setting in settings for part in ("--set", setting)]
    return CliRunner().invoke(main, ["config", "check", *flags])


def test_it_says_what_it_tried(tmp_path: Path) -> None:
    """The model with its size and the input it was called on, the loss, the files, and what was not tried."""
    for name in ("token", "ca.pem"):
        (tmp_path / name).write_text("secret\n")
    done = check(
        *MODEL,
        "model.loss=torch.nn:L1Loss",
        f"http.token_file={tmp_path / 'token'}",
        f'kafka.client={{security_protocol = "SSL", ssl_cafile = "{tmp_path / "ca.pem"}"}}',
    )
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        "model: tests.faulty_models:Returning, 4 parameters in float32 on cpu, "
        "called on an input of shape [3, 3]",
        "loss: torch.nn:L1Loss, y holds numbers",
        f"file: http.token_file = {tmp_path / 'token'}",
        f"file: kafka.client.ssl_cafile = {tmp_path / 'ca.pem'}",
        "not tried: the broker",
        "ok",
    ]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["model.factory=tests.faulty_models:broken", "model.args={}"], "KeyError in faulty_models.py, line"),
        (
            ["model.factory=tests.faulty_models:Returning", 'model.args={what = "dict"}'],
            "the model returns dict",
        ),
        (["model.factory=tests.faulty_models:spectral", "model.args={}"], "spectral_norm"),
        ([*MODEL, "model.loss=tests.faulty_models:Learning"], "parameter noise of the loss"),
        ([*MODEL, "model.device=cuda:99"], 'model.device = "cuda:99" cannot be used here'),
        ([*MODEL, "http.token_file=/no/such"], 'http.token_file = "/no/such": No such file'),
        (
            [*MODEL, 'kafka.client={security_protocol = "SSL", ssl_cafile = "/no/such.pem"}'],
            'kafka.client.ssl_cafile = "/no/such.pem": No such file',
        ),
    ],
)
def test_what_does_not_serve_is_named(settings: list[str], said: str) -> None:
    """Exit 78, on standard error; nothing says ok."""
    done = check(*settings)
    assert done.exit_code == 78
    assert said in done.stderr
    assert "ok" not in done.stdout.splitlines()
    assert "Traceback" not in done.stderr


def test_all_that_does_not_serve_is_named_at_once() -> None:
    """A model that fails does not hide a file that is missing; at debug its traceback is there."""
    model = ("model.factory=tests.faulty_models:broken", "model.args={}")
    done = check(*model, "http.token_file=/no/such", "log.level=debug")
    assert done.exit_code == 78
    assert "KeyError in faulty_models.py" in done.stderr
    assert 'http.token_file = "/no/such": No such file' in done.stderr
    assert "Traceback" in done.stderr


def test_what_a_model_prints_is_no_data() -> None:
    """It goes to standard error: from the import, the factory and the calls."""
    done = check("model.factory=tests.faulty_models:printing", "model.args={}")
    assert done.exit_code == 0, done.output
    assert "hello" not in done.stdout
    assert done.stderr.count("hello from the factory") >= 1
    assert "hello from forward" in done.stderr
