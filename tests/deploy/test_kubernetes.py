"""The manifests of deploy/kubernetes are valid, closed, and name nothing that is not there."""

import copy
import itertools
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import typer.main
import yaml
from kubernetes_files import FOLDER, Resource, kustomize, name_of, pods_of, read_file

from tuner.cli.commands import COMMANDS

ROOT = FOLDER.parents[1]
COMPONENTS = ("shared-folder", "gpu", "ingress")
VERSIONS = ("1.31", "1.37")
# What the cluster's own schemas describe; the operators' kinds are read, and no more.
OTHERS = {"RayCluster", "PodMonitor", "ServiceMonitor"}


def applied_alone() -> dict[str, Resource]:
    """The files that are applied one by one, by file and kind/name."""
    files = [file for file in FOLDER.glob("*.yaml") if file.name != "kustomization.yaml"]
    return {
        f"{file.name}: {name_of(each)}": each
        for file in sorted(files)
        for each in read_file(file)
        if "kind" in each
    }


def everything() -> list[tuple[str, Resource]]:
    """Each resource of each file, and what each choice of components makes of it."""
    made = list(applied_alone().items())
    for count in range(len(COMPONENTS) + 1):
        for chosen in itertools.combinations(COMPONENTS, count):
            for name, resource in kustomize(*chosen).items():
                if all(resource != other for _, other in made):
                    made.append((f"{' '.join(chosen)} {name}", resource))
    return made


EVERYTHING = everything()


def workloads() -> Iterator[tuple[str, Resource, Resource]]:
    """Name, template and container of all that makes pods."""
    for name, resource in EVERYTHING:
        template = pods_of(resource)
        if template is not None:
            for container in template["spec"]["containers"]:
                yield name, template, container


@pytest.mark.parametrize("version", VERSIONS)
def test_core_kinds_are_valid(version: str) -> None:
    checked = 0
    for name, resource in EVERYTHING:
        if resource["kind"] in OTHERS:
            continue
        try:
            kubernetes_validate.validate(resource, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            pytest.fail(f"{name}: {error.message} at {list(error.absolute_path)}")
        checked += 1
    assert checked > 15


def test_an_unknown_field_is_found() -> None:
    worker = copy.deepcopy(kustomize()["Deployment/tuner-worker"])
    worker["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="livenesProbe"):
        kubernetes_validate.validate(worker, VERSIONS[-1], strict=True)


def test_no_folder_of_components_is_forgotten() -> None:
    text = (FOLDER / "kustomization.yaml").read_text()
    named = yaml.safe_load(text.replace("# components:", "components:").replace("#   -", "  -"))
    folders = {file.parent.name for file in FOLDER.glob("*/kustomization.yaml")}
    assert set(named["components"]) == folders == set(COMPONENTS)


def test_pods_have_no_rights() -> None:
    """The profile `restricted` of Kubernetes' own standards, and a root that nobody writes."""
    found = 0
    for name, template, container in workloads():
        pod, own = template["spec"], container["securityContext"]
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert own["allowPrivilegeEscalation"] is False
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert own["readOnlyRootFilesystem"]
        assert {"HOME": "/data"}.items() <= values_of(container).items()
        assert "limits" in container["resources"]
        found += 1
    assert found > 5


def values_of(container: Resource) -> dict[str, Any]:
    return {each["name"]: each.get("value") for each in container["env"]}


def test_the_image_is_the_one_of_the_dockerfile() -> None:
    """Its user, its folder and its program; and the extras that comments tell to build it with."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    [user] = re.findall(r"^USER (\d+):(\d+)$", dockerfile, re.MULTILINE)
    assert 'ENTRYPOINT ["tuner"]' in dockerfile
    for name, template, container in workloads():
        context = template["spec"]["securityContext"]
        assert (str(context["runAsUser"]), str(context["fsGroup"])) == user, name
        assert f"WORKDIR {container['workingDir']}\n" in dockerfile
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    texts = [file.read_text() for file in FOLDER.rglob("*.yaml")]
    extras = re.findall(r'EXTRAS="([^"]+)"', "\n".join(texts))
    assert len(extras) == 2
    assert set(" ".join(extras).split()) <= project["optional-dependencies"].keys()


def test_secrets_are_named_and_never_written() -> None:
    example = lines_of(FOLDER / "tuner.env.example")
    known = {"tuner": {line.partition("=")[0] for line in example}}
    known |= {"tuner-page": {"token", "users.json"}, "tuner-ray": {"token"}}
    named = 0
    for file in sorted(FOLDER.rglob("*.yaml")):
        for resource in read_file(file):
            assert resource.get("kind") != "Secret", file
            for name, key, optional in secret_keys(resource):
                assert optional or key in known[name], f"{file.name}: {name} has no {key}"
                named += 1
    assert named > 10


def lines_of(file: Path) -> list[str]:
    lines = file.read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def secret_keys(part: Any) -> Iterator[tuple[str, str, bool]]:
    """All references to a key of a secret: its name, the key, and whether it may be missing."""
    if isinstance(part, dict):
        if "secretKeyRef" in part:
            found = part["secretKeyRef"]
            yield found["name"], found["key"], found.get("optional", False)
        for value in part.values():
            yield from secret_keys(value)
    elif isinstance(part, list):
        for value in part:
            yield from secret_keys(value)


def test_names_lead_somewhere() -> None:
    """Selectors, ports, targets of autoscalers and monitors, volumes."""
    made = kustomize(*COMPONENTS)
    worker, page = made["Deployment/tuner-worker"], made["Deployment/tuner-page"]
    labels = {
        "worker": worker["spec"]["template"]["metadata"]["labels"],
        "page": page["spec"]["template"]["metadata"]["labels"],
    }
    ports = {
        part: {port["name"] for port in each["spec"]["template"]["spec"]["containers"][0]["ports"]}
        for part, each in (("worker", worker), ("page", page))
    }
    rules = [*made.values(), *(each for name, each in applied_alone().items())]
    seen = set()
    for resource in rules:
        part = resource["metadata"]["labels"].get("app.kubernetes.io/component")
        if part not in labels:
            continue
        spec, kind = resource["spec"], resource["kind"]
        seen.add(kind)
        chosen = spec.get("selector") or spec.get("podSelector")
        if chosen and kind not in ("Service",):
            assert chosen["matchLabels"] == labels[part], kind
        elif chosen:
            assert chosen == labels[part]
        if kind == "HorizontalPodAutoscaler":
            assert f"Deployment/{spec['scaleTargetRef']['name']}" in made
            assert "replicas" not in worker["spec"]
        for name in used_ports(resource):
            assert name in ports[part], f"{kind} of {part}: {name}"
    assert seen >= {"Service", "NetworkPolicy", "PodDisruptionBudget", "PodMonitor", "Ingress"}


def used_ports(resource: Resource) -> Iterator[str]:
    spec, kind = resource["spec"], resource["kind"]
    if kind == "NetworkPolicy":
        for rule in spec["ingress"]:
            yield from (port["port"] for port in rule["ports"])
    elif kind == "Service":
        yield from (port["targetPort"] for port in spec["ports"])
    elif kind in ("PodMonitor", "ServiceMonitor"):
        for each in spec.get("podMetricsEndpoints", spec.get("endpoints")):
            assert each["path"] == "/metrics"
            yield each["port"]
    elif kind == "Ingress":
        for rule in spec["rules"]:
            for path in rule["http"]["paths"]:
                yield path["backend"]["service"]["port"]["name"]


def test_the_autoscaler_reads_the_metric_that_the_adapter_makes() -> None:
    [values] = read_file(FOLDER / "prometheus-adapter.yaml")
    [rule] = values["rules"]["external"]
    [scaler] = read_file(FOLDER / "autoscale-trials.yaml")
    [metric] = scaler["spec"]["metrics"]
    assert metric["external"]["metric"]["name"] == rule["name"]["as"]
    assert rule["seriesQuery"].startswith("tuner_trial_slots{")


def test_the_ray_cluster_is_of_the_version_that_is_installed() -> None:
    cluster, policy = read_file(FOLDER / "ray-cluster.yaml")
    [search] = read_file(FOLDER / "ray-search.yaml")
    lock = (ROOT / "requirements.lock").read_text()
    spec = cluster["spec"]
    assert f"\nray=={spec['rayVersion']} " in lock
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    for group in groups:
        [container] = group["template"]["spec"]["containers"]
        assert values_of(container)["RAY_AUTH_MODE"] == "token"
        assert ("tuner-ray", "token", False) in set(secret_keys(container))
        assert container["readinessProbe"]["tcpSocket"]["port"] in {
            port["name"] for port in container["ports"]
        }
    name = cluster["metadata"]["name"]
    assert policy["spec"]["podSelector"]["matchLabels"] == {"ray.io/cluster": name}
    template = pods_of(search)
    assert template is not None
    words = template["spec"]["containers"][0]["args"]
    assert words[-1] == f"ray://{name}-head-svc:10001"
    caller = policy["spec"]["ingress"][1]["from"][0]["podSelector"]["matchLabels"]
    assert caller == template["metadata"]["labels"]


def test_command_lines_have_no_unknown_option() -> None:
    checked = set()
    for name, _, container in workloads():
        assert container["command"] == ["tuner"]
        words = container["args"]
        command = COMMANDS[words[0]]
        tree = typer.main.get_command(command) if isinstance(command, typer.Typer) else None
        tree = tree or typer.main.get_command(single(command))
        if hasattr(tree, "commands") and not words[1].startswith("--"):
            tree = tree.commands[words[1]]
        known = {option for each in tree.params for option in each.opts}
        assert {word for word in words if word.startswith("--")} <= known, name
        checked.add(words[0])
    assert checked == {"worker", "ui", "optimize", "db"}


def single(function: Callable[..., None]) -> typer.Typer:
    """A command line that is this command alone."""
    app = typer.Typer()
    app.command()(function)
    return app
