"""What runs need and this machine lacks, found before the first of them starts: data and weights."""

import functools
import os
from collections.abc import Iterable, Sequence

from softcpt.evaluation.provenance import PROJECT_ROOT
from softcpt.files import read_config
from softcpt.sweeps.jobs import CONFIGS, Job, dataset_file

BACKBONE = "MODEL.BACKBONE.NAME"


def backbones_of(jobs: Iterable[Job]) -> list[str]:
    """The names of the CLIPs of some jobs, each once."""
    names = (
        {**job.method.settings, **job.method.opts}.get(BACKBONE) or backbone_in(job.method.trainer, job.config)
        for job in jobs
    )
    return [name for name in dict.fromkeys(names) if name]


@functools.cache
def backbone_in(trainer: str, config: str) -> str:
    """The CLIP that configs/trainers/<trainer>/<config>.yaml names; "" if it names none."""
    node: object = read_config(CONFIGS / trainer / f"{config}.yaml")
    for key in BACKBONE.split("."):
        node = node.get(key, "") if isinstance(node, dict) else ""
    return str(node)


def missing(benchmarks: Sequence[str], root: str, backbones: Sequence[str]) -> list[str]:
    """A line for each data set that is not below `root`, with the command that gets it, and for each CLIP whose file is
    not there. Downloads nothing, and reads neither images nor weights. For a process of its own."""
    from datasets.tools.on_disk import missing_data
    from softcpt.backbones import why_not_here
    from trainers.engine.config import build_cfg, read_files

    os.chdir(PROJECT_ROOT)  # as the runs do
    lines = []
    for benchmark in benchmarks:
        lines += missing_data(build_cfg(read_files(dataset_file(benchmark)), {"DATASET.ROOT": root} if root else {}))
    return [line for line in dict.fromkeys([*lines, *map(why_not_here, backbones)]) if line]


def refusal(lines: Sequence[str]) -> str:
    """The message for what is missing."""
    return "\n  ".join(["no run was started, because data or weights are missing:", *lines])
