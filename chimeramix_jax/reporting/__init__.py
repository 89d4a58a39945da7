"""What a run reports to people: progress, metrics, pictures and tables of results."""
