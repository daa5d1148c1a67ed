"""All SQL of dunning, by business noun: it takes a connection and never commits."""
