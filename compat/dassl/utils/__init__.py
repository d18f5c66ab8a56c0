"""Files, registries, logs, seeds and checkpoints: what needs neither configs nor data nor trainers."""

# ruff: noqa: F401

from .checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from .logger import setup_logger
from .registry import Registry, check_availability
from .resume import load_pretrained_weights, resume_from_checkpoint
from .tools import (
    check_isfile,
    collect_env_info,
    listdir_nohidden,
    mkdir_if_missing,
    read_image,
    read_json,
    set_random_seed,
    write_json,
)
