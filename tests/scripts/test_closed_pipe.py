"""Commands whose reader has read enough, as in `| head`: no traceback, and a run goes on."""

import subprocess
import sys

import pytest
import toy

import train

DECORATED = """
import sys
sys.path.insert(0, {root!r})
from scripts.lib.command import one_line_errors

@one_line_errors(2)
def main(argv=None):
    for i in range({lines}):
        print("line", i, flush={flush})

if __name__ == "__main__":
    sys.exit(main())
"""


def closed_after_one_line(command, **options):
    """(exit status, stderr) of a command whose stdout is closed after its first line."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    process.stdout.readline()
    process.stdout.close()
    error = process.stderr.read()
    return process.wait(), error


@pytest.mark.parametrize("lines, flush", [(100_000, False), (100_000, True)])
def test_command_ends_without_a_word(lines, flush, tmp_path):
    path = tmp_path / "command.py"
    path.write_text(DECORATED.format(root=str(train.PROJECT_ROOT), lines=lines, flush=flush))
    assert closed_after_one_line([sys.executable, str(path)]) == (141, "")


def test_output_that_is_written_at_the_end_is_no_traceback(tmp_path):
    """It waits in Python's buffer until then; the reader is gone from the start."""
    path = tmp_path / "command.py"
    path.write_text(DECORATED.format(root=str(train.PROJECT_ROOT), lines=3, flush=False))
    command = ["bash", "-c", '"$0" "$1" | true; echo ${PIPESTATUS[0]}', sys.executable, str(path)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
    )
    assert done.stderr == "" and done.stdout.strip() in ("0", "141")


@pytest.mark.parametrize("script", ["parse_test_res.py", "scripts/predict.py", "train.py"])
def test_help_of_a_closed_pipe_is_no_traceback(script):
    command = f'"$0" {train.PROJECT_ROOT}/{script} --help | true'
    done = subprocess.run(["bash", "-c", command, sys.executable], capture_output=True, text=True)
    assert "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr, done.stderr


def test_run_goes_on_without_a_console(toy_root, tmp_path):
    out = tmp_path / "run"
    code = (
        "import sys; sys.path[:0] = sys.argv.pop(1).split(':'); import train, toy; sys.exit(train.main(sys.argv[1:]))"
    )
    paths = f"{train.PROJECT_ROOT}:{train.PROJECT_ROOT}/tests/helpers"
    arguments = [str(word) for word in toy.arguments(toy_root, out, "ZeroshotCLIP")]
    status, error = closed_after_one_line([sys.executable, "-c", code, paths, *arguments], cwd=train.PROJECT_ROOT)
    assert status == 0, error
    assert "Traceback" not in error and "Logging error" not in error
    assert f"warning: nobody reads the output any more; it is in {out}/log.txt alone" in error
    assert (out / "results.json").is_file() and "* accuracy: " in (out / "log.txt").read_text()
