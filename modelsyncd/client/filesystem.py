"""The files of a node's models for whoever opens files by URL: `modelsync://acme/helmet@stable/model.onnx`.

It is an fsspec filesystem (https://filesystem-spec.readthedocs.io), found by its entry point once fsspec is installed,
so pandas, torch and others read through it. What is opened is the version that is active at that moment, and stays that
version to the end. It only reads; `client.publish` writes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from fsspec import AbstractFileSystem

from modelsyncd.client.blocking import Client
from modelsyncd.client.model import Model
from modelsyncd.errors import ModelsyncError, NotFoundError, RefusedError
from modelsyncd.names import check_path


class ModelFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """The models that this machine's agent has. `target` and `token` are those of `Client`.

    Raises FileNotFoundError for what is not there, PermissionError for what this user may not read, and OSError when no
    agent answers, as programs that open files expect.
    """

    protocol: ClassVar[str] = "modelsync"
    root_marker: ClassVar[str] = ""
    cachable: ClassVar[bool] = False

    def __init__(self, target: str | None = None, token: str = "", **options: Any) -> None:
        super().__init__(**options)
        self._client = Client(target, token=token)

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        """What is right in a folder. The top has the channels that this machine follows."""
        del options
        path = self._strip_protocol(path)
        found = self._channels(path) if path.count("/") < 1 else self._inside(path)
        return found if detail else [one["name"] for one in found]

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        """One file or folder: its name, type, and size in bytes."""
        del options
        path = self._strip_protocol(path)
        if path.count("/") < 1:
            if path and not self._channels(path):
                raise FileNotFoundError(f"no model here is in namespace {path}")
            return _folder(path)
        model, inside = self._model(path)
        return _about(path, _file(model, inside, path))

    def cp_file(self, path1: str, path2: str, **options: Any) -> None:
        """Never: see the class."""
        raise PermissionError("models are published with modelsyncd.client.publish, not written to")

    def _open(self, path: str, mode: str = "rb", **options: Any) -> BinaryIO:
        del options
        if mode != "rb":
            raise PermissionError("models are published with modelsyncd.client.publish, not written to")
        model, inside = self._model(self._strip_protocol(path))
        return _file(model, inside, path).open("rb")

    def _channels(self, namespace: str) -> list[dict[str, Any]]:
        try:
            known = self._client.list()
        except ModelsyncError as error:
            raise _as_os_error(error, namespace) from error
        if namespace:
            return [_folder(one.ref) for one in known if one.name.startswith(f"{namespace}/")]
        return [_folder(name) for name in dict.fromkeys(one.name.partition("/")[0] for one in known)]

    def _inside(self, path: str) -> list[dict[str, Any]]:
        model, inside = self._model(path)
        file = _file(model, inside, path)
        if not file.is_dir():
            return [_about(path, file)]
        return [_about(f"{path}/{one.name}", one) for one in sorted(file.iterdir())]

    def _model(self, path: str) -> tuple[Model, str]:
        namespace, name, *inside = path.split("/", 2)
        try:
            return self._client.get(f"{namespace}/{name}"), inside[0] if inside else ""
        except ModelsyncError as error:
            raise _as_os_error(error, path) from error


def _file(model: Model, inside: str, path: str) -> Path:
    if not inside:
        return model.path
    try:
        file = model.path / check_path(inside.rstrip("/"))
    except ModelsyncError as error:
        raise FileNotFoundError(f"{path}: {error.message}") from error
    if model.path.is_file() and inside == model.path.name:
        return model.path  # a model that is a single file is in a folder of its own to people
    if not file.exists():
        raise FileNotFoundError(f"{model.name}:{model.number} has no {inside}")
    return file


def _about(name: str, file: Path) -> dict[str, Any]:
    if file.is_dir():
        return _folder(name)
    return {"name": name, "type": "file", "size": file.stat().st_size}


def _folder(name: str) -> dict[str, Any]:
    return {"name": name, "type": "directory", "size": 0}


def _as_os_error(error: ModelsyncError, path: str) -> OSError:
    said = f"{path}: {error.message}" + (f"; {error.hint}" if error.hint else "")
    if isinstance(error, NotFoundError):
        return FileNotFoundError(said)
    return PermissionError(said) if isinstance(error, RefusedError) else OSError(said)
