"""The demo, shortened: SoftCPT at 16 shots is better than zero-shot CLIP, and CLIPs of all libraries do as well."""

import functools
import json

import pytest

import train
from scripts.demo.convert import convert, main
from scripts.demo.render import render

ROOT = train.PROJECT_ROOT


@pytest.fixture(scope="module")
def demo_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("demo-data")
    render(root / "demo", sizes={"train": 16, "val": 4, "test": 6}, workers=2)
    return root


def record(root, out, trainer, *opts, config="tiny") -> dict:
    files = f"--dataset-config-file {ROOT}/configs/datasets/demo.yaml"
    files += f" --config-file {ROOT}/configs/trainers/{trainer}/{config}.yaml"
    flags = f"--root {root} --seed 1 --trainer {trainer} --output-dir {out} {files}".split()
    assert train.main([*flags, *map(str, opts)]) == 0
    return json.loads((out / "results.json").read_text())


def test_softcpt_beats_zero_shot_on_the_demo(demo_root, tmp_path):
    zero_shot = record(demo_root, tmp_path / "zs", "ZeroshotCLIP")["metric"]
    short = "DATASET.NUM_SHOTS 16 OPTIM.MAX_EPOCH 4 FEATURES.TRAIN_VIEWS 1".split()
    softcpt = record(demo_root, tmp_path / "run", "SoftCPT", *short)["metric"]
    assert zero_shot > 25  # chance is 12.4
    assert softcpt > zero_shot + 2


@pytest.fixture(scope="module")
def trained(demo_root, tmp_path_factory):
    """A function of a config and a CLIP: the record of a short training of SoftCPT."""

    @functools.cache
    def train_shortly(config, clip=None):
        short = "DATASET.NUM_SHOTS 2 OPTIM.MAX_EPOCH 2 FEATURES.TRAIN_VIEWS 1".split()
        opts = [*short, "MODEL.BACKBONE.NAME", clip] if clip else short
        return record(demo_root, tmp_path_factory.mktemp("run") / "run", "SoftCPT", *opts, config=config)

    return train_shortly


@pytest.mark.parametrize(
    "family, clip, config",
    [
        ("open_clip", "tiny_clip", "tiny"),
        ("open_clip", "tiny_vit", "tiny_vit"),
        ("transformers", "tiny_vit", "tiny_vit"),
    ],
)
def test_demo_clip_in_other_formats_gives_the_same_results(trained, tmp_path, family, clip, config):
    convert(family, tmp_path / "clip", ROOT / "scripts/demo" / f"{clip}.npz")
    expected, found = trained(config), trained(config, tmp_path / "clip")
    assert found["tasks"] == expected["tasks"] and found["backbone"] != expected["backbone"]


def test_resnet_cannot_be_converted_to_transformers(tmp_path, capsys):
    source = str(ROOT / "scripts/demo/tiny_clip.npz")
    assert main(["transformers", str(tmp_path / "clip"), "--clip", source]) == 1
    assert "tiny_clip.npz has a ResNet" in capsys.readouterr().err and not (tmp_path / "clip").exists()
