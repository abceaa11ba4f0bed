"""Flag > environment > file > default, for every setting that there is."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streammeta.config import Loaded, load, load_config
from streammeta.config.fields import Setting, settings
from streammeta.config.layers import from_flag
from streammeta.config.toml import toml_value
from streammeta.errors import ConfigError

TEXTS = {
    "bootstrap_servers": ("one:1", "two:2"),
    "factory": ("pack.one:build", "pack.two:build"),
    "loss": ("huber", "pack:loss"),
    "dir": ("one", "two"),
}
TABLES: Mapping[str, tuple[Any, Any]] = {
    "client": ({"client_id": "one"}, {"client_id": "two", "fetch_min_bytes": 2}),
    "args": ({"sizes": [1, 2]}, {"width": 3, "deep": {"on": True}}),
    "schedule": ({"name": "cosine", "updates": 7}, {"name": "step", "updates": 9, "fractions": [0.5]}),
}


def two_values(setting: Setting) -> tuple[Any, Any]:
    """Two different allowed values, neither of which is the default."""
    field, key = setting.field, setting.key
    if key in TABLES:
        return TABLES[key]
    if get_origin(field.annotation) is Literal:
        choices = get_args(field.annotation)
        return choices[-1], choices[0]
    if field.annotation is bool:
        return True, False
    if field.annotation in (int, int | None):
        return 11, 12
    if field.annotation in (float, float | None):
        return 0.25, 0.75
    return TEXTS.get(key, ("one", "two"))


VARIED = [
    pytest.param(setting, id=f"{setting.section}.{setting.variant}.{setting.key}".replace("..", "."))
    for setting in settings()
    if setting.key != "name" and len(set(map(str, two_values(setting)))) == 2
]


class Layer(NamedTuple):
    """How a value is written into one layer."""

    kind: str
    write: Callable[[Setting, Any], dict[str, Any]]


def in_file(setting: Setting, value: Any) -> dict[str, Any]:
    """A line of the file."""
    return {"file": f"[{setting.section}]\n{setting.key} = {toml_value(value)}\n"}


def in_environment(setting: Setting, value: Any) -> dict[str, Any]:
    """A variable."""
    return {"environ": {f"STREAMMETA_{setting.section}__{setting.key}".upper(): toml_value(value)}}


def in_flag(setting: Setting, value: Any) -> dict[str, Any]:
    """A `--set`."""
    return {"overrides": [f"{setting.section}.{setting.key}={toml_value(value)}"]}


LAYERS = [Layer("file", in_file), Layer("env", in_environment), Layer("flag", in_flag)]
PAIRS = [(low, high) for index, low in enumerate(LAYERS) for high in LAYERS[index + 1 :]]


def loaded(
    folder: Path,
    setting: Setting,
    *,
    file: str = "",
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] = {},
) -> Loaded:
    """Load with the setting's own algorithm or optimiser chosen."""
    path = folder / "learner.toml"
    path.write_text(file)
    name = {f"STREAMMETA_{setting.section}__NAME".upper(): setting.variant} if setting.variant else {}
    beside = {}
    if setting.variant in ("nasa", "bspiderboost"):
        beside = {"STREAMMETA_EVENTS__BATCH": "2"}
    if setting.key == "hessian_lipschitz":
        beside = {"STREAMMETA_ALGORITHM__META_STEP": "adaptive"}
    if setting.key == "metrics_token":
        beside = {"STREAMMETA_HTTP__TOKEN_FILE": "token"}
    return load(path, overrides, {**beside, **environ, **name})


def value_of(result: Loaded, setting: Setting) -> Any:
    """The value that applies; a path as its text."""
    section = getattr(result.config, setting.section)
    value = section.model_dump(by_alias=True, exclude_unset=True)[setting.key]
    return str(value) if isinstance(value, Path) else value


@pytest.mark.parametrize("setting", VARIED)
def test_each_layer_sets_each_setting(setting: Setting, tmp_path: Path) -> None:
    """A value in any one layer applies, and its source is known."""
    value, _ = two_values(setting)
    for layer in LAYERS:
        result = loaded(tmp_path, setting, **layer.write(setting, value))
        assert value_of(result, setting) == value
        origins = result.layers.origins_of((setting.section, setting.key))
        assert {origin.kind for origin in origins} == {layer.kind}


@pytest.mark.parametrize("setting", VARIED)
def test_the_higher_layer_wins(setting: Setting, tmp_path: Path) -> None:
    """Between any two layers the higher one's value applies, in both assignments of the values."""
    for low, high in PAIRS:
        for lesser, greater in (two_values(setting), two_values(setting)[::-1]):
            both = {**low.write(setting, lesser), **high.write(setting, greater)}
            result = loaded(tmp_path, setting, **both)
            assert value_of(result, setting) == greater, (low.kind, high.kind)


def test_every_setting_is_tried() -> None:
    """Only names and settings with a single choice are left out of the tests above."""
    left_out = {(s.section, s.key) for s in settings()} - {
        (p.values[0].section, p.values[0].key)  # type: ignore[union-attr]  # pytest types its values as objects
        for p in VARIED
    }
    assert left_out == {("algorithm", "name"), ("outer", "name")}


def test_one_key_of_a_table_is_set_beside_the_others(tmp_path: Path) -> None:
    """A password from the environment joins the file's client settings; both sources are known."""
    file = tmp_path / "learner.toml"
    file.write_text('[kafka.client]\nsasl_plain_username = "ann"\nsasl_plain_password = "old"\n')
    result = load(file, (), {"STREAMMETA_KAFKA__CLIENT__SASL_PLAIN_PASSWORD": "12345"})
    assert result.config.kafka.client == {"sasl_plain_username": "ann", "sasl_plain_password": "12345"}
    kinds = [origin.kind for origin in result.layers.origins_of(("kafka", "client"))]
    assert sorted(kinds) == ["env", "file"]


def test_a_whole_table_replaces_the_keys_below_it(tmp_path: Path) -> None:
    """Values and sources alike; nothing of the lower layer is left."""
    file = tmp_path / "learner.toml"
    file.write_text("[model.args]\nsizes = [1]\ndepth = 2\n")
    result = load(file, ["model.args={width=3}"], {})
    assert result.config.model.args == {"width": 3}
    assert [origin.kind for origin in result.layers.origins_of(("model", "args"))] == ["flag"]


def test_the_last_flag_wins() -> None:
    """As on every command line."""
    assert load_config(None, ["http.port=1", "http.port=2"], {}).http.port == 2


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("kafka.topic=2024", "topic", "2024"),
        ('kafka.topic="a.b"', "topic", "a.b"),
        ("kafka.topic=a=b", "topic", None),
        ("kafka.client={client_rack='r=1'}", "client", {"client_rack": "r=1"}),
        ("kafka.client.client_rack=1", "client", {"client_rack": "1"}),
        ("kafka.client.request_timeout_ms=1", "client", {"request_timeout_ms": 1}),
        ("kafka.client.receive_buffer_bytes=1", "client", {"receive_buffer_bytes": 1}),
        ("kafka.client.check_crcs=false", "client", {"check_crcs": False}),
        ("kafka.connect_timeout_seconds=3", "connect_timeout_seconds", 3.0),
    ],
)
def test_text_means_what_the_setting_takes(text: str, key: str, value: Any) -> None:
    """Digits stay text where text is wanted, literals are read elsewhere, `=` may be in the value."""
    if value is None:
        with pytest.raises(ConfigError, match="must be a topic name"):
            load_config(None, [text], {})
    else:
        assert getattr(load_config(None, [text], {}).kafka, key) == value


def test_text_with_a_line_break_is_one_value() -> None:
    """A second line is never taken for a second setting."""
    assert load_config(None, ["model.args.x=1\ny = 2"], {}).model.args == {"x": "1\ny = 2"}


def test_variables_of_other_meaning_are_left_alone() -> None:
    """Those that Kubernetes makes for a service named streammeta, and those of other programs."""
    environ = {"STREAMMETA_PORT": "tcp://10.0.0.1:9464", "STREAMMETA_SERVICE_HOST": "x", "KAFKA__TOPIC": "y"}
    assert load_config(None, (), environ) == load_config(None, (), {})


SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"])),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc-. ", min_size=1), inner),
    max_leaves=8,
)


@given(VALUES)
@example("\x7f \x00 \u2028")
def test_a_flag_carries_every_value_unchanged(value: Any) -> None:
    """What is written as TOML after --set arrives as it was, in kind too."""
    assignment = from_flag(f"model.args.value={toml_value(value)}")
    assert (assignment.keys, assignment.value) == (("model", "args", "value"), value)
    assert type(assignment.value) is type(value)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_flag_is_taken_or_refused_by_name(text: str) -> None:
    """No text after --set makes anything but a configuration or a ConfigError."""
    for override in (text, f"kafka.topic={text}", f"http.port={text}", f"algorithm.{text}=1", f"{text}.x=1"):
        with suppress(ConfigError):
            load_config(None, [override], {})


@given(
    st.from_regex(r"[A-Za-z0-9._-]{1,60}", fullmatch=True).filter(lambda name: not re.fullmatch(r"\.+", name))
)
def test_every_bare_topic_name_is_taken_as_it_is(name: str) -> None:
    """Also those that look like numbers, dates or truth values."""
    assert load_config(None, [f"kafka.topic={name}"], {}).kafka.topic == name
