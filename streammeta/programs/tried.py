"""What can be tried of a configuration without a broker: its model, loss, device, and the files it names."""

from collections.abc import Iterator
from pathlib import Path

from streammeta.config import Config
from streammeta.config.token import read_token
from streammeta.errors import ConfigError
from streammeta.models.initial import begin_at, read_parameters
from streammeta.models.trial import try_at_start
from streammeta.runtime.assembly import build_brain


def tried(config: Config) -> Iterator[str]:
    """Try each thing; a line for each that serves. The model is built, the broker is not asked.

    Raises:
        ConfigError: names the first that does not serve.
    """
    network = build_brain(config).network
    shape, model = try_at_start(network), config.model
    yield (
        f"model: {model.factory}, {network.dimension} parameters in {model.dtype} on {model.device}, "
        + ("the same at each start" if shape is None else f"called on an input of shape {[*shape]}")
    )
    if model.init:
        begin_at(network, read_parameters(Path(model.init)), Path(model.init))
        yield f"file: model.init = {model.init}, all of the model's values"
    targets = "class numbers" if network.takes_classes else "numbers"
    yield f"loss: {model.loss}, y holds {targets}"
    if read_token(config.http.token_file) is not None:
        yield f"file: http.token_file = {config.http.token_file}"
    for key, path in config.kafka.client.items():
        if key.startswith("ssl_") and key.endswith("file") and path:
            _try_file(f"kafka.client.{key}", str(path))
            yield f"file: kafka.client.{key} = {path}"
    if shape is None:
        yield "not tried: the model on data; it took none of the inputs that its first layer tells of"
    yield "not tried: the broker"


def _try_file(field: str, path: str) -> None:
    try:
        with Path(path).open("rb") as file:
            file.read(1)
    except OSError as error:
        raise ConfigError(f'{field} = "{path}": {error.strerror}; name a file that can be read') from error
