"""What crosses a wire: events in, records out. Imports pydantic only."""
