"""What can be tried of a configuration without a broker: its model, loss, device, and the files it names."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from streammeta.config import Config
from streammeta.config.token import read_token
from streammeta.errors import ConfigError
from streammeta.models.initial import begin_at, read_parameters
from streammeta.models.network import Network
from streammeta.models.trial import try_at_start
from streammeta.observe.logs import tell_cause
from streammeta.programs.exposure import exposures
from streammeta.runtime.blueprint import build_blueprint
from streammeta.runtime.reading import decoder_of

Trial = Callable[[], Iterator[str]]


def tried(config: Config) -> Iterator[str]:
    """Try each thing; a line for each that serves. The model is built, the broker is not asked.

    Raises:
        ConfigError: names each that does not serve, a line each, after all were tried.
    """
    faults = list[str]()
    for trial in _trials(config):
        try:
            yield from trial()
        except ConfigError as fault:
            tell_cause(fault)
            faults.append(str(fault))
    if faults:
        raise ConfigError("\n".join(faults))
    yield from (f"warning: {setting}: {risk}; {remedy}" for setting, risk, remedy in exposures(config))
    yield "not tried: the broker"


def _trials(config: Config) -> Iterator[Trial]:
    yield partial(_try_model, config)
    yield partial(_try_decoder, config)
    yield from _file_trials(config)


def _file_trials(config: Config) -> Iterator[Trial]:
    yield partial(_try_token, config.http.token_file)
    for key, path in config.kafka.client.items():
        if key.startswith("ssl_") and key.endswith("file") and path:
            yield partial(_try_file, f"kafka.client.{key}", str(path))


def file_lines(config: Config) -> Iterator[str]:
    """The other files that the configuration names, each opened.

    Raises:
        ConfigError: names the first that cannot be read.
    """
    for trial in _file_trials(config):
        yield from trial()


def _try_model(config: Config) -> Iterator[str]:
    network = build_blueprint(config).network
    shape = try_at_start(network)
    yield from model_lines(config, network, shape)
    if shape is None:
        yield "not tried: the model on data; it took none of the inputs that its first layer tells of"


def model_lines(config: Config, network: Network, shape: tuple[int, ...] | None) -> Iterator[str]:
    """The model, the loss, and the file that it begins at; `shape` is that of the input it was called on.

    Raises:
        ConfigError: the file does not fit the model.
    """
    model = config.model
    yield (
        f"model: {model.factory}, {network.dimension} parameters in {model.dtype} on {model.device}, "
        + ("the same at each start" if shape is None else f"called on an input of shape {[*shape]}")
    )
    targets = "class numbers" if network.takes_classes else "numbers"
    yield f"loss: {model.loss}, y holds {targets}"
    if model.init:
        begin_at(network, read_parameters(Path(model.init)), Path(model.init))
        yield f"file: model.init = {model.init}, all of the model's values"


def _try_decoder(config: Config) -> Iterator[str]:
    decoder_of(config)
    if config.events.decoder:
        yield f"records: read by {config.events.decoder}; not tried on any"


def _try_token(path: str) -> Iterator[str]:
    if read_token(path) is not None:
        yield f"file: http.token_file = {path}"


def _try_file(field: str, path: str) -> Iterator[str]:
    try:
        with Path(path).open("rb") as file:
            file.read(1)
    except OSError as error:
        raise ConfigError(f'{field} = "{path}": {error.strerror}; name a file that can be read') from error
    yield f"file: {field} = {path}"
