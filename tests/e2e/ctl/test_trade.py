"""`modelsyncctl import` and `export`: others' forms in, plain folders out, against a real hub."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from modelsyncd.wire.v1 import records_pb2
from tests.e2e.content import folder
from tests.e2e.ctl.test_metrics import _record
from tests.e2e.processes import Ctl, HubProgram

CARD = """---
license: mit
pipeline_tag: text-classification
base_model: acme/base
datasets: [acme/words]
model-index:
- name: m
  results:
  - task: {type: text-classification}
    dataset: {name: words, type: words}
    metrics:
    - {type: accuracy, value: 0.75}
    - {type: f1, value: nonsense}
---
# Words
"""


@pytest.fixture
def ctl(hub: HubProgram, tmp_path: Path) -> Ctl:
    return Ctl(hub.context, {"MODELSYNCD_CACHE": str(tmp_path / "cache")})


def cached_model(top: Path) -> Path:
    """As huggingface_hub lays its cache out."""
    model = top / "models--acme--words"
    blobs, snapshot = model / "blobs", model / "snapshots" / "c0ffee"
    for place in (blobs, snapshot / "sub", model / "refs"):
        place.mkdir(parents=True)
    (model / "refs" / "main").write_text("c0ffee")
    save_file({"w": np.arange(8, dtype=np.float32)}, blobs / "aa", {"format": "pt"})
    (blobs / "bb").write_text(CARD)
    (blobs / "cc").write_text('{"model_type": "bert"}')
    for name, blob in (("model.safetensors", "aa"), ("README.md", "bb"), ("config.json", "cc"), ("sub/x.json", "cc")):
        up = "../" * (2 + name.count("/"))
        (snapshot / name).symlink_to(f"{up}blobs/{blob}")
    (snapshot / ".gitattributes").write_text("*.bin lfs")
    return model


def test_a_model_of_the_cache_of_huggingface_hub_comes_with_its_card(ctl: Ctl, tmp_path: Path) -> None:
    done = ctl.json("import", str(cached_model(tmp_path)), "trade/words", "--label", "site=oslo")
    assert (done["form"], done["number"], done["created"]) == ("huggingface", 1, True)
    shown = ctl.json("show", "trade/words")
    assert [one["path"] for one in shown["contents"]] == [
        "README.md", "config.json", "model.safetensors", "sub/x.json",
    ]  # fmt: skip
    assert shown["labels"] == {
        "imported-from": "hf:acme/words@c0ffee",
        "task": "text-classification",
        "base-model": "acme/base",
        "site": "oslo",
    }
    assert (shown["licence"], shown["datasets"], shown["metrics"]) == ("mit", ["acme/words"], {"accuracy": 0.75})
    assert not list((tmp_path / "cache" / "import").iterdir())
    error = ctl.error(3, "import", str(tmp_path / "models--acme--words"), "trade/words", "--revision", "v9")
    assert "no revision v9" in error["message"]
    assert "c0ffee" in error["hint"]


def test_an_mlflow_model_comes_with_its_run_and_the_runs_numbers(ctl: Ctl, tmp_path: Path) -> None:
    run = tmp_path / "mlruns" / "0" / "abc"
    model = run / "artifacts" / "model"
    model.mkdir(parents=True)
    said = {
        "artifact_path": "model",
        "run_id": "abc",
        "model_uuid": "u1",
        "flavors": {"onnx": {"data": "m.onnx"}, "python_function": {}},
    }
    (model / "MLmodel").write_text(yaml.safe_dump(said))
    (model / "m.onnx").write_bytes(b"weights")
    (run / "metrics").mkdir()
    (run / "metrics" / "precision").write_text("1 0.5 0\n2 0.875 1\n")
    done = ctl.json("import", str(model), "trade/flow")
    shown = ctl.json("show", "trade/flow")
    assert done["form"] == "mlflow"
    assert shown["labels"]["mlflow-run"] == "abc"
    assert shown["labels"]["flavours"] == "onnx,python_function"
    assert shown["metrics"] == {"precision": 0.875}
    (model / "MLmodel").write_text("a: [")
    assert "no YAML" in ctl.error(2, "import", str(model), "trade/flow")["message"]


def test_a_sedna_resource_comes_in_and_goes_out_with_its_numbers(ctl: Ctl, tmp_path: Path) -> None:
    resource = {
        "apiVersion": "sedna.io/v1alpha1",
        "kind": "Model",
        "metadata": {"name": "helmet", "namespace": "factory"},
        "spec": {"url": "/models/helmet", "format": "pb"},
        "status": {"metrics": [{"key": "precision", "value": "0.5"}, {"key": "odd", "value": "high"}]},
    }
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(resource))
    folder(tmp_path / "disk" / "models" / "helmet", seed=3, size=10_000)
    assert "--root" in ctl.error(3, "import", str(tmp_path / "model.yaml"), "trade/sedna")["hint"]
    done = ctl.json("import", str(tmp_path / "model.yaml"), "trade/sedna", "--root", str(tmp_path / "disk"))
    assert done["form"] == "sedna"
    shown = ctl.json("show", "trade/sedna")
    assert shown["labels"] == {"imported-from": "sedna:factory/helmet", "format": "pb"}
    assert shown["metrics"] == {"precision": 0.5}

    out = tmp_path / "out"
    ctl.json("export", "trade/sedna", str(out), "--sedna", str(tmp_path / "back.yaml"), "--url", "/models/helmet")
    back = yaml.safe_load((tmp_path / "back.yaml").read_text())
    assert back["spec"]["url"] == "/models/helmet"
    assert back["status"]["metrics"] == [{"key": "precision", "value": "0.5"}]
    checked = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=out, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    assert sorted(p.name for p in out.iterdir()) == sorted(
        [*(p.name for p in (tmp_path / "disk" / "models" / "helmet").iterdir()), "SHA256SUMS"]
    )


def test_a_link_that_leads_out_of_a_folder_is_not_followed(ctl: Ctl, tmp_path: Path) -> None:
    (tmp_path / "private.key").write_text("private")
    for form, mark in (("huggingface", "config.json"), ("plain", "weights.bin")):
        (tmp_path / form).mkdir()
        (tmp_path / form / mark).write_text("{}")
        (tmp_path / form / "more.bin").symlink_to(tmp_path / "private.key")
        error = ctl.error(2, "import", str(tmp_path / form), "trade/hostile", "--form", form)
        assert "leads out" in error["message"]
    assert "trade/hostile" in ctl.error(3, "show", "trade/hostile")["message"]


def test_a_plain_folder_comes_as_it_is_and_what_is_not_there_is_told(ctl: Ctl, tmp_path: Path) -> None:
    folder(tmp_path / "plain", seed=4, size=5_000)
    assert ctl.json("import", str(tmp_path / "plain"), "trade/plain")["form"] == "plain"
    assert "there is no" in ctl.error(3, "import", str(tmp_path / "none"), "trade/plain")["message"]
    assert (
        "no model in the form mlflow"
        in ctl.error(2, "import", str(tmp_path / "plain"), "trade/plain", "--form", "mlflow")["message"]
    )


def test_a_sedna_resource_has_the_numbers_of_the_variant_that_is_exported(
    hub: HubProgram, ctl: Ctl, tmp_path: Path
) -> None:
    full, small = folder(tmp_path / "full", seed=5, size=5_000), folder(tmp_path / "small", seed=6, size=5_000)
    ctl.json("push", str(full), "trade/forms", "--variant", "fp32", "--also", f"int8={small}", "--metric", "loss=0.3")
    several: list[records_pb2.Number] = []
    for at, (variant, value) in enumerate([("fp32", 0.9), ("int8", 0.4)], start=1):
        one = records_pb2.Number(model="trade/forms", number=1, name="precision", value=value, at=float(at))
        one.variant, one.key = variant, variant.encode()
        several.append(one)
    asyncio.run(_record(hub, several))
    said = {}
    for variant in ("fp32", "int8"):
        file = tmp_path / f"{variant}.yaml"
        ctl.json("export", "trade/forms", str(tmp_path / variant), "--variant", variant, "--sedna", str(file))
        said[variant] = yaml.safe_load(file.read_text())["status"]["metrics"]
    precise = {"key": "precision", "value": "0.9"}
    assert said == {
        "fp32": [{"key": "loss", "value": "0.3"}, precise],
        "int8": [{"key": "precision", "value": "0.4"}],
    }
