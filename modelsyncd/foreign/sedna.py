"""The only place that knows Sedna's `Model` resource, as YAML: what it says of a model, and how its status is written.

Its fields are those of sedna.io/v1alpha1: `spec.url`, `spec.format`, `status.updateTime`, and `status.metrics[]` of
`key` and `value`, which are texts (https://github.com/kubeedge/sedna/blob/main/pkg/apis/sedna/v1alpha1/model_types.go).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from modelsyncd.errors import BadInputError, NotFoundError
from modelsyncd.foreign.brought import Brought, bounded, number
from modelsyncd.foreign.yamls import read_yaml, text_of

FORM = "sedna"
GROUP = "sedna.io/"


def fits(path: Path) -> bool:
    """Whether a file looks so."""
    return path.is_file() and path.suffix in (".yaml", ".yml") and _resource(path) is not None


def read(path: Path, root: Path | None = None) -> Brought:
    """The model that a resource speaks of. `root` is where the paths of `spec.url` begin on this machine.

    Raises BadInputError for a file that is none, or whose URL is on no disk of this machine; NotFoundError, OSError.
    """
    found = _resource(path)
    if found is None:
        raise BadInputError(f"{path} has no Model of {GROUP}*", hint="kubectl get model NAME -o yaml > model.yaml")
    spec, status, about = _mapping(found.get("spec")), _mapping(found.get("status")), _mapping(found.get("metadata"))
    where = _place(text_of(spec.get("url")), root)
    name = f"{text_of(about.get('namespace')) or 'default'}/{text_of(about.get('name'))}"
    labels = {"imported-from": f"sedna:{name}", "format": text_of(spec.get("format"))}
    devices = spec.get("device_soc_versions")
    if isinstance(devices, list):
        labels["device-soc-versions"] = ",".join(map(text_of, devices))
    return Brought(FORM, where, bounded(labels), _metrics(status))


@dataclass(frozen=True, slots=True)
class Resource:
    """What a resource is called, where its model is, and in which format."""

    name: str
    namespace: str
    url: str
    format: str


def write(about: Resource, metrics: Mapping[str, float], now: float) -> str:
    """A resource with the numbers of a release in its status, as the library of Sedna reads it."""
    import yaml  # noqa: PLC0415  # of the extras for hub and ctl

    document = {
        "apiVersion": f"{GROUP}v1alpha1",
        "kind": "Model",
        "metadata": {"name": about.name, "namespace": about.namespace},
        "spec": {"url": about.url, "format": about.format},
        "status": {
            "updateTime": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "metrics": [{"key": key, "value": f"{value:.12g}"} for key, value in sorted(metrics.items())],
        },
    }
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    return text


def _resource(path: Path) -> Mapping[str, object] | None:
    for document in read_yaml(path):
        if document.get("kind") == "Model" and text_of(document.get("apiVersion")).startswith(GROUP):
            return document
    return None


def _place(url: str, root: Path | None) -> Path:
    scheme, mark, rest = url.partition("://")
    if mark and scheme != "file":
        raise BadInputError(
            f"the model lies at {url[:200]}, which is on no disk of this machine",
            hint=f"modelsyncctl import {url[:200]} MODEL has the hub fetch it",
        )
    path = Path(rest if mark else url)
    found = root / str(path).lstrip("/") if root is not None else path
    if not url or not found.exists():
        raise NotFoundError(f"there is no {found}", hint="--root DIR says where the paths of the resource begin here")
    return found


def _metrics(status: Mapping[str, object]) -> dict[str, float]:
    found: dict[str, float] = {}
    said = status.get("metrics")
    for one in said if isinstance(said, list) else []:
        if isinstance(one, dict) and (value := number(one.get("value"))) is not None and len(found) < 32:
            found[text_of(one.get("key"))[:100]] = value
    found.pop("", None)
    return found


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
