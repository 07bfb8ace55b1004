"""Benchmarks: one command each, every run appends a line to results.jsonl. Nothing here is a test."""
