"""What partners listens to, and what it does by the clock."""

from contracts.catalogue import consumed_by, events
from shared.batches import Routes
from shared.jobs import Job

from partners import handlers, storage

ROUTES: Routes = {events()[name]: handlers.log_events for name in sorted(consumed_by("partners"))}
JOBS = (Job("give_positions", 0.2, handlers.give_positions, storage.POSITIONS_DUE),)
