"""What reporting listens to, and what it does by the clock."""

from contracts.customers import CustomerErased, CustomerMerged, CustomerUnmerged
from shared.batches import Routes
from shared.jobs import Job

from reporting.handlers import KEPT, keep, keep_erasures, keep_merges
from reporting.measures import measure_days
from reporting.storage.days import DUE

ROUTES: Routes = {
    **dict.fromkeys(KEPT, keep),
    CustomerMerged: keep_merges,
    CustomerUnmerged: keep_merges,
    CustomerErased: keep_erasures,
}
JOBS = (Job("measure_days", 0.5, measure_days, DUE),)
