"""A part of a plan: frozen, and an unknown key is refused."""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
