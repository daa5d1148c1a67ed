"""All SQL of reporting, by business noun: it takes a connection and never commits."""
