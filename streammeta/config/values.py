"""Kinds of values: text with a form of its own. A refusal says what is allowed, never the value."""

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

from streammeta.config.kafka_client import client_problems
from streammeta.config.suggest import did_you_mean

LOSSES = ("mse", "cross_entropy", "huber", "bce")

_SERVER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s,:\[\]]+)(:(?P<port>[0-9]{1,5}))?")
_TOPIC = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")
_IMPORT_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def _servers(text: str) -> str:
    matches = [_SERVER.fullmatch(server.strip()) for server in text.split(",")]
    if not all(match and int(match["port"] or 9092) <= 65535 for match in matches):
        raise ValueError("must be host:port, or several separated by commas")
    return text


def topic_name(name: str) -> str:
    """The name, if it can be a topic's.

    Raises:
        ValueError: it cannot.
    """
    if not _TOPIC.fullmatch(name):
        raise ValueError("must be a topic name: 1 to 249 of the characters a-z A-Z 0-9 . _ -")
    return name


def _import_path(path: str) -> str:
    if not _IMPORT_PATH.fullmatch(path):
        raise ValueError('must be "package.module:callable"')
    return path


def _loss(name: str) -> str:
    if name not in LOSSES and not _IMPORT_PATH.fullmatch(name):
        known = ", ".join(LOSSES)
        raise ValueError(f'must be one of {known} or "package.module:callable"' + did_you_mean(name, LOSSES))
    return name


def _client(client: dict[str, Any]) -> dict[str, Any]:
    problems = client_problems(client)
    if problems:
        text = "; ".join(problem for _, problem in problems)
        raise PydanticCustomError("kafka_client", "{text}", {"text": text, "problems": problems})
    if "api_version" in client:  # kafka-python compares it with tuples; TOML has arrays alone
        return {**client, "api_version": tuple(client["api_version"])}
    return client


def _as_path(path: Any) -> Any:
    if path == "":
        raise ValueError("must not be empty")
    return Path(path) if isinstance(path, str) else path


ServerList = Annotated[str, AfterValidator(_servers)]
TopicName = Annotated[str, AfterValidator(topic_name)]
ImportPath = Annotated[str, AfterValidator(_import_path)]
LossName = Annotated[str, AfterValidator(_loss)]
ClientSettings = Annotated[dict[str, Any], AfterValidator(_client)]
Directory = Annotated[Path, BeforeValidator(_as_path, json_schema_input_type=str)]
