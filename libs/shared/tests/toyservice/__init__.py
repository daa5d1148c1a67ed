"""A small true service for the tests of the mechanics: accounts, the sum of their payments, and what was reminded of.

It consumes one state (PaymentReceived) and one fact (ReminderSent) and publishes something for each effect. Its checks
find any event that was lost, applied twice, or applied in part.
"""
