"""General-10: ten well-known data sets (1191 classes), the first benchmark of the SoftCPT paper."""

from dassl.data.datasets import DATASET_REGISTRY

from .multitask import MultiTask, TaskSpec


@DATASET_REGISTRY.register()
class General10(MultiTask):
    """CoOp's data sets without ImageNet, in the paper's order."""

    n_classes = 1191
    specs = (
        TaskSpec("Caltech101"),
        TaskSpec("DescribableTextures"),
        TaskSpec("EuroSAT"),
        TaskSpec("FGVCAircraft"),
        TaskSpec("Food101"),
        TaskSpec("OxfordFlowers"),
        TaskSpec("OxfordPets"),
        TaskSpec("StanfordCars"),
        TaskSpec("SUN397"),
        TaskSpec("UCF101"),
    )
