"""The manifests: valid, one whole, and fit for what the daemon does."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner

from streammeta.cli import main
from streammeta.config import load_config
from streammeta.web.guard import OPEN_PATHS

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
MANIFESTS: dict[str, dict[str, Any]] = {
    path.stem: yaml.safe_load(path.read_text())
    for path in FOLDER.glob("*.yaml")
    if path.stem != "kustomization"
}
CUSTOM = {"servicemonitor"}
"""Resources that are not Kubernetes' own: no schema comes with it."""
VERSIONS = ("1.30", "1.36")
STOP_SECONDS = 30

POD = MANIFESTS["statefulset"]["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]
LABELS = POD["metadata"]["labels"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", sorted(MANIFESTS.keys() - CUSTOM))
def test_manifests_are_valid(name: str, version: str) -> None:
    """By the schema of an old and a new Kubernetes, unknown fields refused."""
    kubernetes_validate.validate(MANIFESTS[name], version, strict=True)


def test_validation_can_fail() -> None:
    """A misspelt field is refused."""
    spoilt = {**MANIFESTS["service"], "spek": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(spoilt, VERSIONS[-1], strict=True)


def test_the_kustomization_holds_all_of_it() -> None:
    """Every manifest is listed, and nothing else; the image is the one that the StatefulSet names."""
    assert {Path(name).stem for name in KUSTOMIZATION["resources"]} == set(MANIFESTS)
    (image,) = KUSTOMIZATION["images"]
    assert CONTAINER["image"] == f"{image['name']}:{image['newTag']}"


def test_it_builds() -> None:
    """`kubectl kustomize`: all in the namespace, the settings under a name that follows their content."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl (package kubernetes-client) is not installed")
    run = subprocess.run([kubectl, "kustomize", FOLDER], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    built = {one["kind"]: one for one in yaml.safe_load_all(run.stdout)}
    assert {one["metadata"].get("namespace", one["metadata"]["name"]) for one in built.values()} == {
        "streammeta"
    }
    name = built["ConfigMap"]["metadata"]["name"]
    assert name.startswith("streammeta-")
    assert built["ConfigMap"]["data"]["streammeta.toml"] == (FOLDER / "streammeta.toml").read_text()
    volumes = built["StatefulSet"]["spec"]["template"]["spec"]["volumes"]
    assert [volume["configMap"]["name"] for volume in volumes if "configMap" in volume] == [name]


def test_the_settings_are_valid_and_fit() -> None:
    """`config check` says ok; the file, the state and the port are where the pod has them."""
    path = FOLDER / "streammeta.toml"
    assert CliRunner().invoke(main, ["config", "check", "--config", str(path)]).output.endswith("\nok\n")
    config = load_config(path, (), {})
    assert config.http.host == "0.0.0.0"  # noqa: S104 - a pod's own network
    assert CONTAINER["ports"] == [{"name": "http", "containerPort": config.http.port, "protocol": "TCP"}]
    mounts = {mount["name"]: mount["mountPath"] for mount in CONTAINER["volumeMounts"]}
    (claim,) = MANIFESTS["statefulset"]["spec"]["volumeClaimTemplates"]
    assert str(config.state.dir).startswith(mounts[claim["metadata"]["name"]])
    assert CONTAINER["args"] == ["run", "--config", f"{mounts['config']}/streammeta.toml"]


def test_one_learner_that_may_finish() -> None:
    """One replica (a state has one writer), time enough for the last checkpoint."""
    assert MANIFESTS["statefulset"]["spec"]["replicas"] == 1
    assert POD["spec"]["terminationGracePeriodSeconds"] > STOP_SECONDS


@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe", "readinessProbe"])
def test_probes(probe: str) -> None:
    """They need no token; restoring, or waiting for a broker, is a reason to wait and none to restart."""
    asked = CONTAINER[probe]["httpGet"]
    assert asked["port"] == "http"
    assert asked["path"] == ("/readyz" if probe == "readinessProbe" else "/livez")
    assert asked["path"] in OPEN_PATHS


def test_least_rights() -> None:
    """Not root, no capabilities, nothing writable but its volumes, no token of the cluster."""
    spec = POD["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    own = CONTAINER["securityContext"]
    assert (own["allowPrivilegeEscalation"], own["readOnlyRootFilesystem"]) == (False, True)
    assert own["capabilities"] == {"drop": ["ALL"]}


def test_the_parts_find_each_other() -> None:
    """Service, monitor and network policy choose the pod by its labels and the port by its name."""
    service, monitor = MANIFESTS["service"], MANIFESTS["servicemonitor"]
    policy = MANIFESTS["networkpolicy"]["spec"]
    stateful = MANIFESTS["statefulset"]["spec"]
    for selector in (
        service["spec"]["selector"],
        stateful["selector"]["matchLabels"],
        policy["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= LABELS.items()
    assert stateful["serviceName"] == service["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (port,) = service["spec"]["ports"]
    (endpoint,) = monitor["spec"]["endpoints"]
    ((allowed,),) = [rule["ports"] for rule in policy["ingress"]]
    assert endpoint["port"] == port["name"] == port["targetPort"] == allowed["port"] == "http"
    assert endpoint["path"] == "/metrics"
    brokers = load_config(FOLDER / "streammeta.toml", (), {}).kafka.bootstrap_servers
    outward = [port["port"] for rule in policy["egress"] for port in rule["ports"]]
    assert int(brokers.rpartition(":")[2]) in outward
