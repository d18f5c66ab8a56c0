"""The five fine-grained tasks of General-10 as a benchmark of their own."""

from dassl.data.datasets import DATASET_REGISTRY

from .multitask import MultiTask, TaskSpec


@DATASET_REGISTRY.register()
class FGVC(MultiTask):
    """Aircraft, cars, pets, flowers and food: 536 classes."""

    n_classes = 536
    specs = (
        TaskSpec("FGVCAircraft"),
        TaskSpec("StanfordCars"),
        TaskSpec("OxfordPets"),
        TaskSpec("OxfordFlowers"),
        TaskSpec("Food101"),
    )
