"""The storage SCU: every result object to every destination once."""
