"""Configuration: what may be set (`schema`), where it comes from (`load`), what a state needs (`fit`)."""

from streammeta.config.fit import config_hash, differences, fit
from streammeta.config.load import Loaded, load, load_config
from streammeta.config.schema import Config

__all__ = ["Config", "Loaded", "config_hash", "differences", "fit", "load", "load_config"]
