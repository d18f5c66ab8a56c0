"""The demo, shortened: on the drawn benchmark SoftCPT at 16 shots is better than zero-shot CLIP."""

import json

import pytest

import train
from scripts.demo.render import render

ROOT = train.PROJECT_ROOT


@pytest.fixture(scope="module")
def demo_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("demo-data")
    render(root / "demo", sizes={"train": 16, "val": 4, "test": 12}, workers=2)
    return root


def accuracy(root, out, trainer, *opts) -> float:
    files = f"--dataset-config-file {ROOT}/configs/datasets/demo.yaml"
    files += f" --config-file {ROOT}/configs/trainers/{trainer}/tiny.yaml"
    flags = f"--root {root} --seed 1 --trainer {trainer} --output-dir {out} {files}".split()
    assert train.main([*flags, *map(str, opts)]) == 0
    return json.loads((out / "results.json").read_text())["metric"]


def test_softcpt_at_16_shots_beats_zero_shot_on_the_demo(demo_root, tmp_path):
    zero_shot = accuracy(demo_root, tmp_path / "zs", "ZeroshotCLIP")
    short = "DATASET.NUM_SHOTS 16 OPTIM.MAX_EPOCH 12 FEATURES.TRAIN_VIEWS 2".split()
    softcpt = accuracy(demo_root, tmp_path / "run", "SoftCPT", *short)
    assert zero_shot > 25  # chance is 12.4
    assert softcpt > zero_shot + 2
