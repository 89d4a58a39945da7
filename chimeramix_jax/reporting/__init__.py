"""What a run tells people: progress, the record of its measurements, pictures, the table of its results."""
