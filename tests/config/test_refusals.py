"""What is refused, and how well the refusal reads."""

from pathlib import Path

import pytest

from streammeta.config import Config, load_config
from streammeta.errors import ConfigError


def refusal(overrides: list[str], environ: dict[str, str] | None = None) -> str:
    """The message that these flags bring about."""
    with pytest.raises(ConfigError) as caught:
        load_config(None, overrides, environ or {})
    return str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("algorithm.betta=0.3", "unknown key 'algorithm.betta'; did you mean 'beta'?"),
        ("kafka.group-id=a", "unknown key 'kafka.group-id'; did you mean 'group_id'?"),
        ("kafak.topic=a", "unknown section 'kafak'; did you mean 'kafka'?"),
        (
            "zzz.topic=a",
            "unknown section 'zzz'; the sections are kafka, model, algorithm, outer, events, state, engine,",
        ),
        ("http.metrics_token=true", "http.metrics_token = true: needs http.token_file"),
        ("http.level=info", "unknown key 'http.level'; did you mean 'log.level'?"),
        ("log.zzz=1", "unknown key 'log.zzz'; the keys are level, format"),
        ("log.level.x=1", "log.level = { x = 1 }: must be one of debug, info, warning, error"),
        (
            "log.level=warn",
            "log.level = \"warn\": must be one of debug, info, warning, error; did you mean 'warning'?",
        ),
        ("algorithm.name=mooml", "did you mean 'moml'?"),
        ("algorithm.name=3", 'algorithm.name = "3": must be one of moml, moml_v2'),
        (
            "outer.name=adamm",
            'outer.name = "adamm": must be one of sgd, sngdm, normalized, clipped, adam; '
            "did you mean 'adam'?",
        ),
        ("outer.beta1=0.5", "beta1 belongs to outer adam, not sgd"),
        ("outer.schedule=step", 'outer.schedule = "step": must be a table'),
        (
            "outer.schedule={name='cosin'}",
            'outer.schedule.name = "cosin": must be one of constant, step, inverse_sqrt, cosine; '
            "did you mean 'cosine'?",
        ),
        (
            "outer.schedule={name='cosine', update=3}",
            "unknown key 'outer.schedule.update'; did you mean 'updates'?",
        ),
        ("outer.schedule={name='step', updates=0}", "outer.schedule.updates = 0: must be greater than"),
        (
            "outer.schedule={name='step', fractions=[0.5, 0.5]}",
            "outer.schedule.fractions = [0.5, 0.5]: must be rising numbers above 0, at most 1",
        ),
        (
            "outer.schedule={name='cosine', factor=0.5}",
            'factor has no effect with name = "cosine"; remove it',
        ),
        ("algorithm.beta=0", "algorithm.beta = 0: must be greater than 0"),
        ("algorithm.beta=1.5", "algorithm.beta = 1.5: must be less than or equal to 1"),
        ("algorithm.inner_lr=-1", "algorithm.inner_lr = -1: must be greater than or equal to 0"),
        ("algorithm.inner_lr=nan", "algorithm.inner_lr = nan: must be a finite number"),
        ("algorithm.inner_lr=big", 'algorithm.inner_lr = "big": must be a valid number'),
        ("outer.lr=0", "outer.lr = 0: must be greater than 0"),
        ("outer.momentum=1", "outer.momentum = 1: must be less than 1"),
        ("outer.clip_norm=0", "outer.clip_norm = 0: must be greater than 0"),
        ("state.cache_tasks=0", "state.cache_tasks = 0: must be greater than or equal to 1"),
        ("state.cache_tasks=1.5", "state.cache_tasks = 1.5: must be a valid integer"),
        ("state.checkpoint_seconds=0", "state.checkpoint_seconds = 0: must be greater than 0"),
        ("state.dir=", 'state.dir = "": must not be empty'),
        ("http.port=65536", "http.port = 65536: must be less than or equal to 65535"),
        ("http.port=true", "http.port = true: must be a valid integer"),
        ("events.kind=exampels", "did you mean 'examples'?"),
        ("events.stride=9", "events.stride = 9: must be events.query = 10 (else an example is in two query"),
        ("events.stride=21", "to events.support + events.query = 20 (else examples are passed over)"),
        ("events.support=0", "events.support = 0: must be greater than or equal to 1"),
        ("events.label_wait_events=-1", "label_wait_events = -1: must be greater than or equal to 0"),
        ("events.batch=0", "events.batch = 0: must be greater than or equal to 1"),
        ("events.batch_linger_seconds=0", "events.batch_linger_seconds = 0: must be greater than 0"),
        ("model.loss=mze", "did you mean 'mse'?"),
        ("model.factory=models.mlp", 'model.factory = "models.mlp": must be "package.module:callable"'),
        ("model.args=3", "model.args = 3: must be a table"),
        ("model.args.x=inf", "model.args.x = inf: must be a finite number"),
        ("model.args={x=[{y=2020-01-01}]}", "must be text, a number, true or false, an array or a table"),
        ("kafka.topic=a/b", 'kafka.topic = "a/b": must be a topic name'),
        ("kafka.topic=..", 'kafka.topic = "..": must be a topic name'),
        ("kafka.bootstrap_servers=a:b", 'kafka.bootstrap_servers = "a:b": must be host:port'),
        ("kafka.bootstrap_servers=a:70000", 'kafka.bootstrap_servers = "a:70000": must be host:port'),
        ("kafka.group_id=", 'kafka.group_id = "": must not be empty'),
        ("kafka.dead_letter_topic=tasks", "must differ from kafka.topic"),
        ("kafka.client.group_id=a", "kafka.client.group_id is kept by streammeta: set kafka.group_id"),
        ("kafka.client.value_deserializer=a", "records are kept byte for byte"),
        (
            "kafka.client.sasl_mechanizm=PLAIN",
            "unknown key 'kafka.client.sasl_mechanizm', which no client of kafka-python has; "
            "did you mean 'sasl_mechanism'?",
        ),
        (
            "kafka.client.security_protocol=TLS",
            'kafka.client.security_protocol = "TLS": must be one of PLAINTEXT,',
        ),
        (
            "kafka.client.sasl_mechanism=SCRAM-SHA-1",
            'kafka.client.sasl_mechanism = "SCRAM-SHA-1": must be one of PLAIN, SCRAM-SHA-256,',
        ),
        (
            "kafka.client.security_protocol=SASL_SSL",
            'kafka.client.security_protocol = "SASL_SSL": needs kafka.client.sasl_mechanism; set it, or ',
        ),
        (
            "kafka.client.ssl_certfile=me.pem",
            'kafka.client.ssl_certfile = "me.pem": needs kafka.client.ssl_keyfile; set it, or the variable',
        ),
        ("kafka.client.check_crcs=no", 'kafka.client.check_crcs = "no": must be true or false'),
        ("kafka.client.request_timeout_ms=3s", 'kafka.client.request_timeout_ms = "3s": must be a number'),
        ("kafka.client.api_version=2.6", "kafka.client.api_version = 2.6: must be an array"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value_and_the_remedy(override: str, message: str) -> None:
    """One line: where it came from, then the setting, its value, what is allowed."""
    text = refusal([override])
    assert text.startswith(f"--set {override.partition('=')[0]}: ")
    assert message in text
    assert "\n" not in text


def test_a_key_of_another_algorithm_is_named_as_such() -> None:
    """The message says which algorithm has the key."""
    text = refusal(["algorithm.name=maml", "algorithm.beta=0.3"])
    assert text == (
        "--set algorithm.beta: beta belongs to algorithm moml, moml_v2, nasa and local_moml, not maml"
    )


def test_a_derived_value_is_checked_like_a_given_one() -> None:
    """A topic of the longest name has no room for .dlq."""
    assert refusal([f"kafka.topic={'x' * 249}"]).startswith("default: kafka.dead_letter_topic = ")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["algorithm.name=nasa"],
            "default: events.batch = 1: algorithm nasa needs several tasks at once: with one task its "
            "averaged meta-gradient is momentum on that of MOML; set events.batch to 2 or more, or use moml",
        ),
        (
            ["algorithm.name=bspiderboost", "events.batch=1"],
            "--set events.batch: events.batch = 1: algorithm bspiderboost needs several tasks at once: its "
            "estimate would begin anew from the gradient of a single task",
        ),
        (
            ["algorithm.name=moml_v2", "algorithm.tasks=3", "events.batch=4"],
            "--set events.batch: events.batch = 4: an iteration cannot hold more tasks than "
            "algorithm.tasks = 3",
        ),
    ],
)
def test_an_algorithm_that_needs_other_iterations_says_why(overrides: list[str], message: str) -> None:
    """Two settings that do not go together: both are named, with the remedy."""
    assert refusal(overrides).startswith(message)
    assert load_config(None, [*overrides, "events.batch=2"], {}).events.batch == 2


def test_half_a_hessian_set_needs_second_order() -> None:
    """A setting without effect is refused rather than passed over."""
    text = refusal(["algorithm.order=first", "algorithm.hessian_set=half"])
    assert 'algorithm.hessian_set = "half": has an effect only with algorithm.order = "second"' in text
    given = load_config(None, ["algorithm.hessian_set=half"], {}).algorithm
    assert given.model_dump()["hessian_set"] == "half"


def test_a_bound_on_the_change_of_curvature_needs_the_adaptive_step() -> None:
    """A setting without effect is refused rather than passed over."""
    given = ["algorithm.name=multi_step_maml", "algorithm.hessian_lipschitz=2.0"]
    assert 'has an effect only with algorithm.meta_step = "adaptive"' in refusal(given)
    assert load_config(None, [*given, "algorithm.meta_step=adaptive"], {})


@pytest.mark.parametrize(("name", "least"), [("local_moml", 15), ("per_fedavg", 10)])
def test_local_steps_need_pieces_that_have_halves(name: str, least: int) -> None:
    """Sets that are cut into single examples would all be dead letters with hessian_set = "half"."""
    given = [f"algorithm.name={name}", "events.kind=examples", "algorithm.hessian_set=half"]
    pieces_of_one = least - 5
    text = refusal([*given, f"events.support={pieces_of_one}"])
    assert f"events.support = {pieces_of_one}: " in text
    assert f"set it to {least}, or another that fits" in text
    assert load_config(None, [*given, f"events.support={least}"], {})


def test_an_unknown_variable_is_refused_by_its_name() -> None:
    """A misspelt variable would otherwise be silently without effect."""
    text = refusal([], {"STREAMMETA_KAFKA__TOPIK": "a"})
    assert text == "environment STREAMMETA_KAFKA__TOPIK: unknown key 'kafka.topik'; did you mean 'topic'?"


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("missing", ["sasl_plain_username", "sasl_plain_password"])
def test_a_login_without_user_or_password_is_refused(mechanism: str, missing: str) -> None:
    """At once, with the variable that sets it; with both it is taken."""
    login = {
        "sasl_mechanism": mechanism,
        "sasl_plain_username": "ann",
        "sasl_plain_password": "s3cret",
    }
    given = [f"kafka.client.{key}={value}" for key, value in login.items() if key != missing]
    text = refusal(given)
    assert text.startswith("--set kafka.client.sasl_mechanism: ")
    assert f"needs kafka.client.{missing}" in text
    assert f"STREAMMETA_KAFKA__CLIENT__{missing.upper()}" in text
    assert "s3cret" not in text
    variable = {f"STREAMMETA_KAFKA__CLIENT__{missing.upper()}": "later"}
    assert load_config(None, given, variable).kafka.client[missing] == "later"


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("STREAMMETA_KAFKA_TOPIC", "STREAMMETA_KAFKA__TOPIC"),
        ("STREAMMETA_STATE_CHECKPOINT_EVENTS", "STREAMMETA_STATE__CHECKPOINT_EVENTS"),
        (
            "STREAMMETA_KAFKA_CLIENT_SASL_PLAIN_PASSWORD",
            "STREAMMETA_KAFKA__CLIENT__SASL_PLAIN_PASSWORD",
        ),
    ],
)
def test_a_variable_with_one_underscore_is_refused(variable: str, meant: str) -> None:
    """The name with two is told, the value is not."""
    text = refusal([], {variable: "s3cret"})
    assert text == f"environment {variable}: has no effect; write {meant}, with two underscores"


def test_variables_of_others_are_none_of_our_business() -> None:
    """Those that Kubernetes makes for services named streammeta and streammeta-http."""
    others = {
        "STREAMMETA_PORT": "tcp://10.0.0.1:9464",
        "STREAMMETA_SERVICE_HOST": "10.0.0.1",
        "STREAMMETA_HTTP_PORT": "tcp://10.0.0.1:9464",
        "STREAMMETA_HTTP_PORT_9464_TCP": "tcp://10.0.0.1:9464",
        "OTHER_KAFKA_TOPIC": "x",
    }
    assert load_config(None, (), others) == Config()
    assert "STREAMMETA_HTTP__PORT" in refusal([], {"STREAMMETA_HTTP_PORT": "9465"})


@pytest.mark.parametrize("override", ["topic", "topic=a", "kafka.=a", "=a", "", ".=1"])
def test_a_flag_of_another_form_is_refused(override: str) -> None:
    """The right form is shown by example."""
    assert refusal([override]) == "--set: write section.key=VALUE, as in --set kafka.topic=tasks"


def test_all_problems_are_told_together(tmp_path: Path) -> None:
    """From every layer, each with its origin; a refused value brings no second line of its own."""
    file = tmp_path / "learner.toml"
    file.write_text('top = 1\n[kafka]\ntopic = "a b"\n[state]\ncache = 1\n')
    with pytest.raises(ConfigError) as caught:
        load_config(file, ["http.port=-1"], {"STREAMMETA_LOG__LEVEL": "loud"})
    count, *lines = str(caught.value).splitlines()
    assert count == "5 problems in the configuration:"
    assert [line.removeprefix("  - ").split(": ")[0] for line in lines] == [
        str(file),
        str(file),
        "--set http.port",
        "environment STREAMMETA_LOG__LEVEL",
        str(file),
    ]


def test_a_section_given_as_a_value_is_refused(tmp_path: Path) -> None:
    """Also where a table may be one of several."""
    file = tmp_path / "learner.toml"
    file.write_text("model = 1\nalgorithm = 2\nouter = []\n[state]\ndir = 3\n")
    with pytest.raises(ConfigError) as caught:
        load_config(file, (), {})
    for line in (
        "model = 1: must be a table",
        "algorithm = 2: must be a table",
        "outer = []: must be a table",
        "state.dir = 3: must be a path, in quotes",
    ):
        assert line in str(caught.value)


def test_a_topic_written_above_the_tables_is_sent_home(tmp_path: Path) -> None:
    """A key without its table is the commonest slip in TOML."""
    file = tmp_path / "learner.toml"
    file.write_text('topic = "a"\n')
    with pytest.raises(ConfigError, match=r"unknown key 'topic'; did you mean 'kafka\.topic'\?"):
        load_config(file, (), {})


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b'[kafka]\ntopic = "a\n', "line 2, column 11"),
        (b"[kafka]\ntopic = [1,\n\n", "line 3, the end of the file"),
        (b"[kafka]\ntopic = 1\ntopic = 2\n", "line 3"),
    ],
)
def test_broken_toml_is_refused_with_its_place(content: bytes, place: str, tmp_path: Path) -> None:
    """File, line and column."""
    file = tmp_path / "learner.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(file, (), {})
    assert str(caught.value).startswith(f"{file}: broken TOML: ")
    assert place in str(caught.value)


def test_a_missing_file_is_refused_with_the_command_that_writes_one(tmp_path: Path) -> None:
    """And wrong flags are told in the same breath."""
    file = tmp_path / "absent.toml"
    with pytest.raises(ConfigError) as caught:
        load_config(file, ["nonsense"], {})
    assert f"{file}: no such file; write one with `streammeta config init --output {file}`" in str(
        caught.value
    )
    assert "--set: write section.key=VALUE" in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """A folder, and bytes that are not UTF-8."""
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(tmp_path, (), {})
    file = tmp_path / "latin.toml"
    file.write_bytes(b"# caf\xe9\n")
    with pytest.raises(ConfigError, match="not UTF-8 at byte 5"):
        load_config(file, (), {})


def test_a_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    """Editors put one at the beginning."""
    file = tmp_path / "bom.toml"
    file.write_bytes(b'\xef\xbb\xbf[kafka]\ntopic = "a"\n')
    assert load_config(file, (), {}).kafka.topic == "a"


def test_a_date_is_refused_where_numbers_and_text_are_wanted(tmp_path: Path) -> None:
    """TOML has dates; no setting takes one."""
    file = tmp_path / "learner.toml"
    file.write_text("[http]\nport = 2020-01-01\n[kafka.client]\nclient_id = 2020-01-01\n")
    with pytest.raises(ConfigError) as caught:
        load_config(file, (), {})
    assert "http.port = 2020-01-01: must be a valid integer" in str(caught.value)
    assert "kafka.client.client_id = 2020-01-01: must be text, in quotes" in str(caught.value)


def test_long_values_are_cut() -> None:
    """A message stays readable whatever was given."""
    assert len(refusal([f"log.level={'x' * 10_000}"])) < 300
