"""An illegal option of a method is an error."""

import pytest
from methods import build


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("SoftCPT", ("VARIANT", "NAXX"), "TRAINER.SOFTCPT.VARIANT: 'NAXX' is not legal; one of NATA"),
        ("SoftCPT", ("PREC", "fp8"), "TRAINER.SOFTCPT.PREC: 'fp8'"),
        ("SoftCPT", ("META_NET", "lincls"), "META_NET: lincls reads class features, and VARIANT NATA has none"),
        ("SoftCPT", ("CLASS_SAMPLE_RATE", 0.0), r"CLASS_SAMPLE_RATE: 0.0 is not in \(0, 1\]"),
        ("SoftCPT", ("KNOWLEDGE_WEIGHT", -1.0), "TRAINER.SOFTCPT.KNOWLEDGE_WEIGHT: -1.0 is not at least 0"),
        ("SoftCPT", ("CLASS_TOKEN_POSITION", "start"), "CLASS_TOKEN_POSITION: 'start'"),
        ("SoftCPT", ("N_CTX", 72), "the prompt of 'ox-eye daisy' has"),
        ("CoOp", ("CSC", True, "TSC", True), "CSC and TRAINER.COOP.TSC are both True"),
        ("KgCoOp", ("CSC", True, "TSC", True), "TRAINER.KGCOOP.CSC and TRAINER.KGCOOP.TSC are both True"),
        (
            "KgCoOp",
            ("TEACHER_TEMPLATE", "a photo."),
            "KGCOOP.TEACHER_TEMPLATE: 'a photo.' is not a template: .* one {}",
        ),
        ("ProGrad", ("T", 0.0), "TRAINER.PROGRAD.T: 0.0 is not above 0"),
        ("ProGrad", ("N_CTX", 3), "CTX_INIT: 'a photo of a' has 4 tokens, more than N_CTX 3"),
        ("CoCoOp", ("CSC", True), "TRAINER.COCOOP.CSC: .*; CoOp, KgCoOp and ProGrad have one per class"),
        ("PLOT", ("CSC", True), "TRAINER.PLOT.CSC: .*; CoOp, KgCoOp and ProGrad have one per class"),
        ("PLOT", ("N", 0), "TRAINER.PLOT.N: 0 is not at least 1"),
        ("PLOT", ("EPS", 0.01), "TRAINER.PLOT.EPS: 0.01 is not at least 0.025"),
        ("LinearProbe", ("C", -1.0), "TRAINER.LINEARPROBE.C: -1.0 is not at least 0"),
        ("MaPLe", ("N_CTX", 5), "TRAINER.MAPLE.N_CTX: 5 is more than the 4 tokens of CTX_INIT 'a photo of a'"),
        ("MaPLe", ("DEPTH", 0), "TRAINER.MAPLE.DEPTH: 0 is not at least 1"),
        ("CLIPLoRA", ("TOWERS", "none"), "TRAINER.CLIPLORA.TOWERS: 'none' is not legal; one of both, image, text"),
        ("CLIPLoRA", ("RANK", 0), "TRAINER.CLIPLORA.RANK: 0 is not at least 1"),
        ("CLIPLoRA", ("DROPOUT", 1.0), r"TRAINER.CLIPLORA.DROPOUT: 1.0 is not in \[0, 1\)"),
        ("PromptSRC", ("N_CTX_TEXT", 5), "TRAINER.PROMPTSRC.N_CTX_TEXT: 5 is more than the 4 tokens of CTX_INIT"),
        ("PromptSRC", ("PROMPT_DEPTH_TEXT", 0), "TRAINER.PROMPTSRC.PROMPT_DEPTH_TEXT: 0 is not at least 1"),
        ("PromptSRC", ("PROMPT_DEPTH_VISION", -1), "TRAINER.PROMPTSRC.PROMPT_DEPTH_VISION: -1 is not at least 0"),
        ("PromptSRC", ("GPA_STD", 0.0), "TRAINER.PROMPTSRC.GPA_STD: 0.0 is not above 0"),
        ("TaskRes", ("ALPHA", 0.0), "TRAINER.TASKRES.ALPHA: 0.0 is not above 0"),
        ("TaskRes", ("TEMPLATE", "a photo."), "TRAINER.TASKRES.TEMPLATE: 'a photo.' is not a template: .* one {}"),
        ("TipAdapter", ("VIEWS", 0), "TRAINER.TIPADAPTER.VIEWS: 0 is not at least 1"),
        ("TipAdapter", ("SEARCH_SCALE", (0.1, 50.0)), "SEARCH_SCALE: .* is not two ends above 0.1"),
        ("KgCoOp", ("N_CTX", 16), "KGCOOP.N_CTX: 16, but the context is the 4 tokens of .*CTX_INIT, 'a photo of a'"),
        ("SoftCPT", ("TASK_N_CTX", 5, "TASK_CTX_INIT", "a task"), "TASK_N_CTX: 5, but the context is the 2 tokens"),
        ("TipAdapterF", ("ALPHA", 0.0), "TRAINER.TIPADAPTERF.ALPHA: 0.0 is not above 0"),
        (
            "TipAdapter",
            ("SEARCH_STEPS", (200, 0)),
            r"TIPADAPTER.SEARCH_STEPS: \(200, 0\) is not two numbers",
        ),
        ("LPPlusPlus", ("SCHEDULE", "paper"), "TRAINER.LPPLUSPLUS.SCHEDULE: 'paper' is not legal; .*standard"),
        ("LPPlusPlus", ("STEPS", 0), "TRAINER.LPPLUSPLUS.STEPS: 0 is not at least 1"),
        ("ProLIP", ("LAMBDA", -1.0), "TRAINER.PROLIP.LAMBDA: -1.0 is not at least 0"),
    ],
)
def test_illegal_option_is_an_error(toy_root, tmp_path, name, options, message):
    with pytest.raises(ValueError, match=message):
        build(toy_root, tmp_path, name, *options)
