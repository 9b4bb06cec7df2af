"""Many cases at once: agreement of measurements."""
