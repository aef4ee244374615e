"""The only place that knows MLflow's model folders: files beside an `MLmodel` (https://mlflow.org/docs/latest/ml/model).

A folder that lies where a tracking server keeps it (`RUN/artifacts/MODEL/MLmodel`) has the run's metrics beside it, in
`RUN/metrics/NAME`, a line "time value step" for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from modelsyncd.errors import BadInputError
from modelsyncd.foreign.brought import Brought, bounded, number
from modelsyncd.foreign.yamls import read_yaml, text_of

FORM = "mlflow"
FILE = "MLmodel"
_SAID = {"run_id": "mlflow-run", "model_uuid": "mlflow-model", "mlflow_version": "mlflow-version"}
_METRIC_BYTES = 1 << 20


def fits(path: Path) -> bool:
    """Whether a folder looks so."""
    return (path / FILE).is_file()


def read(path: Path) -> Brought:
    """A folder in this layout. Raises BadInputError for an MLmodel that can't be read, OSError."""
    documents = read_yaml(path / FILE)
    if not documents:
        raise BadInputError(f"{path / FILE} says nothing of a model")
    said = documents[0]
    flavours = said.get("flavors")
    labels = {name: text_of(said.get(key)) for key, name in _SAID.items()}
    labels["flavours"] = ",".join(sorted(map(str, flavours))) if isinstance(flavours, dict) else ""
    labels["imported-from"] = f"mlflow:{text_of(said.get('artifact_path')) or path.name}"
    return Brought(FORM, path, bounded(labels), dict(_metrics(path)))


def _metrics(path: Path) -> Iterator[tuple[str, float]]:
    """The newest value of each metric of the run that the folder lies in, if it does."""
    run = path.absolute().parent
    if run.name != "artifacts" or not (run.parent / "metrics").is_dir():
        return
    for file in sorted((run.parent / "metrics").iterdir())[:32]:
        if not file.is_file() or file.stat().st_size > _METRIC_BYTES:
            continue
        lines = [line.split() for line in file.read_text(encoding="utf-8", errors="replace").splitlines()]
        values = [number(words[1]) for words in lines if len(words) >= 2]
        if values and values[-1] is not None:
            yield file.name[:100], values[-1]
