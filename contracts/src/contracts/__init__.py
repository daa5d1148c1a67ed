"""The wire of Encours: every event as a class, the envelope around it, and the catalogue of topics."""
