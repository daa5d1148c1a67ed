"""Dunning: who is reminded of what, when, and what is known to be promised, disputed or paid instead."""
