"""The lab: studies that compare starts by training many runs at once, and end in verdicts."""
