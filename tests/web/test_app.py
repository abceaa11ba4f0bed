"""The HTTP interface through a real server on loopback."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

import streammeta.web
from streammeta.errors import ConfigError
from tests.observe.outcomes import learned, turned
from tests.web.shown import Daemon

STATIC = Path(streammeta.web.__file__).parent / "static"
TOKEN = "correct horse battery staple"  # noqa: S105 (made up here)


@pytest.fixture
def daemon(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """A running server; with a token where the test gives one as parameter."""
    daemon = Daemon(getattr(request, "param", None))
    daemon.server.start()
    yield daemon
    daemon.server.stop()


@pytest.fixture
def http(daemon: Daemon) -> Iterator[httpx.Client]:
    """A client of that server."""
    with httpx.Client(base_url=daemon.server.address, trust_env=False, timeout=120) as client:
        yield client


def test_metrics_in_the_format_asked_for(daemon: Daemon, http: httpx.Client) -> None:
    """Classic text by default, OpenMetrics to who accepts it, each with its content type; gzip too."""
    daemon.metrics(learned())
    classic = http.get("/metrics")
    assert classic.headers["content-type"].startswith("text/plain; version=0.0.4")
    names = {family.name for family in text_string_to_metric_families(classic.text)}
    assert "streammeta_prequential_loss" in names
    strict = http.get("/metrics", headers={"accept": "application/openmetrics-text;version=1.0.0,*/*;q=0.1"})
    assert strict.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    families = parse_openmetrics(strict.text)  # type: ignore[no-untyped-call]  # theirs
    assert "streammeta_events" in {family.name for family in families}
    assert classic.headers["content-encoding"] == "gzip"
    odd = http.get("/metrics", headers={"accept": "application/openmetrics-text; version=abc"})
    assert odd.status_code == 200


def test_livez_fails_when_the_loop_is_stuck(daemon: Daemon, http: httpx.Client) -> None:
    """200 within 60 s of the last turn, then 503 with the reason, then 200 again."""
    assert http.get("/livez").status_code == 200
    daemon.clock.seconds += 61
    stuck = http.get("/livez")
    assert stuck.status_code == 503
    assert stuck.text == "stuck: something is due, and nothing has moved for 61 s (limit 60 s)\n"
    daemon.health(turned())
    assert http.get("/livez").status_code == 200


def test_readyz_gives_the_reason(daemon: Daemon, http: httpx.Client) -> None:
    """503 while starting, restoring or without broker; 200 when learning."""
    answers = [http.get("/readyz")]
    for outcome in (turned(restoring=True), turned(connected=False), turned()):
        daemon.health(outcome)
        answers.append(http.get("/readyz"))
    assert [answer.status_code for answer in answers] == [503, 503, 503, 200]
    assert [answer.text.split(":")[0].strip() for answer in answers] == [
        "starting",
        "restoring",
        "no broker",
        "ready",
    ]


def test_status_is_the_snapshot(daemon: Daemon, http: httpx.Client) -> None:
    """What the observer knows arrives as JSON, unknown numbers as null."""
    daemon.status(turned())
    daemon.status(learned(gradient_norm=float("nan")))
    answer = http.get("/api/v1/status")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {**daemon.status.snapshot(), "troubles": [], "challengers": []}
    assert answer.json()["gradient_norm"] is None


def test_page_needs_nothing_from_elsewhere(http: httpx.Client) -> None:
    """All that the page refers to is served here, and nothing refers to another host or holds inline code."""
    page = http.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    targets = set(re.findall(r'(?:src|href)="([^"#]+)"', page.text))
    assert {"static/page.css", "static/js/main.js", "metrics", "api/v1/status"} <= targets
    modules = {f"static/js/{file.name}" for file in (STATIC / "js").iterdir()}
    assert len(modules) > 5
    for target in targets | modules:
        assert http.get("/" + target).status_code in {200, 503}, target
    for file in [file for file in STATIC.rglob("*") if file.is_file()]:
        addresses = set(re.findall(r"https?://[^\s\"']+", file.read_text()))
        assert addresses <= {"http://www.w3.org/2000/svg", "https://github.com/leeoniya/uPlot"}
    assert not re.search(r"<script(?![^>]*src)|<style| style=| on\w+=", page.text)


def test_security_headers_on_every_answer(http: httpx.Client) -> None:
    """Pages, data, and refusals forbid sniffing, framing and code from elsewhere."""
    for path in ("/", "/metrics", "/api/v1/status", "/static/page.css", "/nothing"):
        headers = http.get(path).headers
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["content-security-policy"].startswith("default-src 'self'"), path
        assert "server" not in headers


def test_methods(http: httpx.Client) -> None:
    """HEAD answers without a body, anything that would write is 405, an unknown path 404."""
    for path in ("/", "/metrics", "/livez", "/api/v1/status", "/api/v1/history"):
        head = http.head(path)
        assert (head.status_code, head.content) == (200, b""), path
        refused = http.post(path)
        assert refused.status_code == 405, path
        assert set(refused.headers["allow"].split(", ")) == {"GET", "HEAD"}
    assert http.get("/nothing").status_code == 404
    assert http.get("/static/../app.py").status_code == 404
    assert http.get("/static/%2e%2e/app.py").status_code == 404


@pytest.mark.parametrize("daemon", [TOKEN], indirect=True)
def test_token_guards_all_but_probes_and_metrics(http: httpx.Client) -> None:
    """Without or with a wrong token 401 and a challenge, with the right one an answer."""
    for path in ("/livez", "/metrics"):
        assert http.get(path).status_code == 200
    assert http.get("/readyz").status_code == 503
    for path in ("/", "/static/page.css", "/api/v1/status", "/nothing", "/metrics/", "//metrics"):
        for given in (None, "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN):
            answer = http.get(path, headers={} if given is None else {"authorization": given})
            assert answer.status_code == 401, (path, given)
            assert answer.headers["www-authenticate"].startswith("Bearer")
    for scheme in ("Bearer", "bearer"):
        assert http.get("/api/v1/status", headers={"authorization": f"{scheme} {TOKEN}"}).status_code == 200


def test_metrics_may_ask_for_the_token_too() -> None:
    """Then they are answered only with it; probes still are without."""
    daemon = Daemon(TOKEN, guarded=("/metrics",))
    daemon.server.start()
    try:
        with httpx.Client(base_url=daemon.server.address, trust_env=False) as http:
            assert http.get("/livez").status_code == 200
            assert http.get("/metrics").status_code == 401
            answer = http.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})
            assert "streammeta_build_info" in answer.text
    finally:
        daemon.server.stop()


STRANGE = (
    "evil.example",
    "evil.example:80",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "[::1",
    "a@b:c",
)
KNOWN = ("localhost", "LOCALHOST.:9464", "me.localhost:1", "127.0.0.1", "[::1]:9464", "192.0.2.7:80", "")


def test_a_name_that_a_stranger_points_here_is_refused(http: httpx.Client) -> None:
    """403 for pages and data by other names (DNS rebinding); probes and metrics answer to all."""
    for host in STRANGE:
        for path in ("/", "/api/v1/status", "/static/page.css", "/api/v1/stream"):
            answer = http.get(path, headers={"host": host})
            assert (answer.status_code, "http.token_file" in answer.text) == (403, True), (host, path)
        assert http.get("/metrics", headers={"host": host}).status_code == 200
    for host in KNOWN:
        assert http.get("/api/v1/status", headers={"host": host}).status_code == 200, host


@pytest.mark.parametrize("settings", [{"local": False}, {"token": TOKEN}])
def test_other_names_where_others_reach_the_port(settings: dict[str, Any]) -> None:
    """On other addresses, or with a token, any name will do."""
    daemon = Daemon(**settings)
    daemon.server.start()
    headers = {"host": "learner.example", "authorization": f"Bearer {TOKEN}"}
    try:
        answer = httpx.get(f"{daemon.server.address}/api/v1/status", headers=headers, trust_env=False)
    finally:
        daemon.server.stop()
    assert answer.status_code == 200


def test_an_empty_token_is_refused() -> None:
    """An empty token file would let everybody in; it is a configuration error."""
    with pytest.raises(ConfigError, match=r"http\.token_file"):
        Daemon(" \n")


def test_json_steers_no_terminal(daemon: Daemon, http: httpx.Client) -> None:
    """Control characters and marks of writing direction are escaped, as JSON does it, and mean the same."""
    strange = "\x9b2J \u202etxt\x7f"
    daemon.tell(learned(task=strange))
    row = http.get(f"/api/v1/tasks/{quote(strange)}")
    listed = http.get("/api/v1/tasks")
    refusal = http.get("/api/v1/tasks", params={"sort": strange})
    assert all(answer.text.isprintable() for answer in (row, listed, refusal))
    assert row.json()["task"] == listed.json()["tasks"][0]["task"] == strange
    assert strange in refusal.json()["error"]
