"""Where traces and compiled steps are kept, as the configuration says."""

from pathlib import Path

import pytest

from streammeta.config import load_config
from streammeta.runtime.compiling import kept_traces


@pytest.mark.parametrize(
    "settings", [("model.factory=tests.networks:mlp", "model.args={}"), ("model.loss=tests.networks:loss",)]
)
def test_what_a_users_code_computes_is_traced_at_each_start(
    settings: tuple[str, ...], tmp_path: Path
) -> None:
    """It may read a file, or the environment: no name of ours covers that."""
    config = load_config(None, [f"engine.cache_dir={tmp_path}", *settings], {})
    assert kept_traces(config) is None
    assert kept_traces(load_config(None, [f"engine.cache_dir={tmp_path}"], {})) is not None


def test_a_cache_that_cannot_be_used_keeps_none(tmp_path: Path) -> None:
    """With compile = "off" nobody needs it: no reason to stop."""
    (tmp_path / "file").touch()
    assert kept_traces(load_config(None, [f"engine.cache_dir={tmp_path / 'file'}"], {})) is None
