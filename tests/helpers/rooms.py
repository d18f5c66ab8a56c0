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
CALLS_TRAINING = {  # in processes of their own
    "experiments/sweeps/train_run.py": {"datasets", "train", "trainers"},
    "experiments/sweeps/needs.py": {"backbones", "datasets", "train"},
}
ROOMS = {*MAY_IMPORT, "train", "scripts", "compat"}
