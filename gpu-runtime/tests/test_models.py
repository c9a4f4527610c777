"""Nothing is loaded that was not checked: adapters of other bases, false headers, pickles and paths outside are refused."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from clara_runtime.errors import RuntimeFault
from clara_runtime.models import BUNDLED_MODELS, Base, attach_adapter, base_hash, linear_shapes, load_base, read_adapter, resolve_base, shapes_of

FIRST = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


@pytest.fixture()
def adapter(trained, tmp_path) -> Path:
    return Path(shutil.copytree(trained["folder"], tmp_path / "keys@v1"))


def change_tensors(folder: Path, change) -> None:
    (folder / "clara.json").unlink()
    tensors = load_file(folder / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def change_json(path: Path, **fields) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def refuse(folder: Path, base: Base, words: str, **options) -> None:
    with pytest.raises(RuntimeFault, match=words) as caught:
        read_adapter(folder, base, **options)
    assert caught.value.code == "adapter_invalid"


def test_the_hash_of_a_base_is_that_of_its_weight_files_and_is_remembered(base, tmp_path) -> None:
    expected = hashlib.sha256((BUNDLED_MODELS / "tiny-base" / "model.safetensors").read_bytes()).hexdigest()
    assert base.sha256 == expected
    cache = tmp_path / "hashes.json"
    copy = Path(shutil.copytree(base.folder, tmp_path / "copy"))
    assert base_hash(copy, cache) == expected
    assert expected in json.loads(cache.read_text()).values()
    with (copy / "model.safetensors").open("ab") as stream:
        stream.write(b"x")
    assert base_hash(copy, cache) != expected


def test_shapes_without_weights_equal_those_of_the_loaded_base(base) -> None:
    assert shapes_of(base.folder) == linear_shapes(load_base(base))
    assert shapes_of(base.folder)["model.layers.0.mlp.up_proj"] == (512, 192)
    assert "lm_head" not in shapes_of(base.folder)


@pytest.mark.parametrize(("name", "code"), [("", "base_model_invalid"), ("a/../b", "base_model_invalid"), ("~root", "base_model_invalid"), ("x\0y", "base_model_invalid"), ("http://x/y", "base_model_invalid")])
def test_a_name_that_is_no_base_is_refused(tmp_path, name, code) -> None:
    with pytest.raises(RuntimeFault) as caught:
        resolve_base(tmp_path, name)
    assert caught.value.code == code


def test_a_base_folder_outside_needs_to_be_allowed(tmp_path, monkeypatch) -> None:
    outside = Path(shutil.copytree(BUNDLED_MODELS / "tiny-base", tmp_path / "elsewhere" / "model"))
    with pytest.raises(RuntimeFault) as caught:
        resolve_base(tmp_path / "root", str(outside))
    assert caught.value.code == "path_outside_root"
    assert resolve_base(tmp_path / "root", str(outside), [outside]).folder == outside
    assert resolve_base(tmp_path / "root", "model", [outside.parent]).folder == outside
    monkeypatch.setenv("CLARA_RUNTIME_MODELS", str(outside))
    assert resolve_base(tmp_path / "root", str(outside)).folder == outside


def test_a_good_adapter_is_read_and_attached(adapter, base) -> None:
    checked = read_adapter(adapter, base)
    assert (checked.rank, checked.alpha) == (8, 16)
    assert checked.target_modules == ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]
    model = attach_adapter(load_base(base), checked, "one")
    model = attach_adapter(model, checked, "two")
    parameters = dict(model.named_parameters())
    for name in ("one", "two"):
        assert torch.equal(parameters[FIRST.replace(".weight", f".{name}.weight")], checked.tensors[FIRST])
    assert not any(parameter.requires_grad for name, parameter in parameters.items() if "lora_" in name)


@pytest.mark.parametrize("name", ["adapter_model.bin", "x.pt", "x.PKL"])
def test_pickles_are_refused(adapter, base, name) -> None:
    (adapter / name).write_bytes(b"\x80\x04.")
    refuse(adapter, base, "only safetensors")


def test_a_pickle_called_safetensors_is_refused(adapter, base) -> None:
    (adapter / "clara.json").unlink()
    torch.save({"x": torch.zeros(1)}, adapter / "adapter_model.safetensors")
    refuse(adapter, base, "not safetensors|false header")


def test_missing_files_are_named(adapter, base) -> None:
    (adapter / "adapter_config.json").unlink()
    refuse(adapter, base, "has no adapter_config.json")
    refuse(adapter / "nowhere", base, "does not exist")


def test_an_adapter_of_another_base_is_refused_by_hash_and_by_shape(adapter, base, tmp_path) -> None:
    change_json(adapter / "clara.json", base_model_sha256="0" * 64)
    refuse(adapter, base, "another base")
    (adapter / "clara.json").unlink()
    read_adapter(adapter, base)
    narrower = {name: (out // 2, into) for name, (out, into) in shapes_of(base.folder).items()}
    refuse(adapter, base, "has shape", shapes=narrower)
    refuse(adapter, base, "another base", shapes={})


def test_weights_changed_after_training_are_noticed(adapter, base) -> None:
    data = bytearray((adapter / "adapter_model.safetensors").read_bytes())
    data[-1] ^= 1
    (adapter / "adapter_model.safetensors").write_bytes(data)
    refuse(adapter, base, "changed after training")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"r": 4}, "rank 4"),
        ({"r": 0}, "rank 0"),
        ({"r": True}, "rank True"),
        ({"peft_type": "IA3"}, "LORA"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"auto_mapping": {"x": "y"}}, "auto_mapping"),
        ({"auto_map": {"AutoModel": "evil.Model"}}, "auto_map"),
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "biases"),
        ({"rank_pattern": {"q_proj": 64}}, "rank_pattern"),
    ],
)
def test_a_config_that_asks_for_more_than_plain_lora_is_refused(adapter, base, fields, words) -> None:
    (adapter / "clara.json").unlink()
    change_json(adapter / "adapter_config.json", **fields)
    refuse(adapter, base, words)


def test_a_rank_above_the_limit_is_refused(adapter, base) -> None:
    refuse(adapter, base, "above the limit", max_rank=4)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_infinity_are_refused(adapter, base, value) -> None:
    change_tensors(adapter, lambda tensors: tensors[FIRST].view(-1).__setitem__(3, value))
    refuse(adapter, base, "NaN or infinity")


@pytest.mark.parametrize("name", ["base_model.model.lm_head.weight", "base_model.model.model.embed_tokens.weight", "x", "base_model.model.model.layers.0.self_attn.q_proj.bias"])
def test_foreign_tensors_are_refused(adapter, base, name) -> None:
    change_tensors(adapter, lambda tensors: tensors.__setitem__(name, torch.zeros(2, 2)))
    refuse(adapter, base, "no LoRA weight")


def test_half_a_pair_is_refused(adapter, base) -> None:
    change_tensors(adapter, lambda tensors: tensors.pop(FIRST))
    refuse(adapter, base, "lacks one of its two")


def forged(adapter: Path, change_header=lambda header: None, length=None, tail=b"") -> None:
    path = adapter / "adapter_model.safetensors"
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    change_header(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data[8 + size :] + tail)
    (adapter / "clara.json").unlink()


@pytest.mark.parametrize("length", [2**63, 10**9, 3])
def test_a_false_header_length_is_refused(adapter, base, length) -> None:
    forged(adapter, length=length)
    refuse(adapter, base, "header")


def test_overlaps_gaps_and_surplus_bytes_are_refused(adapter, base, trained) -> None:
    def overlap(header: dict) -> None:
        names = [name for name in header if name != "__metadata__" and header[name]["shape"] == header[FIRST]["shape"]]
        header[names[1]]["data_offsets"] = header[names[0]]["data_offsets"]

    forged(adapter, overlap)
    refuse(adapter, base, "overlap")
    shutil.rmtree(adapter)
    shutil.copytree(trained["folder"], adapter)
    forged(adapter, tail=b"surplus")
    refuse(adapter, base, "surplus")
    shutil.rmtree(adapter)
    shutil.copytree(trained["folder"], adapter)
    forged(adapter, lambda header: header[FIRST].update(shape=[8, 10**12]))
    refuse(adapter, base, "false header")


def test_an_adapter_outside_the_root_is_refused_also_through_links(trained, adapter, base, tmp_path) -> None:
    root = tmp_path / "root"
    (root / "adapters").mkdir(parents=True)
    (root / "adapters" / "folder@v1").symlink_to(adapter)
    inner = Path(shutil.copytree(trained["folder"], root / "adapters" / "file@v1"))
    (inner / "adapter_model.safetensors").unlink()
    (inner / "adapter_model.safetensors").symlink_to(adapter / "adapter_model.safetensors")
    for path in ("adapters/folder@v1", "adapters/file@v1", str(adapter), "../keys@v1"):
        with pytest.raises(RuntimeFault) as caught:
            read_adapter(path, base, root=root)
        assert caught.value.code == "path_outside_root"
