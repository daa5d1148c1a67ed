"""What reporting listens to, and what it does by the clock."""

from shared.consumer import Routes
from shared.jobs import Job

from reporting.handlers import KEPT, keep
from reporting.measures import measure_days

ROUTES: Routes = dict.fromkeys(KEPT, keep)
JOBS = (Job("measure_days", 0.5, measure_days),)
