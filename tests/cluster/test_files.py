"""The files under docs/cluster are what the programs that read them take."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

TESTS = Path(__file__).parents[1]
DOCS = TESTS.parent / "docs"
FILES = DOCS / "cluster"

RAY_CLUSTER = {
    *("rayVersion", "enableInTreeAutoscaling", "autoscalerOptions", "headGroupSpec"),
    *(
        "workerGroupSpecs",
        "headServiceAnnotations",
        "suspend",
        "managedBy",
        "gcsFaultToleranceOptions",
    ),
}
RAY_JOB = {
    *("entrypoint", "backoffLimit", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished"),
    *("rayClusterSpec", "submissionMode", "activeDeadlineSeconds", "runtimeEnvYAML", "jobId"),
    *("metadata", "clusterSelector", "submitterPodTemplate", "suspend", "managedBy"),
}
HEAD = {"rayStartParams", "template", "serviceType", "headService", "enableIngress"}
WORKERS = {
    *("groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"),
    *("numOfHosts", "scaleStrategy", "suspend", "idleTimeoutSeconds"),
}
"""Fields of the custom resources ray.io/v1, as KubeRay documents them."""


def documents(name: str) -> dict[str, dict[str, Any]]:
    return {one["kind"]: one for one in yaml.safe_load_all((FILES / name).read_text())}


def clusters() -> list[tuple[str, dict[str, Any]]]:
    """By file, what is said of a cluster."""
    job, cluster = documents("rayjob.yaml")["RayJob"], documents("raycluster.yaml")["RayCluster"]
    return [("rayjob.yaml", job["spec"]["rayClusterSpec"]), ("raycluster.yaml", cluster["spec"])]


def groups(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [spec["headGroupSpec"], *spec["workerGroupSpecs"]]


@pytest.mark.parametrize(("name", "spec"), clusters())
def test_kubernetes_manifests_have_the_fields_of_their_kinds(
    name: str, spec: dict[str, Any]
) -> None:
    assert set(spec) <= RAY_CLUSTER
    assert set(spec["headGroupSpec"]) <= HEAD
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"  # text, or it is refused
    for group in spec["workerGroupSpecs"]:
        assert set(group) <= WORKERS
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    claims = {documents(name)["PersistentVolumeClaim"]["metadata"]["name"]}
    for group in groups(spec):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert container["resources"]["requests"] == container["resources"]["limits"]
        volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
        assert {mount["name"] for mount in container.get("volumeMounts", [])} == set(volumes)
        used = {volume["persistentVolumeClaim"]["claimName"] for volume in volumes.values()}
        assert used <= claims


def test_the_job_has_the_fields_of_its_kind() -> None:
    job = documents("rayjob.yaml")
    assert set(job) == {"PersistentVolumeClaim", "RayJob"}
    assert job["RayJob"]["apiVersion"] == "ray.io/v1"
    assert set(job["RayJob"]["spec"]) <= RAY_JOB
    assert documents("raycluster.yaml")["RayCluster"]["apiVersion"] == "ray.io/v1"


@pytest.mark.parametrize(("name", "spec"), clusters())
def test_rays_autoscaler_reads_machines_and_limits_from_the_manifests(
    name: str, spec: dict[str, Any]
) -> None:
    """As it does on Kubernetes: what a pod is worth to Ray follows from its limits."""
    from ray.autoscaler._private.kuberay import autoscaling_config

    resource = {"metadata": {"name": "ionscreen", "namespace": "default"}, "spec": spec}
    config = autoscaling_config._derive_autoscaling_config_from_ray_cr(resource)
    assert config["idle_timeout_minutes"] == 2
    types = config["available_node_types"]
    assert types[config["head_node_type"]]["resources"]["CPU"] == 0
    assert config["max_workers"] == sum(one["max_workers"] for one in types.values())
    found = {
        kind: {key: one["resources"].get(key, 0) for key in ("CPU", "GPU", "memory")}
        for kind, one in types.items()
    }
    assert found["cpu"] == {"CPU": 16, "GPU": 0, "memory": 32 * 2**30}
    if name == "rayjob.yaml":
        assert found["gpu"] == {"CPU": 16, "GPU": 1, "memory": 64 * 2**30}


@pytest.mark.parametrize("name", ["rayjob.yaml", "raycluster.yaml"])
def test_pods_and_claims_are_what_kubernetes_takes(name: str) -> None:
    """By the schemas of Kubernetes itself, down to the last field of a pod."""
    kubernetes = pytest.importorskip("kubernetes_validate")
    version = "1.34"
    kubernetes.validate(documents(name)["PersistentVolumeClaim"], version, strict=True)
    pods = [group["template"] for group in groups(dict(clusters())[name])]
    for pod in pods:
        whole = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, **pod}
        kubernetes.validate(whole, version, strict=True)
    whole["spec"]["containers"][0]["volumeMount"] = []
    with pytest.raises(kubernetes.ValidationError, match="volumeMount"):
        kubernetes.validate(whole, version, strict=True)


@pytest.mark.parametrize(("name", "n_workers"), [("ray-up.yaml", 16), ("ray-up-local.yaml", 2)])
def test_ray_takes_the_launchers_file(name: str, n_workers: int) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(yaml.safe_load((FILES / name).read_text()))
    validate_config(config)
    assert config["max_workers"] == n_workers
    assert config["head_node_type"] in config["available_node_types"]
    with pytest.raises(jsonschema.ValidationError, match="'nobody' was unexpected"):
        validate_config(config | {"nobody": 1})


def test_versions_are_those_of_this_installation() -> None:
    from importlib import metadata

    ray, own = metadata.version("ray"), metadata.version("ionscreen")
    for file in FILES.iterdir():
        text = file.read_text()
        assert set(re.findall(r"rayproject/ray:([0-9.]+)", text)) <= {ray}
        assert set(re.findall(r'rayVersion: "([0-9.]+)"', text)) <= {ray}
        assert set(re.findall(r"ionscreen:([0-9.]+)\n", text)) <= {own}


SCRIPTS = [FILES / "slurm.sbatch", TESTS / "slurm/run.sh", TESTS / "cluster/ray_up.sh"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_shell_scripts_parse(script: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")
    subprocess.run([bash, "-n", str(script)], check=True)


def commands() -> list[str]:
    """Every ``screen run`` in the files and the page."""
    texts = [file.read_text() for file in (*FILES.iterdir(), DOCS / "cluster.md")]
    found = [line for text in texts for line in re.findall(r"screen run --chemsys .*", text)]
    assert len(found) >= 4
    return found


@pytest.mark.parametrize("command", commands())
def test_campaigns_are_given_options_that_there_are(command: str) -> None:
    from screen.options import RunOptions

    words = shlex.split(command.rstrip(" &'"))[2:]
    names = {field.replace("_", "-") for field in RunOptions.__dataclass_fields__}
    assert {word[2:] for word in words if word.startswith("--")} <= names


def test_the_page_names_every_file() -> None:
    linked = set(re.findall(r"\(cluster/([^)]+)\)", (DOCS / "cluster.md").read_text()))
    assert linked == {file.name for file in FILES.iterdir()}
