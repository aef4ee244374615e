"""The only place that writes MLServer's model-settings.json: a model's own one for this version, or a short one.

It lies beside the version folders and names one of them, so replacing it is what switches the server's next load.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Collection
from pathlib import PurePosixPath

from modelsyncd.errors import BadInputError

FILE = "model-settings.json"
_RUNTIMES = {
    ".joblib": "mlserver_sklearn.SKLearnModel",
    ".pickle": "mlserver_sklearn.SKLearnModel",
    ".pkl": "mlserver_sklearn.SKLearnModel",
    ".bst": "mlserver_xgboost.XGBoostModel",
    ".ubj": "mlserver_xgboost.XGBoostModel",
    ".cbm": "mlserver_catboost.CatboostModel",
}


def settings(name: str, number: int, own: bytes | None, paths: Collection[str], implementation: str) -> bytes:
    """The file for a model that MLServer calls `name`, of which it shall load this version.

    `implementation` beats what the model says, and "" does not. Raises BadInputError when nothing says which runtime
    loads it.
    """
    told = _own(own) if own is not None else {}
    parameters = told.get("parameters")
    parameters = dict(parameters) if isinstance(parameters, dict) else {}
    inner = parameters.get("uri")
    uri = posixpath.normpath(inner) if isinstance(inner, str) else _only(paths)
    if uri.startswith(("/", "..")):
        raise BadInputError(f"the model's {FILE} leads out of its folder: {uri[:80]!r}")
    parameters |= {"uri": f"./{number}" if uri == "." else f"./{number}/{uri}", "version": str(number)}
    runtime = implementation or told.get("implementation") or _runtime(paths)
    told |= {"name": name, "implementation": runtime, "parameters": parameters}
    return (json.dumps(told, indent=2, sort_keys=True) + "\n").encode()


def _own(data: bytes) -> dict[str, object]:
    try:
        told = json.loads(data)
    except ValueError as error:
        raise BadInputError(f"the model's {FILE} is no JSON: {error}") from error
    if not isinstance(told, dict):
        raise BadInputError(f"the model's {FILE} is no JSON object")
    return told


def _only(paths: Collection[str]) -> str:
    return next(iter(paths)) if len(paths) == 1 else "."


def _runtime(paths: Collection[str]) -> str:
    if "MLmodel" in paths:
        return "mlserver_mlflow.MLflowRuntime"
    found = {_RUNTIMES[ending] for path in paths if (ending := PurePosixPath(path).suffix) in _RUNTIMES}
    if len(found) != 1:
        raise BadInputError(
            "nothing says which of MLServer's runtimes loads this model",
            safe="the server has what it had",
            hint=f'publish it with a {FILE}, or set implementation = "PACKAGE.CLASS" in the layout',
        )
    return found.pop()
