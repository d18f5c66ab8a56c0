"""Convert one of the demo's CLIPs to a folder in the format of open_clip or transformers, written by that library.

    python scripts/demo/convert.py open_clip output/tiny_open_clip
    python scripts/demo/convert.py transformers output/tiny_transformers --clip scripts/demo/tiny_vit.npz

Every method gives the same results on the folder as on the .npz. So the folder shows that backbones of other families
are read correctly, and what such a folder contains. transformers has no ResNet, so only the ViT can be converted to it.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from scripts.lib.command import one_line_errors  # first: the imports below take seconds

import torch
from clip import clip
from clip.model import CLIP, build_model
from torch import Tensor

from softcpt.backbones.weights import read_state_dict, restore_token_rows


def to_open_clip(source: CLIP, out: Path) -> None:
    """Write the config and the weights as open_clip reads them."""
    import open_clip
    from safetensors.torch import save_file

    tower, text = source.visual, source.transformer
    if hasattr(tower, "proj"):
        vision = {
            "image_size": tower.input_resolution,
            "patch_size": tower.conv1.kernel_size[0],
            "width": tower.conv1.out_channels,
            "layers": len(tower.transformer.resblocks),
            "head_width": 64,
        }
    else:
        layers = [len(getattr(tower, f"layer{i}")) for i in range(1, 5)]
        width = tower.layer1[0].conv1.out_channels
        vision = {"image_size": tower.input_resolution, "width": width, "layers": layers}
    heads = text.resblocks[0].attn.num_heads
    text_cfg = {"context_length": 77, "vocab_size": 49408, "width": text.width, "heads": heads, "layers": text.layers}
    embed_dim = source.text_projection.shape[1]
    model_cfg = {"embed_dim": embed_dim, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text_cfg}
    content = {"model_cfg": model_cfg, "preprocess_cfg": {}}  # the defaults are OpenAI's
    (out / "open_clip_config.json").write_text(json.dumps(content, indent=2))
    model = open_clip.create_model(f"local-dir:{out}", load_weights=False)
    model.load_state_dict(source.state_dict())
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(state, out / "open_clip_model.safetensors")


def to_transformers(source: CLIP, out: Path) -> None:
    """Write the model, its tokenizer and its image processor as transformers reads them."""
    import transformers

    tower, text, towers = source.visual, source.transformer, {}
    for name, blocks in (("text_config", text.resblocks), ("vision_config", tower.transformer.resblocks)):
        width = blocks[0].ln_1.weight.numel()
        towers[name] = {
            "hidden_size": width,
            "num_hidden_layers": len(blocks),
            "num_attention_heads": blocks[0].attn.num_heads,
            "intermediate_size": 4 * width,
            "hidden_act": "quick_gelu",
        }
    towers["text_config"] |= {"vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407}
    towers["vision_config"] |= {"image_size": tower.input_resolution, "patch_size": tower.conv1.kernel_size[0]}
    config = transformers.CLIPConfig(**towers, projection_dim=source.text_projection.shape[1])
    model = transformers.CLIPModel(config)
    own, state = source.state_dict(), model.state_dict()
    filled = transformers_state(own, len(text.resblocks), len(tower.transformer.resblocks))
    model.load_state_dict(filled | {key: state[key] for key in state if key.endswith("position_ids")})
    model.save_pretrained(out)
    save_tokenizer(out)
    size = tower.input_resolution
    processor = transformers.CLIPImageProcessor(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    processor.save_pretrained(out)


def transformers_state(own: dict[str, Tensor], text_layers: int, vision_layers: int) -> dict[str, Tensor]:
    """The clip package's weights under the names of transformers' CLIPModel."""
    text, vision = "text_model.", "vision_model."
    result = {
        "logit_scale": own["logit_scale"],
        "text_projection.weight": own["text_projection"].T.contiguous(),
        "visual_projection.weight": own["visual.proj"].T.contiguous(),
        f"{text}embeddings.token_embedding.weight": own["token_embedding.weight"],
        f"{text}embeddings.position_embedding.weight": own["positional_embedding"],
        f"{vision}embeddings.class_embedding": own["visual.class_embedding"],
        f"{vision}embeddings.patch_embedding.weight": own["visual.conv1.weight"],
        f"{vision}embeddings.position_embedding.weight": own["visual.positional_embedding"],
    }
    for kind in ("weight", "bias"):
        result[f"{text}final_layer_norm.{kind}"] = own[f"ln_final.{kind}"]
        result[f"{vision}pre_layrnorm.{kind}"] = own[f"visual.ln_pre.{kind}"]
        result[f"{vision}post_layernorm.{kind}"] = own[f"visual.ln_post.{kind}"]
        for ours, theirs, layers in (("transformer", text, text_layers), ("visual.transformer", vision, vision_layers)):
            for i in range(layers):
                block, layer = f"{ours}.resblocks.{i}.", f"{theirs}encoder.layers.{i}."
                q, k, v = own[f"{block}attn.in_proj_{kind}"].chunk(3)
                result |= {
                    f"{layer}self_attn.q_proj.{kind}": q,
                    f"{layer}self_attn.k_proj.{kind}": k,
                    f"{layer}self_attn.v_proj.{kind}": v,
                    f"{layer}self_attn.out_proj.{kind}": own[f"{block}attn.out_proj.{kind}"],
                    f"{layer}layer_norm1.{kind}": own[f"{block}ln_1.{kind}"],
                    f"{layer}layer_norm2.{kind}": own[f"{block}ln_2.{kind}"],
                    f"{layer}mlp.fc1.{kind}": own[f"{block}mlp.c_fc.{kind}"],
                    f"{layer}mlp.fc2.{kind}": own[f"{block}mlp.c_proj.{kind}"],
                }
    return result


def save_tokenizer(out: Path) -> None:
    """Write OpenAI's vocabulary in the files of transformers' CLIPTokenizer."""
    bpe = clip._tokenizer
    merges = ["#version: 0.2", *(" ".join(pair) for pair in bpe.bpe_ranks)]
    (out / "vocab.json").write_text(json.dumps(bpe.encoder))
    (out / "merges.txt").write_text("\n".join(merges) + "\n")
    (out / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer"}))


FAMILIES = {"open_clip": to_open_clip, "transformers": to_transformers}


def convert(family: str, out: Path, source: Path) -> None:
    """Write the CLIP of `source` (.npz) to the folder `out`. Raises ValueError for a ResNet in transformers."""
    model = build_model(restore_token_rows(read_state_dict(source))).float()
    if family == "transformers" and not hasattr(model.visual, "proj"):
        raise ValueError(f"{source} has a ResNet, which transformers lacks; use --clip scripts/demo/tiny_vit.npz")
    out.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        FAMILIES[family](model, out)


@one_line_errors(1)
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", choices=FAMILIES)
    parser.add_argument("out", type=Path, metavar="FOLDER")
    parser.add_argument("--clip", type=Path, default=Path(__file__).with_name("tiny_vit.npz"))
    args = parser.parse_args(argv)
    try:
        convert(args.family, args.out, args.clip)
    except ImportError as error:
        raise ValueError(f"{error}: pip install -r requirements-{args.family}.txt") from error
    print(f"Written to {args.out}: MODEL.BACKBONE.NAME {args.out}")


if __name__ == "__main__":
    sys.exit(main())
