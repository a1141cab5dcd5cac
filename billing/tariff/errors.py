"""What is wrong with a tariff definition, in words that a form can show beside the field."""

from __future__ import annotations


def _(message_id: str) -> str:
    """Marks a text for the catalogue. Nothing is translated here: whoever shows it knows the reader's language."""
    return message_id


class DefinitionError(ValueError):
    """A person's to correct: a definition that cannot be a tariff.

    `path` says where in the definition ("prices[1].yuan"), empty for the whole; `message_id` is the English text with
    its %(name)s places, the key of the catalogue, and `params` fills them in, once it is translated.
    """

    def __init__(self, path: str, message_id: str, **params: object) -> None:
        super().__init__(f"{path}: {message_id % params}")
        self.path = path
        self.message_id = message_id
        self.params = params
