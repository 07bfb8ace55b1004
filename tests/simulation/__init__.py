"""The agents' own logic on a Kafka in memory, where a seed decides everything that is up to chance. See docs/decisions/0015."""
