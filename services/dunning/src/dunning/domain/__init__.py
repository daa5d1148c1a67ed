"""Pure rules: the standard library and shared.money; time and state are passed in."""
