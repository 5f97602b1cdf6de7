"""What every body that is sent has in common."""

from pydantic import BaseModel, ConfigDict


class Body(BaseModel):
    """Refuses fields that nobody knows: a misspelt one must not be dropped in silence."""

    model_config = ConfigDict(extra="forbid")
