"""The rules, one file each: what it finds, why it is bad, what it misses, when it is innocent, how to fix it."""
