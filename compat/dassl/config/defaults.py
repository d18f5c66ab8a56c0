"""Default values of every config key of Dassl 0.6.3, as nested dictionaries.

Keys and values are the interface to existing YAML files of the CoOp family and must not change. The nodes of trainers
that this package leaves out stay, because configs may name them.
"""

# How one data loader of training images draws its batches.
_TRAIN_LOADER = {
    "SAMPLER": "RandomSampler",
    "BATCH_SIZE": 32,
    "N_DOMAIN": 0,  # RandomDomainSampler: domains per batch; 0 or less means all
    "N_INS": 16,  # RandomClassSampler: images per class and batch
}

_INPUT = {
    "SIZE": (224, 224),  # height, width in pixels
    "INTERPOLATION": "bilinear",  # a key of dassl.data.transforms.INTERPOLATION_MODES
    "TRANSFORMS": (),  # names from dassl.data.transforms.AVAI_CHOICES; the order of application is fixed
    "NO_TRANSFORM": False,  # True: the data set yields PIL images
    "PIXEL_MEAN": [0.485, 0.456, 0.406],  # ImageNet's statistics; CLIP configs set their own
    "PIXEL_STD": [0.229, 0.224, 0.225],
    "CROP_PADDING": 4,  # random_crop, pixels
    "RRCROP_SCALE": (0.08, 1.0),  # random_resized_crop, share of the area
    "CUTOUT_N": 1,
    "CUTOUT_LEN": 16,  # side of a hole in pixels
    "GN_MEAN": 0.0,  # gaussian_noise
    "GN_STD": 0.15,
    "RANDAUGMENT_N": 2,  # operations per image
    "RANDAUGMENT_M": 10,  # magnitude, 0 to 30
    "COLORJITTER_B": 0.4,
    "COLORJITTER_C": 0.4,
    "COLORJITTER_S": 0.4,
    "COLORJITTER_H": 0.1,
    "RGS_P": 0.2,  # probability of randomgrayscale
    "GB_P": 0.5,  # probability of gaussian_blur
    "GB_K": 21,  # its kernel in pixels, odd
}

_DATASET = {
    "ROOT": "",
    "NAME": "",
    "SOURCE_DOMAINS": (),
    "TARGET_DOMAINS": (),
    "NUM_LABELED": -1,  # semi-supervised sets only
    "NUM_SHOTS": -1,  # images per class; below 1 means all
    "VAL_PERCENT": 0.1,  # semi-supervised sets only
    "STL10_FOLD": -1,
    "CIFAR_C_TYPE": "",
    "CIFAR_C_LEVEL": 1,
    "ALL_AS_UNLABELED": False,
}

_DATALOADER = {
    "NUM_WORKERS": 4,
    "K_TRANSFORMS": 1,  # training views per image and step
    "RETURN_IMG0": False,  # also yield "img0", the image without augmentation
    "TRAIN_X": dict(_TRAIN_LOADER),
    "TRAIN_U": {"SAME_AS_X": True, **_TRAIN_LOADER},
    "TEST": {"SAMPLER": "SequentialSampler", "BATCH_SIZE": 32},
}

_MODEL = {
    "INIT_WEIGHTS": "",  # file of weights to start from
    "BACKBONE": {"NAME": "", "PRETRAINED": True},
    "HEAD": {"NAME": "", "HIDDEN_LAYERS": (), "ACTIVATION": "relu", "BN": True, "DROPOUT": 0.0},
}

_OPTIM = {
    "NAME": "adam",
    "LR": 0.0003,
    "WEIGHT_DECAY": 5e-4,
    "MOMENTUM": 0.9,
    "SGD_DAMPNING": 0,
    "SGD_NESTEROV": False,
    "RMSPROP_ALPHA": 0.99,
    "ADAM_BETA1": 0.9,  # of every optimiser of Adam's family
    "ADAM_BETA2": 0.999,
    "STAGED_LR": False,  # True: layers other than NEW_LAYERS learn at LR * BASE_LR_MULT
    "NEW_LAYERS": (),
    "BASE_LR_MULT": 0.1,
    "LR_SCHEDULER": "single_step",
    "STEPSIZE": (-1,),  # single_step: the last entry, 0 or less means MAX_EPOCH; multi_step: the milestones
    "GAMMA": 0.1,
    "MAX_EPOCH": 10,
    "WARMUP_EPOCH": -1,  # 0 or less: no warm-up
    "WARMUP_TYPE": "linear",
    "WARMUP_CONS_LR": 1e-5,
    "WARMUP_MIN_LR": 1e-5,  # linear warm-up: the rate of epoch 0
    "WARMUP_RECOUNT": True,  # True: the schedule starts at its own epoch 0 after the warm-up
}

_TRAIN = {
    "CHECKPOINT_FREQ": 0,  # epochs between checkpoints; 0 or less: only after the last epoch
    "PRINT_FREQ": 10,  # batches between log lines
    "COUNT_ITER": "train_x",
}

_TEST = {
    "EVALUATOR": "Classification",
    "PER_CLASS_RESULT": False,
    "COMPUTE_CMAT": False,  # True: write OUTPUT_DIR/cmat.pt
    "NO_TEST": False,
    "SPLIT": "test",  # of the final evaluation: test or val
    "FINAL_MODEL": "last_step",  # or best_val: evaluate after every epoch, deploy the best
}

# Domain adaptation, domain generalisation and semi-supervised learning: keys only, no trainers here.
_OTHER_TRAINERS = {
    "MCD": {"N_STEP_F": 4},
    "MME": {"LMDA": 0.1},
    "CDAC": {
        "CLASS_LR_MULTI": 10,
        "RAMPUP_COEF": 30,
        "RAMPUP_ITRS": 1000,
        "TOPK_MATCH": 5,
        "P_THRESH": 0.95,
        "STRONG_TRANSFORMS": (),
    },
    "SE": {"EMA_ALPHA": 0.999, "CONF_THRE": 0.95, "RAMPUP": 300},
    "M3SDA": {"LMDA": 0.5, "N_STEP_F": 4},
    "DAEL": {"WEIGHT_U": 0.5, "CONF_THRE": 0.95, "STRONG_TRANSFORMS": ()},
    "CROSSGRAD": {"EPS_F": 1.0, "EPS_D": 1.0, "ALPHA_F": 0.5, "ALPHA_D": 0.5},
    "DDAIG": {
        "G_ARCH": "",
        "LMDA": 0.3,
        "CLAMP": False,
        "CLAMP_MIN": -1.0,
        "CLAMP_MAX": 1.0,
        "WARMUP": 0,
        "ALPHA": 0.5,
    },
    "DAELDG": {"WEIGHT_U": 0.5, "CONF_THRE": 0.95, "STRONG_TRANSFORMS": ()},
    "DOMAINMIX": {"TYPE": "crossdomain", "ALPHA": 1.0, "BETA": 1.0},
    "ENTMIN": {"LMDA": 1e-3},
    "MEANTEACHER": {"WEIGHT_U": 1.0, "EMA_ALPHA": 0.999, "RAMPUP": 5},
    "MIXMATCH": {"WEIGHT_U": 100.0, "TEMP": 2.0, "MIXUP_BETA": 0.75, "RAMPUP": 20000},
    "FIXMATCH": {"WEIGHT_U": 1.0, "CONF_THRE": 0.95, "STRONG_TRANSFORMS": ()},
}

DEFAULTS = {
    "VERSION": 1,
    "OUTPUT_DIR": "./output",
    "RESUME": "",  # folder of an earlier run to continue
    "SEED": -1,  # negative: not seeded
    "USE_CUDA": True,  # False, or no GPU: run on the CPU
    "VERBOSE": True,
    "INPUT": _INPUT,
    "DATASET": _DATASET,
    "DATALOADER": _DATALOADER,
    "MODEL": _MODEL,
    "OPTIM": _OPTIM,
    "TRAIN": _TRAIN,
    "TEST": _TEST,
    "TRAINER": {"NAME": "", **_OTHER_TRAINERS},
}
