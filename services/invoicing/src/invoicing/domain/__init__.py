"""Pure rules: standard library and shared.money only."""
