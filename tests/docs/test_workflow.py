"""The workflow in .github runs what the README tells, on the versions that the project names everywhere else."""

import re

import yaml

import train

ROOT = train.PROJECT_ROOT
README = (ROOT / "README.md").read_text(encoding="utf-8")
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8"))
(JOB,) = WORKFLOW["jobs"].values()


def test_workflow_runs_the_two_commands_of_the_readme():
    block = re.search(r"To see it work[^\n]*\n\n((?:    [^\n]*\n)+)", README)[1]
    commands = [line.split("#")[0].strip() for line in block.splitlines()]
    assert commands == [step["run"] for step in JOB["steps"] if "run" in step] and len(commands) == 2
    assert WORKFLOW[True] == {"push": {"branches": ["main"]}, "pull_request": None}  # YAML reads "on" as true
    assert WORKFLOW["permissions"] == {"contents": "read"} and "secrets" not in str(WORKFLOW)


def test_oldest_and_newest_python_are_the_same_everywhere():
    oldest, newest = JOB["strategy"]["matrix"]["python"]
    assert f"Python {oldest} to {newest} are tested" in README
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'requires-python = ">={oldest}"  # tested from {oldest} to {newest}\n' in project
    setup = (ROOT / "scripts/setup.sh").read_text(encoding="utf-8")
    assert f"for newest in {newest.split('.')[1]} 99" in setup and f"({oldest.replace('.', ', ')}) <= " in setup
    assert f"no Python {oldest} or newer" in setup and f"python3 python{newest} " in setup
    versions = (ROOT / "docs/reliability.md").read_text(encoding="utf-8").split("## Versions")[1]
    assert re.findall(r"python(3\.\d+) -m venv", versions) == [oldest, newest]
    tested = re.findall(r"^\| (3\.\d+) \|", versions, re.M)
    assert tested[0] == oldest and newest in tested
