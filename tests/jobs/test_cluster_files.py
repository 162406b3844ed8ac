"""The files under docs/cluster are what the programs that read them take."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

DOCS = Path(__file__).parents[2] / "docs"
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


def check_cluster(spec: dict[str, Any]) -> None:
    assert set(spec) <= RAY_CLUSTER
    assert set(spec["headGroupSpec"]) <= HEAD
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"  # text, or it is refused
    for group in spec["workerGroupSpecs"]:
        assert set(group) <= WORKERS
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for group in [spec["headGroupSpec"], *spec["workerGroupSpecs"]]:
        pod = group["template"]["spec"]
        assert set(pod) <= {"containers", "volumes"}
        (container,) = pod["containers"]
        assert container["resources"]["requests"] == container["resources"]["limits"]
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        assert {mount["name"] for mount in container.get("volumeMounts", [])} == volumes


def test_kubernetes_manifests_have_the_fields_of_their_kinds() -> None:
    job = documents("rayjob.yaml")
    assert set(job) == {"PersistentVolumeClaim", "RayJob"}
    assert job["RayJob"]["apiVersion"] == "ray.io/v1"
    spec = job["RayJob"]["spec"]
    assert set(spec) <= RAY_JOB
    check_cluster(spec["rayClusterSpec"])
    cluster = documents("raycluster.yaml")["RayCluster"]
    assert cluster["apiVersion"] == "ray.io/v1"
    check_cluster(cluster["spec"])
    claim = job["PersistentVolumeClaim"]["metadata"]["name"]
    volumes = spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["volumes"]
    assert [volume["persistentVolumeClaim"]["claimName"] for volume in volumes] == [claim]


def test_ray_takes_the_launchers_file() -> None:
    import ray

    jsonschema = pytest.importorskip("jsonschema")
    schema = Path(ray.__file__).parent / "autoscaler" / "ray-schema.json"
    jsonschema.validate(
        yaml.safe_load((FILES / "ray-up.yaml").read_text()), json.loads(schema.read_text())
    )


def test_versions_are_those_of_this_installation() -> None:
    from importlib import metadata

    ray, own = metadata.version("ray"), metadata.version("ionscreen")
    for file in FILES.iterdir():
        text = file.read_text()
        assert set(re.findall(r"rayproject/ray:([0-9.]+)", text)) <= {ray}
        assert set(re.findall(r'rayVersion: "([0-9.]+)"', text)) <= {ray}
        assert set(re.findall(r"ionscreen:([0-9.]+)\n", text)) <= {own}


@pytest.mark.parametrize(
    "script", [FILES / "slurm.sbatch", Path(__file__).parents[1] / "slurm/run.sh"]
)
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

    words = shlex.split(command.rstrip(" &"))[2:]
    names = {field.replace("_", "-") for field in RunOptions.__dataclass_fields__}
    assert {word[2:] for word in words if word.startswith("--")} <= names


def test_the_page_names_every_file() -> None:
    linked = set(re.findall(r"\(cluster/([^)]+)\)", (DOCS / "cluster.md").read_text()))
    assert linked == {file.name for file in FILES.iterdir()}
