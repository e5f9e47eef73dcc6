import os
import stat
import sys

import numpy as np
import pytest
import torch

from nnvis_widgets import store
from nnvis_widgets.store import StoreError


def test_arrays_come_back_bit_for_bit(tmp_path):
    arrays = {
        "loss": np.array([1.5, np.nan, np.inf, -np.inf, -0.0]),
        "grid": np.arange(35.0).reshape(5, 7),
        "counts": np.arange(3),
        "flags": np.array([True, False]),
        "nothing": np.zeros((0, 7)),
        "number": np.array(2.5),
    }
    store.write_arrays(tmp_path / "file", arrays, {"name": "π", "n": 3})
    got, about = store.read_arrays(tmp_path / "file")
    assert about == {"format": store.FORMAT, "name": "π", "n": 3}
    assert got.keys() == arrays.keys()
    for name, array in arrays.items():
        assert got[name].dtype == array.dtype
        assert got[name].shape == array.shape
        assert got[name].tobytes() == array.tobytes()


@pytest.mark.parametrize(
    "lay", [lambda a: np.asfortranarray(a), lambda a: a.T.copy().T, lambda a: np.repeat(a, 2, 1)[:, ::2], lambda a: a[::-1][::-1]]
)
def test_an_array_is_saved_by_its_indices_however_it_lies_in_memory(tmp_path, lay):
    array = np.arange(35.0).reshape(5, 7)
    store.write_arrays(tmp_path / "file", {"a": lay(array)}, {})
    assert np.array_equal(store.read_arrays(tmp_path / "file")[0]["a"], array)


def test_tensors_of_every_kind_come_back(tmp_path):
    rng = torch.Generator().manual_seed(0)
    tensors = {
        "transposed": torch.randn(5, 7, generator=rng).T,
        "channels_last": torch.randn(2, 3, 5, 7, generator=rng).to(memory_format=torch.channels_last),
        "half": torch.randn(3, generator=rng).bfloat16(),
        "counter": torch.tensor(7),
        "mask": torch.tensor([True, False]),
        "complex": torch.tensor([1 + 2j]),
    }
    store.write_tensors(tmp_path / "file", tensors)
    got = store.read_tensors(tmp_path / "file")
    assert all(torch.equal(got[name], tensor) and got[name].dtype == tensor.dtype for name, tensor in tensors.items())


def test_writing_makes_the_folders_and_leaves_one_file(tmp_path):
    store.write_json(tmp_path / "a" / "b" / "index.json", {"x": [1, None, "ü"]})
    assert store.read_json(tmp_path / "a" / "b" / "index.json") == {"format": 1, "x": [1, None, "ü"]}
    assert [p.name for p in (tmp_path / "a" / "b").iterdir()] == ["index.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_files_have_the_permissions_that_the_users_other_files_get(tmp_path):
    (tmp_path / "other").touch()
    store.write_json(tmp_path / "index.json", {})
    store.write_arrays(tmp_path / "arrays", {"a": np.zeros(1)}, {})
    expected = stat.S_IMODE((tmp_path / "other").stat().st_mode)
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("index.json", "arrays")} == {expected}


class TestAWriteThatFails:
    def test_leaves_the_old_file_and_nothing_beside_it(self, tmp_path, monkeypatch):
        store.write_json(tmp_path / "index.json", {"x": 1})

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "replace", full)
        with pytest.raises(OSError, match="No space left"):
            store.write_json(tmp_path / "index.json", {"x": 2})
        assert store.read_json(tmp_path / "index.json")["x"] == 1
        assert [p.name for p in tmp_path.iterdir()] == ["index.json"]

    def test_of_what_is_no_json_leaves_the_old_file(self, tmp_path):
        store.write_json(tmp_path / "index.json", {"x": 1})
        with pytest.raises(TypeError):
            store.write_json(tmp_path / "index.json", {"x": object()})
        assert store.read_json(tmp_path / "index.json")["x"] == 1

    @pytest.mark.parametrize(("text", "code"), [("I/O error: No space left on device (os error 28)", 28), ("(os error 27)", 27)])
    def test_is_an_os_error_whatever_safetensors_calls_it(self, tmp_path, monkeypatch, text, code):
        import safetensors.torch

        def fail(*_, **__):
            raise safetensors.SafetensorError(f"Error while serializing: {text}")

        monkeypatch.setattr(safetensors.torch, "save_file", fail)
        with pytest.raises(OSError, match=os.strerror(code)) as caught:
            store.write_tensors(tmp_path / "file", {"a": torch.zeros(3)})
        assert caught.value.errno == code
        assert list(tmp_path.iterdir()) == []


class TestRefused:
    def test_a_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"no such file.*nowhere"):
            store.read_arrays(tmp_path / "nowhere")
        with pytest.raises(StoreError, match="nowhere cannot be read as a checkpoint"):
            store.read_tensors(tmp_path / "nowhere")

    @pytest.mark.parametrize("size", [0, 4, 60, -1])
    def test_a_file_that_is_cut_short(self, tmp_path, size):
        store.write_arrays(tmp_path / "file", {"a": np.arange(35.0)}, {})
        whole = (tmp_path / "file").read_bytes()
        (tmp_path / "file").write_bytes(whole[:size])
        with pytest.raises(StoreError, match="is not a complete safetensors file"):
            store.read_arrays(tmp_path / "file")
        with pytest.raises(StoreError, match="cannot be read as a checkpoint"):
            store.read_tensors(tmp_path / "file")

    def test_files_of_others(self, tmp_path):
        store.write_tensors(tmp_path / "weights", {"a": torch.zeros(1)})
        with pytest.raises(StoreError, match="not a result saved by nnvis_widgets"):
            store.read_arrays(tmp_path / "weights")
        for text, message in (
            ("[1, 2]", "names no format"),
            ('{"x": 1}', "names no format"),
            ("{", "is not a JSON file"),
            ("\udcff", "is not a JSON file"),
        ):
            (tmp_path / "index.json").write_bytes(text.encode(errors="surrogateescape"))
            with pytest.raises(StoreError, match=message):
                store.read_json(tmp_path / "index.json")

    def test_a_newer_format(self, tmp_path, monkeypatch):
        monkeypatch.setattr(store, "FORMAT", 2)
        store.write_json(tmp_path / "index.json", {})
        store.write_arrays(tmp_path / "arrays", {"a": np.zeros(1)}, {})
        monkeypatch.setattr(store, "FORMAT", 1)
        for read, name in ((store.read_json, "index.json"), (store.read_arrays, "arrays")):
            with pytest.raises(StoreError, match="has format 2; this version reads up to 1: upgrade"):
                read(tmp_path / name)
