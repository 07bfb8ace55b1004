"""What is measured beside Lampit: the least that any program would do, and the same job done plainly."""
