"""One function per command or event: load, decide, store, publish. Nothing here commits."""
