"""Tasks: endless streams of examples by counter, with labels. A new task is a file here."""
