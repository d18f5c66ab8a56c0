"""RS-8: eight remote-sensing data sets with 208 classes.

The SoftCPT paper names a benchmark of eight tasks and 208 classes but not its data sets: these are eight common ones
with as many classes, so results on them are not comparable with the paper's RS-8 numbers.
"""

from dassl.data.datasets import DATASET_REGISTRY

from .multitask import MultiTask, TaskSpec


@DATASET_REGISTRY.register()
class RS8(MultiTask):
    n_classes = 208
    specs = (
        TaskSpec("AID"),
        TaskSpec("RESISC45"),
        TaskSpec("UCMerced"),
        TaskSpec("WHURS19"),
        TaskSpec("RSSCN7"),
        TaskSpec("OPTIMAL31"),
        TaskSpec("RSICB128"),
        TaskSpec("EuroSAT"),
    )
