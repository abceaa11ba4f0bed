"""A real Prometheus over the rules that are shipped, with hours made seconds."""

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from tests.deploy.expressions import RULE_FILES
from tests.end_to_end.program import free_port, wait_until

SPEED = 150
"""How much faster time passes in the rules: 5 minutes are 2 seconds."""
SCRAPE = "700ms"
"""Two fall into the shortest window of the rules; and so long may an answer take on a busy machine."""
EVALUATION = "400ms"
UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def quickened(rules: str, speed: int = SPEED) -> str:
    """The rules with every duration, and every bound on seconds, divided by `speed`."""

    def shorter(found: re.Match[str]) -> str:
        return f"{int(found[1]) * UNIT_SECONDS[found[2]] * 1000 // speed}ms"

    durations = re.sub(r"\b(\d+)([smhd])\b", shorter, rules)
    bounds = r"(_seconds(?::\w+)? > )(\d+)"
    return re.sub(bounds, lambda found: f"{found[1]}{int(found[2]) / speed}", durations)


def available() -> bool:
    """Whether Prometheus is installed."""
    return shutil.which("prometheus") is not None


class Prometheus:
    """It scrapes one target, as a context manager."""

    def __init__(self, folder: Path, target_port: int) -> None:
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        for path in RULE_FILES:
            (folder / path.name).write_text(quickened(path.read_text()))
        config = {
            "global": {
                "scrape_interval": SCRAPE,
                "scrape_timeout": SCRAPE,
                "evaluation_interval": EVALUATION,
            },
            "rule_files": ["*.yaml"],
            "scrape_configs": [
                {"job_name": "streammeta", "static_configs": [{"targets": [f"127.0.0.1:{target_port}"]}]}
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))

    def __enter__(self) -> Self:
        with (self._folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={self._folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                ],
                stdout=log,
                stderr=log,
            )
        wait_until(lambda: self._get("/-/ready") is not None, "Prometheus is ready")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def query(self, promql: str) -> list[dict[str, Any]]:
        """The samples that an expression gives now, with `$` variables as Grafana would fill them."""
        filled = promql.replace("$job", "streammeta").replace("$__rate_interval", "5s")
        filled = filled.replace('instance="$instance"', 'instance=~".+"')
        answer = self._get("/api/v1/query?" + urllib.parse.urlencode({"query": filled}))
        assert answer is not None
        found: list[dict[str, Any]] = json.loads(answer)["data"]["result"]
        return found

    def names(self) -> set[str]:
        """Every metric that it has."""
        answer = self._get("/api/v1/label/__name__/values")
        assert answer is not None
        return set(json.loads(answer)["data"])

    def firing(self) -> set[str]:
        """The alerts that fire now, by their names less the prefix; with their cause or reason, if any."""
        found = self.query('ALERTS{alertstate="firing"}')
        return {_short(sample["metric"]) for sample in found}

    def wait_for(self, alert: str, *, firing: bool = True) -> None:
        """Return when it fires, or no longer does."""
        state = "fires" if firing else "has cleared"
        seen: set[str] = set()

        def so() -> bool:
            seen.clear()
            seen.update(self.firing())
            return (alert in seen) == firing

        wait_until(so, (f"{alert} {state}; firing:", seen), every_seconds=0.1)

    def _get(self, path: str) -> bytes | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=10) as answer:
                body: bytes = answer.read()
                return body
        except urllib.error.HTTPError as error:
            if error.code == 503:
                return None
            raise AssertionError(error.read().decode()) from error
        except OSError:
            return None


def _short(labels: dict[str, str]) -> str:
    more = labels.get("cause") or labels.get("reason") or labels.get("where")
    return labels["alertname"].removeprefix("Streammeta") + (f": {more}" if more else "")
