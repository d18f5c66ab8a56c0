"""Plant-6: six data sets of plants and mushrooms (116 classes), a benchmark of the SoftCPT paper."""

from dassl.data.datasets import DATASET_REGISTRY

from .multitask import MultiTask, TaskSpec


@DATASET_REGISTRY.register()
class Plant6(MultiTask):
    """The data sets in the paper's order."""

    n_classes = 116
    specs = (
        TaskSpec("FruitVegetable"),
        TaskSpec("KaggleFlower"),
        TaskSpec("KaggleMushroom"),
        TaskSpec("KaggleVegetable"),
        TaskSpec("PlantSeedlingV1"),
        TaskSpec("PlantVillage"),
    )
