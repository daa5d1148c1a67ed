"""What dunning does with an event, a command or a day: one module per business noun."""
