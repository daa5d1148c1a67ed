"""Every metric of the mechanics, with its sentence. Served at /metrics; a scrape never touches a business table."""

from prometheus_client import Counter, Gauge, Histogram

OUTBOX_DEPTH = Gauge("encours_outbox_depth", "Events that wait in the outbox for the relay.")
OUTBOX_OLDEST_SECONDS = Gauge("encours_outbox_oldest_age_seconds", "Age of the oldest event in the outbox.")
RELAY_PUBLISHED = Counter("encours_relay_published_total", "Events the broker has acknowledged.", ["topic"])
RELAY_FAILURES = Counter("encours_relay_failures_total", "Rounds of the relay that failed and were tried again.")
CONSUMED = Counter("encours_consumed_total", "Events handled and committed.", ["topic"])
CONSUMER_LAG_SECONDS = Gauge("encours_consumer_lag_seconds", "Age of the newest event of the last batch handled.", ["topic"])
CONSUMER_STOPPED = Gauge("encours_consumer_stopped", "1 while a topic is stopped and needs a person.", ["topic", "why"])
BATCH_SECONDS = Histogram("encours_batch_seconds", "Time from taking a batch to its commit.", ["topic"])
BATCH_RETRIES = Counter("encours_batch_retries_total", "Batches tried again because something was unavailable.", ["topic"])
INBOX_DUPLICATES = Counter("encours_inbox_duplicates_total", "Facts that had been handled before and were skipped.", ["topic"])
DEAD_LETTERS = Counter("encours_dead_letters_total", "Messages put aside because they can never work.", ["topic"])
PARKED = Counter("encours_parked_total", "Messages put aside because their tenant sent too many that cannot work.", ["topic"])
JOB_SECONDS = Histogram("encours_job_seconds", "Time one round of a scheduled job took.", ["job"])
JOB_FAILURES = Counter("encours_job_failures_total", "Rounds of a scheduled job that failed.", ["job"])
HTTP_SECONDS = Histogram("encours_http_seconds", "Time to answer a request.", ["method", "route", "status"])
