"""Compiled steps as `[engine]` asks for them."""

from pathlib import Path

import structlog
import torch

from streammeta.config import Config
from streammeta.errors import ConfigError
from streammeta.learner.executors.cache import Cache, default_directory
from streammeta.learner.executors.compiled import CompiledSteps
from streammeta.learner.executors.traces import Traces
from streammeta.models.losses import LOSSES
from streammeta.models.networks import BUILT_IN

log = structlog.get_logger(__name__)


def compiled_steps_cache(config: Config) -> Cache:
    """The cache that the configuration names.

    Raises:
        ConfigError: it cannot be used, or the model is not on the CPU.
    """
    if torch.device(config.model.device).type != "cpu":
        raise ConfigError(f'model.device = "{config.model.device}": steps are compiled for the CPU alone')
    directory = config.engine.cache_dir
    return Cache(Path(directory) if directory else default_directory())


def kept_traces(config: Config) -> Traces | None:
    """Where traces are kept between runs; None where they cannot be.

    Only those of built-in models and losses: what a user's code computes may follow from what no digest of
    ours covers.
    """
    if config.model.factory not in BUILT_IN or config.model.loss not in LOSSES:
        return None
    sections = (config.model, config.algorithm, config.outer, config.events)
    try:
        return Traces(compiled_steps_cache(config), " ".join(part.model_dump_json() for part in sections))
    except ConfigError:
        return None  # compiled steps cannot be kept either, which is said where they are wanted


def compiled_steps(config: Config) -> CompiledSteps | None:
    """Where the learner's compiled steps come from; None where steps are not compiled, said once if wanted.

    Raises:
        ConfigError: they are required, and there can be none.
    """
    if config.engine.compile == "off":
        return None
    try:
        return CompiledSteps(compiled_steps_cache(config))
    except ConfigError as error:
        if config.engine.compile == "require":
            raise
        log.warning("steps are not compiled", reason=str(error), consequence="the traced step serves")
        return None


def traced(config: Config) -> Config:
    """The same, with every step traced."""
    return config.model_copy(update={"engine": config.engine.model_copy(update={"compile": "off"})})
