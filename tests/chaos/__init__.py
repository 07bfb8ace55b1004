"""Faults put to the live agents on a Kafka of three brokers; `python -m tests.chaos --help`."""
