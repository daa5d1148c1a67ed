"""All SQL of matching, by business noun. Functions take a connection and never commit; what they write is set-wise."""
