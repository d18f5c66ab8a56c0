"""Faults that hostile files revealed, one test each."""

import gzip
import json

import numpy as np
import pytest
import torch
from dassl.utils.checkpoint import load_checkpoint, save_checkpoint
from safetensors.torch import save_file

from datasets.settings import read_settings
from datasets.splits import read_split
from datasets.tables import read_table
from softcpt.backbones.open_clip_configs import read_model_cfg
from softcpt.backbones.weights import read_state_dict
from softcpt.evaluation.predictions import COLUMNS, read_predictions
from softcpt.evaluation.records import read_record
from softcpt.files import read_json, read_yaml
from trainers.engine.checkpoints import find_checkpoint
from trainers.engine.config import default_cfg
from trainers.engine.settings import merge, merge_file


def test_duplicate_keys_are_refused(tmp_path):
    (tmp_path / "split.json").write_text('{"train": [], "val": [], "test": [], "train": []}')
    with pytest.raises(ValueError, match="split.json: not a JSON file .*'train' occurs twice"):
        read_split(str(tmp_path / "split.json"), str(tmp_path))
    (tmp_path / "tasks.yaml").write_text("leaves:\n  classes: {a: ash, a: oak}\n")
    with pytest.raises(ValueError, match="tasks.yaml: .*line 2: the key 'a' occurs twice"):
        read_settings(str(tmp_path / "tasks.yaml"), ["leaves"])
    (tmp_path / "config.yaml").write_text("OPTIM:\n  LR: 0.1\n  LR: 0.2\n")
    with pytest.raises(ValueError, match="config.yaml: .*line 2: the key 'LR' occurs twice"):
        merge_file(default_cfg(), str(tmp_path / "config.yaml"))


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a": -Infinity}', "1e999", '"\\ud800"', "[" * 100_000])
def test_invalid_json_values_are_refused(text, tmp_path):
    (tmp_path / "results.json").write_text(text)
    for read in (read_json, read_record):
        with pytest.raises(ValueError, match="results.json: not a JSON file"):
            read(tmp_path / "results.json")


@pytest.mark.parametrize(
    "text", ["a: !!int ''", "a: !!bool x", "a: !!timestamp x", "a: &a [*a]", "a: 0x" + "f" * 4000, 'a: "\\ud800"']
)
def test_invalid_yaml_values_are_refused(text, tmp_path):
    """PyYAML itself raises IndexError, KeyError and AttributeError for the first three."""
    (tmp_path / "tasks.yaml").write_text(text)
    with pytest.raises(ValueError, match="tasks.yaml: not a YAML file"):
        read_yaml(tmp_path / "tasks.yaml")


def test_config_with_exponential_references_is_refused(tmp_path):
    """Each key of a config is copied, so nine lines would use all memory."""
    lines = [
        "a0: &a0 {x: 1}",
        *(f"a{i}: &a{i} {{{', '.join(f'k{j}: *a{i - 1}' for j in range(9))}}}" for i in range(1, 12)),
    ]
    (tmp_path / "config.yaml").write_text("\n".join(lines))
    with pytest.raises(ValueError, match="config.yaml: .*references repeat too much"):
        merge_file(default_cfg(), str(tmp_path / "config.yaml"))


def test_config_file_is_never_run_as_python(tmp_path):
    """yacs runs a config file whose name ends in .py."""
    (tmp_path / "config.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')\ncfg = {{}}\n")
    with pytest.raises(ValueError, match="config.py"):
        merge_file(default_cfg(), str(tmp_path / "config.py"))
    assert not (tmp_path / "run").exists()


def test_key_without_a_value_is_refused(tmp_path):
    """yacs takes None for any type, and the optimiser fails over it later."""
    (tmp_path / "config.yaml").write_text("OPTIM:\n  LR:\n")
    with pytest.raises(ValueError, match="config.yaml: OPTIM.LR has no value; its default is 0.0003"):
        merge_file(default_cfg(), str(tmp_path / "config.yaml"))
    with pytest.raises(ValueError, match="OPTIM.LR: None is no value"):
        merge(default_cfg(), {"OPTIM.LR": "None"})


def test_number_of_400_digits_is_refused(tmp_path):
    """No float holds it, and the error of that is no ValueError."""
    (tmp_path / "config.yaml").write_text(f"OPTIM:\n  LR: {10**400}\n")
    with pytest.raises(ValueError, match="config.yaml: OPTIM.LR: 1000.* does not fit: int too large"):
        merge_file(default_cfg(), str(tmp_path / "config.yaml"))
    with pytest.raises(ValueError, match="OPTIM.LR: 1000.* does not fit") as error:
        merge(default_cfg(), {"OPTIM.LR": 10**400})
    assert len(str(error.value)) < 2000


def test_deeply_nested_setting_is_refused(tmp_path):
    for value in ("-" * 9000 + "1", "[" * 50_000):
        with pytest.raises(ValueError, match="OPTIM.LR") as error:
            merge(default_cfg(), {"OPTIM.LR": value})
        assert len(str(error.value)) < 2000


def test_duplicate_column_or_open_quote_is_refused(tmp_path):
    """The last column would win, and the quote would swallow the lines after it."""
    (tmp_path / "a.png").touch()
    for text, message in (
        ("path,task,class,class\na.png,t,x,y\n", "line 1: the column 'class' occurs twice"),
        ('path,task,class\na.png,t,"x\na.png,t,y\n', "not a CSV file"),
    ):
        (tmp_path / "tasks.csv").write_text(text)
        with pytest.raises(ValueError, match=f"tasks.csv.*{message}"):
            read_table(str(tmp_path / "tasks.csv"))


def packed(text, path):
    path.write_bytes(gzip.compress(text.encode()))
    return path


def test_predictions_bomb_is_refused(tmp_path):
    header = ",".join(COLUMNS)
    bomb = packed(f"{header}\n" + "t,a,x,x,1\n" * 3_000_000, tmp_path / "bomb.csv.gz")
    assert bomb.stat().st_size < 200_000
    with pytest.raises(ValueError, match="bomb.csv.gz.*more than 200 times its size"):
        read_predictions(bomb)


@pytest.mark.parametrize("row", ["t,a,x,x,nan", "t,a,x,x,2", "t,a,x,x,", "t,a,x,x", 't,a,"x,x,1'])
def test_invalid_prediction_row_is_an_error(row, tmp_path):
    path = packed(f"{','.join(COLUMNS)}\nt,a,x,x,1\n{row}\n", tmp_path / "p.csv.gz")
    with pytest.raises(ValueError, match="p.csv.gz, row 2: |p.csv.gz: not a complete gzip"):
        read_predictions(path)
    with pytest.raises(ValueError, match="empty.csv.gz: expected the columns"):
        read_predictions(packed("", tmp_path / "empty.csv.gz"))


def flip(path, needle):
    content = bytearray(path.read_bytes())
    content[content.index(needle) + 2] ^= 1
    path.write_bytes(content)


def test_flipped_bit_in_a_checkpoint_is_detected(tmp_path):
    """PyTorch itself reads such a file silently."""
    weight = torch.full((50, 50), 0.7)
    save_checkpoint({"state_dict": {"ctx": weight}, "epoch": 1}, str(tmp_path))
    path = tmp_path / "model.pth.tar-1"
    assert torch.equal(load_checkpoint(str(path))["state_dict"]["ctx"], weight)
    flip(path, weight.numpy().tobytes())
    assert not torch.equal(torch.load(path, weights_only=True)["state_dict"]["ctx"], weight)
    with pytest.raises(ValueError, match='checkpoint ".*model.pth.tar-1": .* is damaged'):
        load_checkpoint(str(path))


def test_flipped_bit_in_a_pt_file_is_detected(tmp_path):
    weight = torch.full((50, 50), 0.7)
    torch.save({"w": weight}, tmp_path / "clip.pt")
    assert torch.equal(read_state_dict(tmp_path / "clip.pt")["w"], weight)
    flip(tmp_path / "clip.pt", weight.numpy().tobytes())
    with pytest.raises(ValueError, match="its checksum differs"):
        read_state_dict(tmp_path / "clip.pt")


def test_oversized_weights_are_refused(tmp_path):
    torch.save({"w": torch.zeros(1).expand(10**9)}, tmp_path / "clip.pt")
    with pytest.raises(ValueError, match="w claims to have 1,000,000,000 values"):
        read_state_dict(tmp_path / "clip.pt")


def save_arrays(tensors, path):
    np.savez(path, **{key: value.numpy() for key, value in tensors.items()})


@pytest.mark.parametrize("suffix, save", [(".pt", torch.save), (".safetensors", save_file), (".npz", save_arrays)])
def test_complex_weights_are_refused(suffix, save, tmp_path):
    save({"w": torch.ones(2, dtype=torch.complex64)}, tmp_path / f"clip{suffix}")
    with pytest.raises(ValueError, match="w holds complex numbers"):
        read_state_dict(tmp_path / f"clip{suffix}")


@pytest.mark.parametrize("name", ["../other/model.pth.tar-1", "/etc/passwd", "", "a\0b"])
def test_pointer_file_must_name_a_checkpoint_beside_it(name, tmp_path):
    (tmp_path / "checkpoint").write_text(name)
    with pytest.raises(ValueError, match="checkpoint names no checkpoint beside it"):
        find_checkpoint(tmp_path)


@pytest.mark.parametrize("part, other", [("text_cfg", "vision_cfg"), ("vision_cfg", "text_cfg")])
def test_tower_without_blocks_is_refused(part, other, tmp_path):
    """open_clip builds one of -1 blocks, whose first one is then looked at."""
    cfg = {"embed_dim": 8, part: {"layers": -1}, other: {}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": cfg}))
    with pytest.raises(
        ValueError, match=f"open_clip_config.json: {part}.layers is -1, not a whole number of at least 1"
    ):
        read_model_cfg(tmp_path)


def test_deviation_that_is_no_list_is_refused(tmp_path):
    cfg = {"model_cfg": {"embed_dim": 8, "vision_cfg": {}, "text_cfg": {}}, "preprocess_cfg": {"std": True}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(cfg))
    with pytest.raises(ValueError, match="_config.json: preprocess_cfg.std is True, not three numbers"):
        read_model_cfg(tmp_path)
