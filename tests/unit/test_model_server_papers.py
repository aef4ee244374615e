"""What lies beside the versions for a model server: the model's own word where it has one, ours where it has none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_agent.layouts.mlserver import settings
from edge_agent.layouts.settings import LayoutSettings, parse_layouts
from edge_agent.layouts.triton import config
from modelsyncd.errors import BadInputError

POLICY = "version_policy: { specific { versions: [ 4 ] } }\n"


@pytest.mark.parametrize(
    ("paths", "backend"),
    [
        (["model.onnx"], 'backend: "onnxruntime"\n'),
        (["helmet.onnx", "labels.txt"], 'backend: "onnxruntime"\ndefault_model_filename: "helmet.onnx"\n'),
        (["model.onnx", "other.onnx"], 'backend: "onnxruntime"\n'),
        (["model.savedmodel/saved_model.pb"], 'backend: "tensorflow"\n'),
        (["model.py", "deep/model.onnx"], 'backend: "python"\n'),
        (["one.onnx", "two.onnx"], ""),
        (["weights.npy"], ""),
    ],
)
def test_triton_is_told_what_the_names_of_the_files_tell(paths: list[str], backend: str) -> None:
    assert config("helmet", 4, None, paths).decode() == f'name: "helmet"\n{backend}{POLICY}'


@pytest.mark.parametrize(
    ("own", "written"),
    [
        ('backend: "python"', f'name: "helmet"\nbackend: "python"\n{POLICY}'),
        ('name: "trained"\nmax_batch_size: 8\n', f'name: "helmet"\nmax_batch_size: 8\n{POLICY}'),
        ('max_batch_size: 8 name : "x"', f'max_batch_size: 8 name : "helmet"\n{POLICY}'),
        ('input [ {\nname: "x" } ]\n', f'name: "helmet"\ninput [ {{\nname: "x" }} ]\n{POLICY}'),
        ('# name: "x"\nname: "y"', f'# name: "x"\nname: "helmet"\n{POLICY}'),
        ('name: "a { b"\nversion_policy: { all { } }\n', 'name: "helmet"\nversion_policy: { all { } }\n'),
        ("version_policy { latest { num_versions: 1 } }", None),
    ],
)
def test_a_models_own_config_stays_but_for_its_name_and_a_policy_where_it_has_none(
    own: str, written: str | None
) -> None:
    assert config("helmet", 4, own, []).decode() == (written or f'name: "helmet"\n{own}')


def told(own: dict[str, object] | None, paths: list[str], implementation: str = "") -> dict[str, object]:
    data = None if own is None else json.dumps(own).encode()
    return dict(json.loads(settings("helmet", 4, data, paths, implementation)))


def test_mlserver_is_told_the_version_and_where_it_lies() -> None:
    assert told(None, ["model.joblib"]) == {
        "name": "helmet",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": "./4/model.joblib", "version": "4"},
    }


def test_a_models_own_settings_stay_but_for_its_name_and_place() -> None:
    own: dict[str, object] = {
        "name": "trained",
        "implementation": "their.Runtime",
        "max_batch_size": 8,
        "parameters": {"uri": "./weights", "version": "v0.1", "extra": {"a": 1}},
    }
    assert told(own, ["weights/a", "weights/b"]) == {
        "name": "helmet",
        "implementation": "their.Runtime",
        "max_batch_size": 8,
        "parameters": {"uri": "./4/weights", "version": "4", "extra": {"a": 1}},
    }
    assert told(own, ["weights/a"], "ours.Runtime")["implementation"] == "ours.Runtime"


def test_several_files_are_a_folder_to_mlserver() -> None:
    assert told(None, ["MLmodel", "data/model.pkl"])["parameters"] == {"uri": "./4", "version": "4"}


@pytest.mark.parametrize("uri", ["/etc/passwd", "../other", "a/../../b"])
def test_a_models_settings_that_lead_out_of_its_folder_are_refused(uri: str) -> None:
    with pytest.raises(BadInputError, match="out of its folder"):
        told({"implementation": "a.B", "parameters": {"uri": uri}}, ["a", "b"])


@pytest.mark.parametrize("own", [b"no json", b"[]", b"\xff"])
def test_a_models_settings_that_are_none_are_refused(own: bytes) -> None:
    with pytest.raises(BadInputError, match="JSON"):
        settings("helmet", 4, own, ["a"], "a.B")


def test_a_runtime_that_nothing_tells_is_asked_for() -> None:
    with pytest.raises(BadInputError, match="runtimes") as caught:
        told(None, ["weights.npy"])
    assert "implementation" in caught.value.hint


def test_a_layout_without_a_channel_is_for_stable_and_has_the_models_name() -> None:
    (layout,) = parse_layouts({"acme/helmet": LayoutSettings("triton", Path("/srv"), reload="http://[::1]:8000/")})
    assert (str(layout.ref), layout.folder) == ("acme/helmet@stable", Path("/srv/helmet"))
    assert layout.reload == "http://[::1]:8000/v2/repository/models/helmet/load"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"server": "tritn"}, "no layout is known"),
        ({"folder": Path("srv")}, "absolute"),
        ({"name": "../x"}, "name at a server"),
        ({"name": ".x"}, "name at a server"),
        ({"keep": 0}, "1 or more"),
        ({"grace_seconds": -1.0}, "grace_seconds"),
        ({"files": "move"}, "no way"),
        ({"implementation": "a.B"}, "MLServer only"),
        ({"reload": "http://192.0.2.1:8000/load"}, "on this machine"),
        ({"reload": "https://127.0.0.1/load"}, "on this machine"),
        ({"reload": "http://127.0.0.1:x/"}, "no address"),
        ({"reload": "http://127.0.0.1/a\r\nb"}, "escaped|on this machine"),
        ({"server": "tensorflow-serving", "reload": "http://127.0.0.1:8501"}, "by itself"),
    ],
)
def test_a_layout_that_can_not_be_is_refused(more: dict[str, object], words: str) -> None:
    with pytest.raises(BadInputError, match=words):
        LayoutSettings(**({"server": "triton", "folder": Path("/srv")} | more))  # type: ignore[arg-type]


def test_two_layouts_in_one_folder_are_refused() -> None:
    one = LayoutSettings("triton", Path("/srv"))
    with pytest.raises(BadInputError, match="two layouts want"):
        parse_layouts({"acme/helmet@stable": one, "acme/helmet@canary": one})
    with pytest.raises(BadInputError, match="two layouts for"):
        parse_layouts({"acme/helmet@stable": one, "acme/helmet": LayoutSettings("triton", Path("/srv"), name="x")})
    with pytest.raises(BadInputError, match="names a release"):
        parse_layouts({"acme/helmet:3": one})
