"""The audit: figures counted a second time, independently of the core, and explained event by event."""
