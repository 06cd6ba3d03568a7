"""What a run is, which there are, what it leaves, and one config made into one record."""
