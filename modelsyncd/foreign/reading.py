"""The only place that finds out in which form something is, and reads it."""

from __future__ import annotations

from pathlib import Path

from modelsyncd.errors import BadInputError, NotFoundError
from modelsyncd.foreign import huggingface, mlflow, sedna
from modelsyncd.foreign.brought import Brought, bounded

PLAIN = "plain"
FORMS = (sedna.FORM, mlflow.FORM, huggingface.FORM, PLAIN)


def form_of(path: Path) -> str:
    """The form of a file or folder. Raises NotFoundError, BadInputError, OSError."""
    if not path.exists():
        raise NotFoundError(f"there is no {path}")
    if sedna.fits(path):
        return sedna.FORM
    if mlflow.fits(path):
        return mlflow.FORM
    return huggingface.FORM if huggingface.fits(path) else PLAIN


def read(path: Path, form: str = "", revision: str = "", root: Path | None = None) -> Brought:
    """What it brings; `form` is found out when it is not said.

    Raises BadInputError for what is not in that form, NotFoundError, OSError.
    """
    form = form or form_of(path)
    match form:
        case sedna.FORM:
            return sedna.read(path, root)
        case mlflow.FORM if mlflow.fits(path):
            return mlflow.read(path)
        case huggingface.FORM if path.is_dir():
            return huggingface.read(path, revision or huggingface.MAIN)
        case "plain":
            if not path.exists():
                raise NotFoundError(f"there is no {path}")
            return Brought(PLAIN, path, bounded({}))
    raise BadInputError(f"{path} is no model in the form {form}", hint="leave --form out to have it found out")
