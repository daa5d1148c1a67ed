"""Running the engine on folders of histories: reading them, an index in memory, the protocol, learning, the certificate."""
