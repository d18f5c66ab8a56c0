"""A web page that classifies a picture for every task of a run: the tuned model and zero-shot CLIP, side by side.

    pip install -r requirements-page.txt
    python scripts/demo/page.py RUN_FOLDER [--port 7860] [--root DATA]
    python scripts/demo/page.py MODEL.safetensors [--port 7860] [--backbone FILE]

An export has no text tower, so its page shows the tuned model alone.

The page is served on this machine alone: it sends and fetches nothing, and other machines reach it only with --host.
Ctrl-C ends it. Exit status: 2 for wrong arguments or a missing gradio.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from scripts.lib.command import one_line_errors  # first: the imports below take seconds

from softcpt.evaluation.classes import selection_in

# Gradio reads these when it is imported: no usage statistics, no check for newer versions, no model hub.
OFFLINE = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "GRADIO_MCP_SERVER": "False"}
FONTS = ("ui-sans-serif", "system-ui", "sans-serif"), ("ui-monospace", "monospace")  # the system's own
TOP = 5  # classes shown per task
POLICY = b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"
HINT = "gradio is not installed: pip install -r requirements-page.txt"


class FromHereAlone:
    """ASGI middleware that forbids the browser to load anything from elsewhere, whatever gradio's page asks for."""

    def __init__(self, app) -> None:
        self.app = app

    async def __call__(self, scope, receive, send) -> None:
        async def send_with_policy(message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"content-security-policy", POLICY)]
            await send(message)

        await self.app(scope, receive, send_with_policy if scope["type"] == "http" else send)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "run", type=Path, metavar="RUN_FOLDER", help="run folder (--output-dir of train.py) or exported file"
    )
    parser.add_argument("--backbone", default="", help="name or file of an export's CLIP, if it is not a published one")
    parser.add_argument("--root", default="", help="folder of the data sets (the run's)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1: this machine only)")
    parser.add_argument("--port", type=int, default=7860, help="port to listen on (7860)")
    return parser.parse_args(argv)


def import_gradio():
    """The package, told to stay offline. Raises ValueError that says what to install."""
    os.environ |= OFFLINE
    try:
        import gradio
    except ImportError as error:
        raise ValueError(HINT) from error
    return gradio


def build_page(predictor, title: str):
    """The page for a predictor: a picture on the left, a row per task on the right."""
    gr = import_gradio()
    with gr.Blocks(analytics_enabled=False, title=title) as page:
        gr.Markdown(f"# {title}")
        with gr.Row():
            with gr.Column(scale=1):
                # The file itself, which is read as the run reads its own.
                own = {"type": "filepath", "image_mode": None, "sources": ["upload", "clipboard"]}
                picture = gr.Image(label="picture", elem_id="picture", **own)
            with gr.Column(scale=2):
                labels = []
                for name, template in predictor.templates.items():
                    gr.Markdown(f"### {name}")
                    with gr.Row():
                        labels.append(gr.Label(label="tuned", num_top_classes=TOP, elem_classes="tuned"))
                        zero = f'zero-shot: "{template}"'
                        if predictor.has_zero_shot:
                            labels.append(gr.Label(label=zero, num_top_classes=TOP, elem_classes="zero-shot"))

        def answer(image):
            if image is None:
                return [None] * len(labels)
            shown = [(own.tuned, own.zero_shot) if own.zero_shot else (own.tuned,) for own in predictor.answers(image)]
            return [some for own in shown for some in own]

        picture.change(answer, picture, labels, api_name="answer", show_progress="minimal")
    return page


def serve(page, host: str, port: int, block: bool = True):
    """Start the server. Returns (app, address), with `block` once Ctrl-C ends it, else as soon as it listens."""
    gr = import_gradio()
    from starlette.middleware import Middleware  # a part of gradio's server

    theme = gr.themes.Default(font=FONTS[0], font_mono=FONTS[1])
    app, address, _ = page.launch(
        server_name=host, server_port=port, share=False, inbrowser=False, prevent_thread_lock=True, quiet=True,
        ssr_mode=False, pwa=False, theme=theme, footer_links=[], show_error=True,
        app_kwargs={"middleware": [Middleware(FromHereAlone)]},
    )  # fmt: skip
    if block:
        print(f"The page is at {address} (Ctrl-C ends it)", flush=True)
        page.block_thread()
    return app, address


@one_line_errors(2)
def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    logging.basicConfig(level=logging.ERROR)
    if args.backbone and not args.run.is_file():
        raise ValueError("--backbone: it is the CLIP of an export; a run has its own")
    import_gradio()
    predictor, title = predictor_of(args.run, args.root, args.backbone)
    serve(build_page(predictor, title), args.host, args.port)


def predictor_of(run: Path, root: str, backbone: str):
    """The predictor of the page for a run folder or an exported file, and the page's title."""
    from softcpt.inference import load_classifier
    from trainers.finished.load import load_run
    from trainers.finished.predictors import ExportPredictor, RunPredictor

    if run.is_file():
        classifier = load_classifier(run, backbone or None)
        predictor, facts = ExportPredictor(classifier), classifier.export.provenance
        trainer, variant, dataset = (str(facts.get(key, "")) for key in ("trainer", "variant", "dataset"))
    else:
        own = load_run(run, root)
        predictor, dataset = RunPredictor(own, zero_shot=True), selection_in(run).get("NAME", "")
        trainer, variant = type(own).__name__, own.cfg.TRAINER.LABEL or own.variant
    return predictor, f"{f'{trainer} {variant}'.strip() or run.name} on {dataset}"


if __name__ == "__main__":
    sys.exit(main())
