"""One function per event or command of matching: load, decide, store, publish. None of them commits."""
