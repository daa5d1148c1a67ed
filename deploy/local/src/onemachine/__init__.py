"""Encours on one machine without Docker: real PostgreSQL, real Kafka, the services; see README.md for the map."""
