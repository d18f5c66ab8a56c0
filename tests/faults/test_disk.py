"""A disk that is full, or may not be written, at each kind of write: one error or a warning that names the file, and
the same command goes on to the bits of an undisturbed run once there is space."""

import subprocess

import pytest
from faults.runs import errors_in, finish

# The beginnings of the events at which the disk is full. A run can do without some of these files.
OPTIONAL = ("log.txt", "features")
WRITES = """running.json log.txt config.yaml shots.json classes.json features model.pth.tar-1 model.pth.tar-2 checkpoint
predictions.csv.gz results.json""".split()
SPACE = 8  # MiB of the small disk


SUITE = {"log.txt", "config.yaml", "features", "model.pth.tar-2", "results.json"}


def writes(in_suite):
    return [at if at in in_suite else pytest.param(at, marks=pytest.mark.slow) for at in WRITES]


def mount(folder, *options):
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path):
    """A folder that is a disk of its own; skips if the user may not mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount(folder, "-t", "tmpfs", "-o", f"size={SPACE}M", "tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def check(ended, at, optional):
    """Check a run whose disk was full from the writing of `at` on: one error, unless the file is optional."""
    lines, said = errors_in(ended), ended.err + ended.out
    assert at in said and ("File too large" in said or "No space left" in said)
    if not (optional and ended.status == 0):
        (line,) = lines
        assert ended.status in (1, 2) and "cannot be written" in line and (at in line or optional)
    assert len(ended.err.strip().splitlines()) <= 2  # beside the error, the warning that the log ends


@pytest.mark.parametrize("at", writes(SUITE))
def test_file_size_limit_is_reported_and_the_run_resumes(processes, arguments, undisturbed, tmp_path, at):
    check(processes.run(tmp_path, arguments("SoftCPT"), at=at, action="limit"), at, at in OPTIONAL)
    finish(processes, tmp_path, arguments("SoftCPT"), undisturbed("SoftCPT")[0])


@pytest.mark.parametrize("at", writes({"model.pth.tar-2"}))
def test_full_disk_is_reported_and_the_run_resumes(processes, arguments, undisturbed, disk, at):
    check(processes.run(disk, arguments("SoftCPT"), at=at, action=f"fill:{disk}"), at, at in OPTIONAL)
    (disk / "filler").unlink()
    finish(processes, disk, arguments("SoftCPT"), undisturbed("SoftCPT")[0])


def test_read_only_run_folder_is_an_error_and_cache_a_warning(processes, arguments, undisturbed, disk):
    (disk / "out/run").mkdir(parents=True)
    (disk / "features").mkdir()
    mount(disk, "-o", "remount,ro")
    for folder in ("out/run", "out/new"):
        ended = processes.run(disk, [*arguments("SoftCPT")[:3], folder, *arguments("SoftCPT")[4:]])
        (line,) = ended.err.strip().splitlines()
        assert ended.status == 2 and line.startswith("error: --output-dir: ") and folder in line and not ended.out
    ended = processes.run(disk.parent / "here", arguments("SoftCPT", "FEATURES.DIR", disk / "features"))
    assert ended.status == 0 and "the feature cache is off" in ended.out and not ended.err
    mount(disk, "-o", "remount,rw")
    finish(processes, disk, arguments("SoftCPT"), undisturbed("SoftCPT")[0])
