"""The pure core: events in, figures out. No Kafka, no clock, no files, no randomness, no environment."""
