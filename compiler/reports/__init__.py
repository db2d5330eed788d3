"""Reports: what is in an artefact and what a compilation did, for people."""
