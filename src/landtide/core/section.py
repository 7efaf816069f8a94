"""What every part of the study file is."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the study: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
