"""The peak memory of a run, and what a user reads when memory runs out."""

import re

import predict
import pytest
import torch
import toy

import train
from softcpt.files.messages import memory_message, out_of_memory
from trainers.base import PromptTrainer
from trainers.engine.errors import message_of
from trainers.engine.memory import PROCESS, PeakMemory


@pytest.mark.skipif(not (PROCESS / "clear_refs").exists(), reason="only Linux forgets a peak")
def test_memory_excludes_filling_the_cache():
    size = 2**28
    torch.ones(size, dtype=torch.uint8)  # before the run
    memory = PeakMemory(torch.device("cpu"))
    before = memory.peak_bytes()
    with memory.set_aside():
        torch.ones(size, dtype=torch.uint8)
    assert memory.peak_bytes() - before < size // 10
    torch.ones(size, dtype=torch.uint8)
    with memory.set_aside():
        pass
    assert 0.9 * size < memory.peak_bytes() - before < 1.1 * size


# -- memory that runs out ----------------------------------------------------------------------------------------------


def refused_by_the_cpu():
    return torch.empty(1 << 60, dtype=torch.uint8)


def of_a_gpu():
    text = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 15.77 GiB.\nSee the manual."
    raise torch.cuda.OutOfMemoryError(text)


def of_a_library():
    raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")


def of_python():
    raise MemoryError


@pytest.mark.parametrize(
    "allocate, said",
    [
        (refused_by_the_cpu, "DefaultCPUAllocator: can't allocate memory|not enough memory"),
        (of_a_gpu, r"CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 15.77 GiB.\)$"),
        (of_a_library, "CUBLAS_STATUS_ALLOC_FAILED"),
        (of_python, r"MemoryError\)$"),
    ],
)
def test_every_way_to_run_out_of_memory_is_known(allocate, said):
    with pytest.raises((RuntimeError, MemoryError)) as found:
        allocate()
    assert out_of_memory(found.value) and re.search(rf"^out of memory \(.*{said}", memory_message(found.value))


def test_other_errors_are_none_of_memory(toy_root, tmp_path):
    cfg = toy.config(toy_root, tmp_path, "CoOp")
    lost = "DataLoader worker (pid 7) is killed by signal: Bus error. Perhaps its workers are out of shared memory."
    assert "NUM_WORKERS" in message_of(RuntimeError(lost), cfg)
    assert message_of(RuntimeError("shape mismatch"), cfg) == "" and not out_of_memory(ValueError("out of memory"))


def failing(monkeypatch, method, when=lambda self: True):
    """Let a method of PromptTrainer run out of a GPU's memory."""
    usual = getattr(PromptTrainer, method)
    monkeypatch.setattr(
        PromptTrainer, method, lambda self, *args, **kw: of_a_gpu() if when(self) else usual(self, *args, **kw)
    )


OPTS = ("DATASET.NUM_SHOTS", 2, "TRAIN.CHECKPOINT_FREQ", 1, "TRAINER.SOFTCPT.CLASS_SAMPLE_RATE", 0.5)
SMALLER = ("TRAINER.TEXT_CHUNK", 64, "DATALOADER.TEST.BATCH_SIZE", 4)


def test_run_out_of_memory_names_the_keys_and_goes_on_with_smaller_ones(toy_root, tmp_path, capsys, monkeypatch):
    words = toy.arguments(toy_root, tmp_path / "run", "SoftCPT", *OPTS)
    with monkeypatch.context() as patch, toy.as_a_process():
        failing(patch, "forward_backward", lambda trainer: trainer.epoch == 1)
        assert train.main(words) == 1
    assert capsys.readouterr().err == (
        "error: out of memory (CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 15.77 GiB."
        "): use a smaller TRAINER.TEXT_CHUNK (now 2048), DATALOADER.TRAIN_X.BATCH_SIZE (now 8), "
        "TRAINER.SOFTCPT.CLASS_SAMPLE_RATE (now 0.5), or set TRAINER.SOFTCPT.PREC amp (now fp32). With other values of "
        "TRAINER.TEXT_CHUNK or DATALOADER.TEST.BATCH_SIZE the same command goes on from the last checkpoint; any other "
        "change needs another --output-dir\n"
    )
    assert "OutOfMemoryError: CUDA out of memory. Tried" in (log := (tmp_path / "run/log.txt").read_text())
    assert "See the manual." in log and "Traceback" not in log
    toy.finish([*words, *map(str, SMALLER)])
    assert (tmp_path / "run/results.json").is_file()
    assert train.main([*words, "DATALOADER.TRAIN_X.BATCH_SIZE", "4"]) == 2


@pytest.mark.parametrize("method, prec", [("CoOp", "amp"), ("LinearProbe", "fp32")])
def test_test_out_of_memory_names_its_own_keys(toy_root, tmp_path, capsys, monkeypatch, method, prec):
    """A method that makes no steps encodes its shots in batches of a test."""
    failing(monkeypatch, "image_features", lambda trainer: not torch.is_grad_enabled())
    own = f"TRAINER.{method.upper()}.PREC"
    opts = ("OPTIM.MAX_EPOCH", 1, "DATASET.NUM_SHOTS", 2, own, prec, "FEATURES.TEST_CACHE", False)
    with toy.as_a_process():
        assert train.main(toy.arguments(toy_root, tmp_path / "run", method, *opts)) == 1
    error = capsys.readouterr().err
    last = f"; {own} amp is in half precision already" if prec == "amp" else f", or set {own} amp (now fp32)"
    assert f": use a smaller TRAINER.TEXT_CHUNK (now 2048), DATALOADER.TEST.BATCH_SIZE (now 16){last}" in error


def test_first_step_out_of_memory_leaves_no_folder(toy_root, tmp_path, capsys, monkeypatch):
    failing(monkeypatch, "forward_backward")
    with toy.as_a_process():
        assert train.main(toy.arguments(toy_root, tmp_path / "run", "CoOp")) == 1
    assert capsys.readouterr().err.endswith("or set TRAINER.COOP.PREC amp (now fp32)\n")
    assert not (tmp_path / "run").exists()


def test_predictions_out_of_memory_are_one_line(toy_root, finished_run, capsys, monkeypatch):
    run, pictures = str(finished_run("CoOp")), str(toy_root / "toy/flower/images")
    failing(monkeypatch, "image_features")
    words = [run, pictures, "--task", toy.TASKS[0], "DATALOADER.TEST.BATCH_SIZE", "5"]
    assert predict.main(words) == 2
    expected = (
        r"error: out of memory \(CUDA .*\): use a smaller DATALOADER.TEST.BATCH_SIZE \(now 5\), or USE_CUDA False\n"
    )
    assert re.fullmatch(expected, capsys.readouterr().err)
    monkeypatch.setattr(predict, "predictor_of", lambda args: of_a_gpu())
    assert predict.main(words) == 2 and capsys.readouterr().err.startswith("error: out of memory (CUDA out of memory.")
    monkeypatch.setattr(predict, "predictor_of", lambda args: torch.ones(2) @ torch.ones(3))
    with pytest.raises(RuntimeError, match="size"):
        predict.main(words)
