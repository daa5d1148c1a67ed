"""All SQL of invoicing. Every function takes a connection, writes set-wise and never commits."""
