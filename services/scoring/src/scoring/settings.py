"""Settings of scoring."""

from typing import Annotated

from pydantic import Field, SecretStr
from shared.settings import Settings


class ScoringSettings(Settings):
    """Beside the shared ones: the bureau. Without `bureau_url` no bureau is asked."""

    bureau_url: str | None = None
    """Base address of a Creditsafe Connect API, such as https://connect.creditsafe.com/v1."""
    bureau_username: str = ""
    bureau_password: SecretStr = SecretStr("")
    bureau_requests_per_second: Annotated[float, Field(gt=0, le=30)] = 10.0
    """Creditsafe allows 10,000 in five minutes."""
    bureau_refresh_days: Annotated[int, Field(ge=1, le=365)] = 30
    """A report is fetched again after so many days; a notification brings it forward."""
