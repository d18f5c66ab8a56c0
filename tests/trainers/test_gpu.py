"""What only a GPU can show: skipped without one. bash scripts/bench/gpu.sh runs them."""

import json

import pytest
import torch
import toy
from lives import lives
from methods import METHODS, build

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
