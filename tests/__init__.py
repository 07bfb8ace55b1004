"""The tests: unit, scenarios, property, broker, web and chaos."""
