"""What stands in a registry's promoted.json: the promoted version, and every promotion that led to it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from fraudstream.errors import ModelError

FORMAT_VERSION = 1

Action = Literal["promote", "rollback"]


class Promotion(msgspec.Struct, frozen=True, rename={"from_version": "from", "to_version": "to"}):
    """One change of the promoted version.

    Attributes:
        at: when.
        action: which command.
        from_version: promoted until then, None for the first one.
        to_version: promoted from then on.
        by: the user's name on the machine where it was done.
        note: why.
    """

    at: datetime
    action: Action
    from_version: str | None
    to_version: str
    by: str
    note: str


class Promotions(msgspec.Struct, frozen=True):
    """The promoted version, None before the first promotion, and the history, oldest first."""

    version: str | None = None
    history: tuple[Promotion, ...] = ()
    format_version: int = FORMAT_VERSION

    @classmethod
    def read(cls, path: Path) -> Promotions:
        """Reads promoted.json; where there is none, nothing was promoted yet.

        Raises:
            ModelError: it cannot be read.
        """
        try:
            found = msgspec.json.decode(path.read_bytes(), type=cls)
        except FileNotFoundError:
            return cls()
        except (OSError, msgspec.DecodeError) as error:
            raise ModelError(
                f"{path}: expected the promotions as `fraudstream models promote` writes them, got one that cannot be "
                f"read ({error}); mend it, or move it away and promote again"
            ) from None
        if found.format_version != FORMAT_VERSION:
            raise ModelError(
                f"{path}: expected format {FORMAT_VERSION}, got {found.format_version}: it was written by another "
                "version of fraudstream; use that one"
            )
        return found

    def encoded(self) -> bytes:
        """As the file holds it."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    def after(self, promotion: Promotion) -> Promotions:
        """What the file holds once this promotion is made."""
        return Promotions(promotion.to_version, (*self.history, promotion))

    @property
    def before(self) -> str | None:
        """The version promoted before the present one; a version that was rolled back from does not count."""
        stack: list[str] = []
        for promotion in self.history:
            if promotion.action == "rollback":
                del stack[-1:]
            else:
                stack.append(promotion.to_version)
        return stack[-2] if len(stack) > 1 else None
