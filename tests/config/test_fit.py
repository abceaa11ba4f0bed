"""Which settings a state depends on."""

import json

import pytest

from streammeta.config import Config, config_hash, differences, fit, load_config
from streammeta.config.fields import settings
from streammeta.config.section import Free, Mark, Section, mark_of

BINDING = {
    "kafka.topic=other": "kafka.topic",
    "model.factory=pack:build": "model.factory",
    "model.args.sizes=[1, 2, 1]": "model.args.sizes",
    "model.loss=huber": "model.loss",
    "model.seed=1": "model.seed",
    "model.dtype=float64": "model.dtype",
    "algorithm.name=maml": "algorithm.name",
    "algorithm.beta=0.5": "algorithm.beta",
    "algorithm.inner_clip_norm=10.0": "algorithm.inner_clip_norm",
    "algorithm.order=first": "algorithm.order",
    "algorithm.hessian_set=half": "algorithm.hessian_set",
    "algorithm.outer_scale=beta": "algorithm.outer_scale",
    "outer.momentum=0.5": "outer.momentum",
    "outer.clip_norm=1.0": "outer.clip_norm",
    "events.batch=4": "events.batch",
    "events.kind=examples": "events.kind",
    "outer.name=adam": "outer.name",
    "outer.schedule={name='cosine', updates=7}": "outer.schedule",
}
OF_VARIANTS = {
    "algorithm.moml_v2": ["beta=0.5", "tasks=25", "order=first", "hessian_set=half", "outer_scale=beta"],
    "algorithm.maml": ["inner_steps=3", "order=first", "hessian_set=half"],
    "algorithm.reptile": ["inner_steps=3"],
    "algorithm.anil": ["inner_steps=3", "head=2.*"],
    "algorithm.nasa": ["beta=0.25", "gamma=0.5", "order=first", "hessian_set=half", "outer_scale=beta"],
    "algorithm.bspiderboost": ["period=3", "order=first", "hessian_set=half"],
    "algorithm.local_moml": [
        "beta=0.5",
        "local_steps=3",
        "initial_examples=3",
        "keep_memory=true",
        "order=first",
        "hessian_set=half",
        "outer_scale=beta",
    ],
    "algorithm.per_fedavg": ["local_steps=3", "order=first", "hessian_set=half"],
    "algorithm.fo_b_maml": ["inner_steps=3", "lambda=0.5", "nu=0.5", "difference=forward"],
    "algorithm.imaml": ["inner_steps=3", "lambda=0.5", "cg_steps=3", "cg_tolerance=0.5"],
    "algorithm.multi_step_maml": [
        "inner_steps=3",
        "smoothness=2.0",
        "data=resampling",
        "meta_step=adaptive",
        "hessian_lipschitz=2.0",
    ],
    "algorithm.memory_reduced": [
        "inner_steps=3",
        "head=2.*",
        "ridge=0.5",
        "cg_steps=3",
        "cg_tolerance=0.5",
        "warm_start=true",
    ],
    "outer.sngdm": ["momentum=0.5"],
    "outer.clipped": ["max_step=0.5"],
    "outer.adam": ["beta1=0.5", "beta2=0.5", "epsilon=0.5", "clip_norm=1.0"],
}
FREE = [
    "model.init=w.safetensors",
    "kafka.bootstrap_servers=other:9092",
    "kafka.group_id=other",
    "kafka.start=latest",
    "kafka.on_lost_offsets=latest",
    "kafka.dead_letter_topic=other",
    "kafka.max_event_bytes=1",
    "kafka.max_batch_bytes=1048576",
    'kafka.on_corrupt="skip"',
    "kafka.connect_timeout_seconds=1",
    "kafka.refused_grace_seconds=1",
    "kafka.client.client_id=other",
    "model.device=cuda",
    "model.threads=2",
    "events.max_examples=7",
    "events.support=7",
    "events.query=7",
    "events.stride=15",
    "events.expire_after_events=7",
    "events.label_wait_events=7",
    "events.memory_norm_limit=7.0",
    "events.dedupe_window_events=7",
    "events.decoder='shop:read'",
    "events.tombstones='dead_letter'",
    "predict.output_topic=answers",
    "events.forgetting_sets=7",
    "algorithm.inner_lr=0.5",
    "outer.lr=0.5",
    "events.batch_linger_seconds=5",
    "state.dir=other",
    "state.cache_tasks=1",
    "state.checkpoint_events=1",
    "state.checkpoint_seconds=1",
    "state.keep_checkpoints=3",
    "drift.detector='adwin'",
    "drift.action='restart_memory'",
    "drift.min_visits=30",
    "drift.delta=0.75",
    "drift.threshold=20.0",
    "drift.confidence=0.01",
    "drift.check_visits=2",
    "engine.compile=off",
    "engine.cache_dir=elsewhere",
    "distributed.round_events=7",
    "distributed.round_seconds=0",
    "distributed.weights=uniform",
    "distributed.overlap=true",
    "distributed.timeout_seconds=5",
    "http.host=::1",
    "http.port=1",
    "http.token_file=other",
    "http.metrics_tasks=0",
    "http.metrics_token=true",
    "log.level=debug",
    "log.format=json",
]


@pytest.mark.parametrize(("override", "key"), BINDING.items())
def test_a_binding_setting_changes_the_hash_and_is_named(override: str, key: str) -> None:
    """Such a state is refused with the difference."""
    before, after = Config(), load_config(None, [override], {})
    assert config_hash(before) != config_hash(after)
    lines = differences(fit(before), fit(after))
    assert key in [line.split(": ")[0] for line in lines]


@pytest.mark.parametrize(
    ("table", "setting"), [(table, setting) for table, all_of in OF_VARIANTS.items() for setting in all_of]
)
def test_a_binding_setting_of_another_variant_changes_the_hash_and_is_named(table: str, setting: str) -> None:
    """Also of the algorithms and optimisers that are not the default."""
    section, name = table.split(".")
    chosen = [f"{section}.name={name}", "events.batch=2"]  # some learn from several tasks at once only
    if setting.startswith("hessian_lipschitz"):
        chosen.append("algorithm.meta_step=adaptive")
    before, after = (load_config(None, given, {}) for given in (chosen, [*chosen, f"{section}.{setting}"]))
    assert config_hash(before) != config_hash(after)
    lines = differences(fit(before), fit(after))
    assert f"{section}.{setting.split('=')[0]}" in [line.split(": ")[0] for line in lines]


@pytest.mark.parametrize("key", ["support", "query", "stride"])
def test_the_sizes_of_cut_episodes_bind_where_episodes_are_cut(key: str) -> None:
    """Those of ready episodes are free: they are what they are."""
    examples = ["events.kind=examples", "events.query=5", "events.stride=8"]
    before, after = (load_config(None, given, {}) for given in (examples, [*examples, f"events.{key}=6"]))
    lines = differences(fit(before), fit(after))
    assert [line.split(": ")[0] for line in lines] == [f"events.{key}"]


@pytest.mark.parametrize("override", FREE)
def test_a_free_setting_changes_nothing(override: str) -> None:
    """The state is continued with another rate, address, cache or log level."""
    token = {"STREAMMETA_HTTP__TOKEN_FILE": "token"} if "metrics_token" in override else {}
    after = load_config(None, [override], token)
    assert after != Config()
    assert fit(after) == fit(Config())
    assert config_hash(after) == config_hash(Config())


def test_every_setting_is_either_binding_or_free() -> None:
    """A new setting must be put into one of the two lists above."""
    listed = {".".join(text.split("=")[0].split(".")[:2]) for text in (*BINDING, *FREE)}
    listed |= {
        f"{table.split('.')[0]}.{s.split('=')[0]}" for table, all_of in OF_VARIANTS.items() for s in all_of
    }
    assert listed == {f"{s.section}.{s.key}" for s in settings()}


def test_every_rate_is_marked_free() -> None:
    """Of every algorithm and optimiser, not of the default ones alone."""
    free = {(s.section, s.variant, s.key) for s in settings() if mark_of(s.field) is Mark.FREE}
    rates = {(s.section, s.variant, s.key) for s in settings() if s.key in ("inner_lr", "lr")}
    assert {setting for setting in free if setting[0] in ("algorithm", "outer")} == rates


class Extra(Section):
    """A table that somebody adds, and marks one setting of."""

    window: int = 5
    shown: Free[bool] = False


class Longer(Config):
    """The configuration with it."""

    extra: Extra = Extra()


def test_a_new_table_is_not_left_out_by_oversight() -> None:
    """What is not marked belongs to the state."""
    assert fit(Longer())["extra"] == {"window": 5}
    assert fit(Longer()) | {"extra": None} == fit(Config()) | {"extra": None}


def test_states_in_the_field_fit() -> None:
    """The default configuration, byte for byte as states hold it, and its hash."""
    assert json.dumps(fit(Config())) == (
        '{"kafka": {"topic": "tasks"}, "model": {"factory": "streammeta.models:mlp", '
        '"args": {"sizes": [1, 40, 40, 1]}, "loss": "mse", "seed": 0, "dtype": "float32"}, '
        '"algorithm": {"name": "moml", "beta": 0.3, "order": "second", "hessian_set": "support", '
        '"outer_scale": "none"}, "outer": {"name": "sgd", "momentum": 0.9}, '
        '"events": {"kind": "episode", "batch": 1}}'
    )
    assert config_hash(Config()) == "47c7faf46127dcb168431f7a14ec7d51276c8b9385ddff6b18da025a4b8d65a1"


def test_a_fit_survives_json() -> None:
    """It is stored in the state's document and compared with what is read back."""
    config = load_config(None, ["model.args={deep = [{a = 1.5}, true]}", "outer.clip_norm=1"], {})
    stored = json.loads(json.dumps(fit(config)))
    assert stored == fit(config)
    assert differences(stored, fit(config)) == []


@pytest.mark.parametrize("name", ["constant", "step", "inverse_sqrt", "cosine"])
def test_a_fit_is_a_configuration_again(name: str) -> None:
    """Readers of a state build its learner from the settings that are stored in it."""
    given = ["algorithm.name=fo_b_maml", "algorithm.lambda=0.5", f"outer.schedule={{name='{name}'}}"]
    stored = fit(load_config(None, given, {}))
    assert fit(Config.model_validate(stored)) == stored


def test_a_setting_that_is_not_set_is_no_part_of_the_fit() -> None:
    """So that a later version may add an optional setting, and older states still fit."""
    assert fit(Config())["outer"] == {"name": "sgd", "momentum": 0.9}


def test_differences_read_well() -> None:
    """Setting, stored value, configured value; of another algorithm the name alone."""
    old = fit(load_config(None, ["outer.clip_norm=1"], {}))
    new = fit(load_config(None, ["kafka.topic=other", "algorithm.name=maml", "outer.momentum=0"], {}))
    assert differences(old, new) == [
        'kafka.topic: the state was made with "tasks", the configuration says "other"',
        'algorithm.name: the state was made with "moml", the configuration says "maml"',
        "outer.momentum: the state was made with 0.9, the configuration says 0.0",
        "outer.clip_norm: the state was made with 1.0, the configuration says nothing",
    ]


@pytest.mark.parametrize(
    ("one", "other"), [("1", "1.0"), ("true", "1"), ("[1]", "[1.0]"), ("{}", "[]"), ("[1, 2]", "[2, 1]")]
)
def test_hash_and_differences_agree(one: str, other: str) -> None:
    """Arguments differ in kind too: whenever the hash differs, a difference is named."""
    before, after = (load_config(None, [f"model.args.x={text}"], {}) for text in (one, other))
    assert config_hash(before) != config_hash(after)
    (line,) = differences(fit(before), fit(after))
    assert line == f"model.args.x: the state was made with {one}, the configuration says {other}"


def test_a_setting_that_the_state_does_not_know_is_a_difference() -> None:
    """A state of an older version, or of a newer one."""
    now = fit(Config())
    older = {name: table for name, table in now.items() if name != "events"}
    assert differences(older, now) == [
        'events.kind: the state was made with nothing, the configuration says "episode"',
        "events.batch: the state was made with nothing, the configuration says 1",
    ]
    assert len(differences(now, older)) == 2


def test_equal_meaning_is_an_equal_hash() -> None:
    """1 and 1.0 are the same momentum; the hash is 64 hexadecimal digits."""
    one, two = (load_config(None, [f"algorithm.beta={text}"], {}) for text in ("1", "1.0"))
    assert config_hash(one) == config_hash(two)
    assert len(bytes.fromhex(config_hash(one))) == 32
