"""Health."""

from typing import Literal

from pydantic import BaseModel


class Health(BaseModel):
    """Whether the gateway can do its work, check by check."""

    status: Literal["ok", "unavailable"]
    checks: dict[str, str]
