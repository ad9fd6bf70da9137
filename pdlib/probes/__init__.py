"""Probes: one checkpoint in, table rows out. A new probe is a file here."""
