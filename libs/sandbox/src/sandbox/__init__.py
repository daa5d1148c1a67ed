"""The outside world, simulated: a bank, a bureau, an ERP, debtors, a partner's webhook receiver, a mail sink, and the main job.

For the demo and the tests. Everything follows from a seed; nothing here knows the services' insides, only their public APIs.
"""
