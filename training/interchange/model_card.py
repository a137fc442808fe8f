"""A checkpoint's card as the README of a model hub: front matter that programs read, then prose."""

import json
from typing import Any

from models.card import Card, EvaluationCard, Preprocessing
from models.encoders import Encoder

TAGS = ("infomax", "deep-infomax", "self-supervised", "mutual-information", "image-embedding")


def write_model_card(card: Card, encoder: Encoder, licence: str, loader: str | None) -> str:
    """README.md of the hub folder; `loader` is the file in it that needs no infomax, if any."""
    sections = [
        f"---\n{front_matter(card, licence)}---",
        f"# {card.name}",
        opening(card, encoder),
        "## Load it",
        loading(card, loader),
        "## Pixels",
        pixels(card.preprocessing),
        "## Training",
        training(card),
        "## Evaluation",
        "It was not evaluated." if card.evaluation is None else table(card.evaluation),
    ]
    return "\n\n".join(sections) + "\n"


def front_matter(card: Card, licence: str) -> str:
    """The metadata as YAML. Values are JSON, which YAML contains, so no name can break it."""
    facts: dict[str, Any] = {
        "license": licence,
        "library_name": "infomax",
        "pipeline_tag": "image-feature-extraction",
        "tags": [*TAGS, card.encoder.name],
    }
    if card.evaluation is not None:
        facts["model-index"] = [{"name": card.name, "results": [results(card.evaluation)]}]
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in facts.items())


def results(evaluation: EvaluationCard) -> dict[str, Any]:
    """The trained encoder's accuracies in the form hubs index, in per cent."""
    name = evaluation.data.name
    return {
        "task": {"type": "image-classification", "name": "classification on frozen features"},
        "dataset": {"type": name, "name": name},
        "metrics": [
            {
                "type": "accuracy",
                "name": f"top-1, {row.probe} on {row.representation}",
                "value": round(100 * row.accuracy, 2),
            }
            for row in evaluation.rows
            if row.encoder == "trained"
        ],
    }


def opening(card: Card, encoder: Encoder) -> str:
    """What it is, in a paragraph."""
    millions = sum(parameter.numel() for parameter in encoder.parameters()) / 1e6
    channels, side, _ = encoder.map_shape
    text = (
        f"An image encoder trained without labels: `{card.encoder.name}` with {millions:.2f} M "
        f"parameters gives a summary `y` of {encoder.summary_dim} numbers, a feature map `map` of "
        f"{channels} x {side} x {side}, and the layers `fc` ({encoder.fc_dim}) and `conv` "
        f"({encoder.conv_dim}). Objective: {card.objective.name}."
    )
    if card.critics:
        roles = " and ".join(f"`{role}`" for role in card.critics)
        text += f" Critics for mutual-information scores: {roles}."
    return text


def loading(card: Card, loader: str | None) -> str:
    """How to get numbers out of it."""
    lines = [
        "This folder is a checkpoint of infomax, proved by its golden outputs when it is loaded:",
        "",
        "```python",
        "from pathlib import Path",
        "",
        "from models.checkpoint import load_checkpoint",
        "from models.inference import encode",
        "",
        'checkpoint = load_checkpoint(Path("."))',
        "images = checkpoint.golden.images  # uint8 (N, size, size, channels)",
        "features = encode(checkpoint.encoder, images, checkpoint.card.preprocessing)",
        "print(features.y.shape)",
        "```",
        "",
        "`python -m service serve --checkpoint .` answers over HTTP.",
    ]
    if loader is not None:
        lines += [
            "",
            f"With torch and safetensors alone, [{loader}]({loader}) gives `y`:",
            "",
            "```python",
            f"from {loader.removesuffix('.py')} import load_encoder",
            "",
            "from safetensors.torch import load_file",
            "",
            'images = load_file("golden.safetensors")["images"]',
            'print(load_encoder(".")(images).shape)',
            "```",
        ]
    lines += ["", f"Identity of weights, encoder and preprocessing: `{card.identity}`."]
    return "\n".join(lines)


def pixels(preprocessing: Preprocessing) -> str:
    """How an image becomes the encoder's input."""
    size, colour = preprocessing.size, preprocessing.colour
    part = {"crop": "the largest centred square", "squash": "the whole image"}[preprocessing.resize]
    return (
        f"{colour.upper() if colour == 'rgb' else colour} at {size} x {size}: {part} is resized "
        f"({preprocessing.interpolation}, antialiased), scaled to [0, 1], then standardised by "
        f"mean {list(preprocessing.mean)} and deviation {list(preprocessing.std)}."
    )


def training(card: Card) -> str:
    """Where the weights come from."""
    if card.origin is not None:
        return card.origin
    facts, data = card.training, card.data
    return (
        f"{data.images:,} images of {data.name}, {facts.epochs:.0f} epochs, {facts.steps:,} steps, "
        f"{facts.seconds:,.0f} s on {facts.device} ({facts.precision}). All settings are in "
        "`card.json`."
    )


def table(evaluation: EvaluationCard) -> str:
    """Every row of the evaluation, in per cent, and the protocol."""
    lines = ["| encoder | representation | probe | top-1, % | |", "|---|---|---|--:|---|"]
    lines += [
        f"| {row.encoder} | {row.representation} | {row.probe} | {100 * row.accuracy:.2f} "
        f"| {row.note} |"
        for row in evaluation.rows
    ]
    return "\n".join([*lines, "", f"On {evaluation.data.name}. {evaluation.protocol}"])
