"""`streammeta status`: what a running daemon says of itself, over its HTTP port."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from streammeta.cli.config_options import config_sources
from streammeta.cli.formats import FORMAT
from streammeta.cli.saying import say
from streammeta.config import Config, load_config
from streammeta.config.token import read_token
from streammeta.errors import StreammetaError
from streammeta.observe.catalogue import PHASE_TITLES
from streammeta.wording import counted

TIMEOUT_SECONDS: Final = 10.0
_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 (read, never listened on)


@click.command()
@config_sources
@click.option("--url", metavar="URL", help="Where it listens; default: http.host and http.port.")
@FORMAT
def status(path: Path | None, overrides: tuple[str, ...], url: str | None, form: str) -> None:
    """Ask a running daemon how it is: events, lag, losses, checkpoint, troubles and their remedies.

    Exit code 0 when it answers, whatever it says.

    Example: streammeta status --config learner.toml
    """
    config = load_config(path, overrides)
    told = ask(url or address_of(config), read_token(config.http.token_file))
    if form == "json":
        say(json.dumps(told))
        return
    for name, words in lines(told):
        say(f"{name:13} {words}")


def address_of(config: Config) -> str:
    """Where the daemon of this configuration is asked, from this machine."""
    host = _ANYWHERE.get(config.http.host, config.http.host)
    return f"http://{f'[{host}]' if ':' in host and host[0] != '[' else host}:{config.http.port}"


def ask(url: str, token: str | None) -> dict[str, Any]:
    """The daemon's `/api/v1/status`.

    Raises:
        UsageError: not a URL of HTTP.
        StreammetaError: nobody answers there, or not as a daemon does.
    """
    if not url.startswith(("http://", "https://")):
        raise click.UsageError(f"--url {url}: begins neither with http:// nor with https://")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"{url.rstrip('/')}/api/v1/status", headers=headers)  # noqa: S310 (seen above)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 (seen above)
            told: dict[str, Any] = json.load(answer)
            return told if "losses" in told else _foreign(url)
    except urllib.error.HTTPError as error:
        wants = "; name its http.token_file with --config F" if error.code in (401, 403) else ""
        raise StreammetaError(f"{url} answers {error.code} {error.reason}{wants}") from error
    except OSError as error:
        reason = getattr(error, "reason", None) or error
        raise StreammetaError(
            f"no daemon answers at {url}: {reason}; is it running, and there? (--url, --config F)"
        ) from error
    except (ValueError, TypeError):
        return _foreign(url)


def _foreign(url: str) -> dict[str, Any]:
    raise StreammetaError(f"{url} is not streammeta: its /api/v1/status is no status") from None


def lines(told: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and words, a line each; what is not known is a dash."""
    lag, tasks, saved = told["lag"], told["tasks"], told["checkpoint"]
    yield "state", f"{told['state']}, up {told['uptime_seconds']:,.0f} s, version {told['version']}"
    yield "learns", f"{told['algorithm']} from {told['topic']}"
    yield "events", f"{told['events']:,}, {told['events_per_second']:,.1f} a second"
    yield "lag", _lag(lag)
    for phase, loss in told["losses"].items():
        where = PHASE_TITLES.get(phase, phase)
        yield "loss", f"{_number(loss['now'])} now, {_number(loss['first'])} at first, {where}"
    yield "tasks", f"{tasks['stored']:,} stored, {tasks['cached']:,} in memory" if tasks else "-"
    yield "dead letters", f"{told['outcomes']['dead_letter']:,}"
    yield "checkpoint", "-" if saved is None else _saved(saved)
    yield "broker", ", ".join(filter(None, (told["broker"]["service"], told["broker"]["cause"])))
    for trouble in told["troubles"]:
        yield trouble["level"], f"{trouble['text']}. {trouble['remedy']}"


def _lag(lag: dict[str, Any]) -> str:
    if lag["total"] is None:
        return "-"
    behind = "" if lag["seconds"] is None else f", {lag['seconds']:,.0f} s behind"
    caught_up = not lag["total"] or lag["eta_seconds"] is None
    eta = "" if caught_up else f", 0 in {lag['eta_seconds']:,.0f} s"
    partitions = counted(len(lag["partitions"]), "partition")
    return f"{counted(lag['total'], 'record')} in {partitions}{behind}{eta}"


def _saved(saved: dict[str, Any]) -> str:
    return f"{saved['age_seconds']:,.0f} s ago, {saved['bytes']:,} bytes" if saved["ok"] else "failed"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
