"""Rules: from measurements to findings, each with a remedy that was tried on a copy."""
