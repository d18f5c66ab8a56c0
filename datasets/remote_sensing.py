"""Remote-sensing data sets with one folder per class."""

from dassl.data.datasets import DATASET_REGISTRY

from softcpt.tasks import words

from .base import ClassFolderDataset


@DATASET_REGISTRY.register()
class EuroSAT(ClassFolderDataset):
    """P. Helber, B. Bischke, A. Dengel, D. Borth, "EuroSAT", arXiv 1709.00029 (RGB), with CoOp's class names."""

    dataset_dir = "eurosat"
    image_dir = "2750"
    files = ("2750/*/*.jpg",)
    task_name = "land use recognition in satellite images"
    template = "a centered satellite photo of {}."
    n_classes = 10
    n_images = (13500, 5400, 8100)
    renamed = {
        "AnnualCrop": "Annual Crop Land",
        "HerbaceousVegetation": "Herbaceous Vegetation Land",
        "Highway": "Highway or Road",
        "Industrial": "Industrial Buildings",
        "Pasture": "Pasture Land",
        "PermanentCrop": "Permanent Crop Land",
        "Residential": "Residential Buildings",
        "SeaLake": "Sea or Lake",
    }


class ScenesFromAbove(ClassFolderDataset):
    """Class names are the folders' names as words: "BareLand" and "bare_land" become "bare land"."""

    template = "an aerial photo of {}."

    def class_name(self, folder: str) -> str:
        return self.renamed.get(folder) or words(folder)


@DATASET_REGISTRY.register()
class AID(ScenesFromAbove):
    """G.-S. Xia et al., "AID: A Benchmark Data Set for Performance Evaluation", arXiv 1608.05167."""

    dataset_dir = "aid"
    image_dir = "AID"
    files = ("AID/*/*.jpg",)
    task_name = "aerial scene recognition"
    n_classes = 30
    n_images = (10000,)
    renamed = {"Center": "city center", "Parking": "parking lot"}


@DATASET_REGISTRY.register()
class RESISC45(ScenesFromAbove):
    """G. Cheng, J. Han, X. Lu, "Remote Sensing Image Scene Classification", arXiv 1703.00121 (NWPU-RESISC45)."""

    dataset_dir = "resisc45"
    image_dir = "NWPU-RESISC45"
    files = ("NWPU-RESISC45/*/*.jpg",)
    task_name = "remote sensing scene recognition"
    n_classes = 45
    n_images = (31500,)


@DATASET_REGISTRY.register()
class UCMerced(ScenesFromAbove):
    """Y. Yang, S. Newsam, "Bag-of-visual-words and spatial extensions for land-use classification", 2010."""

    dataset_dir = "uc_merced"
    image_dir = "UCMerced_LandUse/Images"
    files = ("UCMerced_LandUse/Images/*/*.tif",)
    task_name = "urban land use recognition"
    n_classes = 21
    n_images = (2100,)
    renamed = {
        "agricultural": "agricultural land",
        "baseballdiamond": "baseball diamond",
        "denseresidential": "dense residential area",
        "golfcourse": "golf course",
        "mediumresidential": "medium residential area",
        "mobilehomepark": "mobile home park",
        "parkinglot": "parking lot",
        "sparseresidential": "sparse residential area",
        "storagetanks": "storage tanks",
        "tenniscourt": "tennis court",
    }


@DATASET_REGISTRY.register()
class WHURS19(ScenesFromAbove):
    """G.-S. Xia et al., "Structural high-resolution satellite image indexing", 2010 (WHU-RS19)."""

    dataset_dir = "whu_rs19"
    image_dir = "WHU-RS19"
    files = ("WHU-RS19/*/*.jpg",)
    task_name = "high-resolution satellite scene recognition"
    n_classes = 19
    n_images = (1005,)
    renamed = {
        "Commercial": "commercial area",
        "Industrial": "industrial area",
        "Parking": "parking lot",
        "Residential": "residential area",
    }


@DATASET_REGISTRY.register()
class RSSCN7(ScenesFromAbove):
    """Q. Zou, L. Ni, T. Zhang, Q. Wang, "Deep Learning Based Feature Selection for Remote Sensing", 2015."""

    dataset_dir = "rsscn7"
    image_dir = "RSSCN7"
    files = ("RSSCN7/*/*.jpg",)
    task_name = "land cover recognition in overhead images"
    n_classes = 7
    n_images = (2800,)
    renamed = {
        "aGrass": "grassland",
        "bField": "farm field",
        "cIndustry": "industrial region",
        "dRiverLake": "river or lake",
        "eForest": "forest",
        "fResident": "residential region",
        "gParking": "parking lot",
    }


@DATASET_REGISTRY.register()
class OPTIMAL31(ScenesFromAbove):
    """Q. Wang, S. Liu, J. Chanussot, X. Li, "Scene Classification With Recurrent Attention of VHR Images", 2019."""

    dataset_dir = "optimal31"
    image_dir = "Images"
    files = ("Images/*/*.jpg",)
    task_name = "scene recognition in map imagery"
    n_classes = 31
    n_images = (1860,)


@DATASET_REGISTRY.register()
class RSICB128(ScenesFromAbove):
    """H. Li et al., "RSI-CB: A Large-Scale Remote Sensing Image Classification Benchmark", arXiv 1705.10450."""

    dataset_dir = "rsi_cb128"
    image_dir = "RSI-CB128"
    files = ("RSI-CB128/*/*/*.tif",)
    class_depth = 2  # folders of six groups hold the classes' folders
    task_name = "geographic object recognition from above"
    n_classes = 45
