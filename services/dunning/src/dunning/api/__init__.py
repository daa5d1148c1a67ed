"""Dunning's API: policy, promises, payment plans, disputes, what was sent and what was held, the gate, and the run of a day."""

from dunning.api import reminders, words

ROUTERS = (reminders.ROUTER, words.ROUTER)
