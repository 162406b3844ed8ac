"""The one exception for a crystal that cannot be screened."""

from __future__ import annotations

from screen.errors import FAILED, UserError


class RefusedError(UserError):
    """A crystal that no barrier can be predicted for.

    Args:
        material_id: which.
        stage: where it was refused: ``source``, ``filter``, ``sites``, ``check``, ``hops``,
            ``band``, ``graph`` or ``model``.
        reason: short code, such as ``overlapping_atoms``.
        detail: one line: what was found, what was expected.
    """

    def __init__(self, material_id: str, stage: str, reason: str, detail: str) -> None:
        super().__init__(f"{material_id} refused at {stage}: {reason}: {detail}", FAILED)
        self.material_id = material_id
        self.stage = stage
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[RefusedError], tuple[str, str, str, str]]:
        return type(self), (self.material_id, self.stage, self.reason, self.detail)
