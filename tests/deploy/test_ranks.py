"""The manifests of a group: valid, one whole in either form, and fit for what ranks do."""

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
from tests.deploy.test_kubernetes import CONTAINER as ALONE
from tests.deploy.test_kubernetes import FOLDER as SINGLE
from tests.deploy.test_kubernetes import POD as POD_ALONE
from tests.deploy.test_kubernetes import VERSIONS

FOLDER = SINGLE / "ranks"
FORMS = {"statefulset": "StatefulSet", "job": "Job"}
FILES = [path for path in sorted(FOLDER.rglob("*.yaml")) if path.stem != "kustomization"]
MANIFESTS: dict[str, dict[str, Any]] = {path.stem: yaml.safe_load(path.read_text()) for path in FILES}
PODS = {form: MANIFESTS[form]["spec"]["template"] for form in FORMS}
CONTAINERS = {form: pod["spec"]["containers"][0] for form, pod in PODS.items()}
SIZES = {"statefulset": ["replicas"], "job": ["completions", "parallelism"]}


def option(form: str, name: str) -> str:
    """What torchrun is given."""
    (found,) = [word for word in CONTAINERS[form]["args"] if word.startswith(f"--{name}=")]
    return str(found.partition("=")[2])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", sorted(MANIFESTS))
def test_manifests_are_valid(name: str, version: str) -> None:
    """By the schema of an old and a new Kubernetes, unknown fields refused."""
    kubernetes_validate.validate(MANIFESTS[name], version, strict=True)


@pytest.mark.parametrize("form", FORMS)
def test_it_builds(form: str) -> None:
    """`kubectl kustomize`: all in the namespace, the settings under a name that follows their content."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl (package kubernetes-client) is not installed")
    run = subprocess.run([kubectl, "kustomize", FOLDER / form], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    built = {one["kind"]: one for one in yaml.safe_load_all(run.stdout)}
    assert set(built) == {"Namespace", "Service", "NetworkPolicy", "ConfigMap", FORMS[form]}
    assert {one["metadata"].get("namespace", "streammeta") for one in built.values()} == {"streammeta"}
    volumes = built[FORMS[form]]["spec"]["template"]["spec"]["volumes"]
    names = [volume["configMap"]["name"] for volume in volumes if "configMap" in volume]
    assert names == [built["ConfigMap"]["metadata"]["name"]]
    assert names[0].startswith("streammeta-ranks-")


@pytest.mark.parametrize("form", FORMS)
def test_as_many_pods_as_torchrun_waits_for(form: str) -> None:
    """All of them, at once, one rank each; fixed, for a state belongs to so many ranks."""
    spec = MANIFESTS[form]["spec"]
    assert {str(spec[name]) for name in SIZES[form]} == {option(form, "nnodes")}
    assert option(form, "nproc-per-node") == "1"
    assert form == "job" or spec["podManagementPolicy"] == "Parallel"
    assert form == "statefulset" or spec["completionMode"] == "Indexed"


@pytest.mark.parametrize("form", FORMS)
def test_ranks_meet_by_the_headless_service(form: str) -> None:
    """At the first pod's name; each is known by its own stable name, from which its rank follows."""
    service, spec = MANIFESTS["service"], PODS[form]["spec"]
    name, port = service["metadata"]["name"], MANIFESTS["service"]["spec"]["ports"][1]["port"]
    assert option(form, "rdzv-backend") == "c10d"
    assert option(form, "rdzv-endpoint") == f"{MANIFESTS[form]['metadata']['name']}-0.{name}:{port}"
    assert option(form, "local-addr") == f"$(POD_NAME).{name}"
    assert (service["spec"]["clusterIP"], service["spec"]["publishNotReadyAddresses"]) == ("None", True)
    subdomain = MANIFESTS[form]["spec"].get("serviceName") or spec["subdomain"]
    assert subdomain == name
    assert {"name": "rendezvous", "containerPort": port, "protocol": "TCP"} in CONTAINERS[form]["ports"]
    labels = PODS[form]["metadata"]["labels"]
    policy = MANIFESTS["networkpolicy"]["spec"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    own = {"podSelector": policy["podSelector"]}
    assert {"from": [own]} in policy["ingress"]
    assert {"to": [own]} in policy["egress"]


@pytest.mark.parametrize("form", FORMS)
def test_it_is_a_single_daemon_but_for_torchrun(form: str) -> None:
    """The same image, rights, probes, resources and mounts; only the wait for the group is longer."""
    mine, spec = CONTAINERS[form], PODS[form]["spec"]
    for name in ("image", "securityContext", "livenessProbe", "readinessProbe", "resources", "volumeMounts"):
        assert mine[name] == ALONE[name], name
    alone = POD_ALONE["spec"]
    for name in ("securityContext", "automountServiceAccountToken", "enableServiceLinks"):
        assert spec[name] == alone[name], name
    assert spec["terminationGracePeriodSeconds"] == alone["terminationGracePeriodSeconds"]
    assert mine["startupProbe"]["failureThreshold"] > ALONE["startupProbe"]["failureThreshold"]
    command = mine["args"][mine["args"].index("--no-python") + 1 :]
    assert command[:4] == ["streammeta", *ALONE["args"]]
    assert command[4:] == (["--until-end"] if form == "job" else [])


@pytest.mark.parametrize("form", FORMS)
def test_a_volume_a_rank(form: str) -> None:
    """The state's, with one writer; and pods are spread over machines where there are enough."""
    spec = PODS[form]["spec"]
    if form == "statefulset":
        (claim,) = MANIFESTS[form]["spec"]["volumeClaimTemplates"]
        name, wanted = claim["metadata"]["name"], claim["spec"]
    else:
        (volume,) = [volume for volume in spec["volumes"] if "ephemeral" in volume]
        name, wanted = volume["name"], volume["ephemeral"]["volumeClaimTemplate"]["spec"]
        assert spec["restartPolicy"] == "OnFailure"
    assert (name, wanted["accessModes"]) == ("state", ["ReadWriteOncePod"])
    (term,) = spec["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert (
        term["podAffinityTerm"]["labelSelector"]["matchLabels"].items()
        <= PODS[form]["metadata"]["labels"].items()
    )


def test_the_settings_are_valid() -> None:
    """`config check` says ok; the port is the pod's."""
    path = FOLDER / "base" / "streammeta.toml"
    assert CliRunner().invoke(main, ["config", "check", "--config", str(path)]).output.endswith("\nok\n")
    config = load_config(Path(path), (), {})
    assert {c["ports"][0]["containerPort"] for c in CONTAINERS.values()} == {config.http.port}
