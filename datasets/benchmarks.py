"""The benchmarks of several data sets. Each is a tuple of registered names, in the order of the tasks."""

from dassl.data.datasets import DATASET_REGISTRY

from .multitask import MultiTask, TaskSpec


def tasks(*names: str) -> tuple[TaskSpec, ...]:
    """Registered data sets as tasks."""
    return tuple(map(TaskSpec, names))


@DATASET_REGISTRY.register()
class General10(MultiTask):
    """CoOp's data sets without ImageNet, in the order of the SoftCPT paper."""

    n_classes = 1191
    specs = (
        *tasks("Caltech101", "DescribableTextures", "EuroSAT", "FGVCAircraft", "Food101"),
        *tasks("OxfordFlowers", "OxfordPets", "StanfordCars", "SUN397", "UCF101"),
    )


@DATASET_REGISTRY.register()
class FGVC(MultiTask):
    """The five fine-grained tasks of General-10: aircraft, cars, pets, flowers and food."""

    n_classes = 536
    specs = tasks("FGVCAircraft", "StanfordCars", "OxfordPets", "OxfordFlowers", "Food101")


@DATASET_REGISTRY.register()
class Plant6(MultiTask):
    """Plants and mushrooms, in the order of the SoftCPT paper."""

    n_classes = 116
    specs = tasks(
        "FruitVegetable", "KaggleFlower", "KaggleMushroom", "KaggleVegetable", "PlantSeedlingV1", "PlantVillage"
    )


@DATASET_REGISTRY.register()
class RS8(MultiTask):
    """Eight remote-sensing data sets.

    The SoftCPT paper has a benchmark of eight tasks and 208 classes but does not name its data sets. These are eight
    common ones with as many classes, so results on them cannot be compared with the paper's on RS-8.
    """

    n_classes = 208
    specs = tasks("AID", "RESISC45", "UCMerced", "WHURS19", "RSSCN7", "OPTIMAL31", "RSICB128", "EuroSAT")
