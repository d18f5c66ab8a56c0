"""The rooms of the project, and what each may import: docs/architecture.md."""

MAY_IMPORT = {
    "storage": set(),
    "backbones": set(),
    "datasets": {"compat", "storage"},
    "evaluation": {"storage"},
    "experiments": {"evaluation", "storage"},
    "inference": {"backbones", "storage"},
    "trainers": {"backbones", "compat", "datasets", "evaluation", "storage"},
    "finished": {"backbones", "datasets", "evaluation", "experiments", "storage", "inference", "train", "trainers"},
}
CALLS_TRAINING = {"experiments/sweeps/train_run.py": {"datasets", "train", "trainers"}}  # in its own processes
ROOMS = {*MAY_IMPORT, "train", "scripts", "compat"}
