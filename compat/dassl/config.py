"""The tree of config keys, with Dassl's defaults."""

from yacs.config import CfgNode

DEFAULTS = {
    "OUTPUT_DIR": "./output",
    "RESUME": "",  # folder of a run to continue
    "SEED": -1,  # negative: not seeded
    "USE_CUDA": True,  # False: run on the CPU even where there is a GPU
    "VERBOSE": True,
    "INPUT": {
        "SIZE": (224, 224),  # height, width in pixels
        "INTERPOLATION": "bilinear",  # a key of dassl.data.transforms.INTERPOLATION_MODES
        "TRANSFORMS": (),  # names of dassl.data.transforms.AVAI_CHOICES, in any order
        "NO_TRANSFORM": False,  # True: the data set yields PIL images
        "PIXEL_MEAN": [0.485, 0.456, 0.406],  # ImageNet's statistics
        "PIXEL_STD": [0.229, 0.224, 0.225],
        "RRCROP_SCALE": (0.08, 1.0),  # random_resized_crop: share of the area
    },
    "DATASET": {
        "ROOT": "",
        "NAME": "",
        "SOURCE_DOMAINS": (),
        "TARGET_DOMAINS": (),
        "NUM_SHOTS": -1,  # images per class; below 1: all
    },
    "DATALOADER": {
        "NUM_WORKERS": 4,
        "TRAIN_X": {
            "SAMPLER": "RandomSampler",
            "BATCH_SIZE": 32,
            "N_DOMAIN": 0,  # RandomDomainSampler: domains per batch; 0: all
        },
        "TEST": {"SAMPLER": "SequentialSampler", "BATCH_SIZE": 32},
    },
    "MODEL": {
        "INIT_WEIGHTS": "",  # file of weights to start from
        "BACKBONE": {"NAME": ""},
        "HEAD": {"NAME": ""},  # the flag --head of the family's train.py; nothing reads it
    },
    "OPTIM": {
        "NAME": "adam",
        "LR": 0.0003,
        "WEIGHT_DECAY": 5e-4,
        "MOMENTUM": 0.9,  # sgd
        "SGD_DAMPNING": 0,
        "SGD_NESTEROV": False,
        "ADAM_BETA1": 0.9,  # adam, adamw
        "ADAM_BETA2": 0.999,
        "LR_SCHEDULER": "single_step",
        "STEPSIZE": (-1,),  # single_step: its last entry is the number of epochs between steps; below 1: MAX_EPOCH
        "GAMMA": 0.1,  # single_step: the factor of a step
        "MAX_EPOCH": 10,
        "WARMUP_EPOCH": -1,  # below 1: no warm-up
        "WARMUP_TYPE": "linear",
        "WARMUP_CONS_LR": 1e-5,  # constant warm-up
        "WARMUP_MIN_LR": 1e-5,  # linear warm-up: epoch 0
    },
    "TRAIN": {
        "CHECKPOINT_FREQ": 0,  # epochs between checkpoints; below 1: only the last epoch's is written
        "PRINT_FREQ": 10,  # batches between log lines
    },
    "TEST": {
        "EVALUATOR": "Classification",
        "PER_CLASS_RESULT": False,  # these two are for evaluators that read them; Classification does not
        "COMPUTE_CMAT": False,
        "NO_TEST": False,
        "SPLIT": "test",  # the images of the final evaluation: test or val
        "FINAL_MODEL": "last_step",  # or best_val: evaluate after every epoch and keep the best model
    },
    "TRAINER": {"NAME": ""},
}

# Keys of Dassl that nothing here reads. A config file or a saved config.yaml may have them: yacs warns and goes on.
IGNORED = """
    VERSION TRAIN.COUNT_ITER
    INPUT.CROP_PADDING INPUT.CUTOUT_N INPUT.CUTOUT_LEN INPUT.GN_MEAN INPUT.GN_STD INPUT.RANDAUGMENT_N
    INPUT.RANDAUGMENT_M INPUT.COLORJITTER_B INPUT.COLORJITTER_C INPUT.COLORJITTER_S INPUT.COLORJITTER_H
    INPUT.RGS_P INPUT.GB_P INPUT.GB_K
    DATASET.NUM_LABELED DATASET.VAL_PERCENT DATASET.STL10_FOLD DATASET.CIFAR_C_TYPE DATASET.CIFAR_C_LEVEL
    DATASET.ALL_AS_UNLABELED
    DATALOADER.K_TRANSFORMS DATALOADER.RETURN_IMG0 DATALOADER.TRAIN_U DATALOADER.TRAIN_X.N_INS
    MODEL.BACKBONE.PRETRAINED MODEL.HEAD.HIDDEN_LAYERS MODEL.HEAD.ACTIVATION MODEL.HEAD.BN MODEL.HEAD.DROPOUT
    OPTIM.RMSPROP_ALPHA OPTIM.STAGED_LR OPTIM.NEW_LAYERS OPTIM.BASE_LR_MULT OPTIM.WARMUP_RECOUNT
    TRAINER.MCD TRAINER.MME TRAINER.CDAC TRAINER.SE TRAINER.M3SDA TRAINER.DAEL TRAINER.CROSSGRAD TRAINER.DDAIG
    TRAINER.DAELDG TRAINER.DOMAINMIX TRAINER.ENTMIN TRAINER.MEANTEACHER TRAINER.MIXMATCH TRAINER.FIXMATCH
"""


def get_cfg_default() -> CfgNode:
    """A fresh, mutable tree of the defaults, into which entry points merge files and options."""
    cfg = CfgNode(DEFAULTS).clone()
    for key in IGNORED.split():
        cfg.register_deprecated_key(key)
    return cfg
