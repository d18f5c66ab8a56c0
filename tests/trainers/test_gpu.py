"""What only a GPU can show: skipped without one. bash scripts/bench/gpu.sh runs them."""

import json
import os
import subprocess

import pytest
import torch
import toy
from lives import lives
from methods import LEARNING, METHODS, build, steps_of_an_epoch
from warm_python import python

import train

ROOT = train.PROJECT_ROOT
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
SHORT = ("DATASET.NUM_SHOTS", 2, "OPTIM.MAX_EPOCH", 1)


@pytest.mark.parametrize("name", METHODS)
def test_lives_on_a_gpu(toy_root, tmp_path, name, capsys):
    lives(toy_root, tmp_path, name, torch.device("cuda"), capsys, rel=5e-3)


@pytest.mark.parametrize("precision", ["amp", "bf16", "fp16"])
@pytest.mark.parametrize("name", METHODS)
def test_half_precision(toy_root, tmp_path, name, precision):
    toy.finish(toy.arguments(toy_root, tmp_path / "run", name, *SHORT, f"TRAINER.{name.upper()}.PREC", precision))
    record = json.loads((tmp_path / "run/results.json").read_text())
    assert 0 <= record["metric"] <= 100 and record["peak_memory_bytes"] > 0


@pytest.mark.parametrize("name", METHODS)
def test_scores_are_those_of_a_cpu(toy_root, tmp_path, name):
    """The same parameters, on both devices, in fp32."""
    here = build(toy_root, tmp_path / "cpu", name, opts=("USE_CUDA", False, *SHORT))
    here.train()
    there = build(toy_root, tmp_path / "gpu", name, opts=SHORT)
    there.learned.load_state_dict(here.learned.state_dict())
    image = torch.rand(4, 3, *here.clip.preprocessing.size)
    scores = [trainer.model_inference(image.to(trainer.device)).cpu() for trainer in (here, there)]
    torch.testing.assert_close(*scores, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("dataset", ["ToyTasks", "ToySingle"])
@pytest.mark.parametrize("name", [name for name in LEARNING if name != "PLOT"])
def test_step_never_waits(toy_root, tmp_path, name, dataset):
    """PyTorch raises an error where the host would wait for the GPU."""
    opts = ("TRAIN.PRINT_FREQ", 1000, "DATALOADER.TRAIN_X.BATCH_SIZE", 4)
    for i, (step, _) in enumerate(steps_of_an_epoch(build(toy_root, tmp_path, name, dataset=dataset, opts=opts))):
        torch.cuda.set_sync_debug_mode("error" if i > 1 else "default")
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", ["SoftCPT", "CLIPLoRA"])
def test_compiled_layers_learn_the_same(toy_root, tmp_path, name):
    learned = []
    for compiled in (False, True):
        trainer = build(toy_root, tmp_path / str(compiled), name, opts=(*SHORT, "TRAIN.COMPILE", compiled))
        trainer.train()
        learned.append(torch.cat([parameter.detach().flatten() for parameter in trainer.learned.parameters()]))
    torch.testing.assert_close(*learned, rtol=1e-2, atol=1e-4)


def test_two_processes_share_a_gpu(toy_root, tmp_path):
    script, own = ROOT / "tests/helpers/toy_process.py", toy.arguments(toy_root, tmp_path / "run", "SoftCPT", *SHORT)
    command = [python(), "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script), *own]
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "0", "COPIES": str(tmp_path / "parameters")}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert json.loads((tmp_path / "run/results.json").read_text())["device"] == torch.cuda.get_device_name()


def test_out_of_memory_names_the_keys(toy_root, tmp_path, capsys):
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-6)
    try:
        assert train.main(toy.arguments(toy_root, tmp_path / "run", "SoftCPT", *SHORT)) == 1
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "TRAINER.TEXT_CHUNK (now 2048)" in capsys.readouterr().err
