"""What happens before a run begins leaves no folder behind, and says what is wrong in one line."""

import os

import pytest
import torch
import torch.distributed as dist
import toy
from faults.runs import errors_in, start_pair

import train
from softcpt import distributed
from softcpt.files import locked, make_run_folder

TOGETHER = {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


@pytest.fixture
def launch(monkeypatch):
    """A function of the GPUs of this machine and of torchrun's variables: what `start` calls."""

    def start(gpus, **variables):
        for name, value in {**TOGETHER, **variables}.items():
            monkeypatch.setenv(name, value)
        calls = []
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.cuda, "set_device", calls.append)
        monkeypatch.setattr(dist, "init_process_group", calls.append)
        distributed.start(use_cuda=True)
        return calls

    return start


@pytest.mark.parametrize(
    "gpus, processes, calls",
    [
        (4, 4, [3, "nccl"]),
        (8, 4, [3, "nccl"]),
        (2, 4, [1, "gloo"]),  # nccl refuses two processes on one GPU
        (1, 4, [0, "gloo"]),
        (0, 4, ["gloo"]),
    ],
)
def test_backend_is_nccl_where_each_process_has_its_own_gpu(launch, gpus, processes, calls):
    assert launch(gpus, LOCAL_WORLD_SIZE=str(processes)) == calls


def test_backend_is_gloo_where_pytorch_has_no_nccl(launch, monkeypatch):
    monkeypatch.setattr(dist, "is_nccl_available", lambda: False)  # Windows
    assert launch(4, LOCAL_WORLD_SIZE="4") == [3, "gloo"]


def test_processes_that_cannot_meet_are_one_line_and_no_folder(toy_root, tmp_path, monkeypatch, capsys):
    for name, value in {**TOGETHER, "RANK": "0", "MASTER_PORT": "a port"}.items():
        monkeypatch.setenv(name, value)
    assert train.main(toy.arguments(toy_root, tmp_path / "out/run", "CoOp")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "error: the processes of this run cannot meet at 127.0.0.1:a port (MASTER_ADDR, MASTER_PORT)"
    )
    assert not (tmp_path / "out").exists()


def test_folder_that_cannot_be_made_ends_all_processes_with_one_line(processes, toy_root, tmp_path):
    arguments = toy.arguments(toy_root, tmp_path / "new/out" / ("long" * 99), "CoOp")
    first, second = (process.wait() for process in start_pair(processes, tmp_path / "here", arguments))
    (line,) = errors_in(first)
    assert line.startswith("error: --output-dir: cannot create the folder") and (first.status, second.status) == (2, 2)
    assert not second.err and not (tmp_path / "new").exists()


def test_lock_that_cannot_be_written_leaves_no_folder(toy_root, tmp_path, monkeypatch, capsys):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("softcpt.files.lock.this_process", full)
    assert train.main(toy.arguments(toy_root, tmp_path / "out/run", "CoOp")) == 2
    assert "running.json cannot be written: No space left on device" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_folder_that_another_process_made_is_left(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(OSError, match="--output-dir: cannot create the folder"):
        make_run_folder(tmp_path / "out" / ("long" * 99))
    with locked(tmp_path / "out"):
        pass
    assert os.listdir(tmp_path / "out") == []
