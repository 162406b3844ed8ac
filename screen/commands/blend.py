"""``screen train blend``: the kind of model that ships, from labelled bands, in a minute."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from screen.commands import command
from screen.commands.train import AsJson, Folds, Name, Output, Seed, train_app
from screen.output import print_json
from screen.scores import print_scores
from screen.training import progress
from screen.training_inputs import name_refused, read_bands


@command("screen train blend --data bands.json -o my-model", to=train_app)
def blend(
    data: Annotated[Path, typer.Option(help="File of labelled bands.")],
    output: Output,
    name: Name = None,
    folds: Folds = 5,
    repeats: Annotated[int, typer.Option(min=1, help="Times that folds are drawn.")] = 3,
    seed: Seed = 0,
    note: Annotated[str, typer.Option(help="A sentence for the model's card.")] = "",
    as_json: AsJson = False,
) -> None:
    """Fit a Gaussian process and trees on the numbers of straight and curved paths.

    Scored on random folds and on folds of whole hosts; the folder gets a card with all scores and
    a picture of what the probabilities are worth.
    """
    from models import checkpoint
    from models.blend_training import BlendRecipe, rows_of, train_blend
    from models.card import data_card
    from screen.model_figures import reliability_png

    labelled = read_bands(data)
    rows, refused = rows_of(labelled)
    name_refused(refused)
    title, recipe = name or output.absolute().name, BlendRecipe(folds, repeats, seed)
    with progress("fits") as advance:
        model, card = train_blend(rows, title, recipe, data_card(labelled, refused), advance)
    if note:
        card["note"] = note
    picture = reliability_png(card)
    checkpoint.save(model, card, output, more={"reliability.png": picture} if picture else None)
    if as_json:
        print_json({"model_id": checkpoint.model_id(output), "path": str(output), **card})
        return
    print(f"{checkpoint.model_id(output)} in {output}: {card['summary']}")
    for kind in ("random", "group"):
        print(f"{kind} folds")
        print_scores(card[f"{kind}_folds"])
    print(f"next: screen run --model {quote(str(output))}")
