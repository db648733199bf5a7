"""What papers on initialization found, put to the test: one file a paper, ids in the order of the catalog."""
