"""Standard Webhooks 1.0.0 signatures (symmetric, `v1`) for what the simulated bank sends.

Invariant: the bytes that are signed are the bytes that are sent; the timestamp is that of the attempt, by the machine's
clock, whatever the business clock says.
"""

import json
from collections.abc import Mapping
from datetime import datetime

from standardwebhooks.webhooks import Webhook


def signed(body: Mapping[str, object], *, secret: str, message_id: str, moment: datetime) -> tuple[bytes, dict[str, str]]:
    """The bytes to send and their headers. `message_id` stays the same when a message is sent again; `moment` is in UTC."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    headers = {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, moment, text),
    }
    return text.encode(), headers
