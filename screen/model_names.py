"""Models as the user names them: one that is not there is wrong use, one that is corrupt is not."""

from __future__ import annotations

from pathlib import Path

from screen.errors import UserError


def folder_of(model: str) -> Path:
    """A model's folder, by name or path.

    Raises:
        UserError: there is no such model.
    """
    from models.checkpoint import ModelError, find_model

    try:
        return find_model(model)
    except ModelError as error:
        raise UserError(str(error)) from None


def model_id_of(model: str) -> str:
    """A model's id, once its files are known to be readable.

    Raises:
        UserError: there is no such model.
        models.checkpoint.ModelError: it is corrupt.
    """
    from models.checkpoint import check, model_id

    folder = folder_of(model)
    check(folder)
    return model_id(folder)
