"""The comparison of open_clip's architectures with the library: a sample of its kinds."""

import os
import subprocess
import sys

import pytest

import train

RIGHT = {"text": 1e-6, "prompts": 1e-6, "image": 0.0, "pixels": 0.0, "tokens": "7 of 7", "deep": "yes"}
SAMPLES = [
    ("ViT-S-32", "PE-Core-T-16-384"),
    pytest.param(
        ("RN50", "ViT-B-32-SigLIP2-256", "coca_base", "nllb-clip-base", "convnext_tiny", "ViT-B-16-quickgelu"),
        marks=pytest.mark.slow,
    ),
]


def run(*arguments):
    """A Python of its own, since the command sets the libraries' cache before it imports them."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=train.PROJECT_ROOT, env=env, capture_output=True, text=True, timeout=600)


@pytest.mark.parametrize("names", SAMPLES)
def test_sample_of_architectures_equals_the_library(names):
    done = run("tests/helpers/check_open_clip.py", *names)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert f"{len(names)} architectures, 0 refused, 0 wrong" in done.stdout


def test_unknown_name_is_one_line_and_every_difference_is_wrong():
    changes = [{key: 2e-4} for key in ("text", "prompts", "image", "pixels")]
    changes += [{"tokens": "6 of 7"}, {"tokens": "0 of 0"}, {}]
    done = run(
        "-c",
        "import sys\nsys.path.insert(0, 'tests/helpers')\nimport check_open_clip as check\n"
        f"print([check.is_right({{**{RIGHT}, **change}}) for change in {changes}])\n"
        "check.main(['ViT-none'])",
    )
    assert done.stdout.strip() == str([False] * 6 + [True])
    assert "has no architecture ViT-none" in done.stderr and "Traceback" not in done.stderr
