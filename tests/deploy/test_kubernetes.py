"""The manifests of deploy/kubernetes, as the schemas of Kubernetes and the settings of the service have them."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from slimseq.app.settings import Settings
from tests.deploy.conftest import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
MANIFESTS = {path.stem: path for path in sorted(FOLDER.glob("*.yaml")) if path.stem != "kustomization"}
VERSIONS = ("1.30", "1.34")


def manifest(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(MANIFESTS[name].read_text(encoding="utf-8"))
    return found


@pytest.fixture
def pod() -> dict[str, Any]:
    spec: dict[str, Any] = manifest("deployment")["spec"]["template"]["spec"]
    return spec


@pytest.fixture
def container(pod: dict[str, Any]) -> dict[str, Any]:
    [only] = pod["containers"]
    found: dict[str, Any] = only
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_follows_the_schema(name: str, version: str) -> None:
    kubernetes_validate.validate(manifest(name), version, strict=True)


def test_the_kustomization_lists_every_manifest_but_the_secret() -> None:
    kustomization = yaml.safe_load((FOLDER / "kustomization.yaml").read_text(encoding="utf-8"))

    assert {Path(each).stem for each in kustomization["resources"]} == set(MANIFESTS) - {"secret.example"}


def test_manifests_select_the_pods_of_the_deployment() -> None:
    labels = manifest("deployment")["spec"]["template"]["metadata"]["labels"]

    assert manifest("deployment")["spec"]["selector"]["matchLabels"] == labels
    assert manifest("service")["spec"]["selector"] == labels
    assert manifest("pod-disruption-budget")["spec"]["selector"]["matchLabels"] == labels
    assert manifest("network-policy")["spec"]["podSelector"]["matchLabels"] == labels
    assert manifest("horizontal-pod-autoscaler")["spec"]["scaleTargetRef"]["name"] == "slimseq"


def test_the_pod_has_no_rights_and_writes_to_its_own_folders_alone(
    pod: dict[str, Any], container: dict[str, Any]
) -> None:
    assert pod["securityContext"]["runAsNonRoot"] and pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    written = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert written == {"/tmp", "/var/lib/slimseq"}


def test_the_user_of_the_pod_is_that_of_the_image(pod: dict[str, Any]) -> None:
    user = pod["securityContext"]["runAsUser"]

    assert f"\nUSER {user}\n" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"] == user


def test_probes_ask_whether_it_is_alive_and_whether_it_is_ready(container: dict[str, Any]) -> None:
    asked = {probe: container[probe]["httpGet"]["path"] for probe in container if probe.endswith("Probe")}

    assert asked == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}


def test_the_secret_has_what_the_pod_takes_from_it(pod: dict[str, Any], container: dict[str, Any]) -> None:
    secret = manifest("secret.example")
    references = [each["valueFrom"]["secretKeyRef"] for each in container["env"] if "valueFrom" in each]
    [mounted] = [each["secret"] for each in pod["volumes"] if "secret" in each]

    assert {each["name"] for each in references} == {mounted["secretName"]} == {secret["metadata"]["name"]}
    assert {item["key"] for item in mounted["items"]} == set(secret["stringData"])
    assert all(reference["optional"] for reference in references)


def test_variables_are_settings_and_a_service_adds_none(pod: dict[str, Any], container: dict[str, Any]) -> None:
    settings = {f"SLIMSEQ_{name.upper()}" for name in Settings.model_fields}

    assert {each["name"] for each in container["env"]} <= settings
    assert pod["enableServiceLinks"] is False


def test_kubernetes_waits_longer_than_the_service_takes_to_end(pod: dict[str, Any], container: dict[str, Any]) -> None:
    [drain] = [float(each["value"]) for each in container["env"] if each["name"] == "SLIMSEQ_DRAIN_SECONDS"]

    assert pod["terminationGracePeriodSeconds"] > drain + Settings.model_fields["shutdown_grace_seconds"].default + 1
