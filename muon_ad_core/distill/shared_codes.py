# SPDX-License-Identifier: Apache-2.0
"""One student that paints by the codes of another: encoder, codes of styles and frame context of the other."""

from __future__ import annotations

from muon_ad_core.distill.student_trainer import StyledStudent
from muon_ad_core.errors import UserError

SHARED = ("encoder.", "student.context.", "offsets")


def with_codes_of(model: StyledStudent, other: StyledStudent) -> StyledStudent:
    """`model` with all that makes codes from `other`, for a training that gets used to them.

    Raises UserError for codes of another length or for other numbers of styles.
    """
    if model.student.config.code != other.student.config.code or model.offsets.shape != other.offsets.shape:
        raise UserError(
            f"codes of {other.offsets.shape[0]} styles with {other.student.config.code} numbers do not fit a student "
            f"of {model.offsets.shape[0]} styles with {model.student.config.code}: choose packages of one start"
        )
    shared = {name: value for name, value in other.state_dict().items() if name.startswith(SHARED)}
    model.load_state_dict({**model.state_dict(), **shared})
    return model
