"""A run that is killed, terminated or interrupted at any moment goes on by the same command, and ends with the bits of
an undisturbed one."""

import json
import random
import signal
import time

import pytest
from faults.runs import errors_in, finish, outcome

PHASES = {
    "start": lambda event: "features" not in event and "prompt_learner" not in event and event != "step",
    "cache": lambda event: "features" in event,
    "epochs": lambda event: event == "step",
    "checkpoint": lambda event: "prompt_learner" in event,
    "results": lambda event: "predictions" in event or "results" in event or event == "out/run/running.json os.remove",
}
SLOW = pytest.mark.slow


def without_config(expected):
    """For a run with another number of loader workers, of which nothing else depends."""
    return {name: value for name, value in expected.items() if name != "config.yaml"}


@pytest.mark.parametrize("count", [1, pytest.param(10, marks=SLOW)])
@pytest.mark.parametrize("phase", PHASES)
def test_run_killed_at_any_event_resumes_identically(processes, arguments, undisturbed, tmp_path, phase, count):
    for trial in range(count):
        rng, folder = random.Random(f"{phase} {trial}"), tmp_path / str(trial)
        method = ("SoftCPT", "TipAdapterF", "CLIPLoRA")[trial % (2 if phase == "cache" else 3)]
        expected, events, _ = undisturbed(method)
        moments = [number for number, event in enumerate(events, 1) if PHASES[phase](event)]
        for at in (rng.choice(moments), rng.randrange(1, 20)):  # the second start is killed, too: soon
            ended = processes.run(folder, arguments(method), at=at, action="SIGKILL")
            assert ended.status == -signal.SIGKILL, ended
            print(f"killed at event {at}, {phase}: {events[at - 1]}")
        finish(processes, folder, arguments(method), expected)


@pytest.mark.parametrize("moments", [slice(-1, None), pytest.param(slice(None), marks=SLOW)])
def test_run_killed_while_writing_its_only_checkpoint_recovers(processes, arguments, tmp_path, moments):
    options = arguments("CoOp", "TRAIN.CHECKPOINT_FREQ", 0)
    assert processes.run(tmp_path / "whole", options, trace="events.json").status == 0
    expected = outcome(tmp_path / "whole/out/run")
    events = json.loads((tmp_path / "whole/events.json").read_text())["events"]
    for at in [number for number, event in enumerate(events, 1) if "prompt_learner" in event][moments]:
        folder = tmp_path / str(at)
        assert processes.run(folder, options, at=at, action="SIGKILL").status == -signal.SIGKILL
        finish(processes, folder, options, expected)


@pytest.mark.parametrize("count", [1, pytest.param(10, marks=SLOW)])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_run_ended_at_any_time_resumes_identically(processes, arguments, undisturbed, tmp_path, number, count):
    for trial in range(count):
        rng, folder = random.Random(f"{number} {trial}"), tmp_path / str(trial)
        method = ("CLIPLoRA", "SoftCPT", "TipAdapterF")[trial % 3]
        expected, _, seconds = undisturbed(method)
        process = processes.start(folder, arguments(method))
        time.sleep(rng.uniform(0, seconds))
        process.send(number)
        assert process.wait().status in (0, -number)  # 0: it was done before
        finish(processes, folder, arguments(method), expected)


MORE = [pytest.param(at, marks=SLOW) for at in (3, "config.yaml", "model.pth.tar-1", "results")]


@pytest.mark.parametrize("at", ["log.txt", "step", "pred", *MORE])
def test_ctrl_c_exits_with_130_and_says_how_to_resume(processes, arguments, undisturbed, tmp_path, at):
    method, workers = "SoftCPT", ("DATALOADER.NUM_WORKERS", 1)
    ended = processes.run(tmp_path, arguments(method, *workers), at=at, action="SIGINT")
    assert ended.status == 130 and not errors_in(ended)
    said, where = ended.out + ended.err, "goes on from model.pth.tar-3" if at in ("pred", "results") else "starts anew"
    if at != 3:  # where nothing has begun
        assert f"Interrupted. The same command {where}" in said and "train.py --root" in said
    finish(processes, tmp_path, arguments(method, *workers), without_config(undisturbed(method)[0]))


def test_killed_loader_worker_is_one_error(processes, arguments, undisturbed, tmp_path):
    options = arguments("CLIPLoRA", "DATALOADER.NUM_WORKERS", 2)
    ended = processes.run(tmp_path, options, at=30, action="worker")
    assert ended.status == 1
    print(ended.err)
    (line,) = errors_in(ended)
    assert "DATALOADER.NUM_WORKERS" in line
    finish(processes, tmp_path, options, without_config(undisturbed("CLIPLoRA")[0]))
